"""Dense networks whose weights are independent Gaussians: outputs, risks, and KL divergences.

Given its input, a layer's sums are independent Gaussians over units, so that the sums can be drawn in place
of the weights, afresh for every example: then every example meets a network of its own.

References:
    D. Kingma, T. Salimans, M. Welling, *Variational dropout and the local reparameterization trick*, NIPS
    2015.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias import losses
from implicit_bias.models import Dense
from implicit_bias.models.dense import ACTIVATIONS
from implicit_bias.training.lane import Params

LOSSES = ("error", "clipped cross-entropy")
"""Losses in [0, 1]: mistakes; and −ln max(p, p₀) over −ln p₀, with p the probability of the label."""

LEAST = 1e-4
"""p₀, the probability from which on the cross-entropy is clipped."""


def sampled_outputs(
    model: Dense, mean: Params, std: Params, x: jax.Array, key: jax.Array
) -> jax.Array:
    """Return outputs of networks drawn from N(mean, diag std²), another network for every example.

    Args:
        model: A dense network in the standard parameterisation.
        mean: Means of the parameters.
        std: Their standard deviations, a tree like ``mean``.
        x: Inputs, (batch, *features).
        key: For the draws.

    Returns:
        Shape (batch, outputs).
    """
    hidden = x.reshape(x.shape[0], -1)
    for index in range(model.depth):
        name = f"layer_{index}"
        centre, spread = mean[name], std[name]
        sums = hidden @ centre["weight"].T
        variance = jnp.square(hidden) @ jnp.square(spread["weight"]).T
        if model.bias:
            sums = sums + centre["bias"][None, :]
            variance = variance + jnp.square(spread["bias"])[None, :]
        drawn = jax.random.normal(jax.random.fold_in(key, index), sums.shape, sums.dtype)
        # A layer of which nothing is active, without bias, has no variance, where √ has no slope.
        hidden = sums + jnp.sqrt(variance + jnp.finfo(sums.dtype).tiny) * drawn
        if index < model.depth - 1:
            hidden = ACTIVATIONS[model.activation](hidden)
    return hidden


def bounded_losses(names: tuple[str, ...], outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Return some of the losses of ``LOSSES``, shape (names, batch)."""
    wrong = losses.error(outputs, targets)
    ceiling = -jnp.log(jnp.asarray(LEAST, outputs.dtype))
    clipped = jnp.minimum(losses.cross_entropy(outputs, targets), ceiling) / ceiling
    own = dict(zip(LOSSES, (wrong, clipped), strict=True))
    return jnp.stack([own[name] for name in names])


def sampled_risks(
    model: Dense,
    names: tuple[str, ...],
    mean: Params,
    std: Params,
    data: tuple[jax.Array, jax.Array, jax.Array],
    weights: jax.Array,
    key: jax.Array,
    *,
    passes: int,
    chunk: int,
) -> jax.Array:
    """Return mean losses over examples and networks, one network for every example and pass.

    Args:
        model: Network.
        names: Of losses.
        mean: Means of its parameters.
        std: Standard deviations.
        data: All inputs; which of them are meant, (n,); and the targets of these, (n,).
        weights: What each example counts, (n,), of sum 1.
        key: For the draws.
        passes: Networks for every example.
        chunk: Examples in memory together.

    Returns:
        Means of the losses, (names,).
    """
    x, rows, targets = data
    n = rows.shape[0]
    size = min(chunk, n)
    pieces = -(-n // size)
    short = pieces * size - n

    def cut(values: jax.Array) -> jax.Array:
        return jnp.pad(values, (0, short)).reshape(pieces, size)

    cuts = cut(rows), cut(targets), cut(weights)

    def add(total: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
        own = jax.tree.map(lambda leaf: leaf[number % pieces], cuts)
        outputs = sampled_outputs(model, mean, std, x[own[0]], jax.random.fold_in(key, number))
        return total + bounded_losses(names, outputs, own[1]) @ own[2], None

    zero = jnp.zeros((len(names),), weights.dtype)
    return jax.lax.scan(add, zero, jnp.arange(passes * pieces))[0] / passes


def divergence(mean: Params, log_std: Params, prior_mean: Params, prior_log_std: Any) -> jax.Array:
    """Return KL(N(mean, diag std²) ‖ N(prior mean, prior std² I)), in nats.

    Every weight's part is positive, so that the sum keeps the precision of its type.
    """
    inverse = jnp.exp(-2 * prior_log_std)

    def part(centre: jax.Array, log: jax.Array, prior: jax.Array) -> jax.Array:
        excess = 2 * (log - prior_log_std)
        return jnp.sum(jnp.expm1(excess) - excess + jnp.square(centre - prior) * inverse) / 2

    return sum_of(jax.tree.map(part, mean, log_std, prior_mean))


def squared_distance(one: Params, other: Params) -> jax.Array:
    """Return ‖one − other‖²."""
    return sum_of(jax.tree.map(lambda a, b: jnp.sum(jnp.square(a - b)), one, other))


def sum_of(tree: Any) -> jax.Array:
    """Add the leaves of a tree of numbers."""
    leaves = jax.tree.leaves(tree)
    total = leaves[0]
    for leaf in leaves[1:]:
        total = total + leaf
    return total
