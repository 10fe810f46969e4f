"""Measuring finished lanes: one compiled program, mapped over lanes, chunk after chunk.

Iterative measurements (Lanczos, power iteration) take as long as each lane needs, so lanes are never
batched with ``vmap`` here: the slowest would make all wait. Diverged lanes are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.data.dataset import Dataset
from implicit_bias.errors import UserError
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.runtime import Layout, abstract_spread, compiled, spread
from implicit_bias.training.lane import LaneExamples, LaneInputs, LaneState, Params, Pool
from implicit_bias.training.lanes import over_lanes
from implicit_bias.training.probe import Variable as Variable
from implicit_bias.training.programs import Subject, beginning, draw_examples, drawing, start_lanes
from implicit_bias.training.recipe import Lane, Recipe
from implicit_bias.training.slots import make_pool, stack_beginnings


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
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        ...

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Values along each dimension of its own."""
        ...

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        ...


def _measure(
    measurement: Measurement,
    subject: Subject,
    layout: Layout,
    pool: Pool,
    lanes: FinishedLane,
    active: jax.Array,
) -> dict[str, jax.Array]:
    def one(pool: Pool, given: tuple[FinishedLane, jax.Array]) -> dict[str, jax.Array]:
        lane, active = given

        def run() -> dict[str, jax.Array]:
            values = measurement(subject.model, subject.loss, pool, lane)
            check_returned(measurement, values)
            return values

        def skip() -> dict[str, jax.Array]:
            return jax.tree.map(_missing, jax.eval_shape(run))

        return jax.lax.cond(active, run, skip)

    return over_lanes(one, layout)(pool, (lanes, active))


class Declaring(Protocol):
    """What says which numbers it returns: a measurement, or an experiment."""

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is returned, with dimensions and units."""

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Values along each dimension."""


def check_returned(declaring: Declaring, values: object) -> None:
    """Refuse what a measurement or an experiment returns if it is not what its variables say.

    Called before anything is stored, and where a program is compiled while it is traced: a number of the
    wrong shape in the store would stand in the way of the mended study.

    Args:
        declaring: Its variables and coordinates say what is allowed.
        values: What it returned of one lane or seed; arrays or their abstract values.

    Raises:
        UserError: It is no dictionary, a variable is missing, or has another shape than its dimensions.
    """
    name = type(declaring).__qualname__
    if not isinstance(values, Mapping):
        raise UserError(
            f"{name} returns {type(values).__name__}; return a dict of its variables, "
            f"{', '.join(declaring.variables)}"
        )
    missing = [one for one in declaring.variables if one not in values]
    if missing:
        raise UserError(
            f"{name} returns {', '.join(values) or 'nothing'}, and its variables name "
            f"{', '.join(missing)} too; return it, or take it out of variables"
        )
    for one, variable in declaring.variables.items():
        shape = np.shape(values[one])
        sizes = [len(declaring.coordinates.get(dim, ())) for dim in variable.dims]
        # A dimension without coordinates may have any size.
        fits = len(shape) == len(sizes) and all(
            size in (0, own) for size, own in zip(sizes, shape, strict=True)
        )
        if not fits:
            listed = ", ".join(
                f"{dim} of {size}" if size else dim
                for dim, size in zip(variable.dims, sizes, strict=True)
            )
            wanted = f"the dimensions {listed}" if listed else "no dimensions: a single number"
            raise UserError(
                f"{name} returns {one} of shape {shape}, and its Variable has {wanted}; "
                "return that shape, or name the dimensions in Variable and coordinates"
            )


def _missing(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    empty = jnp.nan if jnp.issubdtype(leaf.dtype, jnp.floating) else 0
    return jnp.full(leaf.shape, empty, leaf.dtype)


_measure_lanes = compiled(_measure, static=("measurement", "subject", "layout"))


class Measurer:
    """A measuring program for lanes of equal architecture.

    Compiling takes a while and needs no lanes, so it starts at once in a thread of its own: made before
    training, the program is ready after it. With what a lane began is not measured but drawn again, by
    the programs that training uses.

    Args:
        measurement: What to measure.
        dataset: What the lanes are trained on.
        lane: Any lane; model, loss, set sizes and dtype are taken from it.
        devices: Devices to spread lanes over.
        pool: The dataset on the devices; made here if not given.
        chunk: Lanes a device measures in one call.
        slots: Lanes whose beginning a device draws in one call. Where training has as many slots, its
            programs serve here too.
        compiling: Thread that compiles, to put several programs in one queue; made here if not given.
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
        slots: int = 4,
        compiling: Executor | None = None,
    ) -> None:
        recipe = lane.recipe
        self.recipe, self.dataset, self.layout = recipe, dataset, Layout("map", 1, devices)
        self.size, self.drawn = devices * chunk, devices * slots
        self.pool = make_pool(dataset, recipe.dtype, devices) if pool is None else pool
        subject = Subject(recipe.model, recipe.loss)
        self._begin = partial(begin_lanes, recipe, dataset, self.pool, self.layout)

        def compile_program() -> Callable[..., dict[str, jax.Array]]:
            lanes = [lane] * self.size
            seeds: Any = np.zeros(self.size, np.uint32)
            examples, state = jax.eval_shape(lambda: self._begin(lanes, self.size))
            finished = FinishedLane(seeds, examples, state.params, state.model_state, state.params)
            program: Callable[..., dict[str, jax.Array]] = _measure_lanes.lower(  # type: ignore[attr-defined]
                measurement=measurement,
                subject=subject,
                layout=self.layout,
                pool=self.pool,
                lanes=abstract_spread(finished, devices),
                active=spread(np.zeros(self.size, bool), devices),
            ).compile()
            return program

        self._program = (compiling or ThreadPoolExecutor(1)).submit(compile_program)

    def __call__(
        self,
        lanes: Sequence[Lane],
        params: Params,
        model_state: Any,
        diverged: np.ndarray,
        *,
        slots: int | None = None,
        on_chunk: Callable[[np.ndarray, dict[str, np.ndarray]], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Measure finished lanes.

        Args:
            lanes: Lanes like the one this was made for.
            params: Their parameters, lane leading.
            model_state: Their normalisation statistics, lane leading.
            diverged: (lanes,) lanes to skip; their values are NaN, 0 or False.
            slots: Lanes whose beginning all devices draw in one call, a multiple of them, where training
                turned out to have others than this was made with.
            on_chunk: Called with the positions of the lanes just measured and their values.

        Returns:
            By name, values with the lane as leading axis.
        """
        program = self._program.result()
        drawn = self.drawn if slots is None else slots
        parts: list[dict[str, np.ndarray]] = []
        for first in range(0, len(lanes), drawn):
            block = lanes[first : first + drawn]
            seeds: Any = np.asarray([lane.seed for lane in block], np.uint32)
            examples, state = jax.tree.map(np.asarray, self._begin(block, drawn))
            own = slice(first, first + len(block))
            ended, ended_state = jax.tree.map(lambda leaf, o=own: leaf[o], (params, model_state))
            everything = FinishedLane(seeds, examples, ended, ended_state, state.params)
            for begin in range(0, len(block), self.size):
                rows = np.arange(begin, begin + self.size)
                present = rows < len(block)
                rows = np.minimum(rows, len(block) - 1)
                chunk = jax.tree.map(lambda leaf, r=rows: leaf[r], everything)
                values = program(
                    pool=self.pool,
                    lanes=spread(chunk, self.layout.devices),
                    active=spread(present & ~diverged[first + rows], self.layout.devices),
                )
                part = {name: np.asarray(value)[present] for name, value in values.items()}
                parts.append(part)
                if on_chunk is not None:
                    on_chunk(first + rows[present], part)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def begin_lanes(
    recipe: Recipe,
    dataset: Dataset,
    pool: Pool,
    layout: Layout,
    lanes: Sequence[Lane],
    slots: int,
) -> tuple[LaneExamples, LaneState]:
    """Draw again what lanes began with: their examples and initial states.

    Args:
        recipe: Recipe of any of the lanes; their architectures and set sizes are equal.
        dataset: What they are trained on.
        pool: The dataset on the devices.
        layout: Where they stand.
        lanes: At most ``slots`` lanes.
        slots: Lanes drawn in one call, a multiple of the devices; what is left over is empty.

    Returns:
        Examples and states, slot leading.
    """
    padded = [*lanes, *[lanes[0]] * (slots - len(lanes))]
    # Optimisers may differ between lanes, and no beginning depends on them.
    defaults = recipe.beginning.setting_defaults()
    settings = {
        name: np.asarray(
            [lane.values[name] if name in recipe.initial_settings else default for lane in padded],
            recipe.dtype,
        )
        for name, default in defaults.items()
    }
    seeds = np.asarray([lane.seed for lane in padded], np.uint32)
    inputs = spread(LaneInputs(seeds, settings, *stack_beginnings(padded)), layout.devices)
    present = spread(np.arange(slots) < len(lanes), layout.devices)
    return (
        draw_examples(**drawing(recipe, layout, dataset, inputs, present)),
        start_lanes(**beginning(recipe, layout, pool, inputs, present)),
    )
