"""Onehop: train, fine-tune, look inside and ship sequence models. Every token, one hop away."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from onehop import data, decode, evaluate, explain, lab, metrics, models, nn, runtime, tasks, text, train, verify
    from onehop.errors import OnehopError
    from onehop.nn import record_attention
    from onehop.tasks import Classifier, Translator, load, load_classifier, load_ensemble, load_translator

__all__ = [
    "Classifier", "OnehopError", "Translator", "data", "decode", "evaluate", "explain", "lab", "load",
    "load_classifier", "load_ensemble", "load_translator", "metrics", "models", "nn", "record_attention", "runtime",
    "tasks", "text", "train", "verify",
]  # fmt: skip

_HOMES = {
    "Classifier": "tasks",
    "OnehopError": "errors",
    "Translator": "tasks",
    "load": "tasks",
    "load_classifier": "tasks",
    "load_ensemble": "tasks",
    "load_translator": "tasks",
    "record_attention": "nn",
}


def __getattr__(name: str) -> Any:
    """Import a part when it is first asked for, so that `import onehop` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'onehop' has no attribute {name!r}")
    module = import_module(f"onehop.{_HOMES.get(name, name)}")
    return getattr(module, name) if name in _HOMES else module
