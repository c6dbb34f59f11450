import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import onehop
from onehop.data import evaluation_batches
from onehop.errors import LengthError
from onehop.tasks import DecodeConfig, TextLimits, Translator
from onehop.text import EOS
from tests.fixtures.tiny import number_pairs

LINES = [source for source, _ in number_pairs(20, seed=3, longest=5)]
TIE = 1e-5  # log-probabilities closer than that are equal in float32


@pytest.fixture(scope="module")
def trained_model(trained):
    return onehop.load(trained)


@pytest.fixture(scope="module")
def random_model(trained):
    """Return a translator with the same text and settings and weights that nobody trained."""
    torch.manual_seed(5)
    model = onehop.load(trained)
    return Translator.build(model.settings, model.source_tokenizer, model.target_tokenizer)


@pytest.fixture(params=["trained", "random"])
def translator(request, trained_model, random_model):
    return {"trained": trained_model, "random": random_model}[request.param]


def decode(beam: int, **changes: object) -> DecodeConfig:
    return DecodeConfig.model_validate({"beam_size": beam, "max_length": 8, **changes})


def assert_alike(one, other):
    """Assert that translations are the same but where two candidates are as good as each other; return how many."""
    ties = 0
    for a, b in zip(one, other, strict=True):
        if a.text != b.text:
            assert a.score == pytest.approx(b.score, abs=TIE)
            ties += 1
        for x, y in zip(a.candidates, b.candidates, strict=True):
            assert x[0].score == pytest.approx(y[0].score, abs=TIE)
    return ties


@pytest.mark.parametrize("beam", [1, 4])
def test_a_translation_depends_neither_on_the_other_lines_nor_on_the_size_of_batches(translator, beam):
    together = translator.translate(LINES, decode(beam))
    alone = [translator.translate([line], decode(beam))[0] for line in LINES]
    small = translator.translate(LINES, decode(beam, batch_tokens=20))
    backwards = translator.translate(LINES[::-1], decode(beam))[::-1]
    ties = sum(assert_alike(together, other) for other in (alone, small, backwards))
    assert ties <= 1, f"{ties} of {3 * len(LINES)} lines have margins below {TIE}"


@pytest.mark.parametrize(("penalty", "alpha"), [("wu", 0.6), ("wu", 0.0), ("average", 0.6), ("none", 0.6)])
def test_the_scores_that_are_returned_are_those_of_forced_decoding(translator, penalty, alpha):
    found = translator.translate(LINES[:12], decode(4, length_penalty=penalty, alpha=alpha), nbest=4)
    for line, translation in zip(LINES, found, strict=False):
        assert len(translation.candidates[0]) == 4
        for candidate in translation.candidates[0]:
            source = translator.source_tokenizer.encode(line)
            batch = next(evaluation_batches([source], [candidate.tokens], 1))
            forced = translator.token_log_probs(batch)[0]
            length = len(candidate.tokens) + 1
            log_prob = float(forced.sum() if candidate.complete else forced[:-1].sum())
            assert candidate.log_prob == pytest.approx(log_prob, abs=1e-4)
            divisor = {"wu": ((5 + length) / 6) ** alpha, "average": length, "none": 1}[penalty]
            if candidate.complete:
                assert candidate.score == pytest.approx(candidate.log_prob / divisor, rel=1e-6)
            assert candidate.text == translator.target_tokenizer.decode(candidate.tokens)
            assert EOS not in candidate.tokens


def test_candidates_come_best_first_and_each_once(translator):
    for translation in translator.translate(LINES, decode(6), nbest=6):
        scores = [candidate.score for candidate in translation.candidates[0]]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(candidate.tokens) for candidate in translation.candidates[0]}) == len(scores)


def test_a_wider_beam_never_drops_the_best_that_greedy_search_would_find_by_much(trained_model):
    greedy, wide = (trained_model.translate(LINES, decode(beam, length_penalty="none")) for beam in (1, 8))
    worse = sum(a.score > b.score + TIE for a, b in zip(greedy, wide, strict=True))
    assert worse <= 1


def test_length_limits_hold_and_a_hypothesis_that_they_ended_says_so(translator):
    for length in (1, 3):
        for translation in translator.translate(LINES, decode(3, max_length=length), nbest=3):
            for candidate in translation.candidates[0]:
                assert len(candidate.tokens) + candidate.complete <= length  # the end mark counts
                assert candidate.complete or len(candidate.tokens) == length
    for translation in translator.translate(LINES, decode(3, min_length=6), nbest=3):
        assert all(len(candidate.tokens) >= 6 for candidate in translation.candidates[0])
    assert [t.complete for t in translator.translate(["", "One Two Three."], decode(2, max_length=1))] == [True, False]


def test_blank_lines_stay_blank_and_all_lines_keep_their_place(trained_model):
    lines = ["One.", "", "Two.", " \t\u2003", "Three.", "\n"]
    assert [t.text for t in trained_model.translate(lines)] == ["Eins.", "", "Zwei.", "", "Drei.", ""]
    assert [t.source for t in trained_model.translate(lines)] == lines
    assert trained_model.translate([]) == []


def test_paragraphs_are_the_translations_of_their_sentences_with_their_line_ends_between(trained_model):
    assert trained_model.translate(["One Two.  Three.\n\nFour."])[0].text == "Eins Zwei. Drei.\n\nVier."
    whole = trained_model.translate(["One Two. Three."], split=False)[0]
    assert len(whole.candidates) == 1


def test_a_model_of_longer_lines_never_splits_them(trained_model):
    limits = TextLimits(max_length=50, sentences=False)
    other = Translator(
        trained_model.model,
        trained_model.source_tokenizer,
        trained_model.target_tokenizer,
        trained_model.settings.model_copy(update={"text": limits}),
    )
    assert len(other.translate(["One. Two."])[0].candidates) == 1


def test_a_sentence_that_is_too_long_is_an_error_with_its_line_or_dropped_or_cut_and_told(trained_model):
    most = trained_model.settings.text.max_length
    lines = ["One.", "Two. " + "Three " * most, "Four."]
    with pytest.raises(LengthError, match=r"notes.txt:8: a line of .* longer than the model's limit") as caught:
        trained_model.translate(lines, where="notes.txt", first_line=7)
    assert caught.value.where == "notes.txt:8"
    with pytest.raises(LengthError, match=r"notes.txt:8"):
        trained_model.check_lengths(lines, split=True, where="notes.txt", first_line=7)
    trained_model.check_lengths(lines[::2], split=True, where="notes.txt")
    dropped, cut = (trained_model.translate(lines, long=policy) for policy in ("drop", "cut"))
    assert [(t.dropped, t.text, t.cut) for t in dropped] == [(False, "Eins.", 0), (True, "", 0), (False, "Vier.", 0)]
    tokens = len(trained_model.source_tokenizer.encode("Three " * most)) - 1
    assert [(t.dropped, t.cut) for t in cut] == [(False, 0), (False, pytest.approx(tokens - most, abs=1)), (False, 0)]
    assert cut[1].text.startswith("Zwei. ")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=4))
def test_any_strings_give_one_translation_each(random_model, lines):
    found = random_model.translate(lines, decode(1, max_length=3), long="cut")
    assert [translation.source for translation in found] == lines
    assert all(math.isfinite(translation.score) for translation in found)


@settings(max_examples=30, deadline=None)
@given(text=st.text(min_size=1, max_size=20))
def test_control_tokens_never_come_from_text(random_model, text):
    marks = ["<s>", "</s>", "<pad>", "<0x41>"]
    assert min(random_model.source_tokenizer.encode(text + "".join(marks))) > EOS
