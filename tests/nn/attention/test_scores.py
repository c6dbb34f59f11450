"""The identities of MECHANISMS A-03, and what each score looks at."""

import pytest
import torch

from onehop.errors import ConfigError
from onehop.nn import Mask, attend
from onehop.nn.attention.attend import explicit
from onehop.nn.attention.scores import SCORES, Score, build_score, unchanged
from tests.laws.close import assert_same

B, H, T, S, K = 2, 2, 3, 5, 4


def inputs(heads: int = H) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k = (torch.randn(B, h, n, K, dtype=torch.float64) for h, n in ((H, T), (heads, S)))
    return q, k, torch.arange(T).expand(B, T), torch.arange(S).expand(B, S)


def scores(score: Score, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    where = [torch.arange(x.size(2)).expand(len(x), -1) for x in (q, k)]
    return score(score.query_map(q, where[0]), score.key_map(k, where[1]))


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("groups", [H, 1])
def test_a_score_is_a_number_for_each_head_query_and_key(name: str, groups: int):
    score = build_score(name, K, H, groups).double()
    q, k, asks, keys = inputs(groups)
    mapped = score.key_map(k, keys).repeat_interleave(H // groups, 1)
    assert score(score.query_map(q, asks), mapped).shape == (B, H, T, S)


@pytest.mark.parametrize("name", [name for name in SCORES if build_score(name, K, H).scale is not None])
def test_what_is_a_product_after_its_maps_runs_on_the_kernel(name: str):
    score = build_score(name, K, H).double()
    q, k, asks, keys = inputs()
    mapped = score.query_map(q, asks), score.key_map(k, keys)
    mask = Mask(lengths=torch.tensor([5, 3]))
    assert_same(attend(*mapped, k, score, mask), explicit(*mapped, k, score, mask))


def test_general_with_the_identity_is_dot():
    q, k, _, _ = inputs()
    score = build_score("general", K, H).double()
    score.query_map.weight.data.copy_(torch.eye(K, dtype=torch.float64))
    assert_same(scores(score, q, k), scores(build_score("dot", K, H), q, k))


def test_general_is_the_bilinear_form():
    q, k, _, _ = inputs()
    score = build_score("general", K, H).double()
    expected = torch.einsum("bhtk,hjk,bhsj->bhts", q, score.query_map.weight, k)
    assert_same(scores(score, q, k), expected)


def test_additive_is_bahdanaus_formula():
    q, k, _, _ = inputs()
    score = build_score("additive", K, H).double()
    w, u, v = score.query_map.weight, score.key_map.weight, score.compare.weight
    for h in range(H):
        for t in range(T):
            for s in range(S):
                expected = (q[0, h, t] @ w[h].T + k[0, h, s] @ u[h].T).tanh() @ v[h, 0, :, 0]
                assert_same(scores(score, q, k)[0, h, t, s], expected)


def test_concat_is_one_map_of_what_is_joined():
    q, k, _, _ = inputs()
    score = build_score("concat", K, H).double()
    joined = torch.cat([score.query_map.weight, score.key_map.weight], 2)
    both = torch.cat([q.unsqueeze(3).expand(-1, -1, -1, S, -1), k.unsqueeze(2).expand(-1, -1, T, -1, -1)], -1)
    hidden = torch.einsum("bhtsj,haj->bhtsa", both, joined).tanh()
    assert_same(scores(score, q, k), torch.einsum("bhtsa,ha->bhts", hidden, score.compare.weight[:, 0, :, 0]))


def test_many_queries_are_compared_in_portions_with_the_same_result(monkeypatch: pytest.MonkeyPatch):
    q, k, _, _ = inputs()
    score = build_score("additive", K, H).double()
    whole = scores(score, q, k)
    monkeypatch.setattr(type(score.compare), "NUMBERS", 1)
    assert torch.equal(scores(score, q, k), whole)


def test_cosine_does_not_change_with_the_length_of_a_query_and_is_at_most_its_sharpness():
    q, k, _, _ = inputs()
    score = build_score("cosine", K, H).double()
    score.query_map.log_length.data.fill_(1.0)
    assert_same(scores(score, 7 * q, k), scores(score, q, k))
    assert scores(score, q, k).abs().max() <= torch.tensor(1.0).exp()
    assert scores(score, k, k).diagonal(dim1=-2, dim2=-1).allclose(torch.tensor(1.0).exp().double())


def test_location_looks_at_where_a_key_stands_only():
    q, k, _, _ = inputs()
    score = build_score("location", K, H, num_positions=S).double()
    assert torch.equal(scores(score, q, k), scores(score, q, torch.randn_like(k)))
    with pytest.raises(ConfigError, match="6 tokens, and the score 'location' knows 5 positions") as caught:
        scores(score, q, torch.randn(B, H, 6, K, dtype=torch.float64))
    assert "max_positions" in caught.value.remedy


def test_a_score_has_a_scale_or_a_comparison():
    with pytest.raises(ValueError, match="either"):
        Score(unchanged, unchanged)
