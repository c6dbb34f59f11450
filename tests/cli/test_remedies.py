"""Messages are of Onehop: no words of Python, and remedies that can be done."""

import json
from io import BytesIO
from pathlib import Path

import pytest

from onehop.data.json_lines import parse_json
from onehop.data.questions import read_questions
from onehop.errors import ConfigError, DataError, ModelError
from onehop.files import decode_lines
from onehop.tasks import load_package
from onehop.text import train_bpe
from onehop.text.pretrained import read_tokenizer
from onehop.train import make_recipe, train
from tests.fixtures.labelled import reviews, write_reviews
from tests.train.test_look import lines_of

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"
SMALL = {"dim": 16, "hidden_dim": 16, "dropout": 0.0}


@pytest.mark.parametrize(
    ("text", "told"),
    [("[" * 100_000, "inside of each other, too deeply"), ('{"label": ' + "1" * 5_000 + "}", "more than 4,300 digits")],
)
def test_json_that_python_refuses_is_told_without_its_words(text: str, told: str, tmp_path: Path):
    with pytest.raises(DataError, match=told) as found:
        parse_json(text, "Mend it.")
    assert "sys." not in str(found.value)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=told):
        list(read_questions(tmp_path / "a.json"))


@pytest.mark.parametrize(("raw", "encoding"), [(b"Stra\xdfe\n", "ISO-8859-1"), (b"\xff\xfea\0\n\0", "UTF-16")])
def test_what_comes_through_a_pipe_is_converted_in_the_pipe(raw: bytes, encoding: str):
    with pytest.raises(DataError) as found:
        list(decode_lines(BytesIO(raw), "standard input"))
    assert f"| iconv -f {encoding} -t UTF-8 | onehop" in found.value.remedy
    with pytest.raises(DataError) as found:
        list(decode_lines(BytesIO(raw), "a.txt"))
    assert f"iconv -f {encoding} -t UTF-8 a.txt" in found.value.remedy
    with pytest.raises(DataError) as found:
        list(decode_lines(BytesIO(raw), "my own.txt"))
    assert f"iconv -f {encoding} -t UTF-8 'my own.txt'" in found.value.remedy


def test_a_tokenizer_that_lacks_a_part_is_told_by_its_name():
    data = json.loads(train_bpe(["a line of text"] * 2, 300).to_json())
    del data["normalizer"]["normalizers"]
    with pytest.raises(ModelError, match="not a tokenizer: it lacks 'normalizers'"):
        read_tokenizer(json.dumps(data))


def test_windows_of_texts_that_are_learnt_from_are_refused_with_the_reason(tmp_path: Path):
    file = write_reviews(tmp_path / "a.csv", reviews(20))
    for task in ("choose", "embed"):
        with pytest.raises(ConfigError, match=r"has no windows: .*use error, drop or cut"):
            make_recipe({"task": task, "data": {"train": [file]}, "text": {"long": "window"}})


@pytest.mark.parametrize("task", ["choose", "classify"])
def test_a_pretrained_encoder_may_read_less_than_it_can_and_no_more(task: str, tmp_path: Path):
    texts = list(dict.fromkeys(text for text, _ in reviews(30, sentences=1)))
    file = lines_of("choose", tmp_path / "a.jsonl", texts) if task == "choose" else ""
    file = file or write_reviews(tmp_path / "a.csv", reviews(30, sentences=1))
    most = load_package(CHECKPOINT).task.settings.text.max_length

    def made(length: int) -> object:
        learn = {"init": str(CHECKPOINT), "max_updates": 1}
        text = {"max_length": length, "long": "cut"}
        return make_recipe({"task": task, "data": {"train": [file]}, "text": text, "train": learn})

    train(made(most - 1), tmp_path / "run")  # type: ignore[arg-type]
    assert load_package(tmp_path / "run").task.settings.text.max_length == most - 1
    with pytest.raises(ConfigError, match=f"text.max_length = {most + 1}"):
        train(made(most + 1), tmp_path / "other")  # type: ignore[arg-type]
