"""How the loss rises when the weights are disturbed at random.

The rise along random directions is an average flatness: for directions of length r, uniform on the
sphere in p dimensions, its mean is ``r^2 / (2 p) * tr H`` to second order. It is not invariant:
rescaling the layers of a ReLU network, which changes no prediction, changes it, and that is what
the filter-normalised kind is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from implicit_bias.arguments import as_numbers, require_function, require_key, require_whole
from implicit_bias.errors import UserError, unknown
from implicit_bias.geometry.movement import parameter_norm

Params = Any
Kind = Literal["absolute", "filter"]


def random_direction(
    key: jax.Array, params: Params, kind: Kind = "absolute", *, output_axis: int = 0
) -> Params:
    """Draw a random direction, normalised so that radius 1 is its own length.

    - ``absolute``: Gaussian over all parameters, scaled to length one: uniform on the sphere.
    - ``filter``: Gaussian, each output unit's incoming weights scaled to the length of that unit's
      own (so that radius 0.1 disturbs every unit by a tenth of its size). Arrays of at most one
      axis (biases, scales of normalisation layers) are not disturbed, as in the source's own code:
      their entries are not incoming weights, and a bias that is zero has no size to relate to.

    Args:
        key: For the draw.
        params: Any pytree of arrays.
        kind: ``"absolute"`` or ``"filter"``.
        output_axis: For ``filter``: the axis of output units in arrays of two or more axes. 0 for
            weights of shape (outputs, inputs) or (outputs, inputs, height, width); -1 for kernels
            of shape (inputs, outputs) or (height, width, inputs, outputs). A model knows its own:
            ``model.output_axis``.

    Returns:
        A pytree like ``params``.

    Raises:
        UserError: If the kind is unknown, there is no array that it disturbs, or an array that it
            normalises by filter does not have the output axis.

    References:
        Li, Xu, Taylor, Studer & Goldstein, *Visualizing the loss landscape of neural nets* (2018),
        section 4, for ``filter``.
    """
    if kind not in get_args(Kind):
        raise unknown("kind of perturbation", kind, get_args(Kind))
    require_key(key)
    require_whole("output_axis", output_axis)
    leaves, structure = jax.tree.flatten(params)
    if not any(jnp.size(leaf) and (kind == "absolute" or jnp.ndim(leaf) > 1) for leaf in leaves):
        raise UserError(
            "the parameters have no array of two or more axes to normalise by filter; "
            "use kind 'absolute', and give at least one parameter"
        )
    if not jnp.issubdtype(jnp.result_type(*leaves), jnp.floating):
        raise UserError("the parameters are whole numbers; give floating-point parameters")
    # One draw for all arrays: every call of the generator is much to compile.
    flat, unravel = ravel_pytree(leaves)
    gaussian = unravel(jax.random.normal(key, flat.shape, flat.dtype))
    if kind == "absolute":
        length = parameter_norm(gaussian)
        direction = [leaf / length.astype(leaf.dtype) for leaf in gaussian]
    else:
        direction = [
            _scale_filters(leaf, own, output_axis)
            for leaf, own in zip(gaussian, leaves, strict=True)
        ]
    return jax.tree.unflatten(structure, direction)


def perturbation_curve(
    loss: Callable[[Params], Any],
    params: Params,
    key: jax.Array,
    radii: Sequence[float] | jax.Array,
    *,
    n_directions: int,
    kind: Kind = "absolute",
    output_axis: int = 0,
) -> Any:
    """Measure how much a loss rises at given radii along random directions.

    Every radius is taken along the same directions, so that a curve is smooth. Direction i depends
    on the key and i alone. Directions and radii are taken one after another: memory is that of two
    extra copies of the parameters and one evaluation.

    For a quadratic, the mean rise over directions of the absolute kind is exactly
    ``radius^2 / (2 p) * tr H``.

    Args:
        loss: ``params -> scalar``, or a pytree of scalars such as a dict of loss and error.
        params: Any pytree of arrays.
        key: For the directions.
        radii: Positive, shape (r,): lengths for ``absolute``, fractions of each unit's own length
            for ``filter``.
        n_directions: How many directions.
        kind: Normalisation; see ``random_direction``.
        output_axis: For ``filter``: the axis of output units; see ``random_direction``.

    Returns:
        The perturbed value minus the unperturbed, shape (n_directions, r), one for each scalar.

    Raises:
        UserError: If there is no radius, one is not positive and finite, ``n_directions`` is below
            one, or ``random_direction`` refuses the kind, the parameters or the output axis.
    """
    require_function("loss", loss, ("params",), "a scalar, or several")
    require_key(key)
    radii = checked_radii(radii)
    require_whole("n_directions", n_directions)
    if n_directions < 1:
        raise UserError(f"n_directions is {n_directions}; choose n_directions >= 1")

    def value(params: Params) -> Any:
        # Small differences of losses: on a GPU they would drown in the rounding of fast products.
        with jax.default_matmul_precision("highest"):
            return loss(params)

    centre = value(params)

    def along(index: jax.Array) -> Any:
        own_key = jax.random.fold_in(key, index)
        direction = random_direction(own_key, params, kind, output_axis=output_axis)

        def rise(radius: jax.Array) -> Any:
            moved = jax.tree.map(
                lambda leaf, way: leaf + radius.astype(leaf.dtype) * way, params, direction
            )
            return jax.tree.map(jnp.subtract, value(moved), centre)

        return jax.lax.map(rise, radii)

    return jax.lax.map(along, jnp.arange(n_directions, dtype=jnp.int32))


def _scale_filters(gaussian: jax.Array, own: jax.Array, output_axis: int) -> jax.Array:
    """Scale each slice of the output axis to the length of the parameters' slice."""
    if own.ndim < 2:
        return jnp.zeros_like(own)
    if not -own.ndim <= output_axis < own.ndim:
        raise UserError(
            f"output_axis is {output_axis}, but an array has {own.ndim} axes; "
            "choose the axis of output units, mostly 0 or -1"
        )
    axes = tuple(axis for axis in range(own.ndim) if axis != output_axis % own.ndim)

    def lengths(array: jax.Array) -> jax.Array:
        return jnp.sqrt(jnp.sum(jnp.square(array), axis=axes, keepdims=True))

    return gaussian * (lengths(own) / lengths(gaussian))


def checked_radii(radii: Sequence[float] | jax.Array) -> jax.Array:
    """Return radii as an array, shape (r,).

    Raises:
        UserError: There is none, or one is not positive and finite.
    """
    array = as_numbers("radii", radii)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.result_type(float))
    if array.ndim != 1 or array.size < 1:
        raise UserError(f"radii has shape {array.shape}; give a list of at least one radius")
    if not isinstance(array, jax.core.Tracer):
        known = np.asarray(array)
        for radius in known[~(np.isfinite(known) & (known > 0))]:
            raise UserError(f"a radius is {radius:g}; choose finite radii > 0")
    return array
