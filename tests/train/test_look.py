"""Every training on labelled text says first what looks wrong with it, unless it is told not to."""

import json
from pathlib import Path
from typing import Any

import pytest

from onehop.train import make_recipe, train
from tests.fixtures.labelled import reviews
from tests.fixtures.tagged import meetings, write_conll
from tests.train.test_resume import Heard

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"
SMALL = {"dim": 16, "hidden_dim": 16, "dropout": 0.0}
TEXTS = list(dict.fromkeys(text for text, _ in reviews(50, sentences=2)))


def asked(path: Path, texts: list[str]) -> str:
    rows = [
        {"question": "what was it?", "context": text, "answers": [{"text": text[:8], "answer_start": 0}]}
        for text in texts
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def table(path: Path, texts: list[str], labels: list[str]) -> str:
    path.write_text("text,label\n" + "".join(f"{a},{b}\n" for a, b in zip(texts, labels, strict=True)), "utf-8")
    return str(path)


def lines_of(task: str, path: Path, texts: list[str]) -> str:
    """Write texts with sets of labels, or to be chosen from; what is right depends on the text alone."""
    sizes = [(text, len(text) % 2) for text in texts]
    made: list[dict[str, Any]] = [{"text": text, "labels": ["odd"] * size + ["all"]} for text, size in sizes]
    if task == "choose":
        made = [{"premise": text, "choices": ["odd", "even"], "label": 1 - size} for text, size in sizes]
    path.write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")
    return str(path)


def alike(path: Path, texts: list[str]) -> str:
    path.write_text("".join(f"{text}\t{text[::-1]}\n" for text in texts), "utf-8")
    return str(path)


def files(task: str, folder: Path) -> tuple[str, str]:
    """Write text with a lost character, and validation text of which two examples are trained on; return both."""
    spoilt = [*TEXTS[:30], "Some \ufffd lost.", "More \ufffd lost.", *["A \ufffd."] * 4]
    ours = [TEXTS[3].upper(), TEXTS[4], *TEXTS[30:34]]
    if task == "tag":
        rows = meetings(200)
        rows = [row for number, row in enumerate(rows) if row not in rows[:number]]
        lost = [(["Some", "\ufffd"], ["O", "O"])] * 6
        valid = [rows[3], rows[4], *rows[40:44]]
        return write_conll(folder / "a.conll", [*rows[:40], *lost]), write_conll(folder / "v.conll", valid)
    if task == "answer":
        return asked(folder / "a.jsonl", spoilt), asked(folder / "v.jsonl", [TEXTS[3], *ours[1:]])
    if task in ("multilabel", "choose"):
        return lines_of(task, folder / "a.jsonl", spoilt), lines_of(task, folder / "v.jsonl", [TEXTS[3], *ours[1:]])
    if task == "embed":
        return alike(folder / "a.tsv", spoilt), alike(folder / "v.tsv", [TEXTS[3], *ours[1:]])
    kinds = {"classify": lambda n: ("good", "bad")[n % 2], "regress": lambda n: str(n / 7)}
    own = [kinds[task](n) for n in range(len(spoilt))]
    return table(folder / "a.csv", spoilt, own), table(folder / "v.csv", ours, [own[3], own[4], *own[:4]])


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("task", ["classify", "multilabel", "tag", "answer", "choose", "regress", "embed"])
def test_what_looks_wrong_is_told_before_a_training_of_every_task(task: str, check: bool, tmp_path: Path):
    given, valid = files(task, tmp_path)
    begun = task in ("answer", "choose", "embed")
    start: dict[str, Any] = {"train": {"init": str(CHECKPOINT)}} if begun else {"model": SMALL, "train": {}}
    start["train"] |= {"max_updates": 1, "evaluate_every": 1, "batch_tokens": 200}
    heard = Heard()
    recipe = make_recipe({"task": task, "data": {"train": [given], "valid": [valid], "check": check}, **start})
    train(recipe, tmp_path / "run", listener=heard)
    found = [line for line in heard.told if "replacement-characters" in line or f"(overlap, first {valid}:" in line]
    assert len(found) == (2 if check else 0), heard.told
    if check:
        assert any(": 2 pairs that also stand in the training data" in line for line in found)
        assert any(f"first {given}:" in line for line in found)
