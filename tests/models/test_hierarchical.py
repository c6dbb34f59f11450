"""Rows A-08 and A-09 of the mechanisms: one query over one text, and words to sentences to a document."""

import torch

import onehop
from onehop.models.encoders import build_encoder
from onehop.models.pooled import Pooled
from onehop.nn import Source
from onehop.nn.pooling import AttentionPooling
from tests.laws.close import assert_same


def network() -> Pooled:
    encoder = build_encoder("hierarchical", {"dim": 10, "hidden_dim": 12, "attention_dim": 8, "dropout": 0.0}, 30)
    pooling = AttentionPooling(12, 8, "encoder.sentences")
    return Pooled(encoder, pooling, torch.nn.Linear(12, 2)).double().eval()


def test_pooling_by_attention_is_its_formula():
    pooling = AttentionPooling(6, 5).double()
    h = torch.randn(2, 7, 6, dtype=torch.float64)
    linear, u = pooling.attention.score.key_map.linear, pooling.query[0, 0, 0]
    weights = ((h @ linear.weight.T + linear.bias).tanh() @ u).softmax(-1)
    assert_same(pooling(h), (weights.unsqueeze(2) * h).sum(1))


def test_the_network_is_its_formulas_sentence_by_sentence():
    model = network()
    tokens = torch.randint(3, 30, (1, 9))
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2]])
    encoder = model.encoder
    x = encoder.embedding(tokens)
    vectors = [
        encoder.attention(encoder.words(x[:, start:end])[0]) for start, end in ((0, 3), (3, 7), (7, 9))
    ]  # fmt: skip
    document = model.pooling(encoder.sentences(torch.stack(vectors, 1))[0])
    assert_same(model.pool(Source(tokens, None, segments)), document)


def test_with_one_sentence_words_are_read_as_by_flat_attention_and_the_sentence_weighs_one():
    model = network()
    tokens = torch.randint(3, 30, (2, 6))
    flat = model.encoder.attention(model.encoder.words(model.encoder.embedding(tokens))[0])
    segments = torch.zeros_like(tokens)
    assert_same(model.encoder.read_words(tokens, segments), flat.unsqueeze(1))
    with onehop.record_attention() as record:
        model(Source(tokens, None, segments))
    assert_same(record["encoder.sentences"], torch.ones(2, 1, 1, 1, dtype=torch.float64))
    assert_same(record["encoder.words"].sum(-1), torch.ones(2, 1, 1, dtype=torch.float64))


def test_who_looks_on_changes_nothing_whatever_the_documents_are_made_of():
    model = network()
    tokens = torch.randint(3, 30, (4, 9))
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2], [0] * 9, [0, 1, -1, -1, -1, -1, -1, -1, -1], [-1] * 9])
    alone = model.encoder.read_words(tokens, segments)
    with onehop.record_attention() as record:
        assert_same(model.encoder.read_words(tokens, segments), alone)
    assert record["encoder.words"].shape == (4, 1, 3, 9)
    assert not alone[3].any()


def test_rows_without_segments_are_one_sentence_each():
    model = network()
    tokens, lengths = torch.randint(3, 30, (2, 6)), torch.tensor([6, 4])
    segments = torch.zeros_like(tokens)
    segments[1, 4:] = -1
    assert_same(model(Source(tokens, lengths)), model(Source(tokens, lengths, segments)))


def test_words_of_one_sentence_do_not_change_the_vector_of_another():
    model = network()
    tokens, segments = torch.randint(3, 30, (1, 8)), torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]])
    other = tokens.clone()
    other[:, 4:] = torch.randint(3, 30, (1, 4))
    before, after = (model.encoder.read_words(each, segments) for each in (tokens, other))
    assert_same(before[:, 0], after[:, 0])
    assert not torch.allclose(before[:, 1], after[:, 1])


def test_the_papers_preset_has_the_papers_widths():
    made = build_encoder("hierarchical", {"preset": "han"}, 100)
    assert made.embedding.weight.shape == (100, 200)
    assert made.words.layers[0].hidden_size == made.sentences.layers[0].hidden_size == 50
    assert made.attention.query.shape[-1] == 100
