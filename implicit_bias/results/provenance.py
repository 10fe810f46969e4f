"""Where a result comes from: versions, device, precision, code and data.

Nothing here identifies a person or a machine: no host name, no user name, no path. When a run took
place and how long it took is kept apart (``Clock``), because two runs of one thing differ in that
and in nothing else.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import implicit_bias

if TYPE_CHECKING:
    import xarray as xr

_LIBRARIES = ("jax", "jaxlib", "numpy", "scipy", "optax", "flax")


def collect(data_checksum: str | None = None) -> dict[str, Any]:
    """Describe the code, the libraries and the device that a result is made with.

    This initialises JAX's devices, so configure those before.

    Args:
        data_checksum: The checksum of the dataset used, stored as it is.

    Returns:
        A record of JSON values: ``package`` (version, commit and whether the code differs from that
        commit; both ``None`` unless the package is imported from a git checkout), ``python``,
        ``libraries``, ``platform``, ``cpu``, ``device`` (backend, kind and count), ``precision``
        (whether float64 is enabled, and the matrix-product precision asked for) and
        ``data_checksum``.
    """
    import jax

    config: Any = jax.config  # its options are attributes that the type checker cannot see
    devices = jax.devices()
    return {
        "package": {"version": implicit_bias.__version__, **git_state(_package_folder())},
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "device": {
            "backend": jax.default_backend(),
            "kind": devices[0].device_kind,
            "count": len(devices),
        },
        "precision": {
            "float64_enabled": bool(config.jax_enable_x64),
            "matmul": config.jax_default_matmul_precision,
        },
        "data_checksum": data_checksum,
    }


def git_state(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Say which commit a folder of code is at.

    A folder that merely lies inside somebody's repository, such as an environment's
    ``site-packages``, is not a checkout of it: its own files must be tracked.

    Args:
        folder: A folder with an ``__init__.py``.

    Returns:
        ``commit`` (hexadecimal) and ``dirty`` (whether a file of the folder differs from the commit
        or is not in it), both ``None`` where git is absent or the folder is not a checkout.
    """
    unknown = {"commit": None, "dirty": None}
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return unknown
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--", ".")
    if commit is None or changes is None:
        return unknown
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


@dataclass(frozen=True)
class Clock:
    """When a run started, and a steady clock to time it by.

    Attributes:
        started: Universal time, ISO 8601 to the second.
        origin: The steady clock's reading then, in seconds.
    """

    started: str
    origin: float

    @classmethod
    def start(cls) -> Clock:
        """Start the clock.

        Returns:
            The running clock.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return cls(now, time.perf_counter())

    def seconds(self) -> float:
        """Read the clock.

        Returns:
            Seconds since the start.
        """
        return time.perf_counter() - self.origin

    def timing(self, **parts: float) -> xr.Dataset:
        """Make the timing that ``store.save`` puts beside a result.

        Args:
            **parts: Seconds spent on parts of the run, by name.

        Returns:
            Scalars in seconds: ``wall_seconds`` since the start, and one per part; ``started`` as
            attribute.
        """
        import xarray as xr

        values = {"wall_seconds": self.seconds(), **parts}
        return xr.Dataset(
            {name: ((), float(value), {"units": "s"}) for name, value in values.items()},
            attrs={"started": self.started},
        )


def _package_folder() -> Path:
    return Path(implicit_bias.__file__).resolve().parent


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: str | os.PathLike[str], *arguments: str) -> str | None:
    """Run git in a folder; ``None`` if it is missing, slow or says no."""
    # The caller's git variables (set inside a hook, say) would point it at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"  # only looking: leave the index alone
    try:
        done = subprocess.run(
            ["git", "-C", os.fspath(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def _cpu_model() -> str:
    """Name the processor; Linux tells more in /proc than through ``platform``."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
