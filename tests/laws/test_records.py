from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from onehop.nn import Attention, Source, record_attention
from onehop.nn.attention.regions import LocalPredictive
from tests.laws.cases import Case, sources
from tests.laws.close import assert_same


class Watch:
    """What every attention of a model was given, call by call, and the contexts it handed to its output map."""

    def __init__(self, model: Any) -> None:
        self.asked: dict[str, list[tuple[Tensor, Any]]] = {}
        self.contexts: dict[str, list[Tensor]] = {}
        self.modules = {m.name: m for m in model.modules() if isinstance(m, Attention)}
        for name, module in self.modules.items():
            module.register_forward_pre_hook(self._given(name))
            module.out.register_forward_pre_hook(self._handed(name))

    def _given(self, name: str) -> Any:
        return lambda module, inputs: self.asked.setdefault(name, []).append(inputs)

    def _handed(self, name: str) -> Any:
        return lambda module, inputs: self.contexts.setdefault(name, []).append(inputs[0])


def recording(model: Any, names: Sequence[str] = ("*",)) -> Any:
    """Record, where the model has any attention; what nobody can record is an error."""
    if any(isinstance(module, Attention) for module in model.modules()):
        return record_attention(names)
    return nullcontext(())


def run(model: Any, source: Source, tokens: Tensor) -> Tensor:
    return model.decode(tokens, model.start(model.encode(source)))[0]


def test_recorded_weights_make_the_context_the_model_used(case: Case):
    model, tokens = case.model(), case.targets(3, 4)
    source = Source(sources(6, 3, 6).tokens, torch.tensor([6, 3, 0]))
    watch = Watch(model)
    with recording(model) as record:
        run(model, source, tokens)
    assert set(record) == set(watch.modules)
    for name in record:
        weights = record[name]
        q, kv = torch.cat([q for q, *_ in watch.asked[name]], 2), watch.asked[name][0][1]
        heads, groups = watch.modules[name].num_heads, kv.keys.size(1)
        assert weights.shape == (3, heads, q.size(2), kv.keys.size(2))
        sums = weights.sum(-1)
        blind = weights.abs().amax(-1) == 0
        if isinstance(watch.modules[name].region, LocalPredictive):  # not normalised again
            assert bool((sums <= 1 + 1e-10).all())
        else:
            assert_same(sums, (~blind).to(sums))
        assert bool(blind.any()) == (name.endswith("cross") or name.startswith("encoder"))
        context = weights @ kv.values.repeat_interleave(heads // groups, 1)
        if watch.modules[name].relative is not None:  # which reads the distances as well
            context = context + watch.modules[name].relative.read(weights, watch.asked[name][0][2])
        assert_same(context.transpose(1, 2).flatten(2), torch.cat(watch.contexts[name], 1))


def test_no_weight_falls_on_padding_or_on_the_future(case: Case):
    model, tokens = case.model(), case.targets(2, 4)
    with recording(model) as record:
        run(model, sources(6, 3), tokens)
    for name in record:
        weights = record[name]
        if name.startswith("encoder") or name.endswith("cross"):
            assert not weights[1, :, :, 3:].any()
        else:
            assert torch.equal(weights, weights.tril())


def test_recording_changes_nothing(case: Case):
    model, source, tokens = case.model(), sources(6, 3), case.targets(2, 4)
    before = run(model, source, tokens)
    with recording(model):
        assert torch.equal(run(model, source, tokens), before)


def test_recording_follows_stepwise_decoding(case: Case):
    model, tokens, names = case.model(), case.targets(2, 3), ["decoder.0.*", "decoder.cross"]
    memory = model.encode(sources(4, 2))
    with recording(model, names) as whole:
        model.decode(tokens, model.start(memory))
    with recording(model, names) as steps:
        state = model.start(memory)
        for t in range(3):
            _, state = model.decode(tokens[:, t : t + 1], state)
    for name in whole:
        assert len(steps.calls(name)) == 3
        for t, weights in enumerate(steps.calls(name)):
            assert_same(weights[:, :, 0], whole[name][:, :, t, : weights.size(-1)])


def test_recording_nothing_is_an_error(case: Case):
    model, source, tokens = case.model(), sources(4), case.targets(1, 2)
    with pytest.raises(LookupError, match="no attention was recorded"), record_attention(["encodr.*"]):
        run(model, source, tokens)
    with pytest.raises(LookupError, match="no attention was recorded"), record_attention():
        pass


def test_chosen_heads_queries_and_largest_weights_are_those_of_the_whole(case: Case):
    model, source, tokens = case.model(), sources(6, 3), case.targets(2, 4)
    heads, queries = (0, -1), (2, 0, -1)
    with recording(model) as record:
        run(model, source, tokens)
    if not record:
        return
    with record_attention("*", heads, queries) as some:
        run(model, source, tokens)
    with record_attention("*", top_k=2) as largest:
        run(model, source, tokens)
    assert list(some) == list(largest) == list(record)
    for name in record:
        assert_same(some[name], record[name][:, heads][:, :, queries])
        top = largest.top(name)
        assert_same(top.values, record[name].topk(2).values)
        assert_same(record[name].gather(-1, top.keys), top.values)
        assert_same(largest[name].sum(-1), top.values.sum(-1))
