import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch

from onehop.errors import ConfigError
from onehop.models import build
from onehop.nn import Source, record_attention
from onehop.nn.attention import Record


def model() -> Any:
    settings = {"dim": 16, "num_heads": 4, "ffn_dim": 24, "num_encoder_layers": 2, "num_decoder_layers": 3}
    return build("transformer", settings, 40).eval()


def run(net: Any, size: int = 5) -> None:
    net.decode(torch.tensor([[1, 4]]), net.start(net.encode(Source(torch.arange(3, 3 + size).unsqueeze(0)))))


def test_an_encoder_has_self_attention_only_and_a_decoder_both():
    with record_attention() as record:
        run(model())
    encoder, decoder = [f"encoder.{i}.self" for i in range(2)], [f"decoder.{i}" for i in range(3)]
    assert list(record) == encoder + [f"{name}.{kind}" for name in decoder for kind in ("self", "cross")]
    assert len(record) == 8


def test_layers_and_heads_are_chosen_by_name_and_number():
    net = model()
    with record_attention() as everything:
        run(net)
    with record_attention(["decoder.?.cross", "encoder.1.*"], heads=[3, 0]) as record:
        run(net)
    assert list(record) == ["encoder.1.self", "decoder.0.cross", "decoder.1.cross", "decoder.2.cross"]
    for name in record:
        assert torch.equal(record[name], everything[name][:, [3, 0]])


def test_several_calls_are_asked_for_as_several_calls():
    net = model()
    with record_attention(["encoder.0.self"]) as record:
        run(net, 5)
        run(net, 3)
    assert [weights.size(-1) for weights in record.calls("encoder.0.self")] == [5, 3]
    with pytest.raises(LookupError, match="called 2 times"):
        record["encoder.0.self"]
    assert "encoder.0.self" in record
    assert "decoder.0.self" not in record


def test_weights_hold_no_graph():
    with record_attention() as record:
        run(model())
    assert not any(record[name].requires_grad for name in record)


def test_an_inner_record_takes_over_until_it_ends():
    net = model()
    with record_attention() as outer:
        with record_attention() as inner:
            run(net, 3)
        run(net, 5)
    assert (inner["encoder.0.self"].size(-1), outer["encoder.0.self"].size(-1)) == (3, 5)


def test_an_error_inside_is_not_hidden_by_the_empty_record():
    with pytest.raises(ZeroDivisionError), record_attention():
        raise ZeroDivisionError
    with record_attention() as record:
        run(model())
    assert record


def test_threads_do_not_see_each_others_weights():
    net, barrier = model(), Barrier(2)

    def work(size: int) -> Record:
        with record_attention() as record:
            barrier.wait()
            run(net, size)
            barrier.wait()
        return record

    with ThreadPoolExecutor(2) as pool:
        records = list(pool.map(work, (3, 5)))
    assert [record["encoder.0.self"].size(-1) for record in records] == [3, 5]


def weights_of(net: Any, **chosen: Any) -> Record:
    with record_attention("encoder.0.self", **chosen) as record:
        run(net, 7)
    return record


@pytest.mark.parametrize("at_once", [1, 30, 1 << 20])
def test_it_does_not_matter_how_many_queries_are_weighed_at_once(monkeypatch: pytest.MonkeyPatch, at_once: int):
    net = model()
    whole = weights_of(net)["encoder.0.self"]
    monkeypatch.setattr("onehop.nn.attention.record.AT_ONCE", at_once)
    assert torch.equal(weights_of(net)["encoder.0.self"], whole)
    assert torch.equal(weights_of(net, queries=[6, 1, 1])["encoder.0.self"], whole[:, :, [6, 1, 1]])
    top = weights_of(net, top_k=3).top("encoder.0.self")
    assert torch.equal(top.values, whole.topk(3).values)
    assert torch.equal(top.dense().topk(3).values, top.values)


def test_more_largest_weights_than_keys_are_all_weights():
    net = model()
    assert torch.equal(weights_of(net, top_k=99)["encoder.0.self"], weights_of(net)["encoder.0.self"])


def test_what_is_not_there_cannot_be_recorded():
    for chosen, told in (({"heads": [4]}, "no head 4"), ({"queries": [-8]}, "no query -8: it has 7 queries")):
        with pytest.raises(LookupError, match=told):
            weights_of(model(), **chosen)
    for chosen in ({"heads": []}, {"queries": []}, {"top_k": 0}):
        with pytest.raises(ConfigError):
            weights_of(model(), **chosen)
    with pytest.raises(LookupError, match=r"decoder.9.self was not recorded; these were: encoder.0.self"):
        weights_of(model())["decoder.9.self"]
    with pytest.raises(LookupError, match="all weights"):
        weights_of(model()).top("encoder.0.self")


def test_a_compiled_region_is_an_error_and_no_empty_record(monkeypatch: pytest.MonkeyPatch):
    net = model()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises(LookupError, match="ran compiled"), record_attention():
        run(net)


def test_steps_of_a_recurrence_are_chosen_from_as_one_call():
    net: Any = build("recurrent", {"dim": 16, "hidden_dim": 16}, 40).eval()
    tokens, memory = torch.tensor([[1, 4, 5, 6, 7]] * 2), net.encode(Source(torch.arange(3, 9).expand(2, 6)))
    with record_attention() as whole:
        net.decode(tokens, net.start(memory))
    with record_attention(queries=[4, 0, -2], top_k=2) as record:
        net.decode(tokens, net.start(memory))
    top = record.top("decoder.cross")
    assert top.keys.shape == (2, 1, 3, 2)
    assert torch.equal(top.values, whole["decoder.cross"][:, :, [4, 0, 3]].topk(2).values)
    assert torch.equal(record["decoder.cross"].topk(2).values, top.values)


@pytest.mark.parametrize("select", ["hard", "gumbel"])
def test_what_is_drawn_in_training_is_what_is_recorded(select: str):
    net: Any = build("recurrent", {"dim": 16, "hidden_dim": 16, "dropout": 0.0, "select": select}, 40).train()
    source, tokens = Source(torch.arange(3, 9).expand(4, 6)), torch.tensor([[1, 4, 5]] * 4)
    torch.manual_seed(1)
    before = net.decode(tokens, net.start(net.encode(source)))[0]
    torch.manual_seed(1)
    contexts: list[torch.Tensor] = []
    net.attention.out.register_forward_pre_hook(lambda module, inputs: contexts.append(inputs[0]))
    with record_attention() as record:
        memory = net.encode(source)
        assert torch.equal(net.decode(tokens, net.start(memory))[0], before)
    read = record["decoder.cross"][:, 0] @ memory.states
    torch.testing.assert_close(read, torch.cat(contexts, 1))


MEMORY = """
import resource, sys, torch
from onehop.models import build
from onehop.nn import Source, record_attention

torch.set_num_threads(1)
T, H = 4096, 4
settings = {"dim": 32, "num_heads": H, "ffn_dim": 32, "num_encoder_layers": 2, "num_decoder_layers": 1,
            "positions": sys.argv[1]}
net = build("transformer", settings, 40).eval()
tokens = torch.randint(3, 40, (1, T))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

with torch.inference_mode():
    net.encode(Source(tokens))
    before = peak()
    with record_attention("encoder.*", top_k=4) as record:
        net.encode(Source(tokens))
    taken = peak() - before
assert all(record.top(name).keys.shape == (1, H, T, 4) for name in ("encoder.0.self", "encoder.1.self"))
print(taken, 4 * H * T * T)
"""


@pytest.mark.parametrize("positions", ["sinusoidal", "alibi"])
def test_a_long_text_is_recorded_in_little_memory_beside_what_the_model_itself_holds(positions: str):
    done = subprocess.run([sys.executable, "-c", MEMORY, positions], capture_output=True, text=True, check=True)
    taken, all_of_one_layer = map(int, done.stdout.split())
    assert taken < all_of_one_layer / 4, f"{taken / 2**20:.0f} MiB"
