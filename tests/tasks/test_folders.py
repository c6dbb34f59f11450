import os
import shutil

import pytest

import onehop
from onehop.errors import ModelError
from onehop.tasks import bundled
from onehop.tasks.folders import find
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused


@pytest.fixture
def shipped(trained, tmp_path, monkeypatch):
    """Let the package of `trained` be bundled as `en-de`, and the present folder be empty."""
    shutil.copytree(trained / "model", tmp_path / "models/en-de")
    (tmp_path / "models/notes").mkdir()  # no package
    monkeypatch.setattr("onehop.tasks.folders.FOLDER", tmp_path / "models")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "models/en-de"


def test_a_bundled_model_is_loaded_by_its_name(shipped, trained):
    assert bundled() == {"en-de": shipped}
    assert onehop.load("en-de").translate(["Two."])[0].text == onehop.load(trained).translate(["Two."])[0].text
    result = command("translate", "en-de", stdin=b"Two.\n\n")
    assert (result.status, len(result.out.splitlines())) == (0, 2)


def test_what_lies_in_the_present_folder_comes_before_a_bundled_name(shipped, trained):
    shutil.copytree(trained, "en-de")
    assert find("en-de") == onehop.tasks.load_package("en-de").path
    assert str(find("en-de")) == os.path.join("en-de", "model")
    shutil.rmtree("en-de")
    os.mkdir("en-de")
    with pytest.raises(ModelError, match="not a model"):
        find("en-de")


@pytest.mark.parametrize(("name", "hint"), [("en-fr", "did you mean 'en-de'?"), ("x/y/z", ""), ("../no/x", "")])
def test_an_unknown_name_lists_what_is_bundled(shipped, name, hint):
    result = command("translate", name, stdin=b"Two.\n")
    refused(result, "no such model", "or a bundled model: en-de")
    assert hint in result.err


def test_info_without_a_model_lists_those_that_are_bundled(shipped, monkeypatch, tmp_path):
    assert command("info").out == "en-de\n"
    assert '"en-de"' in command("info", "--json").out
    assert "en to de" in command("info", "en-de").out
    monkeypatch.setattr("onehop.tasks.folders.FOLDER", tmp_path / "none")
    assert command("info").out == "no bundled models\n"
    refused(command("info", "en-de"), "no such model")
