import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import onehop
from onehop.data import evaluation_batches
from onehop.errors import ConfigError, DataError, LengthError, ModelError
from onehop.tasks import Candidate, DecodeConfig, TextLimits, Translator, load_ensemble, new_package, save_package
from onehop.text import EOS, train_bpe
from onehop.text.windows import windows
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


def sampling(**changes: object) -> DecodeConfig:
    return decode(1, sample=True, temperature=1.3, top_p=0.98, **changes)


def forced_log_prob(translator: Translator, line: str, candidate: Candidate) -> float:
    source = translator.source_tokenizer.encode(line)
    forced = translator.token_log_probs(next(evaluation_batches([source], [candidate.tokens], 1)))[0]
    return float(forced.sum() if candidate.complete else forced[:-1].sum())


def assert_alike(one, other):
    """Assert that translations are the same but where two candidates are as good as each other; return how many."""
    ties = 0
    for a, b in zip(one, other, strict=True):
        if a.text != b.text:
            assert a.score == pytest.approx(b.score, abs=TIE, rel=1e-6)
            ties += 1
        for x, y in zip(a.candidates, b.candidates, strict=True):
            assert x[0].score == pytest.approx(y[0].score, abs=TIE, rel=1e-6)
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


def parts_of(model, line: str) -> list[list[int]]:
    tokens = model.source_tokenizer.encode(line)
    return windows(tokens, model.source_tokenizer.pieces(tokens), model.settings.text.max_length)


def test_windows_are_translated_alone_and_joined_and_lines_beside_them_stay(trained_model):
    most = trained_model.settings.text.max_length
    long = "Two Five Nine, " * most + "One."
    lines = ["One. Two.", f"Three. {long} Four.", "Six."]
    found = trained_model.translate(lines, decode(2), long="window")
    assert [translation.text for translation in found[::2]] == ["Eins. Zwei.", "Sechs."]
    parts = parts_of(trained_model, long)
    alone = [best[0].text for best in trained_model.search(parts, decode(2))]
    assert len(parts) > 2
    assert found[1].text == " ".join(["Drei.", *alone, "Vier."])
    assert [(t.windows, t.cut, t.dropped) for t in found] == [(0, 0, False), (len(parts), 0, False), (0, 0, False)]
    assert [len(translation.candidates) for translation in found] == [2, len(parts) + 2, 1]


def test_windows_are_joined_without_spaces_where_the_language_has_none(trained_model):
    settings = trained_model.settings.model_copy(update={"target_language": "ja"})
    tokenizers = trained_model.source_tokenizer, trained_model.target_tokenizer
    japanese = Translator(trained_model.model, *tokenizers, settings)
    found = japanese.translate(["Two " * 60], decode(2), long="window")[0]
    assert found.text == "".join(best[0].text for best in found.candidates)


def test_the_prefix_of_a_line_begins_its_first_window_alone_and_a_tag_each(trained_model, monkeypatch):
    line = "Two Nine " * trained_model.settings.text.max_length
    asked: list[tuple[list[list[int]], list[list[int]]]] = []
    search = trained_model.search

    def heard(sources, *args, prefixes=None, **others):
        asked.append((sources, prefixes))
        return search(sources, *args, prefixes=prefixes, **others)

    monkeypatch.setattr(trained_model, "search", heard)
    monkeypatch.setattr(trained_model.source_tokenizer, "tag", lambda name: 7, raising=False)
    found = trained_model.translate(["One.", line], decode(2), prefixes=["Vier", "Sieben"], long="window", tag="news")
    begins = [trained_model.target_tokenizer.encode(prefix) for prefix in ("Vier", "Sieben")]
    parts = [trained_model.source_tokenizer.encode("One."), *parts_of(trained_model, line)]
    assert asked == [([[7, *part] for part in parts], [*begins, *[[]] * (len(parts) - 2)])]
    assert found[1].text.startswith("Sieben")


def drawn(translation) -> list[list[int]]:
    return [best[0].tokens for best in translation.candidates]


def test_samples_of_lines_without_windows_do_not_change_beside_windows(translator):
    line = "Two Nine " * translator.settings.text.max_length
    usual = translator.translate(["One. Two.", "Six."], sampling(), first_line=5)
    beside = translator.translate(["One. Two.", "Six.", line], sampling(), first_line=5, long="window")
    again = translator.translate([line], sampling(), first_line=7, long="window")
    assert [drawn(translation) for translation in beside] == [drawn(translation) for translation in [*usual, *again]]
    assert len({tuple(best) for best in drawn(again[0])}) > 1  # each window has draws of its own


def test_candidates_of_windows_are_refused_even_if_no_line_is_long(trained_model):
    with pytest.raises(ConfigError, match="candidates of the windows of a line cannot be combined"):
        trained_model.translate(["One."], decode(2), nbest=2, long="window")


def test_an_ensemble_translates_windows_as_its_models_do(trained, trained_model):
    line = "Two Nine " * trained_model.settings.text.max_length
    alone, both = (
        model.translate([line], decode(2), long="window")[0] for model in (trained_model, load_ensemble([trained] * 2))
    )
    assert (both.text, both.windows) == (alone.text, alone.windows)


# ------------------------------------------------------------------------------------------------ sampling


def test_a_sample_depends_on_its_line_and_number_and_on_nothing_beside_it(translator):
    together = [t.candidates for t in translator.translate(LINES, sampling(), nbest=3)]
    alone = [
        translator.translate([line], sampling(), nbest=3, first_line=number)[0].candidates
        for number, line in enumerate(LINES, 1)
    ]
    small = [t.candidates for t in translator.translate(LINES, sampling(batch_tokens=20), nbest=3)]
    single = [t.candidates for t in translator.translate(LINES, sampling(), nbest=1)]
    assert any(len({c.text for c in candidates[0]}) == 3 for candidates in together)
    for expected, *others in zip(together, alone, small, single, strict=True):
        for other in others:
            assert [c.tokens for c in other[0]] == [c.tokens for c in expected[0]][: len(other[0])]


def test_another_seed_or_line_draws_otherwise_and_the_same_seed_the_same(random_model):
    line = ["One Two Three."] * 2
    one, again, other = (random_model.translate(line, sampling(seed=seed)) for seed in (1, 1, 2))
    assert one == again
    texts = [t.text for t in (*one, *other)]
    assert len(set(texts)) == 4


def test_samples_carry_the_models_own_log_probability(translator):
    for line, translation in zip(LINES, translator.translate(LINES[:6], sampling(), nbest=3), strict=False):
        for candidate in translation.candidates[0]:
            assert candidate.log_prob == pytest.approx(forced_log_prob(translator, line, candidate), abs=1e-4)


def test_sentences_of_a_line_are_drawn_one_by_one(random_model):
    [found] = random_model.translate(["One Two. One Two."], sampling())
    assert found.candidates[0] != found.candidates[1]


@pytest.mark.parametrize("key", ["temperature", "top_k", "top_p", "min_p"])
def test_what_shapes_samples_is_refused_where_nothing_is_sampled(key):
    value = {"top_k": 3}.get(key, 0.5)
    with pytest.raises(ValueError, match=f"{key}={value}: only sampling uses this; set decode.sample = true"):
        DecodeConfig.model_validate({key: value})
    assert DecodeConfig.model_validate({key: value, "sample": True}).searched(3) == DecodeConfig(beam_size=3)


def test_settings_that_no_target_satisfies_are_an_error_and_not_a_crash(random_model):
    vocabulary = random_model.target_tokenizer.vocab_size
    for sample in (False, True):
        impossible = decode(1, no_repeat_ngram=1, min_length=vocabulary, max_length=vocabulary + 9, sample=sample)
        with pytest.raises(ConfigError, match="no target of this model satisfies"):
            random_model.translate(["One."], impossible)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_n_gram_of_tokens_comes_twice_however_it_is_decoded(random_model, size):
    long = {"max_length": 30, "min_length": 12}
    repeated = False
    for how in (decode(1, **long), decode(4, **long), sampling(**long, top_k=2)):
        for wanted in (0, size):
            found = random_model.translate(LINES[:5], how.model_copy(update={"no_repeat_ngram": wanted}), nbest=2)
            for candidate in (c for t in found for c in t.candidates[0]):
                grams = list(zip(*(candidate.tokens[i:] for i in range(size)), strict=False))
                repeats = len(set(grams)) < len(grams)
                repeated |= repeats
                assert not (wanted and repeats)
    assert repeated  # the model would repeat itself


# ------------------------------------------------------------------------------------------------ prefixes

PREFIXES = ["", "Neun", "  ", "Acht Sieben S", "e", "Zwei Zwei Zwei"]


@pytest.mark.parametrize("how", [decode(1, max_length=30), decode(4, max_length=30), sampling(max_length=30)])
def test_a_translation_begins_with_exactly_its_prefix_and_is_scored_as_forced(translator, how):
    lines = LINES[: len(PREFIXES)]
    found = translator.translate(lines, how, nbest=2, prefixes=PREFIXES)
    for line, prefix, translation in zip(lines, PREFIXES, found, strict=True):
        for candidate in translation.candidates[0]:
            assert candidate.text.startswith(prefix.strip())
            assert candidate.log_prob == pytest.approx(forced_log_prob(translator, line, candidate), abs=2e-4)
    alone = translator.translate(lines[3:4], how, nbest=2, prefixes=PREFIXES[3:4], first_line=4)
    assert_alike(alone, found[3:4])
    free = translator.translate(lines[:1], how, nbest=2)
    assert_alike(free, found[:1])


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1, max_size=6))
def test_any_text_can_be_a_prefix(random_model, prefix):
    prefix = random_model.target_tokenizer.normalise(prefix)
    [found] = random_model.translate(["One."], decode(1, max_length=30), prefixes=[prefix])
    assert found.text.startswith(prefix if prefix.strip() else "")


def test_a_line_with_a_prefix_is_not_split(trained_model):
    [found] = trained_model.translate(["One Two. Three."], prefixes=["Eins Zw"])
    assert len(found.candidates) == 1
    assert found.text.startswith("Eins Zwei")


def test_prefixes_that_cannot_be_are_told_with_their_place(trained_model):
    with pytest.raises(DataError, match="1 prefixes for 2 lines"):
        trained_model.translate(["One.", "Two."], prefixes=["Eins"])
    with pytest.raises(DataError, match=r"prefixes:8: a prefix for a blank line"):
        trained_model.translate(["One.", ""], prefixes=["Eins", "Zwei"], first_line=7)
    with pytest.raises(LengthError, match=r"prefixes:1: a prefix of \d+ tokens, where a target may have 2") as caught:
        trained_model.translate(["One."], decode(1, max_length=3), prefixes=["Eins Zwei Drei Vier Fünf"])
    assert "decode.max_length" in caught.value.remedy
    assert [t.text for t in trained_model.translate(["", "One."], prefixes=["", ""])] == ["", "Eins."]


# ------------------------------------------------------------------------------------------------ ensembles


@pytest.fixture(scope="module")
def other(trained, trained_model, tmp_path_factory):
    """Return the folder of a model that is a little off the trained one."""
    folder = tmp_path_factory.mktemp("other") / "model"
    model = onehop.load(trained)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter.add_(torch.randn_like(parameter) * parameter.std().nan_to_num(0.0), alpha=0.3)
    save_package(new_package(model, ["One."], "# Off"), folder)
    return folder


@pytest.mark.parametrize("how", [decode(4), sampling()])
def test_an_ensemble_translates_by_the_mean_of_the_probabilities(trained, other, how):
    both, members = load_ensemble([trained, other]), [onehop.load(trained), onehop.load(other)]
    for line, translation in zip(LINES, both.translate(LINES[:8], how, nbest=2), strict=False):
        for candidate in translation.candidates[0]:
            assert candidate.log_prob == pytest.approx(forced_log_prob(both, line, candidate), abs=1e-4)
            batch = next(evaluation_batches([both.source_tokenizer.encode(line)], [candidate.tokens], 1))
            mean = torch.stack([member.token_log_probs(batch).exp() for member in members]).mean(0)
            torch.testing.assert_close(both.token_log_probs(batch).exp(), mean)
    alone = load_ensemble([trained]).translate(LINES, how)
    assert alone == onehop.load(trained).translate(LINES, how)
    assert [t.score for t in both.translate(LINES, how)] != [t.score for t in alone]


def test_an_ensemble_reads_no_more_than_each_member_can(trained, trained_model, tmp_path):
    text = trained_model.settings.text.model_copy(update={"max_length": 5})
    settings = trained_model.settings.model_copy(update={"text": text})
    short = Translator(trained_model.model, trained_model.source_tokenizer, trained_model.target_tokenizer, settings)
    save_package(new_package(short, [], "# Short"), tmp_path / "short")
    assert load_ensemble([trained, tmp_path / "short"]).settings.text.max_length == 5


def test_models_of_other_vocabularies_are_refused_with_the_reason(trained, trained_model, tmp_path):
    text = [line for pair in number_pairs(200) for line in pair]
    own = trained_model.target_tokenizer
    larger = train_bpe(text, vocab_size=330)
    pieces = train_bpe([line.lower() for line in text], vocab_size=own.vocab_size)
    normal = train_bpe(text, vocab_size=320, normalization="nfkc")
    for name, tokenizer, reason in (
        ("larger", larger, f"has {larger.vocab_size} pieces, not {own.vocab_size}"),
        ("pieces", pieces, "vocabulary has "),
        ("normal", normal, "is normalised by nfkc, not nfc"),
    ):
        model = Translator.build(trained_model.settings, tokenizer, tokenizer)
        save_package(new_package(model, [], "# Other"), tmp_path / name)
        with pytest.raises(ModelError, match=reason) as caught:
            load_ensemble([trained, tmp_path / name])
        assert caught.value.where == str(tmp_path / name)
        assert caught.value.remedy
    with pytest.raises(ModelError, match="no models"):
        load_ensemble([])


def test_an_ensemble_cannot_be_saved_as_if_it_were_one_model(trained, other):
    with pytest.raises(ModelError, match="an ensemble has no package"):
        new_package(load_ensemble([trained, other]), [], "")


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
