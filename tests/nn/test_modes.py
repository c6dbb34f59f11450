"""Models go from training to inference once."""

from __future__ import annotations

import torch

from onehop.nn.modes import for_inference


def test_a_model_that_trains_stops_in_all_its_parts() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Sequential(torch.nn.Dropout(0.5)))
    assert for_inference(model) is model
    assert not any(part.training for part in model.modules())
    assert for_inference(model.train()) is model
    assert not any(part.training for part in model.modules())
