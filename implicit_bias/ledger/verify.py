"""Running all studies that a choice of statements needs, and making the ledger of them.

A study is run once for all its statements. Its folder is named by what its numbers depend on: settings,
version of the package and data. So a study that is finished is not run again, one that was killed goes on
from its last checkpoint, and a changed setting leaves the old run alone.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import implicit_bias
from implicit_bias.errors import UserError
from implicit_bias.ledger.ledger import NOT_RUN, Ledger, Row, not_decided, writable
from implicit_bias.ledger.merge import described, rows_of
from implicit_bias.ledger.registry import Entry, Scale
from implicit_bias.results import claims as claims_module
from implicit_bias.studies import runner
from implicit_bias.studies.base import Study
from implicit_bias.studies.config import load_config, sizes
from implicit_bias.studies.record import How
from implicit_bias.studies.reporter import Reporter, Silent
from implicit_bias.studies.settings import StudySettings

RUNS = "runs"
"""Folder of the studies' runs in that of the ledger."""


@dataclass(frozen=True)
class Job:
    """A run that a ledger needs.

    Attributes:
        study: Name of the study.
        config: Name of its config.
        entries: The statements that it decides.
    """

    study: str
    config: str
    entries: tuple[Entry, ...]


def plan(entries: Sequence[Entry], scale: Scale) -> tuple[Job, ...]:
    """Return the runs that statements need at a size, each once.

    Statements that this size cannot decide need no run of their own.

    Args:
        entries: The statements.
        scale: The size.
    """
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        config = entry.configs.get(scale)
        if config is not None and decidable(entry, scale):
            found.setdefault((entry.study, config), []).append(entry)
    return tuple(Job(study, config, tuple(own)) for (study, config), own in found.items())


def decidable(entry: Entry, scale: Scale) -> bool:
    """Say whether a statement can be decided at a size."""
    order = list(entry.configs)
    return (
        entry.decided_from is not None
        and scale in order
        and order.index(scale) >= order.index(entry.decided_from)
    )


def verify(
    entries: Sequence[Entry],
    out: Path,
    *,
    scale: Scale,
    how: How | None = None,
    reporter: Reporter | None = None,
    prepare: Callable[[Study, StudySettings], None] = lambda study, settings: None,
) -> Ledger:
    """Run what statements need and judge them.

    Args:
        entries: The statements.
        out: Folder of the ledger; runs go below it, and what is finished there is used again.
        scale: The size of the runs.
        how: Layout and memory.
        reporter: Where progress goes.
        prepare: Called before each study's run; the command sets precision here.

    Returns:
        The ledger, also written to ``out/ledger.json``. A study that cannot be run here, for want of
        its data, leaves its statements not decided, with what it said.

    Raises:
        UserError: ``out`` cannot be written to, or its disk is full.
        KeyboardInterrupt: Ctrl-C; what was done is saved.
    """
    reporter = reporter or Silent()
    writable(out)  # found out now, and not after the runs
    rows: dict[str, Row] = {}
    jobs = plan(entries, scale)
    for number, job in enumerate(jobs, 1):
        claims = f"{len(job.entries)} claim" + ("s" if len(job.entries) != 1 else "")
        reporter.say(f"{number}/{len(jobs)} {job.study}, {claims}")
        rows |= {row.id: row for row in _run(job, out, scale, how, reporter, prepare)}
    for entry in entries:
        if entry.id not in rows:
            rows[entry.id] = not_decided(entry, _not_at(entry, scale))
    ledger = Ledger(scale, tuple(rows[entry.id] for entry in entries))
    ledger.save(out / "ledger.json")
    return ledger


def _not_at(entry: Entry, scale: Scale) -> str:
    """Say why a statement is not decided at a size."""
    if entry.decided_from is None:
        return f"needs {entry.needs}"
    if scale in entry.configs:
        return f"needs {entry.decided_from}"
    return f"no config of size {scale}: take --scale {list(entry.configs)[-1]}"


def run_folder(out: Path, job: Job, settings: StudySettings) -> Path:
    """Return the folder of a run, named by its settings, this version and its data.

    Raises:
        UserError: The data are not there.
    """
    parts = settings.digest(), implicit_bias.__version__, settings.data.load().checksum
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]
    return out / RUNS / f"{job.study}-{job.config}-{digest}"


def _run(
    job: Job,
    out: Path,
    scale: Scale,
    how: How | None,
    reporter: Reporter,
    prepare: Callable[[Study, StudySettings], None],
) -> list[Row]:
    study, settings, label = load_config(str(sizes(job.study)[job.config]))
    prepare(study, settings)
    try:
        folder = run_folder(out, job, settings)
        done = runner.run(study, settings, folder, scale=label, how=how, reporter=reporter)
    except UserError as error:
        if _no_room(error):  # every other study would end like this
            said = str(error).rpartition("; ")[0] or str(error)
            raise UserError(
                f"{said}; what is finished is kept: see to it and give the same command again"
            ) from error
        reporter.say(f"{job.study} was not run: {error}")
        return [not_decided(entry, f"{NOT_RUN}{error}", job.config) for entry in job.entries]
    findings = claims_module.to_json(list(done.presented.findings))
    about = described(done.out) | {"path": os.path.relpath(done.out, out)}
    return rows_of(job.entries, scale, findings, job.config, about)


def _no_room(error: UserError) -> bool:
    """Say whether it was the disk that a study failed at."""
    cause = error.__cause__
    full = errno.ENOSPC, errno.EDQUOT, errno.EROFS
    return isinstance(cause, OSError) and cause.errno in full
