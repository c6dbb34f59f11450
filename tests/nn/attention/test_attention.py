import pytest
import torch
from torch import Tensor, nn

from onehop.errors import ConfigError
from onehop.nn import Attention, Mask, Projections
from onehop.nn.attention import scaled_dot
from onehop.nn.attention.scores import build_score

DIM = 8


def build(heads: int = 2, groups: int | None = None, dim: int = DIM, dropout: float = 0.0) -> Attention:
    groups = groups or heads
    width = dim // heads
    return Attention(
        Projections(dim, dim, heads, groups, width, bias=False), nn.Linear(dim, dim, bias=False),
        num_heads=heads, num_kv_heads=groups, score=scaled_dot(width), dropout=dropout,
    )  # fmt: skip


def where(x: Tensor) -> Tensor:
    return torch.arange(x.size(1)).expand(x.shape[:2])


def read(layer: Attention, x: Tensor, memory: Tensor) -> Tensor:
    return layer(layer.query(x, where(x)), layer.project(memory, where(memory)), Mask())


def test_self_attention_without_positions_is_permutation_equivariant():
    layer, x, order = build().double(), torch.randn(2, 6, DIM, dtype=torch.float64), torch.randperm(6)
    torch.testing.assert_close(read(layer, x[:, order], x[:, order]), read(layer, x, x)[:, order])


def test_cross_attention_gives_one_output_for_each_query_however_long_the_memory():
    layer, x = build(), torch.randn(2, 3, DIM)
    outputs = [read(layer, x, torch.randn(2, size, DIM)) for size in (1, 3, 7)]
    assert all(output.shape == (2, 3, DIM) for output in outputs)


def test_cross_attention_over_oneself_is_self_attention_and_hears_its_memory():
    layer, x = build(), torch.randn(2, 3, DIM)
    copy = x.clone()
    assert torch.equal(read(layer, x, copy), read(layer, x, x))
    copy[1, 2] += 1
    changed = read(layer, x, copy) != read(layer, x, x)
    assert changed[1].any()
    assert not changed[0].any()


def test_queries_do_not_see_each_other():
    layer, x, memory = build(), torch.randn(1, 4, DIM), torch.randn(1, 5, DIM)
    apart = torch.cat([read(layer, x[:, t : t + 1], memory) for t in range(4)], 1)
    torch.testing.assert_close(read(layer, x, memory), apart)


def test_identical_projections_make_every_token_look_at_itself_most():
    layer = build(heads=1)
    for part in (layer.projections.query, layer.projections.key):
        part.load_state_dict({"weight": torch.eye(DIM)})
    x = nn.functional.normalize(torch.randn(1, 5, DIM), dim=-1)
    q, k = x.unsqueeze(1), layer.project(x, where(x)).keys
    scores = layer.score(q, k)[0, 0]
    torch.testing.assert_close(scores, scores.T)
    assert torch.equal(scores.argmax(1), torch.arange(5))


@pytest.mark.parametrize(("heads", "groups"), [(8, 8), (8, 2), (8, 1)])
def test_grouped_queries_are_multi_head_attention_with_repeated_keys_and_values(heads: int, groups: int):
    small, full = build(heads, groups, dim=16), build(heads, dim=16)
    full.out.load_state_dict(small.out.state_dict())
    full.projections.query.load_state_dict(small.projections.query.state_dict())
    for name in ("key", "value"):
        weight = getattr(small.projections, name).weight.unflatten(0, (groups, -1))
        repeated = weight.repeat_interleave(heads // groups, 0).flatten(0, 1)
        getattr(full.projections, name).load_state_dict({"weight": repeated})
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(read(small, x, x), read(full, x, x))


def cached(dim: int, heads: int, groups: int, tokens: int = 1) -> int:
    """Return the bytes of one layer's keys and values in half precision, without their memory."""
    with torch.device("meta"):
        layer, x = build(heads, groups, dim=dim).half(), torch.empty(1, tokens, dim, dtype=torch.float16)
        kv = layer.project(x, where(x))
    return kv.keys.nbytes + kv.values.nbytes


def test_the_cache_of_known_models_has_the_published_size():
    assert 32 * cached(4096, 32, 32) == 524_288  # Llama-2-7B, a token
    assert 32 * cached(4096, 32, 32, tokens=1024) == 536_870_912
    assert 32 * cached(4096, 32, 1, tokens=1024) == 16_777_216  # were it multi-query
    assert 80 * cached(8192, 64, 8) == 327_680  # Llama-2-70B, eight groups
    assert 80 * cached(8192, 64, 64) == 2_621_440  # were it multi-head


def test_splitting_into_heads_does_not_change_the_cache():
    assert len({cached(64, heads, heads) for heads in (1, 2, 4, 8)}) == 1


@pytest.mark.parametrize(("heads", "groups"), [(4, 3), (2, 4), (0, 1), (4, 0), (4, -2)])
def test_groups_that_do_not_divide_the_heads_are_an_error_with_what_fits(heads: int, groups: int):
    projections = Projections(DIM, DIM, 4, 4, 2, bias=False)
    with pytest.raises(ConfigError, match=f"num_kv_heads={groups}") as caught:
        Attention(projections, nn.Identity(), num_heads=heads, num_kv_heads=groups, score=scaled_dot(2))
    assert caught.value.remedy == {4: "Use num_kv_heads = 1 or 2 or 4.", 2: "Use num_kv_heads = 1 or 2.",
                                   0: "Use at least one head."}[heads]  # fmt: skip


def test_dropout_acts_in_training_and_not_in_evaluation():
    layer, x = build(dropout=0.5), torch.randn(2, 6, DIM)
    same = build(dropout=0.0)
    same.load_state_dict(layer.state_dict())
    assert not torch.equal(read(layer.train(), x, x), read(layer, x, x))
    assert torch.equal(read(layer.eval(), x, x), read(same, x, x))


def test_scores_are_known_by_name():
    q, k = torch.randn(1, 1, 2, 4), torch.randn(1, 1, 3, 4)
    torch.testing.assert_close(build_score("scaled_dot", 4)(q, k) * 2, build_score("dot", 4)(q, k))
    with pytest.raises(ConfigError, match="unknown score 'cosin'") as caught:
        build_score("cosin", 4)
    assert "scaled_dot" in caught.value.remedy
