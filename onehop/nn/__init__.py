"""Layers: parts and flat numbers in, modules out. Nothing here knows a recipe, a path or a tokenizer.

Every tensor follows the shape legend of `onehop.shapes`; every state is batch-first; in every mask True means "may
attend"; no module remembers anything between two calls.
"""

from onehop.nn.attention import Attention, Projections, attend, record_attention
from onehop.nn.block import DecoderBlock, EncoderBlock, Residual
from onehop.nn.embedding import TokenEmbedding
from onehop.nn.feedforward import FeedForward
from onehop.nn.interfaces import Decoder, Encoder, Memory, Source
from onehop.nn.loss import cross_entropy, linear_cross_entropy, linear_r_drop
from onehop.nn.masks import Mask
from onehop.nn.positions import Sinusoidal, sinusoidal
from onehop.nn.state import KV, State

__all__ = [
    "KV",
    "Attention",
    "Decoder",
    "DecoderBlock",
    "Encoder",
    "EncoderBlock",
    "FeedForward",
    "Mask",
    "Memory",
    "Projections",
    "Residual",
    "Sinusoidal",
    "Source",
    "State",
    "TokenEmbedding",
    "attend",
    "cross_entropy",
    "linear_cross_entropy",
    "linear_r_drop",
    "record_attention",
    "sinusoidal",
]
