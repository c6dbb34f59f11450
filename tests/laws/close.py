"""Equality up to the rounding of float64."""

from typing import Any

import torch
from torch import Tensor


def assert_same(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    """Assert that tensors agree to `tolerance`, absolute and relative."""
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def gradients(model: Any, value: Tensor) -> dict[str, Tensor]:
    """Return the gradient of a scalar by the parameter's name; zeros where there is none."""
    parameters = dict(model.named_parameters())
    found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(parameters, found, strict=True))
