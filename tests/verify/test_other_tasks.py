"""Every check of every task but translation finds a package that is broken in what it checks."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from onehop.errors import DataError, ModelError
from onehop.nn import Memory, Source
from onehop.tasks import Package, convert, load_package, new_package, save_package
from onehop.tasks import weights as weights_module
from onehop.tasks.regression import WIDER
from onehop.verify import Lines, Report, fixed_lines, read_data, verify
from tests.fixtures.packages import edit_golden, edit_manifest
from tests.laws.packages import CHECKPOINTS, PACKAGES, Small, every_package

KNOWN = {str(small): small for small in every_package()}
TASKS = {
    "classify": KNOWN["classify-transformer-fresh"],
    "classify, begun with a checkpoint": KNOWN["classify-bert-BertForSequenceClassification"],
    "embed": KNOWN["embed-bert-BertModel"],
    "tag": KNOWN["tag-transformer-fresh"],
    "tag, begun with a checkpoint": KNOWN["tag-bert-BertModel"],
    "answer": KNOWN["answer-bert-BertModel"],
    "regress": KNOWN["regress-bert-fresh"],
    "multilabel": KNOWN["multilabel-bert-fresh"],
    "choose": KNOWN["choose-bert-BertModel"],
}


def test_packages_of_every_task_are_broken():
    assert {name.split(",")[0] for name in TASKS} | {"translation"} == set(PACKAGES)


@pytest.fixture(params=TASKS.values(), ids=str)
def package(request: pytest.FixtureRequest) -> Package:
    small: Small = request.param
    return small.make()


def failed(report: Report) -> list[str]:
    return [check.name for check in report.checks if check.passed is False]


def few(package: Package) -> Lines:
    """Return lines of different lengths, so few that the tiny encoder has positions for all of them in a row."""
    lines = fixed_lines(package)
    places = sorted(range(len(lines)), key=lambda place: len(lines.sources[place]))
    if package.task.task == "choose":
        places = [place for place in places if package.task.documents.mark in lines.sources[place]]
    places = places[{"answer": slice(2), "choose": slice(1)}.get(package.task.task, slice(0, 12, 2))]
    return Lines("few", tuple(lines.places[i] for i in places), tuple(lines.sources[i] for i in places))


Encode = Callable[[Any, Source], Memory]


def batch_leak(encode: Encode) -> Encode:
    """What is encoded depends on what else is in the batch, a padded one."""

    def leaky(self: Any, source: Source) -> Memory:
        memory = encode(self, source)
        if source.segments is not None:
            return memory
        mean = memory.states.mean(0, keepdim=True)
        return replace(memory, states=memory.states + 0.2 * (mean - memory.states))

    return leaky


def packed_leak(encode: Encode) -> Encode:
    """The texts of a packed row are read as one."""

    def leaky(self: Any, source: Source) -> Memory:
        if source.segments is None:
            return encode(self, source)
        memory = encode(self, replace(source, segments=source.segments.clamp(max=0)))
        return replace(memory, segments=source.segments)

    return leaky


@pytest.mark.parametrize(("leak", "check"), [(batch_leak, "batched = single"), (packed_leak, "packed = padded")])
def test_an_encoder_that_mixes_texts_fails_the_check_of_that(
    leak: Callable[[Encode], Encode], check: str, package: Package, monkeypatch: pytest.MonkeyPatch
):
    kind: Any = type(package.task.model.encoder)
    assert failed(verify(package, few(package))) == []
    monkeypatch.setattr(kind, "encode", leak(kind.encode))
    report = verify(package, few(package))
    assert failed(report) == [check]
    assert not report.passed
    assert next(one for one in report.checks if one.name == check).detail.startswith("largest at fixed line:")


def test_weights_that_change_when_they_are_loaded_fail_the_check_of_bytes(
    package: Package, monkeypatch: pytest.MonkeyPatch
):
    def drifting(self: Any, mode: bool = True) -> Any:
        if not mode and self.training:
            with torch.no_grad():
                next(self.parameters()).mul_(1 + 1e-6)
        return nn.Module.train(self, mode)

    monkeypatch.setattr(type(package.task.model), "train", drifting)
    assert failed(verify(package, few(package))) == ["save, load, save"]


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "text": lambda line: line.update(source=line["source"] + " " + line["source"]),
    "number": lambda line: _off(line, 0.002),
}


def _off(line: dict[str, Any], by: float) -> None:
    """Move a log-probability of a label, a number of a vector, or a number by as much of its tolerance."""
    values = line.get("log_probs", line.get("embedding"))
    if values is None:
        line["value"] += by * WIDER * 1.5  # the deviation of its numbers
        return
    if isinstance(values, dict):
        values[next(iter(values))] += by
    else:
        values[0] += by


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_golden_line_that_does_not_come_out_again_fails(
    change: Callable[[dict[str, Any]], object], package: Package, tmp_path: Path
):
    save_package(package, tmp_path / "model")
    edit_golden(tmp_path / "model", lambda lines: change(lines[2]))
    edited = load_package(tmp_path / "model", allow_drift=True)
    report = verify(edited, few(edited))
    assert failed(report) == ["golden lines"]
    assert "golden line 3" in report.checks[0].detail


def test_a_golden_line_within_rounding_passes(package: Package, tmp_path: Path):
    save_package(package, tmp_path / "model")
    edit_golden(tmp_path / "model", lambda lines: _off(lines[2], 0.0009))
    edited = load_package(tmp_path / "model")
    assert verify(edited, few(edited)).passed


@pytest.mark.parametrize("name", ["classify", "embed"])
def test_rounding_that_is_too_coarse_fails(name: str, monkeypatch: pytest.MonkeyPatch):
    package, exact = TASKS[name].make(), weights_module.quantise

    def coarse(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        whole, scale = exact(matrix)
        return (whole / 127).round().mul(127).clamp(-127, 127).to(torch.int8), scale

    monkeypatch.setattr(weights_module, "quantise", coarse)
    assert failed(verify(package, few(package), precision="int8")) == ["int8 against float32"]


def test_rounded_weights_of_another_model_fail(package: Package):
    small = convert(package, "int8")
    with torch.no_grad():
        for parameter in package.task.model.parameters():
            parameter.add_(torch.randn_like(parameter))
    lines = fixed_lines(small) if small.task.task == "choose" else few(small)  # one may come out the same by luck
    assert failed(verify(small, lines, full=package.task)) == ["int8 against float32"]


def test_weights_that_are_no_numbers_fail(package: Package, tmp_path: Path):
    save_package(package, tmp_path / "model")
    package = load_package(tmp_path / "model")
    with torch.no_grad():
        next(package.task.model.parameters()).fill_(float("nan"))
    found = failed(verify(package, few(package)))
    assert {"golden lines", "batched = single", "packed = padded"} <= set(found)
    json.dumps(verify(package, few(package)).to_dict(), allow_nan=False)  # other programs read it


def test_a_checkpoint_of_others_is_no_package_whose_bytes_could_have_changed():
    report = verify(load_package(CHECKPOINTS / "BertForSequenceClassification"))
    assert failed(report) == []
    assert {check.name for check in report.checks if check.passed is None} == {"golden lines", "precision"}


DECIDES = [
    ("classify-transformer-fresh", "threshold", 0.6), ("classify-transformer-fresh", "aliases", {"0": "good"}),
    ("classify-transformer-fresh", "columns", ["text"]), ("multilabel-bert-fresh", "separator", "/"),
    ("multilabel-bert-fresh", "thresholds", {"bad": 0.4, "good": 0.61}), ("multilabel-bert-fresh", "columns", ["text"]),
    ("classify-transformer-fresh", "language", "ja"), ("multilabel-bert-fresh", "language", "ja"),
    ("regress-recurrent-fresh", "language", "ja"), ("regress-recurrent-fresh", "text.sentences", True),
    ("classify-transformer-fresh", "text.sentences", True),
    ("regress-recurrent-fresh", "columns", ["text"]), ("tag-transformer-fresh", "scheme", "bioes"),
    ("tag-transformer-fresh", "text.words", "space"), ("answer-bert-BertModel", "threshold", 1.0),
    ("answer-bert-BertModel", "text.overlap", 3), ("answer-bert-BertModel", "text.longest_answer", 29),
    ("choose-bert-BertModel", "first_number", 1), ("translation-transformer-fresh", "decode.beam_size", 3),
    ("translation-transformer-fresh", "text.sentences", False),
    ("translation-transformer-fresh", "source_language", "ja"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "setting", "value"), DECIDES)
def test_a_setting_that_decides_and_was_changed_with_hashes_that_fit_is_drift_and_fails(
    name: str, setting: str, value: object, tmp_path: Path
):
    folder = tmp_path / "model"
    save_package(KNOWN[name].make(), folder)
    table, _, key = setting.rpartition(".")

    def change(manifest: dict[str, Any]) -> None:
        settings = manifest["settings"][table] if table else manifest["settings"]
        assert settings[key] != value
        settings[key] = value

    edit_manifest(folder, change)
    with pytest.raises(ModelError, match=rf"golden.jsonl:1: {key} was .* when the package was made, and is"):
        load_package(folder)
    edited = load_package(folder, allow_drift=True)
    report = verify(edited, few(edited))
    assert failed(report) == ["golden lines"]
    assert f"{key} was" in report.checks[0].detail


def test_golden_lines_of_older_packages_have_no_settings_and_are_believed(tmp_path: Path):
    save_package(KNOWN["classify-transformer-fresh"].make(), tmp_path / "model")
    edit_golden(tmp_path / "model", lambda lines: lines[0].pop("settings"))
    assert load_package(tmp_path / "model").drift == ""


def test_a_trained_model_without_golden_lines_fails_and_one_read_from_a_checkpoint_is_not_checked(
    package: Package, tmp_path: Path
):
    trained, bare = replace(package, record={"recipe": {}}), replace(package, golden=())
    for number, (made, passed) in enumerate([(trained, True), (replace(trained, golden=()), False), (bare, None)]):
        save_package(made, tmp_path / f"{number}")
        loaded = load_package(tmp_path / f"{number}")
        check = verify(loaded, few(loaded)).checks[0]
        assert (check.name, check.passed) == ("golden lines", passed)
        assert ("was trained by Onehop" in check.detail) == (passed is False)


def test_a_trained_model_has_golden_lines_even_where_every_text_is_too_long(package: Package):
    assert new_package(package.task, ["the cat sat on the mat " * 500], "").golden == ()
    assert new_package(package.task, ["the cat sat on the mat " * 500], "", {"recipe": {}}).golden


def test_a_tokenizer_that_encodes_otherwise_fails_even_without_golden_lines(tmp_path: Path):
    save_package(replace(KNOWN["embed-bert-BertModel"].make(), golden=()), tmp_path / "model")
    edit_manifest(tmp_path / "model", lambda manifest: manifest["fingerprints"]["tokenizer.json"].update(thai="0"))
    edited = load_package(tmp_path / "model", allow_drift=True)
    report = verify(edited, few(edited))
    assert failed(report) == ["golden lines"]
    assert "encodes otherwise" in report.checks[0].detail


def test_lines_are_refused_for_a_model_that_reads_two_texts(tmp_path: Path):
    task: Any = TASKS["classify"].make().task
    task.settings = task.settings.model_copy(update={"columns": ["premise", "hypothesis"]})
    (tmp_path / "lines.txt").write_text("one text\n")
    with pytest.raises(DataError, match="a text a line, where the model reads 2"):
        read_data(task, tmp_path / "lines.txt")
