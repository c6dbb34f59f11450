"""Every mechanism and claim of the notes by its identifier: a literal table; checks are loaded when they are run.

The order is that of the notes. A row without a check for a tier says why in `missing`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module

from onehop.errors import ConfigError
from onehop.lab.measured import Measured

TIERS = {"T0": "exact, in seconds", "T1": "measured, in minutes"}
CHAPTERS = {
    "F": "1. What are Transformers?",
    "R": "2. From the RNN to attention",
    "A": "2. Attention",
    "T": "2. The Transformer",
    "K": "2. The talk: attentional models",
    "B": "3. Fine-tuning BERT models",
    "L": "Named in the linked articles",
}
HOME = "onehop.lab"


@dataclass(frozen=True)
class Row:
    """A mechanism or a claim.

    Args:
        title: What it is.
        source: The paper.
        checks: `module:function` inside of `onehop.lab` by tier.
        missing: What of it is not built, or not checked, and why.
    """

    title: str
    source: str
    checks: Mapping[str, str] = field(default_factory=dict[str, str])
    missing: str = ""


ROWS: dict[str, Row] = {
    "F-01": Row("homogenization: one model, many tasks", "Bommasani 2021; T5", {"T0": "prompting:homogenization"},
                "that one model learns several tasks"),
    "F-02": Row("ecosystem: model architecture", "Vaswani 2017, table 3", {"T0": "foundation:architectures"}),
    "F-03": Row("ecosystem: data", "Sennrich 2016", {"T0": "foundation:data"}),
    "F-04": Row("ecosystem: computing power", "Kaplan 2020", {"T0": "foundation:computing"}),
    "F-05": Row("ecosystem: prompt engineering", "Brown 2020",
                {"T0": "prompting:in_context", "T1": "prompting:learned_in_context"}),
    "F-06": Row("every token is related to every other", "Vaswani 2017", {"T0": "foundation:relations"}),
    "R-01": Row("simple RNN encoder-decoder", "Sutskever 2014", {"T0": "recurrent:simple", "T1": "fading:reversing"}),
    "R-02": Row("contextualized RNN", "Cho 2014", {"T0": "recurrent:contextualized"}),
    "R-03": Row("contextualized RNN with soft alignment", "Bahdanau 2014",
                {"T0": "recurrent:attentive", "T1": "fading:aligning"}),
    "R-04": Row("the encoder's information decays", "notes", {"T1": "fading:decaying"},
                "the probe for source tokens in s_t; influence and accuracy are measured"),
    "R-05": Row("distance 1 instead of distance N", "Vaswani 2017, table 1",
                {"T0": "paths:distances", "T1": "fading:reaching"}),
    "A-01": Row("attention: query, key, value", "Bahdanau 2014", {"T0": "reading:average"}),
    "A-02": Row("scaled dot product", "Vaswani 2017, 3.2.1",
                {"T0": "reading:scaled_dot_product", "T1": "recalling:scaling"}),
    "A-03": Row("seven score functions", "Luong 2015; Bahdanau 2014; Graves 2014", {"T0": "reading:scores"}),
    "A-04": Row("soft attention", "Bahdanau 2014; Xu 2015", {"T0": "reading:soft"}),
    "A-05": Row("hard attention", "Xu 2015", {"T0": "choosing:hard", "T1": "rewards:reward"}),
    "A-06": Row("local attention, monotonic", "Luong 2015, 3.2", {"T0": "choosing:local_monotonic"}),
    "A-07": Row("local attention, predictive", "Luong 2015, 3.2",
                {"T0": "choosing:local_predictive", "T1": "finding:predicting"}),
    "A-08": Row("single-layer attention, pooling", "Yang 2016; Lin 2017", {"T0": "pooling:single"}),
    "A-09": Row("multi-layer (hierarchical) attention", "Yang 2016",
                {"T0": "pooling:hierarchical", "T1": "finding:planted"}),
    "A-10": Row("multi-head attention", "Vaswani 2017, 3.2.2",
                {"T0": "grouping:multi_head", "T1": "finding:two_places"}),
    "A-11": Row("self-attention", "Vaswani 2017; Cheng 2016", {"T0": "context:self_attention"}),
    "A-12": Row("words that carry their context", "Vaswani 2017",
                {"T0": "context:context_laden", "T1": "noticing:neighbours"}),
    "A-13": Row("cross-attention", "Vaswani 2017, 3.2.3", {"T0": "context:cross_attention"}),
    "A-14": Row("multi-head attention, baseline of decoding", "Shazeer 2019", {"T0": "grouping:baseline"}),
    "A-15": Row("multi-query attention", "Shazeer 2019", {"T0": "grouping:multi_query"}),
    "A-16": Row("grouped-query attention", "Ainslie 2023", {"T0": "grouping:grouped"}),
    "A-17": Row("uptraining multi-head to grouped-query", "Ainslie 2023, 2.1", {"T0": "grouping:converted"},
                "how much training the fewer heads need: benchmarks/uptraining.py"),
    "A-18": Row("key/value cache", "Shazeer 2019", {"T0": "writing:cache"}),
    "A-19": Row("encoder: self; decoder: self and cross", "Vaswani 2017, 3.2.3", {"T0": "context:who_reads_whom"}),
    "T-01": Row("the Transformer", "Vaswani 2017", {"T0": "stacks:transformer", "T1": "recalling:rewriting"}),
    "T-02": Row("encoder stack", "Vaswani 2017, 3.1", {"T0": "stacks:encoder"}),
    "T-03": Row("residual and layer normalisation", "Vaswani 2017; Ba 2016", {"T0": "stacks:residual"}),
    "T-04": Row("layer normalisation speeds learning", "Ba 2016",
                {"T0": "normalising:unnoticed", "T1": "normalising:speeding"}),
    "T-05": Row("residuals keep positional information", "notes", {"T1": "recalling:probing"},
                "trained weights; the probe's weights here are random ones"),
    "T-06": Row("feed-forward network", "Vaswani 2017, 3.3", {"T0": "layers:feed_forward"}),
    "T-07": Row("input embedding", "Vaswani 2017, 3.4", {"T0": "layers:embedding"}),
    "T-08": Row("sinusoidal positional encoding", "Vaswani 2017, 3.5", {"T0": "layers:positions"}),
    "T-09": Row("positions added to the embedding", "Vaswani 2017, 3.5",
                {"T0": "layers:added_positions", "T1": "noticing:ordering"}),
    "T-10": Row("decoder stack", "Vaswani 2017, 3.1", {"T0": "stacks:decoder"}),
    "T-11": Row("masking of following words", "Vaswani 2017, 3.2.3",
                {"T0": "writing:masking", "T1": "noticing:leaking"}),
    "T-12": Row("output and generation", "Vaswani 2017, 6.1; Wu 2016", {"T0": "writing:generation"}),
    "T-13": Row("training recipe", "Vaswani 2017, 5.3 and 5.4", {"T0": "learning:recipe"}),
    "K-01": Row("looking at similar things in the past", "the talk; Graves 2014",
                {"T0": "memory:lookup", "T1": "recalling:recalling"}),
    "K-02": Row("one body, several modalities", "Kaiser 2017",
                {"T0": "modalities:one_body", "T1": "modalities:together"}, "text and images of digits, no sound"),
    "B-01": Row("BERT encoder", "Devlin 2018", {"T0": "pretrained:encoder"}),
    "B-02": Row("BERT pre-training", "Devlin 2018", {"T0": "pretrained:hidden_words"},
                "training on text; whether the second of two texts follows the first (NSP)"),
    "B-03": Row("BERT fine-tuning", "Devlin 2018", {"T0": "pretrained:correlation"},
                "fine-tuning itself, which needs a pretrained model"),
    "L-01": Row("attention pooling over CNN or LSTM", "zhuanlan 91839581",
                {"T0": "pooling:recurrent_and_convolutional"}),
    "L-02": Row("Gumbel-softmax hard attention", "Jang 2017", {"T0": "choosing:gumbel"}),
    "L-03": Row("learned and relative positions", "Gehring 2017; Shaw 2018", {"T0": "layers:learned_and_relative"}),
    "L-04": Row("three-way weight tying", "Press and Wolf 2017", {"T0": "layers:tying"}),
    "L-05": Row("padding mask and sequence mask", "Vaswani 2017", {"T0": "writing:padding_and_future"}),
    "L-06": Row("pre-LN, and normalisation over the batch", "Xiong 2020; Ioffe 2015",
                {"T0": "normalising:other_norms"}),
    "L-07": Row("beam search with attention", "Sutskever 2014; Bahdanau 2014", {"T0": "writing:beam_with_attention"}),
}  # fmt: skip


def load_check(row: str, tier: str) -> Callable[[], Measured]:
    """Return the check of a row.

    Example:
        >>> load_check("T-13", "T0").__name__
        'recipe'
    """
    module, _, function = ROWS[row].checks[tier].partition(":")
    return getattr(import_module(f"{HOME}.{module}"), function)


def choose(rows: Sequence[str], tier: str | None) -> list[tuple[str, str]]:
    """Return the (row, tier) of the checks that are asked for: all of a tier, or those of some rows.

    Args:
        rows: Identifiers, in either case; none for all that have a check of the tier.
        tier: One of `TIERS`; None for T0, which needs rows.

    Raises:
        ConfigError: No such row or tier, a row that is not built, or nothing asked for.

    Example:
        >>> choose(["r-01"], None)
        [('R-01', 'T0')]
    """
    if tier is not None and tier not in TIERS:
        raise ConfigError(f"unknown tier {tier!r}", f"Use {' or '.join(TIERS)}.", "--tier")
    if not rows and tier is None:
        raise ConfigError("nothing to run", "Name rows, such as R-01, or a tier: --tier T0.", "lab run")
    wanted = tier or "T0"
    if not rows:
        return [(name, wanted) for name, row in ROWS.items() if wanted in row.checks]
    found = {known(name): wanted for name in rows}  # each once
    for name in found:
        checks = ROWS[name].checks
        if wanted not in checks:
            has = f"It has a check of tier {', '.join(checks)}." if checks else "`onehop lab list` tells what is built."
            why = "" if checks else f": {ROWS[name].missing}"
            raise ConfigError(f"{name} has no check of tier {wanted}{why}", has, "lab run")
    return list(found.items())


def known(name: str) -> str:
    """Return the identifier that is meant, or name the nearest."""
    if name.upper() in ROWS:
        return name.upper()
    close = difflib.get_close_matches(name.upper(), ROWS, n=1, cutoff=0.4)  # names are short: half of one is near
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"unknown row {name!r}{hint}", "`onehop lab list` tells all.", "lab run")
