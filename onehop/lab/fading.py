"""R-01, R-03, R-04 and R-05, measured: what a recurrence forgets, and attention does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.lab.measured import Figure, Grid, Measured
from onehop.lab.parts import heads, model, read
from onehop.lab.toys import BEGIN, END, backwards, copied, descend, learned, share_right, strings
from onehop.nn import Memory, Source, record_attention, sinusoidal
from onehop.nn.recurrent import Recurrence

Points = list[tuple[float, float]]


def reversing() -> Measured:
    """R-01, the simple RNN at work: it reverses short strings, and the longer they are the less fits into one state.

    Formula: s_0 = tanh(W h_N) carries all of the source.
    Source: Sutskever, Vinyals, Le 2014.
    """
    settings = {"context": "none", "cell": "lstm", "dim": 32, "hidden_dim": 192, "bidirectional": False}
    student = learned("recurrent", settings, backwards, 4_000)
    points = [(float(n), share_right(student, backwards, strings(100, n, n))) for n in range(2, 17, 2)]
    short = share_right(student, backwards, strings(400, 10))
    figure = Figure("A simple RNN trained on up to 10 letters", "letters", "share without a mistake", {"R-01": points})
    return Measured({"reversed": short, "longer": dict(points)[14.0]}, figures=(figure,))


def aligning() -> Measured:
    """R-03, soft alignment at work: nobody says which letter to look at, and the weights find it.

    Formula: argmax_j alpha_tj = N + 1 - t, for a string of N letters that is reversed.
    Source: Bahdanau, Cho, Bengio 2014, section 5.2.
    """
    student = learned("recurrent", {"dim": 32, "hidden_dim": 64}, backwards, 1_200)
    right, letters = 0, 0
    for source in strings(100, 10):
        target = backwards(source)
        with torch.no_grad(), record_attention() as record:
            memory = student.encode(Source(torch.tensor([[*source, END]])))
            student.decode(torch.tensor([[BEGIN, *target[:-1]]]), student.start(memory))
        places = record["decoder.cross"][0, 0].argmax(-1).tolist()
        right += sum(place == len(source) - 1 - t for t, place in enumerate(places))
        letters += len(target)
    return Measured({"reversed": share_right(student, backwards, strings(300, 10)), "aligned": right / letters})


# ------------------------------------------------------------------------------------------------

LENGTH, STEPS = 20, 24
PLAIN = {"cell": "elman", "dim": 32, "hidden_dim": 64, "bidirectional": False}
KINDS = {
    "simple (R-01)": {"context": "none"},
    "context (R-02)": {"context": "final"},
    "attention (R-03)": {"context": "attention"},
}


def decaying() -> Measured:
    """R-04, the encoder's information decays with the decoder's length, unless it is read again at every step.

    Formula: g(t) = |d logit_t / d (h_1, ..., h_N)|, median over sequences; accuracy at target position t.
    Source: the notes; zhuanlan 104393915. Slopes are those of fresh weights and Elman's cell; gates soften the decay,
    as the table shows. In 800 updates Elman's simple RNN learns when the text must end, where it hears its
    source again, and none of its letters.
    """
    fresh = {name: _influence(model("recurrent", {**PLAIN, **kind})) for name, kind in KINDS.items()}
    slopes = {name: _line(points) for name, points in fresh.items()}
    students = {name: learned("recurrent", {**PLAIN, **kind}, copied, 800, (LENGTH, LENGTH))
                for name, kind in KINDS.items()}  # fmt: skip
    right = {name: _by_position(student) for name, student in students.items()}
    far = [sum(y for _, y in points[-5:]) / 5 for points in right.values()]
    (simple, error), (context, _), (attention, _) = slopes.values()
    curves = {**fresh, "simple, trained": _influence(students["simple (R-01)"])}
    cells = [(cell, f"{_line(_influence(model('recurrent', {**PLAIN, 'cell': cell, 'context': 'none'})))[0]:.3f}")
             for cell in ("elman", "gru", "lstm")]  # fmt: skip
    return Measured(
        {
            "simple": simple / error,
            "context": abs(context / simple),
            "attention": abs(attention / simple),
            "context_far": far[1] - far[0],
            "attention_far": far[2] - far[1],
        },
        grids=(Grid("Slope of log g(t) of a simple RNN, for each step", ("cell", "slope"), tuple(cells)),),
        figures=(
            Figure("What the source still counts", "target position t", "g(t)",
                   {name: [(x, math.exp(y)) for x, y in points] for name, points in curves.items()}, log_y=True),
            Figure("Copying 20 letters, the target known so far", "target position t", "accuracy", right),
        ),
    )  # fmt: skip


def _influence(student: Any) -> Points:
    """Return log g(t) for each target position, the median over 30 strings."""
    rows: list[list[float]] = []
    for source in strings(30, LENGTH, LENGTH):
        states = student.encode(Source(torch.tensor([[*source, END]]))).states.detach().requires_grad_()
        target = torch.tensor([[BEGIN, *strings(1, STEPS - 1, STEPS - 1)[0]]])
        logits = student.logits(student.decode(target, student.start(Memory(states)))[0])[0]
        probe = torch.randn(logits.size(-1))
        gradients = [torch.autograd.grad(row @ probe, states, retain_graph=True)[0] for row in logits]
        rows.append([float(gradient.norm().clamp(min=1e-30).log()) for gradient in gradients])
    medians = torch.tensor(rows).median(0).values.tolist()
    return [(float(t), value) for t, value in enumerate(medians, 1)]


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the slope of a straight line through points, and its standard error."""
    x, y = torch.tensor(points, dtype=torch.float64).unbind(1)
    apart = x - x.mean()
    slope = (apart * y).sum() / apart.square().sum()
    rest = y - y.mean() - slope * apart
    error = (rest.square().sum() / (len(x) - 2) / apart.square().sum()).sqrt()
    return float(slope), float(error)


@torch.no_grad()
def _by_position(student: Any) -> Points:
    """Return the share of right letters at each target position, the letters before it known."""
    sources = strings(500, LENGTH, LENGTH)
    target, begin = torch.tensor(sources), torch.full((500, 1), BEGIN)
    memory = student.encode(Source(torch.cat([target, torch.full((500, 1), END)], 1)))
    logits = student.logits(student.decode(torch.cat([begin, target[:, :-1]], 1), student.start(memory))[0])
    right = (logits.argmax(-1) == target).float().mean(0)
    return [(float(t), value) for t, value in enumerate(right.tolist(), 1)]


# ------------------------------------------------------------------------------------------------

SIZES, DIM, RECALLED = (8, 16, 32, 64, 128, 256, 512), 32, 8


def reaching() -> Measured:
    """R-05, distance 1 as learning feels it: the gradient between the ends of a sequence, and what can be recalled.

    Formula: |d y_n / d x_1| falls as rho^n in a recurrence, as 1 / n in self-attention.
    Source: Vaswani et al. 2017, section 4; Hochreiter 1991, Bengio 1994 for the recurrence.
    """
    rnn, layer = Recurrence("elman", DIM, DIM).double(), heads(DIM, 4).double()
    ends = {"Elman RNN": _ends(lambda x: rnn(x)[0]), "self-attention": _ends(lambda x: read(layer, x, x))}
    fit = [(n, math.log(g)) for n, g in ends["Elman RNN"]]
    slope, _ = _line(fit)
    power, _ = _line([(math.log(n), math.log(g)) for n, g in ends["self-attention"]])
    recalled = {name: [(float(n), _recall(make(), n)) for n in (2, 4, 8, 32, 128)]
                for name, make in (("Elman RNN", _RecurrentReader), ("self-attention", _AttentiveReader))}  # fmt: skip
    return Measured(
        {
            "recurrent_fit": _explained(fit),
            "recurrent_slope": slope,
            "attention_power": power,
            "attention_recall": dict(recalled["self-attention"])[128.0],
            "recurrent_recall": dict(recalled["Elman RNN"])[128.0],
        },
        figures=(
            Figure("The gradient from the first input to the last output", "n", "|d y_n / d x_1|", ends, True, True),
            Figure("Recalling a letter (chance: 0.125)", "distance", "accuracy", recalled, log_x=True),
        ),
    )


def _ends(layer: Callable[[Tensor], Tensor]) -> Points:
    """Return the length of the derivative of the last output by the first input, for each length."""
    points: Points = []
    for n in SIZES:
        x = torch.randn(1, n, DIM, dtype=torch.float64, requires_grad=True)
        y = layer(x)[0, -1]
        jacobian = torch.stack([torch.autograd.grad(part, x, retain_graph=True)[0][0, 0] for part in y])
        largest = jacobian.abs().max()  # its square may be less than the least number
        points.append((float(n), float(largest * (jacobian / largest).norm())))
    return points


def _explained(points: Sequence[tuple[float, float]]) -> float:
    """Return the share of the variance of y that a straight line explains."""
    x, y = torch.tensor(points, dtype=torch.float64).unbind(1)
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1].square())


class _RecurrentReader(nn.Module):
    """Reads symbols one after the other and says which letter stood first."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(2 * RECALLED, DIM), Recurrence("elman", DIM, DIM)
        self.out = nn.Linear(DIM, RECALLED)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores of the letters for `tokens (B, n)`."""
        return self.out(self.rnn(self.embed(tokens))[0][:, -1])


class _AttentiveReader(nn.Module):
    """Looks at all symbols from the last one, and says which letter stood first."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attention = nn.Embedding(2 * RECALLED, DIM), heads(DIM, 1)
        self.out = nn.Linear(DIM, RECALLED)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores of the letters for `tokens (B, n)`."""
        x = self.embed(tokens) + sinusoidal(torch.arange(tokens.size(1)), DIM)
        return self.out(read(self.attention, x[:, -1:], x)[:, 0])


def _recall(reader: nn.Module, n: int) -> float:
    """Train on sequences whose first symbol is to be recalled after `n - 1` others of no meaning; return accuracy."""

    def draw(rows: int) -> tuple[Tensor, Tensor]:
        noise = torch.randint(RECALLED, 2 * RECALLED, (rows, n))
        letter = torch.randint(RECALLED, (rows,))
        noise[:, 0] = letter
        return noise, letter

    def loss() -> Tensor:
        tokens, letter = draw(64)
        return F.cross_entropy(reader(tokens), letter)

    descend(reader, loss, 400)
    tokens, letter = draw(1_000)
    with torch.no_grad():
        return float((reader(tokens).argmax(-1) == letter).float().mean())
