"""Temperatures mend probabilities that are too sure, without a look at the texts they are judged by."""

import numpy as np
import pytest

from onehop.metrics.calibration import (
    calibrated_error,
    expected_error,
    temperature_of,
    tempered,
    threshold_for,
)


def too_sure(factor: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return log-probabilities of scores that are `factor` times those by which labels were drawn, and the labels."""
    draw = np.random.default_rng(1)
    true = tempered(draw.normal(size=(count, 3)), 1.0)
    wanted = np.array([draw.choice(3, p=np.exp(row)) for row in true])
    return tempered(true * factor, 1.0), wanted


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(factor: float):
    values, wanted = too_sure(factor)
    assert temperature_of(values, wanted) == pytest.approx(factor, rel=0.1)
    assert calibrated_error(values, wanted) < 0.03
    assert factor == 1.0 or expected_error(values, wanted) > 0.06


def test_the_label_does_not_depend_on_the_temperature_and_the_sum_is_one():
    values, _ = too_sure(1.0, 50)
    found = tempered(values, 2.5)
    assert (found.argmax(1) == values.argmax(1)).all()
    assert np.exp(found).sum(1) == pytest.approx(np.ones(50))


def test_labels_above_the_threshold_are_right_as_often_as_was_asked():
    values, wanted = too_sure(1.0)
    threshold = threshold_for(values, wanted, 0.8)
    given = np.exp(values.max(1)) >= threshold
    assert np.mean(values.argmax(1)[given] == wanted[given]) >= 0.8
    assert 0.02 < given.mean() < 1
    assert threshold_for(values, 1 - values.argmax(1), 0.9) is None
