"""A masked language model that goes on with a checkpoint, and one from random weights."""

import json
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch

from onehop.data import Batch, evaluation_batches
from onehop.nn import Source
from onehop.tasks import load_package
from onehop.tasks.foreign import save_checkpoint
from onehop.text import Masking
from onehop.train import make_recipe
from onehop.train.mlm_loss import Hiding, loss_sum
from onehop.train.mlm_normal import Curve, Landmarks, Normal, curves, like
from onehop.train.mlm_rows import Rows
from onehop.train.pretrain import prepare
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "checkpoints"
LINES = [f"The cat sat on the mat. a dog ran, big red mat, small rug {n}!" for n in range(30)]
SHORT = ["--set", "train.max_updates=6", "--set", "train.evaluate_every=3", "--set", "train.batch_tokens=200"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    (folder / "a.txt").write_text("\n".join(LINES[:20]) + "\n\n" + "\n".join(LINES[20:]) + "\n", "utf-8")
    start = ["train", "--task", "mlm", "--data", folder / "a.txt", "--init", CHECKPOINTS / "BertModel"]
    settings = ["--set", "train.learning_rate=0.01", "--set", "train.save_every=3"]
    done = command(*start, "--out", folder / "run", *SHORT, *settings)
    assert done.status == 0, done.err
    return folder / "run"


def test_its_package_embeds_begins_other_tasks_and_goes_to_transformers(run: Path, tmp_path: Path):
    package = load_package(run)
    assert package.task.task == "embed"
    assert package.task.settings.heads[-1] == "mlm"
    assert len(package.golden) > 0
    losses = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    found = [row["loss"] for row in losses if row["kind"] == "evaluation"]
    assert found[-1] < found[0]
    assert save_checkpoint(package.task, tmp_path / "hf") in ("BertForMaskedLM", "BertForPreTraining")
    (tmp_path / "t.csv").write_text(
        "text,label\n" + "".join(f"{line.replace(',', '')},{n % 2}\n" for n, line in enumerate(LINES))
    )
    begun = command(
        "train", "--task", "classify", "--data", tmp_path / "t.csv", "--init", run, "--out", tmp_path / "c", *SHORT
    )
    assert begun.status == 0, begun.err


def test_what_the_log_calls_padding_is_padding_and_not_what_is_not_hidden(run: Path):
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    shares = [row["padding"] for row in rows if row["kind"] == "update"]
    assert shares
    assert max(shares) < 0.1  # rows are filled


def test_a_run_that_is_resumed_hides_the_same_words(run: Path, tmp_path: Path):
    text = run.parent / "a.txt"
    start = ["train", "--task", "mlm", "--data", text, "--init", CHECKPOINTS / "BertModel", "--out", tmp_path / "two"]
    settings = [*SHORT[2:], "--set", "train.learning_rate=0.01", "--set", "train.save_every=3"]
    settings += ["--set", "train.schedule=constant", "--set", "train.warmup=1"]
    for updates in (3, 6):
        flags = ["--set", f"train.max_updates={updates}", "--resume"]
        assert command(*start, *settings, *flags).status == 0
    whole = [*start[:-1], tmp_path / "one"]
    assert command(*whole, *settings, "--set", "train.max_updates=6").status == 0
    one, two = (load_package(tmp_path / name).task.model.state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_rows_are_full_and_hold_every_token_in_order(run: Path):
    tokenizer, text = load_package(run).task.tokenizer, str(run.parent / "a.txt")
    each = [token for one in tokenizer.encode_batch(LINES) for token in one]
    apart = [row for _, row in Rows(tokenizer, 15, joined=False).of(text)]
    assert [token for row in apart for token in row] == each
    assert sum(len(row) < 15 for row in apart) <= 2  # the ends of two documents
    joined = [row for _, row in Rows(tokenizer, 15).of(text)]
    [mark] = tokenizer.marks[1]
    whole = [token for row in joined for token in row]
    assert whole.count(mark) == 1
    assert [token for token in whole if token != mark] == each
    assert all(len(row) == 15 for row in joined[:-1])


def test_the_loss_is_that_of_hidden_tokens_alone_and_epochs_hide_others(run: Path):
    task = load_package(run).task
    rows = task.tokenizer.encode_batch(LINES[:4])
    batch = next(evaluation_batches(rows, [[]] * 4, 1 << 20))
    masking = Masking(task.tokenizer.mask, range(5, task.tokenizer.vocab_size), (), 0.3)
    hiding = Hiding(masking, None, 1)
    one, other = (hiding(batch, epoch) for epoch in (0, 1))
    assert not torch.equal(one.target, other.target)
    assert one.num_targets == int((one.target > 0).sum())
    expected = 0.0
    for row in range(4):
        length = int(one.source_lengths[row])
        tokens = torch.tensor([task.tokenizer.frame(one.source[row, : length - 1].tolist())])
        logits = task.model.heads["mlm"](task.model.encoder.encode(Source(tokens)).states)[0, 1:-1].log_softmax(-1)
        for place in one.target[row].nonzero()[:, 0].tolist():
            expected -= float(logits[place, int(one.target[row, place]) - 1].detach())
    assert float(loss_sum(task, task.model, one).detach()) == pytest.approx(expected, abs=1e-3)


# ------------------------------------------------------------------------------------------------ from random weights

SIZE = ["dim=16", "ffn_dim=32", "num_heads=2", "num_layers=1"]
WORDS = (
    "the", "a", "old", "red", "big", "cat", "dog", "bird", "sat", "ran", "slept", "on", "under", "near", "mat", "rug",
    "tree", "house",
)  # fmt: skip
TINY = [f"--set=model.{one}" for one in SIZE] + ["--set=text.max_length=30"]


def prose(paragraphs: int) -> str:
    """Return made-up text: sentences of a few words, paragraphs, documents of three of them."""
    picks = np.random.default_rng(1).integers(len(WORDS), size=(paragraphs, 4, 6))
    lines = [" ".join(" ".join(WORDS[i] for i in one).capitalize() + "." for one in four) for four in picks]
    return "\n".join(line + "\n" * (number % 3 == 2) for number, line in enumerate(lines)) + "\n"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scratch")
    (folder / "a.txt").write_text(prose(90), "utf-8")
    start = ["train", "--task", "mlm", "--data", folder / "a.txt", "--out", folder / "run", *TINY, *SHORT]
    done = command(*start, "--set", "mask.next_sentence=true", "--set", "mask.unit=word", "--set=train.save_every=3")
    assert done.status == 0, done.err
    (folder / "told").write_text(done.err)
    return folder / "run"


def test_text_alone_gives_a_model_that_other_tasks_begin_with_and_transformers_loads(scratch: Path, tmp_path: Path):
    task = load_package(scratch).task
    assert {"cat", "[MASK]"} <= set(task.tokenizer.pieces(range(task.tokenizer.vocab_size)))
    assert task.settings.heads == ["pooler", "mlm", "nsp"]
    assert task.settings.text.max_length == 30
    assert save_checkpoint(task, tmp_path / "hf") == "BertForPreTraining"
    text = "The cat sat. The dog ran."
    again = load_package(tmp_path / "hf").task
    assert torch.equal(again.predict([text])[0].vector, task.predict([text])[0].vector)
    table = "text,label\n" + "".join(f"the {WORDS[n % 18]} sat {n},{n % 2}\n" for n in range(40))
    (tmp_path / "t.csv").write_text(table)
    begun = command(
        "train", "--task", "classify", "--data", tmp_path / "t.csv", "--init", scratch, "--out", tmp_path / "c", *SHORT
    )
    assert begun.status == 0, begun.err


def test_the_next_sentence_is_told_apart_and_the_loss_has_its_landmarks(scratch: Path):
    rows = [json.loads(line) for line in (scratch / "log.jsonl").read_text().splitlines()]
    found = [row for row in rows if row["kind"] == "evaluation"]
    assert all(0 <= row["next_accuracy"] <= 1 and row["next_loss"] > 0 for row in found)
    told = (scratch.parent / "told").read_text()
    assert "is knowing how frequent each token is" in " ".join(told.split())
    assert "next sentence: loss" in told


def test_a_run_from_random_weights_that_is_resumed_ends_at_the_same_weights(scratch: Path, tmp_path: Path):
    start = ["train", "--task", "mlm", "--data", scratch.parent / "a.txt", *TINY, *SHORT[2:], "--set=mask.unit=span"]
    start += ["--set=train.save_every=3", "--set=train.schedule=constant", "--set=train.warmup=1"]
    for out, updates in (("two", 3), ("two", 6), ("one", 6)):
        limit = ["--set", f"train.max_updates={updates}", "--resume"]
        assert command(*start, "--out", tmp_path / out, *limit).status == 0
    one, two = (load_package(tmp_path / name).task.model.state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_half_of_the_second_parts_come_from_other_rows_and_none_is_lost(scratch: Path):
    tokenizer = load_package(scratch).task.tokenizer
    rows = [row for _, row in Rows(tokenizer, 60, parts=True).of(str(scratch.parent / "a.txt"))]
    [mark] = tokenizer.marks[1]
    assert all(len(row) <= 60 for row in rows)
    assert [t for row in rows for t in row if t != mark] == [
        token for one in tokenizer.encode_batch(prose(90).split("\n")) for token in one
    ]
    batch = next(evaluation_batches(rows, [[]] * len(rows), 1 << 20))
    nothing = Hiding(Masking(tokenizer.mask, range(5, 40), {mark}, 0.0), mark, 1)
    changed = nothing(batch, 0)
    follows = changed.target[:, -1].tolist()
    assert follows.count(2) / len(follows) == pytest.approx(0.5, abs=0.2)
    parts = []
    for row, length, number, label in zip(changed.source, changed.source_lengths, batch.pairs, follows, strict=True):
        tokens = row[: int(length) - 1].tolist()
        assert (tokens == rows[number]) == (label == 1)
        assert tokens[: tokens.index(mark)] == rows[number][: rows[number].index(mark)]
        parts.append(tokens[tokens.index(mark) :])
    assert sorted(parts) == sorted(row[row.index(mark) :] for row in rows)
    assert nothing(batch, 1).target[:, -1].tolist() != follows


def test_landmarks_are_the_losses_of_counting(scratch: Path):
    rows, vocab = [[5, 6, 5, 6, 7]] * 50, 8
    batch = next(evaluation_batches(rows[:1], [[]], 99))
    hidden = Hiding(Masking(4, range(5, 8), (), 1.0), None, 1)(batch, 0)
    found = Landmarks.of(rows, [hidden], vocab)
    counts = {5: 101, 6: 101, 7: 51}
    total = sum(counts.values()) + 5  # the five that never came have one each
    expected = -sum(log(counts[token] / total) for token in rows[0]) / 5
    assert found.uniform == pytest.approx(log(8))
    assert found.frequencies == pytest.approx(expected)
    seen = hidden.source[0].tolist()
    assert found.neighbours <= found.frequencies or 4 in seen


def test_a_loss_that_stays_at_frequencies_is_told_as_stuck_and_a_falling_one_is_not():
    normal = Normal(Landmarks(9.0, 6.5, 5.0), Curve("a run", 1_000_000, (1e5, 1e6), (0.0, 0.5)))
    assert "stuck" not in normal(6.5, 200, 300_000)
    assert "stuck" in normal(6.45, 5_000, 4_000_000)
    assert "stuck" not in normal(5.9, 5_000, 4_000_000)
    assert "0.60 below" in normal(5.9, 500, 600_000)
    assert "was 0.28 below here" in normal(5.9, 500, 600_000)
    assert "stuck" in Normal(Landmarks(9.0, 6.5, 5.0))(6.5, 4_000, 1)
    assert normal(9.0, 0, 0) == ""


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.architecture='modernbert'", "only 'bert' is pretrained"),
        ("model.max_positions=16", "max_positions=16 for rows of 30 tokens"),
        ("text.vocab_size=5000", "the text gives no more than"),
        ("mask.span_words=5", "need unit = 'span'"),
        ("mask.rarity=2", "less than or equal to 1"),
    ],
)
def test_what_cannot_be_begun_is_one_message(setting: str, message: str, scratch: Path, tmp_path: Path):
    given = ["train", "--task", "mlm", "--data", scratch.parent / "a.txt", "--out", tmp_path / "x", *TINY, *SHORT]
    refused(command(*given, "--set", setting), message)


def test_hiding_rare_tokens_oftener_changes_what_is_learnt_and_not_what_validates(scratch: Path, tmp_path: Path):
    start = ["train", "--task", "mlm", "--data", scratch.parent / "a.txt", *TINY, *SHORT, "--set=mask.share=0.3"]
    first: list[float] = []
    for rarity in (0.0, 1.0):
        out = tmp_path / str(rarity)
        assert command(*start, "--set", f"mask.rarity={rarity}", "--out", out).status == 0
        rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        first.append(next(row["loss"] for row in rows if row["kind"] == "evaluation"))
        assert ("rare ones oftener" in (out / "model" / "MODEL_CARD.md").read_text()) == (rarity > 0)
    assert first[0] != first[1]
    validated = [batch for rarity in (0.0, 1.0) for batch in _validated(scratch, tmp_path, rarity)]
    half = len(validated) // 2
    assert half > 0
    for one, other in zip(validated[:half], validated[half:], strict=True):
        assert torch.equal(one.source, other.source)
        assert torch.equal(one.target, other.target)
    word = [*start, "--set", "mask.rarity=0.5", "--set", "mask.unit=word", "--out", tmp_path / "x"]
    refused(command(*word), "rarity=0.5 needs unit = 'token'")


def _validated(scratch: Path, folder: Path, rarity: float) -> list[Batch]:
    sizes = dict(one.split("=") for one in SIZE)
    recipe = make_recipe({
        "task": "mlm", "data": {"train": [str(scratch.parent / "a.txt")]}, "text": {"max_length": 30},
        "model": {name: int(size) for name, size in sizes.items()}, "mask": {"rarity": rarity},
    })  # fmt: skip
    return prepare(recipe, folder, lambda text: None).validation.batches


def test_no_text_is_one_message_and_a_line_of_text_is_enough_to_begin(tmp_path: Path):
    start = ["train", "--task", "mlm", "--out", tmp_path / "x", *TINY, "--set=train.max_updates=1"]
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "one.txt").write_text("One line.\n")
    refused(command(*start, "--data", tmp_path / "empty.txt"), "no text", "empty.txt")
    done = command(*start, "--data", tmp_path / "one.txt")
    assert done.status == 0, done.err
    told = " ".join(done.err.split())
    assert "too little text to hold any out" in told
    assert "normal:" not in told
    assert "4,000 were planned" in told


def test_a_vocabulary_of_its_own_is_refused_where_a_checkpoint_has_one(run: Path, tmp_path: Path):
    given = ["train", "--task", "mlm", "--data", run.parent / "a.txt", "--out", tmp_path / "x"]
    given += ["--init", CHECKPOINTS / "BertModel", "--set", "text.vocab_size=300"]
    refused(command(*given), "has its vocabulary")


def test_every_run_on_record_is_what_a_model_of_its_size_is_compared_with():
    known = curves()
    assert known
    assert all(like(one.weights, known) == one for one in known)
