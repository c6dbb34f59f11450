"""Recurrences against torch's, whole, in steps, and over rows of different lengths."""

import pytest
import torch
from torch import nn

from onehop.nn.readout import Readout
from onehop.nn.recurrent import CELLS, Recurrence
from onehop.nn.rows import Rows
from tests.laws.close import assert_same

B, T, D = 3, 5, 4


def double(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("two_ways", [False, True])
def test_layers_are_torchs_with_the_same_weights(cell: str, two_ways: bool):
    ours = Recurrence(cell, D, 6, num_layers=2, bidirectional=two_ways).double()
    theirs = CELLS[cell](D, 3 if two_ways else 6, num_layers=2, batch_first=True, bidirectional=two_ways).double()
    for i, layer in enumerate(ours.layers):
        for name, parameter in layer.named_parameters():
            theirs.get_parameter(name.replace("l0", f"l{i}")).data.copy_(parameter)
    x = double(B, T, D)
    assert_same(ours(x)[0], theirs(x)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_step_by_step_is_at_once(cell: str):
    rnn = Recurrence(cell, D, 6, num_layers=2).double()
    x, state = double(B, T, D), None
    whole, after = rnn(x)
    state = rnn.zeros(x)
    for t in range(T):
        state = rnn.step(x[:, t], state)
        assert_same(state.top, whole[:, t])
    assert_same((state.hidden, state.cell), (after.hidden, after.cell))


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_stops_at_its_length(cell: str):
    rnn = Recurrence(cell, D, 6).double()
    x, lengths = double(B, T, D), torch.tensor([5, 0, 2])
    _, before = rnn(double(B, 2, D))
    _, after = rnn(x, before, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = before.map(lambda v, row=row: v[row : row + 1], lambda v: v)
        if length:
            _, alone = rnn(x[row : row + 1, :length], alone)
        found = after.map(lambda v, row=row: v[row : row + 1], lambda v: v)
        assert_same((found.hidden, found.cell), (alone.hidden, alone.cell))


def test_the_forget_gates_of_an_lstm_begin_open():
    layer = Recurrence("lstm", D, 6).layers[0]
    assert layer.get_parameter("bias_ih_l0")[6:12].eq(1).all()


def test_packed_rows_are_split_and_joined():
    segments = torch.tensor([[0, 0, 1, -1, -1], [0, 1, 1, 2, 2]])
    rows = Rows(segments)
    x = double(2, 5, 3)
    apart = rows.split(x)
    assert rows.lengths.tolist() == [2, 1, 1, 2, 2]
    assert_same(apart[4], x[1, 3:])
    assert_same(rows.join(apart), x * (segments >= 0).unsqueeze(2))


def test_maxout_takes_the_larger_of_two():
    readout = Readout(3, 2, maxout=True)
    x = torch.randn(4, 3)
    pairs = nn.functional.linear(x, readout.linear.weight, readout.linear.bias).view(4, 2, 2)
    assert torch.equal(readout(x), pairs.amax(-1))
