"""What cannot attend is refused by its key, and what is drawn in training is not drawn behind it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from onehop.errors import ConfigError
from onehop.models import build
from onehop.nn import Source
from onehop.nn.attention.selects import Hard
from onehop.train import train
from tests.fixtures.tiny import number_pairs, onehop, refused, tiny_recipe, write_pairs

RECURRENT = {"architecture": "recurrent", "dim": 16, "hidden_dim": 16}
TRANSFORMER = {"architecture": "transformer", "dim": 16, "ffn_dim": 24}
HARD = {"recurrent": {**RECURRENT, "select": "hard"}, "transformer": {**TRANSFORMER, "cross_select": "hard"}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**TRANSFORMER, "num_heads": 0}, "model.num_heads: input should be greater than or equal to 1 (given: 0)"),
        ({**RECURRENT, "num_heads": 0}, "model.num_heads: input should be greater than or equal to 1 (given: 0)"),
        ({**TRANSFORMER, "num_heads": 3}, "num_heads=3 must divide dim=16; use one of [1, 2, 4, 8, 16]"),
        ({**RECURRENT, "num_heads": 3}, "num_heads=3 must divide hidden_dim=16; use one of [1, 2, 4, 8, 16]"),
        ({**TRANSFORMER, "num_heads": 4, "num_kv_heads": 3}, "num_kv_heads=3 must divide num_heads=4"),
        ({**RECURRENT, "num_heads": 4, "num_kv_heads": 3}, "num_kv_heads=3 must divide num_heads=4"),
        ({**TRANSFORMER, "window": 0}, "model.window: input should be greater than or equal to 1 (given: 0)"),
        ({**TRANSFORMER, "cross_region": "local-m", "cross_window": 0}, "model.cross_window: input should be greater"),
        ({**RECURRENT, "region": "local-p", "window": 0}, "model.window: input should be greater than or equal to 1"),
    ],
    ids=lambda value: str(value)[-30:],
)
def test_what_cannot_attend_is_refused_by_its_key(settings: dict[str, Any], message: str, pairs: str, tmp_path: Path):
    words = [word for key, value in settings.items() for word in ("--set", f"model.{key}={value}")]
    refused(onehop("train", "--pairs", pairs, *words, "--out", tmp_path / "run"), message)
    with pytest.raises(ConfigError) as caught:
        build(settings["architecture"], {key: value for key, value in settings.items() if key != "architecture"}, 40)
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("family", HARD)
def test_hard_attention_draws_nothing_behind_its_training(
    family: str, pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train(tiny_recipe(pairs).model_copy(update={"model": HARD[family]}), tmp_path / "run")

    def drawn(self: Hard, weights: torch.Tensor) -> torch.Tensor:
        raise AssertionError("drawn outside of training")

    monkeypatch.setattr(Hard, "draw", drawn)
    once, again = (onehop("translate", tmp_path / "run", stdin=b"Two Nine.\nOne.\n") for _ in range(2))
    assert (once.status, again.raw) == (0, once.raw)
    few = write_pairs(tmp_path / "few.tsv", number_pairs(3))
    assert onehop("evaluate", tmp_path / "run", "--data", few).status == 0


@pytest.mark.parametrize("region", ["local-p", "local-p-rounded"])
def test_without_lengths_a_predicted_place_lies_in_the_whole_width(region: str):
    model = build("recurrent", {"dim": 16, "hidden_dim": 16, "region": region, "window": 1}, 40).eval()
    tokens = torch.randint(3, 40, (2, 7))
    found = []
    for lengths in (None, torch.tensor([7, 7]), torch.tensor([7, 3])):
        hidden, _ = model.decode(tokens[:, :3], model.start(model.encode(Source(tokens, lengths))))
        found.append(hidden)
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0][1], found[2][1], atol=1e-3)
