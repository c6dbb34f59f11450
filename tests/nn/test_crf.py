from functools import partial
from itertools import pairwise, product

import pytest
import torch

from onehop.metrics.schemes import completed, is_legal, legal
from onehop.nn.crf import Allowed, Crf, viterbi

LENGTHS = torch.tensor([4, 1, 3])


def made(count: int) -> tuple[Crf, torch.Tensor]:
    crf = Crf(count).double()
    for parameter in crf.requires_grad_(False).parameters():
        parameter.normal_()
    return crf, torch.randn(len(LENGTHS), 4, count, dtype=torch.float64)


def score(crf: Crf, emissions: torch.Tensor, path: tuple[int, ...]) -> float:
    inside = sum(float(emissions[t, y]) for t, y in enumerate(path))
    pairs = sum(float(crf.transitions[one, other]) for one, other in pairwise(path))
    return float(crf.start[path[0]]) + inside + pairs + float(crf.end[path[-1]])


def test_the_forward_algorithm_sums_over_all_sequences():
    crf, emissions = made(3)
    found = crf.log_partition(emissions, LENGTHS)
    for row, size in enumerate(LENGTHS.tolist()):
        each = torch.tensor([score(crf, emissions[row], path) for path in product(range(3), repeat=size)])
        assert float(found[row]) == pytest.approx(float(each.double().logsumexp(0)), abs=1e-5)


def test_the_probabilities_of_all_sequences_sum_to_one_and_give_the_marginals():
    crf, emissions = made(3)
    marginals = crf.marginals(emissions, LENGTHS)
    for row, size in enumerate(LENGTHS.tolist()):
        paths = list(product(range(3), repeat=size))
        labels = torch.tensor(paths)
        same, sizes = emissions[row : row + 1, :size].expand(len(paths), -1, -1), torch.full((len(paths),), size)
        chances = crf.log_likelihood(same, labels, sizes).exp()
        assert float(chances.sum()) == pytest.approx(1)
        for t in range(size):
            own = torch.stack([chances[labels[:, t] == label].sum() for label in range(3)])
            assert torch.allclose(marginals[row, t], own)
        assert not marginals[row, size:].any()


@pytest.mark.parametrize("scheme", ["none", "bio", "bilou"])
@pytest.mark.parametrize("with_crf", [False, True])
def test_viterbi_finds_the_best_of_the_sequences_that_fit(scheme, with_crf):
    labels = ["a", "b", "c"] if scheme == "none" else completed(["B-x", "B-y"], scheme)
    crf, emissions = made(len(labels))
    none = Crf(len(labels)).double().requires_grad_(False)
    found = viterbi(emissions, LENGTHS, Allowed.of(labels, partial(legal, scheme=scheme)), crf if with_crf else None)
    for row, size in enumerate(LENGTHS.tolist()):
        paths = product(range(len(labels)), repeat=size)
        fitting = [path for path in paths if is_legal([labels[y] for y in path], scheme)]
        best = max(fitting, key=lambda path: score(crf if with_crf else none, emissions[row], path))
        assert found[row] == list(best)


def test_what_stands_behind_a_sentence_changes_nothing():
    crf, emissions = made(3)
    other = emissions.clone()
    other[1, 1:], other[2, 3:] = 9.0, -9.0
    assert torch.equal(crf.log_partition(emissions, LENGTHS), crf.log_partition(other, LENGTHS))
    allowed = Allowed.of(["a", "b", "c"], lambda one, other: True)
    assert viterbi(emissions, LENGTHS, allowed, crf) == viterbi(other, LENGTHS, allowed, crf)
