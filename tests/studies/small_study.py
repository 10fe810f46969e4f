"""A small study with all that the runner has to handle; tests load it as a user's file.

Two stages, the second choosing from the first; lanes that two arms share; a lane that diverges; a
target loss; a cheap measurement with a dimension of its own; a probe that carries something; an experiment
between lanes, and one of the seed alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.results.claims import Claim, Finding
from implicit_bias.studies import Stage, Study, StudySettings, Trials
from implicit_bias.studies.settings import DataSettings, ModelSettings
from implicit_bias.training import Budget, Lane, Pool, Recipe
from implicit_bias.training.measurement import FinishedLane, Variable
from implicit_bias.training.probe import ProbedLane

if TYPE_CHECKING:
    import xarray as xr

GRID = (0.01, 0.1)


class SmallSettings(StudySettings):
    """Twelve updates of three hidden units."""

    seeds: int = 2
    data: DataSettings = DataSettings(n_train=24, n_valid=8, n_test=20)
    model: ModelSettings = ModelSettings(widths=(3,))
    updates: int = 12


def _recipe(settings: SmallSettings, dataset: Dataset) -> Recipe:
    return Recipe(
        model=settings.model.build(dataset.n_outputs),
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get("heavy_ball"),
        schedule=optimizers.Schedule(),
        batch_size=8,
        n_train=settings.data.sizes(dataset)[0],
        n_valid=settings.data.n_valid,
        dtype=settings.dtype,
    )


def search(settings: SmallSettings, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return two step sizes for each seed."""
    recipe, updates = _recipe(settings, dataset), settings.updates
    return [
        Lane(recipe, seed, {"step_size": step}, Budget(updates), (updates,), {"arm": "search"})
        for seed in range(settings.seeds)
        for step in GRID
    ]


def best(result: xr.Dataset) -> dict[int, float]:
    """Return each seed's step size of least validation loss."""
    rows = result.isel(lane=np.flatnonzero(result["stage"].values == "search"))
    loss = rows["log_valid_loss"].values[:, 0]
    chosen: dict[int, float] = {}
    for index in np.argsort(loss):
        chosen.setdefault(int(rows["seed"][index]), float(rows["step_size"][index]))
    return chosen


def arms(settings: SmallSettings, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return arms that chose, repeat that choice, diverge and stop at a target loss."""
    recipe, updates = _recipe(settings, dataset), settings.updates
    chosen = {} if earlier is None else best(earlier)
    plain, probes = Budget(updates), (0, updates // 2, updates)
    lanes = [
        Lane(recipe, seed, {"step_size": chosen[seed]}, plain, probes, {"arm": arm})
        for arm in ("chosen", "again")
        for seed in sorted(chosen)
    ]
    for seed in range(settings.seeds):
        hot = {"step_size": 1e30}
        lanes.append(Lane(recipe, seed, hot, plain, probes, {"arm": "hot"}))
        target = Budget(updates, 2.2, 2)
        lanes.append(Lane(recipe, seed, {"step_size": 0.05}, target, (0,), {"arm": "target"}))
    return lanes


@dataclass(frozen=True)
class Norms:
    """Norms of the layers and distance from the start."""

    factor: float = 1.0

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured."""
        return {
            "moved": Variable((), "parameter", "distance from the initial parameters"),
            "norms": Variable(("layer",), "parameter", "norm of each layer"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Layers."""
        return {"layer": ("first", "second")}

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        difference = jax.tree.map(jnp.subtract, lane.params, lane.initial)
        layers = [jax.tree.leaves(lane.params[name]) for name in sorted(lane.params)]
        squares = [sum(jnp.sum(leaf**2) for leaf in layer) for layer in layers]
        moved = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(difference))
        return {"moved": self.factor * jnp.sqrt(moved), "norms": jnp.sqrt(jnp.stack(squares))}


@dataclass(frozen=True)
class Path:
    """Length of the path through the probed iterates; carries the last of them."""

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is probed."""
        return {"path": Variable((), "parameter", "length of the path so far")}

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """None."""
        return {}

    def start(self, params: Any) -> Any:
        """Return the start of the path."""
        return params, jnp.zeros((), jax.tree.leaves(params)[0].dtype)

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: ProbedLane, carried: Any
    ) -> tuple[dict[str, jax.Array], Any]:
        """Add the distance from the last probe."""
        last, length = carried
        steps = jax.tree.leaves(jax.tree.map(jnp.subtract, lane.params, last))
        length = length + jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in steps))
        return {"path": length}, (lane.params, length)


@dataclass(frozen=True)
class Between:
    """How far two lanes of a seed are apart, layer by layer; compiled."""

    compiled: bool = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured."""
        return {
            "apart": Variable(("layer",), "parameter", "distance of the layers of two lanes"),
            "same_start": Variable((), "1", "whether they began alike, on the same examples"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Layers, as for the norms."""
        return {"layer": ("first", "second")}

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose by arm."""
        by_arm = {lane.tags["arm"]: lane for lane in lanes}
        return {"one": by_arm["chosen"], "other": by_arm["target"]}

    def __call__(
        self, pool: Pool, seed: jax.Array, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, jax.Array]:
        """Measure one seed."""
        one, other = lanes["one"], lanes["other"]
        difference = jax.tree.map(jnp.subtract, one.params, other.params)
        layers = [jax.tree.leaves(difference[name]) for name in sorted(difference)]
        squares = jnp.stack([sum(jnp.sum(leaf**2) for leaf in layer) for layer in layers])
        alike = [
            jnp.all(a == b)
            for a, b in zip(
                jax.tree.leaves((one.initial, one.examples, one.seed)),
                jax.tree.leaves((other.initial, other.examples, seed)),
                strict=True,
            )
        ]
        return {
            "apart": jnp.sqrt(squares),
            "same_start": jnp.all(jnp.stack(alike)).astype(squares.dtype),
        }


@dataclass(frozen=True)
class Exact:
    """A number of the seed alone, in plain Python and double precision."""

    compiled: bool = False
    variables: ClassVar = {"third": Variable((), "1", "one third of the seed")}
    coordinates: ClassVar[Mapping[str, Sequence[Any]]] = {}

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Need none."""
        return {}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Divide."""
        return {"third": jnp.asarray(seed, float) / 3}


def count(result: xr.Dataset) -> Finding:
    """Count seeds."""
    return Finding("supported", n_seeds=len(np.unique(result["seed"])))


STUDY = Study(
    name="small-study",
    title="All that a runner must handle",
    settings=SmallSettings,
    stages=(
        Stage("search", search, measured=False),
        Stage("arms", arms),
        Trials("between", lambda settings, dataset: Between()),
        Trials("exact", lambda settings, dataset: Exact()),
    ),
    claims=(Claim("small.count", "identity", "none", "There are seeds", None, "some", count),),
    measurement=lambda settings, dataset: Norms(),
    probe=lambda settings, dataset: Path(),
)
