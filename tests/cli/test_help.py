import json
import subprocess
import sys

import pytest

import onehop as package
from onehop.cli.main import app
from tests.fixtures.tiny import onehop

VERBS = [*(command.name for command in app.registered_commands), *(group.name for group in app.registered_groups)]


def test_help_names_every_verb():
    result = onehop("--help")
    assert result.status == 0
    assert [verb for verb in VERBS if f" {verb} " not in result.out] == []
    single = [
        "quickstart",
        "train",
        "distill",
        "translate",
        "predict",
        "search",
        "evaluate",
        "explain",
        "info",
        "verify",
        "export",
        "bench",
        "doctor",
    ]
    assert [*single, "data", "lab"] == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help_in_which_every_option_is_explained(verb):
    result = onehop(verb, "--help")
    assert (result.status, result.err) == (0, "")
    assert "Usage: onehop " + verb in result.out
    assert result.out == onehop(verb, "-h").out


def test_help_and_version_import_neither_torch_nor_pydantic():
    code = """
import sys
from onehop.cli.main import main
def imported(*words):
    sys.argv = ["onehop", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
    print(sorted({"torch", "pydantic", "numpy", "tokenizers", "sacrebleu"} & set(sys.modules)))
imported("--help")
imported("--version")
imported("train", "--help")  # typer itself uses pydantic here, where it is there
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    version = lines.index(f"onehop {package.__version__}")
    assert [lines[version - 1], lines[version + 1]] == ["[]", "[]"]
    assert lines[-1] in ("[]", "['pydantic']")


SLIPS = [["tranlsate"], ["train", "--pear", "x"], ["translate"], ["translate", "m", "--beam", "0"]]


@pytest.mark.parametrize("words", SLIPS)
def test_a_slip_in_the_command_is_a_usage_message_with_status_2(words):
    result = onehop(*words)
    assert (result.status, result.raw) == (2, b"")
    assert "Usage: onehop" in result.err


def test_info_tells_what_a_model_is(trained):
    found = json.loads(onehop("info", trained, "--json").out)
    manifest = json.loads((trained / "model/onehop.json").read_text())
    translator = package.load(trained)
    assert found["path"] == str(trained / "model")
    assert (found["task"], found["labels"], found["precision"]) == ("translation", None, "float32")
    assert found["config"] == manifest["settings"] == translator.settings.model_dump()
    assert found["files"] == manifest["files"]
    assert found["parameters"] == sum(p.numel() for p in translator.model.parameters())
    shown = onehop("info", trained).out
    assert f"{found['parameters']:,}" in shown
    assert "en to de" in shown


def test_doctor_finds_this_machine_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = onehop("doctor", "--json")
    found = json.loads(result.out)
    assert (result.status, found["problems"], list(tmp_path.iterdir())) == (0, [], [])
    assert {"versions", "system", "processor", "instructions", "cores", "threads", "devices"} <= found.keys()
    assert found["versions"]["onehop"] == package.__version__
    assert found["devices"][0] == "cpu"
    assert onehop("doctor").status == 0


def test_doctor_tells_a_folder_that_cannot_be_written(monkeypatch):
    monkeypatch.chdir("/proc")
    result = onehop("doctor", "--json")
    assert result.status == 1
    assert json.loads(result.out)["problems"][0].startswith("cannot write in this folder")
