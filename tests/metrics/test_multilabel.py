"""Scores of sets of labels against scikit-learn's, their intervals, and thresholds."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from onehop.metrics.multilabel import bootstrap_sets, crossed, score_sets, thresholds_for

DRAW = np.random.default_rng(3)
WANTED = DRAW.random((200, 5)) < [0.5, 0.3, 0.1, 0.02, 0.0]
FOUND = WANTED ^ (DRAW.random((200, 5)) < 0.1)


def test_scores_are_those_of_scikit_learn():
    scores = score_sets(FOUND, WANTED, list("abcde"))
    assert scores.micro_f1 == pytest.approx(f1_score(WANTED, FOUND, average="micro"))
    assert scores.macro_f1 == pytest.approx(f1_score(WANTED, FOUND, average="macro", zero_division=0))
    assert scores.exact == pytest.approx(accuracy_score(WANTED, FOUND))
    theirs = np.array(precision_recall_fscore_support(WANTED, FOUND, zero_division=0))
    ours = [(one.precision, one.recall, one.f1, one.support) for one in scores.classes]
    assert np.allclose(np.array(ours).T, theirs)


def test_a_label_that_no_text_has_or_was_given_does_not_count_and_the_usual_set_is_the_baseline():
    wanted = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]], bool)
    scores = score_sets(wanted, wanted, list("abc"))
    assert (scores.micro_f1, scores.macro_f1, scores.exact) == (1.0, 1.0, 1.0)
    assert (scores.majority, scores.majority_micro_f1) == (0.5, pytest.approx(2 * 2 / 7))
    nothing = np.zeros((4, 3), bool)
    assert score_sets(nothing, nothing, list("abc")).micro_f1 == 0


def test_intervals_hold_the_score_and_are_as_wide_as_the_binomial_says():
    found = bootstrap_sets(FOUND, WANTED)
    scores = score_sets(FOUND, WANTED, list("abcde"))
    for name, interval in found.items():
        assert interval.low < getattr(scores, name) < interval.high
    width = 2 * 1.96 * (scores.exact * (1 - scores.exact) / len(WANTED)) ** 0.5
    assert found["exact"].high - found["exact"].low == pytest.approx(width, rel=0.2)


def test_a_threshold_is_the_best_of_all_for_its_label_and_a_half_where_texts_are_too_few():
    values = np.clip(0.15 + 0.25 * WANTED + DRAW.normal(0, 0.1, WANTED.shape), 0.01, 0.99)
    found = thresholds_for(values, WANTED)
    assert found[3:].tolist() == [0.5, 0.5]
    for label in range(3):
        best = max(f1_score(WANTED[:, label], values[:, label] >= cut) for cut in values[:, label])
        assert f1_score(WANTED[:, label], values[:, label] >= found[label]) == pytest.approx(best)


def test_labels_that_cannot_be_learnt_are_not_made_to_look_as_if_they_could():
    noise = DRAW.random((4_000, 1))
    wanted = DRAW.random((4_000, 1)) < 0.3
    honest = score_sets(crossed(noise, wanted), wanted, ["a"]).micro_f1
    assert honest <= 2 * 0.3 / 1.3 + 0.02  # what always giving it reaches
