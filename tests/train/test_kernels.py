"""Training with kernels and without them is the same training."""

from pathlib import Path
from typing import Any

import pytest
import torch

import onehop
from onehop.nn.kernels import kernels
from onehop.train import train
from onehop.train.listener import Silent
from tests.fixtures.tiny import number_pairs, tiny_recipe, write_pairs


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, text: str) -> None:
        self.lines.append(text)


def weights(folder: Path, pairs: str, **settings: Any) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return the weights after six updates, and what training told."""
    heard = Heard()
    recipe = tiny_recipe(
        pairs,
        model={"dropout": 0.0, "dim": 32, "ffn_dim": 64},
        train={"max_updates": 6, "learning_rate": 1e-3, **settings},
    )
    train(recipe, folder, listener=heard)
    model = onehop.load(folder).model
    return dict(model.named_parameters()), heard.lines


@pytest.mark.parametrize(
    "settings", [{}, {"r_drop": 2.0}, {"packing": True}, {"label_smoothing": 0.1, "accumulate": 2}], ids=str
)
def test_the_model_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]):
    pairs = write_pairs(tmp_path / "pairs.tsv", number_pairs(400))
    assert kernels() is not None
    with_kernels, _ = weights(tmp_path / "with", pairs, **settings)
    monkeypatch.setenv("ONEHOP_KERNELS", "0")
    without, told = weights(tmp_path / "without", pairs, **settings)
    assert "ONEHOP_KERNELS=0: torch trains alone, which is slower" in told
    for name, weight in without.items():
        torch.testing.assert_close(with_kernels[name], weight, atol=2e-4, rtol=1e-3, msg=name)


def test_compiling_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pairs = write_pairs(tmp_path / "pairs.tsv", number_pairs(400))
    monkeypatch.setenv("ONEHOP_CACHE", str(tmp_path / "cache"))
    _, first = weights(tmp_path / "first", pairs)
    _, second = weights(tmp_path / "second", pairs)
    assert sum("compiling kernels" in line for line in first) == 1
    assert not any("compiling kernels" in line for line in second)
