"""`onehop`: the verbs, and the one place where an error becomes a message and an exit status."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from onehop.cli import (
    bench,
    console,
    data,
    distill,
    doctor,
    evaluate,
    explain,
    export,
    info,
    lab,
    predict,
    quickstart,
    search,
    train,
    translate,
    verify,
)
from onehop.errors import OnehopError, Stopped

app = typer.Typer(
    name="onehop",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, fine-tune, look inside and ship sequence models. Every token, one hop away.",
)
app.command("quickstart")(quickstart.quickstart)
app.command("train")(train.train)
app.command("distill")(distill.distill)
app.command("translate")(translate.translate)
app.command("predict")(predict.predict)
app.command("search")(search.search)
app.command("evaluate")(evaluate.evaluate)
app.command("explain")(explain.explain)
app.command("info")(info.info)
app.command("verify")(verify.verify)
app.command("export")(export.export)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.add_typer(lab.app, name="lab")


def _version(wanted: bool) -> None:
    if wanted:
        import onehop

        typer.echo(f"onehop {onehop.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, fine-tune, look inside and ship sequence models. Every token, one hop away."""


def main() -> None:
    """Run a verb; exit 1 where a check found something, 2 for what a user can mend, 128 + signal."""
    try:
        app(prog_name="onehop")
    except OnehopError as error:
        sys.exit(_failed(str(error)))
    except Stopped as stop:
        console.error(str(stop))
        sys.exit(stop.status)
    except MemoryError:
        sys.exit(_failed(OUT_OF_MEMORY))
    except OSError as error:
        from onehop.files import file_error

        sys.exit(_failed(str(file_error(error, error.filename or "output", "go on"))))
    except RuntimeError as error:  # torch has no class of its own for the processor's memory
        if "DefaultCPUAllocator" not in str(error) and type(error).__name__ != "OutOfMemoryError":
            raise
        sys.exit(_failed(OUT_OF_MEMORY))


OUT_OF_MEMORY = "out of memory\n  Use a smaller train.batch_tokens, decode.batch_tokens or model."


def _failed(message: str) -> int:
    console.error(message)
    return 2
