"""Numbers of parameters, as published or as counted in torch.nn; no weight is held in memory."""

from typing import Any

import torch
from torch import nn

from onehop.models import build


def size(*modules: nn.Module) -> int:
    return sum(p.numel() for p in nn.ModuleList(modules).parameters())


def model(vocab: int, **settings: Any) -> Any:
    with torch.device("meta"):
        return build("transformer", settings, vocab)


def test_a_stack_with_torchs_defaults_has_torchs_number_of_parameters():
    ours = model(100, attention_bias=True, final_norm=True)
    found = size(ours.encoder, ours.encoder_norm, ours.decoder, ours.decoder_norm)
    with torch.device("meta"):
        theirs = size(nn.Transformer(batch_first=True))
    assert found == theirs == 44_140_544


def test_the_base_model_with_37000_shared_tokens_has_63_million_parameters():
    assert size(model(37_000)) == 63_045_632


def test_the_big_model_with_37000_shared_tokens_has_214_million_parameters():
    assert size(model(37_000, preset="transformer-big")) == 214_171_648


def test_layers_have_the_papers_number_of_parameters():
    base, biased = model(100), model(100, attention_bias=True)
    assert [size(block) for block in base.encoder] == [3_150_336] * 6
    assert [size(block) for block in base.decoder] == [4_199_936] * 6
    assert size(biased.encoder[0]) == 3_152_384
    assert size(biased.decoder[0]) == 4_204_032


def test_no_two_layers_share_a_weight():
    base = model(100)
    weights = [id(p) for stack in (base.encoder, base.decoder) for p in stack.parameters()]
    assert len(weights) == len(set(weights))
