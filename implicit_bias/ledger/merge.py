"""Finished runs and ledgers put together, as if one command had made them.

What a run found is taken from its ``claims.json`` where the code of today wrote it; otherwise the run's
result is judged again, so that no verdict of an older rule passes for one of this version. Runs of studies
that are not the package's own are left out.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from implicit_bias.errors import UserError
from implicit_bias.ledger.ledger import Ledger, Row, combine, judged
from implicit_bias.ledger.read import check_finding, load, parsed
from implicit_bias.ledger.registry import SCALES, Entry, Scale, registry
from implicit_bias.results import claims as claims_module
from implicit_bias.studies.config import load_config, sizes


def merged(
    entries: Sequence[Entry], folders: Sequence[Path], out: Path, scale: Scale | None = None
) -> Ledger:
    """Put finished runs and ledgers together; see ``ledger.combine`` for which row counts.

    Args:
        entries: The statements asked for.
        folders: Folders of finished runs, of shipped configs or others, and of ledgers.
        out: Folder of the ledger to be, from which the runs' folders are named.
        scale: Take rows alone that a statement's config of this size judged; by default all.

    Raises:
        UserError: A folder holds neither, or a shard of a run.
    """
    ledgers = [_read(entries, folder, out) for folder in folders]
    if scale is None:
        return combine(ledgers, entries)
    config = {entry.id: entry.configs.get(scale) for entry in entries}
    of_size = [
        Ledger(scale, tuple(row for row in one.rows if row.config == config.get(row.id)))
        for one in ledgers
    ]
    return replace(combine(of_size, entries), scale=scale)


def described(folder: Path) -> dict[str, Any]:
    """Return what a finished run's record says of it, without its settings.

    Raises:
        UserError: The folder holds no run, or one that is not finished or is a shard of one.
    """
    record = _record(folder)
    kept = ("scale", "digest", "version", "data_checksum", "seeds")
    return {key: record[key] for key in kept} | {"study": record["study"]}


def _record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        if not record["complete"]:
            raise ValueError("it is not finished")
        for key in ("scale", "digest", "version", "study"):
            if not isinstance(record[key], str):
                raise ValueError(f"its {key} is {record[key]!r}")
        for key in ("data_checksum", "seeds"):
            record[key]  # refused here if it is not there
        shard = record.get("shard")
        if shard is None:
            return record
    except FileNotFoundError:
        why = "it has neither run.json nor ledger.json" if folder.is_dir() else "it does not exist"
    except NotADirectoryError:
        why = "it is no folder"
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = str(error)
    else:
        raise UserError(
            f"{folder} holds shard {shard} of a run; put all shards together with `implicit-bias merge` first"
        )
    raise UserError(
        f"{folder} holds no finished run ({why}); name a folder that `run` or `verify` made"
    )


def _read(entries: Sequence[Entry], folder: Path, out: Path) -> Ledger:
    if folder.is_file() or (folder / "ledger.json").exists():
        return _seen_from(load(folder), folder, out)
    record = _record(folder)
    about = described(folder) | {"path": os.path.relpath(folder, out)}
    scale = next((one for one in SCALES if one == about["scale"]), None)
    own = [entry for entry in entries if entry.study == about["study"]]
    if not own or record.get("origin", about["study"]) != about["study"]:
        _findings(folder)  # a folder that was spoilt is refused whatever it was
        return Ledger(str(about["scale"]), ())
    rows = rows_of(own, scale, _judged_today(folder, record), config_of(about), about)
    return Ledger(str(about["scale"]), tuple(rows))


def _judged_today(folder: Path, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a run's findings are by the rules of today.

    Raises:
        UserError: These rules cannot read its result.
    """
    from implicit_bias import studies
    from implicit_bias.results import store
    from implicit_bias.studies.present import code_digest

    found = _findings(folder)
    study = studies.get(record["study"])
    same = (record.get("presented") or {}).get("code") == code_digest(study)
    if same or not (folder / "results.nc").exists():
        return found
    result = store.load(folder / "results.nc")
    try:
        return claims_module.to_json(list(claims_module.evaluate(study.claims, result)))
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        what = " ".join(str(error).split())
        raise UserError(
            f"{folder} was judged by another version, and the rules of this one cannot read its result "
            f"({type(error).__name__}: {what}); run the study again"
        ) from error


def _findings(folder: Path) -> list[dict[str, Any]]:
    """Return what a run found, as ``results.claims.write_claims`` left it.

    Raises:
        UserError: The file is not there, or is no such list.
    """
    try:
        found = parsed((folder / "claims.json").read_text(encoding="utf-8"))
        for one in found:
            check_finding(one)
    except FileNotFoundError:
        why = "there is none"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
    else:
        return list(found)
    raise UserError(
        f"{folder} has no readable claims.json ({why}); make it with "
        f"`implicit-bias report {shlex.quote(str(folder))}`"
    )


def _seen_from(ledger: Ledger, folder: Path, out: Path) -> Ledger:
    """Name the runs' folders as seen from another folder, and no config whose settings are others by now."""
    home = folder if folder.is_dir() else folder.parent
    known = registry()

    def moved(row: Row) -> Row:
        run = dict(row.run)
        if "path" in run:
            run["path"] = os.path.relpath(home / run["path"], out)
        config = row.config
        if "digest" in run and config and config_of({**run, "study": row.study}) != config:
            config = ""
        return replace(row, run=run, config=config)

    # A statement that moved to another study was judged by another rule.
    rows = [row for row in ledger.rows if row.id in known and known[row.id].study == row.study]
    return replace(ledger, rows=tuple(moved(row) for row in rows))


def config_of(about: dict[str, Any]) -> str:
    """Return the name of the shipped config with a run's settings, or an empty text."""
    for name, path in sizes(about["study"]).items():
        _, settings, _ = load_config(str(path))
        if settings.digest() == about["digest"]:
            return name
    return ""


def rows_of(
    entries: Sequence[Entry],
    scale: Scale | None,
    findings: Sequence[dict[str, Any]],
    config: str,
    about: dict[str, Any],
) -> list[Row]:
    """Return the rows of a run's statements."""
    by_id = {finding["id"]: finding for finding in findings}
    return [judged(entry, scale, by_id, config, about) for entry in entries]
