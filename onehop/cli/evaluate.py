"""`onehop evaluate`: how good a model is on text with references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from onehop.cli.evaluate_scored import Asked, evaluate_scored
from onehop.cli.options import (
    AllowDrift,
    Beam,
    Device,
    Ensemble,
    Json,
    LabelColumn,
    Long,
    Precision,
    Settings,
    Tag,
    TextColumns,
    Threads,
)
from onehop.errors import ConfigError

Data = Annotated[str | None, typer.Option("--data", help="What is learnt from, in any form that `train` reads.")]
Against = Annotated[
    str | None, typer.Option("--against", help="Another model, or a file of its translations or labels.")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write the translations or labels there.")]


def evaluate(
    model: Annotated[str, typer.Argument(help="A run, a package, or a bundled name.")],
    source: Annotated[str | None, typer.Option("--source", help="Source lines.")] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Reference lines.")] = None,
    data: Data = None,
    text_columns: TextColumns = None,
    label_column: LabelColumn = "",
    source_column: Annotated[str, typer.Option("--source-column", help="Column of sources in --data.")] = "",
    target_column: Annotated[str, typer.Option("--target-column", help="Column of references in --data.")] = "",
    against: Against = None,
    output: Output = None,
    ensemble: Ensemble = None,
    beam: Beam = None,
    tokenize: Annotated[str | None, typer.Option("--tokenize", help="sacreBLEU's tokenizer.")] = None,
    as_json: Json = False,
    long: Long = "error",
    tag: Tag = "",
    settings: Settings = None,
    allow_drift: AllowDrift = False,
    device: Device = "cpu",
    precision: Precision = "float32",
    threads: Threads = None,
) -> None:
    """Translate or classify, and score: with 95 % intervals, by length or label, and against another system.

    Translations by BLEU, chrF and TER; labels by accuracy and F1, sets of labels by F1 and exact matches, labels of
    words also by F1 of their spans; numbers by correlations; answers by exact match and F1; choices by accuracy.
    """
    from onehop.cli.evaluate_translation import other_system, read_texts, show
    from onehop.cli.options import decoding, loaded, policy, task_of, use
    from onehop.data import Columns
    from onehop.evaluate import evaluate as run

    chosen, device = policy(long), use(threads, device)
    if (task := task_of(model)) in OF_LABELS:
        other = {
            "--source": source, "--reference": reference, "--source-column": source_column,
            "--target-column": target_column, "--ensemble": ensemble, "--beam": beam, "--tokenize": tokenize,
            "--tag": tag, "--set": settings,
        }  # fmt: skip
        _refuse(other, OF_LABELS[task], "Give --data.")
        columns = tuple(text_columns or ()), label_column
        asked = Asked(data, columns, against, output, as_json, chosen, allow_drift, precision, device)
        evaluate_scored(task, model, asked)
        return
    _refuse({"--text-column": text_columns, "--label-column": label_column}, "a translation", "Leave it out.")
    translator = loaded(model, ensemble, device, allow_drift, precision)
    decode = decoding(translator.settings.decode, beam, settings)
    languages = translator.settings.source_language, translator.settings.target_language
    texts = read_texts(source, reference, data, Columns(source_column, target_column, *languages))
    rival = None
    if against:
        rival = other_system(
            against, texts, beam, chosen, lambda other: loaded(other, None, device, allow_drift, precision)
        )
    report = run(
        translator, texts.sources, texts.references, decode=decode, tokenize=tokenize, long=chosen, where=texts.name,
        against=rival, tag=tag,
    )  # fmt: skip
    show(report, output, as_json)


OF_LABELS = {
    "classify": "a classifier",
    "multilabel": "a multi-label classifier",
    "regress": "a regressor",
    "tag": "a tagger",
    "choose": "a model that chooses",
    "answer": "a model that answers",
    "embed": "a model that embeds",
}


def _refuse(options: dict[str, Any], task: str, remedy: str) -> None:
    """Refuse options that the model's task has no use for."""
    for name, value in options.items():
        if value:
            raise ConfigError(f"{name} says nothing to {task}", remedy, name)
