"""Experiments: what is measured once a seed, alone or between finished lanes of that seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.data.dataset import Dataset
from implicit_bias.runtime import Layout, abstract_spread, compiled, spread
from implicit_bias.training.lane import Params, Pool
from implicit_bias.training.lanes import over_lanes
from implicit_bias.training.measurement import FinishedLane, begin_lanes, check_returned
from implicit_bias.training.probe import Variable as Variable
from implicit_bias.training.recipe import Lane, Recipe
from implicit_bias.training.slots import make_pool

POLL_SECONDS = 0.01
"""How often a compiled experiment is asked whether it is done."""


class Experiment(Protocol):
    """Something measured once a seed: base of frozen, hashable records that are called.

    What it returns may depend on the seed, the data and its partners, and on nothing else: seeds can be
    spread over machines.

    Attributes:
        compiled: Whether the call is traced, compiled, and spread over devices. Otherwise it is called seed
            by seed as plain Python, with NumPy arrays, a Python integer for the seed, and float64
            enabled: for exact references, and for solvers that are not JAX. So it is unless this is
            overridden.
        variables: What :meth:`__call__` returns, by name, each of a floating-point type.
        coordinates: Values along each dimension; none unless this is overridden.
    """

    @property
    def compiled(self) -> bool:
        """Whether a call is compiled."""
        return False

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        ...

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Values along each dimension of its own."""
        return {}

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose the lanes that are compared, of all of one seed; none unless this is overridden.

        Raises:
            KeyError: A lane is not there (yet).
        """
        del lanes
        return {}

    def __call__(
        self, pool: Pool, seed: Any, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Measure one seed; ``lanes`` holds the partners by the same names."""
        ...


class Partner(NamedTuple):
    """A finished lane as it was stored: what it was, and its last parameters and model state."""

    lane: Lane
    params: Params
    model_state: Any


def _run(
    experiment: Experiment,
    layout: Layout,
    pool: Pool,
    seeds: jax.Array,
    lanes: Mapping[str, FinishedLane],
    active: jax.Array,
) -> dict[str, jax.Array]:
    def one(pool: Pool, given: Any) -> dict[str, jax.Array]:
        seed, lanes, active = given

        def run() -> dict[str, jax.Array]:
            values = experiment(pool, seed, lanes)
            check_returned(experiment, values)
            return {name: values[name] for name in experiment.variables}

        def skip() -> dict[str, jax.Array]:
            shapes = jax.eval_shape(run)
            return {n: jnp.full(leaf.shape, jnp.nan, leaf.dtype) for n, leaf in shapes.items()}

        return jax.lax.cond(active, run, skip)

    return over_lanes(one, layout)(pool, (seeds, lanes, active))


_run_experiment = compiled(_run, static=("experiment", "layout"))


class Experimenter:
    """An experiment, ready to be run on many seeds.

    A compiled experiment is compiled at once, in a thread, from lanes like those that it will compare.

    Args:
        experiment: What to do.
        dataset: The data of its study.
        partners: Of any seed, as :meth:`Experiment.partners` names them; all seeds' are alike.
        devices: Devices to spread seeds over.
        dtype: Floating-point type of an experiment without partners.
        pool: The dataset on the devices, of the dtype; made here if not given.
        slots: By recipe, slots in which the beginnings of partners are drawn again, a multiple of the
            devices: where training has as many, its program serves here too.
        compiling: Thread that compiles; made here if not given.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        partners: Mapping[str, Lane],
        *,
        devices: int,
        dtype: str = "float32",
        pool: Pool | None = None,
        slots: Mapping[Recipe, int] | None = None,
        compiling: Executor | None = None,
    ) -> None:
        self.experiment, self.dataset = experiment, dataset
        self.slots: Mapping[Recipe, int] = slots or {}
        self.layout = Layout("map", 1, devices)
        self.pool = make_pool(dataset, dtype, devices) if pool is None else pool
        self._program: Any = None
        if experiment.compiled:
            self._program = (compiling or ThreadPoolExecutor(1)).submit(self._compile, partners)

    @property
    def at_once(self) -> int:
        """Seeds of one call."""
        return self.layout.devices if self.experiment.compiled else 1

    def __call__(
        self,
        seeds: Sequence[int],
        partners: Sequence[Mapping[str, Partner]],
        usable: Sequence[bool],
    ) -> dict[str, np.ndarray]:
        """Run the experiment for at most :attr:`at_once` seeds.

        Args:
            seeds: The seeds.
            partners: Of each seed, the finished lanes by name.
            usable: Whether a seed's partners are all finite; where not, its values are NaN.

        Returns:
            By name, values with the seed as leading axis.

        Raises:
            UserError: The experiment does not return what its variables say.
        """
        if self.experiment.compiled:
            return self._call_program(seeds, partners, usable)
        return self._call_python(int(seeds[0]), partners[0], usable[0])

    def _call_program(
        self,
        seeds: Sequence[int],
        partners: Sequence[Mapping[str, Partner]],
        usable: Sequence[bool],
    ) -> dict[str, np.ndarray]:
        size, count = self.layout.devices, len(seeds)
        rows = [*range(count), *[0] * (size - count)]
        lanes = {
            name: self._finished([partners[row][name] for row in rows]) for name in partners[0]
        }
        values = self._program.result()(
            pool=self.pool,
            seeds=spread(np.asarray([seeds[row] for row in rows], np.uint32), size),
            lanes=spread(lanes, size),
            active=spread(np.asarray([*usable, *[False] * (size - count)]), size),
        )
        # Python heeds no signal within a wait of JAX's, and this one can take minutes.
        while not all(value.is_ready() for value in values.values()):
            time.sleep(POLL_SECONDS)
        return {name: np.asarray(value)[:count] for name, value in values.items()}

    def _call_python(
        self, seed: int, partners: Mapping[str, Partner], usable: bool
    ) -> dict[str, np.ndarray]:
        experiment = self.experiment
        if not usable:
            lengths = {name: len(values) for name, values in experiment.coordinates.items()}
            return {
                name: np.full((1, *(lengths[dim] for dim in variable.dims)), np.nan)
                for name, variable in experiment.variables.items()
            }
        lanes = {
            name: jax.tree.map(
                lambda leaf: leaf[0], self._finished([partner] * self.layout.devices)
            )
            for name, partner in partners.items()
        }
        pool: Pool = jax.tree.map(np.asarray, self.pool)
        # The one place where seeds are measured in double precision within a float32 run: references.
        with jax.enable_x64(True):
            values = experiment(pool, seed, lanes)
        check_returned(experiment, values)
        return {name: np.asarray(values[name])[None] for name in experiment.variables}

    def _finished(self, partners: Sequence[Partner]) -> FinishedLane:
        """Stack the same partner of several seeds, as many as there are devices."""
        lanes = [partner.lane for partner in partners]
        recipe, count = lanes[0].recipe, len(lanes)
        slots = max(count, self.slots.get(recipe, count))
        drawn = begin_lanes(recipe, self.dataset, self.pool, self.layout, lanes, slots)
        params, model_state = (
            jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
            for trees in (
                [partner.params for partner in partners],
                [partner.model_state for partner in partners],
            )
        )
        seeds: Any = np.asarray([lane.seed for lane in lanes], np.uint32)
        examples, state = jax.tree.map(lambda leaf: np.asarray(leaf)[:count], drawn)
        return FinishedLane(seeds, examples, params, model_state, state.params)

    def _compile(self, partners: Mapping[str, Lane]) -> Callable[..., dict[str, jax.Array]]:
        size = self.layout.devices
        seeds: Any = np.zeros(size, np.uint32)

        def alike(lane: Lane) -> FinishedLane:
            examples, state = jax.eval_shape(
                lambda: begin_lanes(
                    lane.recipe, self.dataset, self.pool, self.layout, [lane] * size, size
                )
            )
            return FinishedLane(seeds, examples, state.params, state.model_state, state.params)

        program: Callable[..., dict[str, jax.Array]] = _run_experiment.lower(  # type: ignore[attr-defined]
            experiment=self.experiment,
            layout=self.layout,
            pool=self.pool,
            seeds=spread(seeds, size),
            lanes=abstract_spread({name: alike(lane) for name, lane in partners.items()}, size),
            active=spread(np.zeros(size, bool), size),
        ).compile()
        return program
