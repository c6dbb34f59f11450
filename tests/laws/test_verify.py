"""`onehop verify` knows every family of encoder-decoders, in every value of its settings."""

from onehop.models.registry import names
from onehop.verify import CHECKS, verify
from tests.laws.cases import Case, every_pair, every_value
from tests.laws.packages import translation

CASES = every_value


def test_every_registered_family_has_a_case_that_is_verified():
    assert {case.family for case in every_pair()} == set(names())


def test_a_model_of_every_family_passes_every_check(case: Case):
    made = translation(case)
    report = verify(made)
    assert [check.name for check in report.checks if check.passed is False] == []
    assert sum(check.passed is True for check in report.checks) == len(CHECKS) + 2
    assert report.lines > 4
