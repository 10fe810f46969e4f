"""Measuring finished lanes: one compiled program, mapped over lanes, chunk after chunk.

Iterative measurements (Lanczos, power iteration) take as long as each lane needs, so lanes are never
batched with ``vmap`` here: the slowest would make all wait. Diverged lanes are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.data.dataset import Dataset
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.runtime import Layout, abstract_spread, compiled, spread
from implicit_bias.training.lane import (
    LaneExamples,
    LaneInputs,
    Params,
    Pool,
    initial_parameters,
    lane_examples,
)
from implicit_bias.training.lanes import over_lanes
from implicit_bias.training.recipe import ENGINE_SETTINGS, Lane
from implicit_bias.training.train import make_pool


class Variable(NamedTuple):
    """How a measured quantity is stored: dimensions beside the lane, units, and what it is."""

    dims: tuple[str, ...]
    units: str
    long_name: str


class FinishedLane(NamedTuple):
    """What a measurement sees of one lane; ``initial`` are its parameters before training."""

    seed: jax.Array
    examples: LaneExamples
    params: Params
    model_state: Any
    initial: Params


class Measurement(Protocol):
    """A measurement of one finished lane: a frozen, hashable record that is called.

    Attributes:
        variables: What :meth:`__call__` returns, by name.
        coordinates: Values along each dimension other than the lane.
    """

    @property
    def variables(self) -> Mapping[str, Variable]: ...  # noqa: D102

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]: ...  # noqa: D102

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        ...


@dataclass(frozen=True)
class _Subject:
    """The static half of what is measured: the parts of a recipe that matter after training."""

    model: Model
    loss: Loss
    n_train: int
    n_valid: int
    dtype: str
    masked: bool


def _measure(
    measurement: Measurement,
    subject: _Subject,
    dataset: Dataset,
    layout: Layout,
    pool: Pool,
    inputs: LaneInputs,
    params: Params,
    model_state: Any,
    active: jax.Array,
) -> dict[str, jax.Array]:
    def one(pool: Pool, lane: Any) -> dict[str, jax.Array]:
        inputs, params, model_state, active = lane

        def run() -> dict[str, jax.Array]:
            examples = lane_examples(dataset, subject.n_train, subject.n_valid, inputs)
            initial, _ = initial_parameters(subject.model, pool.x_train[0], inputs)
            finished = FinishedLane(inputs.seed, examples, params, model_state, initial)
            return measurement(subject.model, subject.loss, pool, finished)

        def skip() -> dict[str, jax.Array]:
            return jax.tree.map(_missing, jax.eval_shape(run))

        return jax.lax.cond(active, run, skip)

    return over_lanes(one, layout)(pool, (inputs, params, model_state, active))


def _missing(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    empty = jnp.nan if jnp.issubdtype(leaf.dtype, jnp.floating) else 0
    return jnp.full(leaf.shape, empty, leaf.dtype)


_measure_lanes = compiled(_measure, static=("measurement", "subject", "dataset", "layout"))


class Measurer:
    """A measuring program for lanes of equal architecture.

    Compiling takes a while and needs no lanes, so it starts at once in a thread of its own: made before
    training, the program is ready after it.

    Args:
        measurement: What to measure.
        dataset: What the lanes are trained on.
        lane: Any lane; model, loss, set sizes and dtype are taken from it.
        devices: Devices to spread lanes over.
        pool: The dataset on the devices; made here if not given.
        chunk: Lanes a device measures in one call.
    """

    def __init__(
        self,
        measurement: Measurement,
        dataset: Dataset,
        lane: Lane,
        *,
        devices: int,
        pool: Pool | None = None,
        chunk: int = 4,
    ) -> None:
        recipe = lane.recipe
        self.recipe, self.devices, self.size = recipe, devices, devices * chunk
        self.pool = make_pool(dataset, recipe.dtype, devices) if pool is None else pool
        subject = _Subject(
            recipe.model, recipe.loss, recipe.n_train, recipe.n_valid, recipe.dtype, recipe.masked
        )
        rows = [lane] * self.size
        shapes = jax.eval_shape(
            lambda x, inputs: jax.vmap(lambda one: initial_parameters(recipe.model, x, one))(
                inputs
            ),
            self.pool.x_train[0],
            self._inputs(rows),
        )
        lowered = _measure_lanes.lower(  # type: ignore[attr-defined]
            measurement=measurement,
            subject=subject,
            dataset=dataset,
            layout=Layout("map", 1, devices),
            pool=self.pool,
            inputs=spread(self._inputs(rows), devices),
            params=abstract_spread(shapes[0], devices),
            model_state=abstract_spread(shapes[1], devices),
            active=spread(np.zeros(self.size, bool), devices),
        )
        self._program = ThreadPoolExecutor(1).submit(lowered.compile)

    def __call__(
        self,
        lanes: Sequence[Lane],
        params: Params,
        model_state: Any,
        diverged: np.ndarray,
        *,
        on_chunk: Callable[[np.ndarray, dict[str, np.ndarray]], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Measure finished lanes.

        Args:
            lanes: Lanes like the one this was made for.
            params: Their parameters, lane leading.
            model_state: Their normalisation statistics, lane leading.
            diverged: (lanes,) lanes to skip; their values are NaN, 0 or False.
            on_chunk: Called with the positions of the lanes just measured and their values.

        Returns:
            By name, values with the lane as leading axis.
        """
        program = self._program.result()
        parts: list[dict[str, np.ndarray]] = []
        for begin in range(0, len(lanes), self.size):
            rows = np.arange(begin, begin + self.size)
            present = rows < len(lanes)
            rows = np.minimum(rows, len(lanes) - 1)
            values = program(
                pool=self.pool,
                inputs=spread(self._inputs([lanes[int(row)] for row in rows]), self.devices),
                params=spread(jax.tree.map(lambda leaf, r=rows: leaf[r], params), self.devices),
                model_state=spread(
                    jax.tree.map(lambda leaf, r=rows: leaf[r], model_state), self.devices
                ),
                active=spread(present & ~diverged[rows], self.devices),
            )
            part = {name: np.asarray(value)[present] for name, value in values.items()}
            parts.append(part)
            if on_chunk is not None:
                on_chunk(rows[present], part)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _inputs(self, lanes: Sequence[Lane]) -> LaneInputs:
        values = [lane.values for lane in lanes]
        settings = {
            name: np.asarray([value[name] for value in values], self.recipe.dtype)
            for name in ENGINE_SETTINGS
        }
        mask = None
        if self.recipe.masked:
            mask = jax.tree.map(lambda *leaves: np.stack(leaves), *[lane.mask for lane in lanes])
        return LaneInputs(np.asarray([lane.seed for lane in lanes], np.uint32), settings, mask)
