"""The names of a package's files, and how large those may be that are read whole."""

MANIFEST, WEIGHTS, GOLDEN, CARD = "onehop.json", "model.safetensors", "golden.jsonl", "MODEL_CARD.md"
JOINT, SOURCE, TARGET = "tokenizer.json", "source.tokenizer.json", "target.tokenizer.json"
LARGEST = {MANIFEST: 1 << 22, GOLDEN: 1 << 22, CARD: 1 << 22, JOINT: 1 << 28, SOURCE: 1 << 28, TARGET: 1 << 28}  # bytes
