import torch

from tests.laws.cases import Case, alone, sources
from tests.laws.close import assert_same, gradients

LENGTHS = (4, 7, 1, 6)


def test_a_source_alone_is_encoded_as_in_a_padded_batch(case: Case):
    model, source = case.model(), sources(*LENGTHS)
    together = model.encode(source).states
    for row, length in enumerate(LENGTHS):
        assert_same(together[row : row + 1, :length], model.encode(alone(source, row)).states)


def test_a_target_alone_is_decoded_as_beside_longer_sources(case: Case):
    model, source, tokens = case.model(), sources(*LENGTHS), case.targets(4, 5)
    together, _ = model.decode(tokens, model.start(model.encode(source)))
    for row in range(4):
        single, _ = model.decode(tokens[row : row + 1], model.start(model.encode(alone(source, row))))
        assert_same(together[row : row + 1], single)


def test_chunks_of_different_lengths_are_decoded_as_each_row_alone(case: Case):
    model, source = case.model(), sources(*LENGTHS)
    chunks = [case.targets(4, width) for width in (3, 4, 1, 2)]
    lengths = [torch.tensor(x) for x in ([3, 1, 2, 3], [4, 4, 0, 1], [1, 1, 1, 1], [0, 2, 1, 2])]
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            state, hidden = model.start(model.encode(source)), []
            for chunk, length in zip(chunks, lengths, strict=True):
                found, state = model.decode(chunk, state, length)
                hidden.append(found)
            for row in range(4):
                pairs = list(zip(chunks, lengths, hidden, strict=True))
                tokens = torch.cat([c[row : row + 1, : int(n[row])] for c, n, _ in pairs], 1)
                single, _ = model.decode(tokens, model.start(model.encode(alone(source, row))))
                assert_same(torch.cat([h[row, : int(n[row])] for _, n, h in pairs]), single[0])


def test_a_padded_batch_has_the_summed_gradients_of_its_examples(case: Case):
    model, source, tokens = case.model(), sources(*LENGTHS), case.targets(4, 5)
    together, _ = model.decode(tokens, model.start(model.encode(source)))
    apart = [
        model.decode(tokens[row : row + 1], model.start(model.encode(alone(source, row))))[0].square().sum()
        for row in range(4)
    ]
    assert_same(gradients(model, together.square().sum()), gradients(model, torch.stack(apart).sum()))


def test_the_order_of_a_batch_is_the_order_of_its_results(case: Case):
    model, source, tokens = case.model(), sources(*LENGTHS), case.targets(4, 5)
    order = torch.tensor([2, 0, 3, 1])
    assert source.lengths is not None
    shuffled = type(source)(source.tokens[order], source.lengths[order])
    together, _ = model.decode(tokens, model.start(model.encode(source)))
    found, _ = model.decode(tokens[order], model.start(model.encode(shuffled)))
    assert_same(found, together[order])
