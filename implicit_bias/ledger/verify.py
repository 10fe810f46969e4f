"""Running all studies that a choice of statements needs, and making the ledger of them.

A study is run once for all its statements. Its folder is named by what its numbers depend on: settings,
version of the package and data. So a study that is finished is not run again, one that was killed goes on
from its last checkpoint, and a changed setting leaves the old run alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import implicit_bias
from implicit_bias.errors import UserError
from implicit_bias.ledger.demands import NOT_RUN
from implicit_bias.ledger.ledger import (
    VERDICTS,
    Ledger,
    Row,
    combine,
    judged,
    load,
    not_decided,
    writable,
)
from implicit_bias.ledger.registry import SCALES, Entry, Scale
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
        UserError: ``out`` cannot be written to.
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
            needed = entry.needs if entry.decided_from is None else entry.decided_from
            rows[entry.id] = not_decided(entry, f"needs {needed}")
    ledger = Ledger(scale, tuple(rows[entry.id] for entry in entries))
    ledger.save(out / "ledger.json")
    return ledger


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
        reporter.say(f"{job.study} was not run: {error}")
        return [not_decided(entry, f"{NOT_RUN}{error}", job.config) for entry in job.entries]
    findings = claims_module.to_json(list(done.presented.findings))
    about = described(done.out) | {"path": os.path.relpath(done.out, out)}
    return _rows(job.entries, scale, findings, job.config, about)


def described(folder: Path) -> dict[str, Any]:
    """Return what a finished run's record says of it, without its settings.

    Raises:
        UserError: The folder holds no run.
    """
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        kept = ("scale", "digest", "version", "data_checksum", "seeds")
        if not record["complete"]:
            raise ValueError("it is not finished")
        return {key: record[key] for key in kept} | {"study": record["study"]}
    except FileNotFoundError:
        why = "it has neither run.json nor ledger.json" if folder.is_dir() else "it does not exist"
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = str(error)
    raise UserError(
        f"{folder} holds no finished run ({why}); name a folder that `run` or `verify` made"
    )


def merged(entries: Sequence[Entry], folders: Sequence[Path], out: Path) -> Ledger:
    """Put finished runs and ledgers together; see ``ledger.combine`` for which row counts.

    Args:
        entries: The statements asked for.
        folders: Folders of finished runs, of shipped configs or others, and of ledgers.
        out: Folder of the ledger to be, from which the runs' folders are named.

    Raises:
        UserError: A folder holds neither.
    """
    return combine([_read(entries, folder, out) for folder in folders], entries)


def _read(entries: Sequence[Entry], folder: Path, out: Path) -> Ledger:
    if folder.is_file() or (folder / "ledger.json").exists():
        return _seen_from(load(folder), folder, out)
    about = described(folder) | {"path": os.path.relpath(folder, out)}
    findings = _findings(folder)
    own = [entry for entry in entries if entry.study == about["study"]]
    scale = next((one for one in SCALES if one == about["scale"]), None)
    rows = _rows(own, scale, findings, _config_of(about), about)
    return Ledger(str(about["scale"]), tuple(rows))


def _findings(folder: Path) -> list[dict[str, Any]]:
    """Return what a run found, as ``results.claims.write_claims`` left it.

    Raises:
        UserError: The file is not there, or is no such list.
    """
    try:
        found = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
        for one in found:
            if not isinstance(one["id"], str) or one["verdict"] not in VERDICTS:
                raise ValueError(f"{one['id']!r} has the verdict {one['verdict']!r}")
            numbers = [one.get("effect"), *(one.get("interval") or (None, None))]
            if len(numbers) != 3 or any(
                not isinstance(number, int | float | None) for number in numbers
            ):
                raise ValueError(f"effect and interval of {one['id']} are {numbers}")
    except FileNotFoundError:
        why = "there is none"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
    else:
        return list(found)
    raise UserError(
        f"{folder} has no readable claims.json ({why}); make it with `implicit-bias report {folder}`"
    )


def _seen_from(ledger: Ledger, folder: Path, out: Path) -> Ledger:
    """Name the runs' folders as they are seen from another folder."""
    home = folder if folder.is_dir() else folder.parent

    def moved(row: Row) -> Row:
        path = row.run.get("path")
        run = (
            dict(row.run)
            if path is None
            else {**row.run, "path": os.path.relpath(home / path, out)}
        )
        return replace(row, run=run)

    return replace(ledger, rows=tuple(moved(row) for row in ledger.rows))


def _config_of(about: dict[str, Any]) -> str:
    """Return the name of the shipped config with a run's settings, or an empty text."""
    for name, path in sizes(about["study"]).items():
        _, settings, _ = load_config(str(path))
        if settings.digest() == about["digest"]:
            return name
    return ""


def _rows(
    entries: Sequence[Entry],
    scale: Scale | None,
    findings: Sequence[dict[str, Any]],
    config: str,
    about: dict[str, Any],
) -> list[Row]:
    by_id = {finding["id"]: finding for finding in findings}
    return [judged(entry, scale, by_id, config, about) for entry in entries]
