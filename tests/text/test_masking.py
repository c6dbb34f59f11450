"""Which words are hidden for a model to find (MECHANISMS B-02)."""

from collections import Counter
from itertools import groupby

import numpy as np
import pytest

from onehop.text import Masking, Spans, WholeWords
from onehop.text.masking import by_rarity, lengths_up_to, uniform

MASK, WORDS, MARKS = 4, range(5, 2_005), {2, 3}
ROWS = [[2, *((7 * row + place) % 2_000 + 5 for place in range(98)), 3] for row in range(500)]


def hidden(rows: list[list[int]], lines: list[int] | None = None, epoch: int = 0, share: float = 0.15, seed: int = 1):
    masking = Masking(MASK, WORDS, MARKS, share)
    return masking.hide(rows, range(len(rows)) if lines is None else lines, seed, epoch)


def test_of_fifteen_in_a_hundred_eight_in_ten_are_hidden_one_is_another_word_and_one_stays():
    found = hidden(ROWS)
    given = [row.tokens[place] for row in found for place in row.places]
    wanted = [token for row in found for token in row.targets]
    assert len(wanted) / (500 * 98) == pytest.approx(0.15, abs=0.005)
    stay = sum(a == b for a, b in zip(given, wanted, strict=True))
    assert given.count(MASK) / len(wanted) == pytest.approx(0.8, abs=0.02)
    assert stay / len(wanted) == pytest.approx(0.1, abs=0.02)


def test_targets_are_what_stood_at_their_places_and_the_rest_is_as_it_was():
    for row, found in zip(ROWS, hidden(ROWS), strict=True):
        assert found.targets == [row[place] for place in found.places]
        assert all(
            a == b for place, (a, b) in enumerate(zip(row, found.tokens, strict=True)) if place not in found.places
        )


def test_marks_are_neither_chosen_nor_drawn():
    for row, found in zip(ROWS, hidden(ROWS, share=1.0), strict=True):
        assert found.places == list(range(1, 99))
        assert not MARKS & set(found.tokens[1:-1])
        assert (found.tokens[0], found.tokens[-1]) == (row[0], row[-1])


def test_a_draw_depends_on_seed_epoch_and_line_and_nothing_else():
    whole = hidden(ROWS)
    assert hidden(ROWS[7:9], [7, 8]) == whole[7:9]
    assert hidden(ROWS, epoch=1) != whole
    assert hidden(ROWS, seed=2) != whole
    assert hidden([ROWS[0]], [1])[0].places != whole[0].places


def test_nothing_is_hidden_of_nothing_and_a_share_is_a_share():
    assert hidden([[]])[0].tokens == []
    assert hidden([ROWS[0]], share=0.0)[0].tokens == ROWS[0]
    with pytest.raises(ValueError, match="between 0 and 1"):
        hidden([], share=1.5)


def test_rare_tokens_are_hidden_oftener_and_as_many_in_all():
    rows = [[5 + int(1_000 * draw**4) for draw in uniform(100, row)] for row in range(500)]
    counts = np.bincount([token for row in rows for token in row], minlength=2_005)
    shares = by_rarity(counts, 0.15, 0.5)
    found = [token for row in Masking(MASK, WORDS, share=shares).hide(rows, range(500), 1, 0) for token in row.targets]
    assert len(found) / counts.sum() == pytest.approx(0.15, abs=0.005)
    assert found.count(5) / counts[5] == pytest.approx(shares[5], abs=0.01)
    assert shares[5] < 0.05
    assert shares.max() == 0.3
    assert (np.diff(shares[np.argsort(-counts)]) >= 0).all()
    assert by_rarity(counts, 0.15, 0.0) == pytest.approx(0.15)
    assert by_rarity(counts, 0.9, 1.0).max() <= 1
    assert float((counts + 1) @ by_rarity(counts, 0.9, 1.0)) / (counts + 1).sum() == pytest.approx(0.9)


# ------------------------------------------------------------------------------------------------ words and spans

BEGINS = [token % 3 > 0 for token in range(2_005)]  # a third of the tokens go on with a word


def words_of(row: list[int]) -> list[list[int]]:
    """Return the places of each word of a row."""
    words: list[list[int]] = []
    for place, token in enumerate(row):
        if not words or BEGINS[token] or token in MARKS or row[place - 1] in MARKS:
            words.append([])
        words[-1].append(place)
    return words


@pytest.mark.parametrize("choose", [WholeWords(BEGINS), Spans(BEGINS)])
def test_of_a_word_all_pieces_are_chosen_or_none_and_fifteen_in_a_hundred_in_all(choose: WholeWords | Spans):
    found = Masking(MASK, WORDS, MARKS, 0.15, choose).hide(ROWS, range(len(ROWS)), 1, 0)
    for row, hidden in zip(ROWS, found, strict=True):
        chosen = set(hidden.places)
        assert all(chosen >= set(word) or not chosen & set(word) for word in words_of(row))
        assert not {row[place] for place in chosen} & MARKS
    assert sum(len(row.places) for row in found) / (500 * 98) == pytest.approx(0.15, abs=0.008)
    given = [token for row in found for token in (row.tokens[place] for place in row.places)]
    assert given.count(MASK) / len(given) == pytest.approx(0.8, abs=0.03)


def test_a_span_is_geometric_shares_a_fate_and_stops_at_a_mark():
    assert float(1 + (1 - lengths_up_to(0.2, 10)).sum()) == pytest.approx(3.8, abs=0.01)  # the paper's mean
    rows = [[9] * 400 for _ in range(200)]
    found = Masking(MASK, WORDS, MARKS, 0.15, Spans([True] * 2_005)).hide(rows, range(200), 1, 0)
    lengths: Counter[int] = Counter()
    for row in found:
        for _, run in groupby(enumerate(row.places), lambda pair: pair[1] - pair[0]):
            places = [place for _, place in run]
            lengths[len(places)] += 1
            fates = {"mask" if row.tokens[p] == MASK else "stays" if row.tokens[p] == 9 else "other" for p in places}
            assert len(fates) == 1 or len(places) > 1  # neighbours may be two spans
    mean = sum(size * count for size, count in lengths.items()) / sum(lengths.values())
    assert 3.4 < mean < 4.6  # two spans side by side count as one, the last one of a row is cut short
    apart = [9] * 5 + [3] + [9] * 5
    for row in Masking(MASK, WORDS, MARKS, 0.5, Spans([True] * 2_005)).hide([apart] * 50, range(50), 1, 0):
        assert 5 not in row.places


def test_words_and_spans_of_short_rows_have_their_share_too():
    for choose in (WholeWords([True] * 9), Spans([True] * 9)):
        found = Masking(MASK, range(5, 9), (), 0.15, choose).hide([[5, 6, 7]] * 2_000, range(2_000), 1, 0)
        assert sum(len(row.places) for row in found) / 6_000 == pytest.approx(0.15, abs=0.02)
        assert Masking(MASK, range(5, 9), (), 0.15, choose).hide([[]], [0], 1, 0)[0].tokens == []
