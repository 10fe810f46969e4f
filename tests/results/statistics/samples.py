"""Values, strategies and shorthands that the tests of this folder share."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from implicit_bias.results.statistics import Estimate

RNG = np.random.default_rng(0)

A, B = RNG.normal(1, 2, 9), RNG.normal(0, 1, 9)

values = hnp.arrays(
    np.float64,
    st.integers(2, 8),
    elements=st.integers(-1000, 1000).map(lambda k: k / 8),  # exact under the laws' arithmetic
)

levels = st.floats(0.5, 0.999)

quick = settings(max_examples=50, deadline=None)


def ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high
