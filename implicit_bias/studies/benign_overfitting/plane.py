"""Fifty points of a square with true or with random labels, and a network of fifty thousand parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import losses
from implicit_bias.data.batches import epoch_batch, epoch_order, updates_per_epoch
from implicit_bias.keys import role_key
from implicit_bias.models import Dense
from implicit_bias.models.base import evaluate
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

LABELS: dict[str, str] = {
    "true": "1 where the first coordinate is positive",
    "random": "0 or 1, equally likely, drawn for each point by itself",
}
"""What is learnt, on the same points."""

STARTS = ("uniform", "he")
"""Starts of a network: PyTorch's default, uniform within ±1/√fan-in for weights and biases; and He's."""


LOSS = losses.get("cross_entropy")


class Schedule(NamedTuple):
    """How long and how fast a network is trained, by SGD with momentum.

    Attributes:
        start: Where from, of ``STARTS``.
        step_size: Step size.
        momentum: Heavy-ball momentum.
        epochs: Passes over the points.
        falling: Whether the step size falls linearly to zero, epoch by epoch, or stays.
    """

    start: str
    step_size: float
    momentum: float
    epochs: int
    falling: bool = False


@dataclass(frozen=True)
class Plane(Experiment):
    """Dense ReLU networks on points drawn uniformly from [−1, 1]², cross-entropy of two outputs.

    Points, random labels and initial draws are those of the seed in all schedules. Accuracies are taken at
    the same fractions of every schedule.

    Attributes:
        points: Training points.
        tests: Fresh points that are tested.
        widths: Hidden widths.
        batch_size: Points in an update; the last batch of an epoch is what is left.
        schedules: By name.
        fractions: Of each schedule's epochs, at which accuracies are taken; increasing, the last is 1.
        grid: Places along each side at which the confidence is taken at the end.
    """

    points: int
    tests: int
    widths: tuple[int, ...]
    batch_size: int
    schedules: tuple[tuple[str, Schedule], ...]
    fractions: tuple[float, ...]
    grid: int

    @property
    def compiled(self) -> bool:
        """Traced: one program for all seeds."""
        return True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        runs = ("schedule", "plane_labels")
        logged = (*runs, "plane_probe")
        return {
            "plane_epoch": Variable(("schedule", "plane_probe"), "epochs", "epochs at the probe"),
            "plane_train": Variable(logged, "fraction", "training labels fitted"),
            "plane_rule": Variable(logged, "fraction", "accuracy on fresh points, labels of the rule"),
            "plane_own": Variable(
                logged, "fraction", "accuracy on fresh points, labels drawn as the training labels are"
            ),
            "plane_confidence": Variable(
                (*runs, "vertical", "horizontal"), "1", "probability given to class 1"
            ),
            "plane_points": Variable(("point", "axis"), "1", "the training points"),
            "plane_labels_drawn": Variable(("plane_labels", "point"), "1", "their labels"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Schedules, labels, probes, places."""
        places = tuple(float(place) for place in np.linspace(-1, 1, self.grid))
        return {
            "schedule": tuple(name for name, _ in self.schedules),
            "plane_labels": tuple(LABELS),
            "plane_probe": self.fractions,
            "vertical": places,
            "horizontal": places,
            "point": tuple(range(self.points)),
            "axis": ("first", "second"),
        }

    @property
    def epochs(self) -> np.ndarray:
        """Epochs at the probes of each schedule, (schedules, probes), whole."""
        most = np.asarray([schedule.epochs for _, schedule in self.schedules])
        return np.round(np.asarray(self.fractions)[None, :] * most[:, None]).astype(np.int32)

    def __call__(
        self, pool: Pool, seed: Any, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Train one seed by all schedules, on both kinds of labels."""
        del lanes
        dtype = pool.x_train.dtype
        points, fresh, coin, fresh_coin = jax.random.split(role_key(seed, "data"), 4)
        x = jax.random.uniform(points, (self.points, 2), dtype, -1, 1)
        tests = jax.random.uniform(fresh, (self.tests, 2), dtype, -1, 1)
        labels = jnp.stack([rule(x), _coins(coin, self.points)])
        own_tests = jnp.stack([rule(tests), _coins(fresh_coin, self.tests)])
        kinds, count = len(LABELS), len(self.schedules)
        schedules = [one for _, one in self.schedules]
        starts = jnp.asarray([STARTS.index(one.start) for one in schedules], jnp.int32)
        fall = [one.falling / one.epochs for one in schedules]
        numbers = jnp.asarray(
            [[one.step_size, one.momentum, by] for one, by in zip(schedules, fall, strict=True)],
            dtype,
        )
        runs = (
            *(
                jnp.repeat(part, kinds, axis=0)
                for part in (starts, numbers, jnp.asarray(self.epochs))
            ),
            *(jnp.tile(part, (count, 1)) for part in (labels, own_tests)),
        )
        # One run after another, so that the updates are compiled once.
        right, sure = jax.lax.map(lambda run: self._train(seed, x, tests, *run), runs)
        right = right.reshape(count, kinds, len(self.fractions), 3)
        return {
            "plane_epoch": jnp.asarray(self.epochs, dtype),
            "plane_train": right[..., 0],
            "plane_rule": right[..., 1],
            "plane_own": right[..., 2],
            "plane_confidence": sure.reshape(count, kinds, self.grid, self.grid),
            "plane_points": x,
            "plane_labels_drawn": labels.astype(dtype),
        }

    def _train(
        self, seed: Any, x: jax.Array, tests: jax.Array, start: jax.Array, numbers: jax.Array,
        epochs: jax.Array, labels: jax.Array, own_tests: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:  # fmt: skip
        """Train one network; return its accuracies, (probes, 3), and its confidences on the grid."""
        net, order_key = Dense(self.widths, 2), role_key(seed, "data_order")
        length = updates_per_epoch(self.points, self.batch_size)
        begun = starting_points(net, role_key(seed, "initialisation"), x[0])
        params = jax.tree.map(lambda *leaves: jnp.stack(leaves)[start], *begun)

        def loss(params: Any, rows: jax.Array, weights: jax.Array) -> jax.Array:
            return LOSS.mean(evaluate(net, params, {}, x[rows]), labels[rows], weights)

        def epoch(number: jax.Array, state: Any) -> Any:
            order = epoch_order(order_key, number, self.points)
            step_size = numbers[0] * (1 - numbers[2] * number.astype(x.dtype))

            def update(position: jax.Array, state: Any) -> Any:
                params, velocity = state
                batch = epoch_batch(order, position, self.batch_size, dtype=x.dtype)
                slope = jax.grad(loss)(params, *batch)
                velocity = jax.tree.map(lambda v, g: numbers[1] * v + g, velocity, slope)
                return jax.tree.map(lambda p, v: p - step_size * v, params, velocity), velocity

            return jax.lax.fori_loop(0, length, update, state)

        def until(carry: Any, then: jax.Array) -> Any:
            done, state = carry
            state = jax.lax.fori_loop(done, then, epoch, state)
            outputs = evaluate(net, state[0], {}, jnp.concatenate([x, tests]))
            said = jnp.argmax(outputs, axis=1).astype(labels.dtype)
            fitted, told = said[: self.points] == labels, said[self.points :]
            right = [
                jnp.mean(hit.astype(x.dtype))
                for hit in (fitted, told == rule(tests), told == own_tests)
            ]
            return (then, state), jnp.stack(right)

        first = (jnp.zeros_like(epochs[0]), (params, jax.tree.map(jnp.zeros_like, params)))
        (_, (params, _)), right = jax.lax.scan(until, first, epochs)
        places = jnp.linspace(-1, 1, self.grid, dtype=x.dtype)
        asked = jnp.stack([part.ravel() for part in jnp.meshgrid(places, places)], axis=1)
        outputs = evaluate(net, params, {}, asked)
        return right, jax.nn.softmax(outputs, axis=1)[:, 1].reshape(self.grid, self.grid)


def rule(x: jax.Array) -> jax.Array:
    """Return the true labels of points (n, 2): 1 where the first coordinate is positive."""
    return (x[:, 0] > 0).astype(jnp.int32)


def _coins(key: jax.Array, count: int) -> jax.Array:
    return jax.random.bernoulli(key, 0.5, (count,)).astype(jnp.int32)


def starting_points(net: Dense, key: jax.Array, example: jax.Array) -> list[Any]:
    """Draw initial parameters in every way of ``STARTS``.

    Args:
        net: The network.
        key: Random key.
        example: One input.
    """
    he, _ = net.init(key, example)
    uniform = {}
    for number, (name, layer) in enumerate(he.items()):
        bound = 1 / math.sqrt(layer["weight"].shape[1])
        draws = jax.random.split(jax.random.fold_in(key, number))
        uniform[name] = {
            part: jax.random.uniform(draw, layer[part].shape, example.dtype, -bound, bound)
            for draw, part in zip(draws, ("weight", "bias"), strict=True)
        }
    return [uniform, he]
