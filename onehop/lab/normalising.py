"""T-04 and L-06: what layer normalisation does not notice, how it speeds learning, and where else it may stand."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.lab.measured import Grid, Measured
from onehop.lab.parts import gap, heads, where
from onehop.lab.stacks import DIM, LENGTHS, beside_torch, padding
from onehop.nn import EncoderBlock, FeedForward, Mask, Residual, sinusoidal

TIMES = 4  # how much larger weights, or an example, are made


def unnoticed() -> Measured:
    """T-04, what layer normalisation does not notice: larger weights and a larger example, but for smaller gradients.

    Formula: LN(a W x) = LN((W + 1 v^T) x) = LN(W x); d LN(a W x) / d (a W) = (1 / a) d LN(W x) / d W.
    Source: Ba 2016, sections 5.1 and 5.2 and table 1: weights that grow lower their own rate.
    """
    x, weight = torch.randn(6, 8, dtype=torch.float64), torch.randn(16, 8, dtype=torch.float64)
    norm, batch = nn.LayerNorm(16, 1e-12).double(), nn.BatchNorm1d(16, 1e-12).double()
    one = x.clone()
    one[0] *= TIMES
    plain = norm(x @ weight.T)
    return Measured({
        "rescaled": gap(norm(x @ (TIMES * weight).T), plain),
        "recentred": gap(norm(x @ (weight + torch.randn(1, 8)).T), plain),
        "example": gap(norm(one @ weight.T), plain),
        "gradient": abs(_slope(norm, x, TIMES * weight) / _slope(norm, x, weight) - 1 / TIMES),
        "batch": gap(batch(one @ weight.T), batch(x @ weight.T)),
    })  # fmt: skip


def _slope(norm: nn.Module, x: Tensor, weight: Tensor) -> float:
    """Return the length of the gradient by the weights of something that is computed from the normalised sums."""
    weight = weight.clone().requires_grad_()
    loss = norm(x @ weight.T).sin().sum()
    return float(torch.autograd.grad(loss, weight)[0].norm())


def other_norms() -> Measured:
    """L-06, other places and kinds of normalisation: pre-LN; and why it is not over the batch.

    Formula: x + Sublayer(LN(x)), a last LN behind the stack; BN(z) = (z - mean over batch) / deviation over batch.
    Source: Xiong 2020, whose theorem 1 says what the gradient of fresh weights is; Ba 2016; Ioffe 2015.
    """
    block, layer, x = beside_torch("pre")
    found = block(x, Mask(lengths=LENGTHS), where(x))
    changed = x.clone()
    changed[1:] += 1
    batch, features = nn.BatchNorm1d(DIM), nn.LayerNorm(DIM)
    return Measured({
        "pre": gap(found[~padding()], layer(x, src_key_padding_mask=padding())[~padding()]),
        "batch": gap(batch(x.mT)[0], batch(changed.mT)[0]),
        "layer": gap(features(x)[0], features(changed)[0]),
        "gradient_pre": _last_gradient("pre", 12) / _last_gradient("pre", 3),
        "gradient_post": _last_gradient("post", 12) / _last_gradient("post", 3),
    })  # fmt: skip


def _stack(norm: str, depth: int) -> nn.ModuleList:
    """Return fresh blocks, 32 wide, with a normalisation of the sum (post, batch, none), or of what is read (pre)."""
    makers: dict[str, Callable[[], nn.Module]] = {
        "post": lambda: nn.LayerNorm(WIDE), "batch": lambda: _OverBatch(), "none": nn.Identity,
    }  # fmt: skip
    blocks = nn.ModuleList()
    for _ in range(depth):
        slots = [(nn.LayerNorm(WIDE), nn.Identity()) if norm == "pre" else (nn.Identity(), makers[norm]())
                 for _ in range(2)]  # fmt: skip
        one, two = (Residual(before, after, 0.0) for before, after in slots)
        blocks.append(EncoderBlock(heads(WIDE, 4), FeedForward(WIDE, 2 * WIDE, F.relu), (one, two)))
    for parameter in blocks.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    return blocks


class _OverBatch(nn.Module):
    """Normalisation of each column over all tokens of a batch (Ioffe 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDE)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x (B, T, D)`."""
        return self.norm(x.flatten(0, 1)).view(x.shape)


def _read(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x, Mask(), where(x))
    return x


def _last_gradient(norm: str, depth: int) -> float:
    """Return the gradient by the last feed-forward weights of fresh stacks, the mean of 20, of a fresh classifier."""
    lengths: list[float] = []
    for _ in range(20):
        blocks, out = _stack(norm, depth), nn.Linear(WIDE, 10)
        last = nn.LayerNorm(WIDE) if norm == "pre" else nn.Identity()
        logits = out(last(_read(blocks, torch.randn(4, 8, WIDE)))).flatten(0, 1)
        block: EncoderBlock = blocks[-1]  # pyright: ignore[reportAssignmentType]
        loss = F.cross_entropy(logits, torch.randint(10, (32,)))
        lengths.append(float(torch.autograd.grad(loss, block.feedforward.down.weight)[0].norm()))
    return sum(lengths) / len(lengths)


# ------------------------------------------------------------------------------------------------ T-04, measured

WIDE, LETTERS, LONG = 32, 10, 8
DEPTHS = 2, 6
SEEDS, UPDATES, GOAL = 5, 800, 0.5
RATE, WARM_UP = 2e-3, 100
NORMS = {"layer": "post", "batch": "batch", "none": "none"}


def speeding() -> Measured:
    """T-04, layer normalisation at work: how many updates a stack needs to a loss, with it, over the batch, without.

    Formula: the first update at which the mean loss of the last ten is below 0.5 nats; the median of five seeds.
    Source: Ba 2016, section 6. The task is to reverse eight letters; all stacks have the same seeds, data and rate.
    """
    needed = {(name, depth): [_updates(norm, depth, seed) for seed in range(SEEDS)]
              for name, norm in NORMS.items() for depth in DEPTHS}  # fmt: skip
    rows = tuple((name, *(_told(needed[name, depth]) for depth in DEPTHS)) for name in NORMS)
    return Measured(
        {
            "reached": float(sum(n < UPDATES for n in needed["layer", DEPTHS[1]])),
            "deep": median(needed["layer", DEPTHS[1]]) / median(needed["none", DEPTHS[1]]),
        },
        grids=(Grid("Updates to the loss: median (least to most) of 5 seeds",
                    ("normalisation", *(f"{depth} layers" for depth in DEPTHS)), rows),),
    )  # fmt: skip


def _told(updates: list[int]) -> str:
    def one(n: float) -> str:
        return f"{n:.0f}" if n < UPDATES else f"more than {UPDATES}"

    return f"{one(median(updates))} ({one(min(updates))} to {one(max(updates))})"


def _updates(norm: str, depth: int, seed: int) -> int:
    """Train a stack to reverse letters, and return the updates that it needed: all of them, if it never did."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        letters, out, blocks = nn.Embedding(LETTERS, WIDE), nn.Linear(WIDE, LETTERS), _stack(norm, depth)
        codes, losses = sinusoidal(torch.arange(LONG), WIDE), list[float]()

        def loss() -> Tensor:
            words = torch.randint(LETTERS, (32, LONG))
            found = F.cross_entropy(out(_read(blocks, letters(words) + codes)).mT, words.flip(1))
            losses.append(float(found.detach()))
            return found

        optimizer = torch.optim.Adam(nn.ModuleList([letters, blocks, out]).parameters())
        for update in range(1, UPDATES + 1):
            optimizer.param_groups[0]["lr"] = RATE * min(1.0, update / WARM_UP)
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
            if update >= 10 and sum(losses[-10:]) < 10 * GOAL:
                return update
        return UPDATES
