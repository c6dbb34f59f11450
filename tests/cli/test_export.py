import json
import os
from pathlib import Path

import pytest

import onehop as package
from tests.fixtures.tiny import onehop, refused


@pytest.mark.parametrize(("precision", "share"), [("float32", 1.01), ("float16", 0.6), ("int8", 0.4)])
def test_an_exported_model_translates_and_is_as_small_as_its_precision(trained, tmp_path, precision, share):
    result = onehop("export", trained, tmp_path / "out", "--precision", precision)
    assert (result.status, result.raw) == (0, b"")
    assert f"{precision}, " in result.err
    sizes = [os.path.getsize(folder / "model.safetensors") for folder in (tmp_path / "out", trained / "model")]
    assert sizes[0] <= share * sizes[1]
    assert json.loads(onehop("info", tmp_path / "out", "--json").out)["precision"] == precision
    lines = ["Two Nine.", "Five."]
    texts = [[t.text for t in package.load(model).translate(lines)] for model in (trained, tmp_path / "out")]
    assert texts[0] == texts[1]


def test_without_a_precision_the_package_is_copied_as_it_is(trained, tmp_path):
    assert onehop("export", trained, tmp_path / "out").status == 0
    for file in (trained / "model").iterdir():
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()


def test_what_cannot_be_exported_is_told_and_nothing_is_overwritten(trained, tmp_path):
    refused(onehop("export", trained, tmp_path / "out", "--precision", "int4"), "'int4'")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    refused(onehop("export", trained, tmp_path / "full"), "is not empty")
    refused(onehop("export", trained, tmp_path / "full/file"), "is not empty")
    assert (tmp_path / "full/file").read_text() == "mine"
    refused(onehop("export", tmp_path / "none", tmp_path / "out"), "no such model")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_others_may_be_given_golden_lines_which_every_later_copy_keeps(tmp_path):
    checkpoint = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertForSequenceClassification"
    (tmp_path / "some.txt").write_text("the cat sat\n\n" + "a dog ran\n" * 20)
    (tmp_path / "long.txt").write_text("the cat " * 5_000)
    assert onehop("export", checkpoint, tmp_path / "none").status == 0
    assert (tmp_path / "none/golden.jsonl").read_text() == ""
    assert onehop("export", checkpoint, tmp_path / "some", "--golden", tmp_path / "some.txt").status == 0
    assert onehop("export", tmp_path / "some", tmp_path / "int8", "--precision", "int8").status == 0
    for name in ("some", "int8"):
        sources = [json.loads(line)["source"] for line in (tmp_path / name / "golden.jsonl").read_text().splitlines()]
        assert sources == ["the cat sat", *["a dog ran"] * 7]
        report = json.loads(onehop("verify", tmp_path / name, "--json").out)
        assert next(check["passed"] for check in report["checks"] if check["name"] == "golden lines")
    refused(
        onehop("export", checkpoint, tmp_path / "out", "--golden", tmp_path / "long.txt"), "no text for golden lines"
    )
    refused(onehop("export", checkpoint, tmp_path / "out", "--to", "hf", "--golden", tmp_path / "some.txt"), "--golden")
