"""How large a basis may be within a memory budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from implicit_bias.arguments import require_number, require_whole
from implicit_bias.curvature.eigenpairs import check_count
from implicit_bias.curvature.krylov import BLOCK, padded
from implicit_bias.errors import UserError

# Vectors that `thick_restart_lanczos` holds beside the basis and the result: mostly a block of the
# basis.
_WORK = 11


@dataclass(frozen=True)
class SubspacePlan:
    """How eigenpairs are found within a memory budget.

    Attributes:
        subspace: Basis vectors to give to ``thick_restart_lanczos``.
        vector_bytes: Memory of one vector.
        memory_bytes: Memory of all vectors together: the basis, the result, and a few more. What
            the operator itself holds (data, activations) comes on top.
        restarts: Whether the basis is smaller than was wished for, so that the search restarts
            more often than it need.
    """

    subspace: int
    vector_bytes: int
    memory_bytes: int
    restarts: bool

    def __str__(self) -> str:
        """Return one line for a report."""
        how = "thick restarts" if self.restarts else "the whole basis asked for"
        return (
            f"{self.subspace} basis vectors of {self.vector_bytes / 1e6:.3g} MB, "
            f"{self.memory_bytes / 1e9:.3g} GB in all, {how}"
        )


def plan_subspace(
    dimension: int, k: int, memory_bytes: int, dtype: Any = jnp.float32, *, wish: int = 150
) -> SubspacePlan:
    """Say how many basis vectors fit in a memory budget.

    Args:
        dimension: Number of parameters p.
        k: How many eigenpairs are wanted.
        memory_bytes: What all vectors of the search may take together.
        dtype: Of the vectors.
        wish: How many basis vectors one would like; no more are planned.

    Returns:
        The plan.

    Raises:
        UserError: If the budget does not hold the three vectors of one product (the parameters, the
            vector, its image), or not the least that k pairs need; or k or wish is out of range.
    """
    for name, value in (("dimension", dimension), ("wish", wish)):
        require_whole(name, value)
    require_number("memory_bytes", memory_bytes)
    if dimension < 1:
        raise UserError(f"dimension is {dimension}; choose dimension >= 1")
    check_count(k, dimension)
    least = min(k + 2, dimension)
    wish = min(wish, dimension)
    if wish < least:
        raise UserError(
            f"wish is {wish}, too few vectors for k = {k} eigenpairs; choose wish >= {least}"
        )
    vector = dimension * jnp.dtype(dtype).itemsize
    if not memory_bytes >= 3 * vector:
        raise UserError(
            f"memory_bytes is {memory_bytes}, too small for one product in dimension {dimension}; "
            f"choose memory_bytes >= {3 * vector}"
        )

    others = k + max(k + 2, _WORK)  # the result, and during its verification a second copy

    def total(rows: int) -> int:
        return (padded(rows) + others) * vector

    if memory_bytes < total(least):
        raise UserError(
            f"memory_bytes is {memory_bytes}, too small for k = {k} eigenpairs in dimension "
            f"{dimension}; choose memory_bytes >= {total(least)}"
        )
    rows = int(memory_bytes // vector - others) // BLOCK * BLOCK
    subspace = min(wish, rows)
    return SubspacePlan(subspace, vector, total(subspace), subspace < wish)
