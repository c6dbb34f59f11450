"""What the pretrained encoders share: summed embeddings, blocks that read in both directions, and heads over them.

BERT (Devlin et al. 2018) and what came after it fill the same few parts otherwise: where embeddings are normalised,
whether there are biases, which layers see a window only. A family's file names its parts; nothing here asks for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.nn.block import EncoderBlock
from onehop.nn.dropout import Dropout
from onehop.nn.interfaces import Memory, Source
from onehop.nn.masks import Mask, padding, places
from onehop.nn.positions import Learned, sinusoidal

STD, BASE = 0.02, 768  # deviation of weights, and the columns for which it was chosen (Devlin 2018)

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


class Embeddings(nn.Module):
    """Tokens, and what is added to them, normalised (Devlin 2018, figure 2).

    Args:
        tokens: A vector for each token.
        positions: One for each position; None where attention knows them.
        types: One for the first text and one for the second; None where a model makes no difference.
        norm: Of the sum.
        project: From the width of the embeddings to that of the blocks (Clark 2020); identity where they agree.
        dropout: On the normalised sum.
    """

    def __init__(
        self, tokens: nn.Embedding, positions: Learned | None, types: nn.Embedding | None, norm: nn.Module,
        project: nn.Module, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.tokens, self.positions, self.types = tokens, positions, types
        self.norm, self.project, self.dropout = norm, project, Dropout(dropout)

    def forward(self, source: Source, where: Tensor) -> Tensor:
        """Return `(B, S, D)`; `where (B, S)` are the positions."""
        x = self.tokens(source.tokens)
        if self.types is not None:
            types = torch.zeros_like(source.tokens) if source.types is None else source.types
            x = x + self.types(types.clamp(max=self.types.num_embeddings - 1))  # with one type, all texts have it
        if self.positions is not None:
            x = x + self.positions(where)
        return self.project(self.dropout(self.norm(x)))


class BidirectionalEncoder(nn.Module):
    """Embeddings, blocks, a last normalisation: every state depends on the text before and behind it.

    Args:
        embeddings: Of what is read.
        blocks: In their order.
        windows: For each block, the positions on either side that it reads; None for all.
        norm: Of the last block's states, or identity.
        dim: Width of the states.
        max_positions: Most tokens of a text.
    """

    unit = "words"
    two_ways = False

    def __init__(
        self, embeddings: Embeddings, blocks: Sequence[EncoderBlock], windows: Sequence[int | None], norm: nn.Module,
        dim: int, max_positions: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embeddings, self.windows, self.norm = embeddings, tuple(windows), norm
        self.blocks = cast("Sequence[EncoderBlock]", nn.ModuleList(blocks))
        self.dim, self.max_positions = dim, max_positions

    def encode(self, source: Source) -> Memory:
        """Read `source.tokens (B, S)`: states `(B, S, D)`."""
        return Memory(self.norm(self.layers(source)[-1]), source.lengths, source.segments)

    def layers(self, source: Source) -> list[Tensor]:
        """Return what goes into the first block and what comes out of each, `(B, S, D)`."""
        where = _positions(source)
        masks = {window: _mask(source, window) for window in dict.fromkeys(self.windows)}
        states = [self.embeddings(source, where)]
        for block, window in zip(self.blocks, self.windows, strict=True):
            states.append(block(states[-1], masks[window], where))
        return states


class Transform(nn.Module):
    """`norm(activation(linear(x)))`: what stands between the states and a head's last map.

    Args:
        dim: Width in.
        out_dim: Width out.
        activation: One of `ACTIVATIONS`.
        norm: Of the result.
        bias: Whether the map has one.
    """

    def __init__(self, dim: int, out_dim: int, activation: str, norm: nn.Module, *, bias: bool = True) -> None:
        super().__init__()
        self.linear, self.norm, self.activation = nn.Linear(dim, out_dim, bias=bias), norm, ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Transform `x (..., D)`."""
        return self.norm(self.activation(self.linear(x)))


class Transformed(nn.Module):
    """A pooling, and a map of what it gives.

    Args:
        pooling: From states to a vector; see `onehop.nn.pooling`.
        transform: Of the vector.
    """

    def __init__(self, pooling: nn.Module, transform: Transform) -> None:
        super().__init__()
        self.pooling, self.transform = pooling, transform

    def forward(self, states: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return `(B, D)` for states `(B, S, D)`."""
        return self.transform(self.pooling(states, lengths))


def sentence_transform(name: str, dim: int) -> Transform:
    """Return the map before a classifier: its activation, or `gelu_norm`, ModernBERT's, without biases.

    Example:
        >>> sentence_transform("tanh", 4)(torch.zeros(2, 4)).shape
        torch.Size([2, 4])
    """
    if name == "gelu_norm":
        return Transform(dim, dim, "gelu", nn.LayerNorm(dim, 1e-5, bias=False), bias=False)
    return Transform(dim, dim, name, nn.Identity())


class MaskedHead(nn.Module):
    """Scores over the vocabulary, by products with the embeddings of the tokens (Devlin 2018, section 3.1, task 1).

    Args:
        transform: Of the states.
        tokens: The encoder's embeddings, whose table it shares.
    """

    def __init__(self, transform: Transform, tokens: nn.Embedding) -> None:
        super().__init__()
        self.transform, self.weight = transform, tokens.weight
        self.bias = nn.Parameter(torch.zeros(tokens.num_embeddings))

    def forward(self, states: Tensor) -> Tensor:
        """Return `(..., V)`, not normalised, for `states (..., D)`."""
        return F.linear(self.transform(states), self.weight, self.bias)


def initialise(module: nn.Module) -> None:
    """Draw as BERT does: every matrix from N(0, 0.02), biases zero, normalisations neutral."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=STD)
    bias = getattr(module, "bias", None)
    if isinstance(module, nn.Linear) and bias is not None:
        nn.init.zeros_(bias)


def initialise_encoder(encoder: BidirectionalEncoder) -> BidirectionalEncoder:
    """Draw an encoder from which BERT's base would be one as Devlin (2018) drew it, but for its table of positions.

    A deviation of 0.02 is meant for 768 columns: narrower maps begin with larger ones, so that their sums have the same
    size. The table of positions begins as sine waves of that deviation in place of noise (Vaswani 2017): a token two
    places on then stands in the same relation everywhere, which a small model needs thousands of updates to find. On
    WikiText-2 a BERT of 256 columns and 3 blocks has a validation loss of 5.43 after 750 updates in place of 5.91; with
    sine waves alone it is at 5.57 after 1,000, where both together are at 5.14.
    """
    encoder.apply(initialise)
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, nn.Linear):  # scaled, not drawn again: what is drawn after it stays as it was
                module.weight.mul_((BASE / module.in_features) ** 0.5)
            if isinstance(module, Learned) and not module.weight.is_meta:
                count, dim = module.weight.shape
                waves = sinusoidal(torch.arange(count), dim + dim % 2)[:, :dim]
                module.weight.copy_(waves * (STD * 2**0.5))
    return encoder


def _positions(source: Source) -> Tensor:
    """Count from 0 in each row, or in each segment of a packed one."""
    tokens, segments = source.tokens, source.segments
    if segments is not None:
        return places(segments)
    return torch.arange(tokens.size(1), device=tokens.device).expand(tokens.shape)


def _mask(source: Source, window: int | None) -> Mask:
    if source.segments is not None:
        return Mask(segments=(source.segments, source.segments), window=window)
    return Mask(lengths=padding(source.lengths, source.tokens.size(1)), window=window)
