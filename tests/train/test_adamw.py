"""AdamW is torch's, to the bit, and loads no compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from onehop.train.adamw import AdamW

BETAS, EPSILON = (0.9, 0.98), 1e-9
LOADED = """
import sys
from tests.fixtures.tiny import onehop
result = onehop("train", "--pairs", sys.argv[1], "--out", sys.argv[2], "--set", "model.dim=16", "--set",
                "model.num_heads=2", "--set", "train.max_updates=2", "--set", "text.vocab_size=300")
assert result.status == 0, result.err
print("torch._dynamo" in sys.modules)
"""


def model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.Linear(3, 3))


def groups(of: nn.Module) -> list[dict[str, object]]:
    matrices = [p for p in of.parameters() if p.dim() > 1]
    return [
        {"params": matrices, "weight_decay": 0.1, "lr": 0.0},
        {"params": [p for p in of.parameters() if p.dim() < 2], "weight_decay": 0.0, "lr": 0.0},
    ]


def learn(of: nn.Module, optimizer: torch.optim.Optimizer | AdamW, steps: int) -> None:
    """Make updates at rates that change; the third map takes part in every second one."""
    for step in range(steps):
        torch.manual_seed(step)
        x = of[1](of[0](torch.randn(6, 5)))  # type: ignore[index]
        x = of[2](x)  # type: ignore[index]
        (of[3](x) if step % 2 else x).square().sum().backward()  # type: ignore[index]
        for number, group in enumerate(optimizer.param_groups):
            group["lr"] = 0.01 / (1 + step + number)
        optimizer.step()
        optimizer.zero_grad()


def test_weights_and_averages_are_those_of_torch_to_the_bit():
    ours, theirs = model(), model()
    own = AdamW(groups(ours), BETAS, EPSILON)
    other = torch.optim.AdamW(groups(theirs), betas=BETAS, eps=EPSILON, fused=True)
    learn(ours, own, 9)
    learn(theirs, other, 9)
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, two)
        assert own.state[one].keys() == other.state[two].keys()
        assert all(torch.equal(own.state[one][key], other.state[two][key]) for key in own.state[one])


@pytest.mark.parametrize("away", [True, False])
def test_gradients_are_forgotten(away: bool):
    of = model()
    of(torch.ones(1, 5)).sum().backward()
    AdamW(groups(of), BETAS, EPSILON).zero_grad(set_to_none=away)
    assert all(p.grad is None if away else not p.grad.any() for p in of.parameters())  # type: ignore[union-attr]


def test_a_training_does_not_load_the_compiler(pairs, tmp_path):
    done = subprocess.run([sys.executable, "-c", LOADED, str(pairs), str(tmp_path / "run")], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.split()[-1] == b"False"
