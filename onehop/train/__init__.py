"""Training: recipes, the loop, schedules, checkpoints; and `onehop.train(recipe, out)` for a whole run.

The package is callable, so that `onehop.train("recipe.toml", "runs/first")` is a run and `onehop.train.loop` the
generator for one's own script.
"""

import sys
from types import ModuleType

from onehop.train.distillation import distill
from onehop.train.listener import Evaluation, Listener, Silent, Status
from onehop.train.loop import Update, loop
from onehop.train.optimizer import adamw
from onehop.train.recipe import Recipe, load_recipe, make_recipe
from onehop.train.record import like
from onehop.train.run import Trained, train
from onehop.train.schedule import schedule

__all__ = [
    "Evaluation",
    "Listener",
    "Recipe",
    "Silent",
    "Status",
    "Trained",
    "Update",
    "adamw",
    "distill",
    "like",
    "load_recipe",
    "loop",
    "make_recipe",
    "schedule",
    "train",
]


class _Callable(ModuleType):
    """A module that runs `train` when called."""

    __call__ = staticmethod(train)


sys.modules[__name__].__class__ = _Callable
