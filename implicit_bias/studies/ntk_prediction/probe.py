"""A network's outputs while it trains, against what kernels predict at that time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias import kernels
from implicit_bias.losses import Loss
from implicit_bias.models import Dense, Linearised, Model
from implicit_bias.models.base import evaluate
from implicit_bias.models.layers import ChainModel
from implicit_bias.training import Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.probe import ProbedLane, Variable

RIDGES = 60
"""Ridges among which the best is sought, from 10⁻⁷ to 10 times the sum of the kernel's eigenvalues."""

DIFFERENCES: dict[str, str] = {
    "own": "gradient descent with the network's own initial kernel, at equal time",
    "infinite": "gradient descent with the infinite network's kernel, at equal time",
    "own_flow": "gradient flow with the own kernel, at equal time",
    "own_printed": "that flow without the factor 1/n: n times as fast",
    "own_ridge": "ridge regression with the own kernel, at the best ridge for the time",
    "interpolant": "ridgeless regression of the labels with the infinite kernel, without f₀",
    "interpolant_from_start": "f₀ and ridgeless regression of what it leaves, infinite kernel",
}
"""What outputs are held against, by name."""


@dataclass(frozen=True)
class Predictions:
    """Mean squared differences of a lane's outputs from what kernels predict.

    All predictions start from the lane's own initial outputs, which are zero where it is centred, except
    the ridgeless regression of the labels alone. The kernel is a full one, for all pairs of outputs. What
    is predicted for all times is computed at the first probe and carried to the later ones.

    Attributes:
        dense: The network, of any width, for the infinite kernel.
        times: Updates at which lanes are probed, beginning with 0.
        n_train: Training examples of a lane.
        n_test: Test examples.
        outputs: Outputs of the network.
        input_shape: Shape of an input.
        shown: Test examples whose outputs are kept.
    """

    dense: Dense
    times: tuple[int, ...]
    n_train: int
    n_test: int
    outputs: int
    input_shape: tuple[int, ...]
    shown: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        unit, dims = "squared output", ("shown", "output")
        test = {
            name: Variable((), unit, f"mean squared difference on test examples from {what}")
            for name, what in DIFFERENCES.items()
        }
        train = {
            f"{name}_train": Variable(
                (), unit, f"mean squared difference on training examples from {DIFFERENCES[name]}"
            )
            for name in ("own", "infinite")
        }
        return {
            **test,
            **train,
            "size": Variable((), unit, "mean square of the outputs on test examples"),
            "unfinished": Variable(
                (), unit, "mean squared difference on test examples of the infinite kernel's prediction "
                "from its own limit of infinite time"
            ),
            "best_ridge": Variable((), "1", "best ridge, relative to the sum of the eigenvalues"),
            "kernel_change": Variable((), "1", "‖K − K₀‖ / ‖K₀‖ on training examples"),
            "kernel_error": Variable((), "1", "‖K₀ − K∞‖ / ‖K∞‖ on training examples"),
            "outputs": Variable(dims, "output", "outputs on the first test examples"),
            "outputs_own": Variable(dims, "output", f"the same of {DIFFERENCES['own']}"),
            "outputs_infinite": Variable(dims, "output", f"the same of {DIFFERENCES['infinite']}"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Test examples and outputs, numbered."""
        return {"shown": range(self.shown), "output": range(self.outputs)}

    def start(self, params: Params) -> Any:
        """Return zeros for what the first probe will predict."""
        dtype = jax.tree.leaves(params)[0].dtype
        n, both, k = self.n_train, self.n_train + self.n_test, self.outputs

        def array(*shape: int) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(shape, dtype)

        shapes = jax.eval_shape(
            self._predict, array(both, k, n, k), array(both, *self.input_shape), array(n, k),
            array(both, k), array(),
        )  # fmt: skip
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: ProbedLane, carried: Any
    ) -> tuple[dict[str, jax.Array], Any]:
        """Compare one lane."""
        n = self.n_train
        x = jnp.concatenate([pool.x_train[lane.examples.train], pool.x_test])
        f = evaluate(model, lane.params, lane.model_state, x)
        network, params, state = inner_network(model, lane.params, lane.model_state)

        def kernel(rows: jax.Array, columns: jax.Array | None) -> jax.Array:
            return kernels.empirical_ntk(
                network, params, rows, columns, state=state, reduce="full", method="structured"
            )

        def begin() -> dict[str, jax.Array]:
            targets = _vectors(lane.examples.targets, self.outputs, x.dtype)
            return self._predict(kernel(x, x[:n]), x, targets, f, lane.settings["step_size"])

        kept = jax.lax.cond(lane.step == 0, begin, lambda: carried)
        now = jnp.argmax(jnp.asarray(self.times, lane.step.dtype) == lane.step)
        predicted = {name: values[now] if name in _BY_TIME else values
                     for name, values in kept.items()}  # fmt: skip
        values = {
            name: jnp.mean(jnp.square(f[n:] - predicted[name]))
            for name in DIFFERENCES
            if name != "own_ridge"
        }
        for name in ("own_train", "infinite_train"):
            values[name] = jnp.mean(jnp.square(f[:n] - predicted[name]))
        gaps = jnp.mean(jnp.square(f[None, n:] - predicted["own_ridge"]), axis=(1, 2))
        values["own_ridge"] = jnp.min(gaps)
        values["best_ridge"] = _ridges(x.dtype)[jnp.argmin(gaps)]
        values["size"] = jnp.mean(jnp.square(f[n:]))
        rest = predicted["infinite"] - predicted["interpolant_from_start"]
        values["unfinished"] = jnp.mean(jnp.square(rest))
        values["kernel_change"] = _relative(kernel(x[:n], None), kept["kernel"])
        values["kernel_error"] = kept["kernel_error"]
        values["outputs"] = f[n : n + self.shown]
        for name in ("own", "infinite"):
            values[f"outputs_{name}"] = predicted[name][: self.shown]
        return values, kept

    def _predict(
        self, own: jax.Array, x: jax.Array, targets: jax.Array, began: jax.Array, step: jax.Array
    ) -> dict[str, jax.Array]:
        """Predict outputs for all times.

        Args:
            own: The network's kernel of all examples against those of training, (n + m, k, n, k).
            x: Inputs of training and test, (n + m, *features).
            targets: (n, k).
            began: Outputs at the start, (n + m, k).
            step: Step size.

        Returns:
            By name, outputs of shape (times, m, k), those of regressions without times; for ridge
            regression (ridges, m, k).
        """
        n = self.n_train
        start = {"f0_train": began[:n], "f0_test": began[n:]}
        updates = jnp.asarray(self.times, jnp.int32)
        times = step * updates.astype(step.dtype)
        limit = kernels.infinite_kernel(self.dense, self.input_shape, engine="closed form")
        train, cross = limit.block(x[:n]).ntk, limit.block(x[n:], x[:n]).ntk
        mine = {"k_test_train": own[n:], **start}
        theirs = {"k_test_train": cross, **start}
        with_own = kernels.gradient_descent(own[:n], targets, updates, step, **mine)
        with_limit = kernels.gradient_descent(train, targets, updates, step, **theirs)
        both_times = jnp.concatenate([times, n * times])
        flows = kernels.gradient_flow(own[:n], targets, both_times, **mine)
        assert with_own.test is not None
        assert with_limit.test is not None
        assert flows.test is not None
        whole = jnp.einsum("acac->", own[:n])
        ridge = jax.vmap(
            lambda part: kernels.ridge_regression(own[:n], own[n:], targets, part * whole, **start)
        )(_ridges(own.dtype))
        # One kernel for all outputs, so that both regressions are one, of twice the outputs.
        both = jnp.concatenate([targets, targets - began[:n]], axis=1)
        fitted = kernels.ridge_regression(train, cross, both, 0.0)
        apart = jnp.eye(self.outputs, dtype=own.dtype)[None, :, None, :]
        return {
            "kernel": own[:n],
            "kernel_error": _relative(own[:n], train[:, None, :, None] * apart),
            "own": with_own.test,
            "own_train": with_own.train,
            "infinite": with_limit.test,
            "infinite_train": with_limit.train,
            "own_flow": flows.test[: len(self.times)],
            "own_printed": flows.test[len(self.times) :],
            "own_ridge": ridge,
            "interpolant": fitted[:, : self.outputs],
            "interpolant_from_start": began[n:] + fitted[:, self.outputs :],
        }


_BY_TIME = frozenset({"own", "own_train", "infinite", "infinite_train", "own_flow", "own_printed"})


def inner_network(model: Any, params: Any, state: Any) -> tuple[ChainModel, Any, Any]:
    """Return the network inside a centred or linearised one, with the parameters its kernel is that of."""
    while not isinstance(model, ChainModel):
        if isinstance(model, Linearised):
            params = state["origin"]
        model, state = model.model, state["state"]
    return model, params, state


def _ridges(dtype: Any) -> jax.Array:
    return jnp.logspace(-7, 1, RIDGES, dtype=dtype)


def _vectors(targets: jax.Array, outputs: int, dtype: Any) -> jax.Array:
    """Return targets as vectors: class numbers become one-hot, as in the squared loss."""
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return jax.nn.one_hot(targets, outputs, dtype=dtype)
    return targets.astype(dtype)


def _relative(kernel: jax.Array, reference: jax.Array) -> jax.Array:
    return jnp.linalg.norm((kernel - reference).ravel()) / jnp.linalg.norm(reference.ravel())
