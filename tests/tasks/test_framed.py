"""Texts between a pretrained encoder's marks, packed into rows: each is read as it is alone."""

from pathlib import Path

import pytest
import torch

import onehop
from onehop.data.labelled import SEPARATOR
from onehop.data.ragged import Ragged
from onehop.nn.masks import places
from onehop.tasks import load_package

CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "checkpoints"
FAMILIES = ["Bert", "Roberta", "DistilBert", "Electra", "ModernBert"]
TEXTS = [
    "The cat sat on the mat.", "a dog ran", "big red mat, small rug!",
    f"a cat{SEPARATOR}the dog sat on a rug", f"the big dog ran{SEPARATOR}a mat",
]  # fmt: skip
TOGETHER = [0, 0, 0, 1, 1]  # the row of each


def rows_of(encoded: list[list[int]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return tokens, lengths and segments of the same texts, padded and packed."""
    source, every = Ragged.from_rows(encoded), torch.arange(len(encoded)).numpy()
    return (
        [torch.from_numpy(part) for part in source.padded(every)],
        [torch.from_numpy(part) for part in source.packed(every, torch.tensor(TOGETHER).numpy())],
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_that_share_a_row_are_read_as_alone(family: str):
    task = onehop.load_classifier(CHECKPOINTS / f"{family}ForSequenceClassification")
    padded, packed = rows_of(task.documents.encode_batch(TEXTS))
    alone, together = task.source(*padded), task.source(*packed)
    assert together.segments is not None
    with torch.inference_mode():
        assert (task.model(together) - task.model(alone)).abs().max() < 1e-5
    for row, numbers in enumerate(([0, 1, 2], [3, 4])):
        for place, number in enumerate(numbers):
            here = together.segments[row] == place
            length = int(alone.lengths[number])  # type: ignore[index]
            assert together.tokens[row][here].tolist() == alone.tokens[number][:length].tolist()
            assert places(together.segments)[row][here].tolist() == list(range(length))
            if alone.types is not None:
                assert together.types is not None
                assert together.types[row][here].tolist() == alone.types[number][:length].tolist()


@pytest.mark.parametrize("family", FAMILIES[:4])  # a ModernBERT that tags has no verb
def test_words_that_share_a_row_are_tagged_as_alone(family: str):
    task = load_package(CHECKPOINTS / f"{family}ForTokenClassification").task
    padded, packed = rows_of(task.documents.encode_batch([text for text in TEXTS if SEPARATOR not in text] + TEXTS[:2]))
    with torch.inference_mode():
        alone, together = (task.model(*task.documents.source(*given)) for given in (padded, packed))
    assert alone.shape == together.shape
    assert (alone - together).abs().max() < 1e-5
