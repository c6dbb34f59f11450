"""Checkpoints of `transformers` as tasks, and back; and what is refused."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import onehop
from onehop.errors import ModelError
from onehop.tasks import hub, load_package, save_package
from onehop.tasks.foreign import save_checkpoint
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

FOLDER = Path(__file__).parents[1] / "fixtures" / "checkpoints"
TEXTS = ["The cat sat on the mat.", "a dog ran", "", "big red mat, small rug!"]
WHOLE = "model.safetensors"


def copied(name: str, folder: Path) -> Path:
    shutil.copytree(FOLDER / name, folder / name)
    (folder / name / "expected.safetensors").unlink()
    return folder / name


def configure(folder: Path, **changes: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    tensors = load_file(folder / WHOLE)
    change(tensors)
    save_file(tensors, folder / WHOLE)
    return folder


def fails(folder: Path, *told: str, **settings: Any) -> None:
    with pytest.raises(ModelError) as caught:
        load_package(folder, **settings)
    assert all(part in str(caught.value) for part in told), caught.value
    assert caught.value.remedy


@pytest.mark.parametrize("family", ["Bert", "Roberta", "DistilBert", "Electra", "ModernBert"])
def test_a_checkpoint_with_labels_classifies_by_their_names_and_goes_back_to_the_bit(family: str, tmp_path: Path):
    folder = FOLDER / f"{family}ForSequenceClassification"
    model = onehop.load_classifier(folder)
    assert model.labels == ("B-ANIMAL", "I-ANIMAL", "O")
    found = model.predict(TEXTS)
    assert sum(found[0].scores.values()) == pytest.approx(1, abs=1e-5)
    assert save_checkpoint(model, tmp_path / "hf") == folder.name
    before, after = (load_file(path / WHOLE) for path in (folder, tmp_path / "hf"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    again = onehop.load_classifier(tmp_path / "hf")
    assert [one.scores for one in again.predict(TEXTS)] == [one.scores for one in found]
    assert again.settings == model.settings


@pytest.mark.parametrize("name", ["BertModel", "RobertaForMaskedLM", "ElectraForPreTraining", "BertForPreTraining"])
def test_a_checkpoint_without_labels_embeds_and_goes_back_to_the_bit(name: str, tmp_path: Path):
    folder = FOLDER / name
    model = onehop.load(folder)
    vectors = torch.stack([one.vector for one in model.predict(TEXTS)])
    assert vectors.norm(dim=1) == pytest.approx([1.0] * len(TEXTS), abs=1e-5)
    assert save_checkpoint(model, tmp_path / "hf") == name
    before, after = (load_file(path / WHOLE) for path in (folder, tmp_path / "hf"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_an_embedding_is_the_mean_over_the_text_and_its_marks_alone_and_beside_others():
    model = onehop.load(FOLDER / "BertModel")
    together = model.predict(TEXTS)
    for text, one in zip(TEXTS, together, strict=True):
        row = model.tokenizer.frame(model.tokenizer.encode(text))
        with torch.inference_mode():
            states = model.model.encoder.encode(onehop.nn.Source(torch.tensor([row]))).states[0]
        expected = states.mean(0) / states.mean(0).norm()
        torch.testing.assert_close(one.vector, expected, atol=1e-5, rtol=0)


def test_sentence_transformers_files_say_how_a_vector_is_made(tmp_path: Path):
    folder = copied("BertModel", tmp_path)
    kinds = ["Transformer", "Pooling"]
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": ""} for kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(
        '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false, "word_embedding_dimension": 8}'
    )
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    model = onehop.load(folder)
    assert (model.settings.pooling, model.settings.unit, model.settings.text.max_length) == ("cls", False, 10)
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_weightedmean_tokens": true}')
    fails(folder, "the pooling pooling_mode_weightedmean_tokens")
    (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    fails(folder, "modules that Onehop does not do: Dense")


def test_a_checkpoint_becomes_a_package_that_does_the_same(tmp_path: Path):
    for name in ("BertModel", "BertForSequenceClassification"):
        package = load_package(FOLDER / name)
        save_package(package, tmp_path / name)
        again = load_package(tmp_path / name)
        save_package(again, tmp_path / "again")
        for path in (tmp_path / name).iterdir():
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
        one, two = (model.predict(TEXTS) for model in (package.task, again.task))
        if name == "BertModel":
            assert all(torch.equal(a.vector, b.vector) for a, b in zip(one, two, strict=True))
        else:
            assert [a.scores for a in one] == [b.scores for b in two]


def test_two_texts_are_told_apart():
    model = onehop.load_classifier(FOLDER / "BertForSequenceClassification")
    rows = model.documents.encode_batch(["the cat\x1ea dog"])
    source = model.source(torch.tensor([[*rows[0], 0]]), torch.tensor([len(rows[0]) + 1]))
    assert model.tokenizer.pieces(source.tokens[0].tolist()) == ["[CLS]", "the", "cat", "[SEP]", "a", "dog", "[SEP]"]
    assert source.types is not None
    assert source.types[0].tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_weights_in_shards_are_read_like_weights_in_one_file(tmp_path: Path):
    folder = copied("BertModel", tmp_path)
    expected = onehop.load(folder).predict(TEXTS)
    tensors = load_file(folder / WHOLE)
    names = sorted(tensors)
    shards = {"a.safetensors": names[:9], "b.safetensors": names[9:]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    (folder / WHOLE).unlink()
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / f"{WHOLE}.index.json").write_text(json.dumps(index))
    found = onehop.load(folder).predict(TEXTS)
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(found, expected, strict=True))
    (folder / "b.safetensors").unlink()
    fails(folder, "b.safetensors", "missing from the checkpoint")
    (folder / f"{WHOLE}.index.json").write_text('{"weight_map": {"w": "../evil.safetensors"}}')
    fails(folder, "names a file outside its folder")


def test_a_pickle_is_read_only_where_that_is_allowed(tmp_path: Path):
    folder = copied("BertModel", tmp_path)
    expected = onehop.load(folder).predict(TEXTS)
    torch.save(load_file(folder / WHOLE), folder / "pytorch_model.bin")
    (folder / WHOLE).unlink()
    fails(folder, "weights in a pickle", "--allow-pickle")
    found = load_package(folder, allow_pickle=True).task.predict(TEXTS)
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(found, expected, strict=True))
    torch.save({"w": print}, folder / "pytorch_model.bin")
    fails(folder, "not a file of weights alone", allow_pickle=True)
    (folder / "pytorch_model.bin").write_bytes(b"junk")
    fails(folder, "not a file of weights alone", allow_pickle=True)


class Program:
    """What runs a program when it is read from a pickle."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.made = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.made


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_program_in_a_pickle_is_not_run_and_nobody_is_told_how_to_run_it(tmp_path: Path, legacy: bool):
    """What torch says of it was passed on: that it will likely succeed without weights_only."""
    folder, made = copied("BertModel", tmp_path), tmp_path / "made"
    tensors = load_file(folder / WHOLE)
    (folder / WHOLE).unlink()
    calls = [(Program(os.mkdir, str(made)), ".mkdir"), (Program(eval, f"open({str(made)!r}, 'w')"), "eval")]
    for program, name in calls:
        for value in (program, {**tensors, "x": program}, {"state_dict": [program]}):
            torch.save(value, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
            for verb in (["info"], ["predict"], ["export", folder, tmp_path / "out"]):
                done = command(*(verb if len(verb) > 1 else [*verb, folder]), "--allow-pickle", stdin=b"a\n")
                told = f"{name}, which is no tensor and was not run"
                refused(done, "pytorch_model.bin: not a file of weights alone", told, "Do not use it.")
                assert "weights_only" not in done.err
    assert not made.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, name: {1: tensors[name]},
        lambda tensors, name: {**tensors, name: 3},
        lambda tensors, name: {**tensors, name: tensors[name].to_sparse()},
        lambda tensors, name: {**tensors, name: tensors[name].to("meta")},
    ],
    ids=["number as a name", "number as a value", "sparse", "without numbers"],
)
def test_a_pickle_of_what_is_no_table_of_tensors_is_one_message(tmp_path: Path, change: Callable[..., object]):
    folder = copied("BertModel", tmp_path)
    torch.save(change(load_file(folder / WHOLE), "pooler.dense.weight"), folder / "pytorch_model.bin")
    (folder / WHOLE).unlink()
    refused(command("info", folder, "--allow-pickle"), "no table of tensors by name", "Do not use it.")


def test_the_first_berts_names_of_normalisations_are_read(tmp_path: Path):
    folder = copied("BertModel", tmp_path)
    expected = onehop.load(folder).predict(TEXTS)

    def old(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            if "LayerNorm" in name:
                new = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
                tensors[new] = tensors.pop(name)

    found = onehop.load(weights(folder, old)).predict(TEXTS)
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(found, expected, strict=True))


def test_every_tensor_that_does_not_fit_is_told_at_once(tmp_path: Path):
    folder = copied("BertModel", tmp_path)

    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["extra.weight"] = torch.ones(2)
        del tensors["encoder.layer.1.output.dense.bias"]
        tensors["embeddings.LayerNorm.bias"] = torch.ones(3)

    fails(
        weights(folder, spoil), "unexpected extra.weight", "missing encoder.layer.1.output.dense.bias",
        "embeddings.LayerNorm.bias is (3,), not (8,)", WHOLE,
    )  # fmt: skip


def test_an_output_that_shares_no_weights_is_refused(tmp_path: Path):
    folder = copied("BertForMaskedLM", tmp_path)
    name = "cls.predictions.decoder.weight"
    table = load_file(folder / WHOLE)["bert.embeddings.word_embeddings.weight"]
    onehop.load(weights(folder, lambda tensors: tensors.update({name: table.clone()})))
    fails(weights(folder, lambda tensors: tensors.update({name: table + 1})), name, "should share its numbers")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "llama"}, "architecture 'llama'"),
        ({"architectures": ["BertForDreaming"]}, "BertForDreaming"),
        ({"architectures": ["RobertaModel"]}, "RobertaModel"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        ({"hidden_act": "snake"}, "hidden_act='snake'"),
        ({"hidden_size": None}, "no hidden_size"),
        ({"hidden_size": 16}, "is (35, 8), not"),
        ({"num_hidden_layers": 3}, "missing encoder.layer.2"),
        ({"num_attention_heads": 3}, "num_heads=3"),
        ({"vocab_size": 99}, "word_embeddings.weight is"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_fit_nothing_are_refused(changes: dict[str, Any], told: str, tmp_path: Path):
    folder = configure(copied("BertModel", tmp_path), **changes)
    with pytest.raises(onehop.OnehopError) as caught:
        load_package(folder)
    size = len((folder / "vocab.txt").read_text().splitlines())
    assert told.replace("35", str(size)) in str(caught.value)


@pytest.mark.parametrize("changes", [{"max_position_embeddings": "26"}, {"pad_token_id": {"a": 1}}])
def test_numbers_that_are_none_are_refused(changes: dict[str, Any], tmp_path: Path):
    fails(configure(copied("RobertaModel", tmp_path), **changes), f"{next(iter(changes))} is ", "not a whole number")


def test_a_vocabulary_of_another_model_is_refused(tmp_path: Path):
    folder = copied("BertModel", tmp_path)
    with open(folder / "vocab.txt", "a") as stream:
        stream.write("another\n")
    fails(folder, "a vocabulary of ", "and weights for", "belongs to these weights")
    (folder / "vocab.txt").unlink()
    fails(folder, "no tokenizer")


def test_the_same_tokens_in_another_order_are_refused(tmp_path: Path):
    folder = copied("BertModel", tmp_path)
    (folder / "tokenizer.json").write_text(load_package(folder).task.tokenizer.to_json())
    lines = (folder / "vocab.txt").read_text().splitlines()
    (folder / "vocab.txt").write_text("\n".join([*lines[:5], *reversed(lines[5:])]))
    fails(folder, "vocab.txt and tokenizer.json", "in another order", repr(lines[-1]))


@pytest.mark.parametrize(
    "written",
    [
        lambda lines: lines,
        lambda lines: [*lines, "", ""],
        lambda lines: ["\ufeff" + lines[0], *lines[1:]],
        lambda lines: [f"{line} 7" for line in lines],
        lambda lines: [*lines[:-1], "renamed"],
        lambda lines: [*lines, *(f"more{n}" for n in range(40))],
        lambda lines: [],
    ],
    ids=["same", "blank lines", "mark", "counts", "renamed", "more", "empty"],
)
def test_an_older_vocabulary_beside_the_tokenizer_decides_nothing(written: Callable[..., Any], tmp_path: Path):
    folder = copied("BertModel", tmp_path)
    expected = load_package(folder).task.tokenizer.to_json()
    (folder / "tokenizer.json").write_text(expected)
    lines = (folder / "vocab.txt").read_text().splitlines()
    (folder / "vocab.txt").write_text("\n".join(written(lines)))
    assert load_package(folder).task.tokenizer.to_json() == expected


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"id2label": {"0": "a", "1": "a", "2": "b"}}, "two classes one name"),
        ({"id2label": {"0": "a", "2": "b", "3": "c"}}, "not 0, 1"),
        ({"label2id": {"B-ANIMAL": 1, "I-ANIMAL": 0, "O": 2}}, "disagree"),
        ({"problem_type": "regression"}, "for regression"),
    ],
)
def test_labels_that_say_two_things_are_refused(changes: dict[str, Any], told: str, tmp_path: Path):
    fails(configure(copied("BertForSequenceClassification", tmp_path), **changes), told)


def test_damaged_files_are_refused(tmp_path: Path):
    folder = copied("BertModel", tmp_path)
    data = (folder / WHOLE).read_bytes()
    (folder / WHOLE).write_bytes(data[:-5])
    fails(folder, WHOLE)
    (folder / WHOLE).unlink()
    fails(folder, "no weights")
    (folder / "config.json").write_text("{")
    fails(folder, "not JSON")
    (folder / "config.json").write_bytes(b"\xff\xfe")
    fails(folder, "not UTF-8")


def test_a_class_without_a_verb_says_so():
    fails(FOLDER / "ModernBertForTokenClassification", "ModernBertForTokenClassification", "no verb yet")


def test_the_command_embeds_classifies_and_writes_a_checkpoint(tmp_path: Path):
    (tmp_path / "texts.txt").write_text("the cat\n\na dog\n")
    done = command("predict", FOLDER / "BertModel", tmp_path / "texts.txt")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [len(row["embedding"]) for row in rows] == [8, 8, 8]
    done = command("export", FOLDER / "BertForSequenceClassification", tmp_path / "hf", "--to", "hf")
    assert "of the class BertForSequenceClassification" in done.err
    assert json.loads(command("info", tmp_path / "hf", "--json").out)["labels"] == ["B-ANIMAL", "I-ANIMAL", "O"]
    refused(command("predict", FOLDER / "BertModel", "--attention"), "no pooling attention")
    refused(command("translate", FOLDER / "BertModel"), "a model of the task 'embed', not 'translation'")
    refused(command("export", FOLDER / "BertModel", tmp_path / "x", "--to", "onnx"), "unknown value 'onnx'")
    assert not (tmp_path / "x").exists()


def test_a_checkpoint_with_labels_is_evaluated_as_a_package_is(tmp_path: Path):
    table = tmp_path / "texts.csv"
    table.write_text("text,label\nthe cat sat,O\na dog ran,O\nbig red mat,B-ANIMAL\n")
    done = command("evaluate", FOLDER / "BertForSequenceClassification", "--data", table, "--json")
    assert done.status == 0, done.err
    assert 0 <= json.loads(done.out)["accuracy"] <= 1


def test_a_checkpoint_comes_from_a_hub_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    served = {path.name: path.read_bytes() for path in (FOLDER / "BertModel").iterdir()}
    asked: list[str] = []

    def fetch(path: Path, repository: str, commit: str, named: str, name: str = "") -> None:
        asked.append(name or path.name)
        if asked[-1] not in served:
            raise hub.MissingError("none", "", named)
        path.write_bytes(served[asked[-1]])

    monkeypatch.setenv("ONEHOP_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "_commit", lambda *_: ("0" * 40, "config.json"))
    monkeypatch.setattr(hub, "_fetch", fetch)
    folder = hub.download("somebody/bert", None)
    assert len(onehop.load(folder).predict(TEXTS)) == len(TEXTS)
    assert "pytorch_model.bin" not in asked
    assert not (folder / "1_Pooling").exists()
    asked.clear()
    assert hub.download("somebody/bert", "0" * 40) == folder
    assert not asked


@pytest.mark.parametrize("use", ["Model", "ForSequenceClassification"])
@pytest.mark.parametrize("family", ["Bert", "Roberta", "DistilBert", "Electra", "ModernBert"])
def test_a_setting_of_another_kind_is_a_message_or_means_nothing(family: str, use: str, tmp_path: Path):
    folder = copied(f"{family}{use}", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    told: list[ModelError] = []
    for key in {
        **config,
        "rope_parameters": {},
        "layer_types": [],
        "classifier_dropout": 0.0,
        "classifier_pooling": "",
    }:
        for value in (["a"], "a", {"a": 1}, 0.5, 3.5):
            (folder / "config.json").write_text(json.dumps({**config, key: value}))
            try:
                load_package(folder)
            except ModelError as error:
                told.append(error)
    assert all(error.remedy for error in told)
    assert len(told) > 20
