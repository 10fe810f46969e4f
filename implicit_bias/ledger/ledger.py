"""The ledger: a row for every statement, with the verdict of one run on it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from implicit_bias.errors import UserError
from implicit_bias.ledger.registry import SCALES, Document, Entry, Scale
from implicit_bias.results.checkpoint import write_atomic
from implicit_bias.results.lock import RunLock

SCHEMA = 1
"""Version of the ledger's JSON; a file with another one is refused."""

VERDICTS = ("supported", "refuted", "conditional", "inconclusive", "not-decided")
"""Verdicts on a document's position, in the order in which they are counted."""

NOT_RUN = "not run: "
"""How the reason begins of a row whose study was asked for and could not be run."""

NO_RUN = f"{NOT_RUN}no run that judges it was given"
"""The reason of a row of which ledgers and runs that were put together say nothing."""


@dataclass(frozen=True)
class Row:
    """What one run says of a statement.

    Attributes:
        id: The statement.
        document: Its document.
        study: The study that judged it.
        config: The config of that study; empty where nothing was run.
        verdict: One of ``VERDICTS``.
        effect: The measured effect, or error.
        interval: Its interval, None at an end that has no bound; or the range an error must lie in.
        n_seeds: Number of seeds behind it.
        unit: Unit of the effect.
        condition: For a conditional verdict: where it holds and where not.
        reason: What else the reader must know; for ``not-decided``, why.
        arms: The comparisons behind the verdict: each one's name, ``verdict``, ``effect``, ``interval``,
            ``n``, and as ``boundary`` the value that its verdict hangs on.
        run: What ran: its study, digest of its settings, version, checksum of the data, seeds, size, and as
            ``path`` its folder seen from the ledger's.
        follow_ups: Verdicts on claims of our own that follow from it, by id.
        criterion: The criterion by which it was judged; empty where that was not kept.
    """

    id: str
    document: Document
    study: str
    config: str
    verdict: str
    effect: float | None = None
    interval: tuple[float | None, float | None] | None = None
    n_seeds: int = 0
    unit: str = "1"
    condition: str = ""
    reason: str = ""
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    follow_ups: Mapping[str, str] = field(default_factory=dict)
    criterion: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict is {self.verdict!r}; it must be one of {VERDICTS}")


@dataclass(frozen=True)
class Ledger:
    """Rows in the order of the registry.

    Attributes:
        scale: The size of the runs; ``"mixed"`` where several were put together.
        rows: A row for each statement that was asked for.
    """

    scale: str
    rows: tuple[Row, ...]

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{count} {verdict}" for verdict, count in self.counts().items() if count
        )
        return f"Ledger({self.scale}, {len(self.rows)} claims: {counts})"

    def __getitem__(self, id: str) -> Row:
        for row in self.rows:
            if row.id == id:
                return row
        raise KeyError(id)

    def counts(self, document: str | None = None) -> dict[str, int]:
        """Return how many rows have each verdict, of one document or of all."""
        given = Counter(
            row.verdict for row in self.rows if document is None or row.document == document
        )
        return {verdict: given[verdict] for verdict in VERDICTS}

    def save(self, path: Path) -> None:
        """Write the ledger as JSON, whole or not at all.

        Raises:
            UserError: The file cannot be written.
        """
        writable(path.parent)
        content = {
            "schema": SCHEMA,
            "scale": self.scale,
            "rows": [asdict(row) for row in self.rows],
        }
        write_atomic(
            path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        )


def writable(out: Path) -> None:
    """Make the folder of a ledger, and see that something can be written there.

    Raises:
        UserError: It cannot be made or written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UserError(
            f"folder {out} cannot be made or written to ({error.strerror}); name another with --out"
        ) from error


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold the folder of a ledger: of two that write there each would leave the other's statements out.

    Raises:
        UserError: It cannot be made or written to, or another process holds it.
    """
    writable(out)
    with RunLock(out, remove_leftovers=False):  # below it may lie what others are at work on
        for leftover in out.glob(".ledger.*.partial"):
            leftover.unlink(missing_ok=True)
        yield


def not_decided(entry: Entry, reason: str, config: str = "") -> Row:
    """Return the row of a statement on which nothing was found, with the reason."""
    return Row(entry.id, entry.document, entry.study, config, "not-decided", reason=reason)


def judged(
    entry: Entry,
    scale: Scale | None,
    findings: Mapping[str, Mapping[str, Any]],
    config: str,
    run: Mapping[str, Any],
) -> Row:
    """Return a statement's row from a run's findings.

    Below the size from which a statement can be decided, and where no size decides it, the row says
    so whatever the run found: a small run that happens to lean one way is no verdict.

    Args:
        entry: The statement.
        scale: The size of the run; None where it has none, whose verdict is taken as it is.
        findings: The run's findings by id, as ``results.claims.to_json`` writes them.
        config: Name of the run's config.
        run: What ran.
    """
    if entry.decided_from is None:
        return not_decided(entry, f"needs {entry.needs}", config)
    found = findings.get(entry.id)
    if found is None:
        return not_decided(entry, f"study {entry.study} did not judge it", config)
    order = list(entry.configs)
    early = scale in order and order.index(scale) < order.index(entry.decided_from)
    if early:
        return not_decided(entry, f"needs {entry.decided_from}", config)
    interval = found.get("interval")
    return Row(
        id=entry.id,
        document=entry.document,
        study=entry.study,
        config=config,
        verdict=found["verdict"],
        effect=found.get("effect"),
        interval=None if interval is None else (interval[0], interval[1]),
        n_seeds=found.get("n_seeds") or 0,
        unit=found.get("unit") or entry.unit,
        condition=found.get("condition", ""),
        reason=found.get("reason", ""),
        arms=_arms(found),
        run=run,
        follow_ups={id: findings[id]["verdict"] for id in entry.follow_ups if id in findings},
        criterion=found.get("criterion", ""),
    )


def _arms(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the comparisons behind a finding."""
    arms = (found.get("details") or {}).get("arms") or {}
    kept = ("verdict", "effect", "interval", "n", "boundary")
    return {
        arm: {key: record.get(key) for key in kept}
        for arm, record in arms.items()
        if record.get("verdict")
    }


def combine(ledgers: Sequence[Ledger], entries: Iterable[Entry]) -> Ledger:
    """Put ledgers together: for each statement the row of the largest size that a config of its own judges.

    Of two of one size the one with more seeds counts, and any config of its own before other settings. A
    row that is not decided gives way to any that is. Which verdict a row has is not looked at.

    Args:
        ledgers: Ledgers, of which later ones win where nothing else tells rows apart.
        entries: The statements asked for; one without a row is not decided.
    """
    rows = []
    found_sizes: set[str] = set()
    for entry in entries:
        found = [row for ledger in ledgers for row in ledger.rows if row.id == entry.id]

        def worth(
            place_and_row: tuple[int, Row], entry: Entry = entry
        ) -> tuple[bool, int, int, int]:
            place, row = place_and_row
            size = size_of(entry, row.config)
            rank = -1 if size is None else SCALES.index(size)
            return row.verdict != "not-decided", rank, row.n_seeds, place

        best = max(enumerate(found), key=worth, default=None)
        rows.append(best[1] if best else not_decided(entry, NO_RUN))
        if best and best[1].config:
            found_sizes.add(size_of(entry, best[1].config) or best[1].config)
    if not found_sizes:
        found_sizes = {ledger.scale for ledger in ledgers}
    return Ledger(found_sizes.pop() if len(found_sizes) == 1 else "mixed", tuple(rows))


def size_of(entry: Entry, config: str) -> Scale | None:
    """Return the largest size at which a config judges a statement; None where it is none of its own."""
    return next((size for size in reversed(SCALES) if entry.configs.get(size) == config), None)
