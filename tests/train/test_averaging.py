"""What is validated and shipped: the newest weights, their moving average, or the mean of the last checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from onehop.errors import ConfigError
from onehop.files import Run
from onehop.train import make_recipe, train
from onehop.train.averaging import MovingAverage, lent
from tests.fixtures.tiny import number_pairs, tables, tiny_recipe, write_pairs

SETTINGS: dict[str, Any] = {
    "max_updates": 6, "evaluate_every": 6, "save_every": 1, "keep": 6, "best": "loss", "schedule": "constant",
}  # fmt: skip


def run(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    pairs = write_pairs(folder / "pairs.tsv", number_pairs(60))
    out = folder / "_".join(["run", *changes])
    train(tiny_recipe(pairs, train={**SETTINGS, **changes}), out)
    return out


def shipped(out: Path) -> dict[str, torch.Tensor]:
    return load_file(Run(out).model / "model.safetensors")


def history(out: Path) -> list[dict[str, torch.Tensor]]:
    return [load_file(folder / "weights.safetensors") for folder in Run(out).saved()]


def test_an_average_of_checkpoints_ships_the_mean_of_the_last_and_trains_on_from_the_newest(tmp_path: Path):
    plain, averaged = run(tmp_path), run(tmp_path, average=3)
    for name, tensor in shipped(averaged).items():
        mean = torch.stack([weights[name].double() for weights in history(plain)[-3:]]).mean(0)
        torch.testing.assert_close(tensor, mean.float())
    for one, other in zip(history(plain), history(averaged), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_fewer_checkpoints_than_asked_for_are_all_averaged(tmp_path: Path):
    out = run(tmp_path, average=50)
    for name, tensor in shipped(out).items():
        mean = torch.stack([weights[name].double() for weights in history(out)]).mean(0)
        torch.testing.assert_close(tensor, mean.float())


def test_checkpoints_are_kept_as_long_as_an_average_needs_them(tmp_path: Path):
    assert len(history(run(tmp_path, keep=1, average=4))) == 4


def test_a_moving_average_ships_what_its_definition_gives(tmp_path: Path):
    plain, averaged = run(tmp_path), run(tmp_path, ema=0.5)
    found, path = shipped(averaged), history(plain)
    for name, tensor in found.items():
        expected: Any = None
        for update, weights in enumerate(path, 1):
            keep = min(0.5, (1 + update) / (10 + update))
            start = weights[name] if expected is None else expected
            expected = keep * start + (1 - keep) * weights[name] if update > 1 else None
            if update == 1:  # the average starts at the weights before the first update, which no checkpoint holds
                expected = weights[name]
        assert float((tensor - expected).abs().max()) < 0.02 < float(SETTINGS["max_updates"])
        if tensor.dim() > 1:
            assert not torch.equal(tensor, path[-1][name])


def test_a_moving_average_of_a_model_that_stands_still_is_the_model():
    model = torch.nn.Linear(3, 2)
    average = MovingAverage(model, 0.9)
    for update in range(1, 5):
        average.updated(update)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(average.weights(5)[name], parameter.detach())


def test_lent_weights_are_taken_back_also_after_an_error():
    model = torch.nn.Linear(3, 2)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    other = {name: torch.zeros_like(p) for name, p in before.items()}

    def look() -> None:
        with lent(model, other):
            assert not any(p.any() for p in model.parameters())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look()
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_two_averages_at_once_are_refused():
    with pytest.raises(ConfigError, match="ema and average"):
        make_recipe(tables("pairs.tsv", train={"ema": 0.9, "average": 2}))
