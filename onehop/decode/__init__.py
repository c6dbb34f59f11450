"""Decoding: search over a step function. Nothing here knows a model, an attention or a tokenizer."""

from onehop.decode.force import force
from onehop.decode.penalties import PENALTIES, penalty
from onehop.decode.search import BeamSearch, Hypothesis, Rules, search
from onehop.decode.step import Step, stepper

__all__ = ["PENALTIES", "BeamSearch", "Hypothesis", "Rules", "Step", "force", "penalty", "search", "stepper"]
