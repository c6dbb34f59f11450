"""`onehop doctor`: what this machine is, and whether Onehop works on it."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

import typer

from onehop.cli.options import Json

ISA = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimddp")


def doctor(as_json: Json = False) -> None:
    """Tell versions, processor, memory, disk and devices, and check that a small model trains here."""
    from onehop.cli import console
    from onehop.tasks.package import versions

    problems = [problem for problem in (_works(), _writes()) if problem]
    values: dict[str, Any] = {
        "versions": versions(),
        "system": platform.platform(),
        **_processor(),
        "memory_gib": _memory(),
        "disk_free_gib": round(shutil.disk_usage(".").free / 2**30, 1),
        "devices": _devices(),
        "problems": problems,
    }
    if as_json:
        console.print_json(values)
    else:
        _show(values)
    if problems:
        raise typer.Exit(1)


def _show(values: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in values.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value)) or "none"
        table.add_row(f"[bold]{name.replace('_', ' ')}", Text(str(value)))
    Console().print(table)


def _processor() -> dict[str, Any]:
    import torch

    path, flags, name = Path("/proc/cpuinfo"), set[str](), platform.processor()
    if path.is_file():
        rows = [line.partition(":") for line in path.read_text(errors="replace").splitlines()]
        facts = {key.strip(): value.strip() for key, _, value in rows}
        flags, name = (
            set(facts.get("flags", facts.get("Features", "")).split()),
            facts.get("model name", name),
        )
    return {
        "processor": name or platform.machine(),
        "instructions": [flag for flag in ISA if flag in flags],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _devices() -> list[str]:
    import torch

    names = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return ["cpu", *names, *(["mps"] if torch.backends.mps.is_available() else [])]


def _works() -> str:
    """Train a small model for an update and see whether a step changes it as it should."""
    import torch

    from onehop.data import evaluation_batches
    from onehop.models import build
    from onehop.tasks.translation_loss import loss_sum
    from onehop.train.adamw import AdamW

    torch.manual_seed(0)
    model = build("transformer", {"preset": "transformer-tiny", "dropout": 0.0}, 50)
    batch = next(evaluation_batches([[5, 6, 7]], [[8, 9]], 10))
    optimizer = AdamW([{"params": list(model.parameters()), "weight_decay": 0.01, "lr": 1e-3}], (0.9, 0.999), 1e-8)
    before = loss_sum(model, batch)
    before.backward()
    optimizer.step()
    after = loss_sum(model, batch)
    return "" if bool(after < before) else f"an update of a small model did not lower its loss: {before} to {after}"


def _writes() -> str:
    """Write a file here."""
    from onehop.errors import FileError
    from onehop.files import write_bytes

    path = Path(".onehop-doctor")
    try:
        write_bytes(path, b"x")
        path.unlink()
    except FileError as error:
        return f"cannot write in this folder: {error.problem}"
    return ""
