from itertools import pairwise, product
from random import Random

import pytest
from seqeval import scheme as of

from onehop.metrics.schemes import LETTERS, completed, find_scheme, is_legal, mended, spans
from onehop.text import Ledger, limit_words
from onehop.text.words import split_words


def test_spans_are_those_of_seqeval_in_its_strict_mode():
    draw = Random(1)
    for scheme, theirs in (("bio", of.IOB2), ("bilou", of.BILOU), ("bioes", of.IOBES)):
        labels = completed(["B-a", "B-b"], scheme)
        rows = [[draw.choice(labels) for _ in range(draw.randint(1, 9))] for _ in range(300)]
        for row in rows:
            expected = [(e.tag, e.start, e.end) for e in of.Entities([row], theirs).entities[0]]
            assert [(one.label, one.start, one.end) for one in spans(row, scheme)] == expected, row


@pytest.mark.parametrize("scheme", LETTERS)
def test_in_a_legal_sequence_every_label_belongs_to_a_span(scheme):
    labels = completed(["B-a"], scheme)
    for row in product(labels, repeat=4):
        words = {place for one in spans(row, scheme) for place in range(one.start, one.end)}
        inside = {place for place, label in enumerate(row) if label != "O"}
        assert is_legal(row, scheme) == (words == inside)


def test_what_begins_with_inside_is_mended_and_nothing_else():
    assert mended(["I-a", "I-a", "I-b", "O", "I-a"], "bio") == ["B-a", "I-a", "B-b", "O", "B-a"]
    assert all(is_legal(mended(row, "bio"), "bio") for row in product(["O", "I-a", "B-a", "I-b"], repeat=4))


def test_schemes_are_found_by_all_labels():
    assert find_scheme(["O", "B-x", "I-x"]) == "bio"
    assert find_scheme(["O", "B-x", "L-x", "U-y"]) == "bilou"
    assert find_scheme(["O", "S-x"]) == "bioes"
    assert find_scheme(["O", "B-x", "X"]) == find_scheme(["NOUN", "O"]) == find_scheme(["O"]) == "none"


def test_windows_hold_whole_words_within_the_limit_and_together_all_of_them():
    draw = Random(2)
    for _ in range(200):
        counts = [draw.randint(1, 4) for _ in range(draw.randint(1, 30))]
        overlap = draw.choice([0, 2, 3])
        ledger = Ledger("test", 8, "window")
        found = limit_words(counts, ledger, "here", overlap)
        assert all(sum(counts[start:end]) <= 8 and end > start for start, end in found)
        assert found[0][0] == 0
        assert found[-1][1] == len(counts)
        for (one, end), (start, other) in pairwise(found):
            assert one < start <= end < other
            assert sum(counts[start:end]) <= overlap
        assert ledger.tokens == 0
        assert ledger.windows == (len(found) if len(found) > 1 else 0)


def test_a_word_longer_than_the_limit_is_a_window_and_told():
    ledger = Ledger("test", 4, "window")
    assert limit_words([1, 9, 1], ledger, "here") == [(0, 1), (1, 2), (2, 3)]
    assert ledger.tokens == 5


def test_no_character_but_white_space_is_lost_between_words():
    for text in ('("well-known"), isn\'t it?', " a\tb ", "...", "@ada #1 $5 U.S. हिन्दी, 「東京」。", ""):
        found = split_words(text)
        assert "".join(text[start:end] for start, end in found) == "".join(text.split())
        assert all(one[1] <= other[0] for one, other in pairwise(found))
