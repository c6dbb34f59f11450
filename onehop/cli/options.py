"""Options that mean the same wherever they make sense."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onehop.errors import ConfigError

if TYPE_CHECKING:
    from onehop.tasks import DecodeConfig, Translator

Threads = Annotated[
    int | None, typer.Option("--threads", min=1, max=512, help="Processor threads; default: all cores.")
]
Device = Annotated[str, typer.Option("--device", help="Where to run, as torch names it: cpu, cuda, cuda:1, mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Long = Annotated[str, typer.Option("--long", help="Lines longer than the model's limit: error, drop, cut or window.")]
PairLong = Annotated[str, typer.Option("--long", help="Lines longer than the model's limit: error, drop or cut.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Such as decode.max_length=40; may be repeated.")]
Tag = Annotated[str, typer.Option("--tag", help="Tag of the training data to put before each source; default: none.")]
Beam = Annotated[int | None, typer.Option("--beam", min=1, help="Beam size; 1 is greedy. Default: the package's.")]

TextColumns = Annotated[
    list[str] | None, typer.Option("--text-column", help="Column of texts; may be repeated. Default: found by name.")
]
LabelColumn = Annotated[str, typer.Option("--label-column", help="Column of labels. Default: found by name.")]
Precision = Annotated[
    str, typer.Option("--precision", help="Of the products: float32, bfloat16 or int8; what ran is told.")
]
AllowDrift = Annotated[
    bool, typer.Option("--allow-drift", help="Use a model that no longer does what it did when it was made.")
]
AllowPickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle", help="Read a foreign checkpoint's pytorch_model.bin, where there is no safetensors."
    ),
]
Ensemble = Annotated[
    list[str] | None, typer.Option("--ensemble", help="Another model to translate together with; may be repeated.")
]


def use(threads: int | None, device: str) -> str:
    """Set the number of threads and return the device, once it is known to be there."""
    import torch

    from onehop.cli.allocator import keep_freed_memory

    keep_freed_memory()
    gc.freeze()  # torch's modules live to the end: a search for garbage among them takes longer than a sentence
    if threads:
        torch.set_num_threads(threads)
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        remedy = "Use --device cpu." if torch.cuda.device_count() == 0 else "Use one that `onehop doctor` lists."
        raise ConfigError(f"no such device: {device!r}", remedy, "--device") from error
    return device


def policy(long: str, *, pairs: bool = False) -> Any:
    """Return a known policy for long lines, or for lines that must stay whole, as those of pairs."""
    from onehop.text.ledger import LINE_POLICIES, NO_WINDOWS, POLICIES

    if pairs and long == "window":
        raise ConfigError(NO_WINDOWS, "Use error, drop or cut.", "--long window")
    if long not in LINE_POLICIES:
        *names, last = POLICIES if pairs else LINE_POLICIES
        raise ConfigError(f"unknown value {long!r}", f"Use {', '.join(names)} or {last}.", "--long")
    return long


def loaded(model: str, ensemble: list[str] | None, device: str, allow_drift: bool, precision: str) -> Translator:
    """Return a fast translator on its device, of one model or of several together.

    A drift that is allowed is told, and how the model runs.
    """
    from onehop.tasks import load_ensemble

    known_precision(precision)
    translator = load_ensemble([model, *(ensemble or [])], allow_drift=allow_drift, device=device)
    tell_drift(translator.drift)
    return faster(translator, precision)


def faster(task: Any, precision: str) -> Any:
    """Return a task as fast as it runs on this machine, and say how."""
    import torch

    from onehop.cli import console

    fast = task.fast(precision, console.tell)
    threads = torch.get_num_threads()
    console.tell(f"{fast.speed}, {threads} thread{'s' if threads > 1 else ''}")
    return fast


def known_precision(precision: str) -> None:
    """Refuse a precision that there is not, before a model is loaded."""
    from onehop.runtime import check_precision

    check_precision(precision, "--precision")


def task_of(model: str) -> str:
    """Return the task of a model, before it is loaded; that of a checkpoint stands nowhere, so it is read for it."""
    from onehop.tasks import load_package
    from onehop.tasks.checkpoints import is_checkpoint
    from onehop.tasks.folders import find
    from onehop.tasks.manifest import task_of as read

    folder = find(model)
    return load_package(folder).task.task if is_checkpoint(folder) else read(folder)


def tell_drift(drift: str) -> None:
    """Say what a model does otherwise than when it was made, if it does."""
    from onehop.cli import console

    if drift:
        console.tell(f"warning: does not do what it did when it was made: {drift}")


def decoding(
    package: DecodeConfig,
    beam: int | None,
    changes: list[str] | None,
    *,
    sampled: bool = False,
    seed: int | None = None,
) -> DecodeConfig:
    """Return the package's way to decode with `--set decode.KEY=VALUE`, `--beam`, `--sample` and `--seed` applied.

    Whoever turns sampling off needs not turn off one by one what shapes the samples of the package.
    """
    from onehop.config import override, validate
    from onehop.tasks import DecodeConfig

    given = override({}, changes or [])
    if given.keys() - {"decode"}:
        names = ", ".join(given.keys() - {"decode"})
        raise ConfigError(f"{names}: only keys of decode can be set here", "Such as decode.alpha=1", "--set")
    keys = {**given.get("decode", {}), **({"sample": True} if sampled else {})}
    searches = keys.get("sample") is False
    table = {**(package.searched(package.beam_size) if searches else package).model_dump(), **keys}
    if beam is not None and table["sample"] is True:
        remedy = "Leave out --beam, or --sample." if sampled else "Leave out --beam, or add --set decode.sample=false."
        raise ConfigError("a sample follows one hypothesis and has no beam", remedy, "--beam")
    if seed is not None and table["sample"] is not True:
        raise ConfigError("only sampling uses a seed", "Add --sample, or leave out --seed.", "--seed")
    table |= {key: value for key, value in (("beam_size", beam), ("seed", seed)) if value is not None}
    return validate(DecodeConfig, table, "command line", "decode.")
