"""Weights of finished lanes, for the rounds that are made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from implicit_bias.results.lane_store import PARAMS
from implicit_bias.runtime import Layout
from implicit_bias.studies.workbench import Workbench
from implicit_bias.training import Lane
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import begin_lanes


class Weights:
    """Weights that earlier stages and rounds of a run left.

    Args:
        bench: Store, data, layout; None before a run, when there are no weights.
        seeds: Of this run, or of this shard.

    Attributes:
        seeds: Of this run, or of this shard. Only lanes of these are trained, and have weights.
        notes: What a round leaves for those after it, so that they need not make it again from the weights;
            empty in the first round.
    """

    def __init__(self, bench: Workbench | None, seeds: Sequence[int]) -> None:
        self.bench, self.seeds = bench, tuple(seeds)
        self.notes: dict[Any, Any] = {}
        self._rounds: list[frozenset[str]] = []
        self._rows: dict[str, dict[str, np.ndarray]] = {}

    def add(self, identities: Iterable[str]) -> None:
        """Note that lanes were trained together; they are read together."""
        self._rounds.append(frozenset(identities))

    def __call__(self, lane: Lane) -> Params:
        """Return the last parameters of a lane, NumPy arrays; not a number where it diverged.

        Raises:
            KeyError: No earlier stage or round trained it.
        """
        bench = self._begun()
        return bench.stored_tree(lane, self._row(bench, lane))[0]

    def initial(self, lane: Lane) -> Params:
        """Return the parameters that a lane begins with, NumPy arrays."""
        bench, recipe = self._begun(), lane.recipe
        layout = Layout("map", 1, bench.devices)
        pool = bench.pool(recipe.dtype, layout.devices)
        slots = bench.slots.get(recipe, layout.devices)
        _, state = begin_lanes(recipe, bench.dataset, pool, layout, [lane], slots)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[0], state.params)

    def _begun(self) -> Workbench:
        if self.bench is None:
            raise KeyError("before a run there are no weights")
        return self.bench

    def _row(self, bench: Workbench, lane: Lane) -> Mapping[str, Any]:
        identity = lane.identity(bench.dataset.checksum)
        if identity not in self._rows:
            # The lanes of one round are in memory at a time.
            together = next((ids for ids in reversed(self._rounds) if identity in ids), None)
            if together is None:
                raise KeyError(f"no earlier round trained the lane {identity} of seed {lane.seed}")
            self._rows = bench.store.rows(PARAMS, together)
        return self._rows[identity]
