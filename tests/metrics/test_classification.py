import random

import pytest
from sklearn.metrics import matthews_corrcoef

from onehop.metrics.classification import bootstrap, labelling, mcnemar

WANTED = ["a"] * 6 + ["b"] * 4
FOUND = ["a", "a", "a", "a", "b", None, "b", "b", "a", "b"]


def test_figures_by_hand():
    result = labelling(FOUND, WANTED, ["a", "b"])
    assert result.accuracy == 0.7
    assert result.confusion == [[4, 1, 1], [1, 3, 0]]
    assert [(one.support, one.predicted) for one in result.classes] == [(6, 5), (4, 4)]
    assert [one.precision for one in result.classes] == [0.8, 0.75]
    assert result.macro_f1 == pytest.approx((8 / 11 + 6 / 8) / 2)
    assert result.majority == 0.6


def test_matthews_correlation_is_that_of_scikit_learn():
    draw = random.Random(2)
    for labels in (["a", "b"], ["a", "b", "c", "d"]):
        for _ in range(20):
            wanted, found = ([draw.choice(labels) for _ in range(50)] for _ in range(2))
            found = [w if draw.random() < 0.3 else f for w, f in zip(wanted, found, strict=True)]
            assert labelling(found, wanted, labels).mcc == pytest.approx(matthews_corrcoef(wanted, found), abs=1e-12)


def test_matthews_correlation_of_two_labels_is_its_formula():
    found = ["a"] * 4 + ["b"] * 2 + ["b"] * 3 + ["a"]
    tp, fn, tn, fp = 4, 2, 3, 1
    expected = (tp * tn - fp * fn) / ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    assert labelling(found, WANTED, ["a", "b"]).mcc == pytest.approx(expected)


def test_one_label_throughout_correlates_with_nothing():
    assert labelling(["a"] * 10, WANTED, ["a", "b"]).mcc == 0


def test_a_label_that_no_text_has_or_got_does_not_lower_the_mean():
    assert labelling(FOUND, WANTED, ["a", "b", "c"]).macro_f1 == labelling(FOUND, WANTED, ["a", "b"]).macro_f1


def test_the_interval_holds_the_figure_and_shrinks_with_more_texts():
    few, many = (bootstrap(FOUND * n, WANTED * n, ["a", "b"])["accuracy"] for n in (2, 50))
    for found in (few, many):
        assert found.low <= 0.7 <= found.high
    assert many.high - many.low < (few.high - few.low) / 3
    assert few == bootstrap(FOUND * 2, WANTED * 2, ["a", "b"])["accuracy"]


def test_the_paired_test_is_exact():
    ours, theirs = ["a"] * 10, ["a"] * 3 + ["b"] * 7
    compared = mcnemar(ours, theirs, ["a"] * 9 + ["b"])
    assert (compared.better, compared.worse, round(compared.difference, 9)) == (6, 1, 0.5)
    assert compared.p_value == pytest.approx(2 * (1 + 7) / 2**7)
    assert mcnemar(ours, ours, WANTED).p_value == 1


def test_the_paired_test_of_many_texts_agrees_with_the_exact_one():
    from onehop.metrics import classification

    wanted, ours = ["a"] * 990, ["a"] * 530 + ["b"] * 460
    theirs = ["b"] * 530 + ["a"] * 460
    exact = mcnemar(ours, theirs, wanted).p_value
    assert classification._normal(530, 460) == pytest.approx(exact, rel=0.02)
