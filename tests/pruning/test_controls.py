"""Control masks: what they share with a ticket, and that they share nothing else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import pruning
from implicit_bias.errors import UserError

DRAWS = 2000
TICKET = np.random.default_rng(3).random((4, 5)) < 0.4
MASK = {name: {"weight": TICKET.astype(np.uint8), "bias": np.ones(4, np.uint8)} for name in "ab"}


def drawn(function):
    """Masks of many keys at once, by which mapping over lanes is tried too."""
    keys = jax.vmap(jax.random.key)(jnp.arange(DRAWS))
    found = jax.jit(jax.vmap(function, (None, 0)))(MASK, keys)
    assert np.asarray(found["a"]["bias"]).all()
    assert found["a"]["weight"].dtype == np.uint8
    return [np.asarray(found[layer]["weight"]) for layer in "ab"]


def check_rates(found: np.ndarray, rate: np.ndarray) -> None:
    # Five standard errors, of 40 places: one in 10^4 keys would fail.
    error = 5 * np.sqrt(rate * (1 - rate) / DRAWS)
    assert (np.abs(found.mean(axis=0) - rate) <= error + 1e-12).all()


@pytest.mark.parametrize("function", [pruning.random_like, pruning.shuffled])
def test_each_layer_keeps_its_number_at_places_by_lot(function) -> None:
    # Breaks if a layer's number changes, the ticket's places (or any others) are preferred, or layers of
    # equal shape get one mask.
    layers = drawn(function)
    for found in layers:
        assert (found.sum(axis=(1, 2)) == TICKET.sum()).all()
        check_rates(found, np.full(TICKET.shape, TICKET.mean()))
    together = layers[0] * layers[1]
    assert abs(together.mean() - TICKET.mean() ** 2) <= 5 * 0.5 / np.sqrt(DRAWS)


@pytest.mark.parametrize("axis", [0, 1])
def test_units_keep_their_numbers(axis: int) -> None:
    # Breaks if the wrong axis counts units, or all units are shuffled alike.
    found = drawn(lambda mask, key: pruning.shuffled(mask, key, "unit", axis))[0]
    found, ticket = (np.moveaxis(found, 1 + axis, 1), np.moveaxis(TICKET, axis, 0))
    rows = ticket.sum(axis=1)
    assert (found.sum(axis=2) == rows[None, :]).all()
    rate = rows / ticket.shape[1]
    check_rates(found, np.repeat(rate[:, None], ticket.shape[1], axis=1))
    # Places of two units are independent: their product has the product of the means.
    both = np.mean(found[:, 0, 0] * found[:, 1, 0])
    assert abs(both - rate[0] * rate[1]) <= 5 * 0.5 / np.sqrt(DRAWS)


def test_an_unknown_range_is_named() -> None:
    # Breaks if a misspelt range shuffles layers silently.
    with pytest.raises(UserError, match="unknown range of a shuffle 'units'; did you mean 'unit'"):
        pruning.shuffled(MASK, jax.random.key(0), "units")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "function",
    [
        pruning.random_like,
        pruning.shuffled,
        lambda mask, key: pruning.RANDOM.scores(None, mask, mask, key),
    ],
)
def test_a_seed_is_no_key(function) -> None:
    # Breaks if a seed in place of a key ends in a traceback of JAX's.
    with pytest.raises(UserError, match="key is 3; give a random key"):
        function(MASK, 3)


def test_an_axis_that_a_weight_lacks_is_named() -> None:
    # Breaks if it ends in a traceback of NumPy's.
    with pytest.raises(UserError, match=r"output_axis is 5, but the weight of .* choose 0 to"):
        pruning.shuffled(MASK, jax.random.key(0), "unit", 5)
