"""A listener that writes a run's figures for TensorBoard: `train.tensorboard`, with the extra `onehop[tensorboard]`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from onehop.errors import ConfigError
from onehop.files import Run, os_errors
from onehop.train.listener import Evaluation, Listener, Status
from onehop.train.progress import load_progress
from onehop.train.recipe import AnyRecipe

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def needs_tensorboard() -> None:
    """Raise a `ConfigError` where the extra is not installed."""
    if find_spec("tensorboard") is None:
        raise ConfigError(
            "the package tensorboard is not installed", "pip install 'onehop[tensorboard]'", "train.tensorboard"
        )


@contextmanager
def boards(recipe: AnyRecipe, run: Run, listener: Listener) -> Generator[Listener]:
    """Yield the listener, or one that also writes `RUN/tensorboard` if the recipe asks for it."""
    if not recipe.train.tensorboard:
        yield listener
        return
    saved = run.saved()
    after = load_progress(saved[-1]).update if saved else 0
    board = TensorBoard(run.tensorboard, listener, after)
    try:
        yield board
    finally:
        board.close()


class TensorBoard:
    """Writes loss, learning rate, gradient norm and speed of each update, and every evaluation; passes all on.

    Args:
        folder: Where event files go; those of earlier sittings stay.
        listener: Hears everything too.
        after: The update that the run stands at; what an earlier sitting wrote of later ones is no longer shown.
    """

    def __init__(self, folder: Path, listener: Listener, after: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._listener, self._folder = listener, folder
        with os_errors(folder, "write"):
            self._writer: SummaryWriter = SummaryWriter(str(folder), purge_step=after + 1 if after else 0)

    def tell(self, text: str) -> None:
        """Pass it on."""
        self._listener.tell(text)

    def updated(self, status: Status) -> None:
        """Write the figures of an update."""
        last = status.last
        self._write("train/loss", last.loss, status.update)
        self._write("train/learning_rate", last.learning_rate, status.update)
        self._write("train/gradient_norm", last.norm, status.update)
        self._write(f"train/{status.unit}_per_second", status.tokens_per_second, status.update)
        self._listener.updated(status)

    def evaluated(self, evaluation: Evaluation) -> None:
        """Write the figures of an evaluation, if anything was held out."""
        if evaluation.measured:
            self._write("valid/loss", evaluation.loss, evaluation.update)
        for name, figure in evaluation.figures.items() if evaluation.measured else ():
            if isinstance(figure, float):  # what is whole says how many were looked at
                self._write(f"valid/{name}", figure, evaluation.update)
        self._listener.evaluated(evaluation)

    def close(self) -> None:
        """Write what is still in memory."""
        with os_errors(self._folder, "write"):
            self._writer.close()

    def _write(self, name: str, value: float, step: int) -> None:
        with os_errors(self._folder, "write"):
            self._writer.add_scalar(name, value, step)
