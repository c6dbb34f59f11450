from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onehop.models import build
from onehop.nn import Attention, Mask, Memory, Projections, Source
from onehop.nn.attention import scaled_dot
from tests.parity import copies

DIM, HEADS, FFN, LAYERS = 16, 4, 24, 2
SOURCE_LENGTHS, TARGET = torch.tensor([6, 3, 5]), 4


@pytest.fixture(params=["post", "pre"])
def norm(request: pytest.FixtureRequest) -> str:
    return request.param


def ours(norm: str) -> Any:
    settings = {
        "dim": DIM, "num_heads": HEADS, "ffn_dim": FFN, "num_encoder_layers": LAYERS, "num_decoder_layers": LAYERS,
        "norm": norm, "dropout": 0.0, "attention_bias": True, "final_norm": True,
    }  # fmt: skip
    return build("transformer", settings, 40)


def encoder_layer(norm: str) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(DIM, HEADS, FFN, 0.0, norm_first=norm == "pre", batch_first=True)


def decoder_layer(norm: str) -> nn.TransformerDecoderLayer:
    return nn.TransformerDecoderLayer(DIM, HEADS, FFN, 0.0, norm_first=norm == "pre", batch_first=True)


def theirs(norm: str) -> nn.Transformer:
    """Return torch's Transformer, kept off the fast path of its encoder by training mode."""
    encoder = nn.TransformerEncoder(encoder_layer(norm), LAYERS, nn.LayerNorm(DIM), enable_nested_tensor=False)
    decoder = nn.TransformerDecoder(decoder_layer(norm), LAYERS, nn.LayerNorm(DIM))
    model = nn.Transformer(DIM, HEADS, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)
    copies.randomise(model)
    return model


def padding() -> Tensor:
    return torch.arange(6) >= SOURCE_LENGTHS.unsqueeze(1)


def future() -> Tensor:
    return torch.ones(TARGET, TARGET, dtype=torch.bool).triu(1)


def embedded(model: Any, tokens: Tensor) -> Tensor:
    return model.source_embedding(tokens) + model.positions(torch.arange(tokens.size(1)).expand(tokens.shape))


def near(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().amax().lt(1e-5)


def test_the_model_is_torchs_transformer_forward_and_backward(norm: str):
    mine, reference = ours(norm), theirs(norm)
    copies.transformer(mine, reference)
    source, target = torch.randint(3, 40, (3, 6)), torch.randint(3, 40, (3, TARGET))
    memory = mine.encode(Source(source, SOURCE_LENGTHS))
    hidden, _ = mine.decode(target, mine.start(memory))
    expected = reference(
        embedded(mine, source), embedded(mine, target), tgt_mask=future(),
        src_key_padding_mask=padding(), memory_key_padding_mask=padding(),
    )  # fmt: skip
    near(hidden, expected)
    upstream = torch.randn_like(expected)
    weight = mine.source_embedding.weight
    found, wanted = (torch.autograd.grad(out, weight, upstream)[0] for out in (hidden, expected))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_the_encoder_is_torchs_encoder(norm: str):
    mine, reference = ours(norm), theirs(norm)
    copies.transformer(mine, reference)
    source = torch.randint(3, 40, (3, 6))
    states = mine.encode(Source(source, SOURCE_LENGTHS)).states
    expected = reference.encoder(embedded(mine, source), src_key_padding_mask=padding())
    near(states[~padding()], expected[~padding()])


def test_an_encoder_block_is_torchs_layer_and_not_the_one_of_the_other_norm(norm: str):
    block, layer = ours(norm).encoder[0], encoder_layer(norm)
    copies.randomise(layer)
    copies.encoder_block(block, layer)
    x, positions = torch.randn(3, 6, DIM), torch.arange(6).expand(3, 6)
    found = block(x, Mask(lengths=SOURCE_LENGTHS), positions)
    near(found[~padding()], layer(x, src_key_padding_mask=padding())[~padding()])
    other = encoder_layer("pre" if norm == "post" else "post")
    other.load_state_dict(layer.state_dict())
    assert (found - other(x, src_key_padding_mask=padding()))[~padding()].abs().amax().gt(0.1)


def test_a_decoder_block_is_torchs_layer(norm: str):
    model, layer = ours(norm), decoder_layer(norm)
    copies.randomise(layer)
    block = model.decoder[0]
    copies.decoder_block(block, layer)
    x, states = torch.randn(3, TARGET, DIM), torch.randn(3, 6, DIM)
    state = model.start(Memory(states, SOURCE_LENGTHS))
    where = torch.arange(TARGET).expand(3, TARGET)
    masks = Mask(causal=True), Mask(lengths=SOURCE_LENGTHS)
    found, _ = block(x, state.cache[0], state.slots, state.memory[0], masks, where)
    near(found, layer(x, states, tgt_mask=future(), memory_key_padding_mask=padding()))


def multihead(heads: int, bias: bool = True) -> Attention:
    width = DIM // heads
    return Attention(
        Projections(DIM, DIM, heads, heads, width, bias=bias), nn.Linear(DIM, DIM, bias=bias),
        num_heads=heads, num_kv_heads=heads, score=scaled_dot(width),
    )  # fmt: skip


def where(x: Tensor) -> Tensor:
    return torch.arange(x.size(1)).expand(x.shape[:2])


@pytest.mark.parametrize("heads", [1, 2, 4, 8])
def test_attention_is_torchs_multihead_attention_and_one_head_after_the_other(heads: int):
    mine, reference = multihead(heads), nn.MultiheadAttention(DIM, heads, batch_first=True)
    copies.randomise(reference)
    copies.attention(mine, reference)
    x, memory = torch.randn(3, TARGET, DIM), torch.randn(3, 6, DIM)
    found = mine(mine.query(x, where(x)), mine.project(memory, where(memory)), Mask(lengths=SOURCE_LENGTHS))
    expected, _ = reference(x, memory, memory, key_padding_mask=padding())
    near(found, expected)
    near(found, one_by_one(mine, x, memory))


def one_by_one(layer: Attention, x: Tensor, memory: Tensor) -> Tensor:
    """Compute `Concat(head_1, ...) W^O` as the paper writes it."""
    parts, width = layer.projections, DIM // layer.num_heads
    heads: list[Tensor] = []
    for h in range(layer.num_heads):
        rows = slice(h * width, (h + 1) * width)
        q, k, v = (
            states @ part.weight[rows].T + part.bias[rows]
            for states, part in ((x, parts.query), (memory, parts.key), (memory, parts.value))
        )
        scores = (q @ k.transpose(1, 2) / width**0.5).masked_fill(padding().unsqueeze(1), -torch.inf)
        heads.append(scores.softmax(-1) @ v)
    return layer.out(torch.cat(heads, -1))


@pytest.mark.parametrize("heads", [1, 2, 4, 8])
def test_attention_has_as_many_parameters_for_any_number_of_heads(heads: int):
    assert sum(p.numel() for p in multihead(heads, bias=False).parameters()) == 4 * DIM**2
