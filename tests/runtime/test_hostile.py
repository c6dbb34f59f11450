"""What is handed to the kernels that the reference would refuse, or bear; and states in every order of operations."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onehop.decode import Rules, best_stepper, penalty, search
from onehop.errors import ModelError
from onehop.models import build
from onehop.models.encoders import build_encoder
from onehop.nn import Source
from onehop.runtime import accelerate, kernels, precisions
from onehop.runtime.library import Kernels
from onehop.runtime.linear import PackedLinear
from onehop.runtime.packing import MOST_BEST

SIZE = {"dim": 24, "ffn_dim": 40, "num_heads": 4, "num_encoder_layers": 2, "num_decoder_layers": 2}
VOCAB = 53


@pytest.fixture(scope="module")
def plain() -> Any:
    torch.manual_seed(0)
    return build("transformer", SIZE, VOCAB).eval()


@pytest.fixture(scope="module")
def fast(plain: Any) -> Any:
    return accelerate(plain)[0]


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randint(3, VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


# ------------------------------------------------------------------------------------------------ states


def operated(model: Any, seed: int) -> list[Tensor]:
    """Return the outputs of a decoder between operations on its state, which a seed draws."""
    draw = torch.Generator().manual_seed(seed)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=draw))

    state = model.start(model.encode(Source(drawn(seed, 3, 6), torch.tensor([6, 2, 4]))))
    examples, beams, found = 3, 1, list[Tensor]()
    for turn in range(8):
        kind = number(0, 5)
        if kind == 0:
            chosen = [number(0, examples) for _ in range(number(1, 5))]  # some twice, some not at all
            state, examples = state.select(torch.tensor(chosen)), len(chosen)
        elif kind == 1 and beams == 1:
            beams = 2
            state = state.expand(beams)
        elif kind == 2:
            rows = [number(0, beams) + beams * example for example in range(examples) for _ in range(beams)]
            state = state.reorder(torch.tensor(rows))
        elif kind == 3:
            more = model.start(model.encode(Source(drawn(seed + turn, 2, 5))))
            state, examples = state.merge(more.expand(beams) if beams > 1 else more), examples + 2
        rows = examples * beams
        lengths = torch.tensor([number(0, 4) for _ in range(rows)]) if number(0, 2) else None
        hidden, state = model.decode(drawn(seed + 50 + turn, rows, 3), state, lengths)
        real = torch.ones(rows, 3, dtype=torch.bool) if lengths is None else torch.arange(3) < lengths.unsqueeze(1)
        found.append(hidden[real])
    return found


@pytest.mark.parametrize("seed", range(40))
def test_a_state_is_what_the_references_is_after_any_operations(plain: Any, fast: Any, seed: int):
    with torch.inference_mode():
        for one, other in zip(operated(plain, seed), operated(fast, seed), strict=True):
            same(one, other)


# ------------------------------------------------------------------------------------------------ inputs


@torch.inference_mode()
def test_whole_numbers_of_another_type_are_read_as_such(plain: Any, fast: Any):
    tokens, lengths, target = drawn(1, 3, 5), torch.tensor([5, 3, 2]), drawn(2, 3, 2)
    expected = plain.decode(target, plain.start(plain.encode(Source(tokens, lengths))))[0]
    memory = fast.encode(Source(tokens.int(), lengths.int()))
    same(fast.decode(target.int(), fast.start(memory))[0], expected)


@torch.inference_mode()
def test_what_would_be_read_outside_of_its_memory_is_refused(fast: Any):
    tokens = drawn(1, 3, 5)
    for wrong in (VOCAB, 10**8, -1, -(10**9)):
        with pytest.raises(IndexError, match=f"a vocabulary of {VOCAB}"):
            fast.encode(Source(torch.tensor([[5, wrong]])))
        state = fast.start(fast.encode(Source(tokens)))
        assert bool(
            fast.decode(torch.tensor([[5], [wrong], [6]]), state)[0].isnan().any(-1).tolist() == [[0], [1], [0]]
        )
    for lengths in ([5, 9, 1], [5, -1, 1]):
        with pytest.raises(ValueError, match="in rows of 5 tokens"):
            fast.encode(Source(tokens, torch.tensor(lengths)))
    with pytest.raises(ValueError, match="2 rows of tokens after a state of 3"):
        fast.decode(tokens[:2, :1], fast.start(fast.encode(Source(tokens))))
    found = kernels()
    assert isinstance(found, Kernels)
    with pytest.raises(ValueError, match="10 numbers, where a packed weight reads 24"):
        PackedLinear(nn.Linear(24, 40), found, "float32")(torch.randn(3, 10))


@torch.inference_mode()
def test_batches_of_nothing_are_encoded(plain: Any, fast: Any):
    for shape in ((0, 5), (2, 0), (0, 0)):
        nothing = Source(torch.zeros(shape, dtype=torch.int64))
        assert fast.encode(nothing).states.shape == plain.encode(nothing).states.shape


@torch.inference_mode()
@pytest.mark.parametrize("count", [0, 1, MOST_BEST, MOST_BEST + 1, 300, 1000])
def test_any_number_of_best_tokens_may_be_asked_for(count: int):
    torch.manual_seed(0)
    model, _ = accelerate(build("transformer", SIZE, 500).eval())
    states = torch.randn(3, 24)
    scores, tokens = model.best(states, count)
    expected = model.logits(states).log_softmax(-1).topk(min(count, 500))
    same(scores, expected.values)
    assert torch.equal(tokens, expected.indices)


# ------------------------------------------------------------------------------------------------ no numbers


@pytest.mark.parametrize("precision", precisions())
@pytest.mark.parametrize(
    "name", ["encoder.0.feedforward.up.bias", "decoder.1.attention.out.weight", "decoder.0.feedforward.up.weight"]
)
def test_a_model_whose_training_diverged_says_so(precision: str, name: str):
    model = build("transformer", {**SIZE, "norm": "pre"}, 300).eval()
    with torch.no_grad():
        model.get_parameter(name)[0] = float("nan")
    fast, _ = accelerate(model, precision)
    rules = Rules(4, penalty("wu", 0.6), 1, 2)
    with torch.inference_mode(), pytest.raises(ModelError, match="not numbers"):
        search(
            best_stepper(fast, rules.candidates), fast.start(fast.encode(Source(torch.tensor([[5, 6]])))), rules, [6]
        )


@torch.inference_mode()
@pytest.mark.parametrize("precision", precisions())
@pytest.mark.parametrize("threads", [1, 2])
def test_one_input_that_is_no_number_spoils_its_row_alone(precision: str, threads: int):
    found, before = kernels(), torch.get_num_threads()
    assert isinstance(found, Kernels)
    torch.manual_seed(0)
    packed = PackedLinear(nn.Linear(24, 10), found, precision)
    states = torch.randn(4, 24)
    clean = packed(states)
    states[1, 20], states[2, 3] = float("nan"), float("inf")
    try:
        torch.set_num_threads(threads)
        spoilt, (scores, tokens) = packed(states), packed.best(states[1:2], 3)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(spoilt[[0, 3]], clean[[0, 3]])
    assert not spoilt[1:3].isfinite().any()
    assert bool(scores.isnan().all())
    assert bool((tokens < 10).all())


# ------------------------------------------------------------------------------------------------ types


@torch.inference_mode()
def test_types_of_the_surroundings_change_nothing(plain: Any, fast: Any):
    source = Source(drawn(1, 2, 5))
    expected = plain.encode(source).states
    encoder = build_encoder(
        "electra", {"dim": 24, "ffn_dim": 40, "num_heads": 3, "num_layers": 2, "embedding_dim": 10}, 57
    )
    quick, _ = accelerate(encoder.eval())
    try:
        torch.set_default_dtype(torch.float64)
        same(fast.encode(source).states, expected)
        step = fast.decode(drawn(2, 2, 3), fast.start(fast.encode(source)))[0]
    finally:
        torch.set_default_dtype(torch.float32)
    same(step, plain.decode(drawn(2, 2, 3), plain.start(plain.encode(source)))[0])
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(
            quick.encode(source).states, encoder.encode(source).states.float(), atol=0.1, rtol=0.1
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_of_another_type_stay_with_the_reference(dtype: torch.dtype):
    model = build("recurrent", {"dim": 16, "hidden_dim": 24}, VOCAB).to(dtype).eval()
    same_model, speed = accelerate(model)
    assert same_model is model
    assert speed.reason == f"no kernels: weights of {str(dtype).removeprefix('torch.')}"


def test_weights_are_not_loaded_into_what_is_packed(fast: Any):
    with pytest.raises(RuntimeError, match="load them into the model that it was made of"):
        fast.load_state_dict(fast.state_dict())


# ------------------------------------------------------------------------------------------------ threads, files


def test_a_thread_that_ends_gives_its_memory_back():
    settings = {"dim": 128, "ffn_dim": 512, "num_heads": 4, "num_encoder_layers": 1, "num_decoder_layers": 1}
    model = accelerate(build("transformer", settings, VOCAB).eval())[0]

    def held() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024

    def job() -> None:
        with torch.inference_mode():
            model.encode(Source(torch.full((32, 60), 7)))

    sizes: list[int] = []
    for turn in range(31):
        thread = threading.Thread(target=job)
        thread.start()
        thread.join()
        if turn % 10 == 0:
            sizes.append(held())
    assert sizes[-1] - sizes[0] < 100, sizes  # each held 14 MB


CACHED = "from onehop.runtime import kernels; print(kernels() if isinstance(kernels(), str) else 'found')"


def test_a_damaged_library_of_the_cache_is_made_again(tmp_path: Path):
    environment = {**os.environ, "ONEHOP_CACHE": str(tmp_path)}

    def told() -> str:
        command = [sys.executable, "-c", CACHED]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()

    assert told() == "found"
    [library] = (tmp_path / "kernels").glob("*.so")
    assert not stat.S_IMODE(library.stat().st_mode) & 0o077
    whole = library.read_bytes()
    for damaged in (b"", whole[:1000], whole[:-1] + b"x"):
        library.write_bytes(damaged)
        assert told() == "found"
        assert library.read_bytes() != damaged
