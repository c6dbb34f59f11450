"""Checkpoints of `transformers`: which settings, weights and heads each of its families has, and what they are here.

A family's file holds its `Layout`: how its `config.json` reads, and the key tables of its encoder and heads. Which
heads a checkpoint has is told by the class that its `config.json` names, and by the weights that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from torch import nn

from onehop.errors import ModelError, nearest
from onehop.models.body import BidirectionalEncoder
from onehop.models.encoders import build_encoder, configure_encoder
from onehop.models.keys import Key, expand, faults, refuse

Use = Literal["embed", "classify", "tag", "answer", "choose", "mlm"]

USES: dict[str, Use] = {
    "Model": "embed",
    "ForSequenceClassification": "classify",
    "ForTokenClassification": "tag",
    "ForQuestionAnswering": "answer",
    "ForMultipleChoice": "choose",
    "ForMaskedLM": "mlm",
    "ForPreTraining": "embed",
    "ForNextSentencePrediction": "embed",
}
REMEDY = "Copy the checkpoint again; its config.json and its weights must be of one model."


@dataclass(frozen=True)
class Head:
    """A part of a checkpoint beside the encoder.

    Args:
        build: From settings, encoder and number of labels to the module.
        keys: Of its weights; ours without the prefix `heads.NAME.`.
        tied: Names of tensors that repeat another, with the name of that.
    """

    build: Callable[[Any, BidirectionalEncoder, int], nn.Module]
    keys: Sequence[Key]
    tied: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A family's checkpoints.

    Args:
        architecture: Our name of the family.
        classes: For each `model_type`, how the names of its classes begin.
        prefix: Of the encoder's weights, where a head stands beside it.
        read: From `config.json` to our settings.
        write: From our settings to the keys of `config.json`.
        sentence: The head that maps the vector of a text before its classifier, and the name of that map.
        keys: Of the encoder's weights, without the prefix.
        heads: By our names.
        uses: For each use, the heads that it needs, the first of them on the states or the vector of the text.
        inside: Heads whose names have the encoder's prefix.
        optional: Heads that may be there beside those of the use.
        ignored: Tensors that are no weights, and are computed here.
    """

    architecture: str
    classes: Mapping[str, str]
    prefix: str
    read: Callable[[Mapping[str, Any]], dict[str, Any]]
    write: Callable[[Any], dict[str, Any]]
    sentence: tuple[str, str]
    keys: Callable[[Any], Sequence[Key]]
    heads: Mapping[str, Head]
    uses: Mapping[Use, tuple[str, ...]]
    inside: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ("embeddings.position_ids", "embeddings.token_type_ids")


LAYOUTS = {
    "bert": "onehop.models.bert:LAYOUT",
    "roberta": "onehop.models.roberta:LAYOUT",
    "xlm-roberta": "onehop.models.roberta:LAYOUT",
    "camembert": "onehop.models.roberta:LAYOUT",
    "distilbert": "onehop.models.distilbert:LAYOUT",
    "electra": "onehop.models.electra:LAYOUT",
    "modernbert": "onehop.models.modernbert:LAYOUT",
}


class Pretrained(nn.Module):
    """An encoder with the heads of its checkpoint.

    Args:
        encoder: Whose states they read.
        heads: By name.
    """

    def __init__(self, encoder: BidirectionalEncoder, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.encoder, self.heads = encoder, nn.ModuleDict(dict(heads))


def layout(model_type: str, where: str = "") -> Layout:
    """Return the layout of a `model_type`.

    Raises:
        ModelError: Onehop does not read it.

    Example:
        >>> layout("xlm-roberta").architecture
        'roberta'
    """
    if model_type not in LAYOUTS:
        hint = nearest(model_type, LAYOUTS)
        raise ModelError(
            f"a checkpoint of the architecture {model_type!r}, which Onehop does not read"
            + (f"; {hint}" if hint else ""),
            f"Use one of {', '.join(LAYOUTS)}.",
            where,
        )
    module, _, attribute = LAYOUTS[model_type].partition(":")
    return getattr(import_module(module), attribute)


def use_of(of: Layout, config: Mapping[str, Any], where: str = "") -> Use:
    """Return what a checkpoint is for, by the class that its `config.json` names.

    Raises:
        ModelError: The class is unknown, or of another family.
    """
    named = config.get("architectures") or []
    begin = of.classes[config["model_type"]]
    if not named:
        return "embed"
    name = str(named[0])
    use = USES.get(name.removeprefix(begin)) if name.startswith(begin) else None
    if use is None or (use != "embed" and use not in of.uses):
        known = ", ".join(begin + end for end, use in USES.items() if use == "embed" or use in of.uses)
        raise ModelError(
            f"a checkpoint of the class {name!r}, which Onehop does not read", f"Use one of {known}.", where
        )
    return use


def class_of(of: Layout, model_type: str, use: Use, heads: Sequence[str]) -> str:
    """Return the class of `transformers` that has these heads."""
    end = next(end for end, known in USES.items() if known == use)
    if use in ("embed", "mlm") and ({"mlm", "nsp"} <= set(heads) or "discriminate" in heads):
        end = "ForPreTraining"
    elif use == "embed" and {"mlm", "nsp"} & set(heads):
        end = "ForMaskedLM" if "mlm" in heads else "ForNextSentencePrediction"
    return of.classes[model_type] + end


def plan(of: Layout, use: Use, names: Sequence[str]) -> tuple[bool, list[str]]:
    """Return whether the encoder's names carry their prefix, and which heads a checkpoint has."""
    prefixed = any(name.startswith(of.prefix) for name in names)
    heads = list(of.uses.get(use, ()))
    for head in of.optional:
        wanted = {_placed(of, head, key.theirs, prefixed) for key in of.heads[head].keys}
        if head not in heads and wanted & set(names):
            heads.append(head)
    return prefixed, heads


def build_pretrained(of: Layout, settings: Mapping[str, Any], heads: Sequence[str], vocab: int, labels: int) -> Any:
    """Build an encoder and heads with fresh weights.

    Raises:
        ModelError: The family has no such head.
    """
    if unknown := [name for name in heads if name not in of.heads]:
        raise ModelError(f"the heads {unknown}, which {of.architecture} does not have", REMEDY)
    config = configure_encoder(of.architecture, settings)
    encoder = build_encoder(of.architecture, settings, vocab)
    return Pretrained(encoder, {name: of.heads[name].build(config, encoder, labels) for name in heads})


def lines(of: Layout, config: Any, heads: Sequence[str], prefixed: bool) -> list[Key]:
    """Return the expanded key table of an encoder and its heads."""
    begin = of.prefix if prefixed else ""
    table = [
        Key(begin + key.theirs, tuple(f"encoder.{name}" for name in key.ours), key.change) for key in of.keys(config)
    ]
    for head in heads:
        for key in of.heads[head].keys:
            ours = tuple(f"heads.{head}.{name}" for name in key.ours)
            table.append(Key(_placed(of, head, key.theirs, prefixed), ours, key.change))
    return expand(table, config.num_layers)


def duplicates(of: Layout, heads: Sequence[str], names: Iterable[str]) -> tuple[set[str], dict[str, str]]:
    """Return which tensors of a checkpoint are no weights, and which repeat another, with the name of that.

    Where a checkpoint holds only the one that repeats, that is the weight.
    """
    known = set(names)
    ignored = {name for name in of.ignored for name in (name, of.prefix + name)} & known
    repeats: dict[str, str] = {}
    for head in heads:
        for name, original in of.heads[head].tied.items():
            first = of.prefix + original if of.prefix + original in known else original
            if name in known:
                repeats[name] = first
    return ignored, repeats


def modern(name: str) -> str:
    """Return a name as it is written today: the first BERTs called the two parts of a normalisation gamma and beta.

    Example:
        >>> modern("embeddings.LayerNorm.gamma")
        'embeddings.LayerNorm.weight'
    """
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith("LayerNorm" + old):
            return name.removesuffix(old) + new
    return name


def check(table: Sequence[Key], shapes: Mapping[str, tuple[int, ...]], model: nn.Module, where: str) -> None:
    """Check that a checkpoint has exactly the tensors of a model.

    Raises:
        ModelError: Names all that are missing, unlisted or of another shape.
    """
    ours = {name: parameter.shape for name, parameter in model.named_parameters()}
    refuse(faults(table, shapes, ours), where, REMEDY)


def _placed(of: Layout, head: str, name: str, prefixed: bool) -> str:
    return of.prefix + name if head in of.inside and prefixed else name
