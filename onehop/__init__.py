"""Onehop: train, fine-tune, look inside and ship sequence models. Every token, one hop away."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from onehop import data, decode, evaluate, metrics, models, nn, tasks, text, train
    from onehop.errors import OnehopError
    from onehop.nn import record_attention
    from onehop.tasks import Translator, load, load_translator

_MODULES = ("data", "decode", "evaluate", "metrics", "models", "nn", "tasks", "text", "train")
_NAMES = {
    "OnehopError": "onehop.errors",
    "Translator": "onehop.tasks",
    "load": "onehop.tasks",
    "load_translator": "onehop.tasks",
    "record_attention": "onehop.nn",
}

__all__ = [*_MODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    """Import a part when it is first asked for, so that `import onehop` costs nothing."""
    if name in _MODULES:
        return import_module(f"onehop.{name}")
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'onehop' has no attribute {name!r}")
