"""Every error that a user can cause is one message with place and remedy, status 2, and leaves nothing half-written."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from onehop.files import to_json
from onehop.train.recipe import to_toml
from tests.fixtures.tiny import no_file_larger_than, number_pairs, onehop, refused, tiny_recipe, write_pairs


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return an empty folder that is the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def recipe(here, pairs):
    """Return the file of a small recipe, which can be trained."""
    (here / "small.toml").write_text(to_toml(tiny_recipe(pairs)))
    return "small.toml"


def assert_no_run(folder: str = "run") -> None:
    assert not Path(folder).exists(), os.listdir(folder)


def wrote(name: str, text: str | bytes) -> str:
    Path(name).write_bytes(text.encode() if isinstance(text, str) else text)
    return name


# ------------------------------------------------------------------------------------------------ training: data


def test_a_missing_file(here):
    wrote("a.en", "One.\n")
    refused(onehop("train", "--source", "a.en", "--target", "b.de", "--out", "run"), "b.de: cannot read: No such file")
    assert_no_run()


def test_files_of_unequal_length_tell_both_counts_and_the_last_line_they_share(here):
    wrote("a.en", "One.\nTwo.\nThree.\n")
    wrote("a.de", "Eins.\nZwei.\n")
    result = onehop("train", "--source", "a.en", "--target", "a.de", "--out", "run")
    refused(result, "a.de:2", "a.en has 3 lines and a.de has 2", "come apart")
    assert_no_run()


@pytest.mark.parametrize("text", ["", "\n\n \n", "\t\n", "One.\t\n"])
def test_a_corpus_without_a_pair(here, text):
    result = onehop("train", "--pairs", wrote("empty.tsv", text), "--out", "run")
    refused(result, "empty.tsv: no pair with text on both sides", "Check that these are the files you meant.")
    assert_no_run()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("x.tsv", "One.\tEins.\nTwo.\n", ("x.tsv:2: one column where two are needed", "a tab")),
        ("x.jsonl", '{"source": "One."}\n', ("x.jsonl:1: no key 'target'", '"target": "Ein kleiner Hund."')),
        ("x.jsonl", '{"source": "One.", "target": 1}\n', ("x.jsonl:1: 'target' is a int, not a string",)),
        ("x.jsonl", "\nOne.\n", ("x.jsonl:2: not JSON",)),
        ("x.xls", "One.,Eins.\n", ("x.xls: the ending '.xls'", ".tsv")),
        ("x.csv", "One.;Eins.\n", ("x.csv:1: no two columns", "data.source_column")),
        ("x.tsv", "One.\tEins.\nFive.\tF\xfcnf.\n".encode("latin-1"), ("x.tsv:2: not UTF-8 (byte 0xfc", "iconv")),
        ("x.tsv", "One.\tEins.\n".encode("utf-16"), ("x.tsv:1: UTF-16 text", "iconv -f UTF-16")),
        (
            "x.tsv.gz",
            gzip.compress(b"One.\tEins.\n" * 99, mtime=0)[:-9],
            ("x.tsv.gz: damaged compressed data", "Copy the file"),
        ),
        ("x.tsv.zst", zstandard.compress(b"One.\tEins.\n" * 99)[:-9], ("x.tsv.zst: damaged compressed data",)),
        ("x.tsv.gz", b"One.\tEins.\n", ("x.tsv.gz: not a gzip file", "ending")),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_told_with_its_line(here, name, text, told):
    refused(onehop("train", "--pairs", wrote(name, text), "--out", "run"), *told)
    assert_no_run()


def test_a_validation_file_with_a_fault_is_told_like_a_training_file(here, pairs):
    result = onehop("train", "--pairs", pairs, "--valid-pairs", wrote("v.tsv", "One.\n"), "--out", "run")
    refused(result, "v.tsv:1: one column")
    assert_no_run()


def test_a_line_longer_than_the_limit_the_user_set(recipe):
    result = onehop("train", recipe, "--out", "run", "--set", "text.max_length=3")
    refused(result, "pairs.tsv:", "tokens is longer than the model's limit of 3", "--long")


def test_a_limit_that_leaves_no_pair(recipe):
    result = onehop("train", recipe, "--out", "run", "--set", "text.max_length=1", "--set", "text.long=drop")
    refused(result, "no pair is left to train on", "dropped", "Give a larger text.max_length")


# ------------------------------------------------------------------------------------------------ training: settings


def test_all_mistakes_of_a_recipe_come_at_once_with_the_nearest_names_and_before_the_data_is_read(here):
    text = """
    [data]
    pairs = ["none.tsv"]
    [trian]
    seed = 1
    [train]
    lerning_rate = 1
    seed = "one"
    [model]
    droput = 0.1
    dim = 0
    [decode]
    beam_size = 0
    """
    refused(
        onehop("train", wrote("r.toml", text), "--out", "run"),
        "r.toml: 6 mistakes in the settings",
        "trian: unknown key; did you mean 'train'?",
        "train.lerning_rate: unknown key; did you mean 'learning_rate'?",
        "train.seed: input should be a valid integer (given: 'one')",
        "model.droput: unknown key; did you mean 'dropout'?",
        "model.dim: input should be greater than or equal to 2 (given: 0)",
        "decode.beam_size: input should be greater than or equal to 1 (given: 0)",
    )
    assert_no_run()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("train.seed", ("--set 'train.seed' is not TABLE.KEY=VALUE", "--set train.seed=2")),
        ("train.sed=2", ("train.sed: unknown key; did you mean 'seed'?",)),
        ("train.seed=x", ("train.seed: input should be a valid integer (given: 'x')",)),
        (f"train.seed={2**63}", ("train.seed: input should be less than",)),
        ("train.betas=[0.9, 2.0]", ("betas=[0.9, 2.0] must lie in [0, 1)",)),
        ("model.preset=transformer-tinny", ("unknown preset 'transformer-tinny'", "did you mean 'transformer-tiny'?")),
        ("model.architecture=transfomer", ("unknown architecture 'transfomer'", "did you mean 'transformer'?")),
        ("model.num_heads=3", ("num_heads=3 must divide dim=16",)),
        ("evaluate.tokenize=13b", ("evaluate.tokenize: input should be '13a', 'char'",)),
        ("data.source=['a']", ("data: source and target go together",)),
    ],
)
def test_a_setting_that_cannot_be_used(recipe, setting, told):
    result = onehop("train", recipe, "--out", "run", "--set", setting)
    assert result.status == 2
    assert not [part for part in told if part not in result.err], result.err
    assert result.err.count("error: ") == 1
    assert_no_run()


def test_a_vocabulary_that_the_user_wrote_and_the_text_cannot_give_names_one_that_it_can(recipe):
    result = onehop("train", recipe, "--out", "run", "--set", "text.vocab_size=5000")
    refused(result, "text.vocab_size: the text gives no more than ", "pieces, not 5000", "leave it out")
    assert_no_run()
    size = int(result.err.split("no more than ")[1].split()[0])
    assert 300 <= size < 5000
    assert onehop("train", recipe, "--out", "run", "--set", f"text.vocab_size={size}").status == 0


def test_two_vocabularies_can_give_what_the_smaller_of_them_gives(recipe):
    settings = ["--set", "text.joint=false", "--set"]
    result = onehop("train", recipe, "--out", "run", *settings, "text.vocab_size=5000")
    size = int(result.err.split("no more than ")[1].split()[0])
    assert onehop("train", recipe, "--out", "run", *settings, f"text.vocab_size={size + 1}").status == 2
    assert onehop("train", recipe, "--out", "run", *settings, f"text.vocab_size={size}").status == 0


def test_a_text_too_small_for_any_vocabulary_of_the_users_is_told_to_leave_it_out(here):
    result = onehop("train", "--pairs", wrote("p.tsv", "a\tb\n" * 9), "--set", "text.vocab_size=300", "--out", "run")
    refused(result, "text.vocab_size: the text gives no more than ", "Leave it out")


def test_a_vocabulary_that_onehop_chose_shrinks_and_this_is_told(here, pairs):
    shape = ["model.dim=16", "model.num_heads=2", "model.num_encoder_layers=1", "model.num_decoder_layers=1"]
    settings = [part for each in [*shape, "train.max_updates=1", "decode.max_length=2"] for part in ("--set", each)]
    result = onehop("train", "--pairs", pairs, "--out", "run", *settings)
    assert result.status == 0
    assert "pieces; the text gives no more, 2,000 were planned" in result.err


def test_nothing_to_train_on_and_nowhere_to_put_it_and_both_ways_at_once(recipe, pairs):
    refused(onehop("train", "--out", "run"), "nothing to train on", "--pairs")
    refused(onehop("train", "--pairs", pairs), "--out", "Name a folder")
    refused(onehop("train", recipe, "--pairs", pairs, "--out", "run"), "a recipe and files", "leave the recipe out")
    refused(onehop("train", "none.toml", "--out", "run"), "none.toml: cannot read: No such file", "Check the path")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "cpu:7:7"])
def test_no_such_device(recipe, device):
    refused(onehop("train", recipe, "--out", "run", "--device", device), f"no such device: '{device}'", "Use ")
    assert_no_run()


# ------------------------------------------------------------------------------------------------ training: the folder


def test_a_folder_that_is_not_empty_stays_as_it_is_unless_it_is_moved_aside(recipe):
    Path("run").mkdir()
    wrote("run/thesis.txt", "precious")
    refused(onehop("train", recipe, "--out", "run"), "run: is not empty", "--resume", "--overwrite")
    refused(onehop("train", recipe, "--out", "run", "--resume"), "run: is not empty, and no run of Onehop")
    assert os.listdir("run") == ["thesis.txt"]
    assert onehop("train", recipe, "--out", "run", "--overwrite").status == 0
    assert os.listdir("run.1") == ["thesis.txt"]
    assert Path("run/model/onehop.json").is_file()
    assert onehop("train", recipe, "--out", "run", "--overwrite").status == 0
    assert Path("run.2/model/onehop.json").is_file()


def test_a_run_that_cannot_begin_leaves_what_was_to_be_overwritten(recipe):
    Path("run").mkdir()
    wrote("run/thesis.txt", "precious")
    assert onehop("train", recipe, "--out", "run", "--overwrite", "--set", "data.pairs=['none.tsv']").status == 2
    assert (os.listdir("run"), Path("run.1").exists()) == (["thesis.txt"], False)


def test_a_file_in_the_place_of_the_run(recipe):
    wrote("run", "")
    refused(onehop("train", recipe, "--out", "run"), "run: is a file", "Name a folder")
    refused(onehop("train", recipe, "--out", "run/deep"), "run/deep: cannot make the folder: Not a directory")


def test_a_folder_that_cannot_be_written(recipe):
    refused(onehop("train", recipe, "--out", "/proc/run"), "/proc/run: cannot make the folder", "Check the path")


def test_a_disk_that_is_full_when_the_model_is_written_leaves_no_half_of_it(recipe):
    with no_file_larger_than(12_000):
        result = onehop("train", recipe, "--out", "run")
    refused(result, "run/model: cannot write: File too large", "ulimit -f")
    assert sorted(os.listdir("run")) == ["log.jsonl", "recipe.toml", "run.json"]
    assert onehop("train", recipe, "--out", "run", "--resume").status == 0


def test_a_disk_that_is_full_when_a_checkpoint_is_written_leaves_the_one_before(recipe):
    settings = ["--set", "train.save_every=1", "--set", "train.keep=9"]
    assert onehop("train", recipe, "--out", "run", *settings).status == 0
    with no_file_larger_than(12_000):
        result = onehop("train", recipe, "--out", "run", "--resume", *settings, "--set", "train.max_updates=9")
    refused(result, "run/checkpoints/000003: cannot write: File too large", "Update 2 is safe; then go on with: onehop")
    assert sorted(os.listdir("run/checkpoints")) == ["000001", "000002"]


def test_a_disk_that_is_full_when_the_log_is_written(recipe):
    assert onehop("train", recipe, "--out", "run").status == 0
    os.remove("run/log.jsonl")
    shutil.rmtree("run/checkpoints")
    os.symlink("/dev/full", "run/log.jsonl")
    result = onehop("train", recipe, "--out", "run", "--resume")
    refused(result, "run/log.jsonl: cannot write: No space left on device", "The disk is full")


# ------------------------------------------------------------------------------------------------ models


@pytest.fixture
def copied(trained, here):
    """Return a copy of the package, to be damaged."""
    shutil.copytree(trained / "model", "model")
    return Path("model")


@pytest.mark.parametrize("verb", [["translate"], ["info"], ["evaluate", "--data", "none.tsv"]])
def test_what_is_no_model_is_told_by_every_verb(here, verb):
    verb = [part if part != "none.tsv" else wrote("p.tsv", "One.\tEins.\n") for part in verb]
    Path("empty").mkdir()
    refused(onehop(*verb[:1], "nowhere", *verb[1:]), "nowhere: no such model", "onehop train --out")
    refused(
        onehop(*verb[:1], "empty", *verb[1:]), "empty: not a model: there is neither onehop.json", "its model/ folder"
    )


def test_a_run_that_was_ended_before_its_first_model_says_how_to_go_on(recipe):
    with no_file_larger_than(12_000):
        onehop("train", recipe, "--out", "run")
    refused(onehop("info", "run"), "run: this run has no model yet", "onehop train --out run --resume")


def test_a_model_of_another_task(copied):
    manifest = json.loads((copied / "onehop.json").read_text())
    manifest.pop("sha256")
    manifest["task"] = "classification"
    manifest["sha256"] = hashlib.sha256(to_json(manifest).encode()).hexdigest()
    (copied / "onehop.json").write_text(to_json(manifest))
    refused(onehop("translate", "model"), "a model of the task 'classification', not 'translation'", "Name another")


@pytest.mark.parametrize("name", ["onehop.json", "model.safetensors", "tokenizer.json", "golden.jsonl"])
def test_a_package_with_a_changed_byte_or_a_missing_file_is_not_loaded(copied, name):
    whole = (copied / name).read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (copied / name).write_bytes(bytes(damaged))
        refused(onehop("info", "model"), f"model/{name}: ", "Copy the package again")
    (copied / name).unlink()
    gone = (
        "there is neither onehop.json nor config.json"
        if name == "onehop.json"
        else f"model/{name}: missing from the package"
    )
    refused(onehop("info", "model"), gone)


def test_the_card_may_be_edited_or_lost(copied):
    for text in (b"# Mine\n", b"\xff not UTF-8"):
        (copied / "MODEL_CARD.md").write_bytes(text)
        assert onehop("info", "model").status == 0
    (copied / "MODEL_CARD.md").unlink()
    assert onehop("info", "model").status == 0


# ------------------------------------------------------------------------------------------------ using a model


def test_a_line_that_is_too_long_is_told_before_the_first_output(trained, here):
    text = "One.\n" * 2500 + "One " * 300 + ".\n"
    result = onehop("translate", trained, wrote("in.txt", text), "-o", "out.txt")
    refused(result, "in.txt:2501: a line of ", "longer than the model's limit", "--long drop")
    assert not Path("out.txt").exists()
    refused(onehop("translate", trained, stdin=text.encode()), "standard input:2501: ")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--long", "shorten"], ("--long: unknown value 'shorten'", "Use error, drop, cut or window")),
        (["--long", "window", "--nbest", "2"], ("--nbest: candidates of the windows", "Leave out --nbest")),
        (["--device", "tpu9"], ("no such device: 'tpu9'", "--device cpu")),
        (["--beam", "65"], ("beam_size", "less than or equal to 64")),
        (["--nbest", "65"], ("beam_size", "less than or equal to 64")),
        (["none.txt"], ("none.txt: cannot read: No such file",)),
        (["."], (".: cannot read: Is a directory", "Name a file")),
        (["-o", "/proc/out.txt"], ("/proc/out.txt: cannot write",)),
        (["-o", "."], (".: cannot write: Is a directory", "Name a file")),
        (["-o", "/dev/full"], ("/dev/full: cannot write: No space left on device", "The disk is full")),
    ],
)
def test_translate_with_what_it_cannot_use(trained, here, options, told):
    refused(onehop("translate", trained, *options, stdin=b"One.\n"), *told)
    assert os.listdir() == []


def test_input_of_another_encoding_leaves_the_old_output(trained, here):
    wrote("out.txt", "old")
    result = onehop("translate", trained, wrote("in.txt", "One.\nF\xfcnf\n".encode("latin-1")), "-o", "out.txt")
    refused(result, "in.txt:2: not UTF-8", "iconv")
    assert (Path("out.txt").read_text(), sorted(os.listdir())) == ("old", ["in.txt", "out.txt"])


def test_evaluate_with_what_it_cannot_use(trained, here):
    one, two = wrote("one", "One.\n"), wrote("two", "Eins.\nZwei.\n")
    data = ["--source", one, "--reference", wrote("good", "Eins.\n")]
    refused(onehop("evaluate", trained), "nothing to evaluate on", "--data")
    refused(onehop("evaluate", trained, "--source", one), "nothing to evaluate on")
    refused(onehop("evaluate", trained, "--source", one, "--reference", two), "one: 1 lines, but 2 in two")
    refused(onehop("evaluate", trained, *data, "--against", two), "two: 2 lines, but 1 sources")
    refused(onehop("evaluate", trained, *data, "--against", "none"), "none: no such model")
    refused(onehop("evaluate", trained, *data, "--tokenize", "13b"), "unknown BLEU tokenizer", "did you mean '13a'?")
    refused(onehop("evaluate", trained, *data, "-o", "/proc/out"), "/proc/out: cannot write")
    refused(onehop("evaluate", trained, "--data", wrote("e.tsv", "")), "no lines")


# ------------------------------------------------------------------------------------------------ a real process


def test_standard_output_that_cannot_be_written_is_an_error_of_one_message(trained, here):
    pairs = write_pairs(here / "p.tsv", number_pairs(2))
    command = 'exec "$0" -c "from onehop.cli.main import main; main()" evaluate "$@" --json > /dev/full'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, trained, "--data", pairs], stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 2
    told, _, message = done.stderr.partition("error: ")
    assert "float32 on " in told  # what ran; it is told before anything is written
    assert message.count("\n") == 2
    assert message.startswith("output: cannot go on: No space left on device\n  The disk is full")
