import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from onehop.nn import Sinusoidal, sinusoidal

DIM = 512


def codes(*positions: int) -> Tensor:
    return sinusoidal(torch.tensor(positions), DIM, torch.float64)


def test_codes_have_the_papers_values():
    expected = torch.tensor([0.909297427, -0.416146837, 0.936414739, -0.350895194], dtype=torch.float64)
    torch.testing.assert_close(codes(2)[0, :4], expected, atol=1e-9, rtol=0)
    zero = codes(0)[0]
    assert torch.equal(zero[0::2], torch.zeros(256, dtype=torch.float64))
    assert torch.equal(zero[1::2], torch.ones(256, dtype=torch.float64))


def test_positions_2_and_10_are_as_alike_as_published():
    two, ten = codes(2, 10)
    assert float(F.cosine_similarity(two, ten, 0)) == pytest.approx(0.7225200832, abs=1e-10)


def test_sines_and_cosines_lie_on_the_unit_circle():
    x = codes(0, 1, 7, 511, 100_000)
    assert x.abs().max() <= 1
    torch.testing.assert_close(x[:, 0::2] ** 2 + x[:, 1::2] ** 2, torch.ones(5, 256, dtype=torch.float64))
    torch.testing.assert_close(x.square().sum(1), torch.full((5,), 256.0, dtype=torch.float64))


def test_positions_at_the_same_distance_are_equally_alike():
    products = [float(codes(p)[0] @ codes(p + 7)[0]) for p in (0, 5, 100, 3000)]
    assert products == pytest.approx([187.864997] * 4, abs=1e-6)


@pytest.mark.parametrize("k", [1, 7, 300])
def test_a_step_of_k_is_one_rotation_of_every_pair_wherever_it_starts(k: int):
    angles = k * 10000.0 ** (-torch.arange(0, DIM, 2, dtype=torch.float64) / DIM)
    matrix = torch.zeros(DIM, DIM, dtype=torch.float64)
    for i, angle in enumerate(angles):
        sine, cosine = angle.sin(), angle.cos()
        matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor([[cosine, sine], [-sine, cosine]])
    for p in (0, 5, 1000):
        torch.testing.assert_close(codes(p) @ matrix.T, codes(p + k), atol=1e-10, rtol=0)


def test_no_two_positions_share_a_code():
    table = sinusoidal(torch.arange(5000), DIM)
    assert len(table.unique(dim=0)) == 5000


def test_a_module_gives_the_codes_of_any_position_beyond_its_table_too():
    module = Sinusoidal(16)
    for positions in (
        torch.arange(5),
        torch.tensor([Sinusoidal.TABLE - 1, Sinusoidal.TABLE, 3]),
        torch.tensor([10**6]),
    ):
        assert torch.equal(module(positions), sinusoidal(positions, 16))
    assert module(torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0, 16)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4)])
def test_positions_may_have_any_leading_axes(shape: tuple[int, ...]):
    positions = torch.randint(0, 50, shape)
    flat = torch.stack([sinusoidal(p, 8) for p in positions.flatten()])
    for found in (sinusoidal(positions, 8), Sinusoidal(8)(positions)):
        assert found.shape == (*shape, 8)
        torch.testing.assert_close(found.flatten(0, -2), flat)


def test_the_table_is_no_part_of_a_checkpoint():
    assert not Sinusoidal(16).state_dict()


def test_an_odd_width_is_an_error():
    with pytest.raises(ValueError, match="dim=7 must be even"):
        sinusoidal(torch.arange(3), 7)
