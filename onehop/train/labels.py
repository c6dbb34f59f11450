"""The labels of a table as classes: which there are, what is wrong with them, and their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from onehop.data import PairStore, Split
from onehop.data.label_sets import SEPARATORS, read
from onehop.errors import DataError
from onehop.train.choose import Tell
from onehop.train.classify_recipe import ClassifyRecipe
from onehop.train.look import look_at_store
from onehop.train.parent import Parent

NEARLY = 0.9  # share of one label, from which on people are told
UNEVEN = 2 / 3  # share of one label, from which on accuracy says little
SLIGHT = 0.01  # share of one label, below which it is too little to count as much as the others
RARE = 5  # texts of a label, below which they are


class LabelIds:
    """Encodes the name of a label as one token, its id.

    Args:
        labels: In the order of their ids.
        names: Of labels that the data call otherwise.
        where: Of the data, for messages.

    Attributes:
        labels: The same, from which the length ledger knows whose texts were too long.
    """

    def __init__(self, labels: Sequence[str], names: dict[str, str], where: str) -> None:
        self.labels = tuple(labels)
        self.ids = {label: [place] for place, label in enumerate(labels)}
        self.ids |= {value: self.ids[name] for value, name in names.items() if name in self.ids}
        self.where = where

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the id of each label."""
        for text in texts:
            if text not in self.ids:
                raise DataError(f"the label {text!r}, which the model does not know", "Mend it.", self.where)
        return [self.ids[text] for text in texts]


def whole(labels: Iterable[str], where: str) -> None:
    """Refuse labels with half of a surrogate pair, which no file of a package can hold."""
    for label in labels:
        if any("\ud800" <= c <= "\udfff" for c in label):
            raise DataError(f"the label {label!r} holds half of a surrogate pair", "Write whole characters.", where)


def find_labels(
    recipe: ClassifyRecipe, store: PairStore, split: Split, parent: Parent | None, tell: Tell
) -> dict[str, int]:
    """Return the labels of the training texts with the number of these; tell what looks wrong.

    Labels that are numbers stand in their order, others in that of the alphabet.

    Raises:
        DataError: There is only one, or a validation text has another.
    """
    names, where = recipe.data.names, ", ".join(recipe.data.train)
    held, found = set(split.held.tolist()), dict[str, int]()
    for index in range(store.num_blocks):
        for number, value in zip(store.numbers(index), store.columns(index)[1], strict=True):
            if number not in held:
                label = names.get(value, value)
                found[label] = found.get(label, 0) + 1
    unused = [value for value, name in names.items() if name not in found]
    if unused:
        raise DataError(f"no label {', '.join(unused)}", "Mend data.label_names.", where)
    whole(found, where)
    if len(found) < 2:
        problem = f"one label only, {next(iter(found), '')!r}: there is nothing to learn"
        raise DataError(problem, "Give texts of two labels at least.", where)
    size = sum(found.values())
    if len(found) > max(50, size // 2):
        problem = f"{len(found):,} labels of {size:,} texts: these are values, not classes"
        raise DataError(problem, "Name the column of labels: data.label_column", where)
    labels = list(parent.task.labels) if parent and parent.task.labels else sorted(found, key=_order)
    for number, pair in enumerate(split.validation):
        label = names.get(pair.target, pair.target)
        if label not in labels:
            known = f"The training texts have {', '.join(labels[:20])}."
            raise DataError(f"a text for validation has the label {label!r}", known, split.where(number).target)
    if unknown := [label for label in found if label not in labels]:
        problem = f"the labels {', '.join(unknown)}, which the model that train.init names does not know"
        raise DataError(problem, f"It knows {', '.join(labels)}. Begin anew without train.init.", where)
    usual = max(found, key=lambda label: found[label])
    share = 100 * found[usual] / size
    shown = ", ".join(f"{label} {found.get(label, 0):,}" for label in labels[:10]) + (", …" if len(labels) > 10 else "")
    tell(f"data: {len(labels)} labels ({shown}); always {usual!r} would be right in {share:.1f} %")
    if recipe.data.check:
        look_at_store("labels", store, split, tell)
    _warn(found, labels, split, names, tell)
    return {label: found.get(label, 0) for label in labels}


def find_label_sets(recipe: Any, store: PairStore, split: Split, parent: Parent | None, tell: Tell) -> list[str]:
    """Return the labels that training texts have, of which each has any number; tell what looks wrong.

    Args:
        recipe: Of a multi-label classifier.
        store: The texts, with their labels as `onehop.data.label_sets.written` has them.
        split: Which are for validation.
        parent: The model that is continued.
        tell: Hears how often each label is, and what looks wrong.

    Raises:
        DataError: No text has a label, or there are more labels than texts; or a text has one that the model, or
            training, does not know.
    """
    names, where = recipe.data.names, ", ".join(recipe.data.train)
    held, found, sizes = set(split.held.tolist()), dict[str, int](), list[int]()
    for index in range(store.num_blocks):
        for number, value in zip(store.numbers(index), store.columns(index)[1], strict=True):
            if number not in held:
                labels = {names.get(label, label) for label in read(value)}
                sizes.append(len(labels))
                for label in labels:
                    found[label] = found.get(label, 0) + 1
    if unused := [value for value, name in names.items() if name not in found]:
        raise DataError(f"no label {', '.join(unused)}", "Mend data.label_names.", where)
    if not found:
        raise DataError("no text has a label: there is nothing to learn", "Name the column: data.label_column", where)
    whole(found, where)
    if len(found) > max(50, len(sizes)):
        problem = f"{len(found):,} labels of {len(sizes):,} texts: these are values, not classes"
        raise DataError(problem, "Name the column of labels: data.label_column; or data.label_separator", where)
    labels = list(parent.task.labels) if parent and parent.task.labels else sorted(found, key=_order)
    for number, pair in enumerate(split.validation):
        for label in read(pair.target):
            if names.get(label, label) not in labels:
                known = f"The training texts have {', '.join(labels[:20])}."
                raise DataError(f"a text for validation has the label {label!r}", known, split.where(number).target)
    if unknown := [label for label in found if label not in labels]:
        problem = f"the labels {', '.join(unknown)}, which the model that train.init names does not know"
        raise DataError(problem, f"It knows {', '.join(labels)}. Begin anew without train.init.", where)
    _tell_sets(found, sizes, labels, tell)
    if recipe.data.check:
        look_at_store("sets", store, split, tell)
    seen = {names.get(label, label) for pair in split.validation for label in read(pair.target)} or set(labels)
    if absent := sorted(set(labels) - seen):
        tell(f"data: warning: no text for validation has the label {', '.join(map(repr, absent[:10]))}")
    return labels


def _tell_sets(found: Mapping[str, int], sizes: Sequence[int], labels: Sequence[str], tell: Tell) -> None:
    """Tell how many labels texts have, and which of them are rare or nearly always there."""
    shown = ", ".join(f"{label} {found.get(label, 0):,}" for label in labels[:10]) + (", …" if len(labels) > 10 else "")
    none = 100 * sizes.count(0) / len(sizes)
    tell(f"data: {len(labels)} labels ({shown}); {sum(sizes) / len(sizes):.2f} a text, none for {none:.1f} %")
    if set(sizes) == {1} and len(found) > 1:
        tell("data: warning: every text has one label: --task classify learns labels that exclude each other")
    if rare := [label for label in labels if 0 < found.get(label, 0) < RARE]:
        tell(f"data: warning: fewer than {RARE} training texts have the label {', '.join(map(repr, rare[:10]))}")
    if usual := [label for label in labels if found.get(label, 0) > NEARLY * len(sizes)]:
        share = f"more than {100 * NEARLY:.0f} % of the texts"
        tell(f"data: warning: {share} have the label {', '.join(map(repr, usual[:10]))}")


def _warn(found: Mapping[str, int], labels: list[str], split: Split, names: Mapping[str, str], tell: Tell) -> None:
    """Tell of labels that are rare, nearly always the same, or missing in validation."""
    usual = max(found, key=lambda label: found[label])
    share = 100 * found[usual] / sum(found.values())
    if several := next(filter(None, (_of_parts(labels, mark) for mark in SEPARATORS)), ""):
        tell(f"data: warning: {several!r} looks like several labels: --task multilabel learns them one by one")
    rare = [label for label in labels if 0 < found.get(label, 0) < RARE]
    if rare:
        tell(f"data: warning: fewer than {RARE} training texts have the label {', '.join(map(repr, rare[:10]))}")
    if share > 100 * NEARLY:
        hint = "MCC and macro F1 tell more than accuracy"
        tell(f"data: warning: {share:.1f} % of the texts have the label {usual!r}; {hint}")
    seen = {names.get(pair.target, pair.target) for pair in split.validation} or set(labels)
    if absent := sorted(set(labels) - seen):
        tell(f"data: warning: no text for validation has the label {', '.join(map(repr, absent[:10]))}")


def judged(recipe: ClassifyRecipe, counts: Mapping[str, int], tell: Tell) -> ClassifyRecipe:
    """Choose the figure that decides which model is kept, and whether texts count alike in training or labels do.

    Accuracy counts every text alike; where one label has most of them it says little, and Matthews' correlation is the
    figure. Correlation and macro F1 count labels alike, so training for them does, too, if none is of so few texts
    that each of them would count fifty times as much as others.
    """
    train, size = recipe.train, sum(counts.values())
    usual = max(counts, key=lambda label: counts[label])
    uneven = counts[usual] >= UNEVEN * size
    best = train.best or ("mcc" if uneven else "accuracy")
    slight = min(count for count in counts.values() if count) < SLIGHT * size
    alike = best in ("mcc", "macro_f1") and not (train.r_drop or slight)
    weights = train.class_weights or ("balanced" if alike else "none")
    usually = f"labels: {usual!r} has two thirds of the texts or more"
    if train.best is None and uneven:
        tell(f"{usually}, so MCC decides which model is kept; train.best = 'accuracy' would have it otherwise")
    elif uneven and best == "accuracy":
        tell(f"{usually}, and accuracy decides which model is kept; train.best = 'mcc' may serve you better")
    if train.class_weights is None and best in ("mcc", "macro_f1"):
        off = "; train.class_weights = 'none' turns it off" if alike else ""
        why = "" if alike else ", with r_drop" if train.r_drop else ": one has less than a hundredth of them"
        counted = "each counts alike in training, as for MCC and macro F1" if alike else "texts count alike in training"
        tell(f"labels: {counted}{why}{off}")
    return recipe.model_copy(update={"train": train.model_copy(update={"best": best, "class_weights": weights})})


def _of_parts(labels: Sequence[str], mark: str) -> str:
    """Return a label that is made of others with a mark between; empty where there are fewer than two such labels."""
    known = set(labels)
    found = [label for label in labels if mark in label and {part.strip() for part in label.split(mark)} <= known]
    return found[0] if len(found) > 1 else ""


def _order(label: str) -> tuple[bool, float, str]:
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label
