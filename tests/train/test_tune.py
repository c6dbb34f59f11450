"""What of a pretrained encoder learns, how fast, and what begins anew."""

from pathlib import Path

import pytest
import torch

from onehop.errors import ConfigError
from onehop.tasks import load_package
from onehop.train import make_recipe, train
from onehop.train.optimizer import adamw
from onehop.train.tune import layer_scales, redraw
from tests.fixtures.labelled import classifier, reviews, write_reviews

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"


def trained(folder: Path, name: str, **changes: object) -> dict[str, torch.Tensor]:
    table = write_reviews(folder / "rooms.csv", reviews(60, sentences=1))
    steps = {"max_updates": 3, "evaluate_every": 3, "init": str(CHECKPOINT), "learning_rate": 1e-2, **changes}
    train(make_recipe({"task": "classify", "data": {"train": [table]}, "train": steps}), folder / name)
    return dict(load_package(folder / name).task.model.named_parameters())


def test_a_frozen_encoder_stays_as_it_was_and_its_head_learns(tmp_path: Path):
    begun = dict(load_package(CHECKPOINT).task.model.named_parameters())
    found = trained(tmp_path, "run", frozen=True)
    encoder = [name for name in found if name.startswith("encoder.")]
    assert encoder
    assert all(torch.equal(found[name], begun[name]) for name in encoder)
    assert not torch.equal(found["pooling.transform.linear.weight"], begun["heads.pooler.linear.weight"])


def test_lower_layers_learn_more_slowly(tmp_path: Path):
    begun = dict(load_package(CHECKPOINT).task.model.named_parameters())
    found = trained(tmp_path, "run", layer_decay=0.1)
    last = max(int(name.split(".")[2]) for name in found if name.startswith("encoder.blocks."))
    change = {place: (found[name] - begun[name]).abs().max().item()
              for place in (0, last) for name in [f"encoder.blocks.{place}.feedforward.up.weight"]}  # fmt: skip
    assert 0 < change[0] < 0.3 * change[last]


def test_fresh_layers_are_drawn_anew_and_the_others_kept():
    task = classifier("bert")
    before = {name: value.clone() for name, value in task.model.named_parameters()}
    redraw(task.model, 1)
    changed = {name for name, value in task.model.named_parameters() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("encoder.blocks.1.") for name in changed)


def test_the_head_has_the_whole_rate_and_each_group_its_share():
    model = classifier("bert").model
    scales = layer_scales(model, 0.5)
    assert scales["encoder.blocks.1.feedforward.up.weight"] == 0.5
    assert scales["encoder.blocks.0.feedforward.up.weight"] == 0.25
    assert scales["encoder.embeddings.tokens.weight"] == 0.125
    optimizer = adamw(model, weight_decay=0.1, betas=(0.9, 0.99), epsilon=1e-8, scales=scales)
    of = {id(p): group["scale"] for group in optimizer.param_groups for p in group["params"]}
    assert of[id(model.output.weight)] == 1.0
    assert of[id(dict(model.named_parameters())["encoder.embeddings.tokens.weight"])] == 0.125
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays[id(model.output.bias)] == 0.0


def test_what_a_model_has_not_is_refused(tmp_path: Path):
    for settings, problem in (
        ({"layer_decay": 0.5, "init": None}, "this encoder has no blocks"),
        ({"frozen": True, "init": None}, "nothing to keep"),
        ({"fresh_layers": 7}, "7 of 2 blocks"),
    ):
        with pytest.raises(ConfigError, match=problem):
            trained(tmp_path, "run", **settings)


def test_a_translation_has_none_of_these(tmp_path: Path):
    with pytest.raises(Exception, match=r"train\.frozen: unknown key"):
        make_recipe({"data": {"pairs": ["a.tsv"]}, "train": {"frozen": True}})
