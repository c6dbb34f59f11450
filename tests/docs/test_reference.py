"""The reference names every key, option and field that there is, and none that is not."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import typer

import onehop.cli.quickstart
from onehop.cli.main import app
from onehop.cli.outputs import choice_line, set_line, tags_line
from onehop.config import Table
from onehop.data.alike import Alike
from onehop.data.choices import Choice
from onehop.data.tagged import Sentence
from onehop.evaluate import Given, evaluate_labels
from onehop.evaluate.choices import evaluate_choices
from onehop.evaluate.embedding import AlikeRows, evaluate_vectors
from onehop.evaluate.multilabel import evaluate_sets
from onehop.evaluate.tagging import evaluate_tags
from onehop.models.encoders import ENCODERS, encoder_family
from onehop.models.registry import architecture
from onehop.tasks import load_package, new_package, save_package
from onehop.tasks.answer_settings import AnswerHead
from onehop.tasks.classify_settings import HeadConfig
from onehop.tasks.settings import DecodeConfig
from onehop.tasks.tag_settings import TagHead
from onehop.train.answer_recipe import AnswerText, QuestionsConfig
from onehop.train.choosing_recipe import ChoicesConfig, ChooseText
from onehop.train.classify_recipe import ClassifyText, LabelledConfig
from onehop.train.embed_recipe import AlikeConfig, EmbedText, VectorConfig
from onehop.train.multilabel_recipe import MultilabelConfig
from onehop.train.pretrain_recipe import MaskConfig, PlainConfig, PlainText
from onehop.train.recipe import DataConfig, EvaluateConfig, TextConfig, TrainConfig
from onehop.train.tag_recipe import TaggedConfig, TagText
from tests.docs.pages import ROOT
from tests.fixtures.labelled import classifier, multilabeller, reviews
from tests.fixtures.tagged import meetings, tagger
from tests.fixtures.tiny import onehop as command

RECIPES, CLI, FILES = (ROOT / "docs" / page for page in ("how-to/recipes.md", "reference/cli.md", "reference/files.md"))

TABLES = {
    "data": DataConfig,
    "text": TextConfig,
    "model": architecture("transformer").config,
    "train": TrainConfig,
    "decode": DecodeConfig,
    "evaluate": EvaluateConfig,
}
OF_CLASSIFIERS = {"data": LabelledConfig, "text": ClassifyText, "head": HeadConfig}
OF_SETS = {"data": MultilabelConfig}
OF_TAGGERS = {"data": TaggedConfig, "text": TagText, "head": TagHead}
OF_ANSWERS = {"data": QuestionsConfig, "text": AnswerText, "head": AnswerHead}
OF_CHOICES = {"data": ChoicesConfig, "text": ChooseText}
OF_VECTORS = {"data": AlikeConfig, "text": EmbedText, "vector": VectorConfig}
OF_PRETRAINING = {"data": PlainConfig, "text": PlainText, "mask": MaskConfig}
OTHERS = {
    **{("Classifiers", name): config for name, config in OF_CLASSIFIERS.items()},
    **{("Multi-label", name): config for name, config in OF_SETS.items()},
    **{("Taggers", name): config for name, config in OF_TAGGERS.items()},
    **{("Answers", name): config for name, config in OF_ANSWERS.items()},
    **{("Choices", name): config for name, config in OF_CHOICES.items()},
    **{("Embedding", name): config for name, config in OF_VECTORS.items()},
    **{("Pretraining", name): config for name, config in OF_PRETRAINING.items()},
}
VERBS = {
    f"{name} {inner}" if inner else name: command
    for name, verb in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
    for inner, command in getattr(verb, "commands", {"": verb}).items()
}


def section(page: Path, heading: str) -> str:
    """Return what stands under a heading, up to the next one."""
    found = re.search(rf"^#+ +{re.escape(heading)}\s*$(.*?)(?=^#|\Z)", page.read_text("utf-8"), re.M | re.S)
    assert found, f"{page.name} has no section {heading}"
    return found[1]


def rows(text: str, first: str = "key") -> list[list[str]]:
    """Return the cells of every row of the tables whose first column is called `first`."""
    found: list[list[str]] = []
    for table in re.findall(rf"^\| {first} \|.*\n\|[-|]+\n((?:\|.*\n?)+)", text, re.M):
        found += [[cell.strip() for cell in row.strip("|").split(" |")] for row in table.strip().split("\n")]
    return found


def keys(text: str) -> list[str]:
    """Return the keys that the tables name in their first column."""
    return [key for row in rows(text) for key in re.findall(r"`(\w+)`", row[0])]


# ------------------------------------------------------------------------------------------------ recipes


@pytest.mark.parametrize("table", TABLES)
def test_every_recipe_key_is_explained_and_no_other(table: str):
    assert keys(section(RECIPES, f"`[{table}]`")) == list(TABLES[table].model_fields)


def test_every_key_of_the_recurrent_family_is_explained_with_its_default_and_its_values():
    config = architecture("recurrent").config
    found = rows(section(RECIPES, '`architecture = "recurrent"`'))
    assert [key.strip("`") for key, *_ in found] == list(config.model_fields)
    for name, (_, default, _, meaning) in zip(config.model_fields, found, strict=True):
        expected = config.model_fields[name].default
        assert (json.loads(default.strip("`")) if default else None) == expected, name
        for value in _choices(config.model_json_schema()["properties"][name]):
            assert f"`{value}`" in meaning or f'`"{value}"`' in default, f"{name}: {value}"


@pytest.mark.parametrize(("task", "table"), OTHERS)
def test_every_key_of_other_tasks_is_explained_with_its_default_and_its_values(task: str, table: str):
    config = OTHERS[task, table]
    text = section(RECIPES, f"{task}: `[{table}]`")
    shared = set(re.findall(r"`(\w+)`", text.split("| key |")[0]))
    assert {*keys(text), *shared} == set(config.model_fields)
    for key, default, _, meaning in rows(text):
        field = config.model_fields[key.strip("`")]
        expected = None if field.is_required() or field.default in ([], "") else field.default
        assert (json.loads(default.strip("`")) if default else None) == expected, key
        assert default or field.is_required() or re.search("chosen|none if left out|is held out", meaning), key
        for value in _choices(config.model_json_schema()["properties"][key.strip("`")]):
            assert f"`{value}`" in meaning, f"{table}.{key}: {value}"


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_setting_of_an_encoder_is_named_with_its_default(encoder: str):
    row = next(row for row in rows(section(RECIPES, "Classifiers: `[model]`"), "encoder") if row[0] == f"`{encoder}`")
    for name, field in encoder_family(encoder).config.model_fields.items():
        default = {"True": "true", "None": "as many"}.get(str(field.default), str(field.default).removesuffix(".0"))
        assert re.search(rf"`{name}` `?{re.escape(default)}\b", row[1]), name


@pytest.mark.parametrize("table", TABLES)
def test_the_defaults_are_those_of_the_recipe(table: str):
    fields = TABLES[table].model_fields
    for key, default, _, meaning in rows(section(RECIPES, f"`[{table}]`")):
        expected = fields[key.strip("`")].default
        if expected is None:
            assert not default
            assert re.search("chosen|none if left out|is held out", meaning), f"{key}: say how it is chosen"
        else:
            assert json.loads(default.strip("`")) == expected, key


@pytest.mark.parametrize("table", TABLES)
def test_every_value_that_a_name_may_have_is_given(table: str):
    config: type[Table] = TABLES[table]
    text = section(RECIPES, f"`[{table}]`")
    for key, row in zip(config.model_fields, rows(text), strict=True):
        for value in _choices(config.model_json_schema()["properties"][key]):
            assert f"`{value}`" in row[3] or f'`"{value}"`' in row[1], f"{table}.{key}: {value}"


def _choices(schema: Any) -> Iterable[str]:
    if isinstance(schema, dict):
        yield from [value for value in schema.get("enum", []) if isinstance(value, str)]
        for inner in schema.values():
            yield from _choices(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _choices(inner)


def test_the_presets_are_those_of_the_family():
    family = architecture("transformer")
    found = {row[0].strip("`"): row[1:] for row in rows(RECIPES.read_text("utf-8"), "preset")}
    assert list(found) == list(family.presets)
    for preset, cells in found.items():
        config: Any = family.config.model_validate(family.presets[preset])
        layers = f"{config.num_encoder_layers} + {config.num_decoder_layers}"
        values = [config.dim, config.ffn_dim, config.num_heads, layers, config.dropout]
        assert cells == list(map(str, values)), preset


# ------------------------------------------------------------------------------------------------ command line


def test_every_verb_has_a_section():
    headings = re.findall(r"^## `onehop (\w+(?: \w+)?)`$", CLI.read_text("utf-8"), re.M)
    assert sorted(headings) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained_and_no_other(verb: str):
    command: Any = VERBS[verb]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    expected = {name for option in options for name in [*option.opts, *option.secondary_opts]}
    found = {
        name for row in rows(section(CLI, f"`onehop {verb}`"), "option") for name in re.findall(r"`(-[\w-]+)`", row[0])
    }
    assert found == expected


@pytest.mark.parametrize("verb", VERBS)
def test_the_defaults_of_options_are_those_of_the_command(verb: str):
    command: Any = VERBS[verb]
    for row in rows(section(CLI, f"`onehop {verb}`"), "option"):
        name = re.findall(r"`(-[\w-]+)`", row[0])[0]
        option = next(p for p in command.params if name in p.opts)
        if option.default is not None and not isinstance(option.default, bool):
            assert row[1].strip("`") == str(option.default), f"{verb} {name}"


# ------------------------------------------------------------------------------------------------ files and JSON


@pytest.fixture(scope="module")
def printed(after_tutorial: Path) -> dict[str, Any]:
    """Return what each verb prints with `--json`, in one process for all."""
    calls = {
        "translate": ["translate", "runs/first", "one.en", "--json"],
        "evaluate": ["evaluate", "runs/first", "--source", "one.en", "--reference", "one.de", "--against", "one.de"],
        "info": ["info", "runs/first"],
        "verify": ["verify", "runs/first", "--data", "one.en"],
        "data check": ["data", "check", "--source", "my.en", "--target", "my.de"],
        "lab list": ["lab", "list"],
        "lab run": ["lab", "run", "L-04"],
        "doctor": ["doctor"],
    }
    for language in ("en", "de"):
        line = (after_tutorial / f"test.{language}").read_text("utf-8").splitlines()[0]
        (after_tutorial / f"one.{language}").write_text(line + "\n", encoding="utf-8")
    program = (
        "import sys, json\nfrom onehop.cli.main import app\n"
        "for call in json.loads(sys.argv[1]):\n    app(call, standalone_mode=False)\n    print('----', flush=True)\n"
    )
    words = [call if "--json" in call else [*call, "--json"] for call in calls.values()]
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(words)],
        cwd=after_tutorial,
        capture_output=True,
        text=True,
        check=True,
    )
    return {verb: json.loads(text) for verb, text in zip(calls, done.stdout.split("----\n"), strict=False)}


@pytest.mark.parametrize(
    "verb", ["translate", "evaluate", "info", "verify", "data check", "lab list", "lab run", "doctor"]
)
def test_every_key_that_json_prints_is_explained_and_no_other(verb: str, printed: dict[str, Any]):
    assert sorted(keys(section(FILES, f"`onehop {verb} --json`"))) == sorted(printed[verb])


def test_every_key_of_a_classifiers_report_and_predictions_is_explained(tmp_path: Path):
    model = classifier()
    text, label = reviews(1)[0]
    report = evaluate_labels(model, [text], [label], against=Given("other", ["bad"])).to_dict()
    of_report = rows(section(FILES, "Of a classifier"), "figure")
    named = [key for row in of_report for key in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(report)
    inside = {key: row[1] for row in of_report for key in re.findall(r"`(\w+)`", row[0])}
    assert set(report["against"]) == set(re.findall(r"`(\w+)`", inside["against"])) - {"better", "worse", "p"} | {
        "better", "worse", "p",
    }  # fmt: skip
    assert set(report["by_label"][0]) == set(re.findall(r"`(\w+)`", inside["by_label"]))
    save_package(new_package(model, [text], ""), tmp_path / "model")
    (tmp_path / "in.txt").write_text(text + "\n", "utf-8")
    line = json.loads(command("predict", tmp_path / "model", tmp_path / "in.txt", "--attention").out)
    assert sorted(line) == sorted(
        key for row in rows(section(FILES, "`onehop predict`"), "field") for key in re.findall(r"`(\w+)`", row[0])
    )


def test_every_key_of_a_multi_label_report_and_predictions_is_explained():
    model, text = multilabeller(), reviews(1)[0][0]
    report = evaluate_sets(model, [text], ['["bad"]'], against=Given("other", [("good",)])).to_dict()
    of_report = rows(section(FILES, "Of a multi-label classifier"), "figure")
    assert sorted(key for row in of_report for key in re.findall(r"`(\w+)`", row[0])) == sorted(report)
    inside = {key: set(re.findall(r"`(\w+)`", row[1])) for row in of_report for key in re.findall(r"`(\w+)`", row[0])}
    assert set(report["against"]) == inside["against"]
    assert set(report["by_label"][0]) == inside["by_label"]
    assert {"row", "where", "label", "given", "score"} == inside["mistakes"]
    line = json.loads(set_line(model.predict([text])[0]))
    of_classifiers = {
        key for row in rows(section(FILES, "`onehop predict`"), "field") for key in re.findall(r"`(\w+)`", row[0])
    }
    assert set(line) == of_classifiers - {"label", "abstained", "sentences"} | {"labels"}


def test_every_key_of_a_report_and_predictions_of_choices_is_explained():
    model = load_package(ROOT / "tests" / "fixtures" / "checkpoints" / "BertForMultipleChoice").task
    choice = Choice(("the cat",), ("sat", "ran"), "0")
    report = evaluate_choices(model, [choice], against=Given("other", [1])).to_dict()
    of_report = rows(section(FILES, "Of a model that chooses"), "figure")
    assert sorted(key for row in of_report for key in re.findall(r"`(\w+)`", row[0])) == sorted(report)
    inside = {key: set(re.findall(r"`(\w+)`", row[1])) for row in of_report for key in re.findall(r"`(\w+)`", row[0])}
    assert set(report["against"]) == inside["against"]
    text = section(FILES, "`onehop predict`").split("Of a model that chooses, the objects have")[1].split("\n\n")[0]
    assert set(json.loads(choice_line(model.predict([choice])[0]))) == set(re.findall(r"`(\w+)`", text))


def test_every_key_of_a_report_of_vectors_is_explained():
    model = load_package(ROOT / "tests" / "fixtures" / "checkpoints" / "BertModel").task
    of_report = rows(section(FILES, "Of a model that embeds"), "figure")
    told = {key for row in of_report for key in re.findall(r"`(\w+)`", row[0])}
    keys = set[str]()
    for scores in ((1.0, 2.0), (None, None)):
        table = AlikeRows([Alike(("the cat", "a cat"), scores[0]), Alike(("a dog", "the mat"), scores[1])])
        report = evaluate_vectors(model, table, against=Given("other", [1.0, 1.0])).to_dict()
        keys |= set(report)
        first = "spearman" if scores[0] else "mrr"
        assert {*report["against"]} >= {"name", "p", first, f"{first}_difference", "seconds", "drift", "lost"}
    assert told == keys


def test_every_key_of_a_taggers_report_and_predictions_is_explained(tmp_path: Path):
    model = tagger()
    words, labels = meetings(1)[0]
    report = evaluate_tags(model, [Sentence(tuple(words), tuple(labels), "")], against=Given("other", [tuple(labels)]))
    of_report = rows(section(FILES, "Of a tagger"), "figure")
    assert sorted(key for row in of_report for key in re.findall(r"`(\w+)`", row[0])) == sorted(report.to_dict())
    inside = {key: row[1] for row in of_report for key in re.findall(r"`(\w+)`", row[0])}
    assert set(report.to_dict()["against"]) < set(re.findall(r"`(\w+)`", inside["against"]))
    text = section(FILES, "`onehop predict`").split("Of a tagger, the objects have")[1].split("\n\n")[0]
    line = json.loads(tags_line(model.predict([words])[0]))
    assert set(line) | {"label", "start", "end", "text"} == set(re.findall(r"`(\w+)`", text))


@pytest.mark.parametrize("key", ["against", "by_length"])
def test_the_keys_inside_the_report_are_named(key: str, printed: dict[str, Any]):
    value = printed["evaluate"][key]
    row = next(row for row in rows(section(FILES, "`onehop evaluate --json`")) if f"`{key}`" in row[0])
    assert set(value[0] if isinstance(value, list) else value) == set(re.findall(r"`(\w+)`", row[1]))


def test_the_keys_of_a_check_are_named(printed: dict[str, Any]):
    row = next(row for row in rows(section(FILES, "`onehop verify --json`")) if "`checks`" in row[0])
    assert set(printed["verify"]["checks"][0]) == set(re.findall(r"`(\w+)`", row[1]))


def test_the_candidates_of_a_translation_are_named(printed: dict[str, Any]):
    row = next(row for row in rows(section(FILES, "`onehop translate --json`")) if "`sentences`" in row[0])
    assert set(printed["translate"]["sentences"][0][0]) == set(re.findall(r"`(\w+)`", row[1]))


@pytest.mark.parametrize(
    ("heading", "file"),
    [
        ("`run.json`", "run.json"),
        ("`progress.json`", "checkpoints/000400/progress.json"),
        ("`onehop.json`", "model/onehop.json"),
    ],
)
def test_every_key_of_a_file_is_explained_and_no_other(heading: str, file: str, after_tutorial: Path):
    assert sorted(keys(section(FILES, heading))) == sorted(
        json.loads((after_tutorial / "runs/first" / file).read_text())
    )


def test_every_key_of_a_golden_line_is_explained(after_tutorial: Path):
    line = (after_tutorial / "runs/first/model/golden.jsonl").read_text("utf-8").splitlines()[0]
    assert sorted(keys(section(FILES, "`golden.jsonl`"))) == sorted(json.loads(line))


def test_every_key_of_the_log_is_explained(after_tutorial: Path):
    log = [json.loads(line) for line in (after_tutorial / "runs/first/log.jsonl").read_text("utf-8").splitlines()]
    first = {row["kind"]: row for row in reversed(log)}
    text = section(FILES, "`log.jsonl`")
    updates, evaluations = text.split("Rows of the kind `evaluation`")
    evaluations, truncations = evaluations.split("Rows of the kind `truncation`")
    assert sorted(keys(updates)) == sorted(first["update"])
    assert sorted(keys(evaluations)) == sorted(first["evaluation"])
    assert sorted(keys(truncations)) == sorted(
        {*first["truncation"], "corpora", "by_label"}
    )  # of several files, and of labels


def test_every_key_of_the_quickstarts_report_is_explained():
    source = inspect.getsource(onehop.cli.quickstart.quickstart)
    written = re.findall(r'^ +"(\w+)":', source, re.M)
    assert written
    assert sorted(keys(section(FILES, "`report.json`"))) == sorted(written)


def test_the_files_of_a_run_and_a_package_are_those_that_are_there(after_tutorial: Path):
    for heading, folder in (("A run", "runs/first"), ("A package", "runs/first/model")):
        listed = set(re.findall(r"^  ([\w.]+)", section(FILES, heading), re.M))
        there = {path.name for path in (after_tutorial / folder).iterdir()}
        assert listed - {"report.json"} == there
