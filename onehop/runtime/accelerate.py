"""Replace the parts of a model by faster ones, and say what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from onehop.errors import ConfigError
from onehop.models.recurrent import Recurrent
from onehop.models.transformer import Transformer
from onehop.nn.attention.scores import HeadLinear, TanhSum
from onehop.nn.lora import merge
from onehop.nn.mapped import tidy
from onehop.nn.recurrent import Recurrence
from onehop.runtime.encoder import FastEncoder, unknown_encoder
from onehop.runtime.library import Kernels, kernels
from onehop.runtime.linear import FastDecoder, PackedLinear, with_parts
from onehop.runtime.recurrent import FastTanhSum, PackedHeadLinear, PackedRecurrence
from onehop.runtime.transformer import FastTransformer, unknown

PRECISIONS = ("float32", "bfloat16", "int8")
PACKED: dict[type[nn.Module], Any] = {
    nn.Linear: PackedLinear, Recurrence: PackedRecurrence, HeadLinear: PackedHeadLinear,
}  # fmt: skip
WHOLE = 0.995  # share of the weights from which on nothing is said of the rest


@dataclass(frozen=True)
class Speed:
    """How a model runs.

    Args:
        precision: Of its products.
        kernels: What runs them, in words.
        share: Of its weights that are in replaced parts, from 0 to 1.
        reason: Why not all of it is fast; empty where it is.
    """

    precision: str
    kernels: str
    share: float
    reason: str = ""

    def __str__(self) -> str:
        text = f"{self.precision} on {self.kernels}, {self.share:.0%} of the weights"
        return f"{text}; {self.reason}" if self.reason else text


def precisions() -> tuple[str, ...]:
    """Return the precisions of products that the kernels have on this machine; without kernels, float32 alone.

    Example:
        >>> precisions()[0]
        'float32'
    """
    found = kernels()
    if isinstance(found, str):
        return PRECISIONS[:1]
    return tuple(each for each in PRECISIONS if each != "bfloat16" or found.bfloat16)


def check_precision(precision: str, where: str) -> None:
    """Refuse a precision that there is not.

    Args:
        precision: Of products.
        where: What it was given by.

    Raises:
        ConfigError: No such precision.
    """
    if precision not in PRECISIONS:
        remedy = f"Use {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}."
        raise ConfigError(f"unknown value {precision!r}", remedy, where)


def accelerate(
    model: nn.Module, precision: str = "float32", tell: Callable[[str], None] = lambda text: None
) -> tuple[Any, Speed]:
    """Return a fast model for inference, and how it runs; the weights of the model given stay as they are.

    Args:
        model: Encoder and decoder, or anything with encoders or linear maps in it; it is put into evaluation mode.
        precision: Of its products: `float32`, which gives the same numbers up to rounding, `bfloat16` or `int8`.
            Without kernels, or where they multiply no bfloat16, it is float32.
        tell: Is told when kernels are compiled, which takes seconds, once.

    Raises:
        ConfigError: No such precision.

    Example:
        >>> model = onehop.models.build("transformer", {"preset": "transformer-tiny"}, source_vocab=50).eval()
        >>> fast, speed = accelerate(model)
        >>> state = fast.start(fast.encode(onehop.nn.Source(torch.tensor([[7, 8, 2]]))))
        >>> fast.logits(fast.decode(torch.tensor([[1]]), state)[0]).shape
        torch.Size([1, 1, 50])
    """
    check_precision(precision, "precision")
    model = merge(model.eval())
    found = _unfit(model) or kernels(tell)
    if isinstance(found, str):
        return model, Speed("float32", "torch", 0.0, f"no kernels: {found}")
    name, without = f"Onehop's kernels ({found.instructions})", ""
    if precision == "bfloat16" and not found.bfloat16:
        precision, without = "float32", "this processor multiplies no bfloat16"
    if not unknown(model):
        fast = FastTransformer(model, found, precision)  # type: ignore[arg-type]
        tidy()
        return fast.eval(), Speed(precision, name, 1.0, without)
    twin = with_parts(model, lambda part: _faster(part, found, precision))
    tidy()
    if isinstance(model, Recurrent | Transformer):  # their logits are one map of the states
        twin = FastDecoder(twin)
    share, reason = coverage(model)
    return twin.eval(), Speed(precision, name, share, "; ".join(filter(None, (without, reason))))


def _faster(part: nn.Module, found: Kernels, precision: str) -> nn.Module | None:
    """Return what a part is replaced by; None where it is not."""
    if isinstance(part, TanhSum):
        return FastTanhSum(part, found)
    for kind, packed in PACKED.items():
        if type(part) is kind:
            return packed(part, found, precision)
    return None if unknown_encoder(part) else FastEncoder(part, found, precision)  # type: ignore[arg-type]


def coverage(model: nn.Module) -> tuple[float, str]:
    """Return which share of a model's weights the kernels run where there are any, and why not all.

    Example:
        >>> coverage(onehop.models.build("transformer", {"preset": "transformer-tiny"}, source_vocab=50))
        (1.0, '')
    """
    model = merge(model)
    if not unknown(model):
        return 1.0, ""
    inside = {id(parameter) for part in _fast_parts(model) for parameter in part.parameters()}
    sizes = {id(parameter): parameter.numel() for parameter in model.parameters()}
    share = sum(sizes[each] for each in inside) / max(1, sum(sizes.values()))
    return share, "" if share > WHOLE else f"it has {_stranger(model)}: its linear maps are fast"


def _fast_parts(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the parts that are replaced, the largest first."""
    if type(model) in PACKED or not unknown_encoder(model):
        yield model
        return
    for child in model.children():
        yield from _fast_parts(child)


def _stranger(model: nn.Module) -> str:
    """Return what of a model, or of the encoder in it, is not known, in words."""
    encoder: Any = getattr(model, "encoder", None)
    return unknown_encoder(encoder) if hasattr(encoder, "encode") else unknown(model)


def _unfit(model: nn.Module) -> str:
    """Return why no part of a model can be replaced; empty where some can."""
    if any(parameter.device.type != "cpu" for parameter in model.parameters()):
        return "not on a processor"
    other = next((one.dtype for one in model.parameters() if one.dtype != torch.float32), None)
    return "" if other is None else f"weights of {str(other).removeprefix('torch.')}"
