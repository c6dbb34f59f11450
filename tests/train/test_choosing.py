"""Models that choose: columns and lists, numbers, letters and texts, long contexts, the command line, transformers."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from onehop.data.choices import Choice, ChoiceColumns, open_choices
from onehop.errors import ConfigError, DataError, LengthError
from onehop.nn import Source
from onehop.tasks import load_package
from onehop.tasks.adapters import adapter_of
from onehop.tasks.foreign import save_checkpoint
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "checkpoints"
BASE = CHECKPOINTS / "BertModel"
WORDS = ["cat", "dog", "mat", "rug", "sat"]


def rows(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Return choices of one of three words: that which the premise ends with."""
    draw = random.Random(seed)
    found: list[dict[str, Any]] = []
    for _ in range(count):
        options = draw.sample(WORDS, 3)
        label = draw.randrange(3)
        found.append({"premise": f"the big {options[label]}", "choices": options, "label": label})
    return found


def write(path: Path, found: list[dict[str, Any]], first: int = 0) -> Path:
    """Write a table, of lists or of a column for each option, as its ending says."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in found))
        return path
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["premise", "choice1", "choice2", "choice3", "label"])
        table.writerows([row["premise"], *row["choices"], row["label"] + first] for row in found)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("choose")
    done = command(
        "train", "--task", "choose", "--data", write(folder / "train.jsonl", rows(120)), "--valid",
        write(folder / "valid.csv", rows(40, 2)), "--init", BASE, "--out", folder / "run", "--set",
        "train.max_updates=4", "--set", "train.evaluate_every=2",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "context from premise; options from choices; the right one from 'label'" in done.err
    assert "3 options, the first numbered 0" in done.err
    assert "by chance 33.3 %" in done.err
    return folder / "run"


def test_each_option_is_read_with_the_context_and_one_is_chosen(run: Path):
    task = load_package(run, task="choose").task
    assert (task.settings.columns, task.settings.first_number) == (["premise"], 0)
    one, two = Choice(("the big cat",), ("cat", "dog", "mat")), Choice(("the rug",), ("sat", "ran"))
    found, other = task.predict([one, two])
    assert (len(found.scores), len(other.scores)) == (3, 2)
    assert sum(found.scores) == pytest.approx(1)
    assert found.option == one.options[found.choice]
    assert task.predict([one])[0].scores == pytest.approx(found.scores, abs=1e-5)
    turned = task.predict([Choice(one.contexts, one.options[::-1])])[0]
    assert turned.scores[::-1] == pytest.approx(found.scores, abs=1e-5)


def test_it_predicts_evaluates_and_verifies_from_the_command_line(run: Path):
    table = run.parent / "valid.csv"
    predicted = command("predict", run, table)
    assert predicted.status == 0, predicted.err
    lines = [json.loads(line) for line in predicted.out.splitlines()]
    assert len(lines) == 40
    assert set(lines[0]) == {"choice", "option", "scores", "dropped", "cut", "windows", "lost"}
    asked = json.dumps({"premise": "the cat", "choices": ["cat", "dog"]}) + "\n"
    assert len(json.loads(command("predict", run, "-", stdin=asked.encode()).out)["scores"]) == 2
    report = json.loads(command("evaluate", run, "--data", table, "--json").out)
    assert report["chance"] == pytest.approx(1 / 3, abs=1e-4)
    assert report["accuracy_interval"][0] <= report["accuracy"] <= report["accuracy_interval"][1]
    right = sum(line["choice"] == row["label"] for line, row in zip(lines, rows(40, 2), strict=True))
    assert report["accuracy"] == pytest.approx(right / 40, abs=1e-4)
    shown = command("evaluate", run, "--data", table, "--against", run, "-o", run.parent / "out.txt")
    for part in ("accuracy", "by chance", "+0.0, p = 1.000"):
        assert part in shown.out
    again = command("evaluate", run, "--data", table, "--against", run.parent / "out.txt", "--json")
    assert json.loads(again.out)["against"]["p"] == 1
    assert command("verify", run).status == 0
    assert command("verify", run, "--data", table).status == 0
    assert "by chance" in (run / "model" / "MODEL_CARD.md").read_text()
    (run.parent / "letters.txt").write_text("A\n" * 40)
    bad = command("evaluate", run, "--data", table, "--against", run.parent / "letters.txt")
    refused(bad, "not a choice", "letters.txt:1")


def test_it_computes_what_transformers_computes_and_goes_there_and_back(run: Path, tmp_path: Path):
    expected = load_file(CHECKPOINTS / "BertForMultipleChoice" / "expected.safetensors")
    task = load_package(CHECKPOINTS / "BertForMultipleChoice").task
    assert task.task == "choose"
    source = Source(expected["input_ids"], expected["attention_mask"].sum(1), types=expected.get("token_type_ids"))
    with torch.inference_mode():
        assert (task.model(source).flatten() - expected["logits"].flatten()).abs().max() < 1e-5
    ours = load_package(run).task
    assert save_checkpoint(ours, tmp_path / "hf") == "BertForMultipleChoice"
    choice = [Choice(("the big cat",), ("cat", "dog"))]
    again = load_package(tmp_path / "hf").task.predict(choice)[0].scores
    assert again == pytest.approx(ours.predict(choice)[0].scores, abs=1e-6)


def test_a_run_goes_on_and_learns_an_adapter(run: Path, tmp_path: Path):
    more = command(
        "train", "--task", "choose", "--data", run.parent / "train.jsonl", "--init", run, "--out", tmp_path / "more",
        "--set", "train.max_updates=1", "--set", "train.lora_rank=2",
    )  # fmt: skip
    assert more.status == 0, more.err
    assert adapter_of(load_package(tmp_path / "more").task) is not None


def test_long_contexts_are_cut_dropped_or_an_error_and_options_stay_whole(run: Path):
    task = load_package(run).task
    most = task.settings.text.max_length
    long = [Choice((" ".join(["cat"] * 2 * most),), ("dog", "mat rug sat"))]
    with pytest.raises(LengthError, match="longer than the model's limit"):
        task.predict(long)
    [cut] = task.predict(long, long="cut")
    row = task.documents.limited(task.rows(long)[0], *_ledger(most))
    assert max(map(len, task.documents.expand(row))) == most
    assert [task.documents.expand(row)[1][-3:]] == task.tokenizer.encode_batch(["mat rug sat"])
    assert cut.cut > 0
    assert task.predict(long, long="drop")[0].choice is None
    with pytest.raises(ConfigError, match="a choice has no windows"):
        task.predict(long, long="window")
    with pytest.raises(LengthError, match="an option and the marks around it"):
        task.predict([Choice(("a",), ("b", " ".join(["cat"] * 2 * most)))], long="cut")


def _ledger(most: int) -> tuple[Any, str]:
    from onehop.text import Ledger

    return Ledger("test", most, "cut"), "test:1"


@pytest.mark.parametrize(
    ("label", "base", "place"), [("0", 0, 0), ("2", 1, 1), ("B", 0, 1), ("b", 0, 1), ("dry", 0, 1)]
)
def test_the_right_option_is_a_number_a_letter_or_a_text(label: str, base: int, place: int):
    assert Choice(("rain",), ("wet", "dry"), label).index(base) == place


@pytest.mark.parametrize("label", ["2", "-1", "C", "snow", ""])
def test_a_right_option_that_there_is_not_is_refused(label: str):
    with pytest.raises(DataError, match="is none of 2"):
        Choice(("rain",), ("wet", "dry"), label).index()


def test_columns_are_found_as_swag_and_copa_name_them():
    swag = ["video-id", "fold-ind", "startphrase", "sent1", "sent2", "gold-source", "ending0", "ending1", "label"]
    assert ChoiceColumns().find(swag)[:2] == (("sent1", "sent2"), ("ending0", "ending1"))
    copa = ["premise", "choice1", "choice2", "question", "idx", "label"]
    assert ChoiceColumns().find(copa) == (("premise", "question"), ("choice1", "choice2"), "label")
    arc = ["id", "question", "A", "B", "C", "D", "answerKey"]
    assert ChoiceColumns().find(arc) == (("question",), ("A", "B", "C", "D"), "answerKey")
    with pytest.raises(DataError, match="no column of context or options among: a, label"):
        ChoiceColumns().find(["a", "label"])


def test_what_cannot_be_learnt_is_one_message(run: Path, tmp_path: Path):
    def train(name: str, found: list[dict[str, Any]], *more: str) -> Any:
        table = write(tmp_path / f"{name}.jsonl", found)
        begin = () if more == ("fresh",) else ("--init", BASE)
        return command("train", "--task", "choose", "--data", table, "--out", tmp_path / name, *begin)

    refused(train("fresh", rows(9), "fresh"), "choices are learnt by a pretrained encoder only")
    refused(train("same", [{**row, "label": 1} for row in rows(300)]), "the right option is always number 1")
    refused(train("one", [*rows(9), {**rows(1)[0], "choices": ["cat"]}]), "1 options", "one.jsonl:10")
    refused(train("empty", [{**rows(1)[0], "choices": ["cat", " "]}]), "an option without text", "empty.jsonl:1")
    refused(
        train("label", [*rows(9), {**rows(1)[0], "label": 7}]), "said to be '7', which is none of 3", "label.jsonl:10"
    )
    bad = write(tmp_path / "bad.jsonl", [{**rows(1)[0], "label": "x"}])
    refused(command("evaluate", run, "--data", bad), "said to be 'x'", "bad.jsonl:1")
    assert not (tmp_path / "label").exists()


def test_numbers_from_one_are_told_and_kept(tmp_path: Path):
    table = write(tmp_path / "t.csv", rows(60), first=1)
    done = command(
        "train", "--task", "choose", "--data", table, "--init", BASE, "--out", tmp_path / "run", "--set",
        "train.max_updates=1",
    )  # fmt: skip
    assert "the first numbered 1" in done.err
    assert load_package(tmp_path / "run").task.settings.first_number == 1
    out, own = tmp_path / "out.txt", ("evaluate", tmp_path / "run", "--data", table)
    assert command(*own, "-o", out).status == 0
    assert set(out.read_text().split()) <= {"1", "2", "3"}
    assert json.loads(command(*own, "--against", out, "--json").out)["against"]["accuracy_difference"] == 0
    assert [one.index(1) for one in open_choices(table).rows] == [row["label"] for row in rows(60)]
