"""Evaluating models that choose: accuracy with an interval beside chance, and against another system."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from onehop.data.choices import Choice, ChoiceColumns, open_choices
from onehop.errors import DataError
from onehop.evaluate.scored import (
    Given,
    Grid,
    Scored,
    Shown,
    against_note,
    as_percent,
    figure_grid,
    figures,
    given,
    length_notes,
    rounded,
)
from onehop.files import read_lines
from onehop.metrics import Interval
from onehop.metrics.classification import Compared, Labelling, bootstrap, labelling, mcnemar
from onehop.tasks.choosing import Chooser
from onehop.tasks.settings import Long
from onehop.text.places import Where, named, places_of

SHOWN = 10  # of the mistakes that the model was surest of
Place = int | None  # of an option, from 0; none where the choice was dropped, which counts as wrong


@dataclass(frozen=True)
class WrongChoice:
    """A choice that came out wrong.

    Args:
        row: Its number, from 1.
        right: Place of the right option, from 0.
        found: Place of the one that was chosen.
        score: The probability of that.
        where: Its place.
    """

    row: int
    right: int
    found: int
    score: float
    where: str


@dataclass(frozen=True)
class ChoiceReport:
    """The result of `evaluate_choices`.

    Args:
        result: Of the model, with the places of options as labels.
        intervals: 95 % of the accuracy, by bootstrap over choices.
        chance: What choosing blindly reaches in the mean.
        system: What was scored.
        mistakes: Those that the model was surest of.
        rival: The other system, if one was named: its scores, and the paired test.
    """

    result: Labelling
    intervals: dict[str, Interval]
    chance: float
    system: Given[Place]
    mistakes: list[WrongChoice]
    rival: tuple[Given[Place], Labelling, Compared] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: what `onehop evaluate --json` prints of a model that chooses."""
        values = figures(self.result, self.intervals, ("accuracy",)) | {
            "chance": rounded(self.chance),
            "majority": rounded(self.result.majority),
            "choices": len(self.system.each),
            "mistakes": [{**asdict(one), "score": rounded(one.score)} for one in self.mistakes],
            **self.system.to_dict(),
        }
        if self.rival:
            other, theirs, compared = self.rival
            values["against"] = {
                "name": other.name, "accuracy": rounded(theirs.accuracy),
                "accuracy_difference": rounded(compared.difference), "better": compared.better,
                "worse": compared.worse, "p": rounded(compared.p_value), **other.to_dict(),
            }  # fmt: skip
        return values

    def shown(self) -> Shown:
        """Return the report for people."""
        notes: list[str] = []
        if self.mistakes:
            told = (
                f"{one.where} option {one.found + 1} for {one.right + 1} ({one.score:.3f})" for one in self.mistakes
            )
            notes.append("surest mistakes: " + ", ".join(told))
        if self.rival:
            other, theirs, compared = self.rival
            notes.append(against_note(
                other.name, as_percent(theirs.accuracy), f"{100 * compared.difference:+.1f}", compared.p_value,
                f" ({compared.better:,} choices better, {compared.worse:,} worse)",
            ))  # fmt: skip
        title = f"{len(self.system.each):,} choices"
        grid = shown_choices(self.result, self.intervals, self.chance, title, self.system)
        return Shown([grid], [*notes, *length_notes(self.system, "choices")])


def shown_choices(
    result: Labelling, intervals: dict[str, Interval], chance: float, title: str, system: Given[Place] | None = None
) -> Grid:
    """Return figures of choices for people."""
    rows = [
        ("accuracy", as_percent(result.accuracy), intervals["accuracy"]),
        ("by chance", as_percent(chance), None),
        ("always the place that is most often right", as_percent(result.majority), None),
    ]
    return figure_grid(title, rows, system)


def scored_places(found: Sequence[Place], right: Sequence[int]) -> tuple[Labelling, dict[str, Interval]]:
    """Return how well places were found, and 95 % intervals; a place that no right option has is wrong.

    Example:
        >>> scored_places([0, 1, 1, None], [0, 1, 0, 0])[0].accuracy
        0.5
    """
    places = [str(place) for place in range(max(right) + 1)]
    ours, wanted = _names(found, places), [str(place) for place in right]
    return labelling(ours, wanted, places), bootstrap(ours, wanted, places)


def _names(found: Sequence[Place], places: Sequence[str]) -> list[str | None]:
    return [str(place) if str(place) in places else None for place in found]


def choose(
    chooser: Chooser, choices: Sequence[Choice], *, name: str = "model", long: Long = "error", where: Where = "data"
) -> Given[Place]:
    """Choose, and count what became of the choices; see `Chooser.predict` for the arguments."""
    started = time.monotonic()
    found = chooser.predict(choices, long=long, where=where)
    system = given(name, found, [one.choice for one in found], time.monotonic() - started, chooser.drift)
    return replace(system, scores=[max(one.scores, default=0.0) for one in found])


def evaluate_choices(
    chooser: Chooser,
    choices: Sequence[Choice],
    *,
    long: Long = "error",
    where: Where = "data",
    against: Given[Place] | None = None,
) -> ChoiceReport:
    """Choose, and score.

    Args:
        chooser: The model.
        choices: Each with its right option.
        long: What to do with choices longer than the model's limit; one that is dropped counts as wrong.
        where: Name of the file, or the place of each in it, for messages.
        against: Another system's choices, from `choose` or from `read_chosen`.

    Raises:
        DataError: There are no choices, or one does not say which option is right; or the other system's are not as
            many.
    """
    if not choices:
        raise DataError("no choice", "Give choices with their right options.", named(where))
    right = [one.index(chooser.settings.first_number) for one in choices]
    system = choose(chooser, choices, long=long, where=where)
    result, intervals = scored_places(system.each, right)
    rival = None
    if against is not None:
        against.check(len(right), "options", "choices")
        ours, theirs = ([None if place is None else str(place) for place in one.each] for one in (system, against))
        rival = against, scored_places(against.each, right)[0], mcnemar(ours, theirs, list(map(str, right)))
    stand = places_of(where, len(choices))
    wrong = [
        WrongChoice(number, one, found, score, stand[number - 1])
        for number, (one, found, score) in enumerate(zip(right, system.each, system.scores or [], strict=True), 1)
        if found is not None and found != one
    ]
    chance = float(np.mean([1 / len(one.options) for one in choices]))
    return ChoiceReport(result, intervals, chance, system, sorted(wrong, key=lambda one: -one.score)[:SHOWN], rival)


def read_chosen(path: str, first_number: int = 0) -> Given[Place]:
    """Read what another system chose: lines of `onehop predict`, or the number of an option a line.

    Args:
        path: The file.
        first_number: Number of the first option, where lines are numbers.

    Raises:
        DataError: A line is neither.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "theirs.txt"
        >>> _ = file.write_text("2" + chr(10) + '{"choice": 0}' + chr(10))
        >>> read_chosen(str(file), first_number=1).each
        [1, 0]
    """
    places: list[Place] = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            value = json.loads(line)
            place = value["choice"] if isinstance(value, dict) else None if value is None else value - first_number
            if not isinstance(place, int | None):
                raise TypeError
            places.append(place)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            remedy = "Give lines of `onehop predict`, or the number of an option for each choice."
            raise DataError("not a choice", remedy, f"{path}:{number}") from error
    return Given(path, places)


def _line(place: Place, chooser: Chooser) -> str:
    return "null\n" if place is None else f"{place + chooser.settings.first_number}\n"


def _read(data: str, columns: tuple[tuple[str, ...], str], chooser: Chooser) -> list[Choice]:
    contexts = columns[0] or tuple(chooser.settings.columns)
    return list(open_choices(data, ChoiceColumns(contexts, (), columns[1])).rows)


def _run(chooser: Chooser, choices: Sequence[Choice], **how: Any) -> Given[Place]:
    return choose(chooser, choices, **how, where=[one.where for one in choices])


def _judge(chooser: Chooser, choices: Sequence[Choice], **how: Any) -> ChoiceReport:
    return evaluate_choices(chooser, choices, **how, where=[one.where for one in choices])


SCORED = Scored(
    "choose", "choices with their right options", _read, _run, _judge,
    lambda path, chooser: read_chosen(path, chooser.settings.first_number), _line,
)  # fmt: skip
