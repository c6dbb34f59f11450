"""Row A-09: in documents whose label one planted word decides, attention reads that word and its sentence most."""

import random

import torch

import onehop
from onehop.models.encoders import build_encoder
from onehop.models.pooled import Pooled
from onehop.nn import Source
from onehop.nn.pooling import AttentionPooling

SENTENCES, WORDS, NOISE = 6, 5, 40
# Words of each label. The third has none: else a network could look for the words of one label alone, and take their
# absence for the other.
EVIDENCE = {0: (41, 42, 43), 1: (44, 45, 46), 2: ()}


def documents(count: int, seed: int) -> tuple[Source, torch.Tensor, torch.Tensor]:
    """Return documents of random words with a planted one; their labels, and its place, -1 where there is none."""
    draw = random.Random(seed)
    tokens = torch.tensor([[draw.randrange(3, NOISE) for _ in range(SENTENCES * WORDS)] for _ in range(count)])
    labels = [draw.randrange(3) for _ in range(count)]
    places = [draw.randrange(SENTENCES * WORDS) if EVIDENCE[label] else -1 for label in labels]
    for row, (label, place) in enumerate(zip(labels, places, strict=True)):
        if place >= 0:
            tokens[row, place] = draw.choice(EVIDENCE[label])
    segments = torch.arange(SENTENCES).repeat_interleave(WORDS).expand(count, -1)
    return Source(tokens, None, segments), torch.tensor(labels), torch.tensor(places)


def test_the_planted_word_and_its_sentence_are_read_most():
    encoder = build_encoder("hierarchical", {"dim": 24, "hidden_dim": 24, "attention_dim": 24, "dropout": 0.0}, 50)
    model = Pooled(encoder, AttentionPooling(24, 24, "encoder.sentences"), torch.nn.Linear(24, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(150):
        source, labels, _ = documents(32, step)
        torch.nn.functional.cross_entropy(model(source), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    source, labels, places = documents(400, 10_000)
    with torch.no_grad(), onehop.record_attention() as record:
        accuracy = (model.eval()(source).argmax(1) == labels).float().mean()
    planted = (places >= 0).nonzero().squeeze(1)
    sentence, word = places[planted] // WORDS, places[planted]
    words, sentences = record["encoder.words"][planted, 0], record["encoder.sentences"][planted, 0, 0]
    found = words[torch.arange(len(planted)), sentence].argmax(1)
    assert accuracy >= 0.99
    assert (sentences.argmax(1) == sentence).float().mean() >= 0.95
    assert (found == word).float().mean() >= 0.95
