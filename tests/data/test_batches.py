"""Batches: every pair once an epoch, within the budget, and the same from any position that was saved."""

import gc
import threading
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import onehop.data.store as store_module
import onehop.data.tokens as tokens_module
from onehop.data import Batch, Pair, PairStore, Position, TrainingBatches, evaluation_batches, fixed_batches
from onehop.errors import ConfigError, DataError, LengthError

PAD, EOS = 0, 2


class Letters:
    """A tokenizer whose tokens are code points, moved past the control tokens."""

    def encode_batch(self, texts):
        return [[ord(letter) + 3 for letter in text] for text in texts]


class Broken:
    """A tokenizer that fails."""

    def encode_batch(self, texts):
        raise RuntimeError("broken tokenizer")


def corpus(count: int, seed: int = 0) -> list[Pair]:
    """Return pairs of realistic lengths: 9 words with a deviation of 4, both sides alike."""
    randoms = np.random.default_rng(seed)
    sources = np.clip(np.rint(randoms.normal(9, 4, count)), 1, None)
    targets = np.clip(np.rint(0.95 * sources + randoms.normal(0, 1.3, count)), 1, None)
    return [
        Pair(chr(97 + n % 26) * int(a), chr(65 + n // 26 % 26) * int(b))
        for n, (a, b) in enumerate(zip(sources, targets, strict=True))
    ]


def filled(pairs) -> PairStore:
    store = PairStore()
    store.add(pairs, "pairs.tsv")
    return store


def batches_of(pairs, tokenizer=None, **changes) -> TrainingBatches:
    settings = {"batch_tokens": 200, "max_length": 100, "long_policy": "drop", "seed": 1, **changes}
    tokenizer = tokenizer or Letters()
    return TrainingBatches(filled(pairs), tokenizer, tokenizer, **settings)


def epoch_of(batches: TrainingBatches, epoch: int = 0) -> list[Batch]:
    batches.seek(Position(epoch))
    found = [next(batches)]
    while True:
        batch = next(batches)
        if batches.position.epoch > epoch:
            return found
        found.append(batch)


def same(left: Batch, right: Batch) -> bool:
    return (
        left.pairs == right.pairs
        and left.num_targets == right.num_targets
        and torch.equal(left.source, right.source)
        and torch.equal(left.target, right.target)
    )


def rows_of(tokens: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
    """Return the rows without end marks, after a look at how they end."""
    rows = []
    for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True):
        assert row[length - 1] == EOS
        assert row[length:] == [PAD] * (len(row) - length)
        rows.append(row[: length - 1])
    assert tokens.dtype == lengths.dtype == torch.int64
    assert tokens.shape[1] == lengths.max()
    return rows


@pytest.fixture
def small_blocks(monkeypatch):
    """Windows of 16 blocks of 4 pairs."""
    monkeypatch.setattr(store_module, "BLOCK_PAIRS", 4)


@pytest.mark.parametrize("count", [1, 2, 300, 1_000])
@pytest.mark.parametrize("epoch", [0, 3])
def test_an_epoch_holds_every_pair_once_and_whole(small_blocks, count, epoch):
    pairs = corpus(count)
    seen = []
    for batch in epoch_of(batches_of(pairs), epoch):
        seen += batch.pairs
        expected = [pairs[number] for number in batch.pairs]
        assert rows_of(batch.source, batch.source_lengths) == Letters().encode_batch([p.source for p in expected])
        assert rows_of(batch.target, batch.target_lengths) == Letters().encode_batch([p.target for p in expected])
        assert batch.num_targets == sum(len(pair.target) + 1 for pair in expected)
    assert sorted(seen) == list(range(count))


@pytest.mark.parametrize("batch_tokens", [1, 30, 200, 10_000])
def test_a_batch_exceeds_its_budget_only_where_it_is_one_pair(batch_tokens):
    for batch in epoch_of(batches_of(corpus(500), batch_tokens=batch_tokens)):
        cells = max(batch.source.numel(), batch.target.numel())
        assert cells <= batch_tokens or len(batch.pairs) == 1


def test_budgets_are_used_up():
    sizes = [max(b.source.numel(), b.target.numel()) for b in epoch_of(batches_of(corpus(3_000), batch_tokens=500))]
    assert np.mean(sizes) > 0.85 * 500


def test_restoring_any_position_gives_the_batches_that_would_have_followed(small_blocks):
    pairs = corpus(300)
    whole = batches_of(pairs)
    positions, following = [], []
    for _ in range(120):
        positions.append(whole.position)
        following.append(next(whole))
    assert positions[-1].epoch >= 2
    assert any(position.window > 0 for position in positions)

    again = batches_of(pairs)
    for start in np.random.default_rng(0).integers(0, 110, 25).tolist():
        again.seek(Position(**positions[start].to_dict()))
        assert again.position == positions[start]
        for batch, expected in zip(islice(again, 10), following[start:], strict=False):
            assert same(batch, expected)


def test_the_order_depends_on_the_seed_and_the_text_alone(small_blocks):
    """Known numbers: another machine, process or version of numpy must draw the same."""
    pairs = [Pair("a" * (1 + 7 * n % 13), "b" * (1 + 5 * n % 11)) for n in range(150)]
    batches = batches_of(pairs, seed=7, batch_tokens=50)
    known = [(143, 132, 130, 95, 84, 97, 82, 93), (124, 126, 87), (16, 42, 44, 18)]
    assert [next(batches).pairs for _ in range(3)] == known
    assert [batch.pairs for batch in epoch_of(batches_of(pairs, seed=8, batch_tokens=50))[:3]] != known


def test_epochs_differ_in_their_batches_and_not_only_in_their_order():
    batches = batches_of(corpus(2_000), batch_tokens=1_000)
    first, second = ({frozenset(batch.pairs) for batch in epoch_of(batches, epoch)} for epoch in (0, 1))
    assert len(first & second) < len(first) / 2


def test_epochs_read_the_corpus_in_different_orders(small_blocks):
    batches = batches_of(corpus(300))
    first_windows = []
    for epoch in (0, 1):
        batches.seek(Position(epoch))
        first_windows.append(set())
        while (batch := next(batches)) and batches.position.window == 0:
            first_windows[-1].update(batch.pairs)
    assert first_windows[0] != first_windows[1]


def test_batches_do_not_come_in_the_order_of_their_length():
    lengths = [batch.source.shape[1] for batch in epoch_of(batches_of(corpus(2_000)))]
    assert abs(np.corrcoef(lengths, np.arange(len(lengths)))[0, 1]) < 0.4


def test_little_of_a_batch_is_padding():
    batches = batches_of(corpus(16_000), batch_tokens=4_096)
    epoch = epoch_of(batches)
    cells = sum(batch.source.numel() + batch.target.numel() for batch in epoch)
    tokens = sum(int((batch.source != PAD).sum() + (batch.target != PAD).sum()) for batch in epoch)
    assert 1 - tokens / cells < 0.1


def test_cells_and_tokens_are_counted():
    batch = next(batches_of([Pair("abc", "abc"), Pair("a", "abc")], batch_tokens=100))
    assert (batch.num_tokens, batch.num_cells) == (14, 16)


def test_held_out_pairs_never_train(small_blocks):
    held = np.array([0, 5, 6, 7, 8, 149])
    seen = [number for batch in epoch_of(batches_of(corpus(150), held=held)) for number in batch.pairs]
    assert sorted(seen) == sorted(set(range(150)) - set(held.tolist()))


# ---------------------------------------------------------------------------------------------- long pairs


LONG = [Pair("abc", "abc"), Pair("abcdef", "ab"), Pair("ab", "abcde"), Pair("abcd", "abcd"), Pair("", "x")]


def test_long_pairs_are_dropped_and_counted_once_over_many_epochs(monkeypatch):
    monkeypatch.setattr(tokens_module, "CACHE_BYTES", 0)
    batches = batches_of(LONG, max_length=4, long_policy="drop")
    for epoch in range(4):
        assert sorted(n for batch in epoch_of(batches, epoch) for n in batch.pairs) == [0, 3]
    ledger = batches.ledger
    assert (ledger.lines, ledger.affected, ledger.tokens, ledger.longest) == (4, 2, 15, 6)
    assert ledger.first == "pairs.tsv:2"


def test_long_pairs_are_cut_on_the_side_that_is_long():
    batch = next(batches_of(LONG, max_length=4, long_policy="cut"))
    texts = dict(zip(batch.pairs, rows_of(batch.source, batch.source_lengths), strict=True))
    assert texts[1] == Letters().encode_batch(["abcd"])[0]
    assert texts[2] == Letters().encode_batch(["ab"])[0]
    assert sorted(batch.pairs) == [0, 1, 2, 3]


def test_a_long_pair_is_an_error_with_its_line_where_that_is_asked_for():
    batches = batches_of(LONG, max_length=4, long_policy="error")
    for _ in range(2):
        with pytest.raises(LengthError) as caught:
            next(batches)
        assert caught.value.where == "pairs.tsv:2"


def test_a_corpus_of_long_pairs_only_is_an_error_that_tells_the_limit(small_blocks):
    with pytest.raises(DataError, match="200 of 200 lines longer than 5 tokens"):
        next(batches_of([Pair("long " * 3, "x")] * 200, max_length=5))


def test_a_window_without_short_pairs_is_passed_over(small_blocks):
    batches = batches_of([*[Pair("long " * 3, "x")] * 400, Pair("a", "b")], max_length=5)
    assert [next(batches).pairs for _ in range(3)] == [(400,)] * 3


def test_a_policy_that_does_not_exist_is_refused_at_once():
    with pytest.raises(ConfigError, match="drop"):
        batches_of(LONG, long_policy="dropp")


# ---------------------------------------------------------------------------------------------- memory, threads


def test_the_cache_changes_nothing(small_blocks, monkeypatch):
    cached = [epoch_of(batches_of(corpus(200)), epoch) for epoch in (0, 1)]
    monkeypatch.setattr(tokens_module, "CACHE_BYTES", 2_000)
    for epoch, expected in enumerate(cached):
        assert all(map(same, epoch_of(batches_of(corpus(200)), epoch), expected))


def test_cached_blocks_are_tokenised_once():
    class Counting(Letters):
        calls = 0

        def encode_batch(self, texts):
            self.calls += 1
            return super().encode_batch(texts)

    tokenizer = Counting()
    batches = batches_of(corpus(50), tokenizer)
    for epoch in range(4):
        epoch_of(batches, epoch)
    batches.close()
    assert tokenizer.calls == 2


def test_vocabularies_beyond_sixteen_bits_survive(small_blocks):
    pairs = [Pair("abc", "b"), Pair(chr(0xFFFD), "b"), Pair("x", chr(0x10FFFF)), *corpus(100)]
    for batch in epoch_of(batches_of(pairs)):
        sources = rows_of(batch.source, batch.source_lengths)
        targets = rows_of(batch.target, batch.target_lengths)
        for number, source, target in zip(batch.pairs, sources, targets, strict=True):
            assert [source, target] == Letters().encode_batch(list(pairs[number]))


def test_what_goes_wrong_in_the_thread_is_raised_here():
    with pytest.raises(RuntimeError, match="broken tokenizer"):
        next(batches_of(corpus(10), Broken()))


def ended(threads: list[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(timeout=30)
    return bool(threads) and not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("how", ["close", "drop"])
def test_no_thread_outlives_its_batches(how):
    before = set(threading.enumerate())
    batches = batches_of(corpus(100))
    next(batches)
    started = [thread for thread in threading.enumerate() if thread not in before]
    if how == "close":
        batches.close()
    else:
        del batches
        gc.collect()
    assert ended(started)


def test_closing_does_not_wait_for_a_window_to_be_finished(small_blocks):
    entered, go_on, calls = threading.Event(), threading.Event(), []

    class Slow(Letters):
        def encode_batch(self, texts):
            calls.append(len(texts))
            if len(calls) > 32:  # the first window is 16 blocks of two sides
                entered.set()
                go_on.wait(30)
            return super().encode_batch(texts)

    batches = batches_of(corpus(400), Slow())
    next(batches)
    assert entered.wait(30)
    closing = threading.Thread(target=batches.close)
    closing.start()
    assert batches._windows.stop.wait(30)
    go_on.set()
    assert ended([closing])
    assert len(calls) <= 34


def test_a_position_of_another_corpus_is_refused(small_blocks):
    with pytest.raises(DataError, match="no window 9"):
        batches_of(corpus(100)).seek(Position(0, 9, 0))


def test_a_batch_moves_as_a_whole():
    batch = next(batches_of(corpus(10))).to("meta")
    tensors = (batch.source, batch.source_lengths, batch.target, batch.target_lengths)
    assert all(tensor.device.type == "meta" for tensor in tensors)


# ---------------------------------------------------------------------------------------------- finite batches

ROWS = st.lists(st.lists(st.integers(3, 80_000), max_size=20), max_size=40)


@settings(deadline=None, max_examples=80)
@given(ROWS, st.integers(1, 100))
def test_sources_are_batched_for_inference_each_once_and_longest_first(sources, budget):
    seen, widths = [], []
    batches = list(fixed_batches(sources, budget))
    for places, tokens, lengths in batches:
        assert rows_of(tokens, lengths) == [sources[place] for place in places]
        assert tokens.numel() <= budget or len(places) == 1
        seen += places
        widths.append(tokens.shape[1])
    assert sorted(seen) == list(range(len(sources)))
    assert widths == sorted(widths, reverse=True)
    assert all((len(places) + 1) * tokens.shape[1] > budget for places, tokens, _ in batches[:-1])


@settings(deadline=None, max_examples=80)
@given(ROWS, st.integers(1, 100), st.randoms())
def test_validation_sees_each_pair_once(sources, budget, randoms):
    targets = randoms.sample(sources, len(sources))
    seen = []
    for batch in evaluation_batches(sources, targets, budget):
        assert rows_of(batch.source, batch.source_lengths) == [sources[number] for number in batch.pairs]
        assert rows_of(batch.target, batch.target_lengths) == [targets[number] for number in batch.pairs]
        assert batch.num_targets == sum(len(targets[number]) + 1 for number in batch.pairs)
        assert max(batch.source.numel(), batch.target.numel()) <= budget or len(batch.pairs) == 1
        seen += batch.pairs
    assert sorted(seen) == list(range(len(sources)))
    again = evaluation_batches(sources, targets, budget)
    assert [batch.pairs for batch in again] == [b.pairs for b in evaluation_batches(sources, targets, budget)]
