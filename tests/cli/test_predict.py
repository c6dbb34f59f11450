import json
from pathlib import Path

import pytest

import onehop
from onehop.tasks import new_package, save_package
from tests.fixtures.labelled import classifier, reviews, write_reviews
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

ROWS = reviews(30, seed=4)
LONG = "The room was lovely. " * 12


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    save_package(new_package(classifier(), [text for text, _ in ROWS[:3]], ""), "model")
    write_reviews(tmp_path / "rooms.csv", ROWS)
    (tmp_path / "rooms.txt").write_text("".join(text + "\n" for text, _ in ROWS), "utf-8")
    return "model"


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_of_json_for_each_text_in_order_wherever_it_comes_from(model: str):
    expected = onehop.load_classifier(model).predict([text for text, _ in ROWS])
    by_file = rows(command("predict", model, "rooms.txt").out)
    assert [row["label"] for row in by_file] == [one.label for one in expected]
    assert rows(command("predict", model, "rooms.csv").out) == by_file
    assert rows(command("predict", model, stdin=Path("rooms.txt").read_bytes()).out) == by_file
    few = command("predict", model, "rooms.txt", "--chunk-size", "4", "-o", "out.jsonl")
    assert (few.status, few.raw) == (0, b"")
    assert [row["label"] for row in rows(Path("out.jsonl").read_text("utf-8"))] == [row["label"] for row in by_file]


def test_an_empty_text_has_no_label_and_is_told(model: str):
    result = command("predict", model, stdin=b"\nThe bed was warm.\n")
    assert [row["label"] is None for row in rows(result.out)] == [True, False]
    assert "1 texts are empty and have no label" in result.err


def test_a_long_text_is_an_error_before_any_output_or_what_was_asked_for(model: str):
    text = f"{ROWS[0][0]}\n{LONG}\n".encode()
    refused(command("predict", model, stdin=text), "standard input:2", "longer than the model's limit of 40")
    for long, told in (("drop", "left out"), ("cut", "cut"), ("window", "read in ")):
        result = command("predict", model, "--long", long, stdin=text)
        assert result.status == 0
        assert f"1 texts were too long and {told}" in result.err
        second = rows(result.out)[1]
        assert (second["dropped"], second["cut"] != 0, second["windows"] != 0) == (
            long == "drop", long == "cut", long == "window",
        )  # fmt: skip


def test_attention_tells_sentences_and_words_whose_weights_sum_to_one(model: str):
    result = command("predict", model, "--attention", stdin=b"The bed was warm. Our view was dark.\n")
    [row] = rows(result.out)
    sentences: list[dict[str, list[tuple[str, float]] | float]] = row["sentences"]  # type: ignore[assignment]
    assert len(sentences) == 2
    assert sum(one["weight"] for one in sentences) == pytest.approx(1, abs=1e-3)  # type: ignore[misc]
    for one, expected in zip(sentences, ["The bed was warm .", "Our view was dark ."], strict=True):
        words = one["words"]
        assert " ".join(word for word, _ in words if word) == expected  # type: ignore[union-attr]
        assert sum(weight for _, weight in words) == pytest.approx(1, abs=1e-3)  # type: ignore[union-attr]


def test_a_text_that_begins_with_a_sign_has_no_word_without_letters_before_it(model: str):
    [row] = rows(command("predict", model, "--attention", stdin=b". The bed was warm!\n").out)
    for one in row["sentences"]:  # type: ignore[attr-defined]
        *words, end = [word for word, _ in one["words"]]  # type: ignore[index]
        assert words
        assert all(words)
        assert end == ""  # the mark that ends a part


def test_attention_of_a_long_text_is_that_of_its_windows(model: str):
    [row] = rows(command("predict", model, "--attention", "--long", "window", stdin=LONG.encode()).out)
    assert sum(one["weight"] for one in row["sentences"]) == pytest.approx(1, abs=1e-2)  # type: ignore[attr-defined]


def test_a_pooling_without_weights_has_none_to_tell(model: str):
    save_package(new_package(classifier("recurrent", "mean"), [ROWS[0][0]], ""), "mean")
    refused(command("predict", "mean", "rooms.txt", "--attention"), "pools by 'mean'", "head.pooling")


def test_evaluation_tells_figures_labels_and_the_difference(model: str):
    save_package(new_package(classifier("recurrent"), [ROWS[0][0]], ""), "other")
    result = command("evaluate", model, "--data", "rooms.csv", "--against", "other")
    assert result.status == 0
    for part in ("accuracy", "macro F1", "always the most frequent label", "neither", "against other", "p < 0.001"):
        assert part in result.out
    values = json.loads(command("evaluate", model, "--data", "rooms.csv", "--json", "-o", "found.txt").out)
    found = Path("found.txt").read_text("utf-8").splitlines()
    right = sum(one == label for one, (_, label) in zip(found, ROWS, strict=True))
    assert values["accuracy"] == pytest.approx(right / len(ROWS), abs=1e-4)
    again = json.loads(command("evaluate", model, "--data", "rooms.csv", "--json", "--against", "found.txt").out)
    assert (again["against"]["accuracy_difference"], again["against"]["p"]) == (0, 1)


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        (("The bed was warm.", "fair"), ("rooms.csv:32", "the label 'fair'", "'bad', 'good', 'neither'")),
        (("  ", "good"), ("rooms.csv:32", "an empty text")),
        ((LONG, "good"), ("rooms.csv:32", "longer than the model's limit")),
    ],
)
def test_texts_that_cannot_be_scored_are_told_with_their_row(row: tuple[str, str], parts: tuple[str, ...], model: str):
    write_reviews(Path("rooms.csv"), [*ROWS, row])
    refused(command("evaluate", model, "--data", "rooms.csv"), *parts)


def test_options_of_another_task_are_refused(model: str, trained: Path):
    refused(command("evaluate", model, "--source", "rooms.txt", "--reference", "rooms.txt"), "--source says nothing to")
    refused(command("evaluate", trained, "--data", "rooms.csv", "--label-column", "x"), "--label-column says nothing")
    refused(command("predict", trained, "rooms.txt"), "a model of the task 'translation', not 'classify'")
    refused(command("train", "--data", "rooms.csv", "--out", "run"), "labelled texts without a task")
    refused(command("train", "--task", "classify", "--out", "run"), "nothing to train on", "--data")
    pairs = ("--data", "rooms.csv", "--pairs", "rooms.csv")
    result = command("train", "--task", "classify", *pairs, "--out", "run")
    assert (result.status, "data.pairs: unknown key" in result.err) == (2, True)


def test_info_and_export_know_a_classifier(model: str):
    told = command("info", model)
    assert told.status == 0
    for part in ("classify", "bad, good, neither", "pooling attention"):
        assert part in " ".join(told.out.split())
    values = json.loads(command("info", model, "--json").out)
    assert (values["task"], values["labels"], len(values["vocabularies"])) == (
        "classify",
        ["bad", "good", "neither"],
        1,
    )
    assert command("export", model, "small", "--precision", "int8").status == 0
    report = json.loads(command("verify", "small", "--against", model, "--json").out)
    assert report["passed"], report
    assert report["task"] == "classify"
