"""What `onehop predict` and `onehop search` read: lines, tables, sentences of words, questions, choices."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onehop.cli.streams import chunks, opened

if TYPE_CHECKING:
    from onehop.tasks import Classifier

CHUNK = 2_000  # texts read at once: enough to batch by length, few enough for constant memory
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
ENDINGS = {
    "tag": (".conll", ".conllu", ".bio", ".iob", ".iob2", ".jsonl"),
    "answer": (".json", ".jsonl"),
    "choose": (".csv", ".tsv", ".jsonl"),
}
Text = str | Sequence[str]
Placed = tuple[str, Text]  # with where it stands


def texts_of(classifier: Classifier, file: str, name: str, columns: list[str], twice: bool) -> Any:
    """Return a context of a function that gives the texts of the input with their places, each time from the first."""

    @contextmanager
    def of_table() -> Generator[Callable[[], Iterable[Placed]]]:
        yield lambda: _of_table(classifier, file, columns)

    @contextmanager
    def of_lines() -> Generator[Callable[[], Iterable[Placed]]]:
        with opened(file, name, twice) as opener:
            lines = lambda: (line for part in chunks(opener, name, CHUNK) for line in part)  # noqa: E731
            placed = lambda: ((f"{name}:{number}", line) for number, line in enumerate(lines(), 1))  # noqa: E731
            read = {"answer": _asked, "choose": lambda lines: _offered(lines, columns or own)}
            known = read.get(classifier.task)
            yield (lambda: known(placed())) if known else placed

    plain = Path(file).name.removesuffix(".gz").removesuffix(".zst")
    own: list[str] = list(getattr(classifier.settings, "columns", []))
    special = classifier.task in ENDINGS
    endings = ENDINGS.get(classifier.task, TABLES)
    table = file != "-" and (Path(plain).suffix in endings or (Path(file).is_dir() and not special))
    return of_table() if table else of_lines()


def _asked(lines: Iterable[tuple[str, str]]) -> Iterator[Placed]:
    """Yield question and context of each line of JSON."""
    from onehop.data.questions import question_of

    for where, line in lines:
        question = question_of(line, where)
        yield where, (question.question, question.context)


def _offered(lines: Iterable[tuple[str, str]], columns: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield the choice of each line of JSON."""
    from onehop.data.choices import ChoiceColumns, choice_of

    for where, line in lines:
        yield where, choice_of(line, ChoiceColumns(tuple(columns), labelled=False), where)


def _of_table(classifier: Classifier, file: str, columns: list[str]) -> Iterator[Any]:
    """Yield place and text of each row of a table: of the columns named, or of those that the model was trained on."""
    from onehop.data.labelled import LabelColumns, open_labelled

    if classifier.task == "answer":
        from onehop.data.questions import read_questions

        for question in read_questions(file, answered=False):
            yield question.where, (question.question, question.context)
        return
    if classifier.task == "tag":
        from onehop.data.tagged import TagColumns, open_tagged

        for sentence in open_tagged(file, TagColumns("".join(columns[:1]), labelled=False)).sentences:
            yield sentence.where, sentence.words
        return
    wanted = columns or getattr(classifier.settings, "columns", [])
    if classifier.task == "choose":
        from onehop.data.choices import ChoiceColumns, open_choices

        for choice in open_choices(file, ChoiceColumns(tuple(wanted), labelled=False)).rows:
            yield choice.where, choice
        return
    table = open_labelled(
        file, LabelColumns(tuple(wanted), labelled=False, numbers=True, many=True)
    )  # labels of any kind
    for row in table.rows:
        yield table.where(row), row.texts[0] if len(row.texts) == 1 else row.texts


def parts(texts: Iterable[Placed], size: int) -> Iterator[tuple[list[str], list[Text]]]:
    """Yield the places and the texts of some at a time."""
    remaining = iter(texts)
    while part := list(islice(remaining, size)):
        yield [where for where, _ in part], [text for _, text in part]


def check_lengths(classifier: Classifier, texts: Iterable[Placed], name: str, size: int) -> None:
    """Find a text that is too long before the first output."""
    from onehop.text import Ledger, limit_windows

    ledger = Ledger(name, classifier.settings.text.max_length, "error")
    for places, part in parts(texts, size):
        for place, tokens in zip(places, classifier.encode(part, places), strict=True):
            limit_windows(tokens, classifier.tokenizer.spaced, ledger, place)
