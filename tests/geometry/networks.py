"""Small random ReLU networks and data for this folder's tests, drawn by NumPy."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np

from implicit_bias import losses
from implicit_bias.models import Dense

LOSS = losses.get("cross_entropy")


def network(seed, widths=(5, 4), n_in=3, outputs=3, *, bias=True, n=12, dtype="float64"):
    """Return a model, its parameters (biases not zero), inputs and class numbers."""
    rng = np.random.default_rng(seed)
    sizes = (n_in, *widths, outputs)
    params = {}
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        weight = rng.normal(size=(fan_out, fan_in)) * np.sqrt(2 / fan_in)
        params[f"layer_{index}"] = {"weight": jnp.asarray(weight, dtype)}
        if bias:
            params[f"layer_{index}"]["bias"] = jnp.asarray(0.3 * rng.normal(size=fan_out), dtype)
    model = Dense(tuple(widths), outputs, bias=bias)
    x = jnp.asarray(rng.normal(size=(n, n_in)), dtype)
    return model, params, x, jnp.asarray(rng.integers(outputs, size=n), "int32")


def mean_loss(model, x, y):
    """Return the mean cross-entropy as a function of the parameters."""
    return lambda params: LOSS.mean(model.apply(params, {}, x)[0], y)
