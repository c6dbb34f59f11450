"""R-01, R-02 and R-03 as MECHANISMS has them: each is a special case of the next."""

from typing import Any

import pytest
import torch

from onehop.errors import ConfigError
from onehop.models import build
from onehop.nn import Source
from onehop.nn.attention.selects import SELECTS
from tests.laws.close import assert_same

SMALL = {"dim": 6, "hidden_dim": 8, "dropout": 0.0}
SOURCE = Source(torch.tensor([[5, 6, 7, 8], [9, 3, 0, 0]]), torch.tensor([4, 2]))
OTHER = Source(torch.tensor([[7, 7, 5, 9], [4, 8, 0, 0]]), torch.tensor([4, 2]))
TOKENS = torch.tensor([[1, 4, 5, 6, 7], [1, 9, 8, 7, 6]])


def model(**settings: Any) -> Any:
    torch.manual_seed(0)
    return build("recurrent", {**SMALL, **settings}, 12).double().eval()


def hidden(model: Any, source: Source = SOURCE) -> torch.Tensor:
    return model.decode(TOKENS, model.start(model.encode(source)))[0]


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_the_only_way_from_the_source_into_r_01_is_the_first_state(cell: str):
    simple = model(cell=cell, context="none")
    assert not torch.equal(hidden(simple), hidden(simple, OTHER))
    simple.bridge.weight.data.zero_()
    assert torch.equal(hidden(simple), hidden(simple, OTHER))


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
@pytest.mark.parametrize("settings", [
    {"context": "none"}, {"context": "final"}, {"context": "mean"}, *({"select": name} for name in SELECTS),
])  # fmt: skip
def test_a_source_without_a_token_is_read_as_nothing(cell: str, settings: dict[str, str]):
    net = model(cell=cell, **settings)
    nothing = Source(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
    found = hidden(net, nothing)
    assert bool(found.isfinite().all())
    padded = Source(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
    assert_same(found, hidden(net, padded))


@pytest.mark.parametrize("context", ["final", "mean"])
def test_r_02_whose_context_has_no_weight_is_r_01(context: str):
    contextual, simple = model(context=context), model(context="none")
    weights = contextual.state_dict()
    for name, kept in (("decoder.layers.0.weight_ih_l0", slice(0, 6)), ("readout.linear.weight", slice(0, 14))):
        weights[name][:, kept.stop :] = 0
    contextual.load_state_dict(weights)
    shared = {name: value[:, : simple.state_dict()[name].size(-1)] if value.dim() > 1 else value
              for name, value in weights.items()}  # fmt: skip
    simple.load_state_dict(shared)
    assert_same(hidden(contextual), hidden(simple))


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_r_03_with_uniform_weights_is_r_02_with_the_mean(cell: str):
    attentive, contextual = model(cell=cell), model(cell=cell, context="mean")
    attentive.attention.score.compare.weight.data.zero_()  # every score 0
    own = {name: value for name, value in attentive.state_dict().items() if not name.startswith("attention")}
    contextual.load_state_dict(own)
    assert_same(hidden(attentive), hidden(contextual))


def test_r_03_is_bahdanaus_decoder_step_by_step():
    m = model(score="additive")
    memory = m.encode(SOURCE)
    state = m.start(memory).cells.top
    states, score = memory.states, m.attention.score
    w, b, u, v = score.query_map.weight[0], score.query_map.bias[0, 0], score.key_map.weight[0], score.compare.weight
    found = hidden(m)
    for t in range(TOKENS.size(1)):
        y = m.target_embedding(TOKENS[:, t])
        energy = ((state @ w.T + b).unsqueeze(1) + states @ u.T).tanh() @ v[0, 0, :, 0]
        energy[1, 2:] = float("-inf")
        context = (energy.softmax(1).unsqueeze(2) * states).sum(1)
        state = torch.gru_cell(torch.cat([y, context], 1), state, *m.decoder.layers[0].all_weights[0])
        assert_same(found[:, t], m.readout(state, y, context))


def test_luongs_decoder_feeds_its_readout_to_the_next_step():
    m = model(query="current", input_feeding=True, score="general", cell="lstm")
    memory = m.encode(SOURCE)
    start = m.start(memory)
    cells, fed, found = start.cells, torch.zeros(2, 6, dtype=torch.float64), hidden(m)
    for t in range(TOKENS.size(1)):
        cells = m.decoder.step(torch.cat([m.target_embedding(TOKENS[:, t]), fed], 1), cells)
        energy = torch.einsum("bd,ed,bse->bs", cells.top, m.attention.score.query_map.weight[0], memory.states)
        energy[1, 2:] = float("-inf")
        context = (energy.softmax(1).unsqueeze(2) * memory.states).sum(1)
        fed = m.readout(cells.top, context)
        assert_same(found[:, t], fed)


def test_parameters_by_formula():
    """Two GRUs (3 d (in + d) + 6 d each way), embedding, bridge, score, readout."""
    count = sum(p.numel() for p in model().parameters())
    encoder, decoder = 2 * (3 * 4 * (6 + 4) + 24), 3 * 8 * (6 + 8 + 8) + 48
    assert count == encoder + decoder + 12 * 6 + (64 + 8) + (64 + 64 + 8 + 8) + (22 * 6 + 6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context": "none", "score": "dot"}, "score='dot' without attention"),
        ({"input_feeding": True}, "use query='current'"),
        ({"num_heads": 3}, "num_heads=3 must divide hidden_dim=8"),
        ({"num_heads": 4, "num_kv_heads": 3}, "num_kv_heads=3 must divide num_heads=4"),
        ({"num_heads": 0}, "num_heads"),
        ({"window": 0, "region": "local-m"}, "window"),
        ({"hidden_dim": 7}, "hidden_dim=7 must be even"),
        ({"query": "token"}, "dim=6 and hidden_dim=8"),
        ({"region": "local"}, "local-p"),
    ],
)
def test_settings_that_do_not_fit_are_told(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        model(**settings)
    assert message in str(caught.value)


def test_a_local_model_continues_its_positions_from_chunk_to_chunk():
    m = model(region="local-m", window=1)
    state = m.start(m.encode(SOURCE))
    parts = []
    for t in range(TOKENS.size(1)):
        part, state = m.decode(TOKENS[:, t : t + 1], state)
        parts.append(part)
    assert_same(torch.cat(parts, 1), hidden(m))
