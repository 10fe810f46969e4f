"""The loss along a line or over a plane through parameters.

Nothing is normalised here: the directions say how long a unit is. ``directions`` has random,
filter-normalised, eigenvector and trajectory ones; the difference of two sets of parameters is
another, with one at 0 and the other at 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_function, require_whole
from implicit_bias.errors import UserError
from implicit_bias.geometry.checks import checked_coordinates, require_like, some_value
from implicit_bias.geometry.rescaling import dense_layers
from implicit_bias.models.dense import ACTIVATIONS, Dense

Params = Any


def line(
    loss: Callable[[Params], Any],
    params: Params,
    direction: Params,
    coordinates: Sequence[float] | jax.Array,
    *,
    batch_size: int = 1,
) -> Any:
    """Evaluate a loss at ``params + c * direction``.

    Args:
        loss: ``params -> scalar``, or a pytree of arrays such as a dict of loss and error.
        params: Any pytree of floating arrays.
        direction: A pytree like ``params``.
        coordinates: c, shape (n,).
        batch_size: Points evaluated at once; memory grows with it. The values depend on it by
            rounding only.

    Returns:
        The loss's values with a leading axis of n.

    Raises:
        UserError: If the direction does not fit, or there is no finite coordinate.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import geometry
        >>> params, direction = jnp.array([1.0, 0.0]), jnp.array([0.0, 2.0])
        >>> geometry.line(lambda w: jnp.sum(w**2), params, direction, [0.0, 0.5, 1.0]).tolist()
        [1.0, 2.0, 5.0]
    """
    require_like("the direction", direction, params)
    places = checked_coordinates("coordinates", coordinates)[:, None]
    return _evaluate(loss, params, (direction,), places, batch_size)


def plane(
    loss: Callable[[Params], Any],
    params: Params,
    directions: tuple[Params, Params],
    first: Sequence[float] | jax.Array,
    second: Sequence[float] | jax.Array,
    *,
    batch_size: int = 1,
) -> Any:
    """Evaluate a loss at ``params + a * directions[0] + b * directions[1]`` over a grid.

    Args:
        loss: As for ``line``.
        params: Any pytree of floating arrays.
        directions: Two pytrees like ``params``; they need not be orthogonal.
        first: a, shape (n,).
        second: b, shape (m,).
        batch_size: As for ``line``.

    Returns:
        The loss's values with leading axes (n, m): a down, b across.

    Raises:
        UserError: If there are not two directions that fit, or no finite coordinate.
    """
    count = len(directions) if isinstance(directions, Sequence) else 0
    if count != 2:
        raise UserError(
            f"there are {count} directions; give two, each a pytree like the parameters"
        )
    for direction in directions:
        require_like("a direction", direction, params)
    a, b = checked_coordinates("first", first), checked_coordinates("second", second)
    dtype = jnp.promote_types(a.dtype, b.dtype)
    grid = jnp.meshgrid(a.astype(dtype), b.astype(dtype), indexing="ij")
    places = jnp.stack([axis.ravel() for axis in grid], axis=1)
    values = _evaluate(loss, params, directions, places, batch_size)
    return jax.tree.map(lambda leaf: leaf.reshape(a.size, b.size, *leaf.shape[1:]), values)


def skip_first_layer(
    model: Dense, params: Params, directions: Sequence[Params], x: jax.Array
) -> tuple[Params, tuple[Params, ...], Callable[[Params], jax.Array]]:
    """Replace a dense network's first layer by its sums over a dataset, which makes slices fast.

    The first layer's sums ``x W^T + b`` are linear in its parameters, so along a line or over a
    plane they need not be computed again at each point: the sums move as the parameters do. For
    images the first layer is most of the work (784-100-10: 99 %). Usage::

        short, ways, outputs = skip_first_layer(model, params, directions, x)
        values = plane(lambda p: loss.mean(outputs(p), y), short, ways, first, second)

    The values are those of the whole network, beyond rounding. Keeps one array of shape
    (n, first width) for the parameters and one for each direction.

    Args:
        model: A dense network with a hidden layer, in the standard parameterisation.
        params: Its parameters.
        directions: Pytrees like ``params``.
        x: Inputs, shape (n, *features).

    Returns:
        A pytree that stands for the parameters, those that stand for the directions, and the
        function from the former to the outputs, shape (n, outputs).

    Raises:
        UserError: If the network has no hidden layer or another parameterisation, or a direction
            does not fit.
    """
    if not isinstance(model, Dense):
        raise UserError(
            f"the model is {type(model).__name__}; only a Dense network can be cut here"
        )
    if not model.widths or model.parameterisation != "standard":
        raise UserError(
            f"the network has widths {model.widths} and parameterisation "
            f"{model.parameterisation!r}; only the standard one with a hidden layer can be cut here"
        )
    if len(dense_layers(params)) != model.depth:
        raise UserError(
            f"the parameters have {len(params)} layers, but the model has {model.depth}; "
            "give the model's own"
        )
    for direction in directions:
        require_like("a direction", direction, params)
    head = dataclasses.replace(model, widths=(), outputs=model.widths[0])
    tail = dataclasses.replace(model, widths=model.widths[1:])

    def cut(tree: Params) -> Params:
        with jax.default_matmul_precision("highest"):
            sums, _ = head.apply(tree, {}, x)
        rest = {f"layer_{index}": tree[f"layer_{index + 1}"] for index in range(tail.depth)}
        return {"sums": sums, "rest": rest}

    def outputs(tree: Params) -> jax.Array:
        hidden = ACTIVATIONS[model.activation](tree["sums"])
        return tail.apply(tree["rest"], {}, hidden)[0]

    return cut(params), tuple(cut(direction) for direction in directions), outputs


def _evaluate(
    loss: Callable[[Params], Any],
    params: Params,
    directions: tuple[Params, ...],
    places: jax.Array,
    batch_size: int,
) -> Any:
    require_function("loss", loss, ("params",), "a scalar, or arrays")
    require_whole("batch_size", batch_size)
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; choose batch_size >= 1 points at once")

    def value(place: jax.Array) -> Any:
        def moved(leaf: jax.Array, *ways: jax.Array) -> jax.Array:
            for index, way in enumerate(ways):
                leaf = leaf + place[index].astype(leaf.dtype) * way
            return leaf

        # Small differences of losses: on a GPU they would drown in the rounding of fast products.
        with jax.default_matmul_precision("highest"):
            return some_value("loss", loss(jax.tree.map(moved, params, *directions)))

    return jax.lax.map(value, places, batch_size=min(batch_size, places.shape[0]))
