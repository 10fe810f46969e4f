"""Rescaling of the layers of a ReLU network, which changes its weights but none of its outputs.

A ReLU passes positive factors: relu(a z) = a relu(z). So a layer may be multiplied by any a > 0 and
the next one divided by it. Dinh et al. (2017) use this to make any minimum as sharp as one likes,
by the largest Hessian eigenvalue or the volume of low loss around it; a measure that is to say
something about the function must not change under it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.arguments import require_numbers
from implicit_bias.errors import UserError

Params = Any


def dense_layers(params: Params) -> tuple[str, ...]:
    """Return the layers' names of a dense network, first to last.

    Args:
        params: ``{"layer_0": {"weight": (n_out, n_in), "bias": (n_out,)}, ...}``, biases optional.

    Raises:
        UserError: If these are not the parameters of one dense network.
    """
    size = len(params) if isinstance(params, Mapping) else 0
    names = tuple(f"layer_{index}" for index in range(size))
    if not names or set(names) != set(params):
        raise UserError(
            "the parameters are not those of a dense network; "
            "give {'layer_0': {'weight': ..., 'bias': ...}, 'layer_1': ...}"
        )
    n_in = None
    for name in names:
        layer = params[name]
        if not isinstance(layer, Mapping) or not set(layer) <= {"weight", "bias"}:
            arrays = isinstance(layer, Mapping)
            given = f"has arrays {list(layer)}" if arrays else f"is of type {type(layer).__name__}"
            raise UserError(
                f"{name} {given}, which is not a dense network's layer; "
                "give {'weight': (n_out, n_in), 'bias': (n_out,)}, the bias if it has one"
            )
        for part, leaf in layer.items():
            if not hasattr(leaf, "dtype"):
                raise UserError(f"{name}/{part} is of type {type(leaf).__name__}; give an array")
        shape = jnp.shape(layer["weight"]) if "weight" in layer else ()
        bias = jnp.shape(layer["bias"]) if "bias" in layer else shape[:1]
        if len(shape) != 2 or n_in not in (None, shape[1]) or bias != shape[:1]:
            raise UserError(
                f"{name} has arrays of shapes {jax.tree.map(jnp.shape, dict(layer))}; give a weight "
                "(n_out, n_in) that follows on the layer before and a bias (n_out,), of one network"
            )
        n_in = shape[0]
    return names


def rescale_relu(params: Params, alphas: Sequence[float] | jax.Array) -> Params:
    """Multiply each hidden layer of a ReLU network by a factor and take it back in the last one.

    Weight i is multiplied by ``alphas[i]``, bias i by ``alphas[0] * ... * alphas[i]`` (the factor
    that the layer's units carry), and the last weight by one over the product of all alphas; the
    last bias stays. No output changes, beyond rounding; with powers of two, not at all. The
    network must be a ``Dense`` with ``activation="relu"`` (or ``"identity"``), of any
    parameterisation: forward multipliers are linear too.

    Args:
        params: Of a dense network; see ``dense_layers``.
        alphas: Positive, shape (hidden layers,), possibly traced.

    Returns:
        Parameters of the same shapes and types.

    Raises:
        UserError: If the number of factors is not that of hidden layers, or one is not positive
            and finite.

    References:
        Dinh, Pascanu, Bengio & Bengio, *Sharp minima can generalize for deep nets* (2017),
        the α-scale transformation, and its form for deeper networks with biases.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from implicit_bias import geometry, models
        >>> model, x = models.get("dense", widths=(4,), outputs=2), jnp.ones((1, 3))
        >>> params, state = model.init(jax.random.key(0), x[0])
        >>> other = geometry.rescale_relu(params, [10.0])  # of the hidden layer; the last is divided
        >>> before, after = (model.apply(each, state, x)[0] for each in (params, other))
        >>> bool(jnp.allclose(before, after, rtol=1e-5))
        True
    """
    names = dense_layers(params)
    hidden = len(names) - 1
    require_numbers("alphas", alphas)
    if np.shape(alphas) != (hidden,):
        raise UserError(
            f"alphas has shape {np.shape(alphas)}, but the network has {hidden} hidden layers; "
            "give one positive factor for each"
        )
    if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(alphas)):
        known = np.asarray(alphas)
        for alpha in known[~(np.isfinite(known) & (known > 0))]:
            raise UserError(f"a factor in alphas is {alpha}; choose finite factors > 0")
    carried: Any = 1.0
    rescaled: Params = {}
    for index, name in enumerate(names):
        dtype = params[name]["weight"].dtype
        if index < hidden:
            factor = jnp.asarray(alphas[index], dtype)
            carried = factor if index == 0 else carried * factor
            rescaled[name] = {
                part: leaf * (factor if part == "weight" else carried)
                for part, leaf in params[name].items()
            }
        else:
            rescaled[name] = {
                part: leaf / carried if part == "weight" else leaf
                for part, leaf in params[name].items()
            }
    return rescaled
