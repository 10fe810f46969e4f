"""What kernels predict, on the very examples that the networks of a seed were trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import kernels
from implicit_bias.models import Dense
from implicit_bias.models.layers import hidden_activations
from implicit_bias.models.width import UNITS, Padded
from implicit_bias.runtime import compiled
from implicit_bias.studies.laziness.chosen import best_time
from implicit_bias.training import Lane, Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

PREDICTORS: dict[str, str] = {
    "own kernel": "tangent kernel of the network at its start, averaged over outputs",
    "infinite kernel": "tangent kernel of infinite width",
    "last layer": "kernel of the last layer alone: the features of the start stay as they are",
}
"""What descends on the squared loss in place of a network."""

FOR_EVER = 10**9
"""Steps of descent after which it has ended: what is left of a direction is exp(−10⁹ η λ / n)."""


@dataclass(frozen=True)
class KernelPredictions(Experiment):
    """Kernel descent on the squared loss from zero, as centred networks begin, at their times.

    Each kernel is judged as a network is: at the time of least validation error among the same times, and
    after as many steps. ``limit`` is ridgeless regression, where descent ends.

    Attributes:
        model: The network, of any width.
        width: Width of the sweeps, whose network at α = 1 gives the kernels of its start.
        widths: Widths whose trained networks are held against the infinite-width kernel.
        step_size: At α = 1.
        times: Updates of the evaluations.
        n_test: Test examples.
    """

    model: Dense
    width: int
    widths: tuple[int, ...]
    step_size: float
    times: tuple[int, ...]
    n_test: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        each, wrong = ("predictor",), ("predictor", "test_example")
        return {
            "kernel_best_update": Variable(each, "updates", "time of least validation error"),
            "kernel_best_error": Variable(each, "fraction", "test error at that time"),
            "kernel_end_error": Variable(each, "fraction", "test error after all updates"),
            "kernel_limit_error": Variable(each, "fraction", "test error of ridgeless regression"),
            "kernel_best_wrong": Variable(wrong, "1", "mistakes at the chosen time"),
            "kernel_end_wrong": Variable(wrong, "1", "mistakes after all updates"),
            "infinite_distance": Variable(
                ("kernel_width",), "1", "mean squared difference of a test output, trained network and "
                "descent with the infinite-width kernel, relative to the latter's mean square"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Kernels, widths, and test examples by their number."""
        return {
            "predictor": tuple(PREDICTORS),
            "kernel_width": self.widths,
            "test_example": tuple(range(self.n_test)),
        }

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose the networks at α = 1: of the sweeps' width, and of each other."""
        found = {
            lane.tags["hidden_width"]: lane
            for lane in lanes
            if lane.tags.get("arm") == "width"
            or (lane.tags.get("arm") == "alpha" and lane.values["alpha"] == 1)
        }
        return {str(width): found[width] for width in sorted({*self.widths, self.width})}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Predict for one seed."""
        del seed
        examples = lanes[str(self.width)].examples
        x, x_valid, x_test = (
            _double(part)
            for part in (pool.x_train[examples.train], pool.x_train[examples.valid], pool.x_test)
        )
        asked = jnp.concatenate([x_valid, x_test])
        y_valid, y_test = pool.y_train[examples.valid], np.asarray(pool.y_test)
        targets = jnp.asarray(np.eye(self.model.outputs)[np.asarray(examples.targets)])
        networks = {
            width: jax.tree.map(_double, (lane.initial, lane.params, lane.model_state["state"]))
            for width, lane in lanes.items()
        }
        found, trained = jax.tree.map(
            np.asarray, _compiled(self=self, networks=networks, x=x, asked=asked, targets=targets)
        )
        held = len(y_valid)
        rows = [self._judge(found[name], np.asarray(y_valid), y_test) for name in PREDICTORS]
        reference = found["infinite kernel"][len(self.times) - 1, held:]
        gaps = [trained[str(width)][held:] - reference for width in self.widths]
        return {
            **{name: np.stack([row[name] for row in rows]) for name in rows[0]},
            "infinite_distance": np.asarray([np.mean(g**2) / np.mean(reference**2) for g in gaps]),
        }

    def courses(
        self, networks: Mapping[str, Any], x: jax.Array, asked: jax.Array, targets: jax.Array
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """Return what kernels predict, and what the networks came to.

        Args:
            networks: By width, initial and final parameters and state.
            x: Training inputs.
            asked: Other inputs.
            targets: Training targets, (n, outputs).

        Returns:
            By kernel, outputs for the other inputs at every time and at the end of all, (times + 1, asked,
            outputs); by width, the trained network's outputs less those of its start, (asked, outputs).
        """
        model, initial, state = self._network(networks[str(self.width)])
        inputs, n = jnp.concatenate([x, asked]), len(x)
        features = hidden_activations(model, initial, state, inputs)[-1]
        weight, bias = _last_multipliers(model, state, x.shape[1:])
        given = {
            "own kernel": kernels.empirical_ntk(model, initial, inputs, x, state=state),
            "infinite kernel": kernels.infinite_kernel(self.model, engine="closed form")
            .block(inputs, x)
            .ntk,
            "last layer": weight**2 * features @ features[:n].T + bias**2,
        }
        steps = jnp.asarray([*self.times, FOR_EVER], jnp.int32)

        def descend(kernel: jax.Array) -> jax.Array:
            found = kernels.gradient_descent(
                kernel[:n], targets, steps, self.step_size, k_test_train=kernel[n:]
            ).test
            assert found is not None
            return found

        # One after the other in one program.
        found = jax.lax.map(descend, jnp.stack([given[name] for name in PREDICTORS]))
        trained = {}
        for width, (first, last, kept) in networks.items():
            own, _, _ = self._network((first, last, kept))
            trained[width] = own.apply(last, kept, asked)[0] - own.apply(first, kept, asked)[0]
        return dict(zip(PREDICTORS, found, strict=True)), trained

    def _network(self, given: tuple[Any, Any, Any]) -> tuple[Dense | Padded, Any, Any]:
        """Return a network as it was trained, padded or not, with the parameters of its start."""
        initial, _, state = given
        full = initial["layer_0"]["weight"].shape[0]
        dense = dataclasses.replace(self.model, widths=(full,))
        return (Padded(dense) if UNITS in state else dense), initial, state

    def _judge(
        self, course: np.ndarray, y_valid: np.ndarray, y_test: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Judge a course of outputs on validation and test examples."""
        held, tested = course[:-1, : len(y_valid)], course[:, len(y_valid) :]
        error = (held.argmax(axis=2) != y_valid[None, :]).mean(axis=1)
        far = held - np.eye(course.shape[2])[y_valid][None]
        best = best_time(error, (far**2).sum(axis=2).mean(axis=1) / 2)
        wrong = (tested.argmax(axis=2) != y_test[None, :]).astype(float)
        return {
            "kernel_best_update": np.float64(self.times[best]),
            "kernel_best_error": wrong[best].mean(),
            "kernel_end_error": wrong[-2].mean(),
            "kernel_limit_error": wrong[-1].mean(),
            "kernel_best_wrong": wrong[best],
            "kernel_end_wrong": wrong[-2],
        }


def _last_multipliers(
    model: Dense | Padded, state: Any, input_shape: tuple[int, ...]
) -> tuple[Any, Any]:
    """Return what the last layer's weights and biases are multiplied by."""
    layer = model.weight_layers(input_shape)[-1]
    padded = state.get("multipliers", {}).get(layer.name)
    return padded["weight"] if padded else layer.weight_multiplier, layer.bias_multiplier


_compiled = compiled(KernelPredictions.courses, static=("self",))
"""All that is computed of a seed, as one program for all seeds."""


def _double(array: Any) -> jax.Array:
    return jnp.asarray(np.asarray(array, np.float64))
