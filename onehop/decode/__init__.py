"""Decoding: search over a step function, or sampling from it. Nothing here knows a model or a tokenizer."""

from onehop.decode.filters import Filter, min_p, temperature, top_k, top_p, without_repeats
from onehop.decode.force import force
from onehop.decode.penalties import PENALTIES, penalty
from onehop.decode.sample import Sampler, draw_seed, sample, sampling_filters
from onehop.decode.search import BeamSearch, Hypothesis, Rules, search
from onehop.decode.step import Best, BestStep, States, Step, best_stepper, ensemble, mean_probability, stepper

__all__ = [
    "PENALTIES",
    "BeamSearch",
    "Best",
    "BestStep",
    "Filter",
    "Hypothesis",
    "Rules",
    "Sampler",
    "States",
    "Step",
    "best_stepper",
    "draw_seed",
    "ensemble",
    "force",
    "mean_probability",
    "min_p",
    "penalty",
    "sample",
    "sampling_filters",
    "search",
    "stepper",
    "temperature",
    "top_k",
    "top_p",
    "without_repeats",
]  # fmt: skip
