import torch

from onehop.decode import force
from onehop.models import build
from onehop.nn import Source


def test_forced_scores_are_log_probabilities_and_zero_behind_the_end():
    model = build("transformer", {"dim": 16, "num_heads": 4, "ffn_dim": 24}, 40).eval()
    with torch.inference_mode():
        memory = model.encode(Source(torch.randint(3, 40, (3, 5))))
        targets, lengths = torch.randint(2, 40, (3, 6)), torch.tensor([6, 0, 2])
        inputs = torch.cat([torch.ones(3, 1, dtype=torch.int64), targets[:, :-1]], 1)
        found = force(model, memory, inputs, targets, lengths)
        logits = model.logits(model.decode(inputs, model.start(memory))[0])
    assert found.shape == (3, 6)
    for row in range(3):
        for t in range(6):
            expected = logits[row, t].log_softmax(0)[targets[row, t]] if t < lengths[row] else torch.tensor(0.0)
            torch.testing.assert_close(found[row, t], expected)


def test_forced_probabilities_of_all_tokens_sum_to_one():
    model = build("transformer", {"dim": 16, "num_heads": 4, "ffn_dim": 24}, 12).eval()
    with torch.inference_mode():
        memory = model.encode(Source(torch.full((12, 3), 5)))
        targets = torch.arange(12).unsqueeze(1)
        found = force(model, memory, torch.ones_like(targets), targets, torch.ones(12, dtype=torch.int64))
    torch.testing.assert_close(found.exp().sum(), torch.tensor(1.0))
