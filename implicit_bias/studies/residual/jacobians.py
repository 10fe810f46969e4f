"""Exact Jacobians of blocks before training, the gradients that pass through them, and bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.keys import role_generator, role_key
from implicit_bias.models.dense import ACTIVATIONS
from implicit_bias.runtime import compiled
from implicit_bias.studies.residual.network import Stack
from implicit_bias.studies.residual.settings import KINDS, branch
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane


@dataclass(frozen=True)
class BlockJacobians(Experiment):
    """Networks as drawn, without normalisation, in double precision.

    The Jacobian of each block is written out, ``skip · I + branch · W diag φ'(h)``, and gradients are
    automatic ones, so that neither vouches for itself. Inputs are standard normal.

    Attributes:
        depths: Blocks of the networks.
        width: Units of each hidden layer.
        inputs: Numbers in an input.
        outputs: Number of outputs.
        examples: Inputs at which Jacobians are taken.
        activation: Name of the activation.
    """

    depths: tuple[int, ...]
    width: int = 24
    inputs: int = 16
    outputs: int = 10
    examples: int = 4
    activation: str = "relu"

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        names = {
            "stack_largest": "largest singular value of ∂h_L/∂h_0, geometric mean over inputs",
            "stack_smallest": "smallest singular value of it, geometric mean over inputs",
            "stack_condition": "their ratio, geometric mean over inputs",
            "branch_norm": "ε, the largest ‖∂F/∂h‖ of a block and input",
            "bound_excess": "largest part by which singular values leave (1 − ε)^L and (1 + ε)^L",
            "exact_conditioning": "σ1/σ_median of ∂f/∂x, geometric mean over inputs",
            "passed_error": "relative error of ∇_h = (I + ∂F/∂h)ᵀ ∇_h of the block's outputs, "
            "largest",
            "weight_error": "relative error of ∇_W from ∇_h of the block's outputs, largest",
            "printed_error": "relative error of ∇_W from ∇_h of the block's inputs, largest",
        }
        return {
            name: Variable(("block_kind", "exact_depth"), "1", what) for name, what in names.items()
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Kinds of blocks, and depths."""
        return {"block_kind": tuple(KINDS), "exact_depth": self.depths}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Measure one seed."""
        rng = role_generator(seed, "data")
        x = rng.standard_normal((self.examples, self.inputs))
        labels = rng.integers(self.outputs, size=self.examples)
        cells = [
            [self.measured(kind, depth, seed, x, labels) for depth in self.depths] for kind in KINDS
        ]
        return {
            name: np.asarray([[cell[name] for cell in row] for row in cells])
            for name in self.variables
        }

    def measured(
        self, kind: str, depth: int, seed: int, x: np.ndarray, labels: np.ndarray
    ) -> dict[str, float]:
        """Measure one network; needs double precision to be switched on.

        Args:
            kind: Of its blocks.
            depth: Its blocks.
            seed: Of its parameters.
            x: Inputs, shape (n, inputs).
            labels: Classes, shape (n,).
        """
        model = Stack(self.width, depth, self.outputs, "none", self.activation)
        params, _ = model.init(role_key(seed, "initialisation"), jnp.zeros(self.inputs, np.float64))
        skip, factor = branch(kind, depth)
        weights = [np.asarray(params[f"layer_{layer}"]["weight"]) for layer in range(depth + 2)]
        found_by = _gradients(
            weights=weights,
            x=x,
            labels=labels,
            skip=skip,
            factor=factor,
            activation=self.activation,
        )
        (slopes, values), at_hidden, of_weights = jax.tree.map(np.asarray, found_by)

        found: dict[str, list[float]] = {name: [] for name in self.variables}
        identity = skip * np.eye(self.width)
        for example in range(len(x)):
            stack, norms, passed = np.eye(self.width), [], []
            for block in range(depth):
                added = factor * weights[block + 1] * slopes[block, example][None]
                norms.append(float(np.linalg.norm(added, 2)))
                before, after = at_hidden[block : block + 2, example]
                passed.append(_relative((identity + added).T @ after, before))
                stack = (identity + added) @ stack
            last = weights[-1] * slopes[depth, example][None]
            whole = np.linalg.svd(last @ stack @ weights[0], compute_uv=False)
            singular = np.linalg.svd(stack, compute_uv=False)
            epsilon = max(norms)
            found["stack_largest"].append(_log_ratio(singular[0], 1.0))
            condition = _log_ratio(singular[0], singular[-1])
            found["stack_smallest"].append(found["stack_largest"][-1] - condition)
            found["exact_conditioning"].append(_log_ratio(whole[0], float(np.median(whole))))
            found["branch_norm"].append(epsilon)
            found["bound_excess"].append(excess(singular, epsilon, depth) if skip else np.nan)
            found["passed_error"].append(max(passed))
        for block in range(depth):
            true = of_weights[block]
            for name, moved in (("weight_error", 1), ("printed_error", 0)):
                made = factor * at_hidden[block + moved].T @ values[block]
                found[name].append(_relative(made, true))
        means = {name: np.exp(np.mean(found[name])) for name in
                 ("stack_largest", "stack_smallest", "exact_conditioning")}  # fmt: skip
        return {
            **{name: float(np.max(values)) for name, values in found.items() if values},
            **means,
            "stack_condition": means["stack_largest"] / means["stack_smallest"],
        }


def _with_respect_to_all(
    weights: list[jax.Array],
    x: jax.Array,
    labels: jax.Array,
    skip: jax.Array,
    factor: jax.Array,
    activation: str,
) -> tuple[tuple[jax.Array, jax.Array], jax.Array, list[jax.Array]]:
    """Return slopes and values of the activation at hidden values, and automatic gradients.

    Args:
        weights: Of all layers, those of blocks between the first and the last.
        x: Inputs, shape (n, inputs).
        labels: Classes, shape (n,).
        skip: Factor of what blocks are given.
        factor: Factor of their branches.
        activation: Name of the activation.

    Returns:
        Slopes and values, each (depth + 1, n, width); gradients of the loss with respect to hidden values,
        (depth + 1, n, width), and to the weights of each block.
    """
    act, depth = ACTIVATIONS[activation], len(weights) - 2

    def loss(taps: jax.Array, weights: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        hidden = x @ weights[0].T + taps[0]
        seen = [hidden]
        for block in range(depth):
            added = factor * (act(hidden) @ weights[block + 1].T)
            hidden = skip * hidden + added + taps[block + 1]
            seen.append(hidden)
        outputs = act(hidden) @ weights[-1].T
        chosen = jnp.take_along_axis(outputs, labels[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(outputs, axis=1) - chosen), jnp.stack(seen)

    zero = jnp.zeros((depth + 1, x.shape[0], weights[0].shape[0]), x.dtype)
    (_, hidden), (at_hidden, of_weights) = jax.value_and_grad(loss, (0, 1), has_aux=True)(
        zero, weights
    )
    values, slopes = jax.jvp(act, (hidden,), (jnp.ones_like(hidden),))
    return (slopes, values), at_hidden, of_weights[1:-1]


# One program for each depth: all kinds of blocks share it.
_gradients = compiled(_with_respect_to_all, static=("activation",))


def excess(singular: np.ndarray, epsilon: float, depth: int) -> float:
    """Return the part by which singular values of a residual stack leave (1 − ε)^L and (1 + ε)^L.

    For ‖∂F/∂h‖ ≤ ε of every block, none is above (1 + ε)^L, and for ε < 1 none below (1 − ε)^L.

    Args:
        singular: Singular values, falling.
        epsilon: ε.
        depth: Blocks L.
    """
    over = float(singular[0] / (1 + epsilon) ** depth - 1)
    if epsilon >= 1:
        return max(over, 0.0)
    return max(over, float(1 - singular[-1] / (1 - epsilon) ** depth), 0.0)


def _relative(found: np.ndarray, true: np.ndarray) -> float:
    """Return the relative error; 0 where both are nothing, as behind units that are all off."""
    size = np.linalg.norm(true)
    apart = np.linalg.norm(found - true)
    return float(apart / size) if size else float(np.where(apart, np.inf, 0.0))


def _log_ratio(first: float, second: float) -> float:
    """Return log(first/second), the second at least what double precision resolves; NaN of nothing."""
    if not first:
        return np.nan
    return float(np.log(first / max(second, np.finfo(float).eps * first)))
