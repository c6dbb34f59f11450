"""What holds of every pretrained family, in every value of its structural settings."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onehop import record_attention
from onehop.errors import ConfigError, ModelError
from onehop.models.checkpoint import LAYOUTS, build_pretrained, layout, lines
from onehop.models.encoders import build_encoder, configure_encoder, encoder_family
from onehop.models.keys import Key, expand, faults, joined, to_ours, to_theirs, turned
from onehop.nn import Source
from tests.parity import copies

FAMILIES = ["bert", "roberta", "distilbert", "electra", "modernbert"]
SMALL = {"dim": 16, "ffn_dim": 24, "num_heads": 4, "num_layers": 4, "dropout": 0.0, "attention_dropout": 0.0}
VOCAB = 40


def combinations() -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    for family in FAMILIES:
        axes = encoder_family(family).axes
        found += [(family, dict(zip(axes, values, strict=True))) for values in product(*axes.values())]
    return found


@pytest.fixture(params=combinations(), ids=str)
def model(request: pytest.FixtureRequest) -> Any:
    family, settings = request.param
    torch.manual_seed(0)
    made = build_encoder(family, {**SMALL, "max_positions": 30, **settings}, VOCAB).double().eval()
    copies.randomise(made)
    return made


def tokens(*shape: int) -> Tensor:
    return torch.randint(0, VOCAB, shape)


def test_a_row_is_read_alone_as_in_a_batch(model: Any):
    batch, lengths = tokens(3, 9), torch.tensor([9, 4, 1])
    together = model.encode(Source(batch, lengths)).states
    for row, length in enumerate(lengths.tolist()):
        alone = model.encode(Source(batch[row : row + 1, :length])).states[0]
        torch.testing.assert_close(together[row, :length], alone, atol=1e-12, rtol=0)


def test_packed_is_padded(model: Any):
    batch = tokens(2, 5)
    apart = model.encode(Source(batch, torch.tensor([5, 3]))).states
    row = torch.cat([batch[0], batch[1, :3], tokens(40)]).unsqueeze(0)
    segments = torch.tensor([[0] * 5 + [1] * 3 + [-1] * 40])  # as much padding as no text could have
    packed = model.encode(Source(row, segments=segments)).states[0]
    torch.testing.assert_close(packed[:5], apart[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(packed[5:8], apart[1, :3], atol=1e-12, rtol=0)


def test_every_state_depends_on_both_sides_of_the_text(model: Any):
    batch = tokens(1, 7)
    embedded = model.embeddings.tokens(batch).detach().requires_grad_()
    hook = model.embeddings.tokens.register_forward_hook(lambda *_: embedded)
    state = model.encode(Source(batch)).states[0, 3]
    hook.remove()
    weights = torch.randn_like(state)  # the sum of a normalised state depends on nothing
    (gradient,) = torch.autograd.grad((state * weights).sum(), embedded)
    assert (gradient[0].abs().amax(-1) > 0).all()


def test_recorded_weights_sum_to_one_over_what_each_layer_may_read(model: Any):
    with record_attention() as record:
        model.encode(Source(tokens(2, 9), torch.tensor([9, 5])))
    assert list(record) == [f"encoder.{i}.self" for i in range(4)]
    for number, window in enumerate(model.windows):
        found = record[f"encoder.{number}.self"]
        torch.testing.assert_close(found[1, :, :5].sum(-1), torch.ones(4, 5, dtype=found.dtype))
        assert (found[1, :, :, 5:] == 0).all()
        if window is not None and window < 8:
            assert (found[0, :, 0, window + 1 :] == 0).all()
            assert (found[0, :, 0, : window + 1] > 0).all()


def test_a_text_longer_than_the_table_of_positions_is_an_error_with_a_remedy():
    for family in ("bert", "roberta"):
        made = build_encoder(family, {**SMALL, "max_positions": 10}, VOCAB)
        made.encode(Source(tokens(1, 10)))
        with pytest.raises(ConfigError, match="the model has learned 10") as caught:
            made.encode(Source(tokens(1, 11)))
        assert caught.value.remedy


@pytest.mark.parametrize(("preset", "parameters"), [("bert-base", 109_482_240), ("bert-large", 335_141_888)])
def test_bert_has_the_papers_number_of_parameters(preset: str, parameters: int):
    with torch.device("meta"):
        made = build_pretrained(layout("bert"), {"preset": preset}, ["pooler"], 30_522, 0)
    assert sum(p.numel() for p in made.parameters()) == parameters


def test_a_block_of_bert_is_torchs_layer():
    made = build_encoder("bert", {**SMALL, "num_layers": 1}, VOCAB).eval()
    layer = nn.TransformerEncoderLayer(16, 4, 24, 0.0, "gelu", 1e-12, batch_first=True)
    copies.randomise(layer)
    copies.encoder_block(made.blocks[0], layer)
    batch = tokens(2, 6)
    before, after = made.layers(Source(batch))
    assert (layer(before) - after).abs().max() < 1e-5


# ------------------------------------------------------------------------------------------------ key tables


@pytest.mark.parametrize("model_type", LAYOUTS)
def test_writing_and_reading_are_inverse_for_every_head_of_every_family(model_type: str):
    of = layout(model_type)
    for use in ("embed", *of.uses):
        heads = list(dict.fromkeys([*of.uses.get(use, ()), *of.optional]))
        settings = {**SMALL, "max_positions": 30}
        made = build_pretrained(of, settings, heads, VOCAB, 3)
        ours = {name: torch.randn_like(parameter) for name, parameter in made.named_parameters()}
        table = lines(of, configure_encoder(of.architecture, settings), heads, True)
        theirs = to_theirs(table, ours)
        assert not faults(table, {k: tuple(v.shape) for k, v in theirs.items()}, {k: v.shape for k, v in ours.items()})
        again = to_ours(table, theirs)
        assert again.keys() == ours.keys()
        assert all(torch.equal(again[name], ours[name]) for name in ours)
        assert sum(v.numel() for v in theirs.values()) == sum(v.numel() for v in ours.values())
        assert len({key.theirs for key in table}) == len(table)


@pytest.mark.parametrize("change", [joined(3), turned(2)], ids=["joined", "turned"])
def test_a_change_moves_each_number_to_a_place_of_its_own(change: Any):
    theirs = torch.arange(3 * 8 * 5).view(24, 5)
    ours = change.read(theirs)
    assert torch.cat([part.flatten() for part in ours]).sort().values.equal(theirs.flatten())
    assert torch.equal(change.write(ours), theirs)
    assert change.shape([part.shape for part in ours]) == theirs.shape


def test_all_faults_of_a_checkpoint_are_told_at_once():
    table = expand([Key("w.{}", ("blocks.{}.weight",)), Key("b", ("bias",))], 2)
    ours = {"blocks.0.weight": torch.Size([2]), "blocks.1.weight": torch.Size([2]), "bias": torch.Size([3])}
    assert faults(table, {"w.0": (2,), "b": (4,), "extra": (1,)}, ours) == [
        "missing w.1", "unexpected extra", "b is (4,), not (3,)",
    ]  # fmt: skip
    assert faults(table, {"w.0": (2,), "w.1": (2,), "b": (3,)}, ours) == []


def test_an_unknown_architecture_names_those_that_are_read():
    with pytest.raises(ModelError, match="'llama'") as caught:
        layout("llama")
    assert all(name in caught.value.remedy for name in LAYOUTS)
    with pytest.raises(ModelError, match="did you mean 'bert'"):
        layout("bertt")
