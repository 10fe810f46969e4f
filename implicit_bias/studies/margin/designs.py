"""Data of the margin study: signed examples, and the times at which paths are looked at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from implicit_bias import theory
from implicit_bias.errors import UserError
from implicit_bias.keys import role_generator

TRIES = 200
"""Draws of a data set before it is given up."""

DECADE = float(np.log(10.0))

STREAM = 11
"""Of all draws; criteria were settled on draws of another one."""


class Drawn(NamedTuple):
    """A separable data set.

    Attributes:
        inputs: Shape (n, d).
        labels: −1 or 1, shape (n,).
        signed: Shape (n, d + 1): the last column is the bias.
        tries: How many were drawn until a line separated one.
    """

    inputs: np.ndarray
    labels: np.ndarray
    signed: np.ndarray
    tries: int


def generator(seed: int, *parts: int) -> np.random.Generator:
    """Return a seed's generator of data; ``parts`` tell experiments apart."""
    return role_generator(seed, "data", STREAM, *parts)


def decades(horizon: float) -> tuple[float, ...]:
    """Return decimal logarithms of times: halves of decades up to 10⁹, then evenly in their logarithm."""
    near = np.arange(0, 9.01, 0.5)
    if horizon <= near[-1]:
        return tuple(float(x) for x in near)
    beyond = np.geomspace(9, horizon, 1 + max(1, round(6 * np.log10(horizon / 9))))
    return tuple(float(round(x, 6)) for x in (*near, *beyond[1:]))


def blobs(
    rng: np.random.Generator, examples: int, distance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw two classes of unit variance around ±distance·(1, 1)/√2.

    Args:
        rng: Generator.
        examples: Of each class.
        distance: Of each mean from the origin.

    Returns:
        Inputs (2·examples, 2), and labels −1 then 1.
    """
    labels = np.repeat([-1.0, 1.0], examples)
    mean = distance / np.sqrt(2) * labels[:, None] * np.ones((1, 2))
    return rng.standard_normal((2 * examples, 2)) + mean, labels


def separable_blobs(rng: np.random.Generator, examples: int, distance: float) -> Drawn:
    """Draw two classes until a line separates them.

    Raises:
        UserError: None of many draws was separable.
    """
    for tried in range(1, TRIES + 1):
        inputs, labels = blobs(rng, examples, distance)
        signed = theory.signed_examples(inputs, labels)
        if theory.separable(signed):
            return Drawn(inputs, labels, signed, tried)
    raise UserError(
        f"blobs.distance is {distance:g}, and none of {TRIES} draws of two classes of {examples} was "
        "linearly separable, so that there is no margin to maximise; choose a larger distance or fewer "
        "examples"
    )


class Planted(NamedTuple):
    """A data set whose hard-margin solution was chosen.

    Attributes:
        signed: Shape (n, d); the first d are the support vectors.
        weights: ŵ.
        multipliers: α of the support vectors, shape (d,).
    """

    signed: np.ndarray
    weights: np.ndarray
    multipliers: np.ndarray


def planted(rng: np.random.Generator, inputs: int, others: int, slack: float) -> Planted:
    """Choose ŵ and multipliers, then examples that have them.

    Support vectors are ŵ/‖ŵ‖² + r_i with r_i orthogonal to ŵ and Σ α_i r_i = 0, so that Σ α_i z_i = ŵ and
    z_i·ŵ = 1: the optimality conditions, which are sufficient. Eigenvalues of Σ α_i z_i z_iᵀ, which are the
    exponents with which gradient flow comes to its law, are 1 along ŵ and between 1 and 4 across.

    Args:
        rng: Generator.
        inputs: d features, and as many support vectors.
        others: Further examples.
        slack: Their least z·ŵ.
    """
    alpha = rng.uniform(0.3, 2.0, inputs)
    basis = np.linalg.qr(rng.standard_normal((inputs, inputs)))[0]
    direction, across = basis[:, 0], basis[:, 1:]
    weights = direction * np.sqrt(alpha.sum())  # Σα = ‖ŵ‖²
    # Orthonormal columns orthogonal to √α: over √α, their sums with weights α vanish.
    roots = np.sqrt(alpha)
    mixed = rng.standard_normal((inputs, inputs))
    mixed[:, 0] = roots
    columns = np.linalg.qr(mixed)[0][:, 1:] * rng.uniform(1.0, 2.0, inputs - 1)[None, :]
    parts = (columns / roots[:, None]) @ across.T
    support = weights[None, :] / (weights @ weights) + parts
    margins = slack + rng.exponential(0.5, others)
    rest = margins[:, None] * weights[None, :] / (weights @ weights)
    rest = rest + rng.standard_normal((others, inputs - 1)) @ across.T
    return Planted(np.concatenate([support, rest]), weights, alpha)


def sparse_teacher(rng: np.random.Generator, examples: int, inputs: int) -> np.ndarray:
    """Draw normal inputs labelled by the difference of two of them, signed, without a bias."""
    x = rng.standard_normal((examples, inputs))
    labels = np.where(x[:, 0] > x[:, 1], 1.0, -1.0)
    return theory.signed_examples(x, labels, bias=False)


def ring(rng: np.random.Generator, examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw directions in the plane, labelled by quadrant like an exclusive or, no two labels too close.

    A network without biases is homogeneous in its inputs too, so that labels are a matter of direction.

    Returns:
        Inputs (examples, 2), and labels −1 or 1, of which both occur.
    """
    quadrant = np.arange(examples) % 4
    angle = (quadrant + 0.5 + rng.uniform(-0.4, 0.4, examples)) * np.pi / 2
    radius = rng.uniform(0.7, 1.3, examples)
    inputs = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return inputs, np.where(quadrant % 2 == 0, 1.0, -1.0)
