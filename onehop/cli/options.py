"""Options that mean the same wherever they make sense."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from onehop.errors import ConfigError

Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Processor threads; default: all cores.")]
Device = Annotated[str, typer.Option("--device", help="Where to run, as torch names it: cpu, cuda, cuda:1, mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Long = Annotated[str, typer.Option("--long", help="Lines longer than the model's limit: error, drop or cut.")]
Beam = Annotated[int | None, typer.Option("--beam", min=1, help="Beam size; 1 is greedy. Default: the package's.")]


def use(threads: int | None, device: str) -> str:
    """Set the number of threads and return the device, once it is known to be there."""
    import torch

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


def decoding(settings: Any, beam: int | None) -> Any:
    """Return the package's way to search, with another beam if one is asked for."""
    from onehop.config import validate
    from onehop.tasks import DecodeConfig

    if beam is None:
        return settings.decode
    return validate(DecodeConfig, {**settings.decode.model_dump(), "beam_size": beam}, "command line")
