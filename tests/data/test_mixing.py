"""Mixing corpora and drawing pieces: how often a pair is seen, its tag, and that a resumed epoch is the same one."""

from collections import Counter
from hashlib import sha256
from itertools import islice

import numpy as np
import pytest

import onehop.data.store as store_module
import onehop.data.tokens as tokens_module
from onehop.data import Batch, Pair, PairStore, Position, Sampling, TrainingBatches
from onehop.errors import ConfigError, LengthError

SIZES = (100, 60, 40)
FILE = [file for file, size in enumerate(SIZES) for _ in range(size)]


class Letters:
    """Two letters are a token, where both are the same; a draw takes some of these apart, by the key alone."""

    def encode_batch(self, texts):
        return self.sample_batch(texts, [0] * len(texts), 0.0)

    def sample_batch(self, texts, keys, p):
        return [self._encode(text, key, p) for text, key in zip(texts, keys, strict=True)]

    def _encode(self, text, key, p):
        tokens = []
        for place in range(0, len(text), 2):
            draw = int.from_bytes(sha256(f"{key} {place}".encode()).digest()[:4]) / 2**32
            two = text[place : place + 2]
            whole = len(two) == 2 and draw >= p
            tokens += [1_000 + ord(two[0])] if whole else [ord(letter) for letter in two]
        return tokens

    def decode(self, tokens):
        return "".join(chr(token - 1_000) * 2 if token >= 1_000 else chr(token) for token in tokens)


def three_files() -> PairStore:
    store = PairStore()
    first = 0
    for name, size in zip("abc", SIZES, strict=True):
        rows = range(first, first + size)
        store.add([Pair(chr(300 + n) * (2 + n % 7), chr(600 + n) * (3 + n % 5)) for n in rows], name)
        first += size
    return store


def mixed(sampling: Sampling, store: PairStore | None = None, **changes) -> TrainingBatches:
    settings = {"batch_tokens": 60, "max_length": 50, "long_policy": "drop", "seed": 3, **changes}
    return TrainingBatches(store or three_files(), Letters(), Letters(), sampling=sampling, **settings)


def epoch_of(batches: TrainingBatches, epoch: int) -> list[Batch]:
    batches.seek(Position(epoch))
    found = [next(batches)]
    while True:
        batch = next(batches)
        if batches.position.epoch > epoch:
            return found
        found.append(batch)


def seen(batches: TrainingBatches, epoch: int) -> Counter[int]:
    return Counter(number for batch in epoch_of(batches, epoch) for number in batch.pairs)


def sources(batch: Batch) -> list[list[int]]:
    return [row[: length - 1] for row, length in zip(batch.source.tolist(), batch.source_lengths.tolist(), strict=True)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(store_module, "BLOCK_PAIRS", 8)


# ---------------------------------------------------------------------------------------------- weights


def test_an_epoch_sees_the_whole_part_of_a_weight_always_and_the_rest_by_draw():
    batches = mixed(Sampling(weights=(1.0, 2.25, 0.5)))
    counts = [seen(batches, epoch) for epoch in range(12)]
    for number, file in enumerate(FILE):
        times = {count[number] for count in counts}
        assert times <= ({1}, {2, 3}, {0, 1})[file]
    for file, (whole, rest) in enumerate([(1, 0), (2, 0.25), (0, 0.5)]):
        draws = [count[number] - whole for count in counts for number in range(200) if FILE[number] == file]
        assert abs(np.mean(draws) - rest) <= 4 * (rest * (1 - rest) / len(draws)) ** 0.5


def test_other_epochs_and_seeds_draw_other_pairs():
    sampling = Sampling(weights=(0.5, 0.5, 0.5))
    drawn = [seen(mixed(sampling, seed=seed), epoch) for seed, epoch in ((3, 0), (3, 1), (4, 0))]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]


@pytest.mark.parametrize("packing", [False, True])
def test_weights_of_one_change_no_batch(packing):
    plain, weighted = mixed(Sampling(), packing=packing), mixed(Sampling(weights=(1.0, 1.0, 1.0)), packing=packing)
    for one, other in islice(zip(plain, weighted, strict=True), 150):
        assert one.pairs == other.pairs


def test_held_out_and_dropped_pairs_are_in_no_epoch_whatever_the_weight():
    held = np.array([0, 105, 190])
    batches = mixed(Sampling(weights=(3.0, 1.5, 2.0)), held=held, max_length=3)
    short = {number for number in range(200) if number % 7 <= 4 and number % 5 <= 3 and number not in held}
    assert seen(batches, 0).keys() | seen(batches, 1).keys() | seen(batches, 2).keys() <= short
    assert all(seen(batches, 0)[number] == 3 for number in short if FILE[number] == 0)


@pytest.mark.parametrize(("name", "sampling"), [("weights", Sampling((1.0, 2.0))), ("tags", Sampling((), (None, 7)))])
def test_each_file_needs_its_weight_and_tag(name, sampling):
    with pytest.raises(ConfigError, match=f"2 {name} for 3 files"):
        mixed(sampling)


# ---------------------------------------------------------------------------------------------- tags


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_tag_is_the_first_source_token_of_its_files_pairs_and_no_others(dropout):
    batches = mixed(Sampling(tags=(None, 7, 8), dropout=dropout))
    for batch in epoch_of(batches, 0):
        for number, row in zip(batch.pairs, sources(batch), strict=True):
            tag = (None, 7, 8)[FILE[number]]
            assert (row[0] if row[0] in (7, 8) else None) == tag
            assert Letters().decode(row[tag is not None :]) == chr(300 + number) * (2 + number % 7)
        assert not {7, 8} & set(batch.target.flatten().tolist())


def test_a_tag_does_not_count_for_the_length_limit():
    store = PairStore()
    store.add([Pair("aabb", "x")], "a")
    batch = next(mixed(Sampling(tags=(7,)), store, max_length=2, long_policy="error"))
    assert batch.source.tolist()[0][0] == 7


# ---------------------------------------------------------------------------------------------- pieces drawn anew


def test_pieces_are_drawn_anew_in_each_epoch_and_spell_the_same_text():
    batches = mixed(Sampling(dropout=0.5))
    rows = []
    for epoch in range(3):
        rows.append({})
        for batch in epoch_of(batches, epoch):
            rows[-1].update(zip(batch.pairs, sources(batch), strict=True))
    assert rows[0] != rows[1] != rows[2] != rows[0]
    for row in rows:
        assert {number: Letters().decode(tokens) for number, tokens in row.items()} == {
            number: chr(300 + number) * (2 + number % 7) for number in range(200)
        }


def test_the_two_sides_and_repeated_visits_are_drawn_apart():
    store = PairStore()
    store.add([Pair("a" * 40, "a" * 40)], "a")
    batches = mixed(Sampling(weights=(2.0,), dropout=0.5), store)
    pairs = [(*batch.source.tolist(), *batch.target.tolist()) for batch in epoch_of(batches, 0)]
    rows = {tuple(token for token in row if token) for pair in pairs for row in pair}
    assert len(rows) == 4


def test_a_line_whose_drawn_pieces_are_too_many_keeps_its_usual_ones():
    store = PairStore()
    store.add([Pair("aabbccdd", "x")], "a")
    batches = mixed(Sampling(dropout=1.0), store, max_length=4, long_policy="error")
    assert sources(next(batches)) == Letters().encode_batch(["aabbccdd"])
    batches = mixed(Sampling(dropout=1.0), store, max_length=8, long_policy="error")
    assert sources(next(batches)) == [[ord(letter) for letter in "aabbccdd"]]


def test_the_limit_and_its_ledger_do_not_depend_on_the_draw():
    plain, drawn = (mixed(Sampling(dropout=p), max_length=3) for p in (0.0, 0.7))
    for epoch in range(2):
        assert seen(plain, epoch) == seen(drawn, epoch)
    assert plain.ledger == drawn.ledger
    with pytest.raises(LengthError):
        next(mixed(Sampling(dropout=0.7), max_length=3, long_policy="error"))


# ---------------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize("cache", [1 << 28, 0])
@pytest.mark.parametrize("packing", [False, True])
def test_any_position_gives_the_batches_that_would_have_followed(monkeypatch, packing, cache):
    monkeypatch.setattr(tokens_module, "CACHE_BYTES", cache)
    sampling = Sampling((0.5, 2.5, 1.0), (None, 7, None), 0.3)
    whole = mixed(sampling, packing=packing)
    positions, following = [], []
    for _ in range(150):
        positions.append(whole.position)
        following.append(next(whole))
    assert positions[-1].epoch >= 1
    assert any(position.window > 0 for position in positions)
    again = mixed(sampling, packing=packing)
    for start in (1, 17, 60, 99, 141):
        again.seek(positions[start])
        for batch, expected in zip(islice(again, 6), following[start:], strict=False):
            assert batch.pairs == expected.pairs
            assert batch.source.equal(expected.source)
            assert batch.target.equal(expected.target)
