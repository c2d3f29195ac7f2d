"""Tilted distributions have their mean and keep their shape."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hass_train.sparsity.tilt import tilted

COUNTS = st.lists(st.integers(0, 50), min_size=2, max_size=40).filter(any)


@given(counts=COUNTS, share=st.floats(0, 1))
def test_mean_is_reached_and_odds_change_by_one_factor(counts: list[int], share: float) -> None:
    mean = share * (len(counts) - 1)
    found = tilted(np.array(counts, dtype=np.float64), mean)
    assert float(found.sum()) == pytest.approx(1.0)
    assert float(found @ np.arange(len(counts))) == pytest.approx(mean, abs=1e-9)
    # wherever much was seen, probabilities changed by exp(θ·k) and a constant: their logarithms lie on a line
    seen = [(k, math.log(float(found[k]) / n)) for k, n in enumerate(counts) if n and found[k] > 1e-3]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(seen)]
    assert slopes == pytest.approx(slopes[:1] * len(slopes), abs=0.01)


def test_means_beyond_everything_seen_are_reached() -> None:
    found = tilted(np.array([7.0, 0, 0, 0, 0]), 1.0)
    assert float(found @ np.arange(5)) == pytest.approx(1.0)


def test_impossible_means_are_refused() -> None:
    with pytest.raises(ValueError, match="of at most 2"):
        tilted(np.ones(3), 2.5)
    with pytest.raises(ValueError, match="nothing was seen"):
        tilted(np.zeros(3), 1.0)
