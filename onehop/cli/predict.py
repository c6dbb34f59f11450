"""`onehop predict`: a JSON object out for each text in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onehop.cli.inputs import CHUNK, Text, check_lengths, parts, texts_of
from onehop.cli.options import AllowDrift, AllowPickle, Device, Long, Precision, TextColumns, Threads
from onehop.cli.outputs import answer_line, choice_line, fate, number_line, set_line, tags_line, vector_line
from onehop.cli.streams import written
from onehop.errors import STDIN, ConfigError

if TYPE_CHECKING:
    from onehop.tasks import Classifier, Prediction
    from onehop.tasks.fates import Fates

WITHOUT_ATTENTION = {
    "embed": "embeds",
    "multilabel": "gives several labels",
    "regress": "gives a number",
    "tag": "labels words",
    "answer": "answers",
    "choose": "chooses",
}
EXAMPLES = {"tag": "sentences", "answer": "contexts", "choose": "choices"}  # of other tasks texts
LINES = {
    "embed": vector_line, "multilabel": set_line, "regress": number_line, "tag": tags_line, "answer": answer_line,
    "choose": choice_line,
}  # fmt: skip
Attention = Annotated[
    bool, typer.Option("--attention", help="Tell the weights of sentences and words; pooling attention only.")
]


def predict(
    model: Annotated[str, typer.Argument(help="A run, a package, or a hub id.")],
    file: Annotated[
        str, typer.Argument(help="A text a line, a table, or sentences of words (.conll); - for standard input.")
    ] = "-",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; default: standard output.")
    ] = None,
    text_columns: TextColumns = None,
    attention: Attention = False,
    long: Long = "error",
    chunk_size: Annotated[int, typer.Option("--chunk-size", min=1, help="Texts read and classified at once.")] = CHUNK,
    allow_drift: AllowDrift = False,
    allow_pickle: AllowPickle = False,
    precision: Precision = "float32",
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Classify texts: for each, a line of JSON with its label and the probability of every label.

    Of a multi-label classifier, the line has all labels that the text has; of a model without labels, such as a
    pretrained encoder, its embedding; of a tagger, the label of each word, and the spans that the labels mean; of a
    regressor, a number; of a model that answers, the answer and its place; of one that chooses, the option.

    With --long drop, cut or window, standard input is classified while it is read.
    """
    from onehop.cli.options import faster, known_precision, policy, tell_drift, use
    from onehop.tasks import load_package
    from onehop.tasks.fates import Fates
    from onehop.tasks.registry import check_task

    known_precision(precision)
    chosen, device = policy(long), use(threads, device)
    classifier = load_package(model, allow_drift=allow_drift, allow_pickle=allow_pickle, device=device).task
    task = classifier.task
    check_task(task, task if task in WITHOUT_ATTENTION else "classify", model)
    if task in WITHOUT_ATTENTION and attention:
        raise ConfigError(
            f"a model that {WITHOUT_ATTENTION[task]} has no pooling attention", "Leave it out.", "--attention"
        )
    tell_drift(classifier.drift)
    classifier = faster(classifier, precision)
    name = STDIN if file == "-" else file
    fates, nothing = Fates(), {"empty": 0, "abstained": 0, "blank": 0}
    with texts_of(classifier, file, name, text_columns or [], chosen == "error") as texts, written(output) as out:
        if chosen == "error":
            check_lengths(classifier, texts(), name, chunk_size)
        for where, part in parts(texts(), chunk_size):
            found = classifier.predict(part, long=chosen, where=where)
            for text, prediction in zip(part, found, strict=True):
                out.write(_written(classifier, text, prediction, chosen, attention))
                _count(fates, nothing, prediction)
            out.flush()
    _tell(task, fates, nothing)


def _written(model: Any, text: Text, found: Any, long: Any, attention: bool) -> str:
    """Return the line of a prediction of any task."""
    if model.task in LINES:
        return LINES[model.task](found, model.drift)
    return _line(model, text, found, long, attention)


def _line(classifier: Classifier, text: Text, found: Prediction, long: Any, attention: bool) -> str:
    row: dict[str, Any] = {
        "label": found.label,
        "scores": {label: round(score, 6) for label, score in found.scores.items()},
        **fate(found), "abstained": found.abstained,
        **({"drift": classifier.drift} if classifier.drift else {}),
    }  # fmt: skip
    if attention:
        from onehop.tasks.evidence import evidence

        row["sentences"] = [
            {
                "weight": round(sentence.weight, 4),
                "words": [[word.text, round(word.weight, 4)] for word in sentence.words],
            }
            for sentence in evidence(classifier.reference, text, long=long)
        ]
    return json.dumps(row, ensure_ascii=False) + "\n"


def _count(fates: Fates, nothing: dict[str, int], found: Any) -> None:
    """Count what was not as usual: texts too long, by the labels that they got, and texts that got nothing."""
    from onehop.tasks.fates import by_word

    if hasattr(found, "unread"):
        fates.add(found, by_word(found.labels, found.unread))
    else:
        one: str | None = getattr(found, "label", None)
        labels: Sequence[str] = getattr(found, "labels", None) or ([one] if one else [])
        lost: int = found.lost
        fates.add(found, dict.fromkeys(labels, lost))
    none = getattr(found, "label", getattr(found, "value", getattr(found, "labels", ""))) is None
    nothing["abstained"] += (abstained := getattr(found, "abstained", False))
    nothing["empty"] += none and not found.dropped and not abstained
    nothing["blank"] += getattr(found, "vector", None) is not None and not found.text.strip()


def _tell(task: str, fates: Fates, nothing: dict[str, int]) -> None:
    """Say what became of the texts, where it is not what was asked for."""
    from onehop.cli.console import tell

    told = {
        "empty": "texts are empty and have no label or number",
        "abstained": "texts have no label: none was likely enough, by the model's threshold",
        "blank": "texts are empty; their vectors are those of a text without a word",
    }
    for line in fates.told(EXAMPLES.get(task, "texts"), whose=", by the label given"):
        tell(line)
    for name, what in told.items():
        if nothing[name]:
            tell(f"{nothing[name]:,} {what}")
