"""Texts longer than a pretrained encoder reads: divided into windows whose states are pooled together."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from onehop.data import Pair, PairStore, TrainingBatches, evaluation_batches
from onehop.errors import ConfigError
from onehop.models.pooled import Pooled
from onehop.nn.pooling import build_pooling
from onehop.tasks import load_package
from onehop.tasks.evidence import evidence
from onehop.tasks.framed import FramedDocuments
from onehop.text import Ledger
from onehop.text.pretrained import PretrainedTokenizer
from onehop.text.vocabularies import wordpiece
from onehop.train import make_recipe, train
from onehop.train.classify import loss_sum
from onehop.train.labels import LabelIds
from onehop.train.texts import counted
from tests.fixtures.tiny import onehop as command
from tests.laws.close import assert_same, gradients
from tests.laws.packages import CHECKPOINTS
from tests.train.test_embed import wide

BASE = CHECKPOINTS / "BertModel"
LIMIT = 12  # tokens of a window
FILLER = ["dog", "mat", "rug", "sat"]


def planted(path: Path, count: int, seed: int = 1) -> Path:
    """Write texts of up to sixty words; the label says whether one of them, anywhere, is *cat*."""
    draw = random.Random(seed)
    lines = ["text,label"]
    for _ in range(count):
        words, label = draw.choices(FILLER, k=draw.randrange(3, 60)), draw.random() < 0.5
        if label:
            words[draw.randrange(len(words))] = "cat"
        lines.append(f"{' '.join(words)},{'yes' if label else 'no'}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("windows")
    data, begun = planted(folder / "train.csv", 400), wide(folder / "base")
    done = command(
        "train", "--task", "classify", "--data", data, "--init", begun, "--out", folder / "run", "--long", "window",
        "--set", f"text.max_length={LIMIT}", "--set", "train.max_updates=200", "--set", "train.learning_rate=2e-3",
        "--set", "train.evaluate_every=100", "--set", "data.check=false",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "longer ones are read in windows" in done.err.replace("\n", " ")
    planted(folder / "test.csv", 100, seed=2)
    return folder / "run"


def test_what_stands_in_any_window_is_learnt_and_found(run: Path):
    task = load_package(run).task
    assert (task.settings.text.windows, task.settings.head.pooling) == ("pooled", "attention")
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    lengths = next(row for row in rows if row["kind"] == "truncation" and row["split"] == "train")
    assert (lengths["policy"], lengths["tokens"]) == ("window", 0)
    assert lengths["affected"] > 100
    test = run.parent / "test.csv"
    report = json.loads(command("evaluate", run, "--data", test, "--long", "window", "--json").out)
    assert report["accuracy"] > 0.9
    assert report["windows"] > 50
    cut = json.loads(command("evaluate", run, "--data", test, "--long", "cut", "--json").out)
    assert cut["accuracy"] < 0.8
    assert command("verify", run).status == 0


def test_a_text_in_windows_is_found_alike_alone_in_a_batch_and_by_kernels(run: Path):
    task = load_package(run).task
    long = " ".join(["dog"] * 40)
    texts = [f"{long} cat", "cat", long, "dog", f"{long} {long} cat", ""]
    found = task.predict(texts, long="window")
    assert [one.label for one in found] == ["yes", "yes", "no", "no", "yes", None]
    assert [one.windows for one in found] == [4, 0, 4, 0, 7, 0]
    for text, one in zip(texts, found, strict=True):
        alone, fast = task.predict([text], long="window")[0], task.fast().predict([text], long="window")[0]
        assert alone.scores == pytest.approx(one.scores, abs=1e-5)
        assert fast.scores == pytest.approx(one.scores, abs=1e-5)


def test_evidence_is_weighed_over_all_windows(run: Path):
    task = load_package(run).task
    text = f"{' '.join(['dog'] * 30)} cat {' '.join(['mat'] * 9)}"
    [whole] = evidence(task, text, long="window")
    assert sum(word.weight for word in whole.words) == pytest.approx(1, abs=1e-4)
    windows = [[]]
    for word in whole.words:
        windows = windows if word.text else [*windows, []]
        windows[-1].append(word)
    weights = [sum(word.weight for word in window) for window in windows]
    place = next(n for n, window in enumerate(windows) if "cat" in [word.text for word in window])
    assert weights[place] > 0.5  # of four windows
    assert [word.text for word in whole.words if word.text] == text.split()
    line = json.loads(command("predict", run, "-", "--attention", "--long", "window", stdin=text.encode()).out)
    told = [(word, pytest.approx(weight, abs=1e-3)) for word, weight in line["sentences"][0]["words"]]
    assert [(word.text, word.weight) for word in whole.words] == told


def test_words_of_several_pieces_are_whole_in_evidence(tmp_path: Path):
    texts = tmp_path / "t.csv"
    texts.write_text("text,label\n" + "".join(f"the cats sat {n},{n % 2}\n" for n in range(30)))
    given = {"task": "classify", "data": {"train": [str(texts)], "check": False}, "head": {"pooling": "attention"}}
    made = train(make_recipe({**given, "train": {"init": str(BASE), "max_updates": 1}}), tmp_path / "run")
    task = load_package(made.model).task
    assert len(task.encode(["unsat the cats!"])[0]) > 4
    [whole] = evidence(task, "the cats!")
    assert [word.text for word in whole.words] == ["", "the", "cats", "!", ""]


def test_a_run_that_goes_on_reads_windows_too_and_other_tasks_do(run: Path, tmp_path: Path):
    data = [str(run.parent / "train.csv")]
    steps: dict[str, Any] = {"max_updates": 1, "init": str(run)}
    made = train(make_recipe({"task": "classify", "data": {"train": data}, "train": steps}), tmp_path / "more")
    assert load_package(made.model).task.settings.text.windows == "pooled"
    text = {"max_length": LIMIT, "long": "window"}
    for task, kind in (("regress", "score"), ("multilabel", "labels")):
        table = tmp_path / f"{task}.csv"
        rows = "".join(f"the cat {'sat ' * n},{n if kind == 'score' else 'ab'[n % 2]}\n" for n in range(40))
        table.write_text(f"text,{kind}\n{rows}")
        given = {"task": task, "data": {"train": [str(table)]}, "text": text, "head": {"pooling": "mean"}}
        made = train(make_recipe({**given, "train": {**steps, "init": str(BASE)}}), tmp_path / task)
        found = load_package(made.model).task.predict(["sat " * 30], long="window")
        assert found[0].windows == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"head": {"pooling": "cls"}}, "head.pooling = 'cls' takes one state"),
        ({"train": {}, "model": {"dim": 16, "hidden_dim": 16}}, "an encoder that is not pretrained reads texts of any"),
    ],
)
def test_windows_that_cannot_be_pooled_are_refused(changes: dict[str, Any], told: str, tmp_path: Path):
    data = {"task": "classify", "data": {"train": [str(planted(tmp_path / "a.csv", 30))]}, "text": {"long": "window"}}
    with pytest.raises(ConfigError, match=told):
        train(make_recipe({**data, "train": {"init": str(BASE)}, **changes}), tmp_path / "run")


# ------------------------------------------------------------------------------------------------ laws


@pytest.mark.parametrize("pooling", ["attention", "mean", "max"])
@pytest.mark.parametrize("name", ["BertModel", "ModernBertModel", "RobertaModel"])
def test_the_vector_of_a_text_is_pooled_of_the_states_of_its_windows_read_alone(name: str, pooling: str):
    begun = load_package(CHECKPOINTS / name).task
    documents = FramedDocuments(begun.tokenizer)
    encoder: Any = begun.model.encoder.double().eval()
    pool = build_pooling(pooling, encoder.dim, 6).double()
    model = Pooled(encoder, pool, torch.nn.Linear(encoder.dim, 3).double()).eval()
    windows = [[[5, 6, 7], [8, 9]], [[10, 11, 12, 5]], [[6], [7, 8], [9, 10, 11]]]
    rows = [documents.joined(each) for each in windows]
    [batch] = evaluation_batches(rows, [[0]] * 3, 1 << 40)
    source = documents.source(batch.source, batch.source_lengths)
    assert source.groups is not None
    assert source.groups.bincount().tolist() == [len(windows[n]) for n in batch.pairs]
    found = model.pool(source)
    for number, own in zip(batch.pairs, found, strict=True):
        alone = [encoder.encode(documents.source(*_row(window))).states[0] for window in windows[number]]
        assert_same(own, pool(torch.cat(alone).unsqueeze(0))[0])


def _row(tokens: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[*tokens, 2]]), torch.tensor([len(tokens) + 1])


def test_packed_rows_of_windows_have_the_loss_of_padded_ones(run: Path):
    task = load_package(run).task
    task.model.double().eval()
    rows = [Pair(" ".join(["cat", "dog"] * n), "yes" if n % 2 else "no") for n in (1, 9, 3, 20, 2, 7)]
    labels = LabelIds(task.labels, {}, "")
    store = PairStore()
    store.add(rows, "rows")
    settings: dict[str, Any] = {"batch_tokens": 1_000, "max_length": LIMIT, "long_policy": "window", "seed": 1}
    batches = TrainingBatches(store, task.documents, labels, packing=True, finish=counted, **settings)
    packed = next(batches)
    assert batches.ledger.affected == 3
    batches.close()
    ledger = Ledger("test", LIMIT, "window")
    encoded = task.documents.encode_batch([row.source for row in rows])
    joined = [task.documents.in_windows(tokens, ledger, "test:1") for tokens in encoded]
    plain = counted(next(evaluation_batches(joined, labels.encode_batch([row.target for row in rows]), 1 << 40)))
    assert packed.source_segments is not None
    assert packed.source_segments.max() > 0
    one, other = (loss_sum(task, task.model, batch, 0.1) for batch in (packed, plain))
    assert_same(one, other)
    assert_same(gradients(task.model, one), gradients(task.model, other), 1e-9)
    double = loss_sum(task, task.model, packed, 0.1, 1.0)  # R-Drop without dropout: both passes are the same
    assert_same(double, loss_sum(task, task.model, plain, 0.1, 1.0))


def test_windows_of_pretrained_vocabularies_end_where_words_and_clauses_do():
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "it", "rain", "##s", "pour", ",", "."]
    tokenizer: PretrainedTokenizer = wordpiece(pieces, lowercase=True)
    documents = FramedDocuments(tokenizer)

    def divided(text: str, most: int) -> list[list[str]]:
        row = documents.in_windows(tokenizer.encode(text), Ledger("test", most, "window"), "test:1")
        found: list[list[str]] = [[]]
        for token in row:
            found = [*found, []] if token == documents.mark else [*found[:-1], [*found[-1], *tokenizer.pieces([token])]]
        return found

    assert divided("it rains pours", 4) == [["it", "rain", "##s"], ["pour", "##s"]]
    assert divided("it rains, it pours.", 5)[0] == ["it", "rain", "##s", ","]
    assert divided("it rains", 3) == [["it", "rain", "##s"]]
