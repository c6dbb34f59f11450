"""Looking inside: where a model looked while it wrote what was really output."""

from onehop.explain.explanation import Alignment, Explanation, Part, align, alignment_layer, alternatives, explain
from onehop.explain.heat_map import heat_map
from onehop.explain.page import page
from onehop.explain.past import Earlier, Past, look_back, similar_past
from onehop.explain.replay import Replay, attentions, replay
from onehop.explain.words import Words, merge, split_words

__all__ = [
    "Alignment", "Earlier", "Explanation", "Part", "Past", "Replay", "Words", "align", "alignment_layer",
    "alternatives", "attentions", "explain", "heat_map", "look_back", "merge", "page", "replay", "similar_past",
    "split_words",
]  # fmt: skip
