"""Running a study: stages, checkpoints, measurement, result, verdicts, figures, report."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import jax
import numpy as np

import implicit_bias
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.results import provenance, store
from implicit_bias.results.assemble import Row, assemble
from implicit_bias.results.checkpoint import save_error, write_atomic
from implicit_bias.results.lane_store import (
    MODEL_STATE,
    PARAMS,
    LaneStore,
    flatten_tree,
    leaves_of,
)
from implicit_bias.results.lock import RunLock
from implicit_bias.studies.base import Stage, Study
from implicit_bias.studies.present import Presented, import_all, present
from implicit_bias.studies.settings import StudySettings
from implicit_bias.training import Lane, Plan, Pool, Program, make_plan
from implicit_bias.training.lane import LaneInputs, initial_parameters
from implicit_bias.training.measurement import Measurer
from implicit_bias.training.plan import DEFAULT_MEMORY
from implicit_bias.training.train import (
    LOGGED,
    Progress,
    Snapshot,
    Trained,
    compile_chunks,
    make_pool,
    train_chunk,
)

if TYPE_CHECKING:
    import xarray as xr

CHECKPOINT_SECONDS = 5.0
"""Work lost at most when a run is killed, beside the segment that was running."""


class Reporter(Protocol):
    """Where progress goes; the command prints it, a notebook may ignore it."""

    def begin(self, label: str, total: float, unit: str) -> None:
        """Start a bar."""

    def advance(self, done: float, note: str = "") -> None:
        """Set the bar to ``done`` of its total."""

    def end(self) -> None:
        """Finish the bar."""

    def say(self, line: str) -> None:
        """Show a line."""


class Silent:
    """A reporter that shows nothing."""

    def begin(self, label: str, total: float, unit: str) -> None:
        """Do nothing."""

    def advance(self, done: float, note: str = "") -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        out: Its folder.
        result: One row a lane.
        presented: Verdicts, tables and figures made from the result.
        already_done: Whether it was finished before and nothing was computed now.
    """

    out: Path
    result: xr.Dataset
    presented: Presented
    already_done: bool = False


@dataclass(frozen=True)
class How:
    """How a study runs on this machine; nothing here changes what it measures.

    Attributes:
        strategy: ``"map"`` or ``"vmap"``; by default what the committed table says.
        tile: Lanes of one batched computation under ``"vmap"``.
        devices: Devices used; by default all.
        memory: Bytes the lanes of a chunk may take.
    """

    strategy: str | None = None
    tile: int | None = None
    devices: int | None = None
    memory: int = DEFAULT_MEMORY


def plan_study(study: Study, settings: StudySettings, how: How | None = None) -> Plan:
    """Return the plan of all that a study can plan before anything is trained.

    Lanes whose settings follow from results of an earlier stage are not in it.

    Raises:
        UserError: The settings cannot be run.
    """
    dataset = settings.data.load()
    return _first_plan(study, settings, dataset, how or How(), None)


def run(
    study: Study,
    settings: StudySettings,
    out: Path,
    *,
    scale: str,
    how: How | None = None,
    shard: tuple[int, int] | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Run:
    """Run a study, or whatever of it is not done yet.

    Lanes that are finished are never run again: a killed run continues from its last checkpoint, and a
    larger number of seeds adds only the new ones.

    Args:
        study: The study.
        settings: Its settings.
        out: Folder for everything the run leaves.
        scale: Name of the size, stored with the result.
        how: Layout and memory.
        shard: (i, n) runs only the seeds s with s mod n = i − 1, i from 1 to n.
        resume: Insist that there is a run to continue.
        reporter: Where progress goes.

    Returns:
        The finished run.

    Raises:
        UserError: The settings cannot be run, or ``out`` belongs to a run with other settings or is in use.
        KeyboardInterrupt: Ctrl-C; what was done is saved.
    """
    reporter, how = reporter or Silent(), how or How()
    if shard is not None:
        if not 1 <= shard[0] <= shard[1]:
            raise UserError(f"shard is {shard[0]}/{shard[1]}; choose i/n with 1 <= i <= n")
        if shard[0] > settings.seeds:
            raise UserError(
                f"shard {shard[0]}/{shard[1]} of {settings.seeds} seed(s) holds no seed; "
                f"use at most {settings.seeds} shards"
            )
    dataset = settings.data.load()
    # Everything that can be refused is refused before anything is written.
    record = _Record(out, study, settings, scale, shard, dataset)
    how = record.check(resume, how)
    _first_plan(study, settings, dataset, how, shard)
    if study.measurement is not None:
        study.measurement(settings, dataset)

    with RunLock(out), _interrupts_between_segments(reporter) as interrupted:
        how = record.check(resume, how)
        if record.is_done():
            result = store.load(out / "results.nc")
            return Run(out, result, present(study, result, out), already_done=True)
        record.write(how, complete=False)
        clock = provenance.Clock.start()
        worker = _Worker(study, settings, out, dataset, how, shard, reporter, interrupted)
        result = worker.work()
        store.save(result, out / "results.nc", clock.timing(**worker.seconds))
        presented = present(study, result, out)
        if not settings.keep_params:
            worker.store.drop(PARAMS)
        worker.store.drop_running()
        record.write(how, complete=True)
    return Run(out, result, presented)


def _first_plan(
    study: Study,
    settings: StudySettings,
    dataset: Dataset,
    how: How,
    shard: tuple[int, int] | None,
) -> Plan:
    unique: dict[str, Lane] = {}
    for stage in study.stages:
        unique |= _unique(stage, _shard(stage.lanes(settings, dataset, None), shard), dataset)
    return make_plan(list(unique.values()), dataset, **dataclasses.asdict(how))


class _Record:
    """``run.json``: whose folder this is, and whether the run is complete."""

    def __init__(
        self,
        out: Path,
        study: Study,
        settings: StudySettings,
        scale: str,
        shard: tuple[int, int] | None,
        dataset: Dataset,
    ) -> None:
        self.path = out / "run.json"
        self.out = out
        self.settings = settings
        self.content: dict[str, Any] = {
            "study": study.name,
            "origin": study.origin or study.name,
            "scale": scale,
            "digest": settings.digest(),
            "version": implicit_bias.__version__,
            "shard": list(shard) if shard else None,
            "data_checksum": dataset.checksum,
            "settings": settings.to_json(),
        }

    def read(self) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads(self.path.read_text())
            if not isinstance(content, dict) or "layout" not in content:
                raise ValueError("it is no record of a run")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path} cannot be read ({error}); remove the folder or name another with --out"
            ) from error
        return content

    def check(self, resume: bool, how: How) -> How:
        """Refuse a folder that is not this run's; return the layout with which the run began.

        All lanes of a run have one layout, because rounding depends on it.
        """
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out} is a file; name a folder")
        previous = self.read()
        if previous is None:
            if resume:
                raise UserError(f"there is no run to resume in {self.out}; run without --resume")
            # A run that was killed while it wrote its first file leaves half of it.
            ours = (".lock", ".run.json.*.partial")
            if any(not any(map(path.match, ours)) for path in self.out.glob("*")):
                raise UserError(
                    f"--out {self.out} holds files but no run of this program; name an empty folder"
                )
            return how
        for key in ("study", "version", "data_checksum", "shard", "digest"):
            if previous.get(key) != self.content[key]:
                what = "other settings" if key == "digest" else f"{key} {previous.get(key)!r}"
                raise UserError(
                    f"{self.out} holds a run with {what}; name another folder with --out, "
                    "or remove it"
                )
        layout = previous["layout"]
        for key in ("strategy", "tile"):
            asked, used = getattr(how, key), layout[key]
            if asked is not None and asked != used:
                raise UserError(
                    f"{self.out} was run with {key} {used or 'by default'}, and rounding depends on "
                    f"it; leave out --{key}, or name another folder with --out"
                )
        backend = jax.default_backend()
        if layout.get("backend", backend) != backend:
            raise UserError(
                f"{self.out} was run on {layout['backend']}, and rounding depends on it; go on there, "
                "or name another folder with --out"
            )
        return dataclasses.replace(how, strategy=layout["strategy"], tile=layout["tile"])

    def is_done(self) -> bool:
        """Say whether all that is asked for is there."""
        previous = self.read()
        return (
            previous is not None
            and previous["complete"]
            and previous["seeds"] >= self.settings.seeds
            and (previous["settings"]["keep_params"] or not self.settings.keep_params)
            # Whoever removed a damaged result has it put together again.
            and (self.out / "results.nc").exists()
        )

    def write(self, how: How, *, complete: bool) -> None:
        content = {
            **self.content,
            "seeds": self.settings.seeds,
            "layout": {
                "strategy": how.strategy,
                "tile": how.tile,
                "backend": jax.default_backend(),
            },
            "complete": complete,
        }
        write_atomic(self.path, json.dumps(content, indent=1, sort_keys=True))


class _Worker:
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
        # Training programs in one thread, ready in the order in which they are needed; what is needed
        # at the end in another.
        self.compiling, self.preparing = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def work(self) -> xr.Dataset:
        try:
            return self.work_through()
        finally:
            for thread in (self.compiling, self.preparing):
                thread.shutdown(wait=False, cancel_futures=True)

    def work_through(self) -> xr.Dataset:
        result: xr.Dataset | None = None
        stages: list[tuple[Stage, Sequence[Lane]]] = []
        for stage in self.study.stages:
            if stage.measured and self.measurement is not None:
                # Lanes that are known before any stage has run show what will be measured.
                known = _shard(stage.lanes(self.settings, self.dataset, None), self.shard)
                self.prepare_measuring(_unique(stage, known, self.dataset))
        self.preparing.submit(import_all)
        for stage in self.study.stages:
            lanes = _shard(stage.lanes(self.settings, self.dataset, result), self.shard)
            if not lanes:
                continue
            stages.append((stage, lanes))
            unique = _unique(stage, lanes, self.dataset)
            measured = stage.measured and self.measurement is not None
            if measured:
                self.prepare_measuring(unique)
            began = time.perf_counter()
            self.train(stage, unique, keep=measured or self.settings.keep_params)
            self.seconds[f"train_{stage.name}"] = time.perf_counter() - began
            if measured:
                began = time.perf_counter()
                self.measure(stage, unique)
                self.seconds[f"measure_{stage.name}"] = time.perf_counter() - began
            result = self.assemble(stages)
        assert result is not None
        return result

    # Training

    def train(self, stage: Stage, lanes: dict[str, Lane], keep: bool) -> None:
        done = set(self.store.rows("trained", lanes))
        kept = set(self.store.rows(PARAMS, lanes)) if keep else done
        if keep and self.measurement is not None and not self.settings.keep_params:
            # Parameters that are measured already are not needed again.
            kept |= set(self.store.rows(self.measured_kind(), lanes))
        missing = {i: lane for i, lane in lanes.items() if i not in done or i not in kept}
        if not missing:
            return
        plan = make_plan(list(missing.values()), self.dataset, **dataclasses.asdict(self.how))
        compiled = [
            self.compiling.submit(
                compile_chunks,
                program,
                self.dataset,
                self.pool(program.recipe.dtype, program.layout.devices),
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
                trained = self.train_chunk(program, chunk, names, finished)
                self.keep(trained, names, program.parameters, keep)
                finished += _work(program, sum(lane.budget.updates for lane in chunk))
                self.reporter.advance(finished)
        self.reporter.end()

    def train_chunk(
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
            self.reporter.advance(finished + _work(program, progress.done), note)
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
            pool=self.pool(program.recipe.dtype, layout.devices),
            resume=resume,
            on_segment=on_segment,
        )

    def keep(self, trained: Trained, names: Sequence[str], parameters: int, params: bool) -> None:
        if params:
            arrays = {
                **flatten_tree(PARAMS, trained.params),
                **flatten_tree(MODEL_STATE, trained.model_state),
            }
            self.store.add(PARAMS, names, arrays)
        logs = {f"log_{name}": values for name, values in trained.logs.items()}
        self.store.add(
            "trained",
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

    def measured_kind(self) -> str:
        digest = hashlib.sha256(repr(self.measurement).encode()).hexdigest()[:8]
        return f"measured-{digest}"

    def prepare_measuring(self, lanes: dict[str, Lane]) -> None:
        """Start to compile the measuring programs that a stage will need, beside its training."""
        have = self.store.rows(self.measured_kind(), lanes)
        devices = self.how.devices or jax.device_count()
        for key, subject in _by_architecture(
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
                    pool=self.pool(lane.recipe.dtype, devices),
                    slots=plan.programs[0].slots,
                    compiling=self.preparing,
                )

    def measure(self, stage: Stage, lanes: dict[str, Lane]) -> None:
        kind = self.measured_kind()
        have = self.store.rows(kind, lanes)
        missing = {name: lane for name, lane in lanes.items() if name not in have}
        if not missing:
            return
        self.reporter.begin(f"{stage.name}: measuring", len(missing), "lane")
        trained = self.store.rows("trained", missing)
        finished = 0
        for key, subject in _by_architecture(missing).items():
            params = self.store.rows(PARAMS, subject)
            for begin in range(0, len(subject), 64):
                some = {name: subject[name] for name in list(subject)[begin : begin + 64]}
                finished = self.measure_some(
                    self.measurers[key], kind, some, params, trained, finished
                )
        self.reporter.end()

    def measure_some(
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

    def assemble(self, stages: Sequence[tuple[Stage, Sequence[Lane]]]) -> xr.Dataset:
        rows: list[Row] = []
        checksum = self.dataset.checksum
        for stage, lanes in stages:
            names = [lane.identity(checksum) for lane in lanes]
            trained = self.store.rows("trained", names)
            measured = (
                self.store.rows(self.measured_kind(), names)
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
            logged=LOGGED,
            study=self.study.name,
            settings=settings,
            provenance=provenance.collect(checksum),
        )
        return self.study.derive(result)

    def pool(self, dtype: str, devices: int) -> Pool:
        key = f"{dtype} {devices}"
        if key not in self.pools:
            self.pools[key] = make_pool(self.dataset, dtype, devices)
        return self.pools[key]


def _work(program: Program, updates: int) -> float:
    return 6e-9 * program.parameters * program.recipe.batch_size * updates


def _unique(stage: Stage, lanes: Sequence[Lane], dataset: Dataset) -> dict[str, Lane]:
    """Return lanes by identity; arms that ask for the same run share it.

    Raises:
        UserError: One arm asks for a run twice.
    """
    unique: dict[str, Lane] = {}
    asked: set[tuple[str, Any]] = set()
    for lane in lanes:
        name, arm = lane.identity(dataset.checksum), lane.tags.get("arm", "")
        if (name, arm) in asked:
            raise UserError(
                f"stage {stage.name} asks for one run twice (arm {arm!r}, seed {lane.seed}, batch size "
                f"{lane.recipe.batch_size}, settings {lane.values}); leave out one of them"
            )
        asked.add((name, arm))
        unique[name] = lane
    return unique


def _shard(lanes: Sequence[Lane], shard: tuple[int, int] | None) -> list[Lane]:
    if shard is None:
        return list(lanes)
    index, count = shard
    return [lane for lane in lanes if lane.seed % count == index - 1]


def _by_architecture(lanes: dict[str, Lane]) -> dict[Any, dict[str, Lane]]:
    """Group lanes that one measuring program serves."""
    groups: dict[Any, dict[str, Lane]] = {}
    for name, lane in lanes.items():
        recipe = lane.recipe
        key = (
            recipe.model,
            recipe.loss,
            recipe.n_train,
            recipe.n_valid,
            recipe.dtype,
            recipe.masked,
        )
        groups.setdefault(key, {})[name] = lane
    return groups


_SNAPSHOT_FIELDS = ("finished", "diverged", "reached", "updates", "stop_loss", "logs")


def _snapshot_to(snapshot: Snapshot) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays = {name: getattr(snapshot, name) for name in _SNAPSHOT_FIELDS}
    leaves = jax.tree.leaves(snapshot.state)
    arrays |= {f"state/{index:04d}": np.asarray(leaf) for index, leaf in enumerate(leaves)}
    return arrays, {"step": snapshot.step}


def _snapshot_from(arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> Snapshot:
    return Snapshot(
        step=int(meta["step"]),
        state=leaves_of("state", arrays),
        **{name: arrays[name] for name in _SNAPSHOT_FIELDS},
    )


@contextlib.contextmanager
def _interrupts_between_segments(reporter: Reporter) -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a flag that is heeded at the next safe point; the second is at once."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = signal.getsignal(signal.SIGINT)

    def handler(signum: int, frame: FrameType | None) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()
        reporter.say("stopping after this segment; once more to stop at once")

    signal.signal(signal.SIGINT, handler)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)


def merge(folders: Sequence[Path], out: Path) -> Run:
    """Put the shards of one sweep together.

    The merged folder goes on like any other: run there, seeds that no shard had are added, and lanes that
    one had are not trained again.

    Args:
        folders: Finished runs with the same settings and different seeds.
        out: Folder for the merged run.

    Returns:
        The merged run, judged anew. Lanes stand in the order of stages and arms, those of an arm by
        identity.

    Raises:
        UserError: A folder holds no finished run, the runs do not belong together, or ``out`` cannot be
            written to.
    """
    if not folders:
        raise UserError("merge needs at least one folder; name the folders of the shards")
    shards = [store.load(folder / "results.nc") for folder in folders]
    combined = _as_run(store.combine(shards), shards)
    record = _recorded(folders[0])
    whole = np.unique(combined["seed"].values).size >= record.get("seeds", 0)
    record |= {"shard": None, "complete": whole}
    study = _study(folders[0], combined)
    if out.exists() and (not out.is_dir() or any(p.name != ".lock" for p in out.iterdir())):
        raise UserError(f"--out {out} exists and is not an empty folder; name another")
    with RunLock(out):
        _copy_lanes(folders, out)
        store.save(combined, out / "results.nc")
        write_atomic(out / "run.json", json.dumps(record, indent=1, sort_keys=True))
        return Run(out, combined, present(study, combined, out))


def _as_run(combined: xr.Dataset, shards: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put stages and arms in the order in which they were run; combining sorts lanes by identity."""

    def cells(result: xr.Dataset) -> list[tuple[str, str]]:
        arms = result["arm"] if "arm" in result.coords else result["stage"]
        return list(zip(result["stage"].values, arms.values, strict=True))

    cell_order = dict.fromkeys(cell for shard in shards for cell in cells(shard))
    place = {cell: index for index, cell in enumerate(cell_order)}
    order = np.argsort([place[cell] for cell in cells(combined)], kind="stable")
    return combined.isel(lane=order)


def _copy_lanes(folders: Sequence[Path], out: Path) -> None:
    try:
        for folder in folders:
            if (folder / "lanes").is_dir():
                shutil.copytree(folder / "lanes", out / "lanes", dirs_exist_ok=True)
    except OSError as error:
        remedy = f"remove {out} and merge again"
        raise save_error("lanes", out / "lanes", error, remedy) from error


def report(folder: Path) -> Run:
    """Judge a finished run again, and write its verdicts, tables, figures and report anew.

    Raises:
        UserError: The folder holds no finished run.
    """
    result = store.load(folder / "results.nc")
    study = _study(folder, result)
    with RunLock(folder):
        return Run(folder, result, present(study, result, folder), already_done=True)


def _recorded(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return content


def _study(folder: Path, result: xr.Dataset) -> Study:
    """Return the study a result belongs to, also one that does not come with the package."""
    from implicit_bias.studies import get

    return get(str(_recorded(folder).get("origin", result.attrs["study"])))
