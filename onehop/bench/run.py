"""Let the systems take turns."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from onehop.bench.report import Report, Row, row
from onehop.bench.systems import ENCODE, TRANSLATE, Process, systems_for
from onehop.errors import ModelError
from onehop.nn.positions import Sinusoidal, sinusoidal
from onehop.runtime.transformer import unknown
from onehop.tasks import Package
from onehop.tasks.foreign import save_checkpoint
from onehop.text import EOS

SINGLE = 50  # inputs that are run one at a time
READS = {  # by task: the method that turns rows of tokens into numbers, and does most of the work
    "classify": "log_probs", "multilabel": "scores", "regress": "values",
    "tag": "emissions", "answer": "scores", "choose": "scores", "embed": "vectors",
}  # fmt: skip


def bench(
    package: Package, sources: Sequence[list[int]], *, python: str = sys.executable, rounds: int = 5, batch: int = 32,
    threads: int = 1, tell: Callable[[str], None] = lambda text: None,
) -> Report:  # fmt: skip
    """Measure a model.

    Args:
        package: The model.
        sources: Tokens of inputs, without marks; at least one.
        python: Interpreter of the environment that rivals are installed in.
        rounds: Turns of each system; before them each has one to warm up.
        batch: Inputs of a batch of `bulk`.
        threads: For products.
        tell: Is told of progress.

    Raises:
        OnehopError: A system cannot load the model.
    """
    task: Any = package.task
    translates = task.task == "translation"
    beam = task.settings.decode.beam_size if translates else None
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "model").write_text(str(package.path))
        unfit = written_for_others(task, folder) if translates else _checkpoint(task, folder)
        systems, missing = systems_for(TRANSLATE if translates else ENCODE, python, unfit)
        inputs, framed = _inputs(task, sources)
        processes = [Process(system, folder, threads, python) for system in systems]
        request = {"beam": beam, "framed": framed, "read": READS.get(task.task)}
        rows: list[Row] = []
        for work in ("bulk", "single"):
            some = inputs if work == "bulk" else inputs[:SINGLE]
            asked = {**request, "inputs": some, "batch": max(2, batch) if work == "bulk" else 1}
            rows += _measured(work, processes, asked, rounds, translates, tell)
        for process in processes:
            process.close()
    gone = {each.name: each.reason for each in missing}
    unit = "tokens" if translates else "texts"
    return Report(
        str(package.path), task.task, unit, len(inputs), threads, rounds, beam, batch, tuple(rows), gone
    )  # fmt: skip


def _measured(
    work: str, processes: Sequence[Process], request: dict[str, Any], rounds: int, translates: bool,
    tell: Callable[[str], None],
) -> list[Row]:  # fmt: skip
    answers: dict[str, list[dict[str, Any]]] = {}
    for turn in range(rounds + 1):
        for process in processes:
            answer = process.ask(request)
            if turn:  # the first is to warm up
                answers.setdefault(process.system.name, []).append(answer)
        tell(f"{work}: round {turn} of {rounds}")
    expected = answers["onehop reference"][0]["outputs"]
    rows: list[Row] = []
    for process in processes:
        given = answers[process.system.name]
        outputs = given[0]["outputs"]
        count = sum(len(tokens) + 1 for tokens in outputs) if translates else len(outputs)
        equal = _same(outputs, expected) if translates else _cosine(outputs, expected)
        rows.append(row(work, process.system.name, given, count, equal, process.load))
    return rows


def _same(outputs: list[Any], expected: list[Any]) -> float:
    return sum(one == other for one, other in zip(outputs, expected, strict=True)) / len(expected)


def _cosine(outputs: list[Any], expected: list[Any]) -> float:
    least = 1.0
    for one, other in zip(outputs, expected, strict=True):
        lengths = np.linalg.norm(one) * np.linalg.norm(other)
        least = min(least, float(np.dot(one, other) / max(float(lengths), 1e-30)))
    return least


def _inputs(task: Any, sources: Sequence[list[int]]) -> tuple[list[list[int]], bool]:
    """Return tokens as all systems get them, with the marks around them, and whether a text has two."""
    if task.task == "translation":
        return [[*tokens, EOS] for tokens in sources], False
    documents = task.documents
    if hasattr(documents, "begin"):
        return [[documents.begin, *tokens, documents.end] for tokens in sources], True
    return [list(tokens) for tokens in sources], False


# ------------------------------------------------------------------------------------------------ models for others


def _checkpoint(task: Any, folder: Path) -> str:
    """Write an embedder as a checkpoint; return why there is none for other systems, or nothing."""
    if task.task != "embed":
        return "no worker runs its head"
    if task.settings.pooling != "mean" or not task.settings.unit:
        return "vectors that are no mean of length 1"
    try:
        save_checkpoint(task, folder / "hf")
    except ModelError as error:
        return error.problem
    (folder / "checkpoint").write_text(str(folder / "hf"))
    return ""


def written_for_others(task: Any, folder: Path) -> str:
    """Write a Transformer's weights by short names; return why other systems do not run it, or nothing."""
    model = task.model
    first = unknown(model)
    if first:
        return f"it has {first}"
    own, feedforward = model.encoder[0].attention, model.encoder[0].feedforward
    if type(model.positions) is not Sinusoidal or own.num_heads != own.num_kv_heads or hasattr(feedforward, "gate"):
        return "only sinusoidal positions, a key for each head and no gates are converted"
    norms = [each for each in model.modules() if isinstance(each, nn.LayerNorm | nn.RMSNorm)]
    if feedforward.activation is not F.relu or not all(isinstance(each, nn.LayerNorm) for each in norms):
        return "only ReLU and layer normalisation are converted"
    before = not isinstance(model.encoder[0].attention_residual.before, nn.Identity)
    if isinstance(model.encoder_norm, nn.Identity) is before or model.output.bias is not None or task.others:
        return "a last normalisation, a bias of the vocabulary, or an ensemble, which are not converted"
    shape = {
        "encoder_layers": len(model.encoder), "decoder_layers": len(model.decoder), "heads": own.num_heads,
        "pre_norm": before,
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(shape))
    weights: dict[str, Any] = {key: value.detach().numpy() for key, value in exported(model).items()}
    np.savez(folder / "weights.npz", **weights)
    return ""


def exported(model: Any) -> dict[str, torch.Tensor]:
    """Return a Transformer's weights under short names, as `workers/translate_ctranslate2.py` reads them."""
    found: dict[str, torch.Tensor] = {
        "positions": sinusoidal(torch.arange(512), model.output.in_features), "output": model.output.weight,
        "encoder.embedding": model.source_embedding.weight, "decoder.embedding": model.target_embedding.weight,
    }  # fmt: skip

    def put(name: str, module: nn.Module) -> None:
        found.update({f"{name}.{key}": value for key, value in module.named_parameters()})

    for side in ("encoder", "decoder"):
        for number, block in enumerate(getattr(model, side)):
            name = f"{side}.{number}"
            for kind, attention in (("self", block.attention), ("cross", getattr(block, "cross", None))):
                if attention is not None:
                    put(f"{name}.{kind}", attention.projections)
                    put(f"{name}.{kind}.out", attention.out)
            put(f"{name}.up", block.feedforward.up)
            put(f"{name}.down", block.feedforward.down)
            for place, kind in enumerate(("attention", "cross", "feedforward")):
                residual = getattr(block, f"{kind}_residual", None)
                if residual is not None:
                    put(f"{name}.norms.{place}", residual.before)
                    put(f"{name}.norms.{place}", residual.after)
        put(f"{side}.norm", getattr(model, f"{side}_norm"))
    return found
