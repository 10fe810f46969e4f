"""Scale invariance by normalisation, exactly: where it holds, and where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import curvature, losses
from implicit_bias.keys import role_generator, role_key
from implicit_bias.models.constructors import NormName, norm_layers
from implicit_bias.models.layers import Activation, Affine, Chain, Conv, Flatten, GlobalAverage
from implicit_bias.models.network import Network
from implicit_bias.runtime import compiled
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane
from implicit_bias.training.weighted import Statistics, weighted_loss

NETWORKS: dict[str, tuple[NormName, bool]] = {
    "batch": ("batch", False),
    "layer": ("layer", False),
    "group": ("group", False),
    "batch, convolutional": ("batch", True),
    "group, convolutional": ("group", True),
}
"""Networks: their normalisation, and whether their layers are convolutions."""

PRE_NORM, OUTPUT, EVALUATION, DEFAULT_EPS, LARGE_EPS, DECAY = (
    "before a normalisation", "output layer", "evaluation", "usual ε", "large ε", "weight decay",
)  # fmt: skip
CASES = (PRE_NORM, OUTPUT, EVALUATION, DEFAULT_EPS, LARGE_EPS, DECAY)
"""Which weights are scaled, and how the network is computed; ε = 0, statistics of the batch and no decay
where nothing else is said."""

FACTORS = (0.25, 3.0)
"""What weights are multiplied by."""

USUAL_EPS = 1e-5
HIDDEN = 2
UNITS = 8
OUTPUTS = 3


class Drawn(NamedTuple):
    """A network as drawn, and a batch."""

    params: Any
    state: Any
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Invariance(Experiment):
    """Small networks as drawn, in double precision, through the package's own operators.

    Attributes:
        networks: Which of ``NETWORKS``.
        examples: Examples of the batch.
        large_eps: An ε that is not negligible.
        decay: Weight decay λ where one is added, of ½λ‖W‖².
        step_size: Of the updates that are followed.
        updates: Full-batch updates that are followed.

    References:
        van Laarhoven, *L2 regularization versus batch and weight normalization* (2017); Li & Arora, *An
        exponential learning rate schedule for deep learning* (2020), lemma 2.4.
    """

    networks: tuple[str, ...] = tuple(NETWORKS)
    examples: int = 12
    large_eps: float = 0.1
    decay: float = 0.1
    step_size: float = 0.1
    updates: int = 10

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        cases = {
            "loss_error": "|L(aW) − L(W)|/L(W)",
            "tangent_error": "|⟨∇L, W⟩|/(‖∇L‖‖W‖)",
            "gradient_error": "‖a ∇L(aW) − ∇L(W)‖/‖∇L(W)‖",
            "sharpness_error": "|a² λmax(aW)/λmax(W) − 1| of the Hessian block of W",
        }
        steps = {
            "growth_error": "|‖W_T‖² − ‖W_0‖² − η²Σ‖∇L‖²| over ‖W_0‖², without decay, largest of "
            "the layers",
            "growth_output": "the same of the output layer",
            "sphere_error": "distance of W/‖W‖ from descent on the sphere with step η/‖W‖², "
            "largest",
        }
        return {
            **{
                name: Variable(
                    ("norm_network", "norm_case"), "1", f"{what}, largest over layers and a"
                )
                for name, what in cases.items()
            },
            **{name: Variable(("norm_network",), "1", what) for name, what in steps.items()},
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Networks, and cases."""
        return {"norm_network": self.networks, "norm_case": CASES}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Measure one seed."""
        found: dict[str, list[Any]] = {name: [] for name in self.variables}
        for network in self.networks:
            norm, images = NETWORKS[network]
            drawn = self._drawn(norm, images, seed)
            cases = [self._case(norm, images, case, drawn) for case in CASES]
            for name in cases[0]:
                found[name].append([case[name] for case in cases])
            for name, value in self._followed(norm, images, drawn).items():
                found[name].append(value)
        return {name: np.asarray(values) for name, values in found.items()}

    def _case(self, norm: NormName, images: bool, case: str, drawn: Drawn) -> dict[str, float]:
        """Return the errors of a case, the largest over its layers and the factors."""
        eps = {DEFAULT_EPS: USUAL_EPS, LARGE_EPS: self.large_eps}.get(case, 0.0)
        # What takes no statistics of a batch is the same network in training and in evaluation.
        running = case == EVALUATION and norm == "batch"
        of = _function(drawn, small_network(norm, images, eps), "running" if running else "batch")
        start = drawn.params
        errors: dict[str, list[float]] = {
            name: []
            for name in ("loss_error", "tangent_error", "gradient_error", "sharpness_error")
        }
        for layer in (HIDDEN,) if case == OUTPUT else tuple(range(HIDDEN)):
            name = f"layer_{layer}"
            decays = np.zeros(HIDDEN + 1)
            decays[layer] = self.decay if case == DECAY else 0.0
            block = curvature.select(start, f"{name}/weight").indices

            def at(
                factor: float, name: str = name, decays: np.ndarray = decays, block: Any = block
            ) -> tuple[float, np.ndarray, float]:
                value, gradient, hessian = of(scaled(start, name, factor), decays)
                top = np.linalg.eigvalsh(hessian[np.ix_(block, block)])[-1]
                return float(value), gradient[name]["weight"], float(top)

            weight = start[name]["weight"]
            value, gradient, top = at(1.0)
            size = np.linalg.norm(gradient)
            errors["tangent_error"].append(
                float(abs(np.sum(gradient * weight)) / (size * np.linalg.norm(weight)))
            )
            for factor in FACTORS:
                other, turned, sharp = at(factor)
                errors["loss_error"].append(abs(other / value - 1))
                errors["gradient_error"].append(
                    float(np.linalg.norm(factor * turned - gradient) / size)
                )
                errors["sharpness_error"].append(abs(factor**2 * sharp / top - 1))
        return {name: max(values) for name, values in errors.items()}

    def _followed(self, norm: NormName, images: bool, drawn: Drawn) -> dict[str, float]:
        """Follow descent: squared norms grow by the gradients', directions move on the sphere."""
        of, start = _function(drawn, small_network(norm, images, 0.0), "batch"), drawn.params
        params, step, nothing = start, self.step_size, np.zeros(HIDDEN + 1)
        added = np.zeros(HIDDEN + 1)
        sphere = 0.0
        for _ in range(self.updates):
            _, gradient, _ = of(params, nothing)
            moved = jax.tree.map(lambda leaf, g: leaf - step * g, params, gradient)
            added += step**2 * squares(gradient)
            for layer in range(HIDDEN):
                name = f"layer_{layer}"
                size = np.linalg.norm(params[name]["weight"])
                # The gradient at W/‖W‖, all else as it is, and a step of η/‖W‖² from there.
                unit = scaled(params, name, 1 / size)
                slope = of(unit, nothing)[1][name]["weight"]
                on_sphere = _direction(unit[name]["weight"] - step / size**2 * slope)
                apart = np.linalg.norm(_direction(moved[name]["weight"]) - on_sphere)
                sphere = max(sphere, float(apart))
            params = moved
        errors = np.abs(squares(params) - squares(start) - added) / squares(start)
        return {
            "growth_error": float(errors[:HIDDEN].max()),
            "growth_output": float(errors[HIDDEN]),
            "sphere_error": sphere,
        }

    def _drawn(self, norm: NormName, images: bool, seed: int) -> Drawn:
        """Draw what does not depend on ε."""
        rng = role_generator(seed, "data")
        shape = (4, 4, 2) if images else (6,)
        x = rng.standard_normal((self.examples, *shape))
        y = rng.integers(OUTPUTS, size=self.examples)
        model = small_network(norm, images, 0.0)
        start = _start(model=model, key=role_key(seed, "initialisation"), example=x[0])
        params, state = jax.tree.map(np.asarray, start)
        return Drawn(params, state, x, y)


def _function(drawn: Drawn, model: Network, statistics: Statistics) -> Any:
    """Return loss, gradient and Hessian as a function of parameters and decays."""

    def of(params: Any, decays: np.ndarray) -> Any:
        found = _compiled(
            model=model, statistics=statistics, state=drawn.state, params=params, x=drawn.x,
            y=drawn.y, decays=decays,
        )  # fmt: skip
        return jax.tree.map(np.asarray, found)

    return of


def derivatives(
    model: Network, statistics: Statistics, state: Any, params: Any, x: Any, y: Any, decays: Any
) -> tuple[jax.Array, Any, jax.Array]:
    """Return the loss with decay, its gradient, and its dense Hessian.

    Args:
        model: A small network.
        statistics: By which it normalises.
        state: Its state.
        params: Its parameters.
        x: Inputs.
        y: Classes.
        decays: λ of each layer's weights, of ½λ‖W‖².
    """
    of = weighted_loss(model, losses.get("cross_entropy"), state, statistics)

    def loss(params: Any, batch: Any, weights: jax.Array) -> jax.Array:
        penalties = [
            0.5 * decays[layer] * jnp.sum(jnp.square(params[f"layer_{layer}"]["weight"]))
            for layer in range(HIDDEN + 1)
        ]
        return of(params, batch, weights) + jnp.sum(weights) * sum(penalties)

    mean = jnp.full((x.shape[0],), 1 / x.shape[0], x.dtype)
    value, gradient = jax.value_and_grad(loss)(params, (x, y), mean)
    hessian, _ = curvature.hessian(loss, params, (x, y))
    return value, gradient, curvature.dense(hessian)


def _initial(model: Network, key: jax.Array, example: jax.Array) -> Any:
    return model.init(key, example)


# What is between the two is NumPy's: JAX would compile each operation on its own.
_compiled = compiled(derivatives, static=("model", "statistics"))
_start = compiled(_initial, static=("model",))


def squares(tree: Any) -> np.ndarray:
    """Return ‖W‖² of each layer, (layers,)."""
    layers = [tree[f"layer_{layer}"]["weight"] for layer in range(HIDDEN + 1)]
    return np.asarray([float(np.sum(np.square(weight))) for weight in layers])


def small_network(norm: NormName, images: bool, eps: float) -> Network:
    """Return a network of two normalised hidden layers without biases.

    Args:
        norm: Kind of normalisation.
        images: Whether layers are convolutions.
        eps: Added to variances.
    """
    chain: Chain = () if images else (Flatten(),)
    for _ in range(HIDDEN):
        layer = Conv(4, bias=False) if images else Affine(UNITS, bias=False)
        channels = 4 if images else UNITS
        chain += (layer, *norm_layers(norm, channels, groups=2, eps=eps), Activation("tanh"))
    chain += (GlobalAverage(),) if images else ()
    return Network((*chain, Affine(OUTPUTS)))


def scaled(params: Any, name: str, factor: Any) -> Any:
    """Return parameters with a layer's weights multiplied."""
    return {**params, name: {**params[name], "weight": factor * params[name]["weight"]}}


def _direction(weight: np.ndarray) -> np.ndarray:
    direction: np.ndarray = weight / np.linalg.norm(weight)
    return direction
