"""The figures of a ledger's runs as files for papers: PDF or SVG."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
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
    for (path, name), folder in zip(runs.items(), folder_names(runs), strict=True):
        result = store.load(out / path / "results.nc")
        for drawing in studies.get(name).drawings:
            if drawing.when(result):
                stem = out / "figures" / folder / drawing.name
                files += figures.save(drawing.draw(result), stem, (format,))
    return files


def folder_names(runs: Mapping[str, str]) -> list[str]:
    """Return a name for each run's figures: its folder's, with study and number where two are called alike.

    Args:
        runs: The runs' studies, by path.

    Example:
        >>> folder_names({"a/laptop": "margin", "b/laptop": "stability", "c/laptop": "stability"})
        ['laptop', 'stability-laptop', 'stability-laptop-2']
    """
    names: list[str] = []
    for path, study in runs.items():
        own = Path(path).name or study
        more = (f"{study}-{own}" + (f"-{n}" if n > 1 else "") for n in itertools.count(1))
        names.append(
            next(name for name in (own, *itertools.islice(more, len(runs))) if name not in names)
        )
    return names
