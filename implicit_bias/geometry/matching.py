"""Matching the hidden units of two dense networks.

Exchanging the hidden units of a layer, with their incoming and outgoing weights, changes no output.
Two networks may therefore look far apart, and have a barrier between them, merely because their
units are in different order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.arguments import require_whole
from implicit_bias.errors import UserError
from implicit_bias.finite import require_finite
from implicit_bias.geometry.checks import require_like
from implicit_bias.geometry.rescaling import dense_layers

Params = Any


@dataclass(frozen=True)
class Matching:
    """An order of one network's hidden units that makes it resemble another network.

    Attributes:
        permutations: For each hidden layer, shape (width,): entry i is the number of the unit that
            takes place i. Give them to ``permute_units``.
        similarity: Inner product of the reference with the permuted parameters.
        sweeps: Passes over the layers that were made by the start that won.
        converged: Whether its last pass changed nothing.
    """

    permutations: tuple[np.ndarray, ...]
    similarity: float
    sweeps: int
    converged: bool


def permute_units(params: Params, permutations: Sequence[np.ndarray]) -> Params:
    """Reorder the hidden units of a dense network; no output changes, beyond rounding of sums.

    Args:
        params: Of a dense network; see ``dense_layers``.
        permutations: For each hidden layer, the number of the unit that takes each place.

    Returns:
        Parameters of the same shapes and types.

    Raises:
        UserError: If these are not permutations of the hidden layers' units.
    """
    names = dense_layers(params)
    if not isinstance(permutations, Sequence):
        raise UserError(
            f"permutations is of type {type(permutations).__name__}; "
            "give one permutation for each hidden layer, in a list"
        )
    if len(permutations) != len(names) - 1:
        raise UserError(
            f"there are {len(permutations)} permutations, but the network has {len(names) - 1} "
            "hidden layers; give one for each"
        )
    orders = [np.asarray(order) for order in permutations]
    for name, order in zip(names, orders, strict=False):
        width = params[name]["weight"].shape[0]
        whole = order.dtype.kind in "iu" and order.shape == (width,)
        if not whole or not np.array_equal(np.sort(order), np.arange(width)):
            raise UserError(
                f"the permutation of {name} is not one of its {width} units; "
                f"give each number from 0 to {width - 1} once"
            )
    permuted = {}
    for index, name in enumerate(names):
        rows = orders[index] if index < len(orders) else slice(None)
        layer = {part: leaf[rows] for part, leaf in params[name].items()}
        if index:
            layer["weight"] = layer["weight"][:, orders[index - 1]]
        permuted[name] = layer
    return permuted


def weight_matching(
    reference: Params,
    params: Params,
    *,
    seed: int = 0,
    n_starts: int = 1,
    max_sweeps: int = 100,
) -> Matching:
    """Reorder a network's hidden units so that its weights come closest to another's.

    Maximises the inner product of all parameters, that is, minimises their distance, by coordinate
    ascent: layer after layer in random order, with the other layers' permutations held, each layer
    is a linear assignment problem, solved exactly; until a pass over all layers changes nothing.
    With one hidden layer the first step is the optimum. With more the result is a local one
    (the problem is NP-hard); further starts take other random orders from random permutations,
    and the best one wins. Signs and scales of units are not matched.

    A host function, in NumPy and SciPy, in float64.

    Args:
        reference: Parameters of a dense network, which stay as they are.
        params: Parameters of another of the same shapes.
        seed: For the order of layers and the further starts.
        n_starts: 1 is the algorithm as published, from the identity.
        max_sweeps: Most passes of each start.

    Returns:
        The permutations for ``permute_units(params, ...)``.

    Raises:
        UserError: If the networks differ in shape or are not dense, the parameters are not finite,
            or a number is below one.

    References:
        Ainsworth, Hayase & Srinivasa, *Git re-basin: merging models modulo permutation symmetries*
        (2023), section 3.2, algorithm 1 (PermutationCoordinateDescent); biases are treated as one
        more column of incoming weights.
    """
    names = dense_layers(reference)
    require_like("params", params, reference)
    require_finite((reference, params))
    for name, number in (("seed", seed), ("n_starts", n_starts), ("max_sweeps", max_sweeps)):
        require_whole(name, number)
    if seed < 0:
        raise UserError(f"seed is {seed}; choose seed >= 0")
    if n_starts < 1 or max_sweeps < 1:
        raise UserError(f"n_starts is {n_starts} and max_sweeps {max_sweeps}; choose both >= 1")
    own, other = (_arrays(tree, names) for tree in (reference, params))
    widths = [weight.shape[0] for weight, _ in own[:-1]]
    generator = np.random.default_rng(seed)
    best: Matching | None = None
    for start in range(n_starts):
        orders = [
            np.arange(width) if start == 0 else generator.permutation(width) for width in widths
        ]
        found = _ascend(own, other, orders, generator, max_sweeps)
        if best is None or found.similarity > best.similarity:
            best = found
    assert best is not None
    return best


Layers = list[tuple[np.ndarray, np.ndarray]]


def _arrays(params: Params, names: Sequence[str]) -> Layers:
    """Return each layer's weight, and its bias as a column (of width zero where there is none)."""
    layers = []
    for name in names:
        weight = np.asarray(params[name]["weight"], np.float64)
        bias = np.asarray(params[name].get("bias", np.empty((weight.shape[0], 0))), np.float64)
        layers.append((weight, bias.reshape(weight.shape[0], -1)))
    return layers


def _ascend(
    own: Layers,
    other: Layers,
    orders: list[np.ndarray],
    generator: np.random.Generator,
    max_sweeps: int,
) -> Matching:
    from scipy.optimize import linear_sum_assignment

    hidden = len(orders)
    # An exchange must gain more than rounding, or equal units would be exchanged for ever.
    least_gain = 1e-12 * _length(own) * _length(other)
    changed, sweeps = True, 0
    while changed and sweeps < max_sweeps:
        changed, sweeps = False, sweeps + 1
        for layer in generator.permutation(hidden):
            incoming = other[layer][0] if layer == 0 else other[layer][0][:, orders[layer - 1]]
            outgoing = other[layer + 1][0]
            if layer + 1 < hidden:
                outgoing = outgoing[orders[layer + 1]]
            gains = (
                own[layer][0] @ incoming.T
                + own[layer][1] @ other[layer][1].T
                + own[layer + 1][0].T @ outgoing
            )
            _, order = linear_sum_assignment(gains, maximize=True)
            places = np.arange(order.size)
            if np.sum(gains[places, order] - gains[places, orders[layer]]) > least_gain:
                orders[layer] = order
                changed = True
    return Matching(tuple(orders), _similarity(own, other, orders), sweeps, not changed)


def _length(layers: Layers) -> float:
    return float(np.sqrt(sum(np.sum(np.square(part)) for layer in layers for part in layer)))


def _similarity(own: Layers, other: Layers, orders: list[np.ndarray]) -> float:
    total = 0.0
    for index, ((weight, bias), (weight_2, bias_2)) in enumerate(zip(own, other, strict=True)):
        if index:
            weight_2 = weight_2[:, orders[index - 1]]
        if index < len(orders):
            weight_2, bias_2 = weight_2[orders[index]], bias_2[orders[index]]
        total += float(np.sum(weight * weight_2) + np.sum(bias * bias_2))
    return total
