"""How much of fine-tuning's batches is padding, with a row for each text and with several packed into a row.

ONEHOP_DATA=DATA python benchmarks/padding.py CHECKPOINT > benchmarks/results/padding.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from onehop.data import Pair, PairStore, TrainingBatches
from onehop.data.labelled import SEPARATOR, LabelColumns, open_labelled
from onehop.tasks import load_package

TABLES = {
    "sst2": ("sst2/train.tsv.gz", ("1",), "2"),
    "cola": ("cola/raw/in_domain_train.tsv.gz", ("4",), "2"),
    "stsb": ("stsb/stsb-en-train.csv.gz", ("1", "2"), "3"),
}
TEXTS = 32  # of a batch, about
LENGTH = 254


class One:
    """Encodes every label as one token."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return a token for each."""
        return [[5] for _ in texts]


def padding(checkpoint: str, data: Path) -> Iterator[dict[str, object]]:
    """Yield what an epoch of each table holds."""
    documents = load_package(checkpoint, task="embed").task.documents
    for name, (file, texts, label) in TABLES.items():
        columns = LabelColumns(texts, label, numbers=name == "stsb")
        pairs = [Pair(SEPARATOR.join(fields), "1") for fields, *_ in open_labelled(str(data / file), columns).rows]
        store = PairStore()
        store.add(pairs, name)
        rows = documents.encode_batch([pair.source for pair in pairs])
        budget = round(TEXTS * (sum(map(len, rows)) / len(rows) + 1))
        for packing in (False, True):
            batches = TrainingBatches(
                store, documents, One(), batch_tokens=budget, max_length=LENGTH, long_policy="cut", seed=1,
                packing=packing,
            )  # fmt: skip
            cells = tokens = count = 0
            while not batches.position.epoch:
                batch = next(batches)
                cells += batch.source.numel()
                tokens += int(batch.source_lengths.sum())
                count += 1
            batches.close()
            share = round(1 - tokens / cells, 4)
            yield {"data": name, "packing": packing, "batch_tokens": budget, "batches": count, "padding": share}


def main() -> None:
    """Print a line for each table, padded and packed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEHOP_DATA", "data")))
    arguments = parser.parse_args()
    for line in padding(arguments.checkpoint, arguments.data):
        print(json.dumps(line))


if __name__ == "__main__":
    main()
