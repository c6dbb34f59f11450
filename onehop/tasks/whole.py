"""What every task that reads a whole text as one vector does alike: the model, the tokens, the batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from onehop.data import fixed_batches
from onehop.data.labelled import SEPARATOR, joined
from onehop.errors import DataError
from onehop.models.body import Transformed, sentence_transform
from onehop.models.encoders import build_encoder
from onehop.models.pooled import Pooled
from onehop.nn import Source
from onehop.nn.modes import for_inference
from onehop.nn.pooling import build_pooling
from onehop.tasks.documents import Documents, sentence_segments
from onehop.tasks.framed import FramedDocuments


def build_pooled(settings: Any, outputs: int, vocab_size: int) -> Pooled:
    """Build encoder, pooling and head with fresh weights.

    Args:
        settings: A `TextSettings`.
        outputs: Numbers that the model gives for a text.
        vocab_size: Of the tokenizer; the settings may have more rows.
    """
    encoder: Any = build_encoder(settings.architecture, settings.model, settings.rows or vocab_size)
    head, dim = settings.head, encoder.dim
    pooling = build_pooling(
        head.pooling, dim, head.attention_dim, two_ways=encoder.two_ways, record=f"encoder.{encoder.unit}"
    )
    if head.transform != "none":
        pooling = Transformed(pooling, sentence_transform(head.transform, dim))
    output = nn.Linear(dim, outputs)
    nn.init.zeros_(output.bias)
    return Pooled(encoder, pooling, output, head.dropout)


def encode_texts(
    documents: Documents | FramedDocuments,
    columns: Sequence[str],
    texts: Sequence[str | Sequence[str]],
    where: Sequence[str],
) -> list[list[int]]:
    """Return the tokens of each text, as long as it is; none where it is empty. `where` is the place of each.

    Raises:
        DataError: A text has not as many columns as the model reads.
    """
    wanted = max(1, len(columns))
    whole: list[str] = []
    for text, place in zip(texts, where, strict=True):
        given = [text] if isinstance(text, str) else list(text)
        if len(given) != wanted:
            raise DataError(
                f"{len(given)} texts where the model reads {wanted}",
                f"Give {', '.join(columns) or 'one text'} for each.", place,
            )  # fmt: skip
        whole.append(joined(given))
    encoded = documents.encode_batch(whole)
    empty = [not text.replace(SEPARATOR, "").strip() for text in whole]
    return [[] if nothing else tokens for nothing, tokens in zip(empty, encoded, strict=True)]


def source_of(task: Any, tokens: Tensor, lengths: Tensor) -> Source:
    """Return what the encoder of a task reads of padded rows."""
    if isinstance(task.documents, FramedDocuments):
        return task.documents.source(tokens, lengths)
    sentences = task.model.encoder.unit == "sentences"
    return Source(tokens, lengths, sentence_segments(tokens, lengths) if sentences else None)


@torch.inference_mode()
def outputs_of(task: Any, rows: Sequence[list[int]], batch_tokens: int) -> Iterator[tuple[list[int], Tensor]]:
    """Yield the places of rows of tokens, batch by batch, and what the model gives for each, `(N, C)` in float32."""
    for_inference(task.model)
    for places, tokens, lengths in fixed_batches(rows, batch_tokens):
        yield places, task.model(task.source(tokens.to(task.device), lengths.to(task.device))).float()
