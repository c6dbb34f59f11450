"""Attention as orthogonal parts handed to one module: score x select x region x heads."""

from onehop.nn.attention.attend import attend
from onehop.nn.attention.attention import Attention, Bare, Projections
from onehop.nn.attention.record import Record, TopWeights, record_attention
from onehop.nn.attention.scores import Score, dot, scaled_dot
from onehop.nn.attention.selects import soft

__all__ = [
    "Attention",
    "Bare",
    "Projections",
    "Record",
    "Score",
    "TopWeights",
    "attend",
    "dot",
    "record_attention",
    "scaled_dot",
    "soft",
]
