"""The fast path: a built model whose parts are replaced by faster ones behind the same `start`, `decode`, `logits`.

`accelerate` takes any model and knows what to do by the types of its parts: a Transformer of dot products runs as a
whole in kernels that are compiled on this machine for its processor; any other model has its linear maps replaced; and
what is not known runs as it is. It also says which of these happened.
"""

from onehop.runtime.accelerate import PRECISIONS, Speed, accelerate, check_precision, coverage, precisions
from onehop.runtime.library import Kernels, kernels
from onehop.runtime.threads import kernels_alone, threads

__all__ = [
    "PRECISIONS",
    "Kernels",
    "Speed",
    "accelerate",
    "check_precision",
    "coverage",
    "kernels",
    "kernels_alone",
    "precisions",
    "threads",
]
