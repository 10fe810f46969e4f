"""Planes that are not random: along eigenvectors of the Hessian, and along the way of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import curvature, geometry
from implicit_bias.keys import role_key
from implicit_bias.studies.landscape.arms import STATION, Subject
from implicit_bias.studies.landscape.evaluation import SPLITS, Examples, scaled, stacked
from implicit_bias.training import Lane, Pool
from implicit_bias.training.experiment import Experiment
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane, Variable
from implicit_bias.training.weighted import weighted_loss

SIDE = 1.25
"""Half the side of the plane of the way, in units of the snapshot that is farthest along each axis."""


@dataclass(frozen=True)
class SpecialPlanes(Experiment):
    """Two planes through the end point of ``small``: of the top eigenvectors, and of the way there.

    The way is its beginning, what it was at the stations, and its end; its plane is that of the
    two principal components of their differences to the end. The control, a random walk of as many steps,
    has a closed form: ``walk_explained``.

    Attributes:
        subject: Network, loss and examples.
        stations: Epochs of the stations.
        grid: Points along each axis.
        reach: Half the side of the eigenvector plane, in parameters.
        max_products: Hessian-vector products.
    """

    subject: Subject
    stations: tuple[float, ...]
    grid: int
    reach: float
    max_products: int
    compiled: ClassVar[bool] = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "eigen_plane": Variable(
                ("split", "e1", "e2"), "nats", "loss over the plane of the two top eigenvectors"
            ),
            "eigenvalues": Variable(
                ("top",), "nats per squared parameter", "largest eigenvalues of the training loss"
            ),
            "eigen_residuals": Variable(
                ("top",), "nats per squared parameter", "‖Hv − λv‖ of them"
            ),
            "way_plane": Variable(
                ("split", "c1", "c2"), "nats", "loss over the plane of the way's components"
            ),
            "way": Variable(
                ("snapshot", "component"), "1", "places of the snapshots in that plane"
            ),
            "way_reach": Variable(
                ("component",), "parameter", "distance of the farthest snapshot along each axis"
            ),
            "way_explained": Variable(
                ("component",), "fraction", "of the squared distances to the end"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Places along both planes."""
        axis = np.linspace(-1, 1, self.grid)
        along = tuple(float(place) for place in SIDE * axis)
        eigen = tuple(float(place) for place in self.reach * axis)
        return {
            "split": SPLITS,
            "e1": eigen,
            "e2": eigen,
            "c1": along,
            "c2": along,
            "top": (1, 2),
            "component": (1, 2),
        }

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose the end point and its stations, earliest first."""
        small = next((lane for lane in lanes if lane.tags["arm"] == "small"), None)
        stations = [lane for lane in lanes if lane.tags["arm"] == STATION]
        if small is None or len(stations) < len(self.stations):
            raise KeyError(STATION)
        stations.sort(key=lambda lane: lane.budget.updates)
        return {"end": small} | {f"station {n}": lane for n, lane in enumerate(stations)}

    def __call__(
        self, pool: Pool, seed: jax.Array, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, jax.Array]:
        """Measure one seed."""
        end = lanes["end"]
        between = [lanes[f"station {n}"].params for n in range(len(self.stations))]
        snapshots = stacked([end.initial, *between, end.params])
        way = geometry.trajectory_pca(snapshots)
        far = jnp.max(jnp.abs(way.coordinates), axis=0)
        far = jnp.where(far > 0, far, jnp.ones_like(far))
        top, unravel = self._top(pool, end, role_key(seed, "probe"))
        eigen = geometry.eigenvector_directions(top.vectors, unravel)
        parts = [jax.tree.map(lambda leaf, n=n: leaf[n], way.directions) for n in (0, 1)]
        planes = stacked(
            [
                tuple(scaled(direction, self.reach) for direction in eigen),
                tuple(scaled(part, SIDE * far[n]) for n, part in enumerate(parts)),
            ]
        )
        examples = Examples(self.subject, pool, end.examples)
        axis = jnp.asarray(np.linspace(-1, 1, self.grid), examples.x.dtype)

        def look(directions: tuple[Params, Params]) -> jax.Array:
            short, ways, values = examples.cut(end.params, directions)
            found: jax.Array = geometry.plane(
                lambda tree: values(tree)["loss"], short, ways, axis, axis
            )
            return found

        over = jnp.moveaxis(jax.lax.map(look, planes), -1, 1)
        return {
            "eigen_plane": over[0],
            "eigenvalues": top.values,
            "eigen_residuals": top.residuals,
            "way_plane": over[1],
            "way": way.coordinates / far[None, :],
            "way_reach": far,
            "way_explained": way.explained,
        }

    def _top(self, pool: Pool, lane: FinishedLane, key: jax.Array) -> tuple[Any, Any]:
        weighted = weighted_loss(self.subject.model, self.subject.loss, lane.model_state)
        n = self.subject.examples
        data = (pool.x_train[lane.examples.train[:n]], lane.examples.targets[:n])
        hessian, unravel = curvature.hessian(weighted, lane.params, data)
        found = curvature.lanczos(hessian, key, k=2, max_products=self.max_products)
        return found, unravel


def walk_explained(steps: int, components: int = 2) -> np.ndarray:
    """Return what a random walk's first components explain of its squared distances to its end.

    Of equal independent steps in many dimensions: the inner products of places, seen from the end, tend
    to ``min(i, j)``, whose eigenvalues are known.

    Args:
        steps: From the first snapshot to the last.
        components: How many.

    Returns:
        Fractions, shape (components,).

    References:
        Antognini & Sohl-Dickstein, *PCA of high dimensional random walks with comparison to neural
        network training* (2018), for the observation that such a walk looks low-dimensional.
    """
    index = np.arange(1, steps + 1)
    values = 1 / (4 * np.sin((2 * index - 1) * np.pi / (2 * (2 * steps + 1))) ** 2)
    return (values / values.sum())[:components]
