"""Running a study: stages, checkpoints, measurement, result, verdicts, figures, report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.own_code import code_identity
from implicit_bias.results import store
from implicit_bias.results.lane_store import PARAMS
from implicit_bias.results.lock import RunLock
from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.interrupts import interrupts_between_segments
from implicit_bias.studies.lanes import of_shard, unique_lanes
from implicit_bias.studies.present import Presented, code_digest, present, read_presented
from implicit_bias.studies.record import How, Record
from implicit_bias.studies.reporter import Reporter, Silent
from implicit_bias.studies.settings import StudySettings
from implicit_bias.studies.weights import Weights
from implicit_bias.studies.worker import Worker
from implicit_bias.training import Lane, Plan, make_plan

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        out: Its folder.
        result: One row a lane, or a seed of an experiment.
        presented: Verdicts, tables and figures made from the result.
        already_done: Whether it was finished before and nothing was computed now.
        note: What the reader must know beside the result, such as missing shards.
    """

    out: Path
    result: xr.Dataset
    presented: Presented
    already_done: bool = False
    note: str = ""

    def __repr__(self) -> str:
        return f"Run({str(self.out)!r}, {self.result.sizes['lane']} lanes, {self.presented!r})"


def default_folder(
    study: Study, settings: StudySettings, shard: tuple[int, int] | None = None
) -> Path:
    """Return where a run goes that is given no folder: ``runs/<study>-<hash of settings>``."""
    name = re.sub(r"[^\w.-]+", "-", study.name)
    part = f"-shard-{shard[0]}-of-{shard[1]}" if shard else ""
    return Path("runs") / f"{name}-{settings.digest()}{part}"


def plan_study(study: Study, settings: StudySettings, how: How | None = None) -> Plan:
    """Return the plan of all that a study can plan before anything is trained.

    Lanes whose settings follow from results of an earlier stage are not in it.

    Raises:
        UserError: The settings cannot be run: all that ``run`` refuses before it trains is refused here.
    """
    dataset = settings.data.load()
    return _checked_plan(study, settings, dataset, how or How(), None)


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
    record = Record(out, study, settings, scale, shard, dataset)
    how = record.check(resume, how)
    plan = _checked_plan(study, settings, dataset, how, shard)
    made_by = _made_by(study, plan)
    record = Record(out, study, settings, scale, shard, dataset, made_by)

    with RunLock(out), interrupts_between_segments(reporter) as interrupted:
        how = record.check(resume, how)
        if record.is_done():
            result = store.load(out / "results.nc")
            files = record.report_files(code_digest(study))
            before = None if files is None else read_presented(files)
            return Run(out, result, before or _present(study, result, record), already_done=True)
        if record.outdated():
            reporter.say(
                f"files of your own have changed since the run in {out}; what that changes is made anew"
            )
        record.write(how, complete=False)
        worker = Worker(study, settings, out, dataset, how, shard, reporter, interrupted, made_by)
        result = worker.work()
        store.save(result, out / "results.nc", worker.timing())
        presented = present(study, result, out)
        if not settings.keep_params:
            worker.store.drop(PARAMS)
        worker.store.drop_running()
        record.write(how, complete=True)
        record.note_report(code_digest(study), presented.files)
    return Run(out, result, presented)


def _present(study: Study, result: xr.Dataset, record: Record) -> Presented:
    """Judge, draw and write the report, and note which code did."""
    presented = present(study, result, record.out)
    record.note_report(code_digest(study), presented.files)
    return presented


def _made_by(study: Study, plan: Plan) -> str:
    """Return a digest of what of a user's own files decides what a run computes; empty without any."""
    does = [
        stage.experiment if isinstance(stage, Trials) else stage.lanes for stage in study.stages
    ]
    own = code_identity(*does, study.measurement, study.probe, study.derive, study.settings)
    recipes = [program.recipe for program in plan.programs]
    if not own and not any(recipe.own_code for recipe in recipes):
        return ""
    # What a network is made with, and the defaults of an optimiser's settings, are in no function.
    parts = {
        json.dumps([one.own_code, one.describe(), one.setting_defaults()], sort_keys=True)
        for one in recipes
    }
    return hashlib.sha256("\0".join([own, *sorted(parts)]).encode()).hexdigest()[:16]


def _checked_plan(
    study: Study,
    settings: StudySettings,
    dataset: Dataset,
    how: How,
    shard: tuple[int, int] | None,
) -> Plan:
    """Plan what can be planned, and let all that measures and tries look at the settings and the data.

    Raises:
        UserError: The settings cannot be run.
    """
    plan = _first_plan(study, settings, dataset, how, shard)
    if study.measurement is not None:
        study.measurement(settings, dataset)
    if study.probe is not None:
        study.probe(settings, dataset)
    for stage in study.wanted(settings):
        if isinstance(stage, Trials):
            stage.experiment(settings, dataset)
    return plan


def _first_plan(
    study: Study,
    settings: StudySettings,
    dataset: Dataset,
    how: How,
    shard: tuple[int, int] | None,
) -> Plan:
    unique: dict[str, Lane] = {}
    training = [stage for stage in study.stages if not isinstance(stage, Trials)]
    weights = Weights(None, range(settings.seeds))
    for stage in training:
        if isinstance(stage, Stage):
            lanes = of_shard(stage.lanes(settings, dataset, None), shard)
        elif stage is training[0]:
            lanes = of_shard(stage.lanes(settings, dataset, 0, weights), shard)
        else:
            continue
        unique |= unique_lanes(stage, lanes, dataset)
    if not training:
        return Plan((), dataset, how.memory, ())
    return make_plan(list(unique.values()), dataset, **dataclasses.asdict(how))
