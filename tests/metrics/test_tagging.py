from random import Random

import pytest
from seqeval import metrics
from seqeval import scheme as of

from onehop.metrics.schemes import completed
from onehop.metrics.tagging import bootstrap_tags, compare_tags, tagging

LABELS = completed(["B-a", "B-b"], "bio")


def drawn(count, seed):
    draw = Random(seed)
    return [[draw.choice(LABELS) for _ in range(draw.randint(1, 9))] for _ in range(count)]


def test_f1_precision_and_recall_are_seqevals():
    wanted = drawn(200, 1)
    draw = Random(2)
    found = [[draw.choice(LABELS) if draw.random() < 0.4 else label for label in row] for row in wanted]
    result = tagging(found, wanted, "bio", LABELS)
    for name in ("precision", "recall", "f1"):
        expected = getattr(metrics, f"{name}_score")(wanted, found, mode="strict", scheme=of.IOB2)
        assert getattr(result, name) == pytest.approx(expected), name
    assert result.accuracy == pytest.approx(metrics.accuracy_score(wanted, found))


def test_a_word_without_a_label_is_wrong_and_outside():
    result = tagging([["B-a", None], [None]], [["B-a", "I-a"], ["O"]], "bio", LABELS)
    assert (result.accuracy, result.precision, result.recall) == (pytest.approx(1 / 3), 0, 0)


def test_intervals_hold_the_score_and_equal_systems_do_not_differ():
    wanted = drawn(100, 3)
    draw = Random(4)
    found = [[draw.choice(LABELS) if draw.random() < 0.3 else label for label in row] for row in wanted]
    interval = bootstrap_tags(found, wanted, "bio")["f1"]
    assert interval.low < tagging(found, wanted, "bio", LABELS).f1 < interval.high
    assert compare_tags(found, found, wanted, "bio").p_value == 1
    better = compare_tags(wanted, found, wanted, "bio")
    assert better.difference > 0
    assert better.p_value < 0.01
