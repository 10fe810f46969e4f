"""Linear algebra of small matrices on one thread."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let linear algebra of NumPy and SciPy use one thread inside this context, or a function it decorates.

    Matrices of a hundred rows are solved in less time than threads need to wait for each other: with two
    of them, and others' work beside them, it took ten times as long. Nor do results then depend on the
    number of cores.
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield


@functools.lru_cache(maxsize=1)
def _controller() -> Any:
    # SciPy has a library of its own, and a controller knows only those that are loaded when it is made.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()
