"""The laws of packages, over every task and every family it can be made of: checks, bytes, precisions, what is read."""

from pathlib import Path
from typing import Any, get_args

import pytest

from onehop.data.choices import Choice
from onehop.data.labelled import SEPARATOR
from onehop.models.encoders import ENCODERS, encoder_family
from onehop.models.registry import names
from onehop.tasks import Package, Precision, convert, load_package, save_package
from onehop.tasks.adapters import adapter_of
from onehop.tasks.registry import TASKS, kind
from onehop.tasks.replay import TOLERANCES
from onehop.train.jobs import JOBS
from onehop.verify import Lines, fixed_lines, verify
from onehop.verify.stored import ROUNDED as TOLERATED
from onehop.verify.suites import SUITES, suite
from tests.laws.cases import every_value
from tests.laws.packages import PACKAGES, WORDWISE, Small, every_package
from tests.laws.test_classify_training import TRAINED

ROUNDED: list[Precision] = ["float16", "int8"]
PRETRAINED = ["bert", "roberta", "distilbert", "electra", "modernbert"]


@pytest.fixture(params=every_package(), ids=str)
def small(request: pytest.FixtureRequest) -> Small:
    return request.param


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_task_has_packages_checks_and_if_it_trains_laws_of_training():
    assert set(PACKAGES) == set(TASKS) == set(SUITES)
    assert set(TRAINED) == set(JOBS)
    assert all(kind(name).name == name for name in TASKS)
    assert {"float32", *ROUNDED} == set(get_args(Precision)) == set(TOLERANCES) == set(TOLERATED)


def test_every_family_has_a_package_in_each_task_that_it_can_have():
    found = {task: {small.family for small in of_task()} for task, of_task in PACKAGES.items()}
    assert found["translation"] == set(names())
    assert found["classify"] == set(ENCODERS)
    assert found["tag"] == set(WORDWISE)
    begun = {small.family for small in every_package() if small.start != "fresh" and small.task == "classify"}
    assert begun == found["embed"] == set(PRETRAINED) <= set(ENCODERS)


def test_a_sound_package_passes_every_check(small: Small):
    if small.task == "translation":  # `test_verify` does this for every value of every setting
        assert small.family in {case.family for case in every_value()}
        return
    made = small.make()
    report = verify(made, few(made), precision="float16")
    assert [check.name for check in report.checks if check.passed is False] == []
    assert {check.name for check in report.checks if check.passed is None} == unchecked(small)
    assert len(report.checks) == len(suite(small.task).checks) + 3 + bool(adapter_of(made.task))
    assert report.lines >= 4


def test_every_precision_is_compared_with_float32(small: Small):
    made = small.make()
    of_task, lines = suite(small.task), few(made)
    for precision in ROUNDED:
        rounded = convert(made, precision)
        check = of_task.rounding(of_task.subject(made.task, lines), rounded.task, precision)
        assert check.name == f"{precision} against float32"
        assert check.passed is not None
        assert 0 < next(value for name, value in check.values.items() if name.startswith("largest")) < 1
        assert [c.passed for c in (of_task.golden(rounded), of_task.golden(made))] == [True, True]


def few(package: Package) -> Lines:
    """Return six lines of different lengths."""
    lines = fixed_lines(package)
    places = sorted(range(len(lines)), key=lambda place: len(lines.sources[place]))[::2][:6]
    return Lines("few", tuple(lines.places[i] for i in places), tuple(lines.sources[i] for i in places))


def unchecked(small: Small) -> set[str]:
    """Return the checks that say nothing of a family: where its segments are sentences, no texts are packed."""
    sentences = small.family in ENCODERS and encoder_family(small.family).unit == "sentences"
    return {"packed = padded"} if sentences else set()


def test_saved_loaded_saved_is_the_same_bytes_and_the_same_answers_in_every_precision(small: Small, tmp_path: Path):
    made = small.make()
    for precision in get_args(Precision):
        package, first = convert(made, precision), tmp_path / precision
        save_package(package, first)
        loaded = load_package(first)
        assert (loaded.precision, loaded.drift, len(loaded.golden)) == (precision, "", len(made.golden))
        save_package(loaded, tmp_path / "again")
        assert contents(tmp_path / "again") == contents(first)
        assert answers(loaded) == answers(package)


def answers(package: Package) -> list[Any]:
    """Return what a model makes of its golden texts, by the verb of its task."""
    texts: list[Any] = [line["source"] for line in package.golden]
    task: Any = package.task
    if task.task == "choose":
        parts = [text.split(SEPARATOR) for text in texts]
        return [found.scores for found in task.predict([Choice((one[0],), tuple(one[1:])) for one in parts])]
    if task.task == "translation":
        return [found.text for found in task.translate(texts)]
    return [_answer(task.task, found) for found in task.predict(texts)]


def _answer(task: str, found: Any) -> Any:
    if task == "embed":
        return found.vector.tolist()
    if task == "regress":
        return found.value
    if task == "multilabel":
        return found.labels, found.scores
    return (found.answer, found.score) if task == "answer" else found.scores
