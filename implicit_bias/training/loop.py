"""Host-side bookkeeping of one chunk: which lanes run, what they logged, where they stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from implicit_bias.training.budget import Until
from implicit_bias.training.lane import LaneState
from implicit_bias.training.programs import Evaluation
from implicit_bias.training.recipe import Lane, Recipe
from implicit_bias.training.records import Snapshot, Trained

LOGGED = Evaluation._fields
"""Names of the quantities logged at probes."""


class Loop:
    """Host-side bookkeeping of one chunk: which lanes run, what they logged."""

    def __init__(
        self,
        recipe: Recipe,
        lanes: Sequence[Lane],
        slots: np.ndarray,
        resume: Snapshot | None,
    ) -> None:
        self.recipe, self.lanes, self.slots = recipe, tuple(lanes), slots
        n_probes = max((len(lane.probes) for lane in lanes), default=0)
        self.present = slots >= 0
        chosen = [lanes[max(slot, 0)] for slot in slots]
        self.stops = np.asarray([lane.budget.updates for lane in chosen])
        self.targets = np.asarray(
            [
                np.nan if lane.budget.target_loss is None else lane.budget.target_loss
                for lane in chosen
            ]
        )
        self.until = [lane.budget.until for lane in chosen]
        # A lane without a target is never evaluated against one.
        never = np.iinfo(np.int64).max
        self.every = np.asarray([lane.budget.evaluate_every or never for lane in chosen])
        self.probes = np.full((len(slots), n_probes), -1)
        for slot, lane in enumerate(chosen):
            self.probes[slot, : len(lane.probes)] = lane.probes
        self.first = recipe.first_update
        if resume is None:
            self.step = self.first
            self.finished = ~self.present
            self.diverged = np.zeros(len(slots), bool)
            self.reached = np.zeros(len(slots), bool)
            self.updates = np.full(len(slots), self.first)
            self.stop_loss = np.full(len(slots), np.nan)
            self.logs = np.full((len(slots), n_probes, len(LOGGED)), np.nan)
            self.probed: dict[str, np.ndarray] = {}
        else:
            self.step = resume.step
            self.finished = resume.finished.copy()
            self.diverged = resume.diverged.copy()
            self.reached = resume.reached.copy()
            self.updates = resume.updates.copy()
            self.stop_loss = resume.stop_loss.copy()
            self.logs = resume.logs.copy()
            self.probed = {name: values.copy() for name, values in resume.probed.items()}

    def next_event(self) -> int:
        """Return the next update after which some running lane must be looked at."""
        active = ~self.finished
        events = [self.stops[active].min()]
        probes = self.probes[active]
        later = probes[probes > self.step]
        if later.size:
            events.append(later.min())
        # Lanes may evaluate at different intervals: the nearest multiple of any of them.
        intervals = np.unique(self.every[active])
        events.append(((self.step // intervals + 1) * intervals).min())
        return int(min(events))

    def advance(self, step: int, finite: np.ndarray) -> None:
        """Move running lanes to a step; those whose parameters are no longer finite are lost."""
        active = ~self.finished
        self.step = step
        self.updates[active] = step
        lost = active & ~finite
        self.diverged |= lost
        self.finished |= lost

    def due(self) -> np.ndarray:
        """Return, slot by slot, whether a running lane has a probe at this update."""
        due: np.ndarray = ((self.probes == self.step) & (~self.finished)[:, None]).any(axis=1)
        return due

    def record(self, values: np.ndarray, probed: Mapping[str, np.ndarray]) -> None:
        """Keep what was logged and probed of the slots that are due."""
        slot, probe = np.nonzero((self.probes == self.step) & (~self.finished)[:, None])
        self.logs[slot, probe] = values[slot]
        for name, found in probed.items():
            if name not in self.probed:
                shape = (*self.probes.shape, *found.shape[1:])
                self.probed[name] = np.full(shape, np.nan, found.dtype)
            self.probed[name][slot, probe] = found[slot]
        for row, column in zip(slot, probe, strict=True):
            if any(stop.met(self._seen(stop, int(row), int(column))) for stop in self.until[row]):
                self.reached[row] = self.finished[row] = True
                self.stop_loss[row] = self.logs[row, column, LOGGED.index("train_loss")]

    def _seen(self, stop: Until, slot: int, probe: int) -> np.ndarray:
        if stop.quantity in LOGGED:
            return self.logs[slot, probe, LOGGED.index(stop.quantity)]
        return self.probed[stop.quantity][slot, probe]

    def check_targets(self, evaluate: Callable[[np.ndarray, bool], np.ndarray]) -> None:
        """Stop the lanes that met their target loss, where they are to be evaluated now."""
        due = (self.step % self.every == 0) | (self.step == self.stops)
        due &= ~self.finished & ~np.isnan(self.targets)
        if due.any():
            loss = evaluate(due, True)[:, 0]
            met = due & (loss <= self.targets)
            self.reached |= met
            self.stop_loss[met] = loss[met]
            self.finished |= met

    def stop_at_budget(self) -> None:
        """Stop the lanes that have run all their updates."""
        self.finished |= self.step >= self.stops

    def done(self) -> int:
        """Return the updates done, a finished lane counting as whole."""
        ended = np.where(self.finished, self.stops, self.updates)
        return int((ended - self.first)[self.present].sum())

    def total(self) -> int:
        """Return the updates of all lanes."""
        return int((self.stops - self.first)[self.present].sum())

    def snapshot(self, state: LaneState, carried: Any) -> Snapshot:
        """Copy everything to the host."""
        return Snapshot(
            step=self.step,
            state=jax.tree.map(np.array, state),
            finished=self.finished.copy(),
            diverged=self.diverged.copy(),
            reached=self.reached.copy(),
            updates=self.updates.copy(),
            stop_loss=self.stop_loss.copy(),
            logs=self.logs.copy(),
            probed={name: values.copy() for name, values in self.probed.items()},
            carried=jax.tree.map(np.array, carried),
        )

    def trained(self, state: LaneState) -> Trained:
        """Return the finished lanes in the order they were given."""
        # The slot of each lane, in the order the lanes were given.
        slot_of = np.empty(len(self.lanes), np.int64)
        slot_of[self.slots[self.present]] = np.flatnonzero(self.present)
        diverged = self.diverged[slot_of]

        def gather(leaf: jax.Array) -> np.ndarray:
            rows = np.array(np.asarray(leaf)[slot_of])
            if np.issubdtype(rows.dtype, np.floating):
                # Where exactly a lost lane was stopped depends on the segments; its values must not.
                rows[diverged] = np.nan
            return rows

        return Trained(
            lanes=self.lanes,
            params=jax.tree.map(gather, state.params),
            model_state=jax.tree.map(gather, state.model_state),
            updates=np.where(diverged, 0, self.updates[slot_of]),
            diverged=diverged,
            reached=self.reached[slot_of],
            stop_loss=self.stop_loss[slot_of],
            log_steps=self.probes[slot_of],
            logs={name: self.logs[slot_of, :, i] for i, name in enumerate(LOGGED)},
            probed={name: values[slot_of] for name, values in self.probed.items()},
        )
