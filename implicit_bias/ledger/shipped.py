"""The ledger of the laptop runs that comes with the package, kept as a small file a study and config."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from implicit_bias.ledger.ledger import Ledger, Row, combine, not_decided
from implicit_bias.ledger.read import load
from implicit_bias.ledger.registry import SCALES, Entry, Scale, select
from implicit_bias.studies.config import config_root
from implicit_bias.studies.present import VERDICTS

SUFFIX = ".ledger.json"

SIZE: Scale = "laptop"
"""Size of the runs that are kept."""


def shipped() -> Ledger:
    """Return the ledger of the runs that come with the package.

    Claims that none judged are left out, but for those that wait for a larger size, which say so.
    """
    found = [load(file) for file in sorted(config_root().glob(f"*/results/*{SUFFIX}"))]
    judged = {row.id for ledger in found for row in ledger.rows}
    entries = {entry.id: entry for entry in select() if entry.id in judged or _waits(entry)}
    made = combine(found, entries.values())
    rows = (
        not_decided(entries[row.id], f"needs {entries[row.id].decided_from}")
        if row.verdict == "not-decided" and _waits(entries[row.id])
        else row
        for row in made.rows
    )
    return replace(made, rows=tuple(rows))


def _waits(entry: Entry) -> bool:
    """Say whether a claim can only be decided at a larger size than that of the runs kept."""
    at = entry.decided_from
    return at is not None and SCALES.index(at) > SCALES.index(SIZE)


def keep(ledger: Ledger, root: Path) -> list[Path]:
    """Write a ledger as the small files that ``shipped`` reads.

    Only rows of shipped configs are kept, and of the run neither folder nor anything else of the machine.

    Args:
        ledger: The ledger.
        root: The folder of the configs.

    Returns:
        The files.

    Raises:
        UserError: A file cannot be written.
    """
    parts: dict[tuple[str, str], list[Row]] = {}
    for row in ledger.rows:
        if row.config and row.run:
            run = {key: value for key, value in row.run.items() if key != "path"}
            parts.setdefault((row.study, row.config), []).append(replace(row, run=run))
    files = []
    for (study, config), rows in parts.items():
        file = root / study.replace("-", "_") / "results" / f"{config}{SUFFIX}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Ledger(str(rows[0].run["scale"]), tuple(rows)).save(file)
        files.append(file)
    return files


def figures_of(entry: Entry, row: Row, folder: Path | None) -> list[Path]:
    """Return the files of the figures that show a claim: its own, or what there is of its run.

    Args:
        entry: The claim.
        row: Its row.
        folder: Folder of its ledger, or its file; None for the one that comes with the package.
    """
    if folder is None:
        home = config_root() / row.study.replace("-", "_") / "results"
        own = home / f"{row.config}-{entry.figure}.png"
        return [own] if own.is_file() else sorted(home.glob(f"{row.config}-*.png"))
    path = row.run.get("path")
    if path is None:
        return []
    drawn = (folder.parent if folder.is_file() else folder) / path / "figures"
    own = drawn / f"{entry.figure}.png"
    return [own] if own.is_file() else sorted(drawn.glob("verdicts.png"))


def caption(study: str, figure: str) -> str:
    """Return the caption of a study's figure; empty where the study has none of that name."""
    from implicit_bias import studies

    found = (one.caption for one in studies.get(study).drawings if one.name == figure)
    return next(found, VERDICTS if figure == "verdicts" else "")
