"""Questions about texts, with their answers as places in them: SQuAD's JSON, of version 1.1 or 2.0, and JSON lines.

    {"data": [{"paragraphs": [{"context": "...", "qas": [
        {"id": "...", "question": "...", "answers": [{"text": "...", "answer_start": 17}], "is_impossible": false}]}]}]}

A line of `.jsonl` has `question` and `context`, and for training `answers` as above, or as two lists of `text` and
`answer_start`. A question without an answer has an empty list. Every answer must stand where it is said to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onehop.data.json_lines import parse_json, told
from onehop.data.labelled import objects
from onehop.errors import DataError
from onehop.files import open_bytes, os_errors

KEYS = 'Write {"question": "...", "context": "...", "answers": [{"text": "...", "answer_start": 17}]}.'
SHAPE = "Use the JSON of SQuAD (data, paragraphs, qas), or JSON lines."
AGAIN = "Mend the answer or its place, which counts characters from 0."


@dataclass(frozen=True)
class Answer:
    """A part of a text.

    Args:
        text: As it stands there.
        start: Its first character, from 0.
    """

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """A question about a text.

    Args:
        id: As the file has it; its number where it has none.
        question: What is asked.
        context: Where the answer is.
        answers: Each as right as the others; empty where the context has none; None where none are told.
        where: File and place, for messages.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] | None
    where: str


def read_questions(path: str | Path, *, answered: bool = True) -> Iterator[Question]:
    """Yield the questions of a file that ends in `.json` or `.jsonl`, which may be compressed.

    Args:
        path: The file.
        answered: Whether each question must say what its answers are, be it that there are none.

    Raises:
        FileError: The file cannot be read.
        DataError: It has another form, or an answer does not stand in its context where it is said to.
    """
    name = str(path)
    plain = name.removesuffix(".gz").removesuffix(".zst")
    if plain.endswith(".jsonl"):
        for number, value in objects(name):
            if value:
                place = f"{name}:{number}"
                yield _question(value, value.get("context"), str(value.get("id", number)), place, answered)
    elif plain.endswith(".json"):
        yield from _squad(name, answered)
    else:
        raise DataError(f"the ending {Path(plain).suffix!r} tells no questions", "Use .json or .jsonl.", name)


def question_of(line: str, where: str) -> Question:
    """Return the question of a line of JSON, with its context; answers need not be told.

    Raises:
        DataError: It is none.

    Example:
        >>> question_of('{"question": "Who?", "context": "It was Ada."}', "input:1").context
        'It was Ada.'
    """
    value = parse_json(line, KEYS, where)
    if not isinstance(value, dict):
        raise DataError("no question with a context", KEYS, where)
    return _question(value, value.get("context"), str(value.get("id", where)), where, False)


def _squad(name: str, answered: bool) -> Iterator[Question]:
    with os_errors(name, "read"), open_bytes(name) as stream:
        try:
            found = json.loads(stream.read().decode("utf-8-sig"))
        except EOFError as error:
            raise DataError(f"not JSON: {error}", SHAPE, name) from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"not JSON: {told(error)}", SHAPE, name) from error
    number = 0
    for paragraph in _all(_all([found], "data", name), "paragraphs", name):
        for value in _all([paragraph], "qas", name):
            number += 1
            key = str(value.get("id", number))
            yield _question(value, paragraph.get("context"), key, f"{name}: question {key}", answered)


def _all(values: Any, key: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield what the lists under a key hold."""
    for value in values:
        inner = value.get(key) if isinstance(value, dict) else None
        if not isinstance(inner, list) or not all(isinstance(one, dict) for one in inner):
            raise DataError(f"no list of objects {key!r}", SHAPE, name)
        yield from inner


def _question(value: dict[str, Any], context: Any, key: str, where: str, answered: bool) -> Question:
    question = value.get("question")
    if not isinstance(question, str) or not isinstance(context, str):
        raise DataError("no question with a context", KEYS, where)
    if answered and not question.strip():
        raise DataError("an empty question", "Write one, or take it out.", where)
    given = [] if value.get("is_impossible") is True else value.get("answers")
    if given is None and answered:
        raise DataError("no answers", f"{KEYS} An empty list says that there is none.", where)
    if isinstance(given, dict) and {"text", "answer_start"} <= given.keys():
        texts, starts = given["text"], given["answer_start"]
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise DataError("answers whose text and answer_start are no lists of one length", KEYS, where)
        given = [{"text": one, "answer_start": start} for one, start in zip(texts, starts, strict=True)]
    if given is not None and not isinstance(given, list):
        raise DataError("answers that are no list", KEYS, where)
    answers = None if given is None else tuple(_answer(one, context, where) for one in given)
    return Question(key, question, context, answers, where)


def _answer(value: Any, context: str, where: str) -> Answer:
    text, start = (value.get("text"), value.get("answer_start")) if isinstance(value, dict) else (None, None)
    if not isinstance(text, str) or type(start) is not int:
        raise DataError("an answer without text and answer_start", KEYS, where)
    if not text.strip():
        raise DataError("an empty answer", "Write an empty list of answers where there is none.", where)
    if start < 0 or context[start : start + len(text)] != text:
        there = context.find(text)
        problem = f"the answer {text[:60]!r} does not stand at character {start} of its context"
        hint = f"It stands at {there}. " if there >= 0 else "It stands nowhere in it. "
        raise DataError(problem, hint + AGAIN, where)
    return Answer(text, start)
