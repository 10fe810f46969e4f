"""Training and measuring the lanes of a run that are not done yet."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from implicit_bias.data import Dataset
from implicit_bias.results import provenance
from implicit_bias.results.assemble import Row, assemble
from implicit_bias.results.checkpoint import write_atomic
from implicit_bias.results.lane_store import (
    MODEL_STATE,
    PARAMS,
    LaneStore,
    flatten_tree,
    leaves_of,
)
from implicit_bias.studies.base import Stage, Study
from implicit_bias.studies.lanes import by_architecture, of_shard, unique_lanes
from implicit_bias.studies.present import import_all
from implicit_bias.studies.record import How
from implicit_bias.studies.reporter import Reporter
from implicit_bias.studies.settings import StudySettings
from implicit_bias.training import Lane, Pool, Program, make_plan
from implicit_bias.training.ahead import compile_chunks
from implicit_bias.training.lane import LaneInputs, initial_parameters
from implicit_bias.training.loop import LOGGED
from implicit_bias.training.measurement import Measurer
from implicit_bias.training.records import Progress, Snapshot, Trained
from implicit_bias.training.slots import make_pool
from implicit_bias.training.train import train_chunk

if TYPE_CHECKING:
    import xarray as xr

CHECKPOINT_SECONDS = 5.0
"""Work lost at most when a run is killed, beside the segment that was running."""


class Worker:
    """Trains and measures what is missing, then puts the result together."""

    def __init__(
        self,
        study: Study,
        settings: StudySettings,
        out: Path,
        dataset: Dataset,
        how: How,
        shard: tuple[int, int] | None,
        reporter: Reporter,
        interrupted: threading.Event,
    ) -> None:
        self.study, self.settings, self.out, self.dataset = study, settings, out, dataset
        self.how, self.shard, self.reporter = how, shard, reporter
        self.interrupted = interrupted
        self.store = LaneStore(out / "lanes")
        self.pools: dict[str, Pool] = {}
        self.seconds: dict[str, float] = {}
        self.measurement = (
            study.measurement(settings, dataset) if study.measurement is not None else None
        )
        self.measurers: dict[Any, Measurer] = {}
        self.probe = study.probe(settings, dataset) if study.probe is not None else None
        # Training programs in one thread, ready in the order in which they are needed; what is needed
        # at the end in another.
        self.compiling, self.preparing = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def work(self) -> xr.Dataset:
        """Do what is missing; return the result, one row a lane."""
        try:
            return self._work_through()
        finally:
            for thread in (self.compiling, self.preparing):
                thread.shutdown(wait=False, cancel_futures=True)

    def _work_through(self) -> xr.Dataset:
        result: xr.Dataset | None = None
        stages: list[tuple[Stage, Sequence[Lane]]] = []
        for stage in self.study.stages:
            if stage.measured and self.measurement is not None:
                # Lanes that are known before any stage has run show what will be measured.
                known = of_shard(stage.lanes(self.settings, self.dataset, None), self.shard)
                self._prepare_measuring(unique_lanes(stage, known, self.dataset))
        self.preparing.submit(import_all)
        for stage in self.study.stages:
            lanes = of_shard(stage.lanes(self.settings, self.dataset, result), self.shard)
            if not lanes:
                continue
            stages.append((stage, lanes))
            unique = unique_lanes(stage, lanes, self.dataset)
            measured = stage.measured and self.measurement is not None
            if measured:
                self._prepare_measuring(unique)
            began = time.perf_counter()
            self._train(stage, unique, keep=measured or self.settings.keep_params)
            self.seconds[f"train_{stage.name}"] = time.perf_counter() - began
            if measured:
                began = time.perf_counter()
                self._measure(stage, unique)
                self.seconds[f"measure_{stage.name}"] = time.perf_counter() - began
            result = self._assemble(stages)
        assert result is not None
        return result

    # Training

    def _train(self, stage: Stage, lanes: dict[str, Lane], keep: bool) -> None:
        done = set(self.store.rows(self._trained_kind(), lanes))
        kept = set(self.store.rows(PARAMS, lanes)) if keep else done
        if keep and self.measurement is not None and not self.settings.keep_params:
            # Parameters that are measured already are not needed again.
            kept |= set(self.store.rows(self._measured_kind(), lanes))
        missing = {i: lane for i, lane in lanes.items() if i not in done or i not in kept}
        if not missing:
            return
        plan = make_plan(list(missing.values()), self.dataset, **dataclasses.asdict(self.how))
        compiled = [
            self.compiling.submit(
                compile_chunks,
                program,
                self.dataset,
                self._pool(program.recipe.dtype, program.layout.devices),
                probe=self.probe,
            )
            for program in plan.programs
        ]
        write_atomic(self.out / "plan.json", json.dumps(plan.to_json(), indent=1))
        self.reporter.say(plan.describe())
        identity = {id(lane): name for name, lane in missing.items()}
        total = sum(program.gflop for program in plan.programs)
        self.reporter.begin(f"{stage.name}: training", total, "GFLOP")
        finished = 0.0
        for program, ready in zip(plan.programs, compiled, strict=True):
            ready.result()
            for chunk in program.chunks:
                names = [identity[id(lane)] for lane in chunk]
                trained = self._train_chunk(program, chunk, names, finished)
                self._keep(trained, names, program.parameters, keep)
                finished += program.work(sum(lane.budget.updates for lane in chunk))
                self.reporter.advance(finished)
        self.reporter.end()

    def _train_chunk(
        self, program: Program, chunk: Sequence[Lane], names: Sequence[str], finished: float
    ) -> Trained:
        layout = program.layout
        key = hashlib.sha256(
            json.dumps([list(names), layout.strategy, layout.tile, layout.devices]).encode()
        ).hexdigest()[:16]
        resume = None
        saved = self.store.load_running(key)
        if saved is not None:
            resume = _snapshot_from(*saved)
        last_saved = time.perf_counter()

        def on_segment(progress: Progress) -> None:
            nonlocal last_saved
            note = f"{progress.active} lanes, batch loss {progress.batch_loss:.3g}"
            self.reporter.advance(finished + program.work(progress.done), note)
            stop = self.interrupted.is_set()
            if stop or time.perf_counter() - last_saved > CHECKPOINT_SECONDS:
                self.store.save_running(key, *_snapshot_to(progress.snapshot()))
                last_saved = time.perf_counter()
            if stop:
                raise KeyboardInterrupt

        return train_chunk(
            program,
            chunk,
            self.dataset,
            pool=self._pool(program.recipe.dtype, layout.devices),
            probe=self.probe,
            resume=resume,
            on_segment=on_segment,
        )

    def _keep(self, trained: Trained, names: Sequence[str], parameters: int, params: bool) -> None:
        if params:
            arrays = {
                **flatten_tree(PARAMS, trained.params),
                **flatten_tree(MODEL_STATE, trained.model_state),
            }
            self.store.add(PARAMS, names, arrays)
        logs = {
            f"log_{name}": values for name, values in {**trained.logs, **trained.probed}.items()
        }
        self.store.add(
            self._trained_kind(),
            names,
            {
                "updates": trained.updates,
                "diverged": trained.diverged,
                "reached": trained.reached,
                "stop_loss": trained.stop_loss,
                "parameters": np.full(len(names), parameters),
                "log_steps": trained.log_steps,
                **logs,
            },
        )
        self.store.drop_running()

    # Measurement

    def _trained_kind(self) -> str:
        """Name of what training leaves; lanes that were not probed so are trained again."""
        if self.probe is None:
            return "trained"
        return f"trained-{hashlib.sha256(repr(self.probe).encode()).hexdigest()[:8]}"

    def _measured_kind(self) -> str:
        digest = hashlib.sha256(repr(self.measurement).encode()).hexdigest()[:8]
        return f"measured-{digest}"

    def _prepare_measuring(self, lanes: dict[str, Lane]) -> None:
        """Start to compile the measuring programs that a stage will need, beside its training."""
        have = self.store.rows(self._measured_kind(), lanes)
        devices = self.how.devices or jax.device_count()
        for key, subject in by_architecture(
            {name: lane for name, lane in lanes.items() if name not in have}
        ).items():
            if key not in self.measurers and self.measurement is not None:
                lane = next(iter(subject.values()))
                alike = [other for other in subject.values() if other.recipe == lane.recipe]
                plan = make_plan(alike, self.dataset, **dataclasses.asdict(self.how))
                self.measurers[key] = Measurer(
                    self.measurement,
                    self.dataset,
                    lane,
                    devices=devices,
                    pool=self._pool(lane.recipe.dtype, devices),
                    slots=plan.programs[0].slots,
                    compiling=self.preparing,
                )

    def _measure(self, stage: Stage, lanes: dict[str, Lane]) -> None:
        kind = self._measured_kind()
        have = self.store.rows(kind, lanes)
        missing = {name: lane for name, lane in lanes.items() if name not in have}
        if not missing:
            return
        self.reporter.begin(f"{stage.name}: measuring", len(missing), "lane")
        trained = self.store.rows(self._trained_kind(), missing)
        finished = 0
        for key, subject in by_architecture(missing).items():
            params = self.store.rows(PARAMS, subject)
            for begin in range(0, len(subject), 64):
                some = {name: subject[name] for name in list(subject)[begin : begin + 64]}
                finished = self._measure_some(
                    self.measurers[key], kind, some, params, trained, finished
                )
        self.reporter.end()

    def _measure_some(
        self,
        measurer: Measurer,
        kind: str,
        lanes: dict[str, Lane],
        params: dict[str, dict[str, np.ndarray]],
        trained: dict[str, dict[str, np.ndarray]],
        finished: int,
    ) -> int:
        names, members = list(lanes), list(lanes.values())
        recipe = members[0].recipe
        inputs = LaneInputs(
            np.uint32(0),
            {n: np.asarray(v, recipe.dtype) for n, v in members[0].values.items()},
            members[0].mask,
        )
        example = np.zeros(self.dataset.input_shape, recipe.dtype)
        shapes = jax.eval_shape(
            lambda e, i: initial_parameters(recipe.model, e, i), example, inputs
        )
        stacked = []
        for prefix, shape in zip((PARAMS, MODEL_STATE), shapes, strict=True):
            leaves = [leaves_of(prefix, params[name]) for name in names]
            stacked.append(
                jax.tree.unflatten(
                    jax.tree.structure(shape),
                    [np.stack(rows) for rows in zip(*leaves, strict=True)],
                )
            )
        last: list[np.ndarray] = []
        parts: list[dict[str, np.ndarray]] = []
        last_saved = time.perf_counter()

        def flush() -> None:
            nonlocal last_saved
            if last:
                rows = np.concatenate(last)
                arrays = {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}
                self.store.add(kind, [names[row] for row in rows], arrays)
                last.clear()
                parts.clear()
                last_saved = time.perf_counter()

        def on_chunk(rows: np.ndarray, values: dict[str, np.ndarray]) -> None:
            nonlocal finished
            last.append(rows)
            parts.append(values)
            finished += len(rows)
            self.reporter.advance(finished)
            stop = self.interrupted.is_set()
            if stop or time.perf_counter() - last_saved > CHECKPOINT_SECONDS:
                flush()
            if stop:
                raise KeyboardInterrupt

        measurer(
            members,
            stacked[0],
            stacked[1],
            np.asarray([bool(trained[name]["diverged"]) for name in names]),
            on_chunk=on_chunk,
        )
        flush()
        return finished

    # Result

    def _assemble(self, stages: Sequence[tuple[Stage, Sequence[Lane]]]) -> xr.Dataset:
        rows: list[Row] = []
        checksum = self.dataset.checksum
        for stage, lanes in stages:
            names = [lane.identity(checksum) for lane in lanes]
            trained = self.store.rows(self._trained_kind(), names)
            measured = (
                self.store.rows(self._measured_kind(), names)
                if stage.measured and self.measurement is not None
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
            self.measurement,
            probe=self.probe,
            logged=LOGGED,
            study=self.study.name,
            settings=settings,
            provenance=provenance.collect(checksum),
        )
        return self.study.derive(result)

    def _pool(self, dtype: str, devices: int) -> Pool:
        key = f"{dtype} {devices}"
        if key not in self.pools:
            self.pools[key] = make_pool(self.dataset, dtype, devices)
        return self.pools[key]


_SNAPSHOT_FIELDS = ("finished", "diverged", "reached", "updates", "stop_loss", "logs")


def _snapshot_to(snapshot: Snapshot) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays = {name: getattr(snapshot, name) for name in _SNAPSHOT_FIELDS}
    leaves = jax.tree.leaves(snapshot.state)
    arrays |= {f"state/{index:04d}": np.asarray(leaf) for index, leaf in enumerate(leaves)}
    carried = jax.tree.leaves(snapshot.carried)
    arrays |= {f"carried/{index:04d}": np.asarray(leaf) for index, leaf in enumerate(carried)}
    arrays |= {f"probed/{name}": values for name, values in snapshot.probed.items()}
    return arrays, {"step": snapshot.step}


def _snapshot_from(arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> Snapshot:
    fields: dict[str, Any] = {name: arrays[name] for name in _SNAPSHOT_FIELDS}
    return Snapshot(
        step=int(meta["step"]),
        state=leaves_of("state", arrays),
        carried=leaves_of("carried", arrays),
        probed={
            name.removeprefix("probed/"): values
            for name, values in arrays.items()
            if name.startswith("probed/")
        },
        **fields,
    )
