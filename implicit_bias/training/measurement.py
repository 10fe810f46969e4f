"""Measuring finished lanes: one compiled program, mapped over lanes, chunk after chunk.

Iterative measurements (Lanczos, power iteration) take as long as each lane needs, so lanes are never
batched with ``vmap`` here: the slowest would make all wait. Diverged lanes are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.data.dataset import Dataset
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.runtime import Layout, compiled, spread
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


def measure_lanes(
    measurement: Measurement,
    dataset: Dataset,
    lanes: Sequence[Lane],
    params: Params,
    model_state: Any,
    diverged: np.ndarray,
    *,
    devices: int,
    pools: dict[str, Pool] | None = None,
    chunk: int = 4,
    on_chunk: Callable[[np.ndarray, dict[str, np.ndarray]], None] | None = None,
) -> dict[str, np.ndarray]:
    """Measure finished lanes of equal architecture.

    Args:
        measurement: What to measure.
        dataset: What the lanes were trained on.
        lanes: Finished lanes that share model, loss, set sizes and dtype.
        params: Their parameters, lane leading.
        model_state: Their normalisation statistics, lane leading.
        diverged: (lanes,) lanes to skip; their values are NaN, 0 or False.
        devices: Devices to spread lanes over.
        pools: The dataset on the devices by dtype, filled here if missing.
        chunk: Lanes a device measures between two calls of ``on_chunk``.
        on_chunk: Called with the positions of the lanes just measured and their values.

    Returns:
        By name, values with the lane as leading axis.
    """
    first = lanes[0].recipe
    subject = _Subject(
        first.model, first.loss, first.n_train, first.n_valid, first.dtype, first.masked
    )
    pools = {} if pools is None else pools
    if first.dtype not in pools:
        pools[first.dtype] = make_pool(dataset, first.dtype, devices)
    layout = Layout("map", 1, devices)
    size = devices * max(1, min(chunk, -(-len(lanes) // devices)))
    parts: list[dict[str, np.ndarray]] = []
    for begin in range(0, len(lanes), size):
        rows = np.arange(begin, begin + size)
        present = rows < len(lanes)
        rows = np.minimum(rows, len(lanes) - 1)
        members = [lanes[int(row)] for row in rows]
        settings = {
            name: np.asarray([lane.values[name] for lane in members], first.dtype)
            for name in ENGINE_SETTINGS
        }
        mask = None
        if first.masked:
            mask = jax.tree.map(lambda *leaves: np.stack(leaves), *[m.mask for m in members])
        inputs = LaneInputs(
            np.asarray([lane.seed for lane in members], np.uint32), settings, mask
        )
        values = _measure_lanes(
            measurement=measurement,
            subject=subject,
            dataset=dataset,
            layout=layout,
            pool=pools[first.dtype],
            inputs=spread(inputs, devices),
            params=spread(jax.tree.map(lambda leaf, r=rows: leaf[r], params), devices),
            model_state=spread(jax.tree.map(lambda leaf, r=rows: leaf[r], model_state), devices),
            active=spread(present & ~diverged[rows], devices),
        )
        part = {name: np.asarray(value)[present] for name, value in values.items()}
        parts.append(part)
        if on_chunk is not None:
            on_chunk(rows[present], part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
