"""The functional core of attention: one reference path, and one fast path that must agree with it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from onehop.nn.attention.learn import attend_learning
from onehop.nn.attention.scores import Score
from onehop.nn.attention.selects import Select, soft
from onehop.nn.dropout import dropout as drop
from onehop.nn.masks import Mask
from onehop.nn.softmax import softmax

SENTENCE = 64  # keys up to which products are faster than the kernel
KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def attention_weights(
    q: Float[Tensor, "B H T K"], k: Float[Tensor, "B G S K"], score: Score, mask: Mask, select: Select = soft
) -> Float[Tensor, "B H T S"]:
    """Return how each query spreads over the keys.

    Rows sum to 1, to less where the mask has a prior, and to 0 where nothing may be read.
    """
    scores = score(q, _for_each_head(k, q.size(1)))
    if mask.bias is not None:
        scores = scores + mask.bias
    allowed, _ = mask.dense(q.size(2), k.size(2), q.device)
    if allowed is None:
        weights = select(scores)
    else:  # a finite fill, then zeros: minus infinity in a whole row would be NaN, forward or backward
        least = torch.finfo(scores.dtype).min
        weights = select(scores.masked_fill(~allowed, least)).masked_fill(~allowed, 0.0)
    prior = mask.prior(k.size(2))
    return weights if prior is None else weights * prior


def attend(
    q: Float[Tensor, "B H T K"],
    k: Float[Tensor, "B G S K"],
    v: Float[Tensor, "B G S K2"],
    score: Score,
    mask: Mask,
    select: Select = soft,
    dropout: float = 0.0,
) -> Float[Tensor, "B H T K2"]:
    """Return the context: values averaged by the weights of `attention_weights`.

    What is a softmax of products runs on torch's fused kernel, or where those are faster on kernels of our own, which
    are for learning, or on plain products; everything else, and the tests that compare them, on the definition. H must
    be a multiple of G: query head `i` reads key/value head `i * G // H` (Ainslie 2023).

    Args:
        q: Queries, mapped by the score.
        k: Keys, mapped by the score.
        v: Values.
        score: How queries and keys compare.
        mask: What may be read.
        select: Weights from scores.
        dropout: Share of the weights set to zero.

    Example:
        >>> q, k = torch.randn(1, 4, 3, 8), torch.randn(1, 2, 5, 8)
        >>> attend(q, k, k, onehop.nn.attention.scaled_dot(8), Mask()).shape
        torch.Size([1, 4, 3, 8])
    """
    T, S = q.size(2), k.size(2)
    if score.scale is None or needs_weights(score, mask, select):
        return explicit(q, k, v, score, mask, select, dropout)
    if _learning(q):
        context = attend_learning(q, k, v, score.scale, mask, dropout)
        if context is not None:
            return context
    if _product_is_faster(q, S):
        return _product(q, k, v, score.scale, mask, dropout)
    square = mask.is_causal_square(T, S)
    allowed, blind = (None, None) if square else mask.dense(T, S, q.device)
    with _kernels(q):
        context = F.scaled_dot_product_attention(
            q, k, v, _kernel_mask(allowed, mask.bias, q.dtype), dropout, square, scale=score.scale,
            enable_gqa=q.size(1) != k.size(1),
        )  # fmt: skip
    return context if blind is None else context.masked_fill(blind, 0.0)


def needs_weights(score: Score, mask: Mask, select: Select) -> bool:
    """Whether the context is no softmax of products, so that `attend` computes all weights on its way."""
    return select is not soft or score.scale is None or mask.gaussian is not None


def some_weights(
    q: Float[Tensor, "B H T K"],
    k: Float[Tensor, "B G S K"],
    score: Score,
    mask: Mask,
    heads: list[int],
    rows: Int[Tensor, " R"],
) -> Float[Tensor, "B N R S"]:
    """Return the `attention_weights` of some heads and queries, and compute no others; for softmaxes of products."""
    rows, share = rows.to(q.device), q.size(1) // k.size(1)
    groups = [head // share for head in heads]
    return attention_weights(q[:, heads][:, :, rows], k[:, groups], score, mask.of(rows, heads))


def explicit(
    q: Tensor, k: Tensor, v: Tensor, score: Score, mask: Mask, select: Select = soft, dropout: float = 0.0
) -> Tensor:
    """Return what `attend` returns, by the definition: the reference for every fast path."""
    return averaged(drop(attention_weights(q, k, score, mask, select), dropout), v)


def averaged(weights: Float[Tensor, "B H T S"], v: Float[Tensor, "B G S K"]) -> Float[Tensor, "B H T K"]:
    """Return the values `v` of each group averaged by the weights of its heads."""
    return weights.to(v.dtype) @ _for_each_head(v, weights.size(1))


def _kernels(q: Tensor) -> AbstractContextManager[object]:
    """Keep cuDNN's attention out: it takes 0.4 s to plan for every new shape, and most batches of text have one."""
    return sdpa_kernel(KERNELS) if q.is_cuda else nullcontext()


def _learning(q: Tensor) -> bool:
    return q.device.type == "cpu" and q.requires_grad and torch.is_grad_enabled()


def _product_is_faster(q: Tensor, S: int) -> bool:
    """Whether plain products beat torch's kernel: in training on a processor, for sentences, or in bfloat16.

    The kernel shares its work out by blocks of queries, of which a sentence has but one, and its way back in bfloat16
    takes ten times as long.
    """
    return _learning(q) and (S <= SENTENCE or q.dtype == torch.bfloat16)


def _product(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Mask, dropout: float) -> Tensor:
    """Return the context by two products and a softmax."""
    allowed, blind = mask.dense(q.size(2), k.size(2), q.device)
    scores = (q * scale) @ _for_each_head(k, q.size(1)).mT
    if mask.bias is not None:
        scores = scores + mask.bias.to(scores.dtype)
    if allowed is not None:
        scores = scores + mask.additive(q.size(2), k.size(2), q.device, scores.dtype)
    context = drop(softmax(scores), dropout) @ _for_each_head(v, q.size(1))
    return context if blind is None else context.masked_fill(blind, 0.0)


def _for_each_head(x: Tensor, heads: int) -> Tensor:
    repeats = heads // x.size(1)
    return x if repeats == 1 else x.repeat_interleave(repeats, dim=1)


def _kernel_mask(allowed: Tensor | None, bias: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Join a bool mask and a float bias into what the fused kernel takes."""
    if bias is None or allowed is None:
        return allowed if bias is None else bias.to(dtype)
    return bias.to(dtype).masked_fill(~allowed, torch.finfo(dtype).min)
