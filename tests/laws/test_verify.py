"""`onehop verify` knows every family, and a tolerance for every precision."""

from typing import get_args

import torch

from onehop.models.registry import names
from onehop.tasks import (
    DecodeConfig,
    Package,
    Precision,
    TextLimits,
    TranslationSettings,
    Translator,
    convert,
    new_package,
)
from onehop.tasks.replay import TOLERANCES
from onehop.text import train_bpe
from onehop.verify import CHECKS, fixed_lines, verify
from onehop.verify.stored import ROUNDED
from tests.laws.cases import ENTRIES, Case, every_pair, every_value

CASES = every_value

TEXTS = ["One two three.", "Vier fünf sechs sieben."]


def package(case: Case) -> Package:
    """Return a package of a case, small, with weights that are at no neutral value."""
    own = {key: value for key, value in case.row.items() if key != "vocabularies"}
    source = train_bpe(TEXTS, 310)
    target = source if case.row["vocabularies"] == "joint" else train_bpe(TEXTS[1:], 300)
    settings = TranslationSettings(
        architecture=case.family,
        model={**ENTRIES[case.family].small, **own},
        text=TextLimits(max_length=20, sentences=True),
        decode=DecodeConfig(max_length=12, beam_size=2),
    )
    translator = Translator.build(settings, source, target)
    with torch.no_grad():
        for parameter in translator.model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return new_package(translator, TEXTS, "")


def test_every_registered_family_has_a_case_that_is_verified():
    assert {case.family for case in every_pair()} == set(names())


def test_a_model_of_every_family_passes_every_check(case: Case):
    made = package(case)
    report = verify(made)
    assert [check.name for check in report.checks if check.passed is False] == []
    assert sum(check.passed is True for check in report.checks) == len(CHECKS) + 2
    assert report.lines > 4


def test_every_precision_has_its_tolerances():
    known = set(get_args(Precision))
    assert set(TOLERANCES) == set(ROUNDED) == known


def test_every_precision_is_compared_with_float32():
    made = package(every_pair()[0])
    for precision in sorted({*get_args(Precision)} - {"float32"}):
        small = convert(made, precision)
        check = verify(small, fixed_lines(made), full=made.translator).checks[-1]
        assert check.name == f"{precision} against float32"
        assert check.passed is not None
        assert 0 < check.values["largest_logit_difference"] < 1
