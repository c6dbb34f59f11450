"""Kernel, product and definition are one function: each mask, each grouping of heads, whole models."""

from importlib import import_module
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from onehop.nn import Mask, attend
from onehop.nn.attention import attention, dot, scaled_dot
from onehop.nn.attention.attend import explicit
from tests.laws.cases import Case, sources
from tests.laws.close import assert_same, gradients

B, T, S, K = 3, 5, 7, 4
MODULE = import_module("onehop.nn.attention.attend")


def kernel(*inputs: Any) -> Tensor:
    """Return what `attend` returns where sentences are long, so that torch's kernel runs also in training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "SENTENCE", -1)
        return attend(*inputs)


PATHS = (attend, kernel, explicit)


def bias(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


MASKS: dict[str, tuple[int, int, Any]] = {
    "none": (T, S, dict),
    "lengths": (T, S, lambda: {"lengths": torch.tensor([7, 1, 4])}),
    "lengths-some-empty": (T, S, lambda: {"lengths": torch.tensor([0, 7, 2])}),
    "causal-square": (S, S, lambda: {"causal": True}),
    "causal-longer-keys": (T, S, lambda: {"causal": True, "size": S - T}),
    "causal-first-keys-only": (T, S, lambda: {"causal": True}),
    "causal-longer-queries": (S, T, lambda: {"causal": True}),
    "causal-one-query": (1, S, lambda: {"causal": True, "size": S - 1}),
    "causal-one-query-at-the-start": (1, S, lambda: {"causal": True}),
    "causal-ragged": (3, S, lambda: {"causal": True, "start": torch.tensor([0, 4, 2])}),
    "causal-lengths": (S, S, lambda: {"causal": True, "lengths": torch.tensor([7, 0, 4])}),
    "window": (S, S, lambda: {"window": 2}),
    "window-beyond-all-keys": (S, 2, lambda: {"window": 1}),
    "window-causal-ragged": (3, S, lambda: {"causal": True, "window": 1, "start": torch.tensor([0, 4, 2])}),
    "segments": (T, S, lambda: {"segments": ((torch.arange(T) // 2).expand(B, T),
                                             torch.tensor([[0, 0, 1, 1, 2, 2, -1]]).expand(B, S))}),
    "segments-padding": (S, S, lambda: {"causal": True,
                                        "segments": (torch.tensor([[0, 0, 1, 1, 1, -1, -1]]).expand(B, S),) * 2}),
    "bias-by-head": (T, S, lambda: {"bias": bias(1, 4, T, S)}),
    "bias-of-a-matrix": (T, S, lambda: {"bias": bias(T, S)}),
    "bias-lengths": (T, S, lambda: {"bias": bias(B, 1, 1, S), "lengths": torch.tensor([7, 0, 3])}),
    "bias-causal": (S, S, lambda: {"bias": bias(1, 4, S, S), "causal": True}),
    "everything": (S, S, lambda: {"bias": bias(1, 4, S, S), "causal": True, "window": 2,
                                  "lengths": torch.tensor([5, 0, 7]),
                                  "segments": (torch.arange(S).expand(B, S) // 3,) * 2}),
}  # fmt: skip


def allowed(mask: Mask, b: int, t: int, s: int) -> bool:
    """Say by the definition whether a query may read a key."""
    slot = t + (mask.size if mask.start is None else int(mask.start[b]))
    numbers = None if mask.segments is None else (int(mask.segments[0][b, t]), int(mask.segments[1][b, s]))
    return (
        (mask.lengths is None or s < int(mask.lengths[b]))
        and (not mask.causal or s <= slot)
        and (mask.window is None or abs(s - slot) <= mask.window)
        and (numbers is None or (numbers[0] == numbers[1] and numbers[0] >= 0))
    )


@pytest.fixture(params=MASKS, name="mask")
def kinds(request: pytest.FixtureRequest) -> tuple[int, int, Mask]:
    queries, keys, settings = MASKS[request.param]
    return queries, keys, Mask(**settings())


def tensors(mask: tuple[int, int, Mask], groups: int) -> tuple[Tensor, Tensor, Tensor]:
    q = torch.randn(B, 4, mask[0], K, dtype=torch.float64, requires_grad=True)
    k, v = (torch.randn(B, groups, mask[1], K, dtype=torch.float64, requires_grad=True) for _ in range(2))
    return q, k, v


@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("score", [scaled_dot(K), dot()], ids=["scaled_dot", "dot"])
def test_kernel_and_product_equal_the_definition_forward_and_backward(
    mask: tuple[int, int, Mask], groups: int, score: Any
):
    inputs = tensors(mask, groups)
    plain, fused, slow = (path(*inputs, score, mask[2]) for path in PATHS)
    upstream = torch.randn_like(slow)
    expected = torch.autograd.grad(slow, inputs, upstream)
    for out in (plain, fused):
        assert_same(out, slow)
        found = torch.autograd.grad(out, inputs, upstream)
        assert_same(found, expected)
        assert all(grad.isfinite().all() for grad in found)


def test_every_path_follows_the_definition(mask: tuple[int, int, Mask]):
    queries, keys, structure = mask
    q, k, v = tensors(mask, 2)
    for path in PATHS:
        context = path(q, k, v, scaled_dot(K), structure)
        extra = torch.zeros(B, 4, queries, keys, dtype=torch.float64)
        extra = extra if structure.bias is None else extra + structure.bias
        for b in range(B):
            for t in range(queries):
                read = [s for s in range(keys) if allowed(structure, b, t, s)]
                for h in range(4):
                    scores = torch.stack(
                        [q[b, h, t] @ k[b, h // 2, s] / 2 + extra[b, h, t, s] for s in read] or [q.sum() * 0]
                    )
                    values = [w * v[b, h // 2, s] for w, s in zip(scores.softmax(0), read, strict=False)]
                    expected = torch.stack(values).sum(0) if values else torch.zeros(K, dtype=torch.float64)
                    assert_same(context[b, h, t], expected)


@pytest.mark.parametrize("path", PATHS)
def test_a_query_that_may_read_nothing_gets_zeros_and_passes_no_gradient(path: Any):
    q, k, v = tensors((T, S, Mask()), 4)
    context = path(q, k, v, scaled_dot(K), Mask(lengths=torch.tensor([0, S, 0])))
    assert torch.equal(context[[0, 2]], torch.zeros(2, 4, T, K, dtype=torch.float64))
    for grad in torch.autograd.grad(context.sum(), (q, k, v)):
        assert torch.equal(grad[[0, 2]], torch.zeros_like(grad[[0, 2]]))
        assert grad.isfinite().all()


@pytest.mark.parametrize("path", PATHS)
def test_no_keys_at_all_give_zeros(path: Any):
    q, k, v = tensors((T, 0, Mask()), 2)
    assert torch.equal(path(q, k, v, scaled_dot(K), Mask()), torch.zeros(B, 4, T, K, dtype=torch.float64))


@pytest.mark.parametrize("groups", [4, 1])
def test_gradients_are_those_of_finite_differences(mask: tuple[int, int, Mask], groups: int):
    def context(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v, scaled_dot(K), mask[2])

    assert torch.autograd.gradcheck(context, tensors(mask, groups), fast_mode=True)


def test_a_whole_model_is_the_same_on_every_path_in_training_and_evaluation(case: Case):
    model, source, tokens = case.model(), sources(5, 1, 4), case.targets(3, 6)
    results: dict[bool, list[Any]] = {True: [], False: []}
    for path, train in product(PATHS, results):
        model.train(train)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(attention, "attend", path)
            first, state = model.decode(tokens[:, :4], model.start(model.encode(source)))
            second, _ = model.decode(tokens[:, 4:], state)
        hidden = torch.cat([first, second], 1)
        results[train].append((hidden, gradients(model, hidden.square().sum())))
    for found in results.values():
        for result in found[1:]:
            assert_same(result, found[0])
    assert_same(results[True][0][0], results[False][0][0])
    selects = {case.row.get("select"), case.row.get("cross_select")}
    if not selects & {"straight_through", "gumbel"}:  # whose gradient there is in training only
        assert_same(results[True][0][1], results[False][0][1])
