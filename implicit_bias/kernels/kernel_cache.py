"""Infinite-width kernels kept on disk, found again by what they were made of."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.data import cache
from implicit_bias.errors import UserError
from implicit_bias.kernels.closed_form import Kernels
from implicit_bias.kernels.infinite import MEMORY, InfiniteKernel

VERSION = 1
"""Version of how kernels are computed: a change that moves their values raises it."""


def cached_kernel(
    kernel: InfiniteKernel,
    x1: Any,
    x2: Any = None,
    *,
    memory: int = MEMORY,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Kernels:
    """Return both kernels, from the disk where they have been computed before.

    A file is found by what goes into a kernel: the layers and their numbers, the engine, the initial
    scale, the precision and the inputs themselves. One that is damaged is computed again, and files
    are written whole or not at all. Where the disk is full, the kernels are returned with a warning.

    Args:
        kernel: As :func:`implicit_bias.kernels.infinite.infinite_kernel` returns it.
        x1: Inputs, shape (n1, *features).
        x2: Inputs, shape (n2, *features); None for x1 again.
        memory: As in the kernel's call.
        cache_dir: Folder of prepared datasets, in which ``kernels`` is the folder of these files; see
            :func:`implicit_bias.data.cache.directory`.

    Returns:
        Kernels of shape (n1, n2).

    Raises:
        UserError: As the kernel's call; or ``kernel`` or ``cache_dir`` is something else, or
            something is traced, which cannot be on a disk.
    """
    file = cache_file(kernel, x1, x2, cache_dir=cache_dir)
    found = _read(file)
    if found is not None:
        return found
    kernels = kernel(jnp.asarray(x1), None if x2 is None else jnp.asarray(x2), memory=memory)
    arrays = {name: np.asarray(value) for name, value in kernels._asdict().items()}
    try:
        cache.write_arrays(file, arrays, {"name": file.stem, "kind": "kernels"})
    except UserError as error:
        warnings.warn(f"the kernels were computed but not kept: {error}", stacklevel=2)
    return kernels


def cache_file(
    kernel: InfiniteKernel,
    x1: Any,
    x2: Any = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Return the file of a kernel of some inputs, whether or not it exists.

    Args:
        kernel: As in :func:`cached_kernel`.
        x1: As there.
        x2: As there.
        cache_dir: As there.

    Raises:
        UserError: As in ``cached_kernel``.
    """
    if not isinstance(kernel, InfiniteKernel):
        raise UserError(
            f"kernel is of type {type(kernel).__name__}; give what infinite_kernel(model) returns"
        )
    if cache_dir is not None and not isinstance(cache_dir, str | os.PathLike):
        raise UserError(f"cache_dir is {cache_dir!r:.60}; give a folder's path, or None")
    if any(isinstance(value, jax.core.Tracer) for value in (x1, x2, kernel.scale)):
        raise UserError(
            "a kernel of traced values cannot be kept on disk; call cached_kernel outside of jit"
        )
    # The name that the kernel will compute under: float64 may be off.
    x1, x2 = kernel.checked(x1, x2)
    first = np.asarray(x1)
    parts = {
        "version": VERSION,
        "engine": kernel.engine,
        "computed_in": str(jax.dtypes.canonicalize_dtype(float)),
        "chain": repr(kernel.model.chain()),
        "numbers": [list(map(float, n)) for n in kernel.numbers(first.shape[1:], first.dtype)],
        "x1": _content(first),
        "x2": None if x2 is None else _content(np.asarray(x2)),
    }
    name = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return cache.directory(cache_dir) / "kernels" / f"{name}.npz"


def _read(file: Path) -> Kernels | None:
    try:
        _, arrays = cache.read_arrays(file)
        return Kernels(jnp.asarray(arrays["nngp"]), jnp.asarray(arrays["ntk"]))
    except cache.UNREADABLE:  # a missing file is one of these
        return None


def _content(x: np.ndarray[Any, Any]) -> list[Any]:
    return [list(x.shape), x.dtype.str, hashlib.sha256(np.ascontiguousarray(x).data).hexdigest()]
