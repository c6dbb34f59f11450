"""`onehop export`: a model as a package of its own, in the precision that is wanted."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onehop.cli.options import AllowDrift, AllowPickle, tell_drift
from onehop.errors import ConfigError, DataError, FileError

if TYPE_CHECKING:
    from onehop.tasks import Package

GOLDEN, MOST = 8, 64  # lines of a package, and texts that are tried for them


def export(
    model: Annotated[str, typer.Argument(help="A run, a package, or a bundled name.")],
    out: Annotated[Path, typer.Argument(help="The new package; a folder that is empty or not there.")],
    precision: Annotated[
        str | None, typer.Option("--precision", help="Of the weights: float32, float16 or int8. Default: as they are.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="hf: a checkpoint that transformers loads. Default: a package.")
    ] = None,
    kv_heads: Annotated[
        int | None, typer.Option("--kv-heads", help="Key/value heads of the decoder. Default: as many as there are.")
    ] = None,
    pool: Annotated[
        str, typer.Option("--pool", help="How heads become one: mean; or, to compare, first or random.")
    ] = "mean",
    merge: Annotated[
        bool, typer.Option("--merge", help="Of an adapter: add its changes to the weights of its base.")
    ] = False,
    base: Annotated[
        str | None, typer.Option("--base", help="Of an adapter: where its base is. Default: where it was.")
    ] = None,
    golden: Annotated[
        str | None, typer.Option("--golden", help="Texts, one a line, for golden lines in place of those there are.")
    ] = None,
    allow_drift: AllowDrift = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Write a model as a package of its own, smaller if its weights are rounded to float16 or int8.

    An adapter (train.lora_rank) stays one, unless --merge makes it a model that needs no base.

    With --to hf, write an encoder, classifier, tagger or model that answers as a checkpoint of transformers instead.
    """
    from onehop.cli import console
    from onehop.tasks import convert, group_heads, load_package, save_package
    from onehop.tasks.grouping import POOLS
    from onehop.tasks.package import merge_package

    _refuse(precision, to, kv_heads, pool, out)
    if to and golden:
        raise ConfigError("a checkpoint of another library has no golden lines", "Leave one of them out.", "--golden")
    chosen: Any = precision  # one that there is
    package = load_package(model, allow_drift=allow_drift, allow_pickle=allow_pickle, base=base)
    tell_drift(package.task.drift)
    if merge:
        package = merge_package(package)
    if to:
        from onehop.tasks.foreign import save_checkpoint

        name = save_checkpoint(package.task, out)
        console.tell(f"checkpoint: {out}, of the class {name}")
        return
    if kv_heads is not None:
        before, package = _size(package), group_heads(package, kv_heads, POOLS[pool])
        console.tell(
            f"the decoder has {kv_heads} key/value heads already: nothing is changed"
            if _size(package) == before
            else "the model must learn to use its new heads: onehop train --init OUT, for a twentieth of its updates"
        )
    if precision or package.task.drift:  # what drifted gets golden lines of what it does now
        package = convert(package, chosen or package.precision)
    if golden:
        package = with_golden(package, golden)
    save_package(package, out)
    size = sum(file.stat().st_size for file in out.iterdir())
    console.tell(f"model: {out}, {package.precision}, {size / 1e6:.1f} MB")


def with_golden(package: Package, file: str) -> Package:
    """Return a package whose golden lines are made of the first texts of a file that are not too long for the model.

    Raises:
        DataError: There is none.
    """
    from onehop.files import read_lines
    from onehop.tasks.registry import kind

    texts = [line for line in islice(read_lines(file), MOST) if line.strip()]
    lines = kind(package.task.task).lines(package.task, texts)[:GOLDEN]
    if not lines:
        most = package.task.settings.text.max_length
        raise DataError("no text for golden lines", f"Give some of up to {most} tokens.", file)
    return replace(package, golden=lines)


def _size(package: Package) -> int:
    """Return how many numbers a translation model has learned; fewer key/value heads have fewer."""
    return sum(parameter.numel() for parameter in package.task.model.parameters())


def _refuse(precision: str | None, to: str | None, kv_heads: int | None, pool: str, out: Path) -> None:
    """Refuse options that there are not, or that do not go together, and a folder that holds something."""
    from onehop.tasks.grouping import POOLS

    if precision not in (None, "float32", "float16", "int8"):
        raise ConfigError(f"unknown value {precision!r}", "Use float32, float16 or int8.", "--precision")
    if pool not in POOLS:
        raise ConfigError(f"unknown value {pool!r}", f"Use {', '.join(POOLS)}.", "--pool")
    if pool != "mean" and kv_heads is None:
        raise ConfigError("no heads become one", "Name how many are to be left: --kv-heads, or leave it out.", "--pool")
    if to and kv_heads is not None:
        raise ConfigError("a checkpoint of another library keeps its heads", "Leave one of them out.", "--kv-heads")
    if to not in (None, "hf"):
        raise ConfigError(f"unknown value {to!r}", "Use hf, or leave it out.", "--to")
    if to and precision not in (None, "float32"):
        raise ConfigError(f"a checkpoint of {precision}", "Leave it out: it is float32.", "--precision")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileError("is not empty", "Name a new folder for the package.", str(out))
