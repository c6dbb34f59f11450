"""A line that is divided is still the whole line, and is divided where a reader would pause."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onehop.errors import ConfigError, LengthError
from onehop.text import (
    ALGORITHMS,
    LEAST_VOCAB_SIZE,
    Ledger,
    Tokenizer,
    limit,
    limit_pair,
    limit_windows,
    train_tokenizer,
)
from onehop.text.windows import windows
from tests.text.test_algorithms import STRANGE
from tests.text.test_tokenizer import HOSTILE, LINES

WORDS = sorted({word for line in LINES for word in line.split(" ") if not set("。、") & set(word)})
texts = st.one_of(
    st.lists(st.sampled_from([*LINES, *STRANGE, *WORDS, " ", "😀", "\ud800"]), max_size=8).map("".join),
    st.text(st.characters(exclude_categories=[]), max_size=80),
)


@pytest.fixture(scope="module", params=[(a, size) for a in ALGORITHMS for size in (LEAST_VOCAB_SIZE, 600)])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """Return a vocabulary; the small ones write most scripts in bytes."""
    algorithm, size = request.param
    return train_tokenizer(LINES, size, algorithm, "nfc")


def divided(tokenizer: Tokenizer, text: str, max_length: int) -> list[list[int]]:
    return limit_windows(tokenizer.encode(text), tokenizer.pieces, Ledger("test", max_length, "window"), "test:1")


def shown(tokenizer: Tokenizer, text: str, max_length: int) -> list[str]:
    return [tokenizer.decode(window) for window in divided(tokenizer, text, max_length)]


@given(text=texts, max_length=st.integers(1, 40))
@example(text="  two  spaces  ", max_length=2)
@settings(deadline=None, max_examples=120)
def test_windows_are_the_line_in_order_and_none_is_empty_or_too_long(tokenizer: Tokenizer, text: str, max_length: int):
    tokens = tokenizer.encode(text)
    parts = divided(tokenizer, text, max_length)
    assert [token for part in parts for token in part] == tokens
    assert all(0 < len(part) <= max_length for part in parts) or parts == [[]] == [tokens]
    assert len(parts) > 1 or len(tokens) <= max_length


@given(text=texts, max_length=st.integers(4, 40))
@example(text=HOSTILE[-4][:100], max_length=4)
@settings(deadline=None, max_examples=120)
def test_no_character_is_divided_so_the_windows_read_as_the_text(tokenizer: Tokenizer, text: str, max_length: int):
    read = "".join(shown(tokenizer, text, max_length))
    assert read.replace(" ", "") == tokenizer.normalise(text).replace(" ", "")


@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=30), spare=st.integers(0, 20))
@settings(deadline=None, max_examples=80)
def test_no_word_is_divided_that_fits_into_a_window(tokenizer: Tokenizer, words: list[str], spare: int):
    longest = max(len(tokenizer.encode(word)) for word in words)
    parts = shown(tokenizer, " ".join(words), longest + spare)
    assert [word for part in parts for word in part.split(" ")] == words


@pytest.mark.parametrize(
    ("text", "max_length", "expected"),
    [
        ("aa bb, cc dd ee", 11, ["aa bb,", " cc dd ee"]),  # the end of a clause rather than the last word
        ("a, bb cc dd ee", 10, ["a, bb cc", " dd ee"]),  # but not one in the first half
        ("aa, bb, cc, dd", 12, ["aa, bb, cc,", " dd"]),  # the last that fits
        ("aaa bb 3.14 cc dd", 13, ["aaa bb 3.14", " cc dd"]),  # no clause ends within a number
        ("aa “bb cc.” dd ee", 14, ["aa “bb cc.”", " dd ee"]),  # a mark that closes stays
        ("aa bb (cc!) dd ee", 14, ["aa bb (cc!)", " dd ee"]),
        ("aa bb? cc dd ee", 11, ["aa bb?", " cc dd ee"]),
        ("aa\tbbbb", 5, ["aa\t", "bbbb"]),  # any white space divides words
        ("aaaaaaaa", 4, ["aaaa", "aaaa"]),  # where there is nothing better, a window is full
        ("abcd，efgh。abc", 9, ["abcd，", "efgh。abc"]),
        ("abcd。）efgh", 8, ["abcd。）", "efgh"]),
        ("ab１２：３０ab", 6, ["ab１２：３", "０ab"]),
        ("aa bb؟ cc dd ee", 10, ["aa bb؟", " cc dd ee"]),
        ("aa bb। cc dd ee", 10, ["aa bb।", " cc dd ee"]),
    ],
)
def test_a_line_is_divided_at_the_end_of_a_clause_or_before_a_word(text: str, max_length: int, expected: list[str]):
    found = windows(range(len(text)), list(text), max_length)
    assert ["".join(text[place] for place in part) for part in found] == expected


def test_a_clause_ends_at_a_mark_that_is_written_in_bytes():
    tokenizer = train_tokenizer(["abcdefgh " * 3] * 2, LEAST_VOCAB_SIZE, "wordpiece", "none", coverage=0.5)
    assert "<0xE3>" in tokenizer.pieces(tokenizer.encode("h。"))
    assert shown(tokenizer, "hhhh。hhhhhhh", 14)[0] == "hhhh。"


def test_the_ledger_counts_lines_and_windows_and_no_lost_token(tokenizer: Tokenizer):
    ledger = Ledger("test", 8, "window")
    parts = [
        limit_windows(tokens, tokenizer.pieces, ledger, f"test.en:{number}")
        for number, tokens in enumerate(tokenizer.encode_batch(["", LINES[0], "My", LINES[1]]), 1)
    ]
    longest = max(len(tokenizer.encode(line)) for line in LINES[:2])
    assert (ledger.lines, ledger.affected, ledger.tokens, ledger.longest) == (4, 2, 0, longest)
    assert ledger.windows == len(parts[1]) + len(parts[3])
    assert [len(parts[0]), len(parts[2])] == [1, 1]
    assert ledger.summary().startswith(f"test: 2 of 4 lines longer than 8 tokens divided into {ledger.windows} windows")
    assert "first test.en:2" in ledger.summary()


@pytest.mark.parametrize(("policy", "parts"), [("drop", []), ("cut", [[5, 6]])])
def test_the_other_policies_give_no_part_or_one(policy: str, parts: list[list[int]]):
    ledger = Ledger("test", 2, policy)
    assert limit_windows([5, 6, 7], lambda tokens: [" a"] * len(tokens), ledger, "f:1") == parts
    assert limit_windows([5], lambda tokens: [" a"] * len(tokens), ledger, "f:2") == [[5]]
    assert (ledger.lines, ledger.affected, ledger.windows) == (2, 1, 0)


def test_the_error_for_a_line_names_windows_and_that_for_a_pair_does_not():
    with pytest.raises(LengthError, match="--long window"):
        limit_windows([5, 6, 7], lambda tokens: [], Ledger("test", 2, "error"), "f:1")
    with pytest.raises(LengthError) as caught:
        limit_pair([5, 6, 7], [5], Ledger("test", 2, "error"), "f:1", "g:1")
    assert "window" not in str(caught.value)


def test_pairs_have_no_windows():
    with pytest.raises(ConfigError, match="a pair has no windows"):
        Ledger.of_pairs("train", 3, "window")
    ledger = Ledger("train", 3, "window")
    with pytest.raises(ConfigError, match="a pair has no windows"):
        limit_pair([4], [4], ledger, "f:1", "g:1")
    with pytest.raises(ConfigError, match="Use error, drop or cut"):
        limit([4], ledger, "f:1")
