"""The committed table from which the plan chooses how lanes run.

The row of the CPU comes from ``scripts/benchmark.py``; that of accelerators is a guess and says so.
``implicit-bias tune`` compares layouts on the machine at hand. Nothing is measured behind the user's back.
"""

from __future__ import annotations

from dataclasses import dataclass

from implicit_bias.training.recipe import Recipe


@dataclass(frozen=True)
class Choice:
    """A row of the table.

    Attributes:
        strategy: ``"map"`` or ``"vmap"``.
        tile: Lanes of one batched computation under ``"vmap"``.
        gflops: Expected nominal speed of the whole machine, 10⁹ operations a second.
        reason: Why, in one line.
    """

    strategy: str
    tile: int
    gflops: float
    reason: str


CPU = Choice(
    "map",
    1,
    184.0,  # 8 × 784-100-10, batch 32, two cores: the slowest of the three shapes measured
    "cpu: lanes spread over cores and run one after another within a core; bit-identical for any "
    "number of lanes, devices, chunks and segments, and the fastest of the choices measured",
)
ACCELERATOR = Choice(
    "vmap",
    64,
    5000.0,
    "accelerator: lanes batched in tiles of fixed size; not measured yet, run `implicit-bias tune`",
)


def choose(backend: str, recipe: Recipe) -> Choice:
    """Return the row for a backend and a recipe."""
    return CPU if backend == "cpu" else ACCELERATOR
