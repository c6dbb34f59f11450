"""One recipe under several seeds: how much of a score is luck, and which runs learnt nothing (Mosbach 2021).

Fine-tuning a large encoder on few texts sometimes ends where it says the same of every text. Such a run is told from
one that learnt badly: its figure that no constant pleases is 0. It is started again under another seed, and scores are
told with and without it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from onehop.errors import ConfigError
from onehop.files import Run, new_folder, to_json, write_text
from onehop.tasks import load_package, save_package
from onehop.tasks.manifest import is_adapter
from onehop.train.listener import Listener, Silent
from onehop.train.run import train

COUNTS = ("texts", "sentences", "choices", "questions")  # what an evaluation says it looked at, by task
CONSTANT = ("mcc", "spearman", "varied")  # figures that are 0 where every text gets the same
NOTHING = 1e-6
AGAIN = 1_000  # added to the seed of a run that is started again
BESIDES = ("majority", "chance", "temperature", "threshold", "answered", "varied")
SUMMARY = "seeds.json"


@dataclass(frozen=True)
class Seeded:
    """A run under one seed.

    Args:
        seed: Of it.
        folder: Of the run, beside the others.
        figures: Of validation, of the model kept.
        best: By which the best run is chosen; higher is better.
        degenerate: Whether it says the same of every text.
    """

    seed: int
    folder: str
    figures: Mapping[str, float]
    best: float
    degenerate: bool


@dataclass(frozen=True)
class Seeds:
    """What all runs together came to.

    Args:
        runs: In their order, those that were started again behind those that replaced them.
        chosen: The seed of the best, by validation.
    """

    runs: Sequence[Seeded]
    chosen: int

    @property
    def sound(self) -> list[Seeded]:
        """The runs that learnt something."""
        return [run for run in self.runs if not run.degenerate]

    @property
    def first(self) -> list[Seeded]:
        """The runs as they were asked for, without those that were started again."""
        return [run for run in self.runs if run.seed < AGAIN + min(one.seed for one in self.runs)]

    def to_dict(self) -> dict[str, Any]:
        """Return what `seeds.json` holds."""
        return {
            "runs": [asdict(run) for run in self.runs],
            "chosen": self.chosen,
            "degenerate": sum(run.degenerate for run in self.runs),
            "all": spread(self.first),
            "without_degenerate": spread(self.sound),
        }

    def told(self) -> list[str]:
        """Return the same in words."""
        if not any(run.figures for run in self.runs):
            return [f"{len(self.first)} seeds; nothing was held out to validate them, so seed {self.chosen} is kept"]
        lines = [f"{len(self.first)} seeds, as they came: {_words(spread(self.first))}"]
        if lost := sum(run.degenerate for run in self.runs):
            lines.append(f"{lost} of {len(self.runs)} runs say the same of every text; each was started again once")
            lines.append(f"without them, {len(self.sound)} runs: {_words(spread(self.sound))}")
        return [*lines, f"chosen by validation: seed {self.chosen}"]


def spread(runs: Sequence[Seeded]) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation of each figure.

    Example:
        >>> runs = [Seeded(n, "", {"accuracy": 0.5 + n / 10}, 0.0, False) for n in (1, 2, 3)]
        >>> spread(runs)
        {'accuracy': {'mean': 0.7, 'sd': 0.1}}
    """
    found: dict[str, dict[str, float]] = {}
    for name in runs[0].figures if runs else ():
        values = [run.figures[name] for run in runs]
        mean = sum(values) / len(values)
        sd = sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)) if len(values) > 1 else 0.0
        found[name] = {"mean": round(mean, 4), "sd": round(sd, 4)}
    return found


def _words(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return the figures of quality; those that say how it was come by stand in the file."""
    shown = {name: one for name, one in found.items() if name not in BESIDES}
    return ", ".join(f"{name} {one['mean']:.4g} ± {one['sd']:.2g}" for name, one in shown.items())


def train_seeds(
    recipe: Any,
    out: str | Path,
    count: int,
    *,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda text: None,
) -> Seeds:
    """Train a recipe under several seeds, each a run `out/seed-N`; the best package becomes `out/model`.

    Args:
        recipe: Its `train.seed` is the first.
        out: The folder of all runs.
        count: Of seeds, from 2.
        resume: Continue those that are not finished.
        overwrite: Move those that are there aside.
        listener: Hears how each run goes.
        device: As torch names it.
        tell: Hears how each ended.

    Raises:
        ConfigError: Fewer than two seeds.
    """
    if count < 2:
        raise ConfigError(f"{count} seeds have no spread", "Give two or more, or leave it out.", "--seeds")
    runs: list[Seeded] = []
    first = recipe.train.seed
    for seed in range(first, first + count):
        for attempt in (seed, seed + AGAIN):
            folder = Path(out) / f"seed-{attempt}"
            given = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": attempt})})
            tell(f"seed {attempt}: {folder}")
            train(given, folder, resume=resume, overwrite=overwrite, listener=listener or Silent(), device=device)
            runs.append(_seeded(attempt, Run(folder)))
            if not runs[-1].degenerate:
                break
            tell(f"seed {attempt}: degenerate, every text gets the same")
    best = max(runs, key=lambda run: (not run.degenerate, run.best))
    found = Seeds(runs, best.seed)
    _keep(Run(Path(out) / best.folder).model, Run(out).model)
    if (page := Run(Path(out) / best.folder).page).is_file():
        shutil.copyfile(page, Run(out).page)
    write_text(Path(out) / SUMMARY, to_json(found.to_dict()))
    return found


def _keep(package: Path, out: Path) -> None:
    """Copy a package; an adapter, which names its base by a path from where it lies, is written anew."""
    if is_adapter(package):
        save_package(load_package(package), out)
        return
    with new_folder(out) as new:
        shutil.copytree(package, new, dirs_exist_ok=True)


def _seeded(seed: int, run: Run) -> Seeded:
    """Return how a run ended, by its log: the figures of the last evaluation that was the best so far."""
    rows = [json.loads(line) for line in run.log.read_text("utf-8").splitlines()]
    kept = [row for row in rows if row["kind"] == "evaluation" and row["best"]][-1]
    known = {"kind", "update", "seconds", "best"}
    measured = all(kept.get(name) != 0 for name in COUNTS)  # without validation nothing can be said
    figures = {
        name: value for name, value in kept.items() if name not in known and isinstance(value, float) and measured
    }
    chosen = json.loads(run.record.read_text("utf-8"))["recipe"]["train"]["best"]
    figure = -figures.get("loss", 0.0) if chosen in ("loss", None) else figures.get(chosen, 0.0)
    constant = any(abs(figures[name]) < NOTHING for name in CONSTANT if name in figures)
    return Seeded(seed, run.folder.name, figures, figure, constant)
