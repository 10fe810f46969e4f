"""Results: stored rows, checkpoints, locks, provenance, statistics, claims, figures and the report.

This room may touch the disk. Its modules are imported when first used, and are light to import: xarray,
pandas, pyarrow and ``scipy.stats`` are loaded by the functions that need them.
"""

from __future__ import annotations

import importlib
from typing import Any

MODULES = ("claims", "figures", "lane_store", "report", "statistics", "store", "table")
"""Public modules."""


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return importlib.import_module(f"implicit_bias.results.{name}")
    raise AttributeError(f"module 'implicit_bias.results' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(MODULES)
