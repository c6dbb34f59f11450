"""`onehop quickstart`: from the text that ships with Onehop to a translation model, in minutes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onehop.cli.options import Threads

if TYPE_CHECKING:
    from onehop.data import Pair
    from onehop.evaluate import Report
    from onehop.tasks import Translator

SHOWN = 8  # sentences shown beside their translations


def quickstart(
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="Minutes of training.")] = 6.5,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")] = Path("runs/quickstart"),
    threads: Threads = None,
) -> None:
    """Train English to German on the bundled sentences, translate unseen ones, and say what to do next."""
    from onehop.cli import console
    from onehop.cli.options import use
    from onehop.config import read_toml
    from onehop.data.tatoeba import prepare
    from onehop.files import Run, to_json, write_text
    from onehop.tasks import load_translator
    from onehop.train import make_recipe
    from onehop.train import train as run

    began = time.monotonic()
    use(threads, "cpu")
    console.tell("Tatoeba sentence pairs (www.manythings.org/anki and tatoeba.org, CC BY 2.0 FR)")
    text = prepare(Path(os.path.relpath(out.absolute().parent / "tatoeba-en-de")))
    tables = read_toml(text.recipe)
    tables["data"]["pairs"], tables["train"]["max_minutes"] = [str(text.train)], minutes
    recipe = make_recipe(tables)
    with console.TrainingView() as view:
        trained = run(recipe, out, overwrite=True, listener=view)
    translator = load_translator(out)
    console.tell(f"translating {len(text.held_out):,} sentences it never saw")
    short = [pair for pair in text.held_out if len(pair.source.split()) <= text.max_words]
    report, everything = score(translator, short), score(translator, text.held_out)
    result = {
        "bleu": round(report.bleu.value, 2),
        "chrf": round(report.chrf.value, 2),
        "signature": report.bleu.signature,
        "chrf_signature": report.chrf.signature,
        "bleu_all": round(everything.bleu.value, 2),
        "chrf_all": round(everything.chrf.value, 2),
        "lines": len(short),
        "lines_all": len(text.held_out),
        "incomplete": everything.system.incomplete,
        "train_pairs": trained.num_pairs,
        "updates": trained.progress.update,
        "minutes": minutes,
        "seconds": round(time.monotonic() - began, 1),
    }
    write_text(Run(out).report, to_json(result))
    show(short, report, everything, out, text.folder)


def score(translator: Translator, pairs: list[Pair]) -> Report:
    """Translate and score held-out pairs."""
    from onehop.evaluate import evaluate

    return evaluate(translator, [pair.source for pair in pairs], [pair.target for pair in pairs], long="cut")


def show(short: list[Pair], report: Report, everything: Report, out: Path, text: Path) -> None:
    """Print translations beside their references, the figures, and the next steps."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("English", "translation", "reference", title="Sentences the model never saw", title_justify="left")
    every = max(1, len(short) // SHOWN)
    for pair, translation in list(zip(short, report.hypotheses, strict=True))[::every][:SHOWN]:
        table.add_row(Text(pair.source), Text(translation), Text(pair.target))
    out_console = Console()
    out_console.print(table)
    low, high = report.bleu_interval.low, report.bleu_interval.high
    out_console.print(
        f"BLEU [bold]{report.bleu.value:.1f}[/bold] (95 %: {low:.1f} to {high:.1f}), chrF {report.chrf.value:.1f} "
        f"on {report.lines:,} sentences of at most 8 words; "
        f"BLEU {everything.bleu.value:.1f} on all {everything.lines:,}\n"
        f"{report.bleu.signature}",
        highlight=False,
    )
    out_console.print(NEXT.format(run=out, text=text), highlight=False, soft_wrap=True)


NEXT = """
The model is {run}/model. Next:

  echo "Where is the station?" | onehop translate {run}
  onehop evaluate {run} --data {text}/held-out.tsv

With your own two files, line n of one translated by line n of the other:

  onehop train --source my.en --target my.de --out runs/mine
  onehop translate runs/mine new.en -o new.de
  onehop evaluate runs/mine --source test.en --reference test.de
"""
