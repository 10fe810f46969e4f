"""Checks of arguments, against what may and may not pass as a whole number."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.arguments import whole_number
from implicit_bias.errors import UserError


@pytest.mark.parametrize("given", [3, np.int64(3), np.uint8(3), jnp.int32(3)])
def test_whole_numbers_become_integers_of_python(given):
    # Breaks if a NumPy integer reaches a description that is written as JSON.
    assert type(whole_number("n", given)) is int
    assert whole_number("n", given, 3) == 3


@pytest.mark.parametrize(
    ("given", "least", "told"),
    [
        (2.0, None, "n is 2.0; give a whole number"),
        ("2", 1, "n is '2'; give a whole number >= 1"),
        (True, None, "n is True; give a whole number"),
        (np.True_, None, "n is .*; give a whole number"),
        (None, 0, "n is None; give a whole number >= 0"),
        (float("nan"), None, "n is nan; give a whole number"),
        ([2], None, "n is of type list; give a whole number"),
        (0, 1, "n is 0; give a whole number >= 1"),
        (np.int64(-1), 0, "n is -1; give a whole number >= 0"),
    ],
)
def test_what_is_no_whole_number_is_refused(given, least, told):
    # Breaks if a fraction or a truth value passes for a count, or the line does not say what is allowed.
    with pytest.raises(UserError, match=told):
        whole_number("n", given, least)


def test_a_traced_number_is_refused():
    # Breaks if tracing ends in JAX's page about concrete values.
    with pytest.raises(UserError, match="give a whole number"):
        jax.jit(lambda n: whole_number("n", n))(3)
