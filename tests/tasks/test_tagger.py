import json
from pathlib import Path

import pytest
import torch

import onehop
from onehop.errors import LengthError, ModelError
from onehop.metrics.schemes import is_legal
from onehop.tasks import convert, load_package, new_package, save_package
from onehop.tasks.tagging import Tagger
from onehop.tasks.wordwise import joined_words
from tests.fixtures.tagged import LABELS, meetings, tagger, write_conll
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

SENTENCES = [words for words, _ in meetings(12, seed=5)]
TEXTS = [joined_words(words) for words in SENTENCES]
LONG = [word for words in SENTENCES for word in words]
CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "checkpoints"
SHORT = ["--set", "train.max_updates=3", "--set", "train.evaluate_every=3"]


@pytest.fixture(params=["recurrent", "transformer", "bert"])
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("crf", [False, True])
def test_saved_loaded_saved_is_the_same_bytes_and_labels_are_the_same(architecture: str, crf: bool, tmp_path: Path):
    package = new_package(tagger(architecture, crf=crf), TEXTS[:4], "# A tagger")
    assert len(package.golden) == 4
    for precision in ("float32", "int8"):
        save_package(convert(package, precision), tmp_path / precision)
        loaded = load_package(tmp_path / precision)
        save_package(loaded, tmp_path / "again")
        for file in (tmp_path / precision).iterdir():
            assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
        assert loaded.task.predict(SENTENCES[:2]) == onehop.load(tmp_path / "again").predict(SENTENCES[:2])
    assert json.loads((tmp_path / "int8/onehop.json").read_text())["labels"] == LABELS


@pytest.mark.parametrize("crf", [False, True])
def test_a_sentence_alone_is_labelled_as_beside_others_and_always_legally(architecture: str, crf: bool):
    model = tagger(architecture, crf=crf)
    for words, one in zip(SENTENCES, model.predict(SENTENCES), strict=True):
        alone = model.predict([words])[0]
        assert alone.labels == one.labels
        assert alone.scores == pytest.approx(one.scores, abs=1e-5)
        assert is_legal([label or "" for label in one.labels], "bio")
        assert len(one.labels) == len(words)


def test_the_state_of_a_words_first_piece_decides_its_label():
    model = tagger("bert")
    words = ["Emmy", "unheard-of", "."]
    [pieces] = model.documents.pieces([model_words(model, words)])
    assert [len(one) > 1 for one in pieces][1]
    [row] = model.encode([words])
    bare = [token - model.documents.offset if token >= model.documents.offset else token for token in row]
    states = model.model.encoder.encode(onehop.nn.Source(torch.tensor([[*bare, 2]]))).states[0]
    first = [0, len(pieces[0]), len(pieces[0]) + len(pieces[1])]
    expected = model.model.output(states[first]).log_softmax(-1)
    assert torch.allclose(model.emissions([row])[0], expected, atol=1e-5)


def model_words(model: Tagger, words: list[str]):
    from onehop.tasks.wordwise import as_words

    return as_words(words, model.settings.text.words)


def test_offsets_are_those_of_the_text_whatever_is_in_it():
    model = tagger()
    for text in ("Ada  met\tGrace (in Paris).", "  ", "x\x00y é́ 😀, \ud800 z", "日本、Rome"):
        found = model.predict([text])[0]
        assert [text[start:end] for start, end in found.words.offsets] == list(found.words.words)
        assert len(found.labels) == len(found.words.words)


def test_a_long_sentence_is_an_error_or_what_was_asked_for():
    model = tagger(max_length=20)
    with pytest.raises(LengthError, match="longer than the model's limit of 20") as caught:
        model.predict([["Ada", "."], LONG], where="a.conll")
    assert caught.value.where == "a.conll:2"
    drop, cut, window = (model.predict([LONG], long=long)[0] for long in ("drop", "cut", "window"))
    assert drop.dropped
    assert set(drop.labels) == {None}
    assert cut.cut > 0
    assert cut.labels[0] is not None
    assert cut.labels[-1] is None
    assert window.windows > 2
    assert None not in window.labels
    assert is_legal([label or "" for label in window.labels], "bio")


def test_golden_lines_tell_weights_that_changed(tmp_path: Path):
    package = new_package(tagger(), TEXTS[:4], "")
    with torch.no_grad():
        package.task.model.output.bias.add_(torch.tensor([0.5, 0, 0, 0, 0]))
    save_package(package, tmp_path / "model")
    with pytest.raises(ModelError, match="of word 1 has"):
        load_package(tmp_path / "model")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tagged")
    file = write_conll(folder / "a.conll", meetings(200))
    settings = [
        "model.dim=32",
        "model.hidden_dim=32",
        "train.max_updates=60",
        "train.evaluate_every=60",
        "head.crf=true",
    ]
    flags = [flag for one in [*settings, "train.learning_rate=0.03"] for flag in ("--set", one)]
    done = command("train", "--task", "tag", "--data", file, "--out", folder / "run", *flags)
    assert done.status == 0, done.err
    return folder / "run"


def test_a_tagger_from_scratch_learns_is_scored_and_verified(run: Path, tmp_path: Path):
    test = write_conll(tmp_path / "test.conll", meetings(40, seed=9))
    report = json.loads(command("evaluate", run, "--data", test, "--json", "-o", tmp_path / "mine.jsonl").out)
    assert report["f1"] > 0.9
    assert report["f1_interval"][0] <= report["f1"] <= report["f1_interval"][1]
    assert {one["label"] for one in report["by_label"]} == {"person", "place"}
    same = json.loads(command("evaluate", run, "--data", test, "--json", "--against", tmp_path / "mine.jsonl").out)
    assert same["against"]["p"] == 1
    assert command("verify", run, "--data", test).status == 0
    text = "Ada met Alan Turing in New York."
    (tmp_path / "in.txt").write_text(text + "\n\n")
    lines = [json.loads(line) for line in command("predict", run, tmp_path / "in.txt").out.splitlines()]
    assert [(one["label"], one["text"]) for one in lines[0]["spans"]] == [
        ("person", "Ada"), ("person", "Alan Turing"), ("place", "New York"),
    ]  # fmt: skip
    assert all(text[one["start"] : one["end"]] == one["text"] for one in lines[0]["spans"])
    assert lines[1]["words"] == []
    assert len(command("predict", run, test).out.splitlines()) == 40


def test_a_label_that_the_model_does_not_know_is_one_message_with_its_line(run: Path, tmp_path: Path):
    file = tmp_path / "x.conll"
    file.write_text("Ada\tB-person\n\nmet\tB-animal\n")
    refused(command("evaluate", run, "--data", file), "the label 'B-animal'", "x.conll:3")


def test_a_run_begins_with_a_pretrained_encoder_divides_what_is_long_and_can_be_resumed(tmp_path: Path):
    rows = [*meetings(40), (LONG * 3, [label for _, labels in meetings(12, seed=5) for label in labels] * 3)]
    file = write_conll(tmp_path / "a.conll", rows)
    start = ["train", "--task", "tag", "--data", file, "--init", CHECKPOINTS / "BertModel", "--out", tmp_path / "run"]
    done = command(*start, *SHORT)
    assert done.status == 0, done.err
    assert "tokens divided into" in done.err
    record = json.loads((tmp_path / "run/model/onehop.json").read_text())["record"]["truncation"]["train"]
    assert (record["policy"], record["affected"], record["tokens"]) == ("window", 1, 0)
    more = command(*start, *SHORT[2:], "--set", "train.max_updates=5", "--resume")
    assert more.status == 0, more.err
    again = command("train", tmp_path / "run/recipe.toml", "--init", tmp_path / "run", "--out", tmp_path / "two")
    assert again.status == 0, again.err
    apart = command(*start, *SHORT, "--set", "train.packing=false", "--overwrite")
    assert apart.status == 0, apart.err
