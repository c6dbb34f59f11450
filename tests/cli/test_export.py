import json
import os

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
