import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from onehop.nn import Mask
from onehop.nn.masks import padding

CPU = torch.device("cpu")


def dense(mask: Mask, T: int, S: int, rows: int = 1) -> Tensor:
    allowed, _ = mask.dense(T, S, CPU)
    shape = (rows, 1, T, S)
    return torch.ones(shape, dtype=torch.bool) if allowed is None else allowed.expand(shape)


sizes = st.integers(1, 6)


@settings(deadline=None)
@given(sizes, sizes, st.integers(0, 4), st.none() | st.integers(0, 3), st.booleans())
def test_a_mask_says_of_each_query_and_key_what_its_conditions_say(
    T: int, S: int, size: int, window: int | None, causal: bool
):
    found = dense(Mask(causal=causal, window=window, size=size), T, S)[0, 0].tolist()
    for t in range(T):
        for s in range(S):
            distance = size + t - s
            near = window is None or abs(distance) <= window
            assert found[t][s] == (near and (distance >= 0 or not causal))


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=4), sizes)
def test_rows_that_start_apart_are_masked_each_as_if_all_started_there(starts: list[int], T: int):
    S = max(starts) + T
    found = dense(Mask(causal=True, start=torch.tensor(starts)), T, S, len(starts))
    for row, size in enumerate(starts):
        assert torch.equal(found[row], dense(Mask(causal=True, size=size), T, S)[0])


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.booleans(), st.none() | st.integers(0, 2))
def test_conditions_are_joined_by_and(lengths: list[int], causal: bool, window: int | None):
    rows, segments = len(lengths), torch.tensor([[0, 0, 1, 1, -1]]).expand(len(lengths), 5)
    parts = [Mask(lengths=torch.tensor(lengths)), Mask(causal=causal), Mask(window=window),
             Mask(segments=(segments, segments))]  # fmt: skip
    joined = Mask(lengths=torch.tensor(lengths), causal=causal, window=window, segments=(segments, segments))
    expected = torch.stack([dense(part, 5, 5, rows) for part in parts]).all(0)
    assert torch.equal(dense(joined, 5, 5, rows), expected)


def test_segments_below_zero_read_nothing_and_are_read_by_nobody():
    allowed = dense(Mask(segments=(torch.tensor([[0, -1, -2]]), torch.tensor([[-1, 0, -2]]))), 3, 3)[0, 0]
    assert allowed.tolist() == [[False, True, False], [False] * 3, [False] * 3]


def test_queries_that_may_read_nothing_are_named():
    _, blind = Mask(lengths=torch.tensor([0, 2])).dense(3, 4, CPU)
    assert blind is not None
    assert blind.expand(2, 1, 3, 1).flatten(1).tolist() == [[True] * 3, [False] * 3]
    assert Mask(lengths=torch.tensor([1, 2])).dense(3, 4, CPU)[1] is None


def test_a_mask_without_effect_is_no_tensor():
    assert Mask().dense(3, 4, CPU) == (None, None)
    assert Mask(causal=True, size=3).dense(1, 4, CPU) == (None, None)


def test_a_mask_becomes_dense_once():
    mask = Mask(lengths=torch.tensor([1, 2]))
    assert mask.dense(3, 4, CPU)[0] is mask.dense(3, 4, CPU)[0]
    assert dense(mask, 3, 5, 2).shape == (2, 1, 3, 5)


@pytest.mark.parametrize(
    ("mask", "T", "S", "plain"),
    [
        (Mask(causal=True), 4, 4, True),
        (Mask(causal=True), 3, 4, False),
        (Mask(), 4, 4, False),
        (Mask(causal=True, size=2), 4, 4, False),
        (Mask(causal=True, window=1), 4, 4, False),
        (Mask(causal=True, start=torch.tensor([0])), 4, 4, False),
        (Mask(causal=True, lengths=torch.tensor([4])), 4, 4, False),
        (Mask(causal=True, bias=torch.zeros(4, 4)), 4, 4, False),
        (Mask(causal=True, segments=(torch.zeros(1, 4), torch.zeros(1, 4))), 4, 4, False),
    ],
)
def test_only_the_plain_lower_triangle_is_called_that(mask: Mask, T: int, S: int, plain: bool):
    assert mask.is_causal_square(T, S) is plain


def test_lengths_that_fill_every_row_are_no_padding():
    assert padding(None, 4) is None
    assert padding(torch.tensor([4, 4]), 4) is None
    lengths = torch.tensor([4, 3])
    assert padding(lengths, 4) is lengths


def test_ranges_are_the_keys_that_each_query_reads():
    numbers = torch.tensor([[0, 0, 0, 1, 1, -1], [0, 1, 1, 1, 1, 1]])
    masks = [
        Mask(), Mask(causal=True), Mask(lengths=torch.tensor([0, 4])), Mask(lengths=torch.tensor([6, 2]), causal=True),
        Mask(segments=(numbers, numbers)), Mask(segments=(numbers, numbers), causal=True), Mask(window=1),
        Mask(start=torch.tensor([0, 3]), causal=True),
    ]  # fmt: skip
    for mask in masks:
        found = mask.ranges(6, 6)
        assert found is not None
        keys = torch.arange(6)
        reads = (keys >= found[..., :1]) & (keys < found[..., 1:])
        allowed, _ = mask.dense(6, 6, torch.device("cpu"))
        expected = torch.ones(1, 6, 6, dtype=torch.bool) if allowed is None else allowed[:, 0].expand(-1, 6, -1)
        assert torch.equal(reads, expected)


def test_keys_that_do_not_stand_in_a_row_have_no_range():
    numbers = torch.tensor([[0, 1, 0, 1]])
    assert Mask(segments=(numbers, numbers)).ranges(4, 4) is None


def test_what_is_worked_out_of_a_mask_is_worked_out_once():
    mask, made = Mask(causal=True), []
    for held in (mask, mask, mask.with_bias(torch.zeros(1))):
        assert held.once("key", lambda: made.append(1) or 7) == 7
    assert made == [1]
