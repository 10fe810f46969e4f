"""Gradients of layers, balance and the product's own flow, in random deep linear networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator, role_key
from implicit_bias.models.deep_linear import DeepLinear
from implicit_bias.runtime import compiled
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

DEPTHS = (2, 3, 5)
SIZE = 5
EXAMPLES = 7


@dataclass(frozen=True)
class Gradients(Drawn):
    """Formulas of deep linear networks against automatic derivatives and each other.

    All layers are square, so that every order of the factors can be multiplied at all.
    """

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("gradient_depth",)
        return {
            "gradient_error": Variable(dims, "1", "formula against automatic derivatives, relative, worst "
            "layer"),
            "gradient_ascending": Variable(
                dims, "1", "the same with the factors multiplied from left to right as their index rises"
            ),
            "gradient_velocity": Variable(
                dims, "1", "dW/dt from the product alone against that from all layers, balanced, relative"
            ),
            "gradient_unbalanced": Variable(dims, "1", "the same from Gaussian layers, which are not "
            "balanced"),
            "gradient_drift": Variable(
                dims, "1", "change of W_{l+1}ᵀW_{l+1} − W_lW_lᵀ along the flow, over ‖W_l‖² at its end"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Depths."""
        return {"gradient_depth": DEPTHS}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Measure one seed."""
        found = [self._measured(seed, depth) for depth in DEPTHS]
        return {f"gradient_{name}": np.array([one[name] for one in found]) for name in found[0]}

    def _measured(self, seed: int, depth: int) -> dict[str, float]:
        rng = role_generator(seed, "data", depth)
        x, y = rng.standard_normal((EXAMPLES, SIZE)), rng.standard_normal((EXAMPLES, SIZE))
        slope = theory.squared_error(x.T, y.T)

        layers, automatic = (
            [np.asarray(tree[f"layer_{index}"]["weight"]) for index in range(depth)]
            for tree in _differentiated(
                depth=depth,
                key=role_key(seed, "initialisation"),
                x=jnp.asarray(x),
                y=jnp.asarray(y),
            )
        )
        _, gradient = slope(theory.product_of(layers))
        formula = theory.layer_gradients(layers, gradient)
        balanced = theory.balanced_layers(rng.standard_normal((SIZE, SIZE)), depth)
        flow = theory.network_flow(
            layers, slope, until=lambda w, loss: -1.0, longest=1.0, times=[1.0]
        )
        size = max(float(np.linalg.norm(layer)) ** 2 for layer in flow.layers)
        return {
            "error": _worst(formula, automatic),
            "ascending": _worst(_ascending(layers, gradient), automatic),
            "velocity": _velocity_error(balanced, slope),
            "unbalanced": _velocity_error(layers, slope),
            "drift": max(
                float(np.linalg.norm(_tilt(flow.layers, place) - _tilt(layers, place))) / size
                for place in range(depth - 1)
            ),
        }


def _drawn_and_differentiated(depth: int, key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
    """Return drawn parameters, and the gradient there of ½‖outputs − y‖² by automatic derivatives."""
    model = DeepLinear((SIZE,) * (depth - 1), SIZE, "gaussian")
    params, state = model.init(key, jnp.zeros(SIZE, jnp.float64))

    def loss(params: Any) -> jax.Array:
        return 0.5 * jnp.sum((model.apply(params, state, x)[0] - y) ** 2)

    return params, jax.grad(loss)(params)


_differentiated = compiled(_drawn_and_differentiated, static=("depth",))


def _tilt(layers: Sequence[np.ndarray], place: int) -> np.ndarray:
    before, after = layers[place], layers[place + 1]
    return after.T @ after - before @ before.T


def _ascending(layers: Sequence[np.ndarray], slope: np.ndarray) -> list[np.ndarray]:
    """Multiply as ∏_{k=l+1}^{L} W_k reads from left to right: W_{l+1} ⋯ W_L."""
    found = []
    for place in range(len(layers)):
        outer, inner = np.eye(SIZE), np.eye(SIZE)
        for layer in layers[place + 1 :]:
            outer = outer @ layer
        for layer in layers[:place]:
            inner = inner @ layer
        found.append(outer.T @ slope @ inner.T)
    return found


def _velocity_error(layers: Sequence[np.ndarray], slope: Any) -> float:
    """Hold dW/dt from the product alone against the product rule over all layers."""
    product = theory.product_of(layers)
    _, gradient = slope(product)
    moves = theory.layer_gradients(layers, gradient)
    total = np.zeros_like(product)
    for place, move in enumerate(moves):
        changed = [*layers[:place], -move, *layers[place + 1 :]]
        total += theory.product_of(changed)
    alone = theory.product_velocity(product, gradient, len(layers))
    return float(np.linalg.norm(alone - total) / np.linalg.norm(total))


def _worst(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    return max(
        float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in zip(first, second, strict=True)
    )
