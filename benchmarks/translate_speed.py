"""Translation speed beside the rivals': the same weights, inputs and machine, in turn, in one run.

    make rivals
    python benchmarks/translate_speed.py --model base small256 en-de --rounds 3

`base` (6+6 layers, 512 wide) and `small256` (4+4, 256) are Transformers with random weights and 8,000 pieces, which
write exactly 24 tokens; `en-de` is the bundled model. Sources are sentences of the bundled Tatoeba pairs. Every system
is a process that stays; requests take turns, and medians are quoted with their spread. Rivals run in every mode that
they offer, and the best of each counts. Nothing else may run on the machine.

Work: `beam4` and `greedy` in batches of 32 sentences, and `single`, one sentence at a time, greedy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import torch

import onehop
from onehop.bench.run import written_for_others
from onehop.bench.systems import OWN, TRANSLATE, Process
from onehop.data.tatoeba import pairs
from onehop.tasks import TextLimits, TranslationSettings, Translator, new_package, save_package
from onehop.text import train_bpe

HERE = Path(__file__).parent
SHAPES: dict[str, dict[str, Any]] = {
    "base": {"dim": 512, "ffn_dim": 2048, "num_heads": 8, "num_encoder_layers": 6, "num_decoder_layers": 6},
    "small256": {"dim": 256, "ffn_dim": 1024, "num_heads": 4, "num_encoder_layers": 4, "num_decoder_layers": 4},
}
SYSTEMS = {system.name: system for system in (*OWN, *TRANSLATE)}
WORK = {"beam4": (4, 32), "greedy": (1, 32), "single": (1, 1)}
LENGTH = 24  # tokens that a random model writes


def lines(count: int) -> list[str]:
    """Return English sentences of the bundled pairs, of 8 to 20 words."""
    texts = dict.fromkeys(pair.source for pair in pairs())
    chosen = [text for text in texts if 8 <= len(text.split()) <= 20]
    return chosen[:: max(1, len(chosen) // count)][:count]


def make(name: str, folder: Path) -> Translator:
    """Write a model for all workers; return it."""
    if name in SHAPES:
        tokenizer = train_bpe([text for pair in pairs() for text in (pair.source, pair.target)], 8_000)
        model, text = {**SHAPES[name], "attention_bias": True}, TextLimits(max_length=128, sentences=True)
        settings = TranslationSettings(architecture="transformer", model=model, text=text)
        torch.manual_seed(0)
        translator = Translator.build(settings, tokenizer, tokenizer)
        save_package(new_package(translator, ["Hello."], ""), folder / "package")
    else:
        translator = onehop.load(name)
        save_package(onehop.tasks.load_package(name), folder / "package")
    (folder / "model").write_text(str(folder / "package"))
    unfit = written_for_others(translator, folder)
    assert not unfit, unfit
    return translator


def measure(name: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Let all systems translate in turn; return a row for each system and work."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        translator = make(name, folder)
        texts = lines(arguments.sentences)
        sources = [[*tokens, 2] for tokens in translator.source_tokenizer.encode_batch(texts)]
        length = LENGTH if name in SHAPES else None
        systems = {
            each: Process(SYSTEMS[each], folder, arguments.threads, arguments.rivals) for each in arguments.system
        }
        rows: list[dict[str, Any]] = []
        for work in arguments.work:
            beam, batch = WORK[work]
            some = sources if batch > 1 else sources[: arguments.single]
            request = {"inputs": some, "beam": beam, "batch": batch, "length": length}
            warm = {**request, "inputs": some[:batch]}
            found: dict[str, list[dict[str, Any]]] = {each: [] for each in systems}
            for system in systems.values():
                system.ask(warm)
            for turn in range(arguments.rounds):
                for each, system in systems.items():
                    found[each].append(system.ask(request))
                    print(name, work, turn, each, f"{speed(found[each][-1]):.0f} tokens/s", flush=True)
            rows += [summary(name, work, each, answers, found, systems[each].load) for each, answers in found.items()]
        for system in systems.values():
            system.close()
    return rows


def speed(answer: dict[str, Any], clock: str = "wall") -> float:
    """Return target tokens for each second."""
    return sum(map(len, answer["outputs"])) / answer[clock]


def summary(
    model: str, work: str, system: str, answers: list[dict[str, Any]], everybody: dict[str, Any], load: float
) -> dict[str, Any]:
    """Return what is kept of a system's answers."""
    speeds = sorted(speed(answer) for answer in answers)
    each = sorted(second for answer in answers for second in answer["each"])
    outputs = answers[0]["outputs"]
    same = {
        other: round(sum(a == b for a, b in zip(outputs, given[0]["outputs"], strict=True)) / len(outputs), 4)
        for other, given in everybody.items()
        if other != system
    }
    return {
        "model": model, "work": work, "system": system, "tokens_per_second": round(statistics.median(speeds), 1),
        "spread": [round(speeds[0], 1), round(speeds[-1], 1)],
        "tokens_per_processor_second": round(statistics.median(speed(answer, "cpu") for answer in answers), 1),
        **({"p50_ms": round(1e3 * statistics.median(each), 2), "p95_ms": round(1e3 * each[int(0.95 * len(each))], 2)}
           if work == "single" else {}),
        "same_outputs": same, "peak_mb": round(answers[-1]["peak"]), "load_seconds": round(load, 2),
    }  # fmt: skip


def ratios(rows: list[dict[str, Any]]) -> list[str]:
    """Return how the best mode of Onehop compares with the best of each rival, for each model and work."""
    told: list[str] = []
    for model, work in dict.fromkeys((row["model"], row["work"]) for row in rows):
        best: dict[str, tuple[float, str]] = {}
        for row in rows:
            product = row["system"].split()[0]
            if (row["model"], row["work"]) == (model, work) and row["system"] != "onehop reference":
                best[product] = max(best.get(product, (0.0, "")), (row["tokens_per_second"], row["system"]))
        ours, name = best.pop("onehop", (0.0, ""))
        told += [
            f"{model} {work}: {name} {ours:.0f}, {rival} {value:.0f}: {ours / value:.2f}x"
            for value, rival in best.values()
        ]
    return told


def main() -> None:
    """Measure every model and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="*", default=["base", "small256", "en-de"])
    parser.add_argument("--work", nargs="*", default=list(WORK), choices=list(WORK))
    parser.add_argument("--system", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--sentences", type=int, default=256)
    parser.add_argument("--single", type=int, default=32, help="sentences that are translated one at a time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rivals", default=str(HERE.parent / ".rivals/bin/python"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "translate_speed.jsonl")
    arguments = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    for name in arguments.model:
        rows = measure(name, arguments)
        for line in ratios(rows):
            print(line, flush=True)
        about = {
            "threads": arguments.threads, "rounds": arguments.rounds, "sentences": arguments.sentences,
            "processor": platform.processor() or platform.machine(), "commit": commit.stdout.strip(),
            "date": date.today().isoformat(),
        }  # fmt: skip
        with open(arguments.out, "a", encoding="utf-8") as stream:
            for row in rows:
                stream.write(json.dumps({**row, **about}) + "\n")


if __name__ == "__main__":
    main()
