"""A-07, A-09 and A-10, measured: attention that finds a place, a word in a document, or two places at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.lab.measured import Figure, Grid, Measured
from onehop.lab.parts import heads, read
from onehop.lab.toys import BEGIN, END, backwards, descend, learned, share_right, strings
from onehop.models.encoders import build_encoder
from onehop.models.pooled import Pooled
from onehop.nn import Mask, Source, record_attention
from onehop.nn.attention.attend import attention_weights
from onehop.nn.attention.regions import LocalPredictive
from onehop.nn.pooling import AttentionPooling

# ------------------------------------------------------------------------------------------------

SHORTEST, LONGEST, WINDOW, UPDATES = 10, 14, 4, 800


def predicting() -> Measured:
    """A-07, local-p at work: where a text is written backwards, the place must be predicted; in step it is missed.

    Formula: p_t = S sigmoid(v_p^T tanh(W_p h_t)) should come to N - t, of a string of N letters, counted from 0.
    Source: Luong 2015, section 3.2. Encoder and window of local-m are the same.
    """
    settings = {"dim": 32, "hidden_dim": 64, "bidirectional": False, "window": WINDOW}
    predictive, monotonic = (
        learned("recurrent", {**settings, "region": region}, backwards, UPDATES, (SHORTEST, LONGEST))
        for region in ("local-p", "local-m")
    )
    tried = strings(200, LONGEST, SHORTEST)
    places = [pair for source in tried for pair in _places(predictive, source)]
    return Measured(
        {
            "correlation": float(torch.corrcoef(torch.tensor(places).T)[0, 1]),
            "predicted": share_right(predictive, backwards, tried),
            "monotonic": share_right(monotonic, backwards, tried),
        },
        figures=(Figure("Where local-p looks in a string of 14", "target position t", "place in the source",
                        _mean_places(predictive)),),
    )  # fmt: skip


@torch.no_grad()
def _places(student: Any, source: list[int]) -> list[tuple[float, float]]:
    """Return the predicted place of each letter of the target, and the true one."""
    found: list[float] = []

    def keep(region: LocalPredictive, given: Any, out: Mask) -> None:
        mask, x, positions, size = given
        found.extend(region.centres(x, mask.key_lengths(positions, size)).flatten().tolist())

    region: Any = next(part for part in student.modules() if isinstance(part, LocalPredictive))
    hook = region.register_forward_hook(keep)
    memory = student.encode(Source(torch.tensor([[*source, END]])))
    student.decode(torch.tensor([[BEGIN, *backwards(source)[:-1]]]), student.start(memory))
    hook.remove()
    return [(place, float(len(source) - 1 - t)) for t, place in enumerate(found)]


def _mean_places(student: Any) -> dict[str, list[tuple[float, float]]]:
    rows = torch.tensor([_places(student, source) for source in strings(50, LONGEST, LONGEST)]).mean(0)
    names = ("predicted, mean of 50", "true")
    return {name: [(float(t), value) for t, value in enumerate(column.tolist(), 1)]
            for name, column in zip(names, rows.unbind(1), strict=True)}  # fmt: skip


# ------------------------------------------------------------------------------------------------

SENTENCES, WORDS, NOISE = 6, 5, 40
EVIDENCE = ((41, 42, 43), (44, 45, 46), ())  # words of each label; the third has none, so that both others are needed


def planted() -> Measured:
    """A-09, hierarchical attention at work: one planted word decides the label, and is what is read most.

    Formula: argmax_t a_it of the sentence argmax_i a_i is the planted word.
    Source: Yang 2016, section 2.2 and figure 5.
    """
    encoder = build_encoder("hierarchical", {"dim": 24, "hidden_dim": 24, "attention_dim": 24, "dropout": 0.0}, 50)
    student = Pooled(encoder, AttentionPooling(24, 24, "encoder.sentences"), nn.Linear(24, 3))

    def loss() -> Tensor:
        source, labels, _ = _documents(32)
        return F.cross_entropy(student(source), labels)

    descend(student, loss, 200, 5e-3)
    source, labels, places = _documents(400)
    with torch.no_grad(), record_attention() as record:
        right = (student.eval()(source).argmax(1) == labels).float().mean()
    rows = (places >= 0).nonzero().squeeze(1)
    sentence, word = places[rows] // WORDS, places[rows]
    words, sentences = record["encoder.words"][rows, 0], record["encoder.sentences"][rows, 0, 0]
    found = words[torch.arange(len(rows)), sentence].argmax(1)
    return Measured({
        "accuracy": float(right),
        "sentence": float((sentences.argmax(1) == sentence).float().mean()),
        "word": float((found == word).float().mean()),
    })  # fmt: skip


def _documents(count: int) -> tuple[Source, Tensor, Tensor]:
    """Return documents of random words, their labels, and where the word that decides stands; -1 for nowhere."""
    tokens = torch.randint(3, NOISE, (count, SENTENCES * WORDS))
    labels, places = torch.randint(3, (count,)), torch.randint(SENTENCES * WORDS, (count,))
    places[labels == 2] = -1
    for row, (label, place) in enumerate(zip(labels.tolist(), places.tolist(), strict=True)):
        if place >= 0:
            tokens[row, place] = EVIDENCE[label][int(torch.randint(3, ()))]
    segments = torch.arange(SENTENCES).repeat_interleave(WORDS).expand(count, -1)
    return Source(tokens, None, segments), labels, places


# ------------------------------------------------------------------------------------------------

DIM, NUMBERS, PLACES = 32, 8, 10


class _Finder(nn.Module):
    """One layer of attention that asks once, and says which vectors stand at two marks.

    Args:
        num_heads: Of the attention, which is 32 wide whatever their number.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.vectors, self.marks = nn.Linear(NUMBERS, DIM), nn.Embedding(3, DIM)
        self.asks = nn.Parameter(torch.randn(1, 1, DIM))
        self.attention, self.out = heads(DIM, num_heads), nn.Linear(DIM, 2 * NUMBERS)

    def embed(self, vectors: Tensor, marks: Tensor) -> Tensor:
        """Return what is read, `(B, N, DIM)`: a map of the vector plus its mark."""
        return self.vectors(vectors) + self.marks(marks)

    def forward(self, vectors: Tensor, marks: Tensor) -> Tensor:
        """Return the vectors at both marks, `(B, 2 NUMBERS)`; nothing but linear maps after attention."""
        x = self.embed(vectors, marks)
        return self.out(read(self.attention, self.asks.expand(len(x), -1, -1), x)[:, 0])

    def weights(self, vectors: Tensor, marks: Tensor) -> Tensor:
        """Return where each head looks, `(B, H, N)`."""
        x, where = self.embed(vectors, marks), torch.arange(PLACES).expand(len(vectors), -1)
        q = self.attention.query(self.asks.expand(len(x), -1, -1), where[:, :1])
        return attention_weights(q, self.attention.project(x, where).keys, self.attention.score, Mask())[:, :, 0]


def two_places() -> Measured:
    """A-10, several heads at work: two of them look at two places at once, one can only mix both.

    Formula: head_1 reads the vector at one mark, head_2 that at the other; one head reads a v_1 + (1 - a) v_2.
    Source: Vaswani 2017, section 3.2.2: "With a single attention head, averaging inhibits this". The table looks at
    linsight's claim that the diagonal dominates where there is one head; no threshold was set for it.
    """
    finders = {num_heads: _Finder(num_heads) for num_heads in (1, 2)}
    for finder in finders.values():
        descend(finder, lambda finder=finder: _unfound(finder), 1_500, 1e-2)
    vectors, marks, wanted = _marked(2_000)
    with torch.no_grad():
        explained = {
            n: 1 - float((f(vectors, marks) - wanted).square().mean() / wanted.var()) for n, f in finders.items()
        }
        one, two = finders[2].weights(vectors, marks).unbind(1)
    return Measured(
        {"two": explained[2], "one": explained[1], "apart": float((one - two).abs().sum(1).mean() / 2)},
        grids=(Grid("Mean weight on the diagonal, of an encoder's first layer", ("heads", "fresh", "trained"),
                    tuple(_diagonal(num_heads) for num_heads in (1, 8))),),
    )  # fmt: skip


def _marked(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return random vectors, marks at two places of each row, and the two vectors there in one row."""
    vectors, places = torch.randn(rows, PLACES, NUMBERS), torch.rand(rows, PLACES).argsort(1)[:, :2]
    marks = torch.zeros(rows, PLACES, dtype=torch.int64).scatter(1, places, torch.tensor([[1, 2]]).expand(rows, -1))
    return vectors, marks, vectors[torch.arange(rows).unsqueeze(1), places].flatten(1)


def _unfound(finder: _Finder) -> Tensor:
    vectors, marks, wanted = _marked(64)
    return F.mse_loss(finder(vectors, marks), wanted)


def _diagonal(num_heads: int) -> tuple[str, str, str]:
    """Measure how much words read themselves, before and after learning to reverse strings."""
    settings = {"dim": 32, "ffn_dim": 64, "num_heads": num_heads, "num_encoder_layers": 1, "num_decoder_layers": 1}
    source, shares = Source(torch.tensor(strings(100, 10, 10))), list[str]()
    for updates in (0, 400):
        student = learned("transformer", settings, backwards, updates)
        with torch.no_grad(), record_attention("encoder.0.self") as record:
            student.encode(source)
        shares.append(f"{float(record['encoder.0.self'].diagonal(dim1=2, dim2=3).mean()):.3f}")
    return str(num_heads), shares[0], shares[1]
