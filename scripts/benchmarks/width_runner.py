"""Training a sweep of widths as studies do, compiled from nothing each time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.libraries import jax_device_memory, set_up_jax
from benchmarks.work import CLASSES, FEATURES, MOMENTUM, STEP_SIZE

Buckets = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Sweep:
    """What is trained: networks 784-W-10 as in the engine's benchmark (``benchmarks.work``).

    Attributes:
        widths: Hidden units, increasing.
        seeds: Networks of each width.
        batch: Examples in an update.
        examples: Examples in the training set.
    """

    widths: tuple[int, ...]
    seeds: int
    batch: int
    examples: int = 10_000

    def plan(self, updates: int) -> Any:
        """Return the plan of widths."""
        from implicit_bias.models import Dense
        from implicit_bias.training.widths import bucketed

        return bucketed(
            Dense((1,), CLASSES), self.widths, inputs=FEATURES, lanes=self.seeds, updates=updates,
            batch_size=self.batch,
        )  # fmt: skip


@dataclass
class WidthRunner:
    """``implicit_bias.training`` with the programs compiled in a thread, the widest first.

    Attributes:
        sweep: What is trained.
        notes: Remarks for the table.
    """

    sweep: Sweep
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        set_up_jax()

    def setup(self) -> None:
        """Place the data; everything else belongs to a run."""
        import jax

        from implicit_bias.data import Dataset
        from implicit_bias.training.slots import make_pool

        jax.config.update("jax_enable_compilation_cache", False)
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.sweep.examples, FEATURES), dtype=np.float32)
        y = rng.integers(0, CLASSES, self.sweep.examples, dtype=np.int32)
        self.dataset = Dataset("random", "classification", CLASSES, x, y, x[:1], y[:1])
        # A single lane is on one device.
        self.pools = {
            n: make_pool(self.dataset, "float32", n) for n in range(1, jax.device_count() + 1)
        }
        self.trained: list[Any] = []

    def run(self, work: tuple[int, Buckets] | tuple[int, Buckets, bool]) -> None:
        """Compile and train all networks; the final weights are on the host when this returns.

        Args:
            work: Updates, the widths that share programs, and whether to compile anew (by default).
        """
        import jax

        from implicit_bias.training import make_plan, train_chunk
        from implicit_bias.training.ahead import compile_chunks

        updates, buckets, anew = work if len(work) == 3 else (*work, True)
        if anew:
            jax.clear_caches()
        lanes = [lane for bucket in reversed(buckets) for lane in self._lanes(updates, bucket)]
        plan = make_plan(lanes, self.dataset)
        self.trained = []
        with ThreadPoolExecutor(1) as thread:
            ready = [
                thread.submit(
                    compile_chunks, program, self.dataset, self.pools[program.layout.devices]
                )
                for program in plan.programs
            ]
            for program, done in zip(plan.programs, ready, strict=True):
                done.result()
                pool = self.pools[program.layout.devices]
                for chunk in program.chunks:
                    self.trained.append(train_chunk(program, chunk, self.dataset, pool=pool))

    def _lanes(self, updates: int, bucket: tuple[int, ...]) -> list[Any]:
        from implicit_bias import losses, optimizers
        from implicit_bias.models import Dense, Padded
        from implicit_bias.optimizers import schedules
        from implicit_bias.training import Budget, Lane, Recipe

        widest = Dense((bucket[-1],), CLASSES)
        recipe = Recipe(
            model=widest if len(bucket) == 1 else Padded(widest),
            loss=losses.get("cross_entropy"),
            optimizer=optimizers.get("heavy_ball"),
            schedule=schedules.get("constant"),
            batch_size=self.sweep.batch,
            n_train=self.sweep.examples,
        )
        settings = {"step_size": STEP_SIZE, "momentum": MOMENTUM}
        return [
            Lane(
                recipe,
                seed,
                settings | ({"width": width} if len(bucket) > 1 else {}),
                Budget(updates),
            )
            for width in reversed(bucket)
            for seed in range(self.sweep.seeds)
        ]

    def result(self) -> dict[str, float]:
        """Return the sum of squares of the last layers: all ways train the same networks."""
        leaves = [leaf for part in self.trained for leaf in part.params["layer_1"].values()]
        return {"square": float(sum(np.sum(np.square(leaf, dtype=float)) for leaf in leaves))}

    def device_memory(self) -> int | None:
        """Return JAX's peak allocation on the accelerator."""
        return jax_device_memory()
