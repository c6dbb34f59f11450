"""From files of parallel text to batches of tokens.

`readers` stream pairs from files, `store` keeps them on disk in blocks, `split` holds some out for
validation, and `batches` turns the rest into an endless, resumable sequence of training batches, by way of
`tokens` (blocks as token arrays within the length limit), `ragged` (rows of unequal length), `windows`
(which pairs an epoch sees, and which go together) and `packing` (several pairs in a row). Memory stays
bounded whatever the size of the corpus, and everything is a function of the text and the seed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from onehop.data.columns import Columns
from onehop.data.pair import Pair
from onehop.data.readers import read_parallel, read_table, table_columns
from onehop.data.split import Split, hold_out
from onehop.data.store import PairStore, sample
from onehop.data.windows import Sampling

if TYPE_CHECKING:
    from onehop.data.batches import Batch, Position, TrainingBatches, evaluation_batches, fixed_batches

__all__ = [
    "Batch",
    "Columns",
    "Pair",
    "PairStore",
    "Position",
    "Sampling",
    "Split",
    "TrainingBatches",
    "evaluation_batches",
    "fixed_batches",
    "hold_out",
    "read_parallel",
    "read_table",
    "sample",
    "table_columns",
]

_OF_BATCHES = ("Batch", "Position", "TrainingBatches", "evaluation_batches", "fixed_batches")


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for: readers and checks do without."""
    if name not in _OF_BATCHES:
        raise AttributeError(f"module 'onehop.data' has no attribute {name!r}")
    return getattr(import_module("onehop.data.batches"), name)
