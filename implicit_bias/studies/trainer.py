"""Training the lanes of a stage: chunk after chunk, each saved while it runs and when it is done."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from implicit_bias.own_code import code_identity
from implicit_bias.results.checkpoint import write_atomic
from implicit_bias.results.lane_store import MODEL_STATE, PARAMS, flatten_tree, leaves_of
from implicit_bias.studies.once import Once
from implicit_bias.studies.workbench import Workbench
from implicit_bias.training import Lane, Program
from implicit_bias.training.ahead import compilations
from implicit_bias.training.probe import Probe
from implicit_bias.training.records import Progress, Snapshot, Trained
from implicit_bias.training.train import train_chunk


class Trainer:
    """Trains what is missing of a stage.

    Args:
        bench: Store, data, layout, progress.
        probe: What is measured while lanes train.
        out: Folder of the run, for the plan.
        compiling: Threads that compile programs in the order in which they are needed, each what no other
            has begun.
        made_by: What else of a user's file decides what is probed, such as the settings' class.
    """

    def __init__(
        self,
        bench: Workbench,
        probe: Probe | None,
        out: Path,
        compiling: Sequence[Executor],
        made_by: Sequence[object] = (),
    ) -> None:
        self.bench, self.probe, self.out, self.compiling = bench, probe, out, compiling
        self.made_by = made_by

    @property
    def kind(self) -> str:
        """Name of what training leaves; lanes that were not probed so are trained again."""
        if self.probe is None:
            return "trained"
        what = repr(self.probe) + code_identity(self.probe, *self.made_by)
        return f"trained-{hashlib.sha256(what.encode()).hexdigest()[:8]}"

    def __call__(self, name: str, lanes: Mapping[str, Lane], keep: Container[str]) -> None:
        """Train the lanes that are not trained yet, or whose parameters are needed and gone.

        Args:
            name: Of the stage, for the display.
            lanes: By identity.
            keep: Identities of the lanes whose last parameters are kept.
        """
        bench = self.bench
        done = set(bench.store.rows(self.kind, lanes))
        wanted = {i for i in lanes if i in keep}
        lost = wanted - set(bench.store.rows(PARAMS, wanted)) if wanted else wanted
        missing = {i: lane for i, lane in lanes.items() if i not in done or i in lost}
        if not missing:
            return
        plan = bench.plan(list(missing.values()))
        compiled = [
            [
                Once(part)
                for part in compilations(
                    program,
                    bench.dataset,
                    bench.pool(program.recipe.dtype, program.layout.devices),
                    probe=self.probe,
                )
            ]
            for program in plan.programs
        ]
        for thread in self.compiling:
            for part in itertools.chain.from_iterable(compiled):
                thread.submit(part)
        write_atomic(self.out / "plan.json", json.dumps(plan.to_json(), indent=1))
        bench.reporter.say(plan.describe())
        identity = {id(lane): i for i, lane in missing.items()}
        total = sum(program.gflop for program in plan.programs)
        bench.reporter.begin(f"{name}: training", total, "GFLOP")
        finished = 0.0
        for program, ready in zip(plan.programs, compiled, strict=True):
            for part in ready:
                part.wait()
            for chunk in program.chunks:
                names = [identity[id(lane)] for lane in chunk]
                trained = self._train_chunk(program, chunk, names, finished)
                self._keep(trained, names, program.parameters, any(i in keep for i in names))
                finished += program.work(sum(lane.updates for lane in chunk))
                bench.reporter.advance(finished)
        bench.reporter.end()

    def _train_chunk(
        self, program: Program, chunk: Sequence[Lane], names: Sequence[str], finished: float
    ) -> Trained:
        bench, layout = self.bench, program.layout
        key = hashlib.sha256(
            json.dumps([list(names), layout.strategy, layout.tile, layout.devices]).encode()
        ).hexdigest()[:16]
        resume = None
        saved = bench.store.load_running(key)
        if saved is not None:
            resume = _snapshot_from(*saved)
        bench.begin()
        early = "; may end sooner" if any(lane.budget.may_end_early for lane in chunk) else ""

        def on_segment(progress: Progress) -> None:
            note = f"{progress.active} lanes, batch loss {progress.batch_loss:.3g}{early}"
            bench.reporter.advance(finished + program.work(progress.done), note)
            if bench.must_save():
                bench.store.save_running(key, *_snapshot_to(progress.snapshot()))
                bench.saved()

        return train_chunk(
            program,
            chunk,
            bench.dataset,
            pool=bench.pool(program.recipe.dtype, layout.devices),
            probe=self.probe,
            resume=resume,
            on_segment=on_segment,
        )

    def _keep(self, trained: Trained, names: Sequence[str], parameters: int, params: bool) -> None:
        store = self.bench.store
        if params:
            arrays = {
                **flatten_tree(PARAMS, trained.params),
                **flatten_tree(MODEL_STATE, trained.model_state),
            }
            store.add(PARAMS, names, arrays)
        logs = {
            f"log_{name}": values for name, values in {**trained.logs, **trained.probed}.items()
        }
        store.add(
            self.kind,
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
        store.drop_running()


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
