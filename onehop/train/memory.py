"""Memory: how much training will need, how much there is, and one message where it runs out.

What a batch leaves for the way back is counted on the model itself, on a few rows, rather than by a formula for one
family; it grows with the tokens of the batch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from onehop.data import Batch
from onehop.errors import TrainingError
from onehop.train.objective import Loss
from onehop.train.recipe import TrainConfig

GIB = 2**30
WORDS = 32  # tokens of a line of the rows that are measured
ROWS = 4
REMEDY = (
    "Lower train.batch_tokens and raise train.accumulate as much, set train.activation_checkpointing = true, or take a "
    "smaller model."
)


@dataclass(frozen=True)
class Need:
    """What training takes beyond the weights, in bytes.

    Args:
        state: Gradients, both averages of AdamW, and the average of the weights if there is one.
        activations: What the largest batch leaves for the way back.
    """

    state: int
    activations: int

    def warning(self, free: float) -> str:
        """Return what to tell where so many bytes are free; empty if they suffice.

        Example:
            >>> print(Need(3 * GIB, 2 * GIB).warning(4 * GIB).split(" (")[0])
            warning: training needs about 5.0 GiB more memory, and 4.0 GiB are free
        """
        total = self.state + self.activations
        if total <= free:
            return ""
        parts = f"gradients and optimizer {self.state / GIB:.1f}, a batch {self.activations / GIB:.1f}"
        figures = f"about {total / GIB:.1f} GiB more memory, and {free / GIB:.1f} GiB are free ({parts})"
        return f"warning: training needs {figures}\n  {REMEDY}"


def need(
    model: nn.Module,
    loss_sum: Loss,
    train: TrainConfig,
    max_length: int,
    sample_batch: Callable[[int, int], Batch],
) -> Need:
    """Estimate what training will take; neither weights nor random numbers change.

    Args:
        model: Where it will train, in place.
        loss_sum: What it minimises.
        train: Says how large a batch is, and which averages there are.
        max_length: Most tokens of a line.
        sample_batch: Makes a batch of so many rows of so many tokens.
    """
    sizes = {learns: sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad is learns)
             for learns in (True, False)}  # fmt: skip
    words = max(1, min(WORDS, max_length))
    few, more = (_left(model, loss_sum, sample_batch(rows, words)) for rows in (ROWS, 2 * ROWS))
    rows = max(1, train.tokens // (words + 1))
    average = sum(sizes.values()) if train.ema else 0
    return Need(3 * sizes[True] + average, (more - few) * rows // ROWS)


def _left(model: nn.Module, loss_sum: Loss, batch: Batch) -> int:
    """Return the bytes that a batch leaves for the way back."""
    batch = batch.to(next(model.parameters()).device)
    seen: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an operation that saves its own output would hold itself for ever

    with torch.random.fork_rng(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = loss_sum(model.train(), batch)
    del loss
    return sum(seen.values())


@contextmanager
def memory_errors(update: int, batch: Callable[[], Batch | None]) -> Generator[None]:
    """Turn what an allocator raises into one message that tells the update and the shape of its batch.

    Raises:
        TrainingError: There was not enough memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        last = batch()
        sides = [] if last is None else [(last.source, "source"), (last.target, "target")]
        shape = " and ".join(f"{t.size(0)} x {t.size(1)} {name} tokens" for t, name in sides)
        problem = f"out of memory in update {update}" + (f", with a batch of {shape}" if shape else "")
        raise TrainingError(problem, REMEDY, "train.batch_tokens") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch has no class of its own for the processor's."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


class Memory:
    """Free memory of a device and the peak of a stretch of work, as far as the system tells them."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.cuda = device, device.type == "cuda"
        self._before = 0

    def free(self) -> float:
        """Return bytes that may be taken; without a limit where the system does not say."""
        if self.cuda:
            return torch.cuda.mem_get_info(self.device)[0]
        return min(_available(), _left_in_group())

    def begin(self) -> None:
        """Begin a stretch."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
            return
        with suppress(OSError):  # Linux forgets the peak; elsewhere only what exceeds it counts
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _peak()

    def used(self) -> int:
        """Return the peak of the stretch beyond what was in use when it began."""
        if self.cuda:
            return torch.cuda.max_memory_allocated(self.device) - self._before
        return _peak() - self._before

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


def _peak() -> int:
    """Return the most memory that this process has held, in bytes."""
    with suppress(OSError, IndexError):
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    with suppress(ImportError):  # Windows
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 0


def _available() -> float:
    """Return the bytes that the system can give without swapping; all there are, where it does not say."""
    with suppress(OSError):
        return 1024 * int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0])
    with suppress(OSError, ValueError, AttributeError):
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return float("inf")


def _left_in_group() -> float:
    """Return what a container's limit leaves."""
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        return float((group / "memory.max").read_text()) - float((group / "memory.current").read_text())
    return float("inf")
