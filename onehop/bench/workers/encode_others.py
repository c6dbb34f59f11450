"""A worker of `onehop bench`: a BERT by transformers, onnxruntime or OpenVINO, batches sorted by length.

python encode_others.py FOLDER THREADS PRODUCT-PRECISION

The product is transformers or openvino, in float32 or bfloat16, or onnxruntime, in float32 or int8.
FOLDER/checkpoint names the checkpoint's folder. What is exported of it stays in FOLDER: `model.onnx`, fused by
onnxruntime's own optimizer (`fused.onnx`) and quantised by its dynamic quantisation (`int8.onnx`).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from serve import serve

Encode = Callable[[np.ndarray, np.ndarray], np.ndarray]


def exported(folder: Path, kind: str) -> str:
    """Return the path of an ONNX file, written if it is not there."""
    path = folder / f"{kind}.onnx"
    if path.exists():
        return str(path)
    if kind == "model":
        from transformers import AutoModel

        class States(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = AutoModel.from_pretrained((folder / "checkpoint").read_text(), attn_implementation="eager")

            def forward(self, tokens: Any, mask: Any) -> Any:
                return self.model(input_ids=tokens, attention_mask=mask).last_hidden_state

        free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
        tokens, mask = torch.full((2, 3, 7), 1)  # two tensors: of one given twice, the exporter makes one input
        torch.onnx.export(
            States().eval(), (tokens, mask), str(path), input_names=["tokens", "mask"], output_names=["states"],
            dynamic_shapes={"tokens": free, "mask": free}, dynamo=True, verbose=False,
        )  # fmt: skip
    elif kind == "fused":
        from onnxruntime.transformers.optimizer import optimize_model

        config = json.loads((Path((folder / "checkpoint").read_text()) / "config.json").read_text())
        heads, width = config["num_attention_heads"], config["hidden_size"]
        optimize_model(exported(folder, "model"), model_type="bert", num_heads=heads, hidden_size=width
                       ).save_model_to_file(str(path))  # fmt: skip
    else:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(exported(folder, "fused"), str(path), weight_type=QuantType.QInt8)
    return str(path)


def encoder(folder: Path, threads: int, product: str, precision: str) -> Encode:
    """Return what turns tokens and mask `(B, S)` into states `(B, S, D)`."""
    if product == "transformers":
        from transformers import AutoModel

        dtype = getattr(torch, precision)
        model = AutoModel.from_pretrained((folder / "checkpoint").read_text(), dtype=dtype).eval()

        def run(tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                found = model(input_ids=torch.from_numpy(tokens), attention_mask=torch.from_numpy(mask))
            return found.last_hidden_state.float().numpy()

        return run
    if product == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = exported(folder, "int8" if precision == "int8" else "fused")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda tokens, mask: session.run(None, {"tokens": tokens, "mask": mask})[0]
    import openvino

    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(exported(folder, "model")), "CPU", settings)
    return lambda tokens, mask: compiled({"tokens": tokens, "mask": mask})[0]


def embed(encode: Encode, rows: list[list[int]], batch: int) -> np.ndarray:
    """Return the mean of each row's states, of length 1."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(rows), batch):
        chosen = order[start : start + batch]
        longest = max(len(rows[i]) for i in chosen)
        tokens, mask = np.zeros((2, len(chosen), longest), np.int64)
        for place, i in enumerate(chosen):
            tokens[place, : len(rows[i])], mask[place, : len(rows[i])] = rows[i], 1
        means = (encode(tokens, mask) * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        found.update(zip(chosen, means, strict=True))
    return np.stack([found[i] for i in range(len(rows))])


def main() -> None:
    """Load and serve."""
    folder, threads, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(threads)
    product, _, precision = mode.partition("-")
    began = time.perf_counter()
    encode = encoder(folder, threads, product, precision)
    serve(lambda rows, request: embed(encode, rows, request["batch"]).tolist(), began)


if __name__ == "__main__":
    main()
