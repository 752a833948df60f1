"""Intervals of measured shares against SciPy's."""

import pytest
from scipy.stats import binomtest

from sesemi_like.evaluation import wilson_interval


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (1, 1), (0, 20), (7, 20), (341, 360), (5, 5)])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_wilson_against_scipy(hits: int, count: int, confidence: float) -> None:
    expected = binomtest(hits, count).proportion_ci(confidence, method="wilson")
    found = wilson_interval(hits / count, count, confidence)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)
