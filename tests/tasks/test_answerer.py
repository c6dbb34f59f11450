import json
from pathlib import Path

import pytest
import torch

from onehop.data.questions import read_questions
from onehop.errors import DataError, LengthError
from onehop.tasks import load_package
from onehop.tasks.answering import Answerer
from tests.fixtures.asked import paragraphs, write_squad
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"
SETTINGS = ["train.max_updates=60", "train.evaluate_every=60", "train.learning_rate=0.01", "train.warmup=6"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    data = write_squad(folder / "a.json", paragraphs(100))
    flags = [flag for one in SETTINGS for flag in ("--set", one)]
    done = command("train", "--task", "answer", "--data", data, "--init", CHECKPOINT, "--out", folder / "run", *flags)
    assert done.status == 0, done.err
    return folder / "run"


@pytest.fixture(scope="module")
def model(run: Path) -> Answerer:
    return load_package(run, task="answer").task


def pairs(seed: int, count: int = 6) -> list[tuple[str, str]]:
    return [(one["question"], two["context"]) for two in paragraphs(count, seed) for one in two["qas"]]


def test_it_learns_to_answer_and_when_not_to_and_is_scored_and_verified(run: Path, tmp_path: Path):
    test = write_squad(tmp_path / "test.json", paragraphs(20, seed=7))
    out = tmp_path / "mine.jsonl"
    report = json.loads(command("evaluate", run, "--data", test, "--json", "-o", out).out)
    assert report["by_kind"]["unanswerable"]["f1"] > 0.9
    assert report["f1"] > 0.6
    assert report["exact"] <= report["f1"]
    assert report["threshold"] is not None
    again = json.loads(command("evaluate", run, "--data", test, "--json", "--against", out).out)
    assert (again["against"]["f1_difference"], again["against"]["p"]) == (0, 1)
    assert command("verify", run, "--data", test).status == 0
    lines = [json.loads(line) for line in command("predict", run, test).out.splitlines()]
    assert len(lines) == 60
    for line, question in zip(lines, read_questions(test), strict=True):
        if line["answer"]:
            assert question.context[line["start"] : line["end"]] == line["answer"]
        else:
            assert line["start"] is None
        assert 0 <= line["score"] <= 1


def test_a_question_alone_is_answered_as_beside_others(model: Answerer):
    asked = pairs(3)
    for pair, together in zip(asked, model.predict(asked), strict=True):
        alone = model.predict([pair])[0]
        assert (alone.answer, alone.start) == (together.answer, together.start)
        assert alone.score == pytest.approx(together.score, abs=1e-5)


def test_the_best_span_is_the_best_of_all_that_are_short_enough(model: Answerer):
    torch.manual_seed(1)
    longest = model.settings.text.longest_answer
    for size in (1, 2, 50):
        scores = torch.randn(size + 1, 2)
        spans = [(i, j) for i in range(1, size + 1) for j in range(i, min(size, i + longest - 1) + 1)]
        expected = max(spans, key=lambda ends: float(scores[ends[0], 0] + scores[ends[1], 1]))
        assert model.best(scores)[:2] == expected
    assert model.best(torch.zeros(1, 2))[2] == float("-inf")


def test_of_a_long_context_the_best_window_answers_and_offsets_are_of_the_whole(model: Answerer):
    question, context = pairs(4)[0]
    filler = "So it was. " * 60
    long = filler + context + " " + filler
    with pytest.raises(LengthError, match="longer than the model's limit"):
        model.predict([(question, long)])
    found = model.predict([(question, long)], long="window")[0]
    assert found.windows > 2
    assert found.answer == "" or long[found.start : found.end] == found.answer
    drop, cut = (model.predict([(question, long)], long=how)[0] for how in ("drop", "cut"))
    assert drop.dropped
    assert drop.start is None
    assert cut.cut > 0
    with pytest.raises(LengthError, match="leaves too little"):
        model.predict([(filler, context)], long="window")


def test_an_answer_that_is_not_in_its_context_is_one_message(tmp_path: Path):
    found = paragraphs(3)
    found[1]["qas"][0]["answers"][0]["answer_start"] += 1
    data = write_squad(tmp_path / "wrong.json", found)
    start = ("train", "--task", "answer", "--data", data, "--init", CHECKPOINT, "--out", tmp_path / "run")
    refused(command(*start), "does not stand at character", "wrong.json: question 1-0")
    assert not (tmp_path / "run").exists()
    (tmp_path / "bad.json").write_text('{"data": 3}')
    refused(command(*start[:4], tmp_path / "bad.json", *start[5:]), "no list of objects 'data'")
    good = write_squad(tmp_path / "good.json", paragraphs(3))
    refused(command("train", "--task", "answer", "--data", good, "--out", tmp_path / "run"), "--init CHECKPOINT")


def test_json_lines_of_either_form_are_read(tmp_path: Path):
    file = tmp_path / "a.jsonl"
    rows = [
        {"question": "Who?", "context": "Ada ran.", "answers": [{"text": "Ada", "answer_start": 0}]},
        {"question": "Who?", "context": "Ada ran.", "answers": {"text": ["Ada"], "answer_start": [0]}},
        {"question": "When?", "context": "Ada ran.", "answers": {"text": [], "answer_start": []}},
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    found = list(read_questions(file))
    assert [[one.text for one in each.answers or ()] for each in found] == [["Ada"], ["Ada"], []]


@pytest.mark.parametrize(
    "answers",
    [
        {"text": "Ada", "answer_start": 0},
        {"text": ["Ada"], "answer_start": 0},
        {"text": None, "answer_start": None},
        {"text": ["Ada", "ran"], "answer_start": [0]},
    ],
)
def test_answers_in_columns_of_unlike_length_or_that_are_no_lists_are_told_with_their_line(
    tmp_path: Path, answers: dict[str, object]
):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"question": "Who?", "context": "Ada ran.", "answers": answers}))
    with pytest.raises(DataError, match="no lists of one length") as error:
        list(read_questions(file))
    assert error.value.where == f"{file}:1"
