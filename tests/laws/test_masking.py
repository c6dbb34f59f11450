import torch

from onehop.nn import Source
from tests.laws.cases import Case, sources
from tests.laws.close import gradients

LENGTHS = (3, 6, 1)


def real(lengths: torch.Tensor, width: int) -> torch.Tensor:
    return torch.arange(width) < lengths.unsqueeze(1)


def test_padding_of_the_source_changes_nothing(case: Case):
    model, source, tokens = case.model(), sources(*LENGTHS), case.targets(3, 4)
    assert source.lengths is not None
    kept = real(source.lengths, 6)
    noise = torch.randint(3, 37, source.tokens.shape)
    other = Source(torch.where(kept, source.tokens, noise), source.lengths)
    assert not torch.equal(other.tokens, source.tokens)
    before, after = model.encode(source), model.encode(other)
    assert torch.equal(before.states[kept], after.states[kept])
    assert torch.equal(model.decode(tokens, model.start(before))[0], model.decode(tokens, model.start(after))[0])


def test_padding_of_a_chunk_changes_nothing_before_or_after_it(case: Case):
    model, source, tokens = case.model(), sources(*LENGTHS), case.targets(3, 7)
    lengths, noise = torch.tensor([2, 4, 1]), case.targets(3, 4)
    hidden: list[torch.Tensor] = []
    for first in (tokens[:, :4], torch.where(real(lengths, 4), tokens[:, :4], noise)):
        found, state = model.decode(first, model.start(model.encode(source)), lengths)
        hidden.append(torch.cat([found[real(lengths, 4)], model.decode(tokens[:, 4:], state)[0].flatten(0, 1)]))
    assert torch.equal(*hidden)


def test_padding_gets_no_gradient(case: Case):
    model, source = case.model(), sources(*LENGTHS)
    assert source.lengths is not None
    kept = real(source.lengths, 6)
    states: list[torch.Tensor] = []

    def keep(module: object, inputs: object, output: torch.Tensor) -> None:
        output.retain_grad()
        states.append(output)

    hook = model.source_embedding.register_forward_hook(keep)
    memory = model.encode(source)
    hook.remove()
    model.decode(case.targets(3, 4), model.start(memory))[0].square().sum().backward()
    grad = states[0].grad
    assert grad is not None
    assert torch.equal(grad[~kept], torch.zeros_like(grad[~kept]))
    assert grad[kept].abs().sum() > 0


def test_an_empty_source_gives_finite_states_and_gradients_and_disturbs_no_other_row(case: Case):
    model, tokens = case.model(), case.targets(2, 4)
    full = sources(5, 4)
    empty = Source(full.tokens, torch.tensor([0, 4]))
    memory = model.encode(empty)
    hidden, _ = model.decode(tokens, model.start(memory))
    assert hidden.isfinite().all()
    assert memory.states.isfinite().all()
    other, _ = model.decode(tokens, model.start(model.encode(full)))
    torch.testing.assert_close(hidden[1], other[1])
    assert all(grad.isfinite().all() for grad in gradients(model, hidden.square().sum()).values())


def test_nothing_is_read_from_an_empty_source(case: Case):
    model, tokens = case.model(), case.targets(1, 4)
    hidden = [
        model.decode(tokens, model.start(model.encode(Source(source.tokens, torch.tensor([0])))))[0]
        for source in (sources(5), sources(3))
    ]
    assert torch.equal(*hidden)
