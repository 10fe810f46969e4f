"""Measuring the finished lanes of a stage."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np

from implicit_bias.own_code import code_identity
from implicit_bias.results.lane_store import PARAMS
from implicit_bias.studies.lanes import by_architecture
from implicit_bias.studies.workbench import Workbench
from implicit_bias.training import Lane
from implicit_bias.training.measurement import Measurement, Measurer

AT_ONCE = 64
"""Lanes whose parameters are in memory together, several times over."""


class Measuring:
    """Measures what is missing of a stage.

    Args:
        bench: Store, data, layout, progress.
        measurement: What is measured of each lane.
        preparing: Thread that compiles measuring programs.
        made_by: What else of a user's file decides what it measures, such as the settings' class.
    """

    def __init__(
        self,
        bench: Workbench,
        measurement: Measurement,
        preparing: Executor,
        made_by: Sequence[object] = (),
    ) -> None:
        self.bench, self.measurement, self.preparing = bench, measurement, preparing
        self.made_by = made_by
        self.measurers: dict[Any, Measurer] = {}

    @property
    def kind(self) -> str:
        """Name of what measuring leaves."""
        # Of a user's file the text counts too: changed, it measures anew what was measured before.
        what = repr(self.measurement) + code_identity(self.measurement, *self.made_by)
        return f"measured-{hashlib.sha256(what.encode()).hexdigest()[:8]}"

    def missing(self, lanes: Mapping[str, Lane]) -> dict[str, Lane]:
        """Return the lanes that are not measured yet."""
        have = self.bench.store.rows(self.kind, lanes)
        return {name: lane for name, lane in lanes.items() if name not in have}

    def prepare(self, lanes: Mapping[str, Lane]) -> None:
        """Start to compile the programs that lanes will need, beside their training."""
        for key, alike in by_architecture(self.missing(lanes)).items():
            if key in self.measurers:
                continue
            lane = next(iter(alike.values()))
            recipe = lane.recipe
            plan = self.bench.plan([other for other in alike.values() if other.recipe == recipe])
            self.measurers[key] = Measurer(
                self.measurement,
                self.bench.dataset,
                lane,
                devices=self.bench.devices,
                pool=self.bench.pool(recipe.dtype, self.bench.devices),
                slots=plan.programs[0].slots,
                compiling=self.preparing,
            )

    def __call__(self, name: str, lanes: Mapping[str, Lane], trained_kind: str) -> None:
        """Measure the lanes that are not measured yet.

        Args:
            name: Of the stage, for the display.
            lanes: By identity; all are trained.
            trained_kind: Name of what their training left.
        """
        missing = self.missing(lanes)
        if not missing:
            return
        self.prepare(missing)
        reporter = self.bench.reporter
        reporter.begin(f"{name}: measuring", len(missing), "lane")
        trained = self.bench.store.rows(trained_kind, missing)
        finished = 0
        for key, alike in by_architecture(missing).items():
            params = self.bench.store.rows(PARAMS, alike)
            for begin in range(0, len(alike), AT_ONCE):
                names = list(alike)[begin : begin + AT_ONCE]
                rows = {i: {**params[i], "diverged": trained[i]["diverged"]} for i in names}
                some = {i: alike[i] for i in names}
                finished = self._measure(self.measurers[key], some, rows, finished)
        reporter.end()

    def _measure(
        self,
        measurer: Measurer,
        lanes: Mapping[str, Lane],
        rows: Mapping[str, Mapping[str, np.ndarray]],
        finished: int,
    ) -> int:
        bench, names, members = self.bench, list(lanes), list(lanes.values())
        stacked = {key: np.stack([rows[i][key] for i in names]) for key in rows[names[0]]}
        params, model_state = bench.stored_tree(members[0], stacked)
        positions: list[np.ndarray] = []
        parts: list[dict[str, np.ndarray]] = []

        def flush() -> None:
            if positions:
                where = np.concatenate(positions)
                arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
                bench.store.add(self.kind, [names[row] for row in where], arrays)
                positions.clear()
                parts.clear()

        def on_chunk(chunk: np.ndarray, values: dict[str, np.ndarray]) -> None:
            nonlocal finished
            positions.append(chunk)
            parts.append(values)
            finished += len(chunk)
            bench.reporter.advance(finished)
            if bench.must_save():
                flush()
                bench.saved()

        bench.begin()
        measurer(
            members,
            params,
            model_state,
            stacked["diverged"].astype(bool),
            # Of all lanes that were trained, of which these may be a few: one program serves both.
            slots=bench.slots.get(measurer.recipe),
            on_chunk=on_chunk,
        )
        flush()
        return finished
