"""K-02: one model body for several modalities, each with a small net of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onehop.decode import Rules, search, stepper
from onehop.errors import DataError
from onehop.lab.measured import Grid, Measured
from onehop.lab.parts import gap
from onehop.models.multimodal import Multimodal, build_multimodal, patches
from onehop.nn import Source, linear_cross_entropy, record_attention
from onehop.train.loop import loop

PAD, BOS, EOS = 0, 1, 2
DIGIT, LETTER, VOCAB = 3, 13, 39  # first token of 0 to 9, of a to z, and how many there are
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE, PATCH = 8, 4  # pixels
MOST = 3  # digits of a number
BODY: dict[str, Any] = {
    "dim": 64, "ffn_dim": 128, "num_heads": 4, "num_encoder_layers": 2, "num_decoder_layers": 2, "norm": "pre",
    "dropout": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Numbers:
    """A batch of numbers to read, and the tokens to write: `target (B, T)` with its end marks, padded."""

    source: Source
    target: Tensor

    @property
    def num_targets(self) -> int:
        """Tokens to learn."""
        return int((self.target != PAD).sum())


def digit_images() -> tuple[list[Tensor], list[Tensor]]:
    """Return scikit-learn's handwritten digits by their value, `(N, 8, 8)` from 0 to 1: to train on, and to test.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        remedy = "Install it: pip install 'onehop[lab]'"
        raise DataError("the handwritten digits are scikit-learn's, which is not installed", remedy) from error
    pixels, values = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels, dtype=torch.float32).view(-1, SIDE, SIDE) / 16, torch.tensor(values)
    held = torch.arange(len(images)) % 5 == 0
    train, test = ([images[part & (labels == digit)] for digit in range(10)] for part in (~held, held))
    return train, test


def as_images(numbers: list[list[int]], images: list[Tensor], generator: torch.Generator) -> Source:
    """Write numbers as strips of handwritten digits, each drawn from those of its value."""
    strips = torch.zeros(len(numbers), SIDE, SIDE * max(map(len, numbers)))
    for strip, number in zip(strips, numbers, strict=True):
        for place, digit in enumerate(number):
            choice = int(torch.randint(len(images[digit]), (), generator=generator))
            strip[:, place * SIDE : (place + 1) * SIDE] = images[digit][choice]
    lengths = torch.tensor([len(number) * (SIDE // PATCH) ** 2 for number in numbers])
    return Source.of_features(patches(strips, PATCH), lengths)


def as_words(numbers: list[list[int]]) -> Source:
    """Write numbers as the letters of their words: `onetwo` for 12."""
    rows = [[LETTER + ord(letter) - 97 for digit in number for letter in WORDS[digit]] for number in numbers]
    return Source(_padded(rows), torch.tensor([len(row) for row in rows]))


def batches(kind: str, images: list[Tensor], size: int, seed: int) -> Iterator[Numbers]:
    """Yield numbers of 1 to 3 digits for ever, as `image` or as `text`, drawn from the seed."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        sizes = torch.randint(1, MOST + 1, (size,), generator=generator).tolist()
        numbers = [torch.randint(10, (n,), generator=generator).tolist() for n in sizes]
        source = as_images(numbers, images, generator) if kind == "image" else as_words(numbers)
        yield Numbers(source, _padded([[*(DIGIT + digit for digit in number), EOS] for number in numbers]))


def in_turn(*streams: Iterator[Numbers]) -> Iterator[Numbers]:
    """Yield from each stream in turn."""
    while True:
        for stream in streams:
            yield next(stream)


def loss(model: Any, batch: Numbers) -> Tensor:
    """Return the summed cross-entropy of the target, whatever was read."""
    inputs = torch.cat([torch.full_like(batch.target[:, :1], BOS), batch.target[:, :-1]], 1)
    hidden, _ = model.decode(inputs, model.start(model.encode(batch.source)))
    real = batch.target != PAD
    return linear_cross_entropy(hidden[real], model.output.weight, model.output.bias, batch.target[real])


def train(stream: Iterator[Numbers], updates: int, rate: float = 2e-3) -> Multimodal:
    """Train a model with fresh weights, by the loop that `onehop train` runs; the rate falls to zero."""
    torch.manual_seed(1)
    model = build_multimodal(BODY, VOCAB, PATCH * PATCH)
    optimizer, left = torch.optim.AdamW(model.parameters()), iter(range(updates, 0, -1))
    steps = loop(model, loss, stream, optimizer, lambda: rate * next(left) / updates)
    for _ in zip(range(updates), steps, strict=False):
        pass
    return model.eval()


@torch.inference_mode()
def read(model: Multimodal, source: Source, beam_size: int = 1) -> list[list[int]]:
    """Return the digits that the search finds for each row of a source."""
    size = len(source.tokens)
    rules = Rules(beam_size, lambda log_prob, length: log_prob, BOS, EOS, (PAD, BOS))
    found = search(stepper(model), model.start(model.encode(source)), rules, [MOST + 2] * size)
    return [[token - DIGIT for token in best[0].tokens] for best in found]


def right(model: Multimodal, batch: Numbers) -> float:
    """Return the share of numbers that are read without an error."""
    wanted = [[token - DIGIT for token in row if token > EOS] for row in batch.target.tolist()]
    found = read(model, batch.source)
    return sum(a == b for a, b in zip(found, wanted, strict=True)) / len(wanted)


def blank(batch: Numbers) -> Numbers:
    """Return the batch with every pixel of its images zero; one of text as it is."""
    features, lengths = batch.source.features, batch.source.lengths
    if features is None:
        return batch
    return Numbers(Source.of_features(torch.zeros_like(features), lengths), batch.target)


def _padded(rows: list[list[int]]) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])


# ------------------------------------------------------------------------------------------------ the checks


def one_body() -> Measured:
    """K-02, one checkpoint reads images and text, and nearly all of it is shared.

    Formula: memory = body(W patches) or body(E[tokens]); the decoder reads either through the same cross-attention.
    Source: Kaiser et al. 2017, "One Model To Learn Them All"; Dosovitskiy et al. 2020.
    """
    model, images = build_multimodal(BODY, VOCAB, PATCH * PATCH).eval(), [torch.rand(3, SIDE, SIDE) for _ in range(10)]
    image, text = (next(batches(kind, images, 4, seed=1)) for kind in ("image", "text"))
    sizes = model.sizes()
    with torch.no_grad():
        with record_attention(layers=["decoder.*.cross"]) as record:
            moved = _change(model, image)
        weights = record.calls("decoder.0.cross")[0]
        lengths = image.source.known_lengths()
        values = {
            "share": sizes["shared body"] / sum(sizes.values()),
            "text": _change(model, text),
            "image": moved,
            "chunks": _stepwise(model, image),
            "padding": _alone(model, image),
            "weights": gap(weights.sum(-1), torch.ones(weights.shape[:3])),
            "behind": float(weights.masked_select(torch.arange(weights.size(3)) >= lengths[:, None, None, None]).max()),
        }
    rows = tuple((name, f"{size:,}", f"{size / sum(sizes.values()):.1%}") for name, size in sizes.items())
    return Measured(values, (Grid("What is learned", ("part", "parameters", "share"), rows),))


def _logits(model: Multimodal, batch: Numbers) -> Tensor:
    return model.logits(model.decode(batch.target, model.start(model.encode(batch.source)))[0])


def _change(model: Multimodal, batch: Numbers) -> float:
    """Return by how much logits change when images are zero."""
    return gap(_logits(model, batch), _logits(model, blank(batch)))


def _stepwise(model: Multimodal, batch: Numbers) -> float:
    """Compare decoding token by token with decoding at once."""
    state, found = model.start(model.encode(batch.source)), list[Tensor]()
    for token in batch.target.split(1, 1):
        hidden, state = model.decode(token, state)
        found.append(model.logits(hidden))
    return gap(torch.cat(found, 1), _logits(model, batch))


def _alone(model: Multimodal, batch: Numbers) -> float:
    """Compare each image, narrow as it is, with the same in a wider batch."""
    together, source, apart = _logits(model, batch), batch.source, list[float]()
    for i, size in enumerate(source.known_lengths().tolist()):
        assert source.features is not None
        one = Numbers(Source.of_features(source.features[i : i + 1, :size]), batch.target[i : i + 1])
        apart.append(gap(_logits(model, one), together[i : i + 1]))
    return max(apart)


def together() -> Measured:
    """K-02, trained jointly, one body reads handwritten numbers and spelled ones about as well as two bodies.

    Formula: joint loss = that of image -> digits and of letters -> digits in turn; as many updates of each as apart.
    Source: Kaiser et al. 2017, table 2: joint training hardly hurts.
    """
    learn, held = digit_images()
    updates, kinds = 1_000, ("image", "text")
    joint = train(in_turn(*(batches(kind, learn, 64, seed=2) for kind in kinds)), 2 * updates)
    tests = {kind: next(batches(kind, held, 300, seed=3)) for kind in kinds}
    both = {kind: right(joint, test) for kind, test in tests.items()}
    apart = {kind: right(train(batches(kind, learn, 64, seed=2), updates), tests[kind]) for kind in kinds}
    blind = right(joint, blank(tests["image"]))
    rows = tuple((kind, f"{apart[kind]:.1%}", f"{both[kind]:.1%}") for kind in kinds)
    return Measured(
        {
            "image": both["image"], "text": both["text"], "blind": blind,
            "unmoved": abs(right(joint, blank(tests["text"])) - both["text"]),
            "image_lost": apart["image"] - both["image"], "text_lost": apart["text"] - both["text"],
        },
        (Grid("Numbers read without an error", ("what is read", "two bodies", "one body"), rows),),
    )  # fmt: skip
