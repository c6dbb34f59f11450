"""A fast model computes what its reference computes, in every way that a decoder is used, whatever its parts."""

import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from onehop.decode import Rules, best_stepper, penalty, search, stepper
from onehop.models.registry import build
from onehop.nn import Source
from onehop.runtime import Kernels, accelerate, kernels, precisions
from onehop.runtime.linear import PackedLinear
from onehop.runtime.transformer import FastTransformer

SMALL = {"dim": 24, "ffn_dim": 40, "num_heads": 4, "num_encoder_layers": 2, "num_decoder_layers": 2}
KNOWN: dict[str, dict[str, Any]] = {
    "paper": {},
    "pre": {"norm": "pre"},
    "rms": {"norm": "pre", "normalise": "rms", "activation": "swiglu"},
    "post-final": {"final_norm": True, "activation": "gelu"},
    "grouped": {"num_kv_heads": 2, "activation": "silu"},
    "multi-query": {"num_kv_heads": 1, "cross_kv_heads": 2, "activation": "geglu"},
    "biases": {"attention_bias": True, "output_bias": True, "tying": "none", "activation": "glu"},
    "rotary": {"positions": "rotary", "norm": "pre", "activation": "reglu"},
    "learned": {"positions": "learned", "score": "dot"},
    "nowhere": {"positions": "none"},
    "odd-heads": {"dim": 30, "num_heads": 3, "ffn_dim": 37},
}
UNKNOWN: dict[str, dict[str, Any]] = {
    "alibi": {"positions": "alibi"},
    "window": {"window": 2},
    "sparsemax": {"select": "sparsemax"},
    "additive": {"cross_score": "additive"},
    "local": {"cross_region": "local-p"},
}
VOCAB, CLOSE = 53, 2e-5
needs_kernels = pytest.mark.usefixtures("found")


@pytest.fixture
def found() -> Kernels:
    """Return the kernels; where the machine has no compiler, what it does without is tested elsewhere."""
    made = kernels()
    assert isinstance(made, Kernels), made
    return made


def model(changes: dict[str, Any], seed: int = 0) -> Any:
    torch.manual_seed(seed)
    made = build("transformer", {**SMALL, **changes}, VOCAB).eval()
    for parameter in made.parameters():
        if parameter.dim() == 1:  # biases and norms begin at zeros and ones, which would hide that they are left out
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    return made


def source() -> Source:
    return Source(torch.randint(3, VOCAB, (5, 9)), torch.tensor([9, 3, 7, 1, 5]))


def close(one: Tensor, other: Tensor, tolerance: float = CLOSE) -> None:
    assert one.shape == other.shape
    assert float((one - other).abs().max()) < tolerance


@needs_kernels
@pytest.mark.parametrize("name", KNOWN)
@torch.inference_mode()
def test_encoder_decoder_and_vocabulary_give_the_numbers_of_the_reference(name: str):
    plain = model(KNOWN[name])
    fast, speed = accelerate(plain)
    assert isinstance(fast, FastTransformer)
    assert speed.share == 1.0
    read, target = source(), torch.randint(3, VOCAB, (5, 6))
    one, other = plain.encode(read), fast.encode(read)
    real = torch.arange(9) < read.lengths.unsqueeze(1)
    close(one.states[real], other.states[real])
    first, _ = plain.decode(target, plain.start(one))
    second, _ = fast.decode(target, fast.start(other))
    close(first, second)
    close(plain.logits(first), fast.logits(second))
    log_probs = plain.logits(first[:, -1]).log_softmax(-1)
    scores, tokens = fast.best(second[:, -1].contiguous(), 7)
    close(scores, log_probs.topk(7).values)
    assert torch.equal(tokens, log_probs.topk(7).indices)


@pytest.mark.parametrize("name", UNKNOWN)
@torch.inference_mode()
def test_what_the_kernels_do_not_know_runs_as_it_is(name: str):
    plain = model(UNKNOWN[name])
    fast, speed = accelerate(plain)
    assert speed.reason
    assert speed.share < 1.0
    read, target = source(), torch.randint(3, VOCAB, (5, 6))
    first, second = (m.decode(target, m.start(m.encode(read)))[0] for m in (plain, fast))
    close(first, second)
    assert torch.equal(fast.best(second[:, -1], 5)[1], plain.logits(first[:, -1]).topk(5).indices)


RECURRENT: dict[str, dict[str, Any]] = {
    "rnn-simple": {"preset": "rnn-simple"},
    "rnn-context": {"preset": "rnn-context"},
    "rnn-search": {"preset": "rnn-search"},
    "rnn-luong": {"preset": "rnn-luong"},
    "elman": {"cell": "elman", "context": "mean"},
    "heads": {"num_heads": 4, "num_kv_heads": 2},
    "concat": {"score": "concat", "cell": "lstm", "output_bias": True, "tying": "none"},
}


@needs_kernels
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", RECURRENT)
@torch.inference_mode()
def test_recurrent_models_give_the_numbers_of_the_reference(name: str, layers: int):
    torch.manual_seed(0)
    depths = {"num_encoder_layers": layers, "num_decoder_layers": layers}
    plain = build("recurrent", {"dim": 16, "hidden_dim": 24, **RECURRENT[name], **depths}, VOCAB).eval()
    fast, speed = accelerate(plain)
    assert speed.share > 0.8  # an embedding that is not the output too has no product
    read, target, lengths = source(), torch.randint(3, VOCAB, (5, 6)), torch.tensor([6, 1, 4, 0, 2])
    whole = [m.decode(target, m.start(m.encode(read))) for m in (plain, fast)]
    close(whole[0][0], whole[1][0])
    state = fast.start(fast.encode(read))
    for t in range(6):
        hidden, state = fast.decode(target[:, t : t + 1], state)
        close(hidden[:, 0], whole[0][0][:, t])
    states = [m.decode(target, m.start(m.encode(read)), lengths)[1] for m in (plain, fast)]
    after = [m.decode(target, s)[0] for m, s in zip((plain, fast), states, strict=True)]
    close(*after)
    log_probs = plain.logits(after[0][:, -1]).log_softmax(-1)
    scores, tokens = fast.best(after[1][:, -1], 7)
    close(scores, log_probs.topk(7).values)
    assert torch.equal(tokens, log_probs.topk(7).indices)


# ------------------------------------------------------------------------------------------------ state


@needs_kernels
@torch.inference_mode()
def test_a_state_is_reordered_selected_merged_and_forked_as_the_reference_is():
    plain = model({"norm": "pre", "num_kv_heads": 2})
    fast, _ = accelerate(plain)
    late = Source(torch.randint(3, VOCAB, (2, 4)))
    read = source_of(3)
    states = [m.start(m.encode(read)).expand(3) for m in (plain, fast)]
    fresh = [m.start(m.encode(late)).expand(3) for m in (plain, fast)]
    tokens = [torch.randint(3, VOCAB, (rows, 1)) for rows in (9, 9, 6, 12, 12, 12, 12)]
    order = torch.tensor([2, 0, 0, 3, 5, 3, 8, 7, 7])

    def told(index: int, states: list[Any]) -> list[Any]:
        found = [m.decode(tokens[index], state) for m, state in zip((plain, fast), states, strict=True)]
        close(found[0][0], found[1][0])
        return [state for _, state in found]

    states = told(0, states)
    states = told(1, [state.reorder(order) for state in states])
    states = told(2, [state.select(torch.tensor([2, 0])) for state in states])
    states = told(3, [state.merge(other) for state, other in zip(states, fresh, strict=True)])
    forks = [state.fork() for state in states]
    states = told(4, [state.reorder(torch.tensor([1, 1, 0, 3, 4, 4, 8, 6, 7, 9, 11, 9])) for state in states])
    told(5, states)
    told(6, forks)


def source_of(count: int) -> Source:
    return Source(torch.randint(3, VOCAB, (count, 6)), torch.tensor([6, 2, 4])[:count])


@needs_kernels
@torch.inference_mode()
def test_states_that_have_both_begun_are_merged():
    plain = model({})
    fast, _ = accelerate(plain)
    found: list[Tensor] = []
    torch.manual_seed(1)
    one, other, both = (torch.randint(3, VOCAB, shape) for shape in ((3, 5), (2, 2), (5, 1)))
    for m in (plain, fast):
        _, first = m.decode(one, m.start(m.encode(Source(torch.full((3, 4), 7)))))
        _, second = m.decode(other, m.start(m.encode(Source(torch.full((2, 6), 9)))))
        found.append(m.decode(both, first.merge(second))[0])
    close(*found)


@needs_kernels
@torch.inference_mode()
def test_one_example_may_be_continued_several_times():
    plain = model({})
    fast, _ = accelerate(plain)
    found: list[Tensor] = []
    one, other = torch.tensor([[5, 6], [7, 8]]), torch.tensor([[9], [10], [11]])
    for m in (plain, fast):
        _, state = m.decode(one, m.start(m.encode(Source(torch.full((2, 4), 7)))))
        found.append(m.decode(other, state.select(torch.tensor([1, 0, 1])))[0])
    close(*found)


@needs_kernels
@torch.inference_mode()
def test_rows_of_a_chunk_may_have_different_lengths():
    plain = model({"positions": "rotary"})
    fast, _ = accelerate(plain)
    lengths, tokens, after = torch.tensor([4, 1, 3]), torch.randint(3, VOCAB, (3, 4)), torch.randint(3, VOCAB, (3, 2))
    read, found = source_of(3), list[Tensor]()
    for m in (plain, fast):
        _, state = m.decode(tokens, m.start(m.encode(read)), lengths)
        found.append(m.decode(after, state)[0])
    close(*found)


# ------------------------------------------------------------------------------------------------ search


@needs_kernels
@pytest.mark.parametrize("beams", [1, 3])
def test_the_likeliest_tokens_are_all_that_a_search_needs(beams: int):
    plain = model({})
    fast, _ = accelerate(plain)
    rules = Rules(beams, penalty("wu", 0.6), 1, 2, never=(0, 1), min_length=2)
    read, limits = source(), [12] * 5
    results = [
        search(step, m.start(m.encode(read)), rules, limits)
        for m, step in ((plain, stepper(plain)), (fast, stepper(fast)), (fast, best_stepper(fast, rules.candidates)))
    ]
    tokens = [[[h.tokens for h in of_example] for of_example in found] for found in results]
    assert tokens[0] == tokens[1] == tokens[2]
    for one, other in zip(results[0], results[2], strict=True):
        assert [h.log_prob for h in one] == pytest.approx([h.log_prob for h in other], abs=1e-4)


@needs_kernels
@pytest.mark.parametrize("precision", precisions())
@torch.inference_mode()
def test_neither_the_batch_nor_the_threads_change_a_bit(precision: str):
    fast, _ = accelerate(model({"norm": "pre"}), precision)
    torch.manual_seed(2)
    tokens, target = torch.randint(3, VOCAB, (20, 9)), torch.randint(3, VOCAB, (20, 4))

    def told(rows: slice, threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        hidden, _ = fast.decode(target[rows], fast.start(fast.encode(Source(tokens[rows]))))
        last = hidden[:, -1].contiguous()
        return [hidden, fast.logits(hidden), fast.best(last, 5)[1]]

    try:
        alone = [told(slice(i, i + 1), threads) for i in range(20) for threads in [1 + i % 3]]
        for threads in (1, 2, 3):
            for one, other in zip(zip(*alone, strict=True), told(slice(None), threads), strict=True):
                assert torch.equal(torch.cat(one), other)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    "options", [("-DINT8=QUAD",), ("-DNO_AMX",), ("-fno-inline",), pytest.param(("-DLANES=4",), marks=pytest.mark.slow)]
)
@torch.inference_mode()
def test_forms_that_other_processors_read_give_the_same_numbers(options: tuple[str, ...]):
    made = kernels(options=options)
    assert isinstance(made, Kernels), made
    plain = model({"norm": "pre", "num_kv_heads": 2})
    read, target = source(), torch.randint(3, VOCAB, (5, 6))
    expected = plain.decode(target, plain.start(plain.encode(read)))[0]
    for precision, tolerance in {"float32": 1e-6, "int8": 0.05, "bfloat16": 0.02 if made.bfloat16 else None}.items():
        if tolerance is None:
            with pytest.raises(ValueError, match="no bfloat16"):
                FastTransformer(plain, made, precision)
            continue
        fast = FastTransformer(plain, made, precision).eval()
        found = fast.decode(target, fast.start(fast.encode(read)))[0]
        assert float((found - expected).norm() / expected.norm()) < tolerance


@needs_kernels
@torch.inference_mode()
def test_int8_is_near_float32():
    plain = model({"norm": "pre"})
    fast, speed = accelerate(plain, "int8")
    assert speed.precision == "int8"
    read, target = source(), torch.randint(3, VOCAB, (5, 6))
    first, second = (m.decode(target, m.start(m.encode(read)))[0] for m in (plain, fast))
    assert 0 < float((first - second).norm() / first.norm()) < 0.05


@needs_kernels
@torch.inference_mode()
def test_bfloat16_is_nearer_float32_than_int8_or_told_to_be_float32():
    plain = model({"norm": "pre"})
    fast, speed = accelerate(plain, "bfloat16")
    read, target = source(), torch.randint(3, VOCAB, (5, 6))
    first, second = (m.decode(target, m.start(m.encode(read)))[0] for m in (plain, fast))
    apart = float((first - second).norm() / first.norm())
    if "bfloat16" in precisions():
        assert (speed.precision, speed.reason) == ("bfloat16", "")
        assert 1e-4 < apart < 0.02
    else:
        assert (speed.precision, speed.reason) == ("float32", "this processor multiplies no bfloat16")
        assert apart < 1e-6


def test_a_processor_without_bfloat16_runs_float32_and_says_so(monkeypatch: pytest.MonkeyPatch):
    found = kernels()
    assert isinstance(found, Kernels), found
    module = sys.modules["onehop.runtime.accelerate"]  # whose name is its function's too
    monkeypatch.setattr(module, "kernels", lambda *_: replace(found, bfloat16=False))
    _, speed = accelerate(model({}), "bfloat16")
    assert str(speed).startswith("float32 on Onehop's kernels")
    assert str(speed).endswith("this processor multiplies no bfloat16")
    assert precisions() == ("float32", "int8")
    _, speed = accelerate(model({"select": "sparsemax"}), "bfloat16")
    assert "no bfloat16; it has" in str(speed)


@pytest.mark.parametrize("shape", [(64, 32), (512, 96), (100, 70), (7, 5), (33, 200)])
@torch.inference_mode()
def test_a_matrix_unit_sums_int8_as_vectors_do_and_bfloat16_as_it_is_rounded(shape: tuple[int, int]):
    made, vectors = kernels(), kernels(options=("-DNO_AMX",))
    assert isinstance(made, Kernels)
    assert isinstance(vectors, Kernels)
    torch.manual_seed(sum(shape))
    linear = torch.nn.Linear(*shape)
    for rows in (1, 7, 8, 15, 16, 17, 31, 32, 33, 95, 97, 130):
        x = torch.randn(rows, shape[0])
        one, other = (PackedLinear(linear, each, "int8")(x) for each in (made, vectors))
        assert torch.equal(one, other), rows
        for each in (made, vectors):
            if each.bfloat16:
                exact = x.bfloat16().double() @ linear.weight.bfloat16().double().T + linear.bias.double()
                torch.testing.assert_close(PackedLinear(linear, each, "bfloat16")(x).double(), exact, rtol=0, atol=2e-5)
