import pytest
import torch
from torch.nn import functional as F

from onehop.nn import TokenEmbedding


@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 3, 5)])
def test_an_embedding_is_a_row_of_the_table_times_the_root_of_the_width(shape: tuple[int, ...]):
    layer, tokens = TokenEmbedding(11, 16), torch.randint(0, 11, shape)
    expected = F.one_hot(tokens, 11).float() @ layer.weight * 4
    torch.testing.assert_close(layer(tokens), expected)


def test_only_tokens_that_were_seen_get_a_gradient():
    layer = TokenEmbedding(6, 4)
    layer(torch.tensor([[1, 4, 1]])).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum(1).gt(0).tolist() == [False, True, False, False, True, False]


def test_scaled_embeddings_start_with_unit_variance():
    layer = TokenEmbedding(2000, 64)
    assert float(layer(torch.arange(2000)).var().detach()) == pytest.approx(1, rel=0.05)
