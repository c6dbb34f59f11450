import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from onehop.data import evaluation_batches
from onehop.errors import ConfigError, DataError, LengthError, ModelError
from onehop.files import Run, to_json
from onehop.models import ARCHITECTURES
from onehop.nn import Source
from onehop.tasks import Package, Precision, Translator, convert, load_package, new_package, save_package
from onehop.tasks import translation as translation_module
from onehop.tasks import weights as weights_module
from onehop.tasks.translation_loss import shift_right
from onehop.text import BOS, EOS, PAD
from onehop.verify import CHECKS, Lines, Report, fixed_lines, margin, neutral, read_data, verify
from tests.fixtures.packages import edit_golden
from tests.fixtures.tiny import number_pairs, write_pairs

NAMES = [
    "golden lines", "batched = single", "cached = uncached", "packed = padded", "beam score = forced decoding",
    "save, load, save", "precision",
]  # fmt: skip


def failed(report: Report) -> list[str]:
    return [check.name for check in report.checks if check.passed is False]


def few(package: Package) -> Lines:
    """Return six short lines, of different lengths."""
    lines = fixed_lines(package)
    places = sorted(range(len(lines)), key=lambda i: len(lines.sources[i]))[:11:2]
    return Lines("few", tuple(lines.places[i] for i in places), tuple(lines.sources[i] for i in places))


def of(package: Package, architecture: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Save the weights of a package as those of a broken family, with golden lines of its own, and load it."""
    monkeypatch.setitem(ARCHITECTURES, "broken", f"tests.verify.broken:{architecture}")
    old = package.translator
    settings = old.settings.model_copy(update={"architecture": "broken"})
    translator = Translator.build(settings, old.source_tokenizer, old.target_tokenizer)
    translator.model.load_state_dict(old.model.state_dict())
    save_package(new_package(translator, [line["source"] for line in package.golden], ""), folder)
    return load_package(folder, allow_drift=True)


def edited(package: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Copy a package with its third golden line changed, and give it hashes that fit."""
    shutil.copytree(package, folder)
    golden = folder / "golden.jsonl"
    lines = [json.loads(line) for line in golden.read_text("utf-8").splitlines()]
    change(lines[2])
    golden.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    manifest = json.loads((folder / "onehop.json").read_text())
    manifest["files"]["golden.jsonl"] = hashlib.sha256(golden.read_bytes()).hexdigest()
    del manifest["sha256"]
    whole = {**manifest, "sha256": hashlib.sha256(to_json(manifest).encode()).hexdigest()}
    (folder / "onehop.json").write_text(to_json(whole))
    return folder


# ------------------------------------------------------------------------------------------------ a sound model


def test_a_sound_model_passes_every_check(trained):
    report = verify(load_package(trained))
    assert [check.name for check in report.checks] == NAMES
    assert len(CHECKS) == 4
    assert [check.passed for check in report.checks] == [True] * 6 + [None]
    assert report.passed
    assert report.lines == 20 - report.dropped > 8


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_package_of_rounded_weights_passes_beside_the_one_it_was_made_of(trained, precision: Precision, tmp_path):
    whole = load_package(trained)
    save_package(convert(whole, precision), tmp_path / "small")
    small = load_package(tmp_path / "small")
    stored, asked = (
        verify(small, few(whole), full=whole.translator),
        verify(whole, few(whole), precision=precision),
    )
    assert failed(stored) == failed(asked) == []
    assert stored.checks[-1].values == asked.checks[-1].values
    assert 0 < asked.checks[-1].values["largest_logit_difference"] < 1
    assert asked.checks[-1].values["token_agreement"] > 0.95
    assert verify(small, few(whole)).checks[-1].passed is None


def test_rounding_is_scored_where_references_are_known(trained, tmp_path):
    package = load_package(trained)
    pairs = write_pairs(tmp_path / "pairs.tsv", number_pairs(16, seed=5))
    lines = read_data(package.translator, pairs)
    values = verify(package, lines, precision="float16").checks[-1].values
    assert values["bleu"] > 50
    assert abs(values["bleu_difference"]) < 1
    assert 0 < values["bleu_p"] <= 1


# ------------------------------------------------------------------------------------------------ broken in one way


BROKEN = {
    "BATCH_LEAK": ["batched = single"],
    "CACHE_OFF": ["cached = uncached", "beam score = forced decoding"],  # search has no other way to compute
    "PACKED_LEAK": ["packed = padded"],
    "STUCK_BEAMS": ["beam score = forced decoding"],
    "DRIFTING": ["save, load, save"],
}


@pytest.mark.parametrize("architecture", BROKEN)
def test_a_package_broken_in_one_way_fails_the_check_of_that(architecture: str, trained, tmp_path, monkeypatch):
    package = of(load_package(trained), architecture, tmp_path / "broken", monkeypatch)
    report = verify(package, few(package))
    assert failed(report) == BROKEN[architecture]
    assert not report.passed
    assert all(check.detail for check in report.checks if check.passed is False)


def test_what_the_search_says_of_a_score_is_checked_too(trained, monkeypatch):
    right = translation_module.penalty
    off = lambda name, alpha: lambda log_prob, length: right(name, alpha)(log_prob, length + 1)  # noqa: E731
    monkeypatch.setattr(translation_module, "penalty", off)
    package = load_package(trained)
    assert failed(verify(package, few(package))) == ["beam score = forced decoding"]


def a_worse_token(line: dict[str, Any]) -> None:
    line["tokens"][0] = line["tokens"][0] + 1


GOLDEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "log-probability": lambda line: line["log_probs"].__setitem__(0, line["log_probs"][0] - 0.002),
    "token": a_worse_token,
    "text": lambda line: line.update(target=line["target"] + "!"),
    "source": lambda line: line.update(source="Nine " + line["source"]),
}


@pytest.mark.parametrize("change", GOLDEN.values(), ids=GOLDEN)
def test_a_golden_line_that_does_not_come_out_again_fails(change, trained, tmp_path):
    package = load_package(edited(trained / "model", tmp_path / "edited", change), allow_drift=True)
    report = verify(package, few(package))
    assert failed(report) == ["golden lines"]
    assert "golden line 3" in report.checks[0].detail


def test_a_golden_line_within_rounding_passes(trained, tmp_path):
    def change(line: dict[str, Any]) -> None:
        line["log_probs"][0] -= 0.0009

    package = load_package(edited(trained / "model", tmp_path / "edited", change), allow_drift=True)
    assert verify(package, few(package)).passed


UNUSABLE: list[Callable[[dict[str, Any]], object]] = [
    lambda line: line.pop("tokens"),
    lambda line: line.update(tokens=[10**6]),
    lambda line: line.update(tokens=7),
    lambda line: line["log_probs"].pop(),
    lambda line: line["tokens"].insert(0, EOS),
    lambda line: line.update(source=3),
    lambda line: line["log_probs"].__setitem__(0, float("nan")),
]


@pytest.mark.parametrize("change", UNUSABLE)
def test_what_is_no_golden_line_makes_a_model_unusable(change, trained, tmp_path):
    folder = edited(trained / "model", tmp_path / "edited", change)
    with pytest.raises(ModelError, match=r"golden\.jsonl:3"):
        verify(load_package(folder))


def test_weights_that_are_no_numbers_fail_the_checks(trained):
    package = load_package(trained)
    with torch.no_grad():
        next(package.translator.model.parameters()).fill_(float("nan"))
    report = verify(package, few(package))
    assert {"golden lines", "batched"} <= {name.split(" =")[0] for name in failed(report)}
    assert all("not numbers" in check.detail for check in report.checks if check.name == "golden lines")


def test_rounding_that_is_too_coarse_fails(trained, tmp_path, monkeypatch):
    package, exact = load_package(trained), weights_module.quantise

    def coarse(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        whole, scale = exact(matrix)
        return (whole / 64).round().mul(64).clamp(-127, 127).to(torch.int8), scale

    monkeypatch.setattr(weights_module, "quantise", coarse)
    lines = read_data(package.translator, write_pairs(tmp_path / "pairs.tsv", number_pairs(40, seed=5)))
    report = verify(package, lines, precision="int8")
    assert failed(report) == ["int8 against float32"]
    assert report.checks[-1].values["bleu_difference"] < -0.5
    assert "tokens are others; BLEU -" in report.checks[-1].detail


def test_rounded_weights_of_another_model_fail(trained, tmp_path):
    whole = load_package(trained)
    save_package(convert(whole, "int8"), tmp_path / "small")
    with torch.no_grad():
        for parameter in whole.translator.model.parameters():
            parameter.mul_(1 + 0.5 * torch.randn_like(parameter))
    small = load_package(tmp_path / "small")
    assert failed(verify(small, few(small), full=whole.translator)) == ["int8 against float32"]


# ------------------------------------------------------------------------------------------------ near-ties


def test_outputs_that_are_others_by_a_near_tie_are_counted_and_pass(trained, tmp_path, monkeypatch):
    package = of(load_package(trained), "TIED", tmp_path / "tied", monkeypatch)
    package.translator.settings = package.translator.settings.model_copy(
        update={"decode": package.translator.settings.decode.model_copy(update={"max_length": 2, "beam_size": 1})}
    )
    lines = read_data(package.translator, write_pairs(tmp_path / "pairs.tsv", number_pairs(16, seed=5)))
    check = verify(package, lines).checks[1]
    assert check.name == "batched = single"
    assert (check.passed, check.differences) == (True, 0)
    assert check.near_ties > 0


@torch.inference_mode()
def test_the_margin_of_greedy_search_is_that_between_the_two_likeliest_tokens(trained):
    translator = load_package(trained).translator
    model, decode = translator.model, neutral(translator.settings.decode, 1)
    for source in few(load_package(trained)).sources:
        best = translator.search([source], decode)[0][0]
        batch = next(evaluation_batches([source], [best.tokens], 1))
        hidden, _ = model.decode(shift_right(batch.target), model.start(model.encode(Source(batch.source))))
        log_probs = model.logits(hidden[0]).log_softmax(-1)[: len(best.tokens) + best.complete]
        log_probs[:, [PAD, BOS]] = -torch.inf
        first, second = log_probs.topk(2).values.unbind(-1)
        assert margin(translator, source, decode) == pytest.approx(float((first - second).min()), abs=1e-4)


# ------------------------------------------------------------------------------------------------ lines of one's own


def test_lines_and_pairs_are_read_as_they_are(trained, tmp_path):
    translator = load_package(trained).translator
    (tmp_path / "a.txt").write_text("One Two.\n\nThree.\n")
    (tmp_path / "a.tsv").write_text("One Two.\tEins Zwei.\n\t\nThree.\tDrei.\n")
    plain, pairs = (read_data(translator, tmp_path / name) for name in ("a.txt", "a.tsv"))
    assert plain.places == tuple(f"{tmp_path}/a.txt:{n}" for n in (1, 3))
    assert pairs.places == tuple(f"{tmp_path}/a.tsv:{n}" for n in (1, 3))
    assert plain.sources == pairs.sources == tuple(translator.source_tokenizer.encode_batch(["One Two.", "Three."]))
    assert (plain.references, pairs.references) == (None, ("Eins Zwei.", "Drei."))
    (tmp_path / "a.csv").write_text("source,target\nOne Two.,Eins Zwei.\n,\nThree.,Drei.\n")
    assert read_data(translator, tmp_path / "a.csv").places == tuple(f"{tmp_path}/a.csv:row {n}" for n in (1, 3))


def test_long_lines_are_an_error_or_counted(trained, tmp_path):
    translator = load_package(trained).translator
    path = tmp_path / "long.txt"
    path.write_text("One.\n" + "Two " * 500 + "\n")
    with pytest.raises(LengthError, match=r"long\.txt:2"):
        read_data(translator, path)
    dropped, cut = read_data(translator, path, "drop"), read_data(translator, path, "cut")
    assert (len(dropped), dropped.dropped, dropped.cut) == (1, 1, 0)
    assert (len(cut), cut.dropped, cut.cut) == (2, 0, 1)
    path.write_text("\n \n")
    with pytest.raises(DataError, match="no line to verify on"):
        read_data(translator, path)


def test_what_cannot_be_compared_is_refused(trained, tmp_path):
    whole = load_package(trained)
    save_package(convert(whole, "int8"), tmp_path / "small")
    small = load_package(tmp_path / "small")
    with pytest.raises(ConfigError, match="its weights are int8 already"):
        verify(small, precision="float16")
    with pytest.raises(ConfigError, match="its weights are float32"):
        verify(whole, full=whole.translator)


def test_golden_lines_without_the_settings_that_decide_are_told(trained, tmp_path):
    model = Path(shutil.copytree(Run(trained).model, tmp_path / "model"))
    assert verify(load_package(model)).checks[0].detail == ""
    edit_golden(model, lambda lines: lines[0].pop("settings"))
    first = verify(load_package(model)).checks[0]
    assert (first.passed, first.name) == (True, "golden lines")
    assert "onehop export" in first.detail
