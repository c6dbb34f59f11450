"""A worker of `onehop bench`: CTranslate2 on the same weights.

    python translate_ctranslate2.py FOLDER THREADS PRECISION

FOLDER holds `weights.npz` (Onehop's names) and `model.json`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from ctranslate2.specs import TransformerSpec
from serve import serve

CONVERT = "convert"  # and nothing else


def converted(folder: Path, precision: str) -> Path:
    """Write the model in CTranslate2's format, in one precision, once."""
    out = folder / f"ctranslate2-{precision}"
    if out.exists():
        return out
    shape = json.loads((folder / "model.json").read_text())
    weights = dict(np.load(folder / "weights.npz"))
    spec = TransformerSpec.from_config(
        (shape["encoder_layers"], shape["decoder_layers"]), shape["heads"], pre_norm=shape["pre_norm"]
    )
    for name in ("encoder", "decoder"):
        side = getattr(spec, name)
        table = weights[f"{name}.embedding"]
        embeddings = side.embeddings[0] if name == "encoder" else side.embeddings
        embeddings.weight = table
        side.scale_embeddings = True
        side.position_encodings.encodings = weights["positions"]
        for number, layer in enumerate(side.layer):
            fill(layer, f"{name}.{number}", weights, cross=name == "decoder")
        if shape["pre_norm"]:
            norm(side.layer_norm, f"{name}.norm", weights)
    spec.decoder.projection.weight = weights["output"]
    tokens = [str(number) for number in range(len(weights["output"]))]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "1", "2", "0"
    spec.config.decoder_start_token = "1"
    spec.validate()
    spec.optimize(quantization=None if precision == "float32" else precision)
    out.mkdir()
    spec.save(str(out))
    return out


def fill(layer: Any, name: str, weights: dict[str, np.ndarray], cross: bool) -> None:
    """Set the weights of a block."""

    def linear(spec: Any, *names: str) -> None:
        spec.weight = np.concatenate([weights[f"{name}.{each}.weight"] for each in names])
        biases = [weights.get(f"{name}.{each}.bias") for each in names]
        spec.bias = np.concatenate(biases) if biases[0] is not None else np.zeros(len(spec.weight), np.float32)

    linear(layer.self_attention.linear[0], "self.query", "self.key", "self.value")
    linear(layer.self_attention.linear[1], "self.out")
    norm(layer.self_attention.layer_norm, f"{name}.norms.0", weights)
    if cross:
        linear(layer.attention.linear[0], "cross.query")
        linear(layer.attention.linear[1], "cross.key", "cross.value")
        linear(layer.attention.linear[2], "cross.out")
        norm(layer.attention.layer_norm, f"{name}.norms.1", weights)
    linear(layer.ffn.linear_0, "up")
    linear(layer.ffn.linear_1, "down")
    norm(layer.ffn.layer_norm, f"{name}.norms.2", weights)


def norm(spec: Any, name: str, weights: dict[str, np.ndarray]) -> None:
    """Set a normalisation."""
    spec.gamma, spec.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]


def main() -> None:
    """Load and serve."""
    folder, threads, precision = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if sys.argv[4:] == [CONVERT]:
        converted(folder, precision)
        return
    # by a process of its own: what that takes is not what translating takes
    subprocess.run([sys.executable, __file__, *sys.argv[1:4], CONVERT], check=True)
    began = time.perf_counter()
    translator = ctranslate2.Translator(
        str(converted(folder, precision)), device="cpu", compute_type=precision, intra_threads=threads, inter_threads=1
    )

    def run(inputs: list[Any], request: dict[str, Any]) -> list[Any]:
        sources = [[str(token) for token in source] for source in inputs]
        options: dict[str, Any] = {"beam_size": request["beam"], "length_penalty": 1.0}
        if request.get("length"):
            options |= {"min_decoding_length": request["length"], "max_decoding_length": request["length"]}
        found = translator.translate_batch(sources, max_batch_size=request["batch"], **options)
        return [[int(token) for token in one.hypotheses[0]] for one in found]

    serve(run, began)


if __name__ == "__main__":
    main()
