"""F-01 and F-05: one model for many tasks, named in its input, and tasks that are shown there and nowhere else."""

from __future__ import annotations

import hashlib
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onehop.data import evaluation_batches
from onehop.lab.measured import Figure, Grid, Measured
from onehop.lab.parts import SMALL, gap, heads, maps, model, read
from onehop.lab.toys import descend
from onehop.models.encoders import build_encoder
from onehop.nn import Attention, Mask, Source
from onehop.tasks import TextLimits, TranslationSettings, Translator, load_package, new_package, save_package
from onehop.tasks.names import WEIGHTS
from onehop.tasks.translation_loss import loss_sum
from onehop.text import train_tokenizer

NAMES = ("copy", "reverse", "translate", "accept", "tag")
TEXT = "the old dog sees the bird"


def homogenization() -> Measured:
    """F-01, homogenization: one set of weights does many tasks, each named in the text that it reads.

    Formula: y = f_theta("name: text"); theta_task without theta_shared is empty.
    Source: Bommasani 2021 for the word; T5 (Raffel 2020) for the technique. The weights are fresh: that one model
    really learns several tasks is another matter.
    """
    translator = _translator()
    sums = _checksums(translator)
    reached = [_reached(translator, name) for name in NAMES]
    shared, every = frozenset.intersection(*reached), frozenset.union(*reached)
    answers = [_answer(translator, name) for name in NAMES]
    whole = sum(1 for _ in translator.model.parameters())
    rows = tuple((f"{name}: {TEXT}", f"{len(own)} of {whole}", str(len(own - shared)))
                 for name, own in zip(NAMES, reached, strict=True))  # fmt: skip
    return Measured(
        {
            "checksums": float(len(set(sums))),
            "own": float(len(every - shared)),
            "named": min(gap(one, other) for one, other in combinations(answers, 2)),
        },
        (Grid("Tensors of weights that a task reaches", ("what is read", "reached", "its own"), rows),),
    )


def _translator() -> Translator:
    """Return a small Transformer from text to text, with one vocabulary for all tasks and both sides."""
    tokenizer = train_tokenizer([f"{name}: {TEXT}" for name in NAMES] * 4, 320)
    text = TextLimits(max_length=64, sentences=False)
    task = Translator.build(
        TranslationSettings(architecture="transformer", model=SMALL, text=text), tokenizer, tokenizer
    )
    task.model.eval()
    return task


def _checksums(translator: Translator) -> list[str]:
    """Save a package, let what is loaded from it do every task, and save it again after each: the weights' SHA-256."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model"
        save_package(new_package(translator, [TEXT], ""), place)
        sums, loaded = [_sha256(place)], load_package(place)
        for name in NAMES:
            loaded.translator.translate([f"{name}: {TEXT}"])
            save_package(loaded, place)
            sums.append(_sha256(place))
    return sums


def _sha256(place: Path) -> str:
    return hashlib.sha256((place / WEIGHTS).read_bytes()).hexdigest()


def _reached(translator: Translator, name: str) -> frozenset[str]:
    """Return the names of the weights that the loss of a task has a gradient by."""
    student, encode = translator.model, translator.source_tokenizer.encode
    student.zero_grad()
    batch = next(evaluation_batches([encode(f"{name}: {TEXT}")], [encode(TEXT)], 1_000))
    loss_sum(student, batch).backward()
    return frozenset(n for n, p in student.named_parameters() if p.grad is not None and bool(p.grad.any()))


def _answer(translator: Translator, name: str) -> Tensor:
    """Return the logits of one target for a text of that name."""
    encode, student = translator.source_tokenizer.encode, translator.model
    source, target = (torch.tensor([encode(text)]) for text in (f"{name}: {TEXT}", TEXT))
    return student.logits(student.decode(target, student.start(student.encode(Source(source))))[0])[:, -1]


# ------------------------------------------------------------------------------------------------ F-05

LETTERS, SHARP = 26, 400.0


def in_context() -> Measured:
    """F-05, a task shown in the prompt: k of the 26 letters of a mapping are demonstrated, and no weight changes.

    Formula: attention asks with the query's letter, x_q; the demonstrations (x_i, y_i) are its keys and values; where
    x_q was shown, the answer is its y.
    Source: GPT-2 2019, GPT-3 (Brown 2020). This reader was made by hand, and shows what a prompt can carry; GPT-3
    learned one.
    """
    reader, mapping = _reader(), torch.randperm(LETTERS)
    before = _checksum(reader)
    shares = [_answered(reader, mapping, k, mapping) for k in range(LETTERS + 1)]
    shuffled = [_answered(reader, mapping.roll(1), k, mapping) for k in range(LETTERS + 1)]
    sums, moved = _prompted()
    curves = {name: [(float(k), share) for k, share in enumerate(row)]
              for name, row in (("demonstrations", shares), ("shuffled", shuffled))}  # fmt: skip
    prompts = tuple((name, _prompt(mapping, k)) for name, k in (("zero-shot", 0), ("one-shot", 1), ("few-shot", 4)))
    return Measured(
        {
            "checksums": float(len({before, _checksum(reader)}) + len(sums) - 1),
            "zero": shares[0],
            "rising": max(abs(share - k / LETTERS) for k, share in enumerate(shares)),
            "shuffled": shuffled[-1],
            "prompt": moved,
        },
        (Grid("A prompt", ("shots", "text"), prompts),),
        (Figure("Letters that are answered", "demonstrations", "share", curves),),
    )


def _prompt(mapping: Tensor, k: int) -> str:
    """Write a prompt with so many demonstrations, and the last letter as the query."""
    letters = [chr(ord("a") + n) for n in range(LETTERS)]
    shown = [f"{letters[x]} -> {letters[int(mapping[x])]}" for x in range(k)]
    return "; ".join(["Map letters", *shown, f"{letters[-1]} ->"])


def _reader() -> Attention:
    """Return an attention whose tokens are [letter, answer]: it asks by letters, and reads answers."""
    reader = heads(2 * LETTERS, 1)
    letters, answers = torch.eye(2 * LETTERS), torch.eye(2 * LETTERS)
    letters[LETTERS:], answers[:LETTERS] = 0, 0
    own, out = maps(reader), reader.out
    assert isinstance(out, nn.Linear)
    for part, weight in ((own.query, SHARP * letters), (own.key, letters), (own.value, answers),
                         (out, torch.eye(2 * LETTERS))):  # fmt: skip
        part.weight.data.copy_(weight)
    return reader


def _answered(reader: Attention, answers: Tensor, k: int, right: Tensor) -> float:
    """Return the share of letters whose right answer comes out, when the first k are demonstrated with `answers`."""
    inputs = torch.eye(LETTERS)
    shown = torch.cat([inputs, inputs[answers]], 1)[None]
    asked = torch.cat([inputs, torch.zeros_like(inputs)], 1)[None]
    found = read(reader, asked, shown, Mask(lengths=torch.tensor([k])))[0, :, LETTERS:]
    return float((found.gather(1, right.unsqueeze(1)) > 0.5).float().mean())


def _checksum(module: nn.Module) -> str:
    return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in module.parameters())).hexdigest()


@torch.no_grad()
def _prompted() -> tuple[set[str], float]:
    """Give a Transformer with fresh weights two prompts: its checksums throughout, and how much its answer moved."""
    student: Any = model("transformer")
    sums, logits = {_checksum(student)}, list[Tensor]()
    for prompt in ([5, 6, 7, 8, 9], [5, 4, 7, 8, 9]):  # x1 y1 x2 y2 x; another y1
        state = student.start(student.encode(Source(torch.tensor([prompt]))))
        logits.append(student.logits(student.decode(torch.tensor([[1]]), state)[0]))
        sums.add(_checksum(student))
    return sums, gap(*logits)


# ------------------------------------------------------------------------------------------------ F-05, learned

KNOWN, DIM = 16, 64  # letters of a mapping, and as many answers


class _Learner(nn.Module):
    """Two blocks that read demonstrations, each a letter plus its answer, and a letter without one."""

    def __init__(self) -> None:
        super().__init__()
        self.letters, self.answers = nn.Embedding(KNOWN, DIM), nn.Embedding(KNOWN, DIM)
        self.out = nn.Linear(DIM, KNOWN)
        self.body: Any = build_encoder(
            "transformer", {"dim": DIM, "ffn_dim": 2 * DIM, "num_layers": 2, "positions": "none", "dropout": 0.0}, 1
        )

    def forward(self, letters: Tensor, answers: Tensor, query: Tensor) -> Tensor:
        """Return scores of the answers `(B, KNOWN)` for demonstrations `(B, k)` and a query `(B,)`."""
        shown = self.letters(letters) + self.answers(answers)
        x = torch.cat([self.letters(query).unsqueeze(1), shown], 1)
        states = self.body.left.contextualize(x, Source(torch.zeros(x.shape[:2], dtype=torch.int64))).states
        return self.out(states[:, 0])


def learned_in_context() -> Measured:
    """F-05, learning to read demonstrations: of a mapping that it never saw, it answers what the prompt shows.

    Formula: (x_1, y_1), ..., (x_k, y_k), x_q -> y_q, each text of a mapping of its own: one of 16! = 2 * 10^13.
    Source: Brown 2020, figure 1.2: accuracy rises with the number of demonstrations.
    """
    learner = _Learner()
    descend(learner, lambda: _unanswered(learner), 1_500)
    counts = (0, 1, 2, 4, 8, 12, 16)
    shown = [(float(k), _right(learner.eval(), k)) for k in counts]
    shuffled = [(float(k), _right(learner, k, shuffled=True)) for k in counts]
    curves = {"demonstrations": shown, "answers shuffled": shuffled}
    share = dict(shown)
    return Measured(
        {"all": share[16.0], "half": share[8.0], "zero": share[0.0], "shuffled": dict(shuffled)[16.0]},
        figures=(Figure("Letters that are answered, of mappings never seen", "demonstrations", "share", curves),),
    )


def _mappings(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return letters in random order, their answers in a mapping for each row, and queries with theirs in it."""
    letters, answers = (torch.rand(rows, KNOWN).argsort(1) for _ in range(2))
    return letters, answers, torch.randint(KNOWN, (rows,))


def _unanswered(learner: _Learner) -> Tensor:
    """Return the loss of 64 mappings, of which as many letters are shown as a draw says."""
    letters, answers, place = _mappings(64)
    k = int(torch.randint(KNOWN + 1, ()))
    query, wanted = (each.gather(1, place.unsqueeze(1)).squeeze(1) for each in (letters, answers))
    return F.cross_entropy(learner(letters[:, :k], answers[:, :k], query), wanted)


@torch.no_grad()
def _right(learner: _Learner, k: int, *, shuffled: bool = False) -> float:
    """Return the share of 2,000 queries that are answered as their mapping says."""
    letters, answers, place = _mappings(2_000)
    query, wanted = (each.gather(1, place.unsqueeze(1)).squeeze(1) for each in (letters, answers))
    told = answers.gather(1, torch.rand(answers.shape).argsort(1)) if shuffled else answers
    return float((learner(letters[:, :k], told[:, :k], query).argmax(1) == wanted).float().mean())
