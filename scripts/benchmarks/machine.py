"""What the numbers were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("implicit-bias", "jax", "jaxlib", "flax", "optax", "numpy", "torch")
BUSY = 0.25
"""Load per core above which timings are not to be trusted."""


def cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """Return processor, cores, load before the start, memory and versions, ready for JSON."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_GB": _memory_gb(),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def warning(description: dict[str, Any]) -> str | None:
    """Return one line when the machine was busy before the start, else None."""
    load = description["load_before"][0]
    if load <= BUSY * description["cores"]:
        return None
    return (
        f"warning: the load average was {load} on {description['cores']} core(s) before the start; "
        "these timings are not of an idle machine"
    )


def peak_memory() -> int:
    """Return the largest resident memory this process has had, in bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError):
        return None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
