from dataclasses import replace
from typing import Any

import pytest
import torch

import onehop
from onehop.errors import ConfigError
from onehop.explain import Explanation, align, alignment_layer, alternatives, attentions, explain, replay
from onehop.explain.replay import exact
from onehop.models import build
from onehop.tasks import DecodeConfig, Translation, Translator

LINE = "One Two Three Four."
SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {"beam_size": 1},
    "beam": {"beam_size": 4},
    "sample": {"sample": True, "temperature": 2.0, "seed": 3},
    "rules": {"min_length": 9, "no_repeat_ngram": 2, "max_length": 12},
    "cut": {"max_length": 3},
}


@pytest.fixture(scope="module")
def translator(trained) -> Translator:
    return onehop.load(trained)


def with_model(translator: Translator, model: Any) -> Translator:
    settings = translator.settings
    return Translator(model, translator.source_tokenizer, translator.target_tokenizer, settings)


def recurrent(translator: Translator, **settings: Any) -> Translator:
    size = translator.source_tokenizer.vocab_size
    return with_model(translator, build("recurrent", {"dim": 16, "hidden_dim": 16, **settings}, size).eval())


def settings(translator: Translator, **changes: Any) -> DecodeConfig:
    return translator.settings.decode.model_copy(update=changes)


@pytest.mark.parametrize("how", SEARCHES)
def test_the_replay_is_the_run_itself_however_the_hypothesis_was_found(translator: Translator, how: str):
    for model in (translator, recurrent(translator)):
        found = model.translate([LINE, "Two."], settings(model, **SEARCHES[how]), nbest=2 if how == "sample" else 1)
        for one in found:
            for candidate in one.candidates[0]:
                [again] = replay(model, one.parts, [candidate])
                assert len(again.log_probs) == len(candidate.tokens) + candidate.complete
                assert again.difference < 1e-4
                assert sum(again.log_probs) == pytest.approx(candidate.log_prob, abs=1e-3)


def test_the_difference_is_the_largest_of_a_token(translator: Translator):
    [found] = translator.translate([LINE])
    best = found.candidates[0][0]
    moved = replace(best, log_probs=(best.log_probs[0] - 0.5, *best.log_probs[1:]))
    assert replay(translator, found.parts, [moved])[0].difference == pytest.approx(0.5, abs=1e-3)


def test_a_forced_prefix_is_replayed_with_it(translator: Translator):
    [found] = translator.translate([LINE], prefixes=["Neun"])
    [again] = explain(translator, [found])
    assert again.alignment.target_words[0] == "Neun"
    assert again.difference < 1e-4


def test_a_model_in_bfloat16_is_replayed_in_float32_and_the_difference_tells(trained):
    package = onehop.load(trained)
    package.model.bfloat16()
    [found] = package.translate([LINE])
    [again] = replay(package, found.parts, [found.candidates[0][0]])
    assert 1e-5 < again.difference < 0.2
    assert next(iter(again.weights.values())).dtype == torch.float32
    assert next(package.model.parameters()).dtype == torch.bfloat16  # as it was


@pytest.mark.parametrize(("precision", "most"), [("float32", 1e-4), ("bfloat16", 0.1), ("int8", 0.3)])
def test_a_fast_run_is_replayed_by_the_definition_with_the_weights_it_ran_with(
    translator: Translator, precision: str, most: float
):
    for model in (translator, recurrent(translator)):
        fast = model.fast(precision)
        found = fast.translate([LINE, "Two. Six."])
        for one in explain(fast, found):
            assert one.difference < most
            assert one.parts[0].again.weights.keys() == {alignment_layer(model)}
        assert attentions(fast) == attentions(model)
        assert all(parameter.isfinite().all() for parameter in model.model.parameters())


def test_rounded_weights_are_replayed_as_they_are_rounded(translator: Translator):
    fast = translator.fast()
    assert fast.speed is not None
    fast.speed = replace(fast.speed, precision="int8")
    rounded, plain = exact(fast), translator.model
    for (name, one), other in zip(rounded.named_parameters(), plain.parameters(), strict=False):
        assert torch.equal(one, other) == (
            "embedding" in name or "norm" in name or "residual" in name or "bias" in name
        )
        assert (one - other).abs().max() <= other.abs().max() / 127


def test_weights_are_those_of_the_line_alone_in_any_batch(translator: Translator):
    lines = [LINE, "Two.", "Nine Eight.", "Five Five Five Five."] * 3
    together = explain(translator, translator.translate(lines), ["*"])
    for line, found in zip(lines, together, strict=True):
        [alone] = explain(translator, translator.translate([line]), ["*"])
        assert list(alone.parts[0].again.weights) == ["encoder.0.self", "decoder.0.self", "decoder.0.cross"]
        for name, weights in alone.parts[0].again.weights.items():
            torch.testing.assert_close(found.parts[0].again.weights[name], weights, atol=1e-5, rtol=1e-4)
            asks, reads = found.parts[0].words_of(name)
            assert found.parts[0].weights(name).shape == (weights.size(0), len(asks), len(reads))


def words(found: Explanation) -> None:
    """Check that the words are those of the texts, and links lead to them."""
    alignment = found.alignment
    assert alignment.source_words == tuple(found.translation.source.split())
    assert alignment.target_words == tuple(found.translation.text.split())
    for source, target in alignment.links:
        assert source < len(alignment.source_words)
        assert target < len(alignment.target_words)


def test_sentences_and_windows_of_a_line_are_numbered_through(translator: Translator):
    lines = ["One Two. Three.  Four Five.", "", "Nine"]
    found = explain(translator, translator.translate(lines))
    assert [len(each.parts) for each in found] == [3, 0, 1]
    long = "x" * 30 + " One Two Three Four" * 8 + " Five."
    windows = explain(translator, translator.translate([long], split=False, long="window"))
    assert len(windows[0].parts) > 2
    for each in (*found, *windows):
        words(each)


def test_a_dropped_line_has_nothing_to_explain(translator: Translator):
    [found] = explain(translator, translator.translate(["Two " * 100], long="drop"))
    assert (found.parts, found.alignment.links, found.difference) == ((), (), 0.0)


def test_names_and_numbers_are_aligned_to_themselves():
    model = onehop.load("en-de")
    lines = [
        "Yesterday Tom drove to Boston with Mary.",
        "In 2013 Anna lived in Berlin.",
        "I think that Tom has 30 books.",
        "Why did Maria go to Paris without John?",
        "Mr. Brown was born in 1950.",
    ]
    hits = misses = 0
    for each in align(model, model.translate(lines)):
        source, target = ([word.strip(".?,") for word in side] for side in (each.source_words, each.target_words))
        for word in {word for word in source if word in target and (word[0].isupper() or word.isdigit())}:
            right = (source.index(word), target.index(word)) in each.links
            hits, misses = hits + right, misses + (not right)
    assert hits >= 9
    assert misses <= 1


def test_the_penultimate_layer_aligns_and_the_only_one_where_there_is_one(translator: Translator):
    assert alignment_layer(onehop.load("en-de")) == "decoder.1.cross"
    assert alignment_layer(translator) == "decoder.0.cross"
    assert alignment_layer(recurrent(translator)) == "decoder.cross"


def test_each_candidate_can_be_explained(translator: Translator):
    [found] = translator.translate([LINE], nbest=3)
    several = alternatives(found)
    assert [one.text for one in several] == [each.text for each in found.candidates[0]]
    for one, again in zip(several, explain(translator, several), strict=True):
        assert again.alignment.target_words == tuple(one.text.split())
    assert alternatives(Translation("", "", [])) == [Translation("", "", [])]
    with pytest.raises(ConfigError, match="of their own"):
        alternatives(translator.translate(["One. Two."], nbest=2)[0])


def test_what_cannot_be_explained_is_refused(trained, translator: Translator):
    found = translator.translate([LINE])
    with pytest.raises(ConfigError, match="no attention of its own"):
        explain(onehop.load_ensemble([trained, trained]), found)
    with pytest.raises(ConfigError, match=r"no attention 'decoder\.7"):
        explain(translator, found, ["decoder.7.cross"])
    deaf = recurrent(translator, context="mean")
    with pytest.raises(ConfigError, match="no attention"):
        explain(deaf, deaf.translate([LINE]))


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_recurrences_and_maps_of_heads_are_replayed_as_they_are_rounded(translator: Translator, precision: str):
    plain = recurrent(translator)
    fast = plain.fast()
    assert fast.speed is not None
    fast.speed = replace(fast.speed, precision=precision)
    kept = dict(plain.model.named_parameters(remove_duplicate=False))
    rounded = {name for name, one in exact(fast).named_parameters() if not torch.equal(one, kept[name])}
    assert {name for name in kept if "weight_ih" in name or "weight_hh" in name} < rounded
    assert any("query_map" in name for name in rounded)
