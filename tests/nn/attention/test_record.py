from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch

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
