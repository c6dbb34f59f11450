"""What models of every task but translation do alike: where they run, and how fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch

from onehop.runtime import Speed, accelerate


class Runs:
    """A model with all it needs to run; made of `model`, `tokenizer` and `settings`."""

    task = ""
    drift = ""  # what its package does otherwise than when it was made, where that was allowed
    speed: Speed | None = None  # how a fast one runs
    made_of: Self | None = None  # what a fast one was made of

    def __init__(self, model: Any, tokenizer: Any, settings: Any) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str) -> Self:
        """Move the weights; return this model."""
        self.model.to(device)
        return self

    def fast(self, precision: str = "float32", tell: Callable[[str], None] = lambda text: None) -> Self:
        """Return a model of the same weights that runs as fast as this machine allows, for inference alone.

        Args:
            precision: Of the products: `float32`, which gives the same numbers up to rounding, `bfloat16` or `int8`.
            tell: Is told when kernels are compiled, which takes seconds, once.

        Raises:
            ConfigError: No such precision.
        """
        model, speed = accelerate(self.model, precision, tell)
        twin = type(self)(model, self.tokenizer, self.settings)
        twin.made_of, twin.drift, twin.speed = self, self.drift, speed
        return twin

    @property
    def reference(self) -> Self:
        """What a fast model was made of, whose every part can be looked into; itself, if it is none."""
        return self.made_of or self
