"""Low-rank changes: what they add up to, and where they are put."""

import pytest
import torch
from torch import nn

from onehop.errors import ConfigError
from onehop.models.encoders import build_encoder
from onehop.nn import Source
from onehop.nn.lora import LowRank, adapt, merge

SMALL = {"dim": 8, "ffn_dim": 16, "num_heads": 2, "num_layers": 2, "max_positions": 20}


def moved(model: nn.Module) -> nn.Module:
    """Return a model whose changes are not zero."""
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, LowRank):
                part.lora_b.normal_(std=0.1)
    return model


@pytest.mark.parametrize("bias", [True, False])
def test_it_computes_what_the_paper_says(bias: bool):
    linear = nn.Linear(6, 5, bias=bias)
    part = moved(LowRank(linear, rank=2, alpha=3.0))
    x = torch.randn(4, 6)
    wanted = linear(x) + 3.0 / 2 * x @ part.lora_a.T @ part.lora_b.T
    assert torch.allclose(part(x), wanted, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_merged_is_unmerged_to_the_last_digits(family: str, dtype: torch.dtype):
    encoder = build_encoder(family, SMALL, 30)
    gated = ["gate"] if family == "modernbert" else []
    adapt(encoder, ["query", "key", "value", "out", "up", "down", *gated], rank=2, alpha=4.0)
    encoder = moved(encoder).to(dtype).eval()
    plain = merge(encoder)
    source = Source(torch.randint(3, 30, (3, 7)), torch.tensor([7, 4, 1]))
    with torch.inference_mode():
        apart, together = encoder.encode(source).states, plain.encode(source).states
    real = torch.arange(7) < source.lengths.unsqueeze(1)
    assert (apart - together)[real].abs().max() <= (1e-6 if dtype == torch.float32 else 1e-13) * apart.abs().max()
    assert not any(isinstance(part, LowRank) for part in plain.modules())
    assert [name for name, _ in plain.named_parameters()] == [
        n for n, _ in build_encoder(family, SMALL, 30).named_parameters()
    ]
    shared = dict(encoder.named_parameters())["embeddings.tokens.weight"]
    assert dict(plain.named_parameters())["embeddings.tokens.weight"] is shared


def test_it_begins_as_what_it_changes_and_only_it_learns():
    encoder = build_encoder("bert", SMALL, 30).eval()
    source = Source(torch.randint(3, 30, (2, 5)), torch.tensor([5, 5]))
    before = encoder.encode(source).states
    adapt(encoder, ["query", "value"], rank=2, alpha=4.0)
    assert torch.allclose(encoder.encode(source).states, before, atol=1e-6)


def test_a_rank_or_a_name_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="a rank of 9 for a map from 8 to 8"):
        adapt(build_encoder("bert", SMALL, 30), ["query"], rank=9, alpha=1.0)
    with pytest.raises(ConfigError, match="no linear map named gate") as told:
        adapt(build_encoder("bert", SMALL, 30), ["query", "gate"], rank=2, alpha=1.0)
    assert told.value.remedy == "It has query, key, value, out, up, down."
    with pytest.raises(ConfigError, match=r"no linear map named query, value"):
        adapt(build_encoder("recurrent", {"hidden_dim": 8}, 30), ["query", "value"], rank=2, alpha=1.0)
