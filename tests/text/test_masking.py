"""Which words are hidden for a model to find (MECHANISMS B-02)."""

import pytest

from onehop.text import Masking

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
