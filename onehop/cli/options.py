"""Options that mean the same wherever they make sense."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onehop.errors import ConfigError

if TYPE_CHECKING:
    from onehop.tasks import DecodeConfig

Threads = Annotated[
    int | None, typer.Option("--threads", min=1, max=512, help="Processor threads; default: all cores.")
]
Device = Annotated[str, typer.Option("--device", help="Where to run, as torch names it: cpu, cuda, cuda:1, mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Long = Annotated[str, typer.Option("--long", help="Lines longer than the model's limit: error, drop or cut.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Such as decode.max_length=40; may be repeated.")]
Beam = Annotated[int | None, typer.Option("--beam", min=1, help="Beam size; 1 is greedy. Default: the package's.")]


def use(threads: int | None, device: str) -> str:
    """Set the number of threads and return the device, once it is known to be there."""
    import torch

    gc.freeze()  # torch's modules live to the end: a search for garbage among them takes longer than a sentence
    if threads:
        torch.set_num_threads(threads)
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        remedy = "Use --device cpu." if torch.cuda.device_count() == 0 else "Use one that `onehop doctor` lists."
        raise ConfigError(f"no such device: {device!r}", remedy, "--device") from error
    return device


def policy(long: str) -> Any:
    """Return a known policy for long lines."""
    if long not in ("error", "drop", "cut"):
        raise ConfigError(f"unknown value {long!r}", "Use error, drop or cut.", "--long")
    return long


def decoding(package: DecodeConfig, beam: int | None, changes: list[str] | None) -> DecodeConfig:
    """Return the package's way to search with `--set decode.KEY=VALUE` and `--beam` applied."""
    from onehop.config import override, validate
    from onehop.tasks import DecodeConfig

    tables = override({"decode": package.model_dump()}, changes or [])
    if len(tables) > 1:
        raise ConfigError(
            f"{', '.join(tables)}: only keys of decode can be set here", "Such as decode.alpha=1", "--set"
        )
    if beam is not None:
        tables["decode"]["beam_size"] = beam
    return validate(DecodeConfig, tables["decode"], "command line", "decode.")
