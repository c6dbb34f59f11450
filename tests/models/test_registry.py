from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch

from onehop.errors import ConfigError
from onehop.models import ARCHITECTURES, architecture, build, registry
from onehop.models.inert import NEEDS, without_effect
from tests.laws.cases import every_pair


def message(name: str, settings: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        build(name, settings, 40)
    return str(caught.value)


def test_unknown_names_are_errors_with_the_nearest_name():
    assert "did you mean 'transformer'?" in message("transfomer", {})
    assert "did you mean 'transformer-base'?" in message("transformer", {"preset": "transformer-bas"})
    assert "did you mean 'dropout'?" in message("transformer", {"droput": 0.1})


def test_names_like_none_are_errors_that_list_what_there_is():
    assert "known: transformer" in message("zzz", {})
    found = message("transformer", {"preset": "zzz"})
    assert all(preset in found for preset in architecture("transformer").presets)
    assert "num_encoder_layers" in message("transformer", {"zzz": 1})


@pytest.mark.parametrize("preset", [3, True, ["transformer-base"], {"a": 1}, ""])
def test_a_preset_of_another_type_is_an_unknown_preset(preset: Any):
    assert "unknown preset" in message("transformer", {"preset": preset})


def test_every_mistake_is_named_at_once_with_its_key():
    found = message("transformer", {"dim": "wide", "dropout": 1.0, "droput": 0.1, "norm": "middle", "num_heads": 0})
    for key in ("model.dim", "model.dropout", "model.droput", "model.norm", "model.num_heads"):
        assert key in found
    assert "5 mistakes" in found


def test_a_setting_goes_before_its_preset():
    family = registry.configure("transformer", {"preset": "transformer-big", "dropout": 0.2})
    assert (family.dim, family.num_heads, family.dropout) == (1024, 16, 0.2)  # type: ignore[attr-defined]


@pytest.mark.parametrize("family", sorted(ARCHITECTURES))
def test_every_preset_and_every_axis_value_is_valid(family: str):
    for preset in architecture(family).presets:
        registry.configure(family, {"preset": preset})
    for key, values in architecture(family).axes.items():
        for value in values:
            rows = [case.row for case in every_pair() if case.family == family and case.row[key] == value]
            registry.configure(family, {name: rows[0][name] for name in architecture(family).axes})


OTHER = {
    "window": 3, "cross_window": 3, "hard_expected": 0.1, "max_positions": 99, "attention_dropout": 0.1,
    "rotary_base": 99.0, "rotary_factor": 2.0, "rotary_scaling": "ntk", "gumbel_temperature": 0.5,
}  # fmt: skip


@pytest.mark.parametrize(("family", "key"), [(family, key) for family, keys in NEEDS.items() for key in keys])
def test_a_setting_whose_part_is_missing_is_named_and_one_whose_part_is_there_is_not(family: str, key: str):
    def found(settings: dict[str, Any]) -> list[str]:
        return without_effect(family, registry.configure(family, {key: OTHER[key], **settings}))

    needs = [(name, value) for name, values in NEEDS[family][key].items() for value in values]
    (told,) = found({"context": "mean"} if needs[0][0] == "context" else {})
    assert told.startswith(f"{key}={OTHER[key]!r} has no effect without {needs[0][0]}={needs[0][1]!r}")
    assert not any(found({name: value}) for name, value in needs)


def test_the_same_seed_builds_the_same_weights():
    def weights(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        settings = {"preset": "transformer-tiny", "dim": 16, "ffn_dim": 24}
        return list(build("transformer", settings, 40).parameters())

    assert all(torch.equal(a, b) for a, b in zip(weights(1), weights(1), strict=True))
    assert not torch.equal(weights(1)[0], weights(2)[0])


def test_another_package_may_add_a_family(monkeypatch: pytest.MonkeyPatch):
    point = EntryPoint("theirs", "onehop.models.transformer:ARCHITECTURE", "onehop.architectures")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])
    assert registry.names() == [*ARCHITECTURES, "theirs"]
    assert architecture("theirs") is architecture("transformer")
    assert "did you mean 'theirs'?" in message("their", {})
