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
from implicit_bias.models.width import UNITS, Padded
from implicit_bias.runtime import compiled
from implicit_bias.studies.ntk_width.slopes import WIDTH
from implicit_bias.training import Lane, Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

FOR_EVER = 10**9
"""Steps of descent after which it has ended: what is left of a direction is exp(−10⁹ η λ / n)."""


@dataclass(frozen=True)
class KernelPredictions(Experiment):
    """Kernel descent on the squared loss, with the infinite-width kernel and with each network's own.

    At a network's own time, the number of its updates at its step size, and for ever, which is ridgeless
    kernel regression. A network's kernel is that of its initial parameters, averaged over outputs. All
    functions start at zero, those of the networks by being centred.

    Attributes:
        model: The network inside the centred one, in its NTK parameterisation, of any width.
        widths: Widths of the networks.
        step_size: Their step size.
        updates: Their updates.
        run: Whether there are such networks; where not, nothing is compared (NaN).
    """

    model: Dense
    widths: tuple[int, ...]
    step_size: float
    updates: int
    run: bool = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        each = ("kernel_width",)
        between = "mean squared difference of a test output, trained network and descent with"
        return {
            "infinite_error": Variable((), "fraction", "test error, infinite-width kernel, same time"),
            "infinite_error_limit": Variable((), "fraction", "test error, infinite-width kernel, end"),
            "own_error": Variable(each, "fraction", "test error, initial kernel, same time"),
            "own_error_limit": Variable(each, "fraction", "test error, initial kernel, end"),
            "infinite_distance": Variable(
                each, "squared output", f"{between} the infinite-width kernel"
            ),
            "own_distance": Variable(each, "squared output", f"{between} its initial kernel"),
            "kernel_error": Variable(
                each, "1", "‖K₀ − K∞‖ / ‖K∞‖ of the training set, trace-reduced"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Widths of the networks."""
        return {"kernel_width": self.widths}

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose the network of each width; none where arm ntk is not run."""
        found = {lane.tags[WIDTH]: lane for lane in lanes if lane.tags.get("arm") == "ntk"}
        return {str(width): found[width] for width in self.widths} if self.run else {}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Compare one seed's networks with what kernels predict."""
        del seed
        if not self.run:
            lengths = {"kernel_width": len(self.widths)}
            return {
                name: np.full([lengths[dim] for dim in variable.dims], np.nan)
                for name, variable in self.variables.items()
            }
        given = lanes[str(self.widths[0])].examples
        x, x_test = _double(pool.x_train[given.train]), _double(pool.x_test)
        targets = np.eye(self.model.outputs)[given.targets]
        limit, limit_test = _infinite(self.model, x, x_test)
        infinite = self._functions(limit, limit_test, targets)
        rows = []
        for width in self.widths:
            own, own_test, trained = self._network(lanes[str(width)], x, x_test)
            functions = self._functions(own, own_test, targets)
            rows.append(
                {
                    "own_error": _error(functions[0], pool.y_test),
                    "own_error_limit": _error(functions[1], pool.y_test),
                    "own_distance": np.mean((trained - functions[0]) ** 2),
                    "infinite_distance": np.mean((trained - infinite[0]) ** 2),
                    "kernel_error": np.linalg.norm(own - limit) / np.linalg.norm(limit),
                }
            )
        return {
            "infinite_error": _error(infinite[0], pool.y_test),
            "infinite_error_limit": _error(infinite[1], pool.y_test),
            **{name: np.asarray([row[name] for row in rows]) for name in rows[0]},
        }

    def _network(
        self, lane: FinishedLane, x: jax.Array, x_test: jax.Array
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a network's initial kernel, (n, n) and (m, n), and its trained outputs, (m, k)."""
        initial, final = (jax.tree.map(_double, tree) for tree in (lane.initial, lane.params))
        state = jax.tree.map(_double, lane.model_state["state"])
        full = initial["layer_0"]["weight"].shape[0]
        dense = dataclasses.replace(self.model, widths=(full,) * len(self.model.widths))
        model = Padded(dense) if UNITS in state else dense
        found = _evaluated(model, state, initial, final, x, x_test)
        train, test, trained = map(np.asarray, found)
        return train, test, trained

    def _functions(self, k_train: Any, k_test: Any, targets: np.ndarray) -> np.ndarray:
        """Follow descent from zero: test outputs at the networks' time and at the end, (2, m, k)."""
        steps = (self.updates, FOR_EVER)
        return np.asarray(_descended(k_train, k_test, targets, self.step_size, steps))


def _evaluate(
    model: Padded | Dense, state: Any, initial: Any, final: Any, x: jax.Array, x_test: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    def kernel(*inputs: jax.Array) -> jax.Array:
        return kernels.empirical_ntk(model, initial, *inputs, state=state, method="structured")

    before, after = (model.apply(params, state, x_test)[0] for params in (initial, final))
    return kernel(x), kernel(x_test, x), after - before


def _limit(model: Dense, x: jax.Array, x_test: jax.Array) -> tuple[jax.Array, jax.Array]:
    kernel = kernels.infinite_kernel(model, engine="closed form")
    return kernel(x).ntk, kernel(x_test, x).ntk


def _descend(
    k_train: jax.Array,
    k_test: jax.Array,
    targets: jax.Array,
    step_size: float,
    steps: tuple[int, ...],
) -> jax.Array | None:
    return kernels.gradient_descent(
        k_train, targets, jnp.asarray(steps), step_size, k_test_train=k_test
    ).test


# Seed after seed runs the same programs, which operation by operation would take seconds to compile.
_evaluated = compiled(_evaluate, static=("model",))
_infinite = compiled(_limit, static=("model",))
_descended = compiled(_descend, static=("steps",))


def _double(array: Any) -> jax.Array:
    return jnp.asarray(np.asarray(array, np.float64))


def _error(outputs: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(outputs.argmax(axis=1) != labels))
