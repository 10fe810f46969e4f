"""How lazily a network trained: what changed inside it besides its outputs.

A lazy network's outputs change while its parameters, relative to their size, its active units, its
features and its tangent kernel hardly do; it is then its own linearisation. The movement of the
parameters is ``geometry.distance`` and ``geometry.relative_movement``, the kernel's
``kernels.relative_change`` and ``kernels.kernel_distance``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.arguments import as_numbers
from implicit_bias.errors import UserError
from implicit_bias.geometry.checks import require_like
from implicit_bias.kernels.cka import linear_cka
from implicit_bias.kernels.networks import (
    Apply,
    as_function,
    outputs_of,
    require_floating_parameters,
)
from implicit_bias.models.base import Model

Params = Any
Layers = Any


def pattern_flips(values: Layers, initial: Layers, units: Layers | None = None) -> Layers:
    """Return which fraction of a layer's units turned on or off, over a probe set's examples.

    A unit is on where its value is positive. For ReLU networks its sums, or what it makes of them,
    tell the same.

    Args:
        values: Any pytree of arrays, shape (n, *units), one for each hidden layer, after training.
        initial: The same at initialisation, for the same examples.
        units: Weights of the units, one array of a layer's unit shape for each layer: 1 for those
            that are there and 0 for padding. By default all count alike.

    Returns:
        A pytree like ``values``, of scalars from 0 to 1; NaN where a unit that counts has a NaN,
        as after divergence.

    Raises:
        UserError: If the pytrees do not fit each other, or weights of units are known and one is
            negative or no finite number, or a layer's are all zero.
    """
    _require_layers("initial", initial, values)
    if units is not None:
        shapes = jax.tree.map(lambda layer: jax.ShapeDtypeStruct(layer.shape[1:], int), values)
        if not _alike(units, shapes):
            raise UserError(
                "units does not have one array for each layer with its shape but the examples'; "
                "give 1 for units that are there and 0 for padding"
            )
        for leaf in jax.tree.leaves(units):
            _require_weights(leaf)

    def fraction(now: jax.Array, then: jax.Array, *weights: jax.Array) -> jax.Array:
        dtype = now.dtype if jnp.issubdtype(now.dtype, jnp.floating) else jnp.result_type(float)
        flipped = ((now > 0) != (then > 0)).astype(dtype)
        # Compared with 0, a NaN would pass for a unit that is off.
        flipped = jnp.where(jnp.isnan(now) | jnp.isnan(then), jnp.asarray(jnp.nan, dtype), flipped)
        shares = jnp.mean(flipped, axis=0)
        if not weights:
            return jnp.mean(shares)
        present = weights[0].astype(dtype)
        counted = jnp.where(present == 0, jnp.zeros_like(shares), shares * present)
        return jnp.sum(counted) / jnp.sum(present)

    return jax.tree.map(fraction, values, initial, *(() if units is None else (units,)))


def feature_change(features: jax.Array, initial: jax.Array) -> jax.Array:
    """Return ``|Φ − Φ0|_F / |Φ0|_F`` of a probe set's features.

    Units that are padding, being zero, do not count.

    Args:
        features: Shape (n, *units), such as the last hidden layer's activations, after training.
        initial: The same at initialisation, not all zero.

    Returns:
        A scalar without unit.

    Raises:
        UserError: If the shapes differ.
    """
    _require_features(features, initial)
    return _norm(features - initial) / _norm(initial)


def feature_similarity(features: jax.Array, initial: jax.Array) -> jax.Array:
    """Return the linear CKA of a probe set's features with those at initialisation.

    Unlike ``feature_change`` it does not count a rotation of the features, their scale or a shift.

    Args:
        features: Shape (n, *units), n >= 2.
        initial: Of the same shape.

    Returns:
        A scalar without unit, from 0 to 1, which is reached where nothing changed.

    Raises:
        UserError: If the shapes differ.
    """
    _require_features(features, initial)
    return linear_cka(features, initial)


def linearisation_error(
    apply: Apply | Model,
    params: Params,
    initial: Params,
    x: jax.Array,
    *,
    state: Mapping[str, Any] | None = None,
) -> jax.Array:
    """Return how far outputs are from their Taylor expansion of first order at initialisation.

    ``|f(θ) − f(θ0) − J(θ0)(θ − θ0)| / |f(θ) − f(θ0)|``, over all examples and outputs: at the
    trained network's own parameters, so that it does not ask where the linearised network would
    have gone.

    Args:
        apply: ``(params, x of shape (n, ...)) -> outputs``, or a model, which is evaluated with
            ``train=False``.
        params: After training, any pytree of floating arrays.
        initial: Another of the same shapes and dtypes.
        x: Probe set.
        state: The model's state; by default empty.

    Returns:
        A scalar without unit; NaN where outputs did not change at all.

    Raises:
        UserError: If the pytrees do not fit each other or are not floating, or the network is none,
            fails or returns anything but a floating array.

    References:
        Chizat, Oyallon & Bach, *On lazy training in differentiable programming* (2019), section 1.
    """
    function = as_function(apply, {} if state is None else state)
    require_floating_parameters("params", params)
    require_like("initial", initial, params)
    require_floating_parameters("initial", initial)
    if _structure(initial) != _structure(params):
        raise UserError(
            "initial and params keep their arrays in containers of other types; give pytrees of one "
            "structure"
        )
    for now, then in zip(jax.tree.leaves(params), jax.tree.leaves(initial), strict=True):
        if now.dtype != then.dtype:
            raise UserError(
                f"params have an array of dtype {now.dtype} that has {then.dtype} in initial; give "
                "both of one dtype"
            )
    if not hasattr(x, "dtype") or jnp.ndim(x) < 1:
        raise UserError(f"x is of type {type(x).__name__}; give an array of shape (n, ...)")
    outputs_of(apply, function, params, x)
    moved = jax.tree.map(jnp.subtract, params, initial)
    before, slope = jax.jvp(lambda given: function(given, x), (initial,), (moved,))
    change = function(params, x) - before
    return _norm(change - slope) / _norm(change)


def scaling_exponent(x: jax.Array, y: jax.Array) -> jax.Array:
    """Fit ``y = c x^a`` by least squares in logarithms and return the exponent a.

    One exponent for each seed, from which intervals are made; points of one seed are no replicates.

    Args:
        x: Shape (w,), positive, such as widths; at least two that differ.
        y: Shape (..., w), positive, such as (seeds, widths).

    Returns:
        Shape (...), without unit. NaN where a value of y is not positive.

    Raises:
        UserError: If the shapes do not fit, or values of x are known and are not positive or all
            equal.
    """
    x, y = as_numbers("x", x), as_numbers("y", y)
    if x.ndim != 1 or x.shape[0] < 2 or y.ndim < 1 or y.shape[-1:] != x.shape:
        raise UserError(
            f"x has shape {x.shape} and y {y.shape}; give x (w,), w >= 2, and y (..., w)"
        )
    dtype = y.dtype if jnp.issubdtype(y.dtype, jnp.floating) else jnp.result_type(float)
    if not isinstance(x, jax.core.Tracer):
        known = np.asarray(x)
        if not np.all(np.isfinite(known) & (known > 0)) or np.ptp(known) == 0:
            raise UserError(
                f"x is {known.tolist()!r:.60}; give positive numbers of which at least two differ"
            )
    across = jnp.log(x.astype(dtype))
    across = across - jnp.mean(across)
    across = jnp.broadcast_to(across, y.shape)
    return jnp.sum(across * jnp.log(y.astype(dtype)), -1) / jnp.sum(jnp.square(across), -1)


def _norm(array: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(array)))


def _require_features(features: Any, initial: Any) -> None:
    if not hasattr(features, "dtype") or jnp.ndim(features) < 2:
        raise UserError(f"the features have shape {jnp.shape(features)}; give (n, units)")
    if jnp.shape(initial) != features.shape:
        raise UserError(
            f"the features have shape {features.shape}, and those at initialisation "
            f"{jnp.shape(initial)}; give those of the same layer and examples"
        )


def _require_weights(weights: Any) -> None:
    if isinstance(weights, jax.core.Tracer):
        return
    known = np.asarray(weights)
    if not np.all(np.isfinite(known) & (known >= 0)) or not np.any(known > 0):
        raise UserError(
            "units has weights that are negative, not finite, or zero for a whole layer; give 1 for "
            "units that are there, at least one in each layer, and 0 for padding"
        )


def _require_layers(name: str, given: Layers, values: Layers) -> None:
    leaves = jax.tree.leaves(values)
    if not leaves or not all(jnp.ndim(leaf) >= 2 and jnp.size(leaf) for leaf in leaves):
        raise UserError("values has no layers of shape (n, units); give one array for each layer")
    if not _alike(given, values):
        raise UserError(
            f"{name} does not have the layers and shapes of values; give the same layers and examples"
        )


def _alike(given: Layers, values: Layers) -> bool:
    shapes, wanted = (
        [(path, jnp.shape(leaf)) for path, leaf in jax.tree.leaves_with_path(tree)]
        for tree in (given, values)
    )
    # Paths alone do not tell a list from a tuple.
    return shapes == wanted and _structure(given) == _structure(values)


def _structure(tree: Any) -> Any:
    return jax.tree.structure(tree)
