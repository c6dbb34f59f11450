"""A masked language model that goes on with a checkpoint."""

import json
from pathlib import Path

import pytest
import torch

from onehop.data import evaluation_batches
from onehop.nn import Source
from onehop.tasks import load_package
from onehop.tasks.foreign import save_checkpoint
from onehop.text import Masking
from onehop.train.mlm_loss import Hiding, loss_sum
from onehop.train.mlm_rows import Rows
from tests.fixtures.tiny import onehop as command

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
