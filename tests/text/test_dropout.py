"""BPE-dropout: pieces left to chance that a key decides."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onehop.errors import ConfigError
from onehop.text import Tokenizer, dropout, train_bpe, train_unigram, train_wordpiece
from onehop.text.vocabulary import RESERVED
from tests.text.test_algorithms import texts
from tests.text.test_tokenizer import HOSTILE, LINES

keys = st.integers(0, 2**64 - 1)
TINY = 1e-12  # nothing is left out, but the pieces are drawn, not those of `encode`


@pytest.fixture(scope="module", params=["none", "nfkc"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_bpe(LINES, 600, request.param, tags=["news"])


@given(text=texts, key=keys, p=st.floats(0, 1))
@settings(deadline=None, max_examples=200)
def test_decoding_gives_back_any_text_however_it_was_cut(tokenizer: Tokenizer, text: str, key: int, p: float):
    assert tokenizer.decode(tokenizer.sample_batch([text], [key], p)[0]) == tokenizer.normalise(text)


@pytest.mark.parametrize("p", [0.1, 1.0])
def test_decoding_gives_back_hostile_text_however_it_was_cut(tokenizer: Tokenizer, p: float):
    for text, tokens in zip(HOSTILE, tokenizer.sample_batch(HOSTILE, range(len(HOSTILE)), p), strict=True):
        assert tokenizer.decode(tokens) == tokenizer.normalise(text)


@given(batch=st.lists(texts, max_size=4), key=keys)
@settings(deadline=None, max_examples=100)
def test_with_nothing_left_out_the_pieces_are_those_of_encode(tokenizer: Tokenizer, batch: list[str], key: int):
    assert tokenizer.sample_batch(batch, [key] * len(batch), 0) == tokenizer.encode_batch(batch)
    assert tokenizer.sample_batch(batch, [key] * len(batch), TINY) == tokenizer.encode_batch(batch)


@given(text=texts, key=keys)
@settings(deadline=None, max_examples=100)
def test_with_all_left_out_the_pieces_are_characters_or_bytes(tokenizer: Tokenizer, text: str, key: int):
    pieces = tokenizer.pieces(tokenizer.sample_batch([text], [key], 1)[0])
    assert all(len(piece) == 1 or piece in RESERVED for piece in pieces)


@given(rows=st.lists(st.tuples(texts, keys), min_size=1, max_size=5), p=st.floats(0, 1))
@settings(deadline=None, max_examples=100)
def test_a_text_and_its_key_decide_the_pieces_in_any_batch(tokenizer: Tokenizer, rows, p: float):
    together = tokenizer.sample_batch([text for text, _ in rows], np.array([key for _, key in rows], np.uint64), p)
    alone = [tokenizer.sample_batch([text], [key], p)[0] for text, key in reversed(rows)]
    assert together == alone[::-1]


def test_a_key_gives_the_same_pieces_in_any_process(tokenizer: Tokenizer):
    script = (
        "import sys, json; from onehop.text import Tokenizer\n"
        "text, lines = json.load(sys.stdin)\n"
        "print(json.dumps(Tokenizer.from_json(text).sample_batch(lines, range(len(lines)), 0.3)))"
    )

    def sample(seed: str, threads: str) -> list[list[int]]:
        env = os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
        given = json.dumps([tokenizer.to_json(), LINES])
        done = subprocess.run([sys.executable, "-c", script], input=given, env=env, capture_output=True, text=True)
        return json.loads(done.stdout)

    here = tokenizer.sample_batch(LINES, range(len(LINES)), 0.3)
    assert sample("1", "1") == sample("2", "3") == here


def test_what_is_remembered_changes_no_piece(monkeypatch: pytest.MonkeyPatch):
    lines = LINES * 5
    fresh, forgetful = (train_bpe(LINES, 600) for _ in range(2))
    expected = [fresh.sample_batch(lines, range(start, start + len(lines)), 0.2) for start in (0, 999, 0)]
    assert expected[0] == expected[2]
    assert expected[0] != expected[1]
    monkeypatch.setattr(dropout, "MOST_REMEMBERED", 10)
    assert [forgetful.sample_batch(lines, range(start, start + len(lines)), 0.2) for start in (0, 999, 0)] == expected


def _left_to_chance(tokens: list[str], merges: list[tuple[str, str]], p: float) -> dict[tuple[str, ...], float]:
    """Return the probability of every way to cut a word, straight from algorithm 1: each merge dropped with p."""
    order = {pair: rank for rank, pair in enumerate(merges)}
    pairs = [(order[a, b], at) for at, (a, b) in enumerate(pairwise(tokens)) if (a, b) in order]
    found: Counter[tuple[str, ...]] = Counter()
    for bits in range(2 ** len(pairs)):
        kept = [pair for i, pair in enumerate(pairs) if bits >> i & 1]
        chance = (1 - p) ** len(kept) * p ** (len(pairs) - len(kept))
        if not kept:
            found[tuple(tokens)] += chance
            continue
        at = min(kept)[1]
        merged = [*tokens[:at], tokens[at] + tokens[at + 1], *tokens[at + 2 :]]
        for cut, share in _left_to_chance(merged, merges, p).items():
            found[cut] += chance * share
    return found


def test_cuts_come_as_often_as_when_each_merge_is_dropped_by_itself():
    tokenizer = train_bpe(["low lower lowest"] * 5, 300)
    merges = [(left, right) for left, right in json.loads(tokenizer.to_json())["model"]["merges"]]
    expected = _left_to_chance(list(" lowest"), merges, 0.4)
    number = 20_000
    drawn = tokenizer.sample_batch(["lowest"] * number, range(number), 0.4)
    counts = Counter(tuple(tokenizer.pieces(tokens)) for tokens in drawn)
    assert counts.keys() <= expected.keys()
    for cut, chance in expected.items():  # five standard deviations
        assert abs(counts[cut] - number * chance) <= 5 * (number * chance * (1 - chance)) ** 0.5 + 1


def test_neighbouring_keys_draw_apart():
    tokenizer = train_bpe(LINES, 600)
    drawn = tokenizer.sample_batch([LINES[0]] * 200, range(200), 0.3)
    assert len({tuple(tokens) for tokens in drawn}) > 150


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_the_probability_lies_between_0_and_1(p: float):
    with pytest.raises(ConfigError, match="BPE-dropout"):
        train_bpe(LINES, 300).sample_batch(["x"], [1], p)


@pytest.mark.parametrize("train", [train_unigram, train_wordpiece])
def test_pieces_of_another_algorithm_have_no_merges_to_leave_out(train):
    tokenizer = train(LINES, 300)
    with pytest.raises(ConfigError, match="byte-pair") as caught:
        tokenizer.sample_batch(["x"], [1], 0.1)
    assert "text.algorithm" in caught.value.remedy
    assert tokenizer.sample_batch(["x"], [1], 0) == [tokenizer.encode("x")]


def test_each_text_needs_a_key():
    with pytest.raises(ValueError, match="keys"):
        train_bpe(LINES, 300).sample_batch(["x", "y"], [1], 0.1)
