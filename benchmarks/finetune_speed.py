"""Fine-tuning beside `transformers.Trainer`: examples a second, peak memory, and what came out.

    python benchmarks/finetune_speed.py --checkpoint CHECKPOINT --rivals VENV/bin/python --threads 2 > RESULT.json

Needs ONEHOP_DATA, and for the rival an interpreter with `transformers`, `accelerate` and `torch`. For each of CoLA,
SST-2 and STS-B both train the same number of passes over the same rows from the same checkpoint, turn about, each in a
process of its own. Seconds are those of training alone, as each tells them; peak memory is that of the process when
training has ended. Quality is judged on the dev sets by one function for both; where there are several seeds, with the
one-sided test of Welch (1947) for "ours is better". `--device cuda` trains both there, for the quality: its speed is
that of launching kernels.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

RAW = "cola/raw/"
SETS = {
    "cola": (f"{RAW}in_domain_train.tsv.gz", [f"{RAW}in_domain_dev.tsv.gz", f"{RAW}out_of_domain_dev.tsv.gz"],
             ["4"], "2", "mcc"),
    "sst2": ("sst2/train.tsv.gz", ["sst2/dev.tsv.gz"], ["1"], "2", "accuracy"),
    "stsb": ("stsb/stsb-en-train.csv.gz", ["stsb/stsb-en-dev.csv.gz"], ["1", "2"], "3", "spearman"),
}  # fmt: skip


def tables(name: str, rows: int) -> tuple[list[list[str]], list[list[list[str]]]]:
    """Return the rows of training and of each dev set: the texts, and last the target."""
    from onehop.data.labelled import LabelColumns, open_labelled

    train, dev, texts, label, figure = SETS[name]
    columns = LabelColumns(tuple(texts), label, numbers=figure == "spearman")

    def read(file: str) -> list[list[str]]:
        table = open_labelled(os.path.join(os.environ["ONEHOP_DATA"], file), columns).rows
        return [[*row.texts, row.label.strip()] for row in table]

    return read(train)[: rows or None], [read(file) for file in dev]


def ours(job: dict[str, Any]) -> dict[str, Any]:
    """Train with Onehop, as a recipe that says nothing but the data does."""
    import onehop
    from onehop.train import make_recipe, train

    figure, folder = SETS[job["set"]][4], Path(job["folder"])
    columns = [f"text{n}" for n in range(len(job["train"][0]) - 1)]
    for part in ("train", "dev"):
        lines = [dict(zip([*columns, "label"], row, strict=True)) for row in job[part]]
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = make_recipe({
        "task": "regress" if figure == "spearman" else "classify",
        "data": {"train": [str(folder / "train.jsonl")], "valid": [str(folder / "dev.jsonl")],
                 "text_columns": columns, "label_column": "label", "check": False},
        "train": {"init": job["checkpoint"], "seed": job["seed"], "evaluate_every": 1_000_000,
                  "precision": job["precision"]},
    })  # fmt: skip
    trained = train(recipe, folder / "run", device=job["device"])
    peak = peak_mib()
    log = [json.loads(line) for line in (folder / "run/log.jsonl").read_text().splitlines()]
    seconds = [row for row in log if row["kind"] == "update"][-1]["seconds"]
    model = onehop.load(folder / "run", device=job["device"])
    found = model.predict([row[0] if len(row) == 2 else tuple(row[:-1]) for row in job["dev"]], long="cut")
    values = [one.value if figure == "spearman" else one.label for one in found]
    return {"examples": trained.progress.targets, "seconds": seconds, "found": values, "peak_mib": peak}


def trainer(job: dict[str, Any]) -> dict[str, Any]:
    """Train with transformers.Trainer: 5e-5, batches of 32 padded to their longest, three passes."""
    import numpy as np
    from transformers import (  # pyright: ignore[reportMissingImports]
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    number = SETS[job["set"]][4] == "spearman"
    tokenizer = AutoTokenizer.from_pretrained(job["checkpoint"])
    labels = [] if number else sorted({row[-1] for row in job["train"]})
    model = AutoModelForSequenceClassification.from_pretrained(
        job["checkpoint"], num_labels=1 if number else len(labels), dtype="float32"
    )

    def encoded(rows: list[list[str]]) -> list[dict[str, Any]]:
        found = [dict(tokenizer(*row[:-1], truncation=True, max_length=128)) for row in rows]
        for one, row in zip(found, rows, strict=True):
            one["labels"] = float(row[-1]) if number else labels.index(row[-1])
        return found

    arguments = TrainingArguments(
        job["folder"], learning_rate=5e-5, per_device_train_batch_size=32, num_train_epochs=3, seed=job["seed"],
        report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
        per_device_eval_batch_size=32, use_cpu=job["device"] == "cpu",
    )  # fmt: skip
    run = Trainer(
        model, arguments, train_dataset=encoded(job["train"]), data_collator=DataCollatorWithPadding(tokenizer)
    )
    done, peak = run.train().metrics, peak_mib()
    scores = np.asarray(run.predict(encoded(job["dev"])).predictions)
    values = scores.reshape(-1).tolist() if number else [labels[i] for i in scores.argmax(1)]
    seconds = done["train_runtime"]
    return {"examples": 3 * len(job["train"]), "seconds": seconds, "found": values, "peak_mib": peak}


def peak_mib() -> int:
    """Return the most memory that this process has held."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def judged(name: str, found: list[Any], wanted: list[str]) -> float:
    """Return the figure of a set."""
    from onehop.metrics.classification import labelling
    from onehop.metrics.regression import numbers

    figure = SETS[name][4]
    if figure == "spearman":
        return numbers(found, [float(value) for value in wanted]).spearman
    return getattr(labelling(found, wanted, sorted(set(wanted))), figure)


def scores(name: str, found: list[Any], held: list[list[list[str]]]) -> dict[str, float]:
    """Return the figure of each dev set, of what was found for all of them in a row."""
    scored, begin = {}, 0
    for number, rows in enumerate(held):
        figure = SETS[name][4] + ("_out_of_domain" if number else "")
        part = found[begin : begin + len(rows)]
        scored[figure], begin = round(judged(name, part, [row[-1] for row in rows]), 4), begin + len(rows)
    return scored


def compared(sides: dict[str, Any], figure: str) -> dict[str, float]:
    """Return means, their difference in its standard errors, and the chance of one as great by luck."""
    from scipy import stats  # pyright: ignore[reportMissingImports]

    ours, theirs = ([row[figure] for row in sides[side]] for side in ("ours", "trainer"))
    test = stats.ttest_ind(ours, theirs, equal_var=False, alternative="greater")
    return {
        "ours": round(fmean(ours), 4), "ours_sd": round(stdev(ours), 4), "trainer": round(fmean(theirs), 4),
        "trainer_sd": round(stdev(theirs), 4), "standard_errors": round(float(test.statistic), 2),
        "p": round(float(test.pvalue), 4),
    }  # fmt: skip


def worked(side: str, python: str, job: dict[str, Any], threads: int) -> dict[str, Any]:
    """Run one side in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "job.json").write_text(json.dumps({**job, "folder": folder, "threads": threads}))
        settings = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [python, __file__, "--side", side, "--job", f"{folder}/job.json"], check=True, stdout=subprocess.PIPE,
            env={**os.environ, **settings}, text=True,
        )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, and print one object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder of a checkpoint that transformers loads, too")
    parser.add_argument("--rivals", help="interpreter with transformers; default: only Onehop is measured")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=0, help="training rows; default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of both")
    parser.add_argument("--precision", default="auto", help="of Onehop; the rival's is float32")
    parser.add_argument("--side", choices=("ours", "trainer"), help=argparse.SUPPRESS)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        import torch

        job = json.loads(Path(options.job).read_text())
        torch.set_num_threads(job["threads"])
        print(json.dumps((ours if options.side == "ours" else trainer)(job)))
        return
    sides = {"ours": sys.executable} | ({"trainer": options.rivals} if options.rivals else {})
    report: dict[str, Any] = {"threads": options.threads, "machine": platform.processor() or platform.machine()}
    for name in options.sets:
        training, held = tables(name, options.rows)
        for seed in range(1, options.seeds + 1):
            for side, python in sides.items():
                job = {
                    "set": name, "train": training, "dev": [row for rows in held for row in rows], "seed": seed,
                    "checkpoint": str(Path(options.checkpoint).resolve()), "device": options.device,
                    "precision": options.precision,
                }  # fmt: skip
                found = worked(side, python, job, options.threads)
                row = {
                    "seed": seed, "examples_per_second": round(found["examples"] / found["seconds"], 1),
                    "seconds": round(found["seconds"], 1), "peak_mib": found["peak_mib"],
                    **scores(name, found["found"], held),
                }  # fmt: skip
                report.setdefault(name, {}).setdefault(side, []).append(row)
                print(name, side, row, file=sys.stderr, flush=True)
        if options.seeds > 1 and options.rivals:
            report[name]["compared"] = {key: compared(report[name], key) for key in scores(name, found["found"], held)}
            print(name, report[name]["compared"], file=sys.stderr, flush=True)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
