"""A student learns from what its teacher writes: all of it, once, by this teacher alone, however often it stopped."""

import json
from pathlib import Path
from typing import Any

import pytest

import onehop as library
from onehop.errors import ConfigError
from onehop.tasks.weights import weights
from onehop.train import distill as exported
from onehop.train.distillation import OF, VALIDATION, WRITTEN, distill, fingerprint
from tests.fixtures.tiny import number_pairs, onehop, tiny_recipe, write_pairs

STUDENT = [
    f"--set={setting}"
    for setting in (
        "train.max_updates=2", "train.batch_tokens=100", "text.vocab_size=300", "model.dim=16", "model.ffn_dim=24",
        "model.num_heads=2", "model.num_encoder_layers=1", "model.num_decoder_layers=1", "decode.max_length=4",
    )
]  # fmt: skip


@pytest.fixture
def teacher(trained: Path) -> Any:
    return library.load(trained)


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_each_source_is_translated_once_and_validation_stays_what_people_wrote(teacher: Any, tmp_path: Path):
    people = number_pairs(60)
    pairs = write_pairs(tmp_path / "pairs.tsv", [*people, *people[:20]])
    recipe = tiny_recipe(pairs)
    student = distill(teacher, recipe, tmp_path / "text", tell=lambda text: None)
    written, valid = rows(tmp_path / "text" / WRITTEN), rows(tmp_path / "text" / VALIDATION)
    sources = [row["source"] for row in written]
    assert sorted([*sources, *(row["source"] for row in valid)]) == sorted({source for source, _ in people})
    expected = teacher.translate(sources, split=False)
    assert [row["target"] for row in written] == [found.text for found in expected]
    assert all((row["source"], row["target"]) in people for row in valid)
    assert student.data.pairs == [str(tmp_path / "text" / WRITTEN)]
    assert student.data.valid_pairs == [str(tmp_path / "text" / VALIDATION)]
    assert (student.data.source_language, student.model) == ("en", recipe.model)


def test_what_was_stopped_goes_on_and_comes_out_the_same(teacher: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onehop.train.distillation.CHUNK", 10)
    recipe = tiny_recipe(write_pairs(tmp_path / "pairs.tsv", number_pairs(60)))
    distill(teacher, recipe, tmp_path / "whole", tell=lambda text: None)
    asked: list[int] = []
    translate = type(teacher).translate

    def failing(self: Any, lines: list[str], *args: Any, **rest: Any) -> Any:
        asked.append(len(lines))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return translate(self, lines, *args, **rest)

    monkeypatch.setattr(type(teacher), "translate", failing)
    with pytest.raises(KeyboardInterrupt):
        distill(teacher, recipe, tmp_path / "parts", tell=lambda text: None)
    assert not (tmp_path / "parts" / WRITTEN).exists()
    distill(teacher, recipe, tmp_path / "parts", tell=lambda text: None)
    again = len(asked)
    distill(teacher, recipe, tmp_path / "parts", tell=lambda text: None)
    assert len(asked) == again  # what is whole is not translated anew
    for name in (WRITTEN, VALIDATION, OF):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == sorted((WRITTEN, VALIDATION, OF))


def test_the_text_of_another_teacher_search_or_corpus_is_refused(teacher: Any, tmp_path: Path):
    recipe = tiny_recipe(write_pairs(tmp_path / "pairs.tsv", number_pairs(30)))
    folder = tmp_path / "text"
    distill(teacher, recipe, folder, tell=lambda text: None)
    other = tiny_recipe(write_pairs(tmp_path / "others.tsv", number_pairs(30, seed=2)))
    with pytest.raises(ConfigError, match="of another text"):
        distill(teacher, other, folder, tell=lambda text: None)
    greedy = teacher.settings.decode.model_copy(update={"beam_size": 1})
    with pytest.raises(ConfigError, match="of another way to search"):
        distill(teacher, recipe, folder, greedy, tell=lambda text: None)
    before = fingerprint(teacher)
    next(iter(weights(teacher.model).values())).add_(1e-3)
    assert fingerprint(teacher) != before
    with pytest.raises(ConfigError, match="of another teacher"):
        distill(teacher, recipe, folder, tell=lambda text: None)


def test_what_the_teacher_cannot_read_or_end_is_left_out_and_counted(teacher: Any, tmp_path: Path):
    pairs = write_pairs(tmp_path / "pairs.tsv", [*number_pairs(30), ("One " * 500, "Eins"), ("Two " * 400, "Zwei")])
    told: list[str] = []
    short = teacher.settings.decode.model_copy(update={"max_length": 4})
    recipe = tiny_recipe(pairs, data={"valid_pairs": [write_pairs(tmp_path / "valid.tsv", number_pairs(5, 3))]})
    distill(teacher, recipe, tmp_path / "text", short, tell=told.append)
    counts = json.loads((tmp_path / "text" / OF).read_text("utf-8"))["counts"]
    assert counts["long"] == 2
    assert counts["endless"] > 0
    assert len(rows(tmp_path / "text" / WRITTEN)) == counts["sources"] - counts["long"] - counts["endless"]
    assert f"left out 2 too long for the teacher, {counts['endless']} without an end" in told[-1]


@pytest.mark.parametrize("key", ["tags", "weights"])
def test_tags_and_weights_are_refused(teacher: Any, tmp_path: Path, key: str):
    value = {"tags": ["a"], "weights": [2.0]}[key]
    recipe = tiny_recipe(write_pairs(tmp_path / "pairs.tsv", number_pairs(30)), data={key: value})
    with pytest.raises(ConfigError, match=f"data.{key} with a teacher"):
        exported(teacher, recipe, tmp_path / "text", tell=lambda text: None)


def test_one_command_makes_a_student_that_translates(trained: Path, tmp_path: Path):
    pairs, out = write_pairs(tmp_path / "pairs.tsv", number_pairs(40)), tmp_path / "student"
    result = onehop("distill", trained, "--pairs", pairs, "--out", out, *STUDENT)
    assert result.status == 0, result.err
    assert "sources with what the teacher makes of them" in result.err
    assert (tmp_path / "student.text" / WRITTEN).is_file()
    student = library.load(out)
    assert student.translate(["One Two."])
    assert student.settings.source_language == "en"
    refused = onehop("distill", trained, "--pairs", pairs, "--out", out, *STUDENT)
    assert (refused.status, "go on with --resume" in refused.err) == (2, True)
    assert onehop("distill", trained, "--pairs", pairs, *STUDENT).status == 2
