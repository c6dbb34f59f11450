"""The systems that can run a model, and the processes that they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onehop.errors import ConfigError, OnehopError
from onehop.runtime import kernels, precisions

WORKERS = Path(__file__).parent / "workers"


@dataclass(frozen=True)
class System:
    """A way to run a model.

    Args:
        name: Product and precision.
        worker: Its file.
        mode: What the worker is told.
        needs: The package that it imports; empty for Onehop's own.
    """

    name: str
    worker: str
    mode: str
    needs: str = ""


@dataclass(frozen=True)
class Missing:
    """A system that does not take part.

    Args:
        name: Of the system.
        reason: Why.
    """

    name: str
    reason: str


OWN = tuple(
    System(f"onehop {mode}", "run_onehop.py", mode) for mode in ("float32", "bfloat16", "int8", "reference")
)  # the reference path last: it is what the others are equal to
TRANSLATE = tuple(
    System(f"ctranslate2 {mode}", "translate_ctranslate2.py", mode, "ctranslate2") for mode in ("float32", "int8")
)
ENCODE = tuple(
    System(f"{product} {precision}", "encode_others.py", f"{product}-{precision}", product)
    for product, precision in (
        ("transformers", "float32"), ("transformers", "bfloat16"), ("onnxruntime", "float32"), ("onnxruntime", "int8"),
        ("openvino", "float32"), ("openvino", "bfloat16"),
    )
)  # fmt: skip


def systems_for(rivals: Sequence[System], python: str, unfit: str) -> tuple[list[System], list[Missing]]:
    """Return the systems that take part, and those that do not.

    Args:
        rivals: That could.
        python: Interpreter of the environment they are installed in.
        unfit: Why none of them runs this model; empty where they do.

    Raises:
        ConfigError: There is no such interpreter.
    """
    here = (*precisions(), "reference")
    own = [system for system in OWN if system.mode in here]
    found = kernels()
    why = f"no kernels: {found}" if isinstance(found, str) else "not on this processor"
    missing = [Missing(system.name, why) for system in OWN if system.mode not in here]
    names = list(dict.fromkeys(system.needs for system in rivals))
    if unfit:
        return own, [*missing, *(Missing(name, unfit) for name in names)]
    code = f"import importlib.util as u; print(*[n for n in {names!r} if u.find_spec(n)])"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"no Python runs as {python!r}", "Name the interpreter of an environment.", "--rivals"
        ) from error
    there = done.stdout.split()
    missing += [Missing(name, f"not installed for {python}") for name in names if name not in there]
    return [*own, *(system for system in rivals if system.needs in there)], missing


class Process:
    """A worker.

    Args:
        system: Which.
        folder: Where the model is, in every form that a system reads.
        threads: For its products.
        python: Of the rivals.

    Raises:
        OnehopError: It cannot load the model.
    """

    def __init__(self, system: System, folder: Path, threads: int, python: str) -> None:
        self.system = system
        own = not system.needs
        env = {**os.environ, "OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        env |= {"PYTHONPATH": str(Path(__file__).parents[2])} if own else {}
        interpreter = sys.executable if own else python
        command = [interpreter, str(WORKERS / system.worker), str(folder), str(threads), system.mode]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True, env=env)
        self.load: float = self._answer()["load"]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request; see `workers/serve.py`."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):  # exporters print more
                return json.loads(line)
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
        self.close()
        raise OnehopError(f"{self.system.name} ended: {lines[-1][:300]}", "Leave it out of the comparison.", "bench")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()
