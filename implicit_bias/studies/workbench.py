"""What all that works on a run shares: data on the devices, finished lanes, progress, interruption."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from implicit_bias.data import Dataset
from implicit_bias.results.lane_store import MODEL_STATE, PARAMS, LaneStore, leaves_of
from implicit_bias.studies.elapsed import Elapsed
from implicit_bias.studies.interrupts import Interrupts
from implicit_bias.studies.record import How
from implicit_bias.studies.reporter import Reporter
from implicit_bias.training import Lane, Plan, Pool, make_plan
from implicit_bias.training.lane import LaneInputs, initial_parameters
from implicit_bias.training.recipe import Recipe
from implicit_bias.training.slots import make_pool

DRAWN_MEMORY = 64 * 2**20
"""Bytes of slots up to which partners of experiments are drawn again in as many as training has: most
of them are empty then, which costs less than another program."""

CHECKPOINT_SECONDS = 5.0
"""Work lost at most when a run is killed, beside the segment that was running."""


@dataclass
class Workbench:
    """Shared by training, measuring and trying.

    Attributes:
        store: Finished lanes.
        dataset: What lanes train on.
        how: Layout and memory.
        reporter: Where progress goes.
        interrupted: Set when the run should end after what runs now.
        elapsed: The time that the run has taken.
        slots: By recipe, the slots of its program as last planned, where all of them together take no more
            than ``DRAWN_MEMORY``.
    """

    store: LaneStore
    dataset: Dataset
    how: How
    reporter: Reporter
    interrupted: Interrupts
    elapsed: Elapsed
    slots: dict[Recipe, int] = field(default_factory=dict)
    _pools: dict[str, Pool] = field(default_factory=dict)
    _saved: float = field(default_factory=time.perf_counter)

    @property
    def devices(self) -> int:
        """Devices used."""
        return self.how.devices or jax.device_count()

    def pool(self, dtype: str, devices: int) -> Pool:
        """Return the dataset on the devices; it is placed once."""
        key = f"{dtype} {devices}"
        if key not in self._pools:
            self._pools[key] = make_pool(self.dataset, dtype, devices)
        return self._pools[key]

    def plan(self, lanes: Sequence[Lane]) -> Plan:
        """Plan lanes as this run is to be run."""
        plan = make_plan(lanes, self.dataset, **dataclasses.asdict(self.how))
        for program in plan.programs:
            slots = program.slots * program.layout.devices
            shared = program.layout.devices == self.devices
            if shared and slots * program.lane_bytes <= DRAWN_MEMORY:
                self.slots[program.recipe] = slots
        return plan

    def must_save(self) -> bool:
        """Say whether what is done should be saved now: it has been a while, or the run is to end."""
        late = time.perf_counter() - self._saved > CHECKPOINT_SECONDS
        return late or self.interrupted.is_set()

    def saved(self) -> None:
        """Note that everything is saved now, and when, and end the run if it is to end.

        Raises:
            KeyboardInterrupt: The run is to end.
        """
        self.begin()
        self.elapsed.note()
        if self.interrupted.is_set():
            raise KeyboardInterrupt

    def begin(self) -> None:
        """Note that there is nothing to save now."""
        self._saved = time.perf_counter()

    def stored_tree(self, lane: Lane, row: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
        """Return stored parameters and model state of a lane, or of lanes stacked, as the model takes them.

        Args:
            lane: The lane, or any of the same architecture.
            row: Its stored arrays by name.
        """
        recipe = lane.recipe
        inputs = LaneInputs(
            np.uint32(0),
            {name: np.asarray(value, recipe.dtype) for name, value in lane.values.items()},
            lane.mask,
        )
        example = np.zeros(self.dataset.input_shape, recipe.dtype)
        shapes = jax.eval_shape(
            lambda example, inputs: initial_parameters(recipe.model, example, inputs),
            example,
            inputs,
        )
        params, model_state = (
            jax.tree.unflatten(jax.tree.structure(shape), leaves_of(prefix, row))
            for prefix, shape in zip((PARAMS, MODEL_STATE), shapes, strict=True)
        )
        return params, model_state
