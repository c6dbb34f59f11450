"""Some of the inputs of `benchmarks/fuzz.py`: the record of all of them is `benchmarks/results/fuzz.json`."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _script():
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "benchmarks/fuzz.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


FUZZ = _script()


@pytest.mark.parametrize("target", FUZZ.TARGETS)
def test_nothing_but_our_own_errors_comes_out_of_any_input(target, tmp_path, monkeypatch):
    monkeypatch.setenv("ONEHOP_CACHE", str(tmp_path / "cache"))
    counts = FUZZ.fuzz(target, 150, 77, tmp_path)
    assert counts.keys() <= {"read", "refused"}, counts
    assert counts["read"] >= 1  # some mutations leave a good input, so that both ways are walked
    assert counts["refused"] >= 20


def test_the_record_is_of_enough_inputs_of_every_target_and_tells_no_failure():
    record = json.loads((ROOT / "benchmarks/results/fuzz.json").read_text())
    assert record["failed"] == 0
    assert record["inputs"] >= 100_000
    assert record["targets"].keys() == FUZZ.TARGETS.keys()
    assert record["targets"]["loader"]["inputs"] >= 20_000
