"""Does any input make a reader or the loader of packages raise what is not ours, hang, or take memory without bound?

    python benchmarks/fuzz.py --target loader --inputs 20000
    python benchmarks/fuzz.py --inputs 100000 --out benchmarks/results/fuzz.json

Inputs are mutations of good files, drawn from a seed: bytes flipped, cut out, repeated, or replaced by what parsers
stumble over. The loader's are whole packages, most of them with hashes made to fit again, as an attacker would. An
input fails if anything but an `OnehopError` comes out, or if it takes longer than `SECONDS`; the system bounds the
memory of the process. Exit 1 if one fails. `tests/test_fuzz.py` runs some of these.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onehop
from onehop.errors import OnehopError

SECONDS, LONGEST = 20, 600  # for one input, of the processor and of the clock: the machine may be busy
MEMORY = 6 << 30  # bytes of address space, of which torch takes 2 GiB

CHECKPOINTS = Path(__file__).parents[1] / "tests/fixtures/checkpoints"  # tiny ones

# What parsers stumble over: limits of integers, floats that are none, depth, encodings, names of places and of methods.
TOKENS = [
    b"0", b"-1", b"1e999", b"NaN", b"Infinity", b"-0.0", b"9" * 30, b"9" * 5000, b"18446744073709551616", b"1000000000",
    b"null", b"true", b"[]", b"{}", b'""', b"[" * 3000, b'{"a":' * 3000, b'"' , b"'", b"\\", b"\\ud800", b"\0", b"\r",
    b"\n", b"\t", b",", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xf0\x9f\x91\xa9", b"../",
    b"/etc/passwd",
    b"\\u0000", b"__class__", b"=cmd()", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"A" * 70_000, b"a\tb\n" * 2000, b'"""',
]  # fmt: skip


def mutate(draw: random.Random, data: bytes) -> bytes:
    """Return bytes with one to four changes."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice((1, 1, 2, 8, 100, 1 << 20)))
        kind = draw.randrange(7)
        if kind == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[end:]
        elif kind == 2:
            data = data[:at] + data[at:end] * draw.choice((2, 3, 50)) + data[end:]
        elif kind == 3:
            data = data[:at] + draw.choice(TOKENS) + data[at:]
        elif kind == 4:
            data = data[:at] + draw.choice(TOKENS) + data[end:]
        elif kind == 5:
            data = data[:at] + draw.randbytes(draw.choice((1, 4, 40))) + data[end:]
        else:
            data = data[:at]
        data = data[: 1 << 22]
    return data


def spoil(draw: random.Random, text: str, form: str) -> bytes:
    """Return a text with some of its bytes changed; of one in JSON, as often some of its values, by others."""
    if form not in ("json", "jsonl") or draw.random() < 0.5:
        return mutate(draw, text.encode())
    lines = text.splitlines()
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = draw.randrange(len(lines))
        lines[at] = json.dumps(change_json(draw, json.loads(lines[at])))
    return "\n".join(lines).encode()


# ------------------------------------------------------------------------------------------------ readers of text


@dataclass(frozen=True)
class Target:
    """Something that reads what others wrote.

    Args:
        make: From a folder and a random generator to what is tried on one input.
        weight: Share of the inputs.
    """

    make: Callable[[Path], Callable[[random.Random], None]]
    weight: int = 1


PAIRS = [
    ("A small dog runs.", "Ein kleiner Hund läuft."),
    ('She said "yes", twice.', "Sie sagte zweimal „ja“."),
    ("", ""),
]
ROWS = {
    "tsv": "".join(f"{a}\t{b}\n" for a, b in PAIRS),
    "txt": "".join(f"{a}\t{b}\textra\r\n" for a, b in PAIRS),
    "csv": 'source,target\n"A dog, small","Ein ""Hund"""\nYes,Ja\n\n"two\nlines",x\n',
    "jsonl": "".join(json.dumps({"source": a, "target": b, "n": [1, {"k": None}]}) + "\n" for a, b in PAIRS),
}


def table(form: str, pack: Callable[[bytes], bytes] | None = None) -> Callable[[Path], Callable[[random.Random], None]]:
    """Return a target that reads one form of table, compressed or not."""
    ending = {None: "", gzip.compress: ".gz"}.get(pack, ".zst")

    def make(folder: Path) -> Callable[[random.Random], None]:
        from onehop.data import Columns, read_table, table_columns

        path = folder / f"table.{form}{ending}"

        def one(draw: random.Random) -> None:
            data = ROWS[form].encode()
            if pack is None or draw.random() < 0.5:
                data = spoil(draw, ROWS[form], form)
            if pack is not None:
                data = pack(data)
                data = mutate(draw, data) if draw.random() < 0.7 else data
            path.write_bytes(data)
            with ours():
                table_columns(path, Columns())
            for _ in read_table(path, draw.choice((Columns(), Columns("source", "target")))):
                pass

        return one

    return make


def arrow(folder: Path) -> Callable[[random.Random], None]:
    """Return the target of Parquet files and of data sets that `datasets` saved."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from onehop.data import Columns, read_table

    rows = pa.table({"source": [a for a, _ in PAIRS], "target": [b for _, b in PAIRS]})
    pq.write_table(rows, folder / "good.parquet")
    saved = folder / "saved"
    saved.mkdir(exist_ok=True)
    with pa.OSFile(str(saved / "data.arrow"), "wb") as stream, pa.ipc.new_stream(stream, rows.schema) as writer:
        writer.write_table(rows)
    (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    good = {path: path.read_bytes() for path in (folder / "good.parquet", saved / "data.arrow", saved / "state.json")}

    def one(draw: random.Random) -> None:
        path = draw.choice(list(good))
        path.write_bytes(mutate(draw, good[path]))
        try:
            for _ in read_table(path if path.suffix == ".parquet" else saved, Columns()):
                pass
        finally:
            path.write_bytes(good[path])

    return one


LABELLED = {
    "tsv": "review\tlabel\n" + "".join(f"{a}\t{n}\n" for n, (a, _) in enumerate(PAIRS)),
    "csv": 'premise,hypothesis,label\n"A dog, small",It is,yes\n"two\nlines",x,no\n"a ""b""",c,yes\n',
    "jsonl": "".join(json.dumps({"text": a, "label": n % 2, "n": [1]}) + "\n" for n, (a, _) in enumerate(PAIRS)),
}


def labelled(folder: Path) -> Callable[[random.Random], None]:
    """Return the target of tables of labelled texts: as `train` and `predict` read them, and as the doctor does."""
    from onehop.data.check import check_labels
    from onehop.data.labelled import LabelColumns, open_labelled

    def one(draw: random.Random) -> None:
        form, ending = draw.choice(list(LABELLED)), draw.choice(("", ".gz"))
        data = spoil(draw, LABELLED[form], form)
        if ending:
            data = mutate(draw, gzip.compress(data)) if draw.random() < 0.5 else gzip.compress(data)
        path = folder / f"table.{form}{ending}"
        path.write_bytes(data)
        with ours():
            check_labels(path, label=draw.choice(("", "", "2")), texts=draw.choice(([], [], ["1"])))
        for _ in open_labelled(path, LabelColumns(labelled=draw.random() < 0.7)).pairs():
            pass

    return one


TAGGED = {
    "conll": "-DOCSTART- O\n\nAda B-person\nmet O\nAlan B-person\nTuring I-person\n\nin O\nRome B-place\n. O\n\n",
    "conllu": "# text = Ada ran.\n1\tAda\tAda\tPROPN\t_\t_\t2\tnsubj\t_\t_\n1-2\tAdaran\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "2\tran\trun\tVERB\t_\t_\t0\troot\t_\t_\n3\t.\t.\tPUNCT\t_\t_\t2\tpunct\t_\t_\n\n",
    "jsonl": '{"words": ["Ada", "ran"], "labels": ["B-person", "O"]}\n{"words": ["Rome"], "labels": ["B-place"]}\n',
}


def tagged(folder: Path) -> Callable[[random.Random], None]:
    """Return the target of sentences with labels: as `train` and `predict` read them, and as the doctor does."""
    from onehop.data.check import check_labels
    from onehop.data.tagged import TagColumns, open_tagged

    def one(draw: random.Random) -> None:
        form = draw.choice(list(TAGGED))
        path = folder / f"words.{form}"
        path.write_bytes(spoil(draw, TAGGED[form], form))
        with ours():
            check_labels(path)
        for _ in open_tagged(path, TagColumns(labelled=draw.random() < 0.7)).sentences:
            pass

    return one


ASKED = {"id": "1", "question": "Who ran?", "answers": [{"text": "Ada", "answer_start": 0}]}
NOBODY = {"id": "2", "question": "Who flew?", "answers": [], "is_impossible": True}
QUESTIONS = {
    "json": json.dumps(
        {"version": "2.0", "data": [{"title": "x", "paragraphs": [{"context": "Ada ran.", "qas": [ASKED, NOBODY]}]}]}
    ),
    "jsonl": json.dumps({**ASKED, "context": "Ada ran."})
    + "\n"
    + json.dumps({"question": "Wo?", "context": "In Köln.", "answers": {"text": ["Köln"], "answer_start": [3]}}),
}


def questions(folder: Path) -> Callable[[random.Random], None]:
    """Return the target of questions with contexts: SQuAD's JSON, changed as text or as values, and JSON lines."""
    from onehop.data.check import check_labels
    from onehop.data.questions import read_questions

    def one(draw: random.Random) -> None:
        form = draw.choice(list(QUESTIONS))
        path = folder / f"asked.{form}"
        path.write_bytes(spoil(draw, QUESTIONS[form], form))
        with ours():
            check_labels(path)
        for _ in read_questions(path, answered=draw.random() < 0.7):
            pass

    return one


NUMBERED = {
    "csv": 'sentence1,sentence2,score\nA cat.,"A dog, perhaps.",2.5\nIt rains.,It is wet.,4\nNo.,Yes.,-1e-3\n',
    "tsv": "text\tscore\nA cat.\t2.5\nIt rains.\t4\n",
    "jsonl": '{"text": "A cat.", "score": 2.5}\n{"text": "It rains.", "score": 4}\n',
}


def numbered(folder: Path) -> Callable[[random.Random], None]:
    """Return the target of texts with numbers, each of which is read as `train --task regress` does."""
    from onehop.data.check import check_labels
    from onehop.data.labelled import LabelColumns, open_labelled
    from onehop.tasks.regression import number

    def one(draw: random.Random) -> None:
        form = draw.choice(list(NUMBERED))
        path = folder / f"numbers.{form}"
        path.write_bytes(spoil(draw, NUMBERED[form], form))
        with ours():
            check_labels(path)
        for row, pair in enumerate(open_labelled(path, LabelColumns(numbers=True)).pairs(), 1):
            number(pair.target, f"{path}:{row}")

    return one


SETS = {
    "csv": "text,labels\nA cat.,animal|small\nIt rains.,\nA dog.,animal\nA mouse.,animal|small\n",
    "tsv": 'text\tlabels\nA cat.\t["animal", "small"]\nIt rains.\t[]\n',
    "jsonl": '{"text": "A cat.", "labels": ["animal", "small"]}\n{"text": "It rains.", "labels": []}\n',
}


def sets(folder: Path) -> Callable[[random.Random], None]:
    """Return the target of texts with sets of labels: as `train` reads them, as the doctor does, and cleaned by it."""
    from onehop.data.check import clean_labels, diagnose_labels
    from onehop.data.labelled import LabelColumns, open_labelled

    def one(draw: random.Random) -> None:
        form = draw.choice(list(SETS))
        path = folder / f"sets.{form}"
        path.write_bytes(spoil(draw, SETS[form], form))
        with ours():
            clean_labels(diagnose_labels(path, separator=draw.choice((None, None, "|", ""))), folder / "clean")
        shutil.rmtree(folder / "clean", ignore_errors=True)
        for _ in open_labelled(path, LabelColumns(many=True, separator=draw.choice(("", "|")))).pairs():
            pass

    return one


CHOICES = {
    "csv": "premise,choice1,choice2,label\nIt rains.,Get wet.,Stay dry.,0\nA cat.,It barks.,It purrs.,1\n",
    "jsonl": '{"question": "It rains.", "options": ["Get wet.", "Stay dry."], "label": 0}\n'
    '{"question": "A cat.", "options": ["It barks.", "It purrs."], "label": 1}\n',
}


def choices(folder: Path) -> Callable[[random.Random], None]:
    """Return the target of choices: files as `train` reads them, and lines as `predict` does."""
    from onehop.data.choices import ChoiceColumns, choice_of, open_choices

    def one(draw: random.Random) -> None:
        form, columns = draw.choice(list(CHOICES)), ChoiceColumns(labelled=draw.random() < 0.7)
        path = folder / f"choices.{form}"
        data = spoil(draw, CHOICES[form], form)
        path.write_bytes(data)
        with ours():
            choice_of(data.decode(errors="replace").split("\n")[0], columns, "input:1")
        for _ in open_choices(path, columns).rows:
            pass

    return one


def lines(folder: Path) -> Callable[[random.Random], None]:
    """Return the target of two files of lines."""
    from onehop.data import read_parallel

    def one(draw: random.Random) -> None:
        for name in ("a", "b"):
            (folder / name).write_bytes(mutate(draw, ROWS["txt"].encode()))
        for _ in read_parallel(folder / "a", folder / "b"):
            pass

    return one


RECIPE = """[data]
pairs = ["pairs.tsv"]
source_language = "en"
weights = [1.0]

[text]
vocab_size = 300
joint = true

[model]
preset = "transformer-tiny"
dim = 16
num_heads = 2
dropout = 0.1

[train]
max_updates = 2
learning_rate = 1e-2

[decode]
beam_size = 2
"""


def recipe(folder: Path) -> Callable[[random.Random], None]:
    """Return the target of recipes, read and, where they can be, completed."""
    from onehop.train import load_recipe

    path = folder / "recipe.toml"

    def one(draw: random.Random) -> None:
        path.write_bytes(mutate(draw, RECIPE.encode()))
        load_recipe(path)

    return one


# ------------------------------------------------------------------------------------------------ packages


def packages(folder: Path) -> list[Path]:
    """Write small packages, untrained: one vocabulary or two, and each algorithm and precision; return them."""
    import torch

    from onehop.tasks import TextLimits, TranslationSettings, Translator, convert, new_package, save_package
    from onehop.text import train_tokenizer

    torch.manual_seed(1)
    model = {"dim": 4, "ffn_dim": 4, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}
    made: list[Path] = []
    for number, (algorithm, precision) in enumerate(
        (("bpe", "float32"), ("unigram", "int8"), ("wordpiece", "float16"))
    ):
        texts = [text for pair in PAIRS * 3 for text in pair]
        one = train_tokenizer(texts, 310, algorithm=algorithm, tags=["news", "talk"])
        two = one if number else train_tokenizer(texts[::2], 305, algorithm=algorithm)
        settings = TranslationSettings(
            architecture="transformer", model=model, text=TextLimits(max_length=20, sentences=True)
        )
        package = new_package(Translator.build(settings, one, two), ["A small dog.", "", "yes\u2028"], "# Card\n")
        made.append(folder / f"package{number}")
        save_package(convert(package, precision), made[-1])
    return made


def rehash(folder: Path) -> None:
    """Make the hashes of a package fit again, where its manifest can be read."""
    from onehop.files import to_json

    path = folder / "onehop.json"
    try:
        manifest: Any = json.loads(path.read_bytes())
        manifest.pop("sha256", None)
        for name in manifest["files"]:
            if Path(name).name == name and (folder / name).is_file():
                manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        text = to_json({**manifest, "sha256": hashlib.sha256(to_json(manifest).encode()).hexdigest()})
        path.write_bytes(text.encode())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError):
        return


VALUES: list[Any] = [
    0, -1, 1, 2, 10**9, 10**18, 10**30, 1.5, 1e308, "", "x", "int8", "1.0", "transformer", None, True, [], {}, [1],
    ["a"], "../x", "model.safetensors", {"a": 1}, [[[[]]]], "\ud800", "0" * 64,
]  # fmt: skip


def change_json(draw: random.Random, value: Any) -> Any:
    """Return JSON with one place of it replaced, removed, or renamed."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key, kind = draw.choice(list(value)), draw.randrange(12)
        if kind == 0:
            return {name: item for name, item in value.items() if name != key}
        if kind == 1:
            return {**value, str(draw.choice(VALUES)): value[key]}
        return {**value, key: change_json(draw, value[key])}
    if isinstance(value, list) and value and draw.random() < 0.8:
        at = draw.randrange(len(value))
        if draw.random() < 0.2:
            return [*value[:at], *value[at + 1 :]]
        return [*value[:at], change_json(draw, value[at]), *value[at + 1 :]]
    return draw.choice(VALUES)


def change_header(draw: random.Random, data: bytes) -> bytes:
    """Return a safetensors file with something of its header changed, and the length of that made to fit, or not."""
    length = int.from_bytes(data[:8], "little")
    text = json.dumps(change_json(draw, json.loads(data[8 : 8 + length]))).encode()
    length = draw.choice((len(text), len(text), len(text), 0, 1 << 40, (1 << 64) - 1, len(text) + 1))
    return length.to_bytes(8, "little") + text + data[8 + length :]


def other_packages(folder: Path) -> list[Path]:
    """Write small packages of the other tasks: of a classifier of our own, and of two that began as checkpoints."""
    from onehop.tasks import (
        ClassifySettings,
        DocumentLimits,
        HeadConfig,
        convert,
        load_package,
        new_package,
        save_package,
    )
    from onehop.tasks.classification import Classifier
    from onehop.text import train_tokenizer

    settings = ClassifySettings(
        architecture="hierarchical",
        model={"dim": 4, "hidden_dim": 4, "attention_dim": 4},
        head=HeadConfig(pooling="attention", attention_dim=4),
        labels=["good", "bad"],
        text=DocumentLimits(max_length=20, sentences=True),
    )
    tokenizer = train_tokenizer([text for pair in PAIRS * 3 for text in pair], 310)
    tasks = [Classifier.build(settings, tokenizer)]
    tasks += [load_package(CHECKPOINTS / name).task for name in ("BertForSequenceClassification", "BertModel")]
    made: list[Path] = []
    for number, (task, precision) in enumerate(zip(tasks, ("float32", "int8", "float16"), strict=True)):
        made.append(folder / f"other{number}")
        save_package(convert(new_package(task, ["The cat sat.", "a dog"], "# Card\n"), precision), made[-1])  # type: ignore[arg-type]
    return made


def newer_packages(folder: Path) -> list[Path]:
    """Write small packages of a tagger with a CRF, of a regressor, and of a model that answers."""
    from onehop.data.labelled import SEPARATOR
    from onehop.tasks import DocumentLimits, HeadConfig, Tagger, TagSettings, WordLimits, new_package, save_package
    from onehop.tasks.package import load_package
    from onehop.tasks.regression import Regressor, RegressSettings
    from onehop.tasks.tag_settings import TagHead
    from onehop.text import train_tokenizer

    small, own = {"dim": 4, "hidden_dim": 4}, train_tokenizer([text for pair in PAIRS * 3 for text in pair], 310)
    tags = TagSettings(
        architecture="recurrent", model=small, head=TagHead(crf=True), labels=["O", "B-x", "I-x"], scheme="bio",
        text=WordLimits(max_length=20, words="punctuation"),
    )  # fmt: skip
    numbers = RegressSettings(
        architecture="recurrent", model=small, head=HeadConfig(pooling="mean"), mean=2.5, deviation=1.5,
        text=DocumentLimits(max_length=20, sentences=False),
    )  # fmt: skip
    asked = f"the cat?{SEPARATOR}The cat sat."
    tasks = [(Tagger.build(tags, own), "The cat sat."), (Regressor.build(numbers, own), "The cat sat.")]
    tasks.append((load_package(CHECKPOINTS / "BertForQuestionAnswering").task, asked))
    made: list[Path] = []
    for number, (task, text) in enumerate(tasks):
        made.append(folder / f"newer{number}")
        save_package(new_package(task, [text], "# Card\n"), made[-1])
    return made


def loader(folder: Path, packages: Callable[[Path], list[Path]] = packages) -> Callable[[random.Random], None]:
    """Return the target of packages."""
    from onehop.tasks import load_package

    made = packages(folder / "good")
    place = folder / "model"

    def one(draw: random.Random) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(draw.choice(made), place)
        path = draw.choice(sorted(place.iterdir()))
        kind = draw.randrange(6)
        if kind < 2 and path.suffix == ".json":
            changed = change_json(draw, json.loads(path.read_bytes()))
            path.write_text(json.dumps(changed, ensure_ascii=draw.random() < 0.5), "utf-8", "surrogatepass")
        elif kind < 3 and path.suffix == ".safetensors":
            path.write_bytes(change_header(draw, path.read_bytes()))
        elif kind < 3 and path.suffix == ".jsonl":
            rows = [
                json.dumps(change_json(draw, json.loads(row))) for row in path.read_text("utf-8").split("\n") if row
            ]
            path.write_text("\n".join(rows), "utf-8")
        elif kind == 3:
            shutil.copyfile(draw.choice(sorted(draw.choice(made).iterdir())), path)
        else:
            path.write_bytes(mutate(draw, path.read_bytes()))
        if draw.random() < 0.7:
            rehash(place)
        load_package(place)

    return one


def checkpoints(folder: Path) -> Callable[[random.Random], None]:
    """Return the target of folders that others' checkpoints are in, as a hub sends them."""
    from onehop.tasks import load_package

    names = ("BertModel", "RobertaForSequenceClassification", "ModernBertForSequenceClassification", "ElectraModel")
    made = [Path(shutil.copytree(CHECKPOINTS / name, folder / name)) for name in names]
    for path in made:
        (path / "expected.safetensors").unlink()
        _furnish(path)
    place = folder / "model"

    def one(draw: random.Random) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(draw.choice(made), place)
        path = draw.choice(sorted(path for path in place.rglob("*") if path.is_file()))
        kind = draw.randrange(6)
        if kind < 3 and path.suffix == ".json":
            changed = change_json(draw, json.loads(path.read_bytes()))
            path.write_text(json.dumps(changed, ensure_ascii=draw.random() < 0.5), "utf-8", "surrogatepass")
        elif kind < 3 and path.suffix == ".safetensors":
            path.write_bytes(change_header(draw, path.read_bytes()))
        elif kind == 3:
            shutil.copyfile(draw.choice(sorted(p for p in draw.choice(made).rglob("*") if p.is_file())), path)
        else:
            path.write_bytes(mutate(draw, path.read_bytes()))
        load_package(place)

    return one


def _furnish(folder: Path) -> None:
    """Add the files that checkpoints may have beside their weights: a whole tokenizer, its settings, poolings."""
    from onehop.tasks import load_package

    tokenizer = load_package(folder).task.tokenizer
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 20, "do_lower_case": True}))
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [{"idx": n, "type": f"sentence_transformers.models.{kind}"} for n, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')


TARGETS = {
    "loader": Target(loader, 6),
    "other tasks": Target(lambda folder: loader(folder, other_packages), 4),
    "newer tasks": Target(lambda folder: loader(folder, newer_packages), 4),
    "checkpoints": Target(checkpoints, 2),
    "labelled": Target(labelled, 6),
    "tagged": Target(tagged, 3),
    "questions": Target(questions, 3),
    "numbered": Target(numbered, 3),
    "sets": Target(sets, 3),
    "choices": Target(choices, 3),
    "tsv": Target(table("tsv"), 3),
    "txt": Target(table("txt"), 2),
    "csv": Target(table("csv"), 4),
    "jsonl": Target(table("jsonl"), 4),
    "tsv.gz": Target(table("tsv", gzip.compress), 3),
    "jsonl.zst": Target(table("jsonl", lambda data: __import__("zstandard").compress(data)), 3),
    "arrow": Target(arrow, 2),
    "lines": Target(lines, 2),
    "recipe": Target(recipe, 2),
}

# ------------------------------------------------------------------------------------------------ running


@contextmanager
def ours() -> Iterator[None]:
    """Let an error of ours pass: it is what a reader is to say of a bad input."""
    try:
        yield
    except OnehopError:
        return


class HungError(Exception):
    """An input took too long."""


def _alarm(number: int, frame: Any) -> None:
    raise HungError


def fuzz(target: str, inputs: int, seed: int, folder: Path) -> Counter[str]:
    """Try so many inputs; return how many were refused, were read, and failed, the last ones by what came out."""
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, _alarm)
    one = TARGETS[target].make(folder)
    counts: Counter[str] = Counter()
    for number in range(inputs):
        draw = random.Random(f"{seed} {target} {number}")
        signal.alarm(LONGEST)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            one(draw)
            counts["read"] += 1
        except OnehopError:
            counts["refused"] += 1
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of a library in Rust is no Exception
            if counts[f"failed: {type(error).__name__}"] < 5:
                print(
                    f"{target}, input {number}, seed {seed}: {type(error).__name__}: {str(error)[:300]}",
                    file=sys.stderr,
                )
            counts[f"failed: {type(error).__name__}"] += 1
        finally:
            signal.alarm(0)
            signal.setitimer(signal.ITIMER_PROF, 0)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=TARGETS, action="append", help="default: all, by their weights")
    parser.add_argument("--inputs", type=int, default=1000, help="over all targets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where to write the record")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    names = args.target or list(TARGETS)
    whole = sum(TARGETS[name].weight for name in names)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as temporary:
        os.environ["ONEHOP_CACHE"] = f"{temporary}/cache"
        for name in names:
            folder = Path(temporary, name)
            folder.mkdir()
            began = time.process_time()
            counts = fuzz(name, -(-args.inputs * TARGETS[name].weight // whole), args.seed, folder)
            results[name] = {"inputs": counts.total(), **counts, "cpu_seconds": round(time.process_time() - began, 1)}
            print(json.dumps({name: results[name]}), flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    about = {"commit": commit.stdout.strip(), "date": str(datetime.date.today()), "seed": args.seed}
    results = {name: {**counts, **about} for name, counts in results.items()}
    if args.out and args.target and args.out.exists():  # those that were not asked for stay as they are
        before = json.loads(args.out.read_text())["targets"]
        results = {name: results.get(name) or before[name] for name in TARGETS if name in results or name in before}
    failed = sum(n for counts in results.values() for kind, n in counts.items() if kind.startswith("failed"))
    record = {
        "command": f"python {' '.join(sys.argv)}",
        "inputs": sum(counts["inputs"] for counts in results.values()),
        "failed": failed,
        "targets": results,
        "cpu_seconds_for_an_input_at_most": SECONDS,
        "memory_limit_gib": MEMORY >> 30,
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 3),
        "onehop": onehop.__version__,
        "python": sys.version.split()[0],
    }
    if args.out:
        args.out.write_text(json.dumps(record, indent=1) + "\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
