import pytest
import torch
from torch import Tensor, nn

from onehop.nn import Residual


def test_post_norm_leaves_each_token_with_mean_zero_and_variance_one():
    residual = Residual(nn.Identity(), nn.LayerNorm(64), 0.0)
    x = torch.randn(2, 5, 64) * 3 + 1
    out = residual(x, nn.Linear(64, 64))
    torch.testing.assert_close(out.mean(-1), torch.zeros(2, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(-1, correction=0), torch.ones(2, 5), atol=1e-4, rtol=0)


def test_a_sublayer_of_zeros_leaves_the_norm_in_post_and_the_input_in_pre():
    x, norm = torch.randn(2, 5, 8), nn.LayerNorm(8)
    assert torch.equal(Residual(nn.Identity(), norm, 0.0)(x, torch.zeros_like), norm(x))
    assert torch.equal(Residual(norm, nn.Identity(), 0.0)(x, torch.zeros_like), x)


def test_pre_norm_normalises_what_the_sublayer_reads_and_nothing_else():
    x, norm, seen = torch.randn(2, 5, 8), nn.LayerNorm(8), list[Tensor]()

    def sublayer(y: Tensor) -> Tensor:
        seen.append(y)
        return y * 2

    out = Residual(norm, nn.Identity(), 0.0)(x, sublayer)
    assert torch.equal(seen[0], norm(x))
    torch.testing.assert_close(out, x + 2 * norm(x))


def test_dropout_falls_on_the_sublayers_output_and_never_on_the_input():
    residual, x = Residual(nn.Identity(), nn.Identity(), 0.5), torch.full((100, 8), 10.0)
    out = residual(x, torch.ones_like)
    assert set(out.unique().tolist()) == {10.0, 12.0}
    assert float((out == 10).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert torch.equal(residual.eval()(x, torch.ones_like), x + 1)
