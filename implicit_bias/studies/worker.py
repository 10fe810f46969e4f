"""Doing what is missing of a run, stage after stage, and putting the result together."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from implicit_bias.data import Dataset
from implicit_bias.results import provenance
from implicit_bias.results.assemble import Row, assemble
from implicit_bias.results.lane_store import LaneStore
from implicit_bias.results.trials import Trial
from implicit_bias.studies.base import Rounds, Stage, Study, Trials
from implicit_bias.studies.elapsed import Elapsed
from implicit_bias.studies.interrupts import Interrupts
from implicit_bias.studies.lanes import of_shard, unique_lanes
from implicit_bias.studies.measuring import Measuring
from implicit_bias.studies.present import import_all
from implicit_bias.studies.record import How
from implicit_bias.studies.reporter import Reporter
from implicit_bias.studies.settings import StudySettings
from implicit_bias.studies.trainer import Trainer
from implicit_bias.studies.trying import Trying
from implicit_bias.studies.weights import Weights
from implicit_bias.studies.workbench import Workbench
from implicit_bias.training import Lane
from implicit_bias.training.loop import LOGGED

if TYPE_CHECKING:
    import xarray as xr


class Worker:
    """Trains, measures and tries what is missing, then puts the result together."""

    def __init__(
        self,
        study: Study,
        settings: StudySettings,
        out: Path,
        dataset: Dataset,
        how: How,
        shard: tuple[int, int] | None,
        reporter: Reporter,
        interrupted: Interrupts,
        made_by: str = "",
    ) -> None:
        self.study, self.settings, self.dataset, self.shard = study, settings, dataset, shard
        self.store = LaneStore(out / "lanes")
        self.seconds: dict[str, float] = {}
        self.elapsed = Elapsed(out)
        bench = Workbench(self.store, dataset, how, reporter, interrupted, self.elapsed)
        # Training programs in one thread, ready in the order in which they are needed; what is needed
        # at the end in another, which then helps the first.
        self.compiling, self.preparing = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        probe = study.probe(settings, dataset) if study.probe is not None else None
        shared = (study.settings,)  # settings have properties and defaults of their own
        self.trainer = Trainer(
            bench, probe, out, (self.compiling, self.preparing), (study.probe, *shared)
        )
        self.measuring: Measuring | None = None
        if study.measurement is not None:
            measurement = study.measurement(settings, dataset)
            self.measuring = Measuring(
                bench, measurement, self.preparing, (study.measurement, *shared)
            )
        self.weights = Weights(bench, self.seeds)
        self.stages = study.wanted(settings)
        self.has_rounds = any(isinstance(stage, Rounds) for stage in self.stages)
        self.trying = {
            stage.name: Trying(
                bench,
                stage.name,
                stage.experiment(settings, dataset),
                settings.digest(),
                settings.dtype,
                self.preparing,
                made_by,
            )
            for stage in self.stages
            if isinstance(stage, Trials)
        }

    def work(self) -> xr.Dataset:
        """Do what is missing; return the result, one row a lane and a trial."""
        try:
            return self._work_through()
        finally:
            for thread in (self.compiling, self.preparing):
                thread.shutdown(wait=False, cancel_futures=True)

    def timing(self) -> xr.Dataset:
        """Return the seconds of the run, all its sittings counted, and of this one's parts."""
        return self.elapsed.timing(**self.seconds)

    @property
    def seeds(self) -> list[int]:
        """Seeds of this shard."""
        seeds = range(self.settings.seeds)
        return (
            list(seeds) if self.shard is None else list(seeds)[self.shard[0] - 1 :: self.shard[1]]
        )

    def _work_through(self) -> xr.Dataset:
        result: xr.Dataset | None = None
        done: list[tuple[Stage | Rounds | Trials, Sequence[Lane]]] = []
        known = self._prepare()
        every: list[Lane] = []
        for stage in self.stages:
            began = time.perf_counter()
            lanes: Sequence[Lane] = ()
            if isinstance(stage, Trials):
                self.trying[stage.name](self.seeds, every, self.trainer.kind)
                self.seconds[f"try_{stage.name}"] = time.perf_counter() - began
            elif isinstance(stage, Rounds):
                lanes = self._rounds(stage)
                every += lanes
            else:
                # Before any result there is nothing that lanes could differ by.
                lanes = known[stage.name] if result is None else self._lanes(stage, result)
                if not lanes:
                    continue
                every += lanes
                self._train_and_measure(stage, unique_lanes(stage, lanes, self.dataset))
            done.append((stage, lanes))
            result = self._assemble(done)
        assert result is not None
        return result

    def _rounds(self, stage: Rounds) -> list[Lane]:
        """Train and measure round after round; return the lanes of all."""
        made: list[Lane] = []
        for number in itertools.count():
            lanes = list(stage.lanes(self.settings, self.dataset, number, self.weights))
            if not lanes:
                return made
            unique = unique_lanes(stage, lanes, self.dataset)
            self._train_and_measure(stage, unique, f"{stage.name} {number + 1}")
            made += lanes
        raise AssertionError

    def _lanes(self, stage: Stage, result: xr.Dataset | None) -> list[Lane]:
        return of_shard(stage.lanes(self.settings, self.dataset, result), self.shard)

    def _prepare(self) -> dict[str, list[Lane]]:
        """Start to compile what the end of the run will need.

        Lanes that are known before any stage has run show what will be measured and compared; they are
        returned by stage.
        """
        known: dict[str, list[Lane]] = {}
        for stage in self.stages:
            if isinstance(stage, Trials):
                if self.trying[stage.name].missing(self.seeds):
                    self.trying[stage.name].prepare(
                        [lane for some in known.values() for lane in some]
                    )
                continue
            if isinstance(stage, Rounds):
                # Only where nothing is trained before it does a round ask for no weights.
                begins = not known
                lanes = self._first_round(stage) if begins else []
            else:
                lanes = self._lanes(stage, None)
            known[stage.name] = lanes
            if stage.measured and self.measuring is not None:
                self.measuring.prepare(unique_lanes(stage, lanes, self.dataset))
        self.preparing.submit(import_all)
        return known

    def _first_round(self, stage: Rounds) -> list[Lane]:
        return list(stage.lanes(self.settings, self.dataset, 0, self.weights))

    def _train_and_measure(
        self, stage: Stage | Rounds, lanes: dict[str, Lane], name: str | None = None
    ) -> None:
        """Train and measure lanes, under the stage's name or another."""
        name = name or stage.name
        measuring = self.measuring if stage.measured else None
        if self.settings.keep_params or self.has_rounds:
            keep = set(lanes)
        else:
            # Parameters of what is measured and tried already are not needed again.
            keep = set(measuring.missing(lanes)) if measuring is not None else set()
            untried = {s for trying in self.trying.values() for s in trying.missing(self.seeds)}
            keep |= {name for name, lane in lanes.items() if lane.seed in untried}
        if measuring is not None:
            measuring.prepare(lanes)
        began = time.perf_counter()
        self.trainer(name, lanes, keep)
        self.weights.add(lanes)
        self._took(f"train_{stage.name}", began)
        if measuring is not None:
            began = time.perf_counter()
            measuring(name, lanes, self.trainer.kind)
            self._took(f"measure_{stage.name}", began)

    def _took(self, what: str, began: float) -> None:
        self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - began

    def _assemble(
        self, stages: Sequence[tuple[Stage | Rounds | Trials, Sequence[Lane]]]
    ) -> xr.Dataset:
        rows: list[Row] = []
        trials: list[Trial] = []
        checksum, store = self.dataset.checksum, self.store
        for stage, lanes in stages:
            if isinstance(stage, Trials):
                trying = self.trying[stage.name]
                tried = store.rows(trying.kind, map(trying.identity, self.seeds))
                trials += [
                    Trial(seed, stage.name, name, tried[name], trying.experiment)
                    for seed in self.seeds
                    for name in [trying.identity(seed)]
                ]
                continue
            names = [lane.identity(checksum) for lane in lanes]
            trained = store.rows(self.trainer.kind, names)
            measured = (
                store.rows(self.measuring.kind, names)
                if stage.measured and self.measuring is not None
                else {}
            )
            rows += [
                Row(lane, stage.name, name, trained[name], measured.get(name))
                for lane, name in zip(lanes, names, strict=True)
            ]
        recipes = {row.lane.recipe: None for row in rows}
        settings = {
            **self.settings.to_json(),
            "dataset": self.dataset.describe(),
            "models": sorted(
                {json.dumps(recipe.model.describe(), sort_keys=True) for recipe in recipes}
            ),
        }
        result = assemble(
            rows,
            self.measuring.measurement if self.measuring is not None else None,
            trials=trials,
            probe=self.trainer.probe,
            logged=LOGGED,
            study=self.study.name,
            settings=settings,
            provenance=provenance.collect(checksum),
        )
        return self.study.derive(result)
