"""Directions for slices of the loss, and places of parameters along them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from implicit_bias.arguments import require_function, require_key, require_whole
from implicit_bias.errors import UserError
from implicit_bias.geometry.checks import require_like
from implicit_bias.geometry.perturbation import Kind, random_direction

Params = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrajectoryPCA:
    """The directions in which a trajectory went furthest.

    Attributes:
        directions: A pytree like the parameters with a leading axis of k, orthonormal over all
            parameters; their signs are such that the first snapshot has coordinates >= 0.
        coordinates: Of each snapshot relative to the last, shape (t, k).
        explained: Fraction of the sum of squared distances to the last, shape (k,).
    """

    directions: Params
    coordinates: jax.Array
    explained: jax.Array


def random_plane(
    key: jax.Array, params: Params, kind: Kind = "absolute", *, output_axis: int = 0
) -> tuple[Params, Params]:
    """Draw two independent directions; see ``random_direction`` for the kinds.

    They are not made orthogonal, as in the source: in many dimensions they nearly are.

    References:
        Li, Xu, Taylor, Studer & Goldstein, *Visualizing the loss landscape of neural nets* (2018),
        sections 3 and 4.
    """
    require_key(key)
    first, second = (
        random_direction(own, params, kind, output_axis=output_axis)
        for own in jax.random.split(key)
    )
    return first, second


def eigenvector_directions(
    vectors: jax.Array, unravel: Callable[[jax.Array], Params]
) -> tuple[Params, ...]:
    """Turn eigenvectors into directions of length one, with signs that do not depend on chance.

    Args:
        vectors: Shape (k, p), one in each row, none zero.
        unravel: From flat vectors to pytrees like the parameters, as operators come with.

    Returns:
        k pytrees like the parameters, each with its largest entry positive.

    Raises:
        UserError: If ``vectors`` does not have two axes.
    """
    if not isinstance(vectors, jax.Array | np.ndarray):
        raise UserError(
            f"vectors is of type {type(vectors).__name__}; give an array of one eigenvector in each "
            "row, as in eigenpairs.vectors"
        )
    if vectors.ndim != 2 or not vectors.shape[0]:
        raise UserError(f"vectors has shape {vectors.shape}; give one eigenvector in each row")
    require_function("unravel", unravel, ("vector",), "a pytree like the parameters")

    def normalised(vector: jax.Array) -> jax.Array:
        largest = vector[jnp.argmax(jnp.abs(vector))]
        vector = vector / largest
        return vector / jnp.sqrt(jnp.sum(jnp.square(vector)))

    return tuple(unravel(normalised(vector)) for vector in vectors)


def trajectory_pca(snapshots: Params, k: int = 2) -> TrajectoryPCA:
    """Find the directions in which parameters moved most, by principal components.

    As published: the components of the matrix of differences to the last snapshot,
    ``[θ_0 − θ_n; …; θ_{n−1} − θ_n]``, here without subtracting the mean of its rows, so that the
    plane goes through the last snapshot. A random walk in many dimensions also looks smooth in
    its first components and puts most of its variance there: look at ``explained`` with that in
    mind.

    Args:
        snapshots: Pytree like the parameters with a leading axis of t snapshots, t >= k + 1.
        k: How many directions.

    Returns:
        Directions, coordinates and explained fractions, in order of falling fraction.

    Raises:
        UserError: If there are fewer than k + 1 snapshots, or k is below one.

    References:
        Li, Xu, Taylor, Studer & Goldstein, *Visualizing the loss landscape of neural nets* (2018),
        section 7.2.
    """
    counts = {leaf.shape[0] if jnp.ndim(leaf) else 0 for leaf in jax.tree.leaves(snapshots)}
    require_whole("k", k)
    if k < 1:
        raise UserError(f"k is {k}; choose k >= 1")
    if len(counts) != 1 or min(counts) < k + 1:
        raise UserError(
            f"the arrays have leading axes of {sorted(counts)} snapshots; "
            f"give at least {k + 1} snapshots for {k} directions, one number for all arrays"
        )
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[-1], snapshots))
    flat = jax.vmap(lambda tree: ravel_pytree(tree)[0])(snapshots)
    away = flat - flat[-1][None, :]
    left, values, right = jnp.linalg.svd(away, full_matrices=False)
    coordinates = left[:, :k] * values[None, :k]
    signs = jnp.where(coordinates[0] < 0, -1, 1).astype(flat.dtype)
    squares = jnp.square(values)
    total = jnp.sum(squares)
    return TrajectoryPCA(
        jax.vmap(unravel)(right[:k] * signs[:, None]),
        coordinates * signs[None, :],
        squares[:k] / jnp.where(total > 0, total, jnp.ones_like(total)),
    )


def coordinates_in(params: Params, origin: Params, directions: Sequence[Params]) -> jax.Array:
    """Return where parameters lie along directions: the nearest point of ``origin + Σ c_k d_k``.

    Args:
        params: Pytree like ``origin``, possibly with a leading axis of t snapshots.
        origin: Pytree.
        directions: k pytrees like ``origin``, independent; they need not be orthogonal.

    Returns:
        Shape (k,), or (t, k) for snapshots.

    Raises:
        UserError: If there is no direction, or one has other shapes than the origin.
    """
    if not directions:
        raise UserError("there is no direction; give at least one")
    for direction in directions:
        require_like("a direction", direction, origin)
    base = ravel_pytree(origin)[0]
    rows = jnp.stack([ravel_pytree(direction)[0] for direction in directions])
    many = jax.tree.map(jnp.shape, params) != jax.tree.map(jnp.shape, origin)
    if many:
        counts = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(params)}
        if len(counts) != 1 or counts == {()}:
            require_like("params", params, origin)
        require_like("a snapshot in params", jax.tree.map(lambda leaf: leaf[0], params), origin)
    flatten = jax.vmap(lambda tree: ravel_pytree(tree)[0]) if many else None
    away = flatten(params) - base[None, :] if flatten else (ravel_pytree(params)[0] - base)[None, :]
    with jax.default_matmul_precision("highest"):
        found = jnp.linalg.solve(rows @ rows.T, rows @ away.T).T
    return found if many else found[0]
