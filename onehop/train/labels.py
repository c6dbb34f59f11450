"""The labels of a table as classes: which there are, what is wrong with them, and their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onehop.data import PairStore, Split
from onehop.errors import DataError
from onehop.train.choose import Tell
from onehop.train.classify_recipe import ClassifyRecipe
from onehop.train.look import look_at_store
from onehop.train.parent import Parent

NEARLY = 0.9  # share of one label, from which on people are told
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
            file = ", ".join(recipe.data.valid) or where
            known = f"The training texts have {', '.join(labels[:20])}."
            raise DataError(f"text {number + 1} for validation has the label {label!r}", known, file)
    if unknown := [label for label in found if label not in labels]:
        problem = f"the labels {', '.join(unknown)}, which the model that train.init names does not know"
        raise DataError(problem, f"It knows {', '.join(labels)}. Begin anew without train.init.", where)
    usual = max(found, key=lambda label: found[label])
    share = 100 * found[usual] / size
    shown = ", ".join(f"{label} {found.get(label, 0):,}" for label in labels[:10]) + (", …" if len(labels) > 10 else "")
    tell(f"data: {len(labels)} labels ({shown}); always {usual!r} would be right in {share:.1f} %")
    if recipe.data.check:
        look_at_store("labels", store, split.validation if recipe.data.valid else (), tell)
    _warn(found, labels, split, names, tell)
    return {label: found.get(label, 0) for label in labels}


def _warn(found: Mapping[str, int], labels: list[str], split: Split, names: Mapping[str, str], tell: Tell) -> None:
    """Tell of labels that are rare, nearly always the same, or missing in validation."""
    usual = max(found, key=lambda label: found[label])
    share = 100 * found[usual] / sum(found.values())
    rare = [label for label in labels if 0 < found.get(label, 0) < RARE]
    if rare:
        tell(f"data: warning: fewer than {RARE} training texts have the label {', '.join(map(repr, rare[:10]))}")
    if share > 100 * NEARLY:
        hint = "class weights may help (train.class_weights = 'balanced'), and MCC or macro F1 tell more than accuracy"
        tell(f"data: warning: {share:.1f} % of the texts have the label {usual!r}; {hint}")
    seen = {names.get(pair.target, pair.target) for pair in split.validation} or set(labels)
    if absent := sorted(set(labels) - seen):
        tell(f"data: warning: no text for validation has the label {', '.join(map(repr, absent[:10]))}")


def _order(label: str) -> tuple[bool, float, str]:
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label
