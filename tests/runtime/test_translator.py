"""A fast translator translates as its reference does, and what looks inside a model looks into the reference."""

from pathlib import Path

import pytest

import onehop
from onehop.explain import align
from onehop.runtime import precisions
from tests.fixtures.tiny import number_pairs

LINES = [source for source, _ in number_pairs(40, seed=5)] + ["", "x" * 20]


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("precision", precisions())
def test_the_same_translations_come_out(trained: Path, beams: int, precision: str):
    plain = onehop.load(trained)
    decode = plain.settings.decode.searched(beams)
    one, other = (each.translate(LINES, decode) for each in (plain, plain.fast(precision)))
    assert [each.text for each in one] == [each.text for each in other]
    tolerance = 1e-3 if precision == "float32" else 0.1
    assert [each.score for each in one] == pytest.approx([each.score for each in other], abs=tolerance)


def test_prefixes_n_grams_samples_and_ensembles_come_out_the_same(trained: Path):
    plain = onehop.load_ensemble([trained, trained])
    alone = onehop.load(trained)
    base = plain.settings.decode
    for translator, changes, options in (
        (alone, {"no_repeat_ngram": 2}, {}),
        (alone, {}, {"prefixes": ["Neun"] * 40 + ["", ""]}),
        (alone, {"sample": True}, {"nbest": 2}),
        (plain, {}, {}),
    ):
        decode = base.model_copy(update=changes)
        found = [each.translate(LINES, decode, **options) for each in (translator, translator.fast())]
        assert [[c.text for part in t.candidates for c in part] for t in found[0]] == [
            [c.text for part in t.candidates for c in part] for t in found[1]
        ]


def test_alignments_of_a_fast_translator_are_those_of_its_reference(trained: Path):
    plain = onehop.load(trained)
    found = [[str(links) for links in align(each, each.translate(LINES[:5]))] for each in (plain, plain.fast("int8"))]
    assert found[0] == found[1]
    assert plain.fast().reference is plain
