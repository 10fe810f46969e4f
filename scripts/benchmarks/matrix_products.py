"""Square matrix products, the ceiling of every speed that is measured."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from benchmarks.libraries import set_up_jax, set_up_torch, torch_device
from benchmarks.work import Work


@dataclass
class MatrixProductRunner:
    """Square float32 matrix products on all cores, the ceiling of every other number.

    Attributes:
        library: ``"torch"`` (``torch.mm``) or ``"jax"`` (``jnp.dot`` on one device with all cores).
        sizes: Sides of the squares; the best counts.
        work: Gives the precision.
        notes: Unused.
    """

    library: Literal["torch", "jax"]
    sizes: tuple[int, ...]
    work: Work
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.library == "torch":
            set_up_torch(self.work.precision)
        else:
            set_up_jax(self.work.precision, cpu_devices=1)

    def setup(self) -> None:
        """Make the matrices and run each product once."""
        generator = np.random.default_rng(0)
        squares = {
            size: generator.standard_normal((size, size), dtype=np.float32) for size in self.sizes
        }
        if self.library == "torch":
            import torch

            device = torch_device()
            self.squares: dict[int, Any] = {
                k: torch.from_numpy(v).to(device) for k, v in squares.items()
            }
            self.multiply, self.wait = torch.mm, lambda _: None
            if device == "cuda":
                self.wait = lambda _: torch.cuda.synchronize()
        else:
            import jax

            self.squares = {k: jax.numpy.asarray(v) for k, v in squares.items()}
            self.multiply, self.wait = jax.jit(jax.numpy.dot), jax.block_until_ready
        self.best: dict[int, float] = dict.fromkeys(self.sizes, 0.0)
        self.run(1)

    def run(self, updates: int) -> None:
        """Time products of each size for ``updates`` × 10¹⁰ operations, in five pieces."""
        for size, square in self.squares.items():
            count = max(1, int(updates * 1e10 / (2 * size**3) / 5))
            for _ in range(5):
                began = time.perf_counter()
                for _ in range(count):
                    product = self.multiply(square, square)
                self.wait(product)
                seconds = time.perf_counter() - began
                self.best[size] = max(self.best[size], 2e-9 * size**3 * count / seconds)

    def result(self) -> dict[str, float]:
        """Return the best GFLOP/s of each size so far."""
        return {str(size): speed for size, speed in self.best.items()}

    def device_memory(self) -> int | None:
        """Return None: of no interest here."""
        return None
