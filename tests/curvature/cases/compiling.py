"""Programs that run for microseconds, compiled with little optimisation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def _known_options() -> dict[str, Any]:
    """Return what makes XLA compile small programs about seven times faster, where it is known."""
    wanted = {
        "xla_backend_optimization_level": 0,
        "xla_cpu_use_fusion_emitters": False,
        "xla_cpu_parallel_codegen_split_count": 1,
    }
    known = {}
    for name, value in wanted.items():
        try:
            jax.jit(lambda x: x, compiler_options={name: value})(np.float32(0))
        except Exception:  # another release or backend has others; the tests only take longer
            continue
        known[name] = value
    return known


def quick(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile with little optimisation: these programs run for microseconds."""
    return jax.jit(function, compiler_options=_options(), **options)


_options = functools.cache(_known_options)
