"""Between end points of one seed: the straight line, a curve of low loss; and points near the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import geometry
from implicit_bias.geometry.curves import bezier_curve, fit_bezier
from implicit_bias.keys import role_key
from implicit_bias.losses import error
from implicit_bias.studies.landscape.arms import Subject
from implicit_bias.studies.landscape.evaluation import SPLITS, Examples, stacked
from implicit_bias.training import Lane, Pool
from implicit_bias.training.experiment import Experiment
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane, Variable

PAIRS: dict[str, tuple[str, str]] = {
    "batches": ("small", "large"),
    "optimisers": ("small", "adam"),
    "initialisations": ("small", "redrawn"),
}
"""Networks that are compared, all of one seed; the first is at fraction 0."""

REACH = (-1.0, 2.0)
"""How far straight lines go beyond both ends, as Keskar et al. drew them."""


def by_arm(lanes: Sequence[Lane]) -> dict[str, Lane]:
    """Return the end points of one seed by arm.

    Raises:
        KeyError: One is not there (yet).
    """
    found = {str(lane.tags["arm"]): lane for lane in lanes}
    return {
        arm: found[arm] for arm in dict.fromkeys(arm for pair in PAIRS.values() for arm in pair)
    }


def fractions(points: int) -> tuple[float, ...]:
    """Return places between two networks."""
    return tuple(float(t) for t in np.linspace(0, 1, points))


@dataclass(frozen=True)
class Paths(Experiment):
    """Straight lines and Bezier curves between pairs of end points, and points near their beginning.

    The middle of a curve is trained on the lane's own training examples. Random points lie at given
    distances, relative to ‖θ₀‖, in directions uniform on the sphere.

    Attributes:
        subject: Network, loss and examples.
        points: Points between two networks; a straight line has as many again beyond each.
        updates: Updates of a curve.
        step_size: Of its Adam.
        batch_size: Examples in an update of it.
        radii: Distances of random points.
        nearby: Points at each.
    """

    subject: Subject
    points: int
    updates: int
    step_size: float
    batch_size: int
    radii: tuple[float, ...]
    nearby: int
    compiled: ClassVar[bool] = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        found: dict[str, Variable] = {}
        for name, dim, what in (
            ("straight", "alpha", "on the straight line"),
            ("curve", "fraction", "on the Bezier curve"),
        ):
            dims = ("pair", "split", dim)
            found[f"{name}_loss"] = Variable(dims, "nats", f"mean loss {what}")
            found[f"{name}_error"] = Variable(dims, "fraction", f"error {what}")
        near = ("radius", "point")
        return found | {
            "apart": Variable(("pair",), "parameter", "distance of the networks of a pair"),
            "nearby_loss": Variable(near, "nats", "training loss at random points near θ₀"),
            "nearby_error": Variable(near, "fraction", "training error at random points near θ₀"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Pairs, places on lines and curves, distances."""
        low, high = REACH
        # Integers first, so that both ends and the fractions between them are met exactly.
        last = self.points - 1
        steps = np.arange(round(low * last), round(high * last) + 1)
        return {
            "pair": tuple(PAIRS),
            "split": SPLITS,
            "alpha": tuple(float(step) for step in steps / last),
            "fraction": fractions(self.points),
            "radius": self.radii,
        }

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose the end points."""
        return by_arm(lanes)

    def __call__(
        self, pool: Pool, seed: jax.Array, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, jax.Array]:
        """Measure one seed."""
        one = lanes["small"]
        examples = Examples(self.subject, pool, one.examples)
        pairs = [tuple(lanes[arm].params for arm in pair) for pair in PAIRS.values()]
        key = role_key(seed, "probe")
        keys = jax.random.split(key, len(pairs) + 1)
        x, y = pool.x_train, one.examples

        def batch_loss(params: Params, key: jax.Array) -> jax.Array:
            picked = jax.random.randint(key, (self.batch_size,), 0, y.train.shape[0])
            outputs, _ = self.subject.model.apply(params, {}, x[y.train[picked]])
            return jnp.mean(self.subject.loss.per_example(outputs, y.targets[picked]))

        def between(given: tuple[Params, Params, jax.Array]) -> dict[str, jax.Array]:
            start, end, key = given
            way = jax.tree.map(jnp.subtract, end, start)
            short, ways, values = examples.cut(start, (way,))
            alpha = jnp.asarray(self.coordinates["alpha"], examples.x.dtype)
            line = geometry.line(values, short, ways[0], alpha)
            middle = fit_bezier(
                batch_loss, start, end, key, updates=self.updates, step_size=self.step_size
            ).middle
            curve = bezier_curve(examples, start, middle, end, n_points=self.points).values
            found = {f"straight_{name}": jnp.moveaxis(line[name], 0, -1) for name in line}
            found |= {f"curve_{name}": jnp.moveaxis(curve[name], 0, -1) for name in curve}
            return found | {"apart": geometry.distance(start, end)}

        starts, ends = (stacked([pair[place] for pair in pairs]) for place in (0, 1))
        found = jax.lax.map(between, (starts, ends, keys[1:]))
        return found | self._nearby(pool, one, keys[0])

    def _nearby(self, pool: Pool, lane: FinishedLane, key: jax.Array) -> dict[str, jax.Array]:
        rows = lane.examples.train[: self.subject.examples]
        x, targets = pool.x_train[rows], lane.examples.targets[: self.subject.examples]
        size = geometry.parameter_norm(lane.initial)

        def at(given: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            own, radius = given
            direction = geometry.random_direction(own, lane.initial)
            params = jax.tree.map(
                lambda leaf, way: leaf + radius * size * way, lane.initial, direction
            )
            outputs, _ = self.subject.model.apply(params, {}, x)
            losses = self.subject.loss.per_example(outputs, targets)
            return jnp.mean(losses), jnp.mean(error(outputs, targets))

        radii = jnp.repeat(jnp.asarray(self.radii, size.dtype), self.nearby)
        keys = jax.random.split(key, radii.shape[0])
        loss, wrong = jax.lax.map(at, (keys, radii))
        shape = (len(self.radii), self.nearby)
        return {"nearby_loss": loss.reshape(shape), "nearby_error": wrong.reshape(shape)}
