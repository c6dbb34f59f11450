import json
import shutil
from pathlib import Path

import pytest

from onehop.models import ARCHITECTURES
from onehop.tasks import Translator, convert, load_package, new_package, save_package
from tests.fixtures.tiny import number_pairs, onehop, refused, write_pairs

FEW = "One.\n\nFour Five.\nThree Three Nine Two.\n"


@pytest.fixture
def lines(tmp_path):
    (tmp_path / "few.en").write_text(FEW)
    return tmp_path / "few.en"


@pytest.fixture
def broken(trained, tmp_path, monkeypatch) -> Path:
    """Return a package of a family that computes something else in a batch."""
    monkeypatch.setitem(ARCHITECTURES, "broken", "tests.verify.broken:BATCH_LEAK")
    old = load_package(trained).translator
    settings = old.settings.model_copy(update={"architecture": "broken"})
    translator = Translator.build(settings, old.source_tokenizer, old.target_tokenizer)
    translator.model.load_state_dict(old.model.state_dict())
    save_package(new_package(translator, ["One Two.", "Three."], ""), tmp_path / "broken")
    return tmp_path / "broken"


def test_a_sound_model_is_told_as_a_table_and_has_status_0(trained, lines):
    result = onehop("verify", trained, "--data", lines, "--precision", "float16")
    assert (result.status, result.err) == (0, "")
    assert result.out.count("PASS") == 7
    assert "3 lines of" in " ".join(result.out.split())  # a long title takes several lines
    assert "token agreement" in result.out


def test_json_is_one_object_that_holds_every_check(trained, lines):
    result = onehop("verify", trained, "--data", lines, "--json")
    found = json.loads(result.out)
    assert (result.status, found["passed"], found["lines"], found["data"]) == (0, True, 3, str(lines))
    assert [check["passed"] for check in found["checks"]] == [True] * 6 + [None]
    assert all(0 <= check["measured"] <= check["tolerance"] for check in found["checks"][:6])


def test_a_model_that_fails_a_check_has_status_1_and_tells_where(broken, lines):
    result = onehop("verify", broken, "--data", lines)
    assert (result.status, result.err) == (1, "")
    assert result.out.count("FAIL") == 1
    assert f"batched = single: largest at {lines}:" in result.out
    found = onehop("verify", broken, "--data", lines, "--json")
    assert (found.status, json.loads(found.out)["passed"]) == (1, False)


def test_rounded_weights_are_compared_with_those_they_were_made_of(trained, lines, tmp_path):
    save_package(convert(load_package(trained), "int8"), tmp_path / "small")
    result = onehop("verify", tmp_path / "small", "--against", trained, "--data", lines)
    assert result.status == 0
    assert "int8 against float32" in result.out
    assert "not checked" in onehop("verify", tmp_path / "small", "--data", lines).out
    small = str(tmp_path / "small")
    refused(onehop("verify", trained, "--against", small), "its weights are int8", "float32 model")
    refused(onehop("verify", small, "--precision", "int8"), "its weights are int8 already", "--against")


def test_pairs_give_bleu(trained, tmp_path):
    pairs = write_pairs(tmp_path / "pairs.tsv", number_pairs(8, seed=3))
    result = onehop("verify", trained, "--data", pairs, "--precision", "int8", "--json")
    values = json.loads(result.out)["checks"][-1]["values"]
    assert set(values) == {"token_agreement", "largest_logit_difference", "bleu", "bleu_difference", "bleu_p"}


def test_what_cannot_be_used_is_one_message_with_status_2(trained, lines, tmp_path):
    refused(onehop("verify", "nothing"), "nothing: no such model")
    refused(onehop("verify", trained, "--data", "nothing.en"), "nothing.en: cannot read")
    refused(onehop("verify", trained, "--precision", "int4"), "unknown value 'int4'", "Use float16 or int8")
    lines.write_text(FEW + "One " * 500)
    refused(onehop("verify", trained, "--data", lines), f"{lines}:5: a line of", "--long")
    refused(onehop("verify", trained, "--data", lines, "--long", "window"), "a pair has no windows", "drop or cut")
    dropped = onehop("verify", trained, "--data", lines, "--long", "drop")
    assert (dropped.status, "1 lines longer than the model's limit left out" in dropped.out) == (0, True)
    lines.write_text("\n")
    refused(onehop("verify", trained, "--data", lines), "no line to verify on")
    shutil.copytree(trained / "model", tmp_path / "damaged")
    weights = tmp_path / "damaged/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    refused(onehop("verify", tmp_path / "damaged"), "model.safetensors: changed since it was written")
