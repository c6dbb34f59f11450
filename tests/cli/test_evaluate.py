import json
from pathlib import Path

import pytest
import sacrebleu

import onehop as package
from tests.fixtures.tiny import number_pairs, onehop, write_pairs

KEYS = {
    "bleu", "bleu_interval", "chrf", "chrf_interval", "ter", "ter_interval", "signature", "chrf_signature",
    "ter_signature", "lines", "empty", "dropped", "cut", "windows", "lost", "incomplete", "seconds", "models",
    "decode", "drift", "by_length",
}  # fmt: skip


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Return 30 pairs that stand in `test.tsv`, and in `test.en` and `test.de`."""
    monkeypatch.chdir(tmp_path)
    pairs = number_pairs(30, seed=2)
    write_pairs(Path("test.tsv"), pairs)
    Path("test.en").write_text("".join(f"{source}\n" for source, _ in pairs))
    Path("test.de").write_text("".join(f"{target}\n" for _, target in pairs), "utf-8")
    return pairs


def test_the_figures_are_those_of_sacrebleu_on_the_translations_it_writes(trained, data):
    result = onehop("evaluate", trained, "--data", "test.tsv", "--json", "-o", "out.de")
    report = json.loads(result.out)
    assert (result.status, set(report)) == (0, KEYS)
    hypotheses = Path("out.de").read_text("utf-8").splitlines()
    references = [[target for _, target in data]]
    bleu, chrf, ter = sacrebleu.BLEU(), sacrebleu.CHRF(), sacrebleu.TER()
    assert report["ter"] == round(ter.corpus_score(hypotheses, references).score, 2) > 0
    assert report["ter_signature"] == str(ter.get_signature())
    assert report["ter_interval"][0] <= report["ter"] <= report["ter_interval"][1]
    assert report["bleu"] == round(bleu.corpus_score(hypotheses, references).score, 2) > 0
    assert report["chrf"] == round(chrf.corpus_score(hypotheses, references).score, 2) > 0
    assert report["signature"] == str(bleu.get_signature())
    assert report["chrf_signature"] == str(chrf.get_signature())
    assert report["lines"] == 30 == sum(bucket["lines"] for bucket in report["by_length"])
    assert report["bleu_interval"][0] <= report["bleu"] <= report["bleu_interval"][1]


def test_two_files_and_one_table_are_the_same_test(trained, data):
    table = json.loads(onehop("evaluate", trained, "--data", "test.tsv", "--json").out)
    files = json.loads(onehop("evaluate", trained, "--source", "test.en", "--reference", "test.de", "--json").out)
    assert {**table, "seconds": 0} == {**files, "seconds": 0}


def test_the_translations_are_those_of_translate_without_splitting(trained, data):
    onehop("evaluate", trained, "--data", "test.tsv", "-o", "evaluated")
    onehop("translate", trained, "test.en", "--no-split", "-o", "translated")
    assert Path("evaluated").read_bytes() == Path("translated").read_bytes()


def test_a_system_differs_from_itself_by_nothing_be_it_a_model_or_a_file(trained, data):
    onehop("translate", trained, "test.en", "-o", "own.de")
    for rival in (trained, "own.de"):
        against = json.loads(onehop("evaluate", trained, "--data", "test.tsv", "--against", rival, "--json").out)[
            "against"
        ]
        assert against["name"] == str(rival)
        for metric in ("bleu", "chrf", "ter"):
            assert (against[f"{metric}_difference"], against[f"{metric}_p"]) == (0, 1)


def test_the_report_says_how_the_other_system_translated_and_what_went_wrong(trained, data):
    options = ["evaluate", trained, "--data", "test.tsv", "--set", "decode.max_length=1"]
    report = json.loads(onehop(*options, "--against", trained, "--json").out)
    own = package.load(trained).settings.decode
    assert report["decode"] == {**own.model_dump(), "max_length": 1}
    assert report["incomplete"] == 30
    other = report["against"]
    assert (other["decode"], other["models"], other["incomplete"]) == (own.model_dump(), 1, 0)
    assert other["ter_difference"] == round(other["ter_difference"], 2) > 0  # worse: more edits
    Path("some.de").write_text("Hallo.\n" * 28 + "\n \n")
    other = json.loads(onehop(*options, "--against", "some.de", "--json").out)["against"]
    assert other["empty"] == 2
    assert {other[key] for key in ("decode", "models", "dropped", "cut", "windows", "incomplete", "seconds")} == {None}
    shown = onehop(*options, "--against", "some.de").out
    assert "some.de: a file of translations; how they were made is not known" in shown
    assert "some.de: 2 translations are empty" in shown
    assert "model: 30 lines ended by decode.max_length" in shown
    assert "decode.max_length = 1" in shown
    assert "TER (lower is better)" in shown


def test_an_ensemble_is_evaluated_as_one_system(trained, data):
    options = ["evaluate", trained, "--data", "test.tsv"]
    both = json.loads(onehop(*options, "--ensemble", trained, "--json").out)
    assert both["models"] == 2
    assert both["bleu"] == json.loads(onehop(*options, "--json").out)["bleu"]
    assert "2 models together" in onehop(*options, "--ensemble", trained).out


def test_a_worse_system_is_told_with_its_difference(trained, data):
    Path("bad.de").write_text("Hallo.\n" * 30)
    options = ["evaluate", trained, "--data", "test.tsv", "--against", "bad.de"]
    report = json.loads(onehop(*options, "--json").out)
    assert report["against"]["bleu_difference"] == round(report["bleu"] - report["against"]["bleu"], 2)
    assert report["against"]["chrf_p"] < 0.05
    shown = onehop(*options).out
    assert "against bad.de" in shown
    assert f"{report['chrf']:.2f}" in shown
    assert report["signature"] in shown


def test_options_of_the_search_and_of_the_metric_are_used_and_named(trained, data):
    options = ["evaluate", trained, "--data", "test.tsv", "--json"]
    short = json.loads(onehop(*options, "--set", "decode.max_length=1").out)
    assert short["incomplete"] == 30
    assert "tok:char" in json.loads(onehop(*options, "--tokenize", "char").out)["signature"]
    translator = package.load(trained)
    decode = translator.settings.decode.model_copy(update={"beam_size": 1})
    greedy = [line.text for line in translator.translate([source for source, _ in data], decode, split=False)]
    onehop(*options, "--beam", "1", "-o", "greedy")
    assert Path("greedy").read_text("utf-8").splitlines() == greedy


@pytest.mark.parametrize(("policy", "key"), [("drop", "dropped"), ("cut", "cut"), ("window", "windows")])
def test_lines_that_are_too_long_are_counted_and_still_have_their_reference(trained, data, policy, key):
    write_pairs(Path("long.tsv"), [("One " * 60, "Eins"), *data])
    result = onehop("evaluate", trained, "--data", "long.tsv", "--long", policy, "--json", "-o", "out")
    report = json.loads(result.out)
    assert (report["lines"], report[key]) == (31, 1)
    assert [report[each] for each in ("dropped", "cut", "windows")].count(0) == 2
    assert bool(Path("out").read_text("utf-8").splitlines()[0]) == (policy != "drop")
    assert "model: 1 lines were too long" in onehop("evaluate", trained, "--data", "long.tsv", "--long", policy).out


def test_text_of_json_lines_with_line_ends_and_lone_surrogates_is_evaluated(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"source": "One\nTwo \ud800.", "target": "Eins\nZwei \udfff."}, {"source": "Three.", "target": "Drei."}]
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = onehop("evaluate", trained, "--data", "t.jsonl", "-o", "out", "--json", "--long", "cut")
    assert (result.status, json.loads(result.out)["lines"], Path("out").read_bytes().count(b"\n")) == (0, 2, 2)
