import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop.errors import ConfigError, DataError, LengthError
from onehop.text import POLICIES, Ledger, default_max_length, limit, limit_pair

lines = st.lists(st.lists(st.integers(3, 9), max_size=12), max_size=12)


@given(lines=lines, max_length=st.integers(1, 12), policy=st.sampled_from(["drop", "cut"]))
def test_no_token_is_lost_unrecorded_and_no_line_kept_is_long(lines: list[list[int]], max_length: int, policy: str):
    ledger = Ledger("train", max_length, policy)
    kept = [limit(line, ledger, f"f:{number}") for number, line in enumerate(lines, 1)]
    assert all(len(line) <= max_length for line in kept if line is not None)
    assert ledger.tokens == sum(map(len, lines)) - sum(len(line) for line in kept if line is not None)
    assert ledger.lines == len(lines)
    assert ledger.affected == sum(len(line) > max_length for line in lines)
    assert ledger.longest == max(map(len, lines), default=0)
    for line, result in zip(lines, kept, strict=True):
        cut = line[:max_length] if policy == "cut" else None
        assert result == (line if len(line) <= max_length else cut)


@pytest.mark.parametrize("policy", POLICIES)
def test_lines_within_the_limit_are_kept_and_nothing_is_said(policy: str):
    ledger = Ledger("test", 3, policy)
    assert limit([4, 5, 6], ledger, "f:1") == [4, 5, 6]
    assert limit([], ledger, "f:2") == []
    assert limit_pair([4], [5, 6, 7], ledger, "s:3", "t:3") == ([4], [5, 6, 7])
    assert ledger.summary() == ""
    assert (ledger.lines, ledger.affected, ledger.tokens) == (3, 0, 0)


def test_error_names_the_file_the_line_the_length_the_limit_and_the_remedy():
    with pytest.raises(LengthError) as caught:
        limit([7] * 9, Ledger("test", 4, "error"), "test.en:17")
    message = str(caught.value)
    for part in ("test.en:17", "9", "4", "--long drop", "--long cut", "text.max_length"):
        assert part in message


def test_error_names_the_side_of_a_pair_that_is_long():
    with pytest.raises(LengthError, match=r"train\.de:2"):
        limit_pair([7], [7] * 9, Ledger("train", 4, "error"), "train.en:2", "train.de:2")


@pytest.mark.parametrize(("source", "target"), [([3] * 5, [4]), ([3], [4] * 5), ([3] * 5, [4] * 6)])
def test_a_pair_is_dropped_if_either_side_is_long_and_both_sides_are_counted(source: list[int], target: list[int]):
    ledger = Ledger("train", 4, "drop")
    assert limit_pair(source, target, ledger, "s:1", "t:1") is None
    assert ledger.tokens == len(source) + len(target)
    assert (ledger.lines, ledger.affected) == (1, 1)


def test_a_pair_is_cut_on_each_side_by_itself():
    ledger = Ledger("train", 2, "cut")
    assert limit_pair([1, 2, 3], [4, 5, 6, 7], ledger, "s:1", "t:1") == ([1, 2], [4, 5])
    assert limit_pair([1], [4, 5, 6], ledger, "s:2", "t:2") == ([1], [4, 5])
    assert (ledger.affected, ledger.tokens, ledger.longest) == (2, 4, 4)


def test_the_summary_tells_what_happened_and_where_first():
    ledger = Ledger("train", 2, "drop")
    for number, length in enumerate([1, 5, 2, 7], 1):
        limit([3] * length, ledger, f"train.en:{number}")
    assert ledger.summary() == (
        "train: 2 of 4 lines longer than 2 tokens dropped, 12 tokens lost (first train.en:2, longest 7)"
    )


def test_the_first_place_of_a_pair_is_the_side_that_was_long():
    ledger = Ledger("train", 2, "cut")
    limit_pair([1], [2, 3, 4], ledger, "train.en:5", "train.de:5")
    assert ledger.first == "train.de:5"


def test_an_unknown_policy_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'drop'"):
        Ledger("train", 5, "dorp")


def test_a_limit_below_one_is_refused():
    with pytest.raises(ConfigError, match="max_length=0"):
        Ledger("train", 0, "cut")


@given(lengths=st.lists(st.integers(0, 700), min_size=1, max_size=50))
def test_the_default_holds_999_of_1000_lines_and_half_of_it_does_not(lengths: list[int]):
    size = default_max_length(lengths)

    def held(limit: int) -> float:
        return sum(length <= limit for length in lengths) / len(lengths)

    assert size in (8, 16, 32, 64, 128, 256, 512)
    assert size == 512 or held(size) >= 0.999
    assert size == 8 or held(size // 2) < 0.999


def test_one_line_in_a_thousand_may_be_longer_than_the_default():
    assert default_max_length(np.array([20] * 999 + [400])) == 32
    assert default_max_length(np.array([20] * 998 + [400] * 2)) == 512


def test_a_default_for_no_lines_is_an_error():
    with pytest.raises(DataError):
        default_max_length([])
