"""Which cross-attention of a model aligns words best, measured without gold: by names and numbers.

A word that stands once in an English sentence, not at its beginning, with a capital letter or a digit, and once in its
translation, belongs to itself. The sentences are the held-out ones of the bundled text, translated greedily by `en-de`.

    python benchmarks/alignments.py > benchmarks/results/alignments.json
"""

from __future__ import annotations

import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterator

import torch

import onehop
from onehop.data import tatoeba
from onehop.explain import Part, alignment_layer, explain
from onehop.files import to_json

AROUND = ".,!?\"':;„“”"


def anchors(part: Part) -> Iterator[tuple[int, int]]:
    """Yield the places of words that belong together for sure, of the source and of the target."""
    source, target = ([word.strip(AROUND) for word in words.texts] for words in (part.source, part.target))
    for place, word in enumerate(source):
        named = word[:1].isupper() or any(map(str.isdigit, word))
        if place and named and word != "I" and source.count(word) == target.count(word) == 1:
            yield place, target.index(word)


def main() -> None:
    model = onehop.load("en-de")
    held = tatoeba.split(tatoeba.pairs())[1]
    found = model.translate([pair.source for pair in held], model.settings.decode.searched(1), split=False)
    right: dict[str, int] = defaultdict(int)
    words, difference = 0, 0.0
    for group in (found[at : at + 16] for at in range(0, len(found), 16)):
        for each in explain(model, group):
            difference = max(difference, each.difference)
            for part in each.parts:
                sure = list(anchors(part))
                words += len(sure)
                weights = {name: part.weights(name).mean(0) for name in part.again.weights} if sure else {}
                if weights:
                    weights["all layers"] = torch.stack(list(weights.values())).mean(0)
                for name, of_layer in weights.items():
                    right[name] += sum(int(of_layer[target].argmax()) == source for source, target in sure)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    result = {
        "command": "python benchmarks/alignments.py", "commit": commit, "machine": platform.machine(),
        "torch": torch.__version__, "model": "en-de", "layer": alignment_layer(model), "lines": len(held),
        "words": words, "right": {name: round(count / words, 3) for name, count in right.items()},
        "largest_replay_difference": difference,
    }  # fmt: skip
    print(to_json(result), end="")


if __name__ == "__main__":
    main()
