"""JAX and PyTorch made ready in a runner's own process, and what they say of their memory.

Libraries are imported when a runner is made, so that a set-up's time has no import in it.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from benchmarks.timing import Absent
from benchmarks.work import Precision


def need(module: str, title: str) -> Any:
    """Import an optional package.

    Raises:
        Absent: It is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Absent(
            f"{title} is not installed; install it with: pip install 'implicit-bias[peers]'"
        ) from None


def set_up_torch(precision: Precision = "float32", threads: int | None = None) -> None:
    """Import PyTorch and set it up.

    Args:
        precision: Of float32 matrix products on an accelerator.
        threads: Threads it may use; by default its own choice, all cores.

    Raises:
        Absent: PyTorch is not installed.
    """
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    torch = need("torch", "PyTorch")
    need("torch.func", "PyTorch")
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")


def torch_device() -> str:
    """Return the name of the accelerator that PyTorch sees, or ``"cpu"``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def torch_device_memory() -> int | None:
    """Return PyTorch's peak allocation on the accelerator in bytes, or None without one."""
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def set_up_jax(
    precision: Precision = "float32", *, cpu_devices: int | None = None, float64: bool = False
) -> None:
    """Import JAX and set it up, and what would otherwise be imported while the clock runs.

    Args:
        precision: Of float32 matrix products on an accelerator.
        cpu_devices: Number of devices the CPU is split into; by default one per core.
        float64: Whether arrays may be float64.
    """
    # Several processes share an accelerator here: take memory as needed, not all at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    from implicit_bias import runtime

    runtime.configure(cpu_devices=cpu_devices, float64=float64)
    import implicit_bias.curvature
    import implicit_bias.data
    import implicit_bias.models
    import implicit_bias.training  # noqa: F401

    if jax.default_backend() != "cpu":
        jax.config.update("jax_default_matmul_precision", precision)


def jax_device_memory() -> int | None:
    """Return JAX's peak allocation on the accelerator in bytes, or None without one."""
    import jax

    if jax.default_backend() == "cpu":
        return None
    return int((jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0))
