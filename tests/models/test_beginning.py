"""What encoders begin with: matrices for their width, and positions that stand to each other as their distance says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onehop.models.encoders import build_encoder
from onehop.nn.positions import Learned

SMALL = {"num_layers": 2, "num_heads": 4, "max_positions": 70}


@pytest.mark.parametrize(("dim", "deviation"), [(192, 0.04), (768, 0.02)])
@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_the_deviation_of_a_map_goes_by_what_it_reads(name: str, dim: int, deviation: float):
    model = build_encoder(name, {**SMALL, "dim": dim, "ffn_dim": dim}, 100)
    maps = [one.weight.detach() for one in model.modules() if isinstance(one, nn.Linear) and one.in_features == dim]
    found = [float(weight.std()) for weight in maps]
    assert len(found) > 8
    assert found == pytest.approx([deviation] * len(found), rel=0.05)


def test_positions_begin_as_waves_so_that_distance_alone_tells_how_alike_they_are():
    model = build_encoder("bert", {**SMALL, "dim": 192, "ffn_dim": 8}, 100)
    [table] = [one.weight.detach() for one in model.modules() if isinstance(one, Learned)]
    alike = table @ table.T
    for distance in (0, 1, 5, 30):
        along = alike.diagonal(distance)
        assert torch.allclose(along, along[:1].expand_as(along), atol=1e-5)
    assert alike[0, 0] > alike[0, 1] > alike[0, 5]
    assert float(table.square().mean()) == pytest.approx(0.02**2, rel=1e-4)


def test_it_is_another_model_with_another_seed_and_the_same_with_the_same():
    built: list[torch.Tensor] = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = build_encoder("bert", {**SMALL, "dim": 16, "ffn_dim": 8}, 30)
        built.append(nn.utils.parameters_to_vector(model.parameters()).detach())
    assert torch.equal(built[0], built[1])
    assert not torch.equal(built[0], built[2])
