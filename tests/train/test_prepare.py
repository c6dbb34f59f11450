import json
import os
import re

import pytest
import torch

import onehop
from onehop.errors import ConfigError
from onehop.files import Run
from onehop.tasks.package import weights
from onehop.train import Silent, objective, train
from onehop.train.choose import POST_NORM_WARMUP
from onehop.train.prepare import prepare
from onehop.train.size import PLANS
from tests.fixtures.tiny import log_rows, number_pairs, tiny_recipe, write_pairs


class Heard(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def tell(self, text):
        self.told.append(text)


def prepared(recipe, folder):
    heard = Heard()
    result = prepare(recipe, folder, heard.tell)
    result.batches.close()
    return result, heard.told


def test_everything_that_the_recipe_leaves_open_is_filled_in_and_told_with_its_reason(pairs, tmp_path):
    from onehop.train import make_recipe

    result, told = prepared(make_recipe({"data": {"pairs": [pairs]}}), tmp_path)
    recipe, plan = result.recipe, PLANS[0]
    assert {**recipe.model, **plan.model} == recipe.model
    assert (recipe.train.batch_tokens, recipe.train.warmup) == (plan.batch_tokens, POST_NORM_WARMUP[1])
    assert recipe.train.learning_rate
    assert recipe.train.max_updates
    assert (recipe.text.max_length, recipe.text.long) == (result.translator.settings.text.max_length, "drop")
    assert plan.why in "\n".join(told)


def test_what_the_recipe_says_stays(pairs, tmp_path):
    recipe = tiny_recipe(pairs, text={"max_length": 40, "long": "cut"})
    result, _ = prepared(recipe, tmp_path)
    assert result.recipe.train == recipe.train
    assert result.recipe.text == recipe.text
    assert {**result.recipe.model, **recipe.model} == result.recipe.model


def test_auto_takes_the_plan_and_puts_single_keys_over_it(pairs, tmp_path):
    result, _ = prepared(tiny_recipe(pairs, model={"preset": "auto"}), tmp_path)
    assert (result.recipe.model["dim"], result.recipe.model["dropout"]) == (16, PLANS[0].model["dropout"])
    with pytest.raises(ConfigError, match="num_heads=3 must divide dim=16"):
        prepared(tiny_recipe(pairs, model={"preset": "auto", "num_heads": 3}), tmp_path)


def test_pairs_that_are_held_out_train_neither_the_model_nor_the_vocabulary(tmp_path):
    rows = number_pairs(60)
    pairs = write_pairs(tmp_path / "p.tsv", rows)
    result, _ = prepared(tiny_recipe(pairs), tmp_path)
    held = {pair.source for pair in result.validation}
    assert held
    assert result.num_pairs == sum(source not in held for source, _ in rows)
    trained = write_pairs(tmp_path / "t.tsv", [row for row in rows if row[0] not in held])
    valid = write_pairs(tmp_path / "v.tsv", [tuple(pair) for pair in result.validation])
    given, _ = prepared(tiny_recipe(trained, data={"valid_pairs": [valid]}), tmp_path)
    assert given.translator.source_tokenizer.to_json() == result.translator.source_tokenizer.to_json()
    assert given.validation == result.validation


def test_validation_on_the_training_text_itself_is_allowed(pairs, tmp_path):
    result, told = prepared(tiny_recipe(pairs, data={"valid_pairs": [pairs]}), tmp_path)
    assert (len(result.validation), result.num_pairs) == (60, 60)
    assert "60 for validation (from your validation files)" in told[0]


def test_lines_of_several_sentences_make_a_model_that_does_not_split(tmp_path):
    rows = [(f"{source} And so on. The end.", target) for source, target in number_pairs(60)]
    settings = prepared(tiny_recipe(write_pairs(tmp_path / "p.tsv", rows)), tmp_path)[0].translator.settings
    assert not settings.text.sentences


def test_text_of_json_with_lone_surrogates_and_line_ends_is_trained_on_and_kept_in_the_package(tmp_path):
    rows = [
        {"source": f"{a}\n\ud800\u2028{i}", "target": f"{b}\r\udfff\0"} for i, (a, b) in enumerate(number_pairs(40))
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train(tiny_recipe(str(tmp_path / "p.jsonl")), tmp_path / "run")
    sources = {line["source"] for line in onehop.tasks.load_package(tmp_path / "run").golden}
    assert sources < {row["source"] for row in rows}


def test_a_corpus_too_small_for_validation_trains_and_keeps_its_last_model(tmp_path):
    pairs = write_pairs(tmp_path / "p.tsv", [("One Two One Two.", "Eins Zwei Eins Zwei.")] * 2)
    train(tiny_recipe(pairs, text={"vocab_size": None}), tmp_path / "run")
    last = onehop.load(tmp_path / "run")
    assert [(row["update"], row["best"]) for row in log_rows(tmp_path / "run") if row["kind"] == "evaluation"] == [
        (2, True)
    ]
    assert torch.isfinite(torch.cat([p.flatten() for p in weights(last.model).values()])).all()


def test_an_update_without_a_finite_gradient_is_left_out_told_and_logged_as_json(pairs, tmp_path, monkeypatch):
    count = 0
    loss_sum = objective.loss_sum

    def sometimes(*args):
        nonlocal count
        count += 1
        return loss_sum(*args) * (float("nan") if count == 5 else 1.0)  # three calls measure memory and operations

    monkeypatch.setattr(objective, "loss_sum", sometimes)
    heard = Heard()
    recipe = tiny_recipe(pairs, train={"max_updates": 3, "save_every": 1, "keep": 9})
    train(recipe, tmp_path / "run", listener=heard)
    first, second, third = (
        (folder / "weights.safetensors").read_bytes() for folder in Run(tmp_path / "run").saved()
    )  # fmt: skip
    assert first == second != third
    (told,) = [
        text for text in heard.told if text.startswith("update 2: the gradient is not finite; skipped; its lines: ")
    ]
    named = told.split("its lines: ")[1].split(" and ")[0].split(", ")
    assert all(re.fullmatch(rf"{re.escape(pairs)}:\d+", place) for place in named)
    (noted,) = [row["text"] for row in log_rows(tmp_path / "run") if row["kind"] == "note"]
    assert [os.path.basename(place) for place in named] == [
        os.path.basename(place) for place in noted.split("its lines: ")[1].split(", ")[: len(named)]
    ]
    assert str(tmp_path) not in noted
    rows = [row for row in log_rows(tmp_path / "run") if row["kind"] == "update"]
    assert [(row["skipped"], row["loss"] is None) for row in rows] == [(False, False), (True, True), (False, False)]
    assert "NaN" not in (tmp_path / "run/log.jsonl").read_text()


def test_the_package_itself_can_be_called_to_train(pairs, tmp_path):
    from onehop.train.recipe import to_toml

    (tmp_path / "r.toml").write_text(to_toml(tiny_recipe(pairs)))
    ended = onehop.train(tmp_path / "r.toml", tmp_path / "run")
    assert (ended.model, ended.progress.finished) == (tmp_path / "run/model", "max_updates")
    assert onehop.load(ended.model).task == "translation"


@pytest.mark.parametrize(
    ("norm", "updates", "expected"),
    [("pre", 100, 200), ("post", 20_000, 2_000), ("post", 7_000, 1_000), ("post", 2_000, 400), ("post", 500, 200)],
)
def test_post_norm_warms_up_longer_unless_the_run_is_short(pairs, tmp_path, norm, updates, expected):
    recipe = tiny_recipe(pairs, model={"norm": norm}, train={"warmup": None, "max_updates": updates})
    result, _ = prepared(recipe, tmp_path)
    assert result.recipe.train.warmup == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_the_precision_auto_is_what_the_device_is_fast_at_and_is_recorded(
    pairs, tmp_path, monkeypatch, native, expected
):
    monkeypatch.setattr("onehop.train.choose.multiplies_bfloat16", lambda kind: native)
    result, told = prepared(tiny_recipe(pairs, train={"precision": "auto"}), tmp_path)
    assert result.recipe.train.precision == expected
    assert any(line.startswith(f"precision: {expected}") for line in told)


def test_settings_that_change_nothing_are_told(pairs, tmp_path):
    recipe = tiny_recipe(pairs, model={"rotary_factor": 2.0}, train={"reinforce_reward": 2.0})
    _, told = prepared(recipe, tmp_path)
    assert "settings: rotary_factor=2.0 has no effect without positions='rotary'" in told
    assert [line for line in told if "reinforce_reward=2.0 has no effect" in line]
