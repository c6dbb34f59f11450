import pytest
import sacrebleu

import onehop
from onehop.errors import DataError, LengthError
from onehop.evaluate import System, evaluate, run
from onehop.tasks import DecodeConfig, Translator
from tests.fixtures.tiny import number_pairs

PAIRS = number_pairs(20, seed=4)
SOURCES, REFERENCES = [source for source, _ in PAIRS], [target for _, target in PAIRS]


@pytest.fixture(scope="module")
def translator(trained):
    return onehop.load(trained)


@pytest.fixture(scope="module")
def report(translator):
    return evaluate(translator, SOURCES, REFERENCES)


def test_the_scores_are_sacrebleus_own(report):
    bleu, chrf, ter = sacrebleu.BLEU(), sacrebleu.CHRF(), sacrebleu.TER()
    assert report.ter.value == ter.corpus_score(report.hypotheses, [REFERENCES]).score
    assert report.bleu.value == bleu.corpus_score(report.hypotheses, [REFERENCES]).score
    assert report.chrf.value == chrf.corpus_score(report.hypotheses, [REFERENCES]).score
    assert (report.bleu.signature, report.chrf.signature) == (str(bleu.get_signature()), str(chrf.get_signature()))


def test_the_same_evaluation_gives_the_same_report(translator, report):
    again = evaluate(translator, SOURCES, REFERENCES)
    assert {**again.to_dict(), "seconds": 0} == {**report.to_dict(), "seconds": 0}
    assert again.hypotheses == report.hypotheses


def test_what_is_scored_is_the_translation_of_each_line_unsplit(translator):
    sources = ["One. Two.", "Three."]
    found = evaluate(translator, sources, ["Eins. Zwei.", "Drei."])
    assert found.hypotheses == [t.text for t in translator.translate(sources, split=False)]


def test_every_line_counts_in_one_bucket_of_length(translator):
    sources = ["One " * n + "." for n in (2, 5, 10, 11)]
    found = evaluate(translator, sources, ["Eins."] * 4)
    assert [(b.low, b.high, b.lines) for b in found.by_length] == [(0, 5, 1), (6, 10, 1), (11, 20, 2)]


def test_blank_sources_are_empty_translations(translator):
    found = evaluate(translator, ["", "One."], ["", "Eins."])
    assert (found.hypotheses, found.lines, found.system.incomplete) == (["", "Eins."], 2, 0)
    assert found.system.empty == 1


def test_the_tokenizer_follows_the_target_language_unless_it_is_named(translator):
    settings = translator.settings.model_copy(update={"target_language": "ja"})
    japanese = Translator(translator.model, translator.source_tokenizer, translator.target_tokenizer, settings)
    assert "tok:char" in evaluate(japanese, SOURCES[:3], REFERENCES[:3]).bleu.signature
    assert "tok:13a" in evaluate(japanese, SOURCES[:3], REFERENCES[:3], tokenize="13a").bleu.signature


def test_another_system_is_compared_on_the_same_lines(translator, report):
    found = evaluate(translator, SOURCES, REFERENCES, against=System("theirs", REFERENCES))
    rival = found.rival
    assert rival is not None
    assert (rival.system.name, rival.bleu.value, rival.chrf.value) == ("theirs", pytest.approx(100), 100)
    assert rival.difference.bleu.delta == pytest.approx(report.bleu.value - 100)
    assert rival.ter.value == 0
    assert rival.difference.ter.delta == report.ter.value
    assert found.to_dict()["against"]["chrf_difference"] == round(report.chrf.value - 100, 2)


def test_a_system_that_was_run_is_compared_with_its_counts_and_settings(translator):
    decode = DecodeConfig(max_length=1)
    found = evaluate(translator, SOURCES, REFERENCES, against=run(translator, SOURCES, name="short", decode=decode))
    assert found.rival is not None
    assert (found.rival.system.decode, found.rival.system.incomplete) == (decode, len(SOURCES))
    assert (found.system.decode, found.system.models) == (translator.settings.decode, 1)


def test_counts_that_differ_are_told(translator):
    with pytest.raises(DataError, match="20 source lines but 1 references"):
        evaluate(translator, SOURCES, ["Eins."])
    with pytest.raises(DataError, match="no lines to score"):
        evaluate(translator, [], [])


def test_long_lines_and_short_limits_are_errors_or_counted(translator):
    sources = ["One.", "Two " * 80]
    with pytest.raises(LengthError, match=r"test.en:2"):
        evaluate(translator, sources, ["Eins.", "Zwei."], where="test.en")
    assert evaluate(translator, sources, ["Eins.", "Zwei."], long="drop").system.fates.dropped == 1
    found = evaluate(translator, sources, ["Eins.", "Zwei."], long="cut", decode=DecodeConfig(max_length=1))
    fates = found.system.fates
    assert (fates.cut, fates.dropped, found.system.incomplete) == (1, 0, 2)
