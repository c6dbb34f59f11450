"""How a pretrained encoder is changed: which of its layers learn, how fast, and which begin anew."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from onehop.errors import ConfigError
from onehop.models.body import initialise
from onehop.nn.lora import OWN

BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")


def layer_scales(model: nn.Module, decay: float) -> dict[str, float]:
    """Return the rate of each parameter of an encoder as a share of the head's (Howard 2018, section 3.2).

    The last block has `decay` of it, each block `decay` of the next, and the embeddings that of the first.

    Args:
        model: With blocks in its `encoder`.
        decay: From 0 to 1.

    Raises:
        ConfigError: It has no blocks.

    Example:
        >>> from onehop.models.encoders import build_encoder
        >>> small = {"dim": 4, "ffn_dim": 4, "num_heads": 1, "num_layers": 2, "max_positions": 9}
        >>> model = nn.ModuleDict({"encoder": build_encoder("bert", small, 9), "output": nn.Linear(4, 2)})
        >>> scales = layer_scales(model, 0.5)
        >>> scales["encoder.blocks.1.feedforward.up.bias"], scales["encoder.embeddings.tokens.weight"]
        (0.5, 0.125)
        >>> "output.bias" in scales
        False
    """
    places = {name: BLOCK.match(name) for name, _ in model.named_parameters() if name.startswith("encoder.")}
    numbers = {name: int(found[1]) for name, found in places.items() if found}
    if not numbers:
        raise ConfigError("this encoder has no blocks", "Leave it out.", "train.layer_decay")
    depth = 1 + max(numbers.values())
    norm = {name for name in places if name.startswith("encoder.norm.")}  # behind the last block
    return {name: decay ** (depth - numbers.get(name, depth - 1 if name in norm else -1)) for name in places}


def redraw(model: Any, layers: int) -> None:
    """Draw the last so many blocks of an encoder anew (Zhang 2021, "Revisiting Few-sample BERT Fine-tuning")."""
    blocks = list(model.encoder.blocks) if layers else []
    if layers > len(blocks):
        raise ConfigError(f"{layers} of {len(blocks)} blocks", "Give fewer.", "train.fresh_layers")
    for block in blocks[len(blocks) - layers :]:
        for part in block.modules():
            initialise(part)
            if isinstance(part, nn.LayerNorm):
                part.reset_parameters()


def freeze(model: Any) -> None:
    """Let nothing of an encoder learn but the changes beside it, if it has any: only what reads its states does."""
    for name, parameter in model.encoder.named_parameters():
        parameter.requires_grad_(requires_grad=name.rpartition(".")[2] in OWN)
