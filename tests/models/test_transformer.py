from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onehop.errors import ConfigError
from onehop.models import build
from onehop.nn import Source, sinusoidal
from onehop.nn.state import SPARE

VOCAB = 40
SMALL = {"dim": 16, "num_heads": 4, "ffn_dim": 24, "num_encoder_layers": 2, "num_decoder_layers": 2, "dropout": 0.0}


def model(target_vocab: int | None = None, **settings: Any) -> Any:
    return build("transformer", {**SMALL, **settings}, VOCAB, target_vocab).eval()


def tokens(rows: int, width: int) -> Tensor:
    return torch.randint(3, VOCAB, (rows, width))


def decode(net: Any, source: Tensor, target: Tensor) -> Tensor:
    return net.logits(net.decode(target, net.start(net.encode(Source(source))))[0])


def refusal(target_vocab: int | None = None, **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        model(target_vocab, **settings)
    return str(caught.value)


# ---------------------------------------------------------------------------------- the future


def test_later_tokens_leave_earlier_logits_bit_equal():
    net, source, target = model(), tokens(2, 5), tokens(2, 8)
    before = decode(net, source, target)
    for i in range(7):
        other = target.clone()
        other[:, i + 1 :] = (other[:, i + 1 :] - 3 + 1) % (VOCAB - 3) + 3
        after = decode(net, source, other)
        assert torch.equal(after[:, : i + 1], before[:, : i + 1])
        assert not torch.equal(after[:, i + 1 :], before[:, i + 1 :])


def test_later_tokens_have_no_gradient_at_all():
    net = model(tying="none")
    target = torch.arange(3, 11).unsqueeze(0)
    for i in range(8):
        logits = decode(net, tokens(1, 5), target)
        [grad] = torch.autograd.grad(logits[:, i].sum(), net.target_embedding.weight)
        felt = grad[3:11].abs().sum(1)
        assert felt[: i + 1].gt(0).all()
        assert torch.equal(felt[i + 1 :], torch.zeros(7 - i))


def test_an_encoder_state_hears_later_tokens_so_it_cannot_be_cached():
    net, source = model(), tokens(1, 6)
    assert not torch.allclose(net.encode(Source(source[:, :5])).states, net.encode(Source(source)).states[:, :5])


# ---------------------------------------------------------------------------------- source and target


def test_without_cross_attention_the_target_knows_nothing_of_the_source():
    net, target = model(81, attention_bias=True), tokens(2, 4)
    for block in net.decoder:
        nn.init.zeros_(block.cross.out.weight)
    first, second = (decode(net, tokens(2, size), target) for size in (5, 3))
    assert torch.equal(first, second)
    first.square().sum().backward()
    encoder = [*net.encoder.parameters(), *net.source_embedding.parameters()]
    assert all(p.grad is None or not p.grad.any() for p in encoder)
    assert net.target_embedding.weight.grad.any()


def test_every_decoder_layer_reads_the_last_encoder_layer():
    net, source, target = model(), tokens(2, 5), tokens(2, 4)
    memory = net.encode(Source(source))
    read: list[Tensor] = []
    for block in net.decoder:
        block.cross.projections.key.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    last: list[Tensor] = []
    net.encoder[-1].register_forward_hook(lambda module, inputs, output: last.append(output))
    net.decode(target, net.start(net.encode(Source(source))))
    assert len(read) == 2
    assert all(torch.equal(states, last[0]) for states in read)
    assert torch.equal(memory.states, last[0])


# ---------------------------------------------------------------------------------- embeddings and positions


def captured(net: Any, source: Tensor) -> Tensor:
    """Return what the first encoder block reads."""
    seen: list[Tensor] = []
    hook = net.encoder[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    net.encode(Source(source))
    hook.remove()
    return seen[0]


def test_the_input_is_scaled_embeddings_plus_positions_exactly():
    source = tokens(2, 5)
    net = model()
    expected = net.source_embedding.weight[source] * 4 + sinusoidal(torch.arange(5), 16)
    assert torch.equal(captured(net, source), expected)
    bare = model(positions="none")
    assert torch.equal(captured(bare, source), bare.source_embedding.weight[source] * 4)


def test_an_encoder_without_positions_is_permutation_equivariant_and_with_them_it_is_not():
    source, order = tokens(2, 6), torch.randperm(6)
    for positions, same in (("none", True), ("sinusoidal", False)):
        net = model(positions=positions).double()
        states, moved = (net.encode(Source(x)).states for x in (source, source[:, order]))
        assert torch.allclose(moved, states[:, order], atol=1e-9) is same


def test_three_way_tying_is_one_table_for_three_uses():
    tied, apart = model(tying="three-way"), model(tying="none")
    tables = (tied.source_embedding.weight, tied.target_embedding.weight, tied.output.weight)
    assert len({table.data_ptr() for table in tables}) == 1
    sizes = [sum(p.numel() for p in net.parameters()) for net in (tied, apart)]
    assert sizes[1] - sizes[0] == 2 * VOCAB * 16


@pytest.mark.parametrize("target_vocab", [None, 30])
def test_target_tying_shares_the_output_with_the_target_alone(target_vocab: int | None):
    net = model(target_vocab, tying="target")
    assert net.output.weight is net.target_embedding.weight
    assert net.source_embedding.weight.data_ptr() != net.target_embedding.weight.data_ptr()
    assert net.logits(torch.zeros(2, 16)).shape == (2, target_vocab or VOCAB)


def test_as_much_is_tied_as_the_vocabularies_allow():
    joint, separate = model(), model(30)
    assert joint.output.weight is joint.source_embedding.weight
    assert separate.output.weight is separate.target_embedding.weight
    assert separate.source_embedding.weight.shape == (VOCAB, 16)


@pytest.mark.parametrize("tying", ["three-way", "target", "none"])
def test_the_bias_before_the_softmax_is_its_own(tying: str):
    net = model(tying=tying, output_bias=True)
    net.output.bias.data.fill_(2.0)
    hidden = torch.randn(3, 16)
    torch.testing.assert_close(net.logits(hidden), hidden @ net.output.weight.T + 2)
    assert model(tying=tying).output.bias is None


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_stacks_end_in_a_norm_where_norm_is_pre_or_as_asked(norm: str):
    def ends(net: Any) -> list[bool]:
        return [isinstance(end, nn.LayerNorm) for end in (net.encoder_norm, net.decoder_norm)]

    assert ends(model(norm=norm)) == [norm == "pre"] * 2
    assert ends(model(norm=norm, final_norm=True)) == [True] * 2
    assert ends(model(norm=norm, final_norm=False)) == [False] * 2


@pytest.mark.parametrize("shape", [(16,), (2, 16), (2, 3, 16), (2, 3, 4, 16)])
def test_logits_keep_any_leading_axes(shape: tuple[int, ...]):
    assert model().logits(torch.randn(shape)).shape == (*shape[:-1], VOCAB)


# ---------------------------------------------------------------------------------- the cache


def parts(net: Any) -> dict[str, list[int]]:
    """Count, by the width of their input, the calls of every map to keys of the decoder."""
    calls: dict[str, list[int]] = {}
    for i, block in enumerate(net.decoder):
        for name, attention in (("self", block.attention), ("cross", block.cross)):
            seen = calls.setdefault(f"{i}.{name}", [])
            for part in (attention.projections.key, attention.projections.value):
                part.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(inputs[0].size(1)))
    return calls


def test_a_new_token_is_projected_once_in_each_layer_and_the_source_never_again():
    net = model()
    calls = parts(net)
    state = net.start(net.encode(Source(tokens(2, 5))))
    for _ in range(3):
        _, state = net.decode(tokens(2, 1), state)
    assert calls == {"0.self": [1] * 6, "0.cross": [5, 5], "1.self": [1] * 6, "1.cross": [5, 5]}


@pytest.mark.parametrize("groups", [4, 2, 1])
def test_the_cache_takes_the_bytes_of_the_formula(groups: int):
    net = model(num_kv_heads=groups)
    rows, length = 3, 7
    with torch.inference_mode():
        start = net.start(net.encode(Source(tokens(rows, 5))))
        _, state = net.decode(tokens(rows, length), start)
        _, grown = net.decode(tokens(rows, 1), state)

    def size(state: Any) -> int:
        return sum(kv.keys.nbytes + kv.values.nbytes for kv in state.cache)

    token = 2 * 2 * groups * 4 * 4 * rows  # keys and values, layers, groups, head width, bytes, rows
    assert size(state) == token * length
    assert size(grown) == token * (length + 1 + SPARE)


@pytest.mark.parametrize("beams", [1, 3])
def test_cached_logits_are_uncached_logits_at_every_step(beams: int):
    net, source = model(), tokens(2, 5)
    with torch.inference_mode():
        state = net.start(net.encode(Source(source))).expand(beams)
        history = torch.ones(2 * beams, 0, dtype=torch.int64)
        for _ in range(6):
            chosen = tokens(2 * beams, 1)
            history = torch.cat([history, chosen], 1)
            hidden, state = net.decode(chosen, state)
            uncached = decode(net, source.repeat_interleave(beams, 0), history)[:, -1]
            torch.testing.assert_close(net.logits(hidden[:, -1]), uncached, atol=1e-5, rtol=0)
            rows = (torch.randint(0, beams, (2, beams)) + torch.arange(2).unsqueeze(1) * beams).flatten()
            state, history = state.reorder(rows), history[rows]


def test_packed_targets_need_a_packed_source_and_come_in_one_piece():
    net, segments = model(), torch.zeros(1, 4, dtype=torch.int64)
    plain = net.start(net.encode(Source(tokens(1, 4))))
    with pytest.raises(ValueError, match="packed targets"):
        net.decode(tokens(1, 4), plain, segments=segments)
    packed = net.start(net.encode(Source(tokens(1, 4), segments=segments)))
    _, state = net.decode(tokens(1, 4), packed, segments=segments)
    with pytest.raises(ValueError, match="packed targets"):
        net.decode(tokens(1, 4), state, segments=segments)


# ---------------------------------------------------------------------------------- later parts


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_rms_norms_divide_by_the_root_of_the_mean_square_and_shift_nothing(norm: str):
    net = model(normalise="rms", norm=norm, final_norm=True)
    norms = [module for module in net.modules() if isinstance(module, nn.RMSNorm)]
    assert len(norms) == 2 * 2 + 2 * 3 + 2
    assert not any(isinstance(module, nn.LayerNorm) for module in net.modules())
    x = torch.randn(2, 3, 16) + 5
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(norms[0](x), expected)


PARTS = {
    "learned": {"positions": "learned"},
    "rotary": {"positions": "rotary"},
    "rotary-ntk": {"positions": "rotary", "rotary_scaling": "ntk", "rotary_factor": 2.0},
    "alibi": {"positions": "alibi"},
    "t5": {"positions": "t5"},
    "shaw": {"positions": "shaw"},
    "rms": {"normalise": "rms"},
    "swiglu": {"activation": "swiglu"},
    "window": {"window": 2},
}


def other(part: str) -> Any:
    """Return a model with a later part, of which no weight is at its neutral value."""
    net = model(**PARTS[part]).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return net


@pytest.mark.parametrize("part", PARTS)
def test_cached_is_uncached_with_every_later_part(part: str):
    net, source, target = other(part), tokens(2, 5), tokens(2, 7)
    state, steps = net.start(net.encode(Source(source))), list[Tensor]()
    for t in range(7):
        hidden, state = net.decode(target[:, t : t + 1], state)
        steps.append(net.logits(hidden))
    torch.testing.assert_close(torch.cat(steps, 1), decode(net, source, target), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("part", PARTS)
def test_packed_is_padded_with_every_later_part(part: str):
    net, sources, targets = other(part), (tokens(1, 5), tokens(1, 3)), (tokens(1, 4), tokens(1, 6))
    apart = [decode(net, source, target) for source, target in zip(sources, targets, strict=True)]
    inner, outer = (torch.tensor([[0] * a + [1] * b]) for a, b in ((5, 3), (4, 6)))
    memory = net.encode(Source(torch.cat(sources, 1), segments=inner))
    hidden, _ = net.decode(torch.cat(targets, 1), net.start(memory), segments=outer)
    torch.testing.assert_close(net.logits(hidden), torch.cat(apart, 1), atol=1e-10, rtol=1e-10)


def test_heads_are_grouped_apart_for_encoder_decoder_and_cross_attention():
    net = model(num_kv_heads=2, encoder_kv_heads=4, cross_kv_heads=1)
    found = [net.encoder[0].attention, net.decoder[0].attention, net.decoder[0].cross]
    assert [attention.num_kv_heads for attention in found] == [4, 2, 1]
    assert [attention.projections.key.out_features for attention in found] == [16, 8, 4]


# ---------------------------------------------------------------------------------- dropout


@pytest.mark.parametrize("setting", ["dropout", "attention_dropout"])
def test_dropout_acts_in_training_and_not_in_evaluation(setting: str):
    settings: dict[str, Any] = {setting: 0.4}
    net, source, target = model(**settings), tokens(2, 5), tokens(2, 4)
    once = decode(net, source, target)
    assert torch.equal(decode(net, source, target), once)
    net.train()
    assert not torch.allclose(decode(net, source, target), once)
    plain = model()
    plain.load_state_dict(net.state_dict())
    assert torch.equal(decode(plain, source, target), once)


def test_embeddings_are_dropped_with_their_positions():
    net = model(dropout=0.5).train()
    source = tokens(50, 4)
    dropped, whole = captured(net, source), captured(net.eval(), source)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])
    assert float(kept.float().mean()) == pytest.approx(0.5, abs=0.05)


# ---------------------------------------------------------------------------------- mistakes


def test_heads_that_do_not_divide_are_refused_with_those_that_do():
    assert "num_heads=3 must divide dim=16; use one of [1, 2, 4, 8, 16]" in refusal(num_heads=3)
    assert "num_kv_heads=3 must divide num_heads=4; use one of [1, 2, 4]" in refusal(num_kv_heads=3)


@pytest.mark.parametrize("key", ["num_heads", "num_kv_heads", "cross_kv_heads", "window", "cross_window"])
def test_none_at_all_is_refused_by_its_key(key: str):
    assert f"model.{key}: input should be greater than or equal to 1 (given: 0)" in refusal(**{key: 0})


def test_groups_of_every_place_must_divide_the_heads():
    found = refusal(encoder_kv_heads=3, decoder_kv_heads=8, cross_kv_heads=3)
    for key, value in (("encoder", 3), ("decoder", 8), ("cross", 3)):
        assert f"{key}_kv_heads={value} must divide num_heads=4" in found


def test_self_attention_cannot_draw_and_rotary_positions_need_a_product_of_even_width():
    assert "model.select" in refusal(select="hard")
    assert "score='additive' has none" in refusal(positions="rotary", score="additive")
    assert "positions='rotary' turn columns in pairs" in refusal(positions="rotary", dim=12)


def test_settings_that_do_not_fit_together_are_all_named():
    found = refusal(dim=31, num_heads=4, num_kv_heads=3)
    assert all(part in found for part in ("dim=31 must be even", "num_heads=4 must", "num_kv_heads=3 must"))


def test_three_way_tying_of_two_vocabularies_is_refused_with_a_remedy():
    assert "Set text.joint = true" in refusal(30, tying="three-way")
