"""The figures of a ledger's runs as files for papers: PDF or SVG."""

from __future__ import annotations

from pathlib import Path

from implicit_bias.ledger.ledger import Ledger
from implicit_bias.results import store


def export_figures(ledger: Ledger, out: Path, format: str) -> list[Path]:
    """Draw the figures of all runs of a ledger again, as files that scale.

    Args:
        ledger: The ledger.
        out: Its folder; figures go to ``out/figures/<run>/<name>.<format>``.
        format: ``"pdf"`` or ``"svg"``.

    Returns:
        The files.

    Raises:
        UserError: The format is not known, a run's result cannot be read, or a file cannot be written.
    """
    from implicit_bias import studies
    from implicit_bias.results import figures

    runs = {row.run["path"]: row.study for row in ledger.rows if "path" in row.run}
    files = []
    for path, name in runs.items():
        result = store.load(out / path / "results.nc")
        for drawing in studies.get(name).drawings:
            if drawing.when(result):
                stem = out / "figures" / Path(path).name / drawing.name
                files += figures.save(drawing.draw(result), stem, (format,))
    return files
