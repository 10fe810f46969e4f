"""From a result to what people read: verdicts, tables, figures, report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import implicit_bias
from implicit_bias.results import claims as claims_module
from implicit_bias.results import store
from implicit_bias.results.checkpoint import write_atomic
from implicit_bias.studies.base import Drawing, Study

if TYPE_CHECKING:
    import xarray as xr

    from implicit_bias.results.claims import Finding
    from implicit_bias.results.table import Table


LARGEST_TABLE = 200_000
"""Variables with more values than this are left out of the CSV files."""


VERDICTS = (
    "Effects behind the verdicts, in units of the smallest effect that matters: 0 is no effect, and "
    "from 1 on a claim holds."
)


@dataclass(frozen=True)
class Presented:
    """What was made from a result.

    Attributes:
        findings: A verdict a claim.
        tables: As shown in the terminal and the report.
        files: Everything written, the report last.
        anew: Whether that was done now; otherwise it was read, and tables are in the report alone.
    """

    findings: Sequence[Finding]
    tables: Sequence[Table]
    files: Sequence[Path]
    anew: bool = True

    def __repr__(self) -> str:
        return f"Presented({_summary(self.findings).rstrip('.')}; {len(self.files)} files)"


def read_presented(files: Sequence[Path]) -> Presented | None:
    """Return what was made from a result before, or None if its verdicts cannot be read.

    Args:
        files: As :func:`present` returned them.
    """
    try:
        entries = json.loads(files[0].read_text(encoding="utf-8"))
        names = [field.name for field in dataclasses.fields(claims_module.Finding)]
        findings = []
        for entry in entries:
            known = {name: entry[name] for name in names if name in entry}
            if known.get("interval") is not None:
                low, high = known["interval"]  # null where a side has no bound
                known["interval"] = (
                    -math.inf if low is None else low,
                    math.inf if high is None else high,
                )
            findings.append(claims_module.Finding(**known))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Presented(findings, (), files, anew=False)


def code_digest(study: Study) -> str:
    """Return a digest of the code that judges and draws: this package's, and a user's own study's file."""
    package = Path(implicit_bias.__file__).resolve().parent
    own = getattr(sys.modules.get(study.settings.__module__), "__file__", None)
    files = sorted(package.rglob("*.py"))
    if own is not None and package not in Path(own).resolve().parents:
        files.append(Path(own))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def import_all() -> None:
    """Import what presenting needs. It takes a second or two, which training beside it hides."""
    import matplotlib.figure  # noqa: F401
    import scipy.stats  # noqa: F401

    from implicit_bias.results import figures, report  # noqa: F401


def present(study: Study, result: xr.Dataset, out: Path) -> Presented:
    """Judge the claims, draw the figures and write ``claims.json``, ``results.csv`` and ``report.html``.

    Args:
        study: The study.
        result: Its result.
        out: Folder of the run.

    Returns:
        Verdicts, tables and files.

    Raises:
        UserError: A file cannot be written.
    """
    from implicit_bias.results import figures, report

    findings = claims_module.evaluate(study.claims, result)
    claims_module.write_claims(out / "claims.json", findings, study.claims)
    tables = list(study.tables(result))
    # Per-example records are for programs, which read results.nc.
    large = [name for name, values in result.data_vars.items() if values.size > LARGEST_TABLE]
    files = [out / "claims.json", *store.to_csv(result.drop_vars(large), out / "results.csv")]
    drawings = [drawing for drawing in study.drawings if drawing.when(result)]
    if figures.have_rows(findings):
        forest = Drawing("verdicts", VERDICTS, lambda _: figures.forest(findings, arms=True))
        drawings.insert(0, forest)
    images = []
    for drawing in drawings:
        image = figures.image_bytes(drawing.draw(result))
        file = out / "figures" / f"{drawing.name}.png"
        file.parent.mkdir(exist_ok=True)
        write_atomic(file, image)
        files.append(file)
        images.append(report.Figure(drawing.name, drawing.caption, image))
    path = out / "report.html"
    report.write_report(
        path,
        title=study.title,
        summary=" ".join(filter(None, (_summary(findings), diverged_words(result)))),
        verdicts=claims_module.to_json(findings, study.claims),
        tables=tables,
        figures=images,
        settings=json.loads(result.attrs["settings"]),
        provenance=json.loads(result.attrs["provenance"]),
        notes=study.methods.split("\n\n"),
    )
    return Presented(findings, tables, [*files, path])


def diverged_words(result: xr.Dataset) -> str:
    """Say how many lanes diverged, and of which arms; empty where none did."""
    if "diverged" not in result or not result.sizes.get("lane"):
        return ""
    diverged = result["diverged"].values.astype(bool)
    if not diverged.any():
        return ""
    arms = result["arm"].values if "arm" in result.coords else result["stage"].values
    names = dict.fromkeys(str(arm) for arm in arms[diverged])
    named = list(names)[:6] + (["…"] if len(names) > 6 else [])
    return (
        f"{diverged.sum()} of {diverged.size} lanes diverged and are left out in pairs: "
        f"{', '.join(named)}."
    )


def _summary(findings: Sequence[Finding]) -> str:
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.verdict] = counts.get(finding.verdict, 0) + 1
    parts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"{len(findings)} claim{'s' * (len(findings) != 1)}: {parts}."
