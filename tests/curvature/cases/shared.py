"""The tests that all positive semi-definite operators share, as one class to inherit from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implicit_bias.errors import UserError
from tests.curvature.cases.bad_requests import every_bad_request, request
from tests.curvature.cases.definite import check_semi_definite, semi_definite
from tests.curvature.cases.padding import check_padding
from tests.curvature.cases.problems import DENSITIES, Build
from tests.curvature.cases.traced import check_precision, check_shared_primal


def shared_tests(*builds: Build) -> type:
    """Return the tests, as a class; give it a name that begins with Test."""
    every_build = pytest.mark.parametrize("build", builds)

    class Shared:
        @semi_definite
        @given(
            seed=st.integers(0, 10**6),
            scale=st.floats(0.01, 10),
            loss=st.sampled_from(list(DENSITIES)),
        )
        def test_positive_semi_definite(self, seed, scale, loss):
            # Broken by: two sides of the product that differ, as with draws made anew.
            check_semi_definite(builds, loss, seed, scale)

        def test_padding_adds_only_zeros(self):
            # Broken by: a padded unit that a product reaches.
            check_padding(*builds)

        @every_build
        def test_forward_pass_is_shared(self, build):
            # Broken by: a linearization that keeps the forward pass among what each vector repeats.
            check_shared_primal(build)

        @every_build
        def test_highest_precision(self, build):
            # Broken by: a product, or a mean gradient, traced outside the precision context.
            check_precision(build)

        @every_build
        @every_bad_request
        def test_bad_requests(self, build, change, message):
            # Broken by: a check that is missing, so that the user meets an error of JAX instead.
            with pytest.raises(UserError) as caught:
                request(build, change)
            assert message in str(caught.value)

    return Shared
