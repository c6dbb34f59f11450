"""Key/value heads of a trained model that become fewer."""

import json
from typing import Any

import pytest
import torch

from onehop.errors import ConfigError
from onehop.models import build
from onehop.tasks import Translator, convert, group_heads, load_package, save_package
from onehop.tasks.grouping import POOLS
from tests.fixtures.tiny import onehop, refused

LINES = ["Two Nine.", "Five Three One."]


def projections(task: Any) -> list[Any]:
    return [part for block in task.model.decoder for part in (block.attention.projections, block.cross.projections)]


def heads(weight: torch.Tensor, groups: int) -> torch.Tensor:
    return weight.unflatten(0, (groups, -1))


@pytest.mark.parametrize("groups", [2, 1])
def test_pooled_projections_are_the_mean_exactly_and_nothing_else_changes(trained, groups: int):
    package = load_package(trained)
    small = group_heads(package, groups)
    for old, new in zip(projections(package.task), projections(small.task), strict=True):
        for name in ("key", "value"):
            before = heads(getattr(old, name).weight, 4).unflatten(0, (groups, -1))
            assert torch.equal(heads(getattr(new, name).weight, groups), before.mean(1))
        assert torch.equal(new.query.weight, old.query.weight)
    weights = dict(small.task.model.named_parameters())
    kept = [name for name, p in package.task.model.named_parameters() if weights[name].shape == p.shape]
    assert all(torch.equal(weights[name], dict(package.task.model.named_parameters())[name]) for name in kept)
    assert any(name.startswith("encoder") and "key" in name for name in kept)


def test_the_first_heads_and_new_ones_are_controls(trained):
    package = load_package(trained)
    found = {pool: group_heads(package, 2, pool) for pool in POOLS}
    old = heads(projections(package.task)[0].key.weight, 4)
    keys = {pool: heads(projections(small.task)[0].key.weight, 2) for pool, small in found.items()}
    assert torch.equal(keys["first"], old[::2])
    assert not any(torch.equal(keys["random"], keys[pool]) for pool in ("mean", "first"))
    assert torch.equal(
        projections(group_heads(package, 2, "random").task)[0].key.weight.unflatten(0, (2, -1)), keys["random"]
    )


def test_where_the_heads_of_a_group_are_equal_the_outputs_are(trained):
    package = load_package(trained)
    with torch.no_grad():
        for each in projections(package.task):
            for weight in (each.key.weight, each.value.weight):
                weight.copy_(heads(weight, 4)[::2].repeat_interleave(2, 0).flatten(0, 1))
    small = group_heads(convert(package, "float32"), 2)
    before, after = (model.translate(LINES) for model in (package.task, small.task))
    assert [t.text for t in before] == [t.text for t in after]
    assert [t.score for t in after] == pytest.approx([t.score for t in before], abs=1e-5)


def test_a_converted_package_is_verified_keeps_its_record_and_can_be_trained_on(trained, tmp_path):
    result = onehop("export", trained, tmp_path / "small", "--kv-heads", "2")
    assert (result.status, result.raw) == (0, b"")
    assert "must learn to use its new heads" in result.err
    assert "already: nothing is changed" in onehop("export", trained, tmp_path / "same", "--kv-heads", "4").err
    small, old = load_package(tmp_path / "small"), load_package(trained)
    assert (small.record, small.precision) == (old.record, "float32")
    assert small.golden != old.golden
    state = small.task.model.decoder[0].attention
    assert (state.num_heads, state.num_kv_heads, small.task.model.encoder[0].attention.num_kv_heads) == (4, 2, 4)
    settings = json.loads(onehop("info", tmp_path / "small", "--json").out)["config"]["model"]
    assert (settings["decoder_kv_heads"], settings["cross_kv_heads"]) == (2, 2)
    assert onehop("verify", tmp_path / "small").status == 0


def test_what_cannot_be_grouped_is_refused_with_the_reason(trained, tmp_path):
    out = tmp_path / "out"
    refused(onehop("export", trained, out, "--kv-heads", "3"), "3 key/value heads do not divide the 4 of")
    refused(onehop("export", trained, out, "--kv-heads", "0"), "0 key/value heads do not divide")
    refused(onehop("export", trained, out, "--kv-heads", "2", "--pool", "median"), "unknown value 'median'")
    refused(onehop("export", trained, out, "--pool", "first"), "no heads become one", "--kv-heads")
    assert not out.exists()
    package = load_package(trained)
    task = package.task
    model = {**task.settings.model, "cross_score": "additive"}
    settings = task.settings.model_copy(update={"model": model})
    net = build("transformer", model, task.source_tokenizer.vocab_size)
    other = Translator(net, task.source_tokenizer, task.target_tokenizer, settings)
    with pytest.raises(ConfigError, match="the score additive has weights of its own"):
        group_heads(type(package)(other, (), "", {}), 1)
    save_package(group_heads(package, 1), out)
    assert load_package(out).task.model.decoder[0].cross.num_kv_heads == 1
