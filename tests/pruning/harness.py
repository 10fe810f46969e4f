"""One row per pruner: what its scores should equal. A new pruner adds a row.

The network is 5-4-3 with tanh, in float64; the loss is the cross-entropy. Oracles are written out by hand in
NumPy, and see weights that the mask has set to zero already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from implicit_bias import losses, models, pruning

INPUTS, HIDDEN, OUTPUTS, EXAMPLES = 5, 4, 3, 7
X = np.random.default_rng(0).normal(size=(EXAMPLES, INPUTS))
Y = (np.arange(EXAMPLES) % OUTPUTS).astype(np.int32)

Weights = list[np.ndarray]
"""The weights of both layers."""


@dataclass(frozen=True)
class Row:
    """One pruner.

    Attributes:
        name: Registered name.
        expected: Scores of both layers, given masked weights, masks and biases; None where scores are drawn.
        tolerance: Of the comparison, relative to the largest score; derived where it is set.
    """

    name: str
    expected: Callable[[Weights, Weights, Weights], Weights] | None
    tolerance: float = 1e-12

    @property
    def pruner(self) -> pruning.Pruner:
        return pruning.get(self.name)


def loss(weights: Weights, biases: Weights) -> float:
    """The mean cross-entropy."""
    hidden = np.tanh(X @ weights[0].T + biases[0])
    outputs = hidden @ weights[1].T + biases[1]
    largest = outputs.max(axis=1, keepdims=True)
    normaliser = largest[:, 0] + np.log(np.exp(outputs - largest).sum(axis=1))
    return float(np.mean(normaliser - outputs[np.arange(EXAMPLES), Y]))


def gradient(weights: Weights, biases: Weights) -> Weights:
    """Its gradient in the weights, by backpropagation."""
    hidden = np.tanh(X @ weights[0].T + biases[0])
    outputs = hidden @ weights[1].T + biases[1]
    chances = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    error = (chances - np.eye(OUTPUTS)[Y]) / EXAMPLES
    inner = (error @ weights[1]) * (1 - hidden**2)
    return [inner.T @ X, error.T @ hidden]


def magnitude(weights: Weights, masks: Weights, biases: Weights) -> Weights:
    return [np.abs(w) for w in weights]


def snip(weights: Weights, masks: Weights, biases: Weights) -> Weights:
    """|∂L(c ⊙ w)/∂c| at c = 1, by central differences of the loss alone."""
    step, found = 1e-5, []
    for layer, weight in enumerate(weights):
        slopes = np.zeros_like(weight)
        for place in np.ndindex(*weight.shape):
            sides = []
            for sign in (1, -1):
                moved = [w.copy() for w in weights]
                moved[layer][place] *= 1 + sign * step
                sides.append(loss(moved, biases))
            slopes[place] = (sides[0] - sides[1]) / (2 * step)
        found.append(np.abs(slopes))
    return found


def grasp(weights: Weights, masks: Weights, biases: Weights) -> Weights:
    """w · (Hg), with the dense Hessian by central differences of the gradient; g and H of kept weights."""

    def flat(tree: Weights) -> np.ndarray:
        return np.concatenate([part.ravel() for part in tree])

    def unflat(vector: np.ndarray) -> Weights:
        cut = weights[0].size
        return [vector[:cut].reshape(weights[0].shape), vector[cut:].reshape(weights[1].shape)]

    point, kept, step = flat(weights), flat(masks), 1e-5
    hessian = np.zeros((point.size, point.size))
    for index in range(point.size):
        unit = np.zeros_like(point)
        unit[index] = step
        above, below = (flat(gradient(unflat(point + s * unit), biases)) for s in (1, -1))
        hessian[:, index] = (above - below) / (2 * step)
    g = kept * flat(gradient(weights, biases))
    return unflat(point * (kept * (hessian @ g)))


def synflow(weights: Weights, masks: Weights, biases: Weights) -> Weights:
    """Of each weight: its magnitude, times all that reaches it, times all that leaves it."""
    first, second = np.abs(weights[0]), np.abs(weights[1])
    reached = first.sum(axis=1)  # an input of ones; activations are the identity
    return [first * second.sum(axis=0)[:, None], second * reached[None, :]]


ROWS = [
    Row("magnitude", magnitude, 0.0),
    Row("random", None),
    # Central differences of step h err by h²·f'''/6 and by rounding 1e-16/h: 1e-10 and 1e-11 here.
    Row("snip", snip, 1e-8),
    Row("grasp", grasp, 1e-8),
    Row("synflow", synflow),
]


def model() -> models.Dense:
    return models.Dense((HIDDEN,), OUTPUTS, "tanh")


def problem() -> pruning.PruningProblem:
    return pruning.PruningProblem(
        model(), {}, losses.get("cross_entropy"), jnp.asarray(X), jnp.asarray(Y)
    )


def parameters(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return {
        f"layer_{index}": {
            "weight": jnp.asarray(rng.normal(size=(n_out, n_in))),
            "bias": jnp.asarray(rng.normal(size=n_out)),
        }
        for index, (n_in, n_out) in enumerate(((INPUTS, HIDDEN), (HIDDEN, OUTPUTS)))
    }


def some_mask(seed: int, density: float = 0.6) -> Any:
    """A mask of about that density, drawn with NumPy."""
    rng = np.random.default_rng(seed)
    return pruning.masks.map_weights(
        lambda layer, leaf: (rng.random(leaf.shape) < density).astype(np.uint8),
        pruning.masks.full(parameters(0)),
    )


def split(tree: Any) -> Weights:
    """The weights of both layers as NumPy arrays."""
    return [np.asarray(tree[f"layer_{index}"]["weight"]) for index in range(2)]
