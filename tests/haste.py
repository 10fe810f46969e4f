"""Compilation in a hurry, for tests whose programs run for milliseconds and compile for seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def hasty(on: bool = True) -> Iterator[None]:
    """Let XLA leave out most optimisations meanwhile, or not; what programs compute stays the same."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", on)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
