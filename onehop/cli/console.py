"""What people see on stderr: messages, and a live bar on a terminal or plain lines elsewhere."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress

    from onehop.train.listener import Evaluation, Status

stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def error(text: str) -> None:
    """Print an error: what, then what to do."""
    stderr.print(Text("error: ", style="bold red") + Text(text))


def tell(text: str) -> None:
    """Print a line for people; what could steer a terminal, from a label or a file's name, is shown escaped."""
    with suppress(OSError):  # a terminal that was closed must not end a training
        stderr.print(Text("".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)))


def duration(seconds: float) -> str:
    """Return seconds as people say them: `42 s`, `3:05`, `1:02:03`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class TrainingView:
    """A listener that draws a run: a bar on a terminal, a line every half minute or so elsewhere."""

    EVERY = 20.0  # seconds between plain lines

    def __init__(self) -> None:
        self._live = stderr.is_terminal
        self._bar: Progress | None = None
        self._task: Any = None
        self._last = -self.EVERY

    def __enter__(self) -> TrainingView:
        if self._live:
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (
                TextColumn("[bold]train"), BarColumn(bar_width=30), TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("update {task.fields[update]:,}"), TextColumn("loss [bold]{task.fields[loss]:.3f}"),
                TextColumn("{task.fields[speed]:,.0f} {task.fields[unit]}/s"),
                TextColumn("{task.fields[gflops]:,.0f} GFLOP/s"), TextColumn("{task.fields[left]} left"),
            )  # fmt: skip
            self._bar = Progress(*columns, console=stderr, transient=True)
            self._task = self._bar.add_task(
                "train", total=1.0, update=0, loss=0.0, speed=0.0, unit="tokens", gflops=0.0, left="?", visible=False
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def tell(self, text: str) -> None:
        """Print above the bar."""
        tell(text)

    def updated(self, status: Status) -> None:
        """Move the bar, or print a line now and then."""
        left = duration(status.seconds_left)
        if self._bar:
            self._bar.update(
                self._task, completed=status.fraction, update=status.update, loss=status.loss,
                speed=status.tokens_per_second, unit=status.unit, gflops=status.flops / 1e9, left=left, visible=True,
            )  # fmt: skip
            return
        import time

        if time.monotonic() - self._last >= self.EVERY:
            self._last = time.monotonic()
            tell(
                f"update {status.update:,} ({status.fraction:.0%})  loss {status.loss:.3f}  "
                f"{status.tokens_per_second:,.0f} {status.unit}/s  {status.flops / 1e9:,.0f} GFLOP/s  {left} left"
            )

    def evaluated(self, evaluation: Evaluation) -> None:
        """Print the figures, if there are any."""
        if not evaluation.measured:
            tell(f"update {evaluation.update:,}: no validation; this model is kept")
            return
        best = "  best so far" if evaluation.best else ""
        figures = f"validation loss {evaluation.loss:.3f}, {evaluation.told}"
        tell(f"update {evaluation.update:,}: {figures}{best}")


def flat(text: str) -> str:
    """Keep one line one line."""
    return text.replace("\r", " ").replace("\n", " ")


def stdout() -> IO[str]:
    """Return standard output as UTF-8, whatever the locale says; a lone surrogate becomes `?`."""
    sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="\n")  # type: ignore[union-attr]
    return sys.stdout


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    import json

    out = stdout()
    out.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
    out.flush()
