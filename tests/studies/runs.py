"""Runs of the small study, and what they leave, for the tests of the runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from implicit_bias.studies import runner
from implicit_bias.studies.base import Study


def run_small(study: Study, out: Path, seeds: int = 2, **options: Any) -> runner.Run:
    """Run the small study."""
    settings = study.settings(seeds=seeds, **options.pop("settings", {}))
    return runner.run(study, settings, out, scale="custom", **options)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return what lies under a folder, byte for byte, but for locks."""
    paths = [path for path in folder.rglob("*") if path.name != ".lock"]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}
