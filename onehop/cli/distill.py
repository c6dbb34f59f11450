"""`onehop distill`: a small model from what a large one writes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onehop.cli.options import AllowDrift, Beam, Precision, Threads
from onehop.cli.train import Files
from onehop.errors import ConfigError, FileError


def distill(
    teacher: Annotated[str, typer.Argument(help="The model that writes: a run, a package, or a bundled name.")],
    recipe: Annotated[Path | None, typer.Argument(help="The student's recipe; or give files.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the student's run.")] = None,
    pairs: Annotated[Files | None, typer.Option("--pairs", help="Pairs, whose sources the teacher translates.")] = None,
    source: Annotated[Files | None, typer.Option("--source", help="Source lines.")] = None,
    target: Annotated[Files | None, typer.Option("--target", help="Their targets, for validation.")] = None,
    settings: Annotated[Files | None, typer.Option("--set", help="A setting of the student: TABLE.KEY=VALUE.")] = None,
    beam: Beam = None,
    precision: Precision = "int8",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    allow_drift: AllowDrift = False,
    threads: Threads = None,
) -> None:
    """Train a small model on what a larger one makes of the training sources (Kim and Rush 2016).

    The teacher's translations are kept in OUT.text: a call that was stopped goes on there, and another student of the
    same teacher needs only another recipe on them. The student is validated on what people wrote.
    """
    from onehop.cli import console
    from onehop.cli.options import decoding, loaded, use
    from onehop.cli.train import chosen_recipe, run_recipe, tell_next
    from onehop.train import distill as write

    if out is None:
        raise ConfigError("where to?", "Name a folder for the student: --out runs/student", "--out")
    if not resume and out.is_dir() and any(out.iterdir()):
        raise FileError("is not empty", "Name a new folder for the student, or go on with --resume.", str(out))
    use(threads, "cpu")
    files = {key: value for key, value in (("pairs", pairs), ("source", source), ("target", target)) if value}
    chosen = chosen_recipe(recipe, None, files, settings or [], None, False)
    translator = loaded(teacher, None, "cpu", allow_drift, precision)
    decode = decoding(translator.settings.decode, beam, None)
    taught = write(translator, chosen, out.with_name(f"{out.name}.text"), decode, tell=console.tell)
    run_recipe(taught, out, 1, resume=resume)
    tell_next(taught, out)
