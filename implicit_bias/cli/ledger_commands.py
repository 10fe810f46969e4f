"""The commands of the ledger: verify, explain, compare."""

from __future__ import annotations

import json
import shlex
import time
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import implicit_bias
from implicit_bias.cli.shared import (
    QUICK_SCALE,
    Stopped,
    compilation_cache,
    layout,
    output,
    prepare_jax,
    print_json,
)
from implicit_bias.cli.terminal import Progress, Screen, duration
from implicit_bias.errors import UserError
from implicit_bias.results.table import make_table

if TYPE_CHECKING:
    from implicit_bias.ledger.ledger import Ledger, Row
    from implicit_bias.ledger.registry import Entry, Scale
    from implicit_bias.studies import Study, StudySettings

DEFAULT_OUT = "ledger"
"""Folder of a ledger whose ``--out`` is not given, with the size behind it."""

RUNS = "runs"
"""Where runs go that are given no ``--out``."""


def verify(asked: Namespace) -> None:
    """Run what a choice of claims needs, and print the ledger."""
    began = time.monotonic()
    with output(asked) as screen:
        from implicit_bias import ledger

        entries = ledger.select(asked.source, asked.claim, asked.study)
        if not entries:
            raise UserError(
                "no claim has that source, study and id at once; leave one of --source, --study and "
                "--claim out"
            )
        scale: Scale | None = asked.scale
        out = Path(
            asked.out or f"{DEFAULT_OUT}-{scale or ('merged' if asked.merge else QUICK_SCALE)}"
        )
        if (
            out / "run.json"
        ).exists():  # what is read there later would be the ledger, and not the run
            raise UserError(f"{out} is the folder of a run; name another with --out")
        if asked.merge:
            made = ledger.merged(entries, [Path(one) for one in asked.merge], out, scale)
        elif asked.devices is not None:
            _check_devices(asked.devices, scale or QUICK_SCALE)
        with ledger.held(out):
            _say_what_goes(screen, out, entries)
            if asked.merge:
                made.save(out / "ledger.json")
            else:
                made = _run(asked, screen, entries, out, scale or QUICK_SCALE)
            page = ledger.write_page(made, entries, out)
            if asked.figures:
                drawn = ledger.export_figures(made, out, asked.figures)
                screen.say(f"{len(drawn)} figures in {out / 'figures'}")
        _show(screen, made, entries, whole=len(made.rows) <= 40 or asked.all)
        screen.say(f"Left in {out}: ledger.json, {page.name}; runs of studies in {out / 'runs'}")
        screen.say(f"Took {duration(time.monotonic() - began)}. Open {page}")
        content: dict[str, Any] = {"scale": made.scale, "out": str(out), "counts": made.counts()}
        missed, noted = ledger.shortfalls(made, entries), ledger.remarks(made, entries)
        for head, lines in (("Note", noted), ("Missed", missed)):
            for line in lines:
                screen.say(f"{head}: {line}")
        content |= {"missed": list(missed), "notes": list(noted)}
        print_json(asked, {**content, "rows": [asdict(row) for row in made.rows]})
        if missed and asked.strict:
            number = f"{len(missed)} shortfall" + ("s" if len(missed) > 1 else "")
            raise UserError(f"{number} in {out}: {'; '.join(missed)}")


def explain(asked: Namespace) -> None:
    """Say all that is known of a claim; or list the claims."""
    with output(asked) as screen:
        from implicit_bias import ledger

        if asked.id is None:
            _list(asked, screen)
            return
        entry = _entry(asked.id)
        made = ledger.shipped() if asked.ledger is None else ledger.load(Path(asked.ledger))
        row = next((row for row in made.rows if row.id == entry.id), None)
        told = ledger.explanation(entry, row)
        screen.show(make_table(["id", entry.id], told, align=["left", "left"]))
        if row is None:
            if entry.decided_from is not None:
                size = "" if entry.decided_from == QUICK_SCALE else f" --scale {entry.decided_from}"
                screen.say(f"Not run yet: implicit-bias verify --claim {entry.id}{size}")
        else:
            if len(row.arms) > 1:
                screen.show(ledger.arms_table(row))
            folder = None if asked.ledger is None else Path(asked.ledger)
            for figure in ledger.figures_of(entry, row, folder):
                screen.say(f"Figure: {figure}")
        print_json(asked, {"entry": asdict(entry), "row": None if row is None else asdict(row)})


def _entry(id: str) -> Entry:
    """Return an entry of the registry.

    Raises:
        UserError: There is none; says where the verdict of a claim that is a study's own is.
    """
    from implicit_bias import ledger

    try:
        return ledger.get(id)
    except UserError:
        files = [file for file in Path(RUNS).glob("*/claims.json") if id in _claims_in(file)]
        if not files:
            raise
        folder = max(files, key=lambda file: file.stat().st_mtime).parent
        last = ", the last of its runs" if len(files) > 1 else ""
        raise UserError(
            f"claim {id!r} is a study's own, and explain tells of the documents' claims; its verdict "
            f"is in {folder / 'report.html'}{last}; "
            f"`implicit-bias report {shlex.quote(str(folder))}` shows it"
        ) from None


def _claims_in(file: Path) -> set[str]:
    """Return the ids of the claims that a run has judged; none where the file cannot be read."""
    try:
        return {str(entry["id"]) for entry in json.loads(file.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, KeyError):
        return set()


def compare(asked: Namespace) -> None:
    """Say what changed between two ledgers."""
    with output(asked) as screen:
        from implicit_bias import ledger

        before, after = (ledger.load(Path(one)) for one in (asked.before, asked.after))
        if not asked.across:
            ledger.comparable(before, after)
        changes = ledger.compare(before, after)
        if changes:
            screen.show(ledger.changes_table(changes))
        else:
            number = f"{len(after.rows)} claim" + ("s" if len(after.rows) != 1 else "")
            screen.say(f"Nothing changed in {number}.")
        print_json(asked, {"changes": [asdict(change) for change in changes]})


def _check_devices(devices: int, scale: Scale) -> None:
    """Refuse more devices than there are now: each study would refuse them by itself."""
    from implicit_bias import runtime

    runtime.configure(compile_quickly=scale == QUICK_SCALE)
    runtime.lane_mesh(devices)


def _run(
    asked: Namespace, screen: Screen, entries: tuple[Entry, ...], out: Path, scale: Scale
) -> Ledger:
    from implicit_bias import ledger

    cache = compilation_cache(screen)
    number = f"{len(entries)} claim" + ("s" if len(entries) != 1 else "")
    screen.say(f"implicit-bias {implicit_bias.__version__}: {number} at size {scale}")

    def prepare(study: Study, settings: StudySettings) -> None:
        prepare_jax(settings, scale, cache)

    progress = Progress(screen)
    try:
        return ledger.verify(
            entries, out, scale=scale, how=layout(asked), reporter=progress, prepare=prepare
        )
    except KeyboardInterrupt:
        command = shlex.join(asked.arguments)
        raise Stopped(
            f"what was finished, and the last checkpoint, are saved in {out}; go on with "
            f"`implicit-bias {command}`"
        ) from None
    finally:
        progress.end(finished=False)


def _say_what_goes(screen: Screen, out: Path, entries: tuple[Entry, ...]) -> None:
    """Say that the ledger of other claims that lies here is replaced."""
    from implicit_bias import ledger

    try:
        before = ledger.load(out)
    except UserError:  # there is none, or none that anybody could read
        return
    gone = {row.id for row in before.rows} - {entry.id for entry in entries}
    if gone:
        number = f"{len(gone)} claim" + ("s" if len(gone) > 1 else "")
        screen.say(
            f"The ledger in {out} had {number} more, which the new one leaves out; their runs are kept there"
        )


def _show(screen: Screen, made: Ledger, entries: tuple[Entry, ...], *, whole: bool) -> None:
    from implicit_bias import ledger

    screen.say()
    if whole:
        screen.show(ledger.ledger_table(made, {entry.id: entry for entry in entries}))
    screen.show(ledger.counts_table(made))
    if not whole:
        screen.say("A row a claim: --all, or the page")


def _list(asked: Namespace, screen: Screen) -> None:
    from implicit_bias import ledger

    rows: dict[str, Row] = {row.id: row for row in ledger.shipped().rows}
    listed: list[list[Any]] = []
    for entry in ledger.select():
        row = rows.get(entry.id)
        listed.append([entry.id, entry.sentence, entry.study, row.verdict if row else "not run"])
    screen.show(make_table(["claim", "what it says", "study", "verdict"], listed))
    heads = ("id", "sentence", "study", "verdict")
    print_json(asked, {"claims": [dict(zip(heads, line, strict=True)) for line in listed]})
