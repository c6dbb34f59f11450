"""The keys of `[train]` that only tasks of encoders have: which of an encoder's weights learn, and how fast."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from onehop.train.recipe import TrainConfig


class TuneConfig(TrainConfig):
    """How a model learns whose encoder may come from elsewhere."""

    precision: Literal["float32", "bfloat16", "auto"] | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None,
        description="Of the products in training; weights and sums stay float32. auto: bfloat16 where it is fast. "
        "Default: auto for pretrained encoders, else float32.",
    )
    layer_decay: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Encoders: the rate of each block as a share of the next one's, the last being that of the head; "
        "none if left out, but for pretrained ones.",
    )
    frozen: bool = Field(default=False, description="Encoders that are continued: let only the head learn.")
    fresh_layers: int = Field(default=0, ge=0, description="Pretrained encoders: last blocks that are drawn anew.")
    lora_rank: int | None = Field(
        default=None,
        ge=1,
        description="Encoders that are continued: hold them, and learn changes of this rank beside them (Hu 2021).",
    )
    lora_alpha: float = Field(
        default=16.0, gt=0, le=1e6, description="The changes are scaled by this, divided by their rank."
    )
    lora_targets: list[Literal["query", "key", "value", "out", "gate", "up", "down"]] = Field(
        default=["query", "value"], min_length=1, description="Maps of each block that are changed."
    )
    lora_dropout: float = Field(default=0.0, ge=0, lt=1, description="On what the changes read.")

    @model_validator(mode="after")
    def _one_way(self) -> TuneConfig:
        for key in ("frozen", "fresh_layers"):
            if self.lora_rank and getattr(self, key):
                why = {
                    "frozen": "lets nothing of an encoder learn",
                    "fresh_layers": "draws blocks that lora_rank holds",
                }
                raise ValueError(f"{key} {why[key]}, so it does not go with lora_rank; leave one of them out")
        usual = TuneConfig.model_fields
        for key in ("lora_alpha", "lora_targets", "lora_dropout"):
            if not self.lora_rank and getattr(self, key) != usual[key].default:
                raise ValueError(f"{key} says nothing without lora_rank, such as 8; give it, or leave {key} out")
        if len(set(self.lora_targets)) < len(self.lora_targets):
            raise ValueError(f"lora_targets={self.lora_targets} names a map twice")
        return self
