"""The store of pairs: what goes in comes out, from memory and from disk, and each pair knows its line."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import onehop.data.store as module
from onehop.data import Pair, PairStore, sample
from onehop.errors import DataError, FileError

TEXTS = st.one_of(st.sampled_from(["", " ", "\t", "\u3000", "a"]), st.text(st.characters(), max_size=12))
FILES = st.lists(st.lists(st.builds(Pair, TEXTS, TEXTS), max_size=12), max_size=4)


def numbered(count: int) -> list[Pair]:
    return [Pair(f"source {n}", f"target {n}") for n in range(count)]


def filled(pairs, folder=None) -> PairStore:
    store = PairStore(folder)
    store.add(pairs, "pairs.tsv")
    return store


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_PAIRS", 5)


@settings(deadline=None, max_examples=80)
@given(FILES)
def test_all_pairs_with_text_on_both_sides_come_back_and_know_their_lines(files):
    store = PairStore()
    for number, pairs in enumerate(files):
        store.add(pairs, f"{number}.en", f"{number}.de")
    expected = [
        (pair, (f"{number}.en:{line}", f"{number}.de:{line}"))
        for number, pairs in enumerate(files)
        for line, pair in enumerate(pairs, 1)
        if pair.source.strip() and pair.target.strip()
    ]
    assert [(pair, store.where(number)) for number, pair in enumerate(store)] == expected
    assert len(store) == len(expected)
    assert store.num_skipped == sum(map(len, files)) - len(expected)


def test_blocks_part_the_numbers(small_blocks):
    store = PairStore()
    store.add(numbered(13), "a.tsv")
    store.add(numbered(7), "b.tsv")
    numbers = [number for index in range(store.num_blocks) for number in store.numbers(index)]
    assert numbers == list(range(20))
    for index in reversed(range(store.num_blocks)):
        assert store.block(index) == [(numbered(13) + numbered(7))[number] for number in store.numbers(index)]
        assert len(store.block(index)) <= 5


def test_long_documents_make_short_blocks(monkeypatch):
    """16,384 documents at once would fill the memory."""
    monkeypatch.setattr(module, "BLOCK_CHARACTERS", 1_000)
    documents = [Pair("x" * 600, "y" * 600)] * 4
    store = filled(documents)
    assert store.num_blocks == 4
    assert list(store) == documents


def test_a_large_corpus_goes_to_disk_and_leaves_nothing_behind(tmp_path, monkeypatch, small_blocks):
    monkeypatch.setattr(module, "MEMORY_BYTES", 100)
    pairs = [Pair("\ud800 \0", "two\nlines"), *numbered(50)]
    store = filled(pairs, tmp_path)
    assert list(store) == pairs
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_take_the_pairs_is_a_file_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MEMORY_BYTES", 100)
    with pytest.raises(FileError, match="missing"):
        filled(numbered(50), tmp_path / "missing")


def test_threads_may_read_at_once(tmp_path, monkeypatch, small_blocks):
    monkeypatch.setattr(module, "MEMORY_BYTES", 100)
    store = filled(numbered(1_000), tmp_path)
    indices = list(range(store.num_blocks)) * 5
    with ThreadPoolExecutor(4) as threads:
        for index, block in zip(indices, threads.map(store.block, indices), strict=True):
            assert block == numbered(1_000)[5 * index : 5 * index + 5]


def test_files_are_joined_in_the_order_given(tmp_path):
    for name, text in {"1.en": "a\nb\n", "1.de": "A\n \n", "2.en": "c\n", "2.de": "C\n"}.items():
        (tmp_path / name).write_text(text)
    sides = ([tmp_path / "2.en", tmp_path / "1.en"], [tmp_path / "2.de", tmp_path / "1.de"])
    store = PairStore.from_parallel(*sides)
    assert list(store) == [("c", "C"), ("a", "A")]
    assert store.num_skipped == 1
    assert store.where(1) == (f"{tmp_path / '1.en'}:1", f"{tmp_path / '1.de'}:1")


def test_tables_of_different_forms_are_joined(tmp_path):
    (tmp_path / "a.tsv").write_text("yes\tja\n")
    (tmp_path / "b.jsonl").write_text('\n{"source": "no", "target": "nein"}\n')
    store = PairStore.from_tables([tmp_path / "a.tsv", tmp_path / "b.jsonl"])
    assert list(store) == [("yes", "ja"), ("no", "nein")]
    assert store.where(1).target == f"{tmp_path / 'b.jsonl'}:2"


@pytest.mark.parametrize("text", ["", "\n\n", " \t \n"])
def test_a_corpus_without_pairs_is_refused_by_name(tmp_path, text):
    path = tmp_path / "pairs.tsv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        PairStore.from_tables([path])
    assert caught.value.where == str(path)


def test_each_source_file_needs_a_target_file(tmp_path):
    with pytest.raises(DataError, match="2 source files and 1 target file"):
        PairStore.from_parallel([tmp_path / "a", tmp_path / "b"], [tmp_path / "c"])


@given(size=st.integers(0, 60), count=st.integers(0, 80))
def test_a_sample_is_spread_evenly_and_in_order(size, count):
    pairs = numbered(size)
    places = [pairs.index(pair) for pair in sample(filled(pairs), count)]
    assert len(places) == min(size, count)
    if places:
        gaps = [after - before for before, after in pairwise([*places, size])]
        assert places[0] == 0
        assert max(gaps) - 1 <= min(gaps) >= 1


def test_a_sample_crosses_blocks(small_blocks):
    assert [pair.source for pair in sample(filled(numbered(40)), 4)] == [f"source {n}" for n in (0, 10, 20, 30)]
