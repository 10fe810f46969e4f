"""Exact Jacobians of blocks before training, the gradients that pass through them, and bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.keys import ROLES, role_key
from implicit_bias.models.dense import ACTIVATIONS
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
        rng = np.random.default_rng([seed, ROLES["data"]])
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
        hidden, at_hidden, of_weights = self._gradients(weights, x, labels, skip, factor)
        slopes, values = self._activation(hidden)

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

    def _gradients(
        self,
        weights: list[np.ndarray],
        x: np.ndarray,
        labels: np.ndarray,
        skip: float,
        factor: float,
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Return hidden values, gradients with respect to them, and to the blocks' weights."""
        act, depth = ACTIVATIONS[self.activation], len(weights) - 2
        given = [jnp.asarray(weight) for weight in weights]
        zero = jnp.zeros((depth + 1, len(x), self.width), np.float64)

        def loss(taps: jax.Array, weights: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
            hidden = jnp.asarray(x) @ weights[0].T + taps[0]
            seen = [hidden]
            for block in range(depth):
                added = factor * (act(hidden) @ weights[block + 1].T)
                hidden = skip * hidden + added + taps[block + 1]
                seen.append(hidden)
            outputs = act(hidden) @ weights[-1].T
            chosen = jnp.take_along_axis(outputs, jnp.asarray(labels)[:, None], axis=1)[:, 0]
            return jnp.mean(jax.nn.logsumexp(outputs, axis=1) - chosen), jnp.stack(seen)

        (_, hidden), (at_hidden, of_weights) = jax.value_and_grad(loss, (0, 1), has_aux=True)(
            zero, given
        )
        blocks = [np.asarray(gradient) for gradient in of_weights[1:-1]]
        return np.asarray(hidden), np.asarray(at_hidden), blocks

    def _activation(self, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return slopes and values of the activation."""
        given = jnp.asarray(hidden)
        values, slopes = jax.jvp(ACTIVATIONS[self.activation], (given,), (jnp.ones_like(given),))
        return np.asarray(slopes), np.asarray(values)


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
