"""The plan: lanes that share a compiled program, in chunks, how they run, and what that takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from implicit_bias.data.dataset import Dataset
from implicit_bias.runtime import Layout
from implicit_bias.training.convolving import Convolutions, listed, summarised
from implicit_bias.training.recipe import Lane, Recipe


@dataclass(frozen=True)
class Program:
    """The lanes that share one compiled program.

    Attributes:
        recipe: Their common static half.
        layout: How they run.
        chunks: The lanes, cut so that each chunk fits in the memory budget; results do not depend on
            the cut.
        slots: Places for lanes on each device; those that a chunk leaves empty are padding.
        lane_bytes: Memory of one lane between segments.
        working_bytes: Memory that a device takes beside, while it trains or evaluates: predicted.
        evaluator_chunk: Examples in one forward pass of an evaluation.
        parameters: Parameters of one network.
        gflops: Expected nominal speed in 10⁹ operations a second.
        multiply_adds: Multiplications with an addition to evaluate one example.
    """

    recipe: Recipe
    layout: Layout
    chunks: tuple[tuple[Lane, ...], ...]
    slots: int
    lane_bytes: int
    working_bytes: int
    evaluator_chunk: int
    parameters: int
    gflops: float
    multiply_adds: int

    @property
    def peak_bytes(self) -> int:
        """Memory of a chunk at its peak, over all devices, without the data."""
        return self.layout.devices * (self.slots * self.lane_bytes + self.working_bytes)

    @property
    def seconds(self) -> float:
        """Expected time without compilation and evaluation."""
        return self.gflop / self.gflops

    @property
    def n_lanes(self) -> int:
        """Number of lanes over all chunks."""
        return sum(len(chunk) for chunk in self.chunks)

    @property
    def gflop(self) -> float:
        """Nominal work in 10⁹ floating-point operations."""
        return self.work(sum(lane.updates for chunk in self.chunks for lane in chunk))

    def __repr__(self) -> str:
        layout = self.layout
        return (
            f"Program({self.recipe.optimizer.name}, batch {self.recipe.batch_size}, {self.n_lanes} lanes in "
            f"{len(self.chunks)} chunks, {layout.strategy} on {layout.devices} devices, "
            f"{self.parameters} parameters)"
        )

    def work(self, updates: int) -> float:
        """Return the nominal work of updates: 6 operations for each parameter, example and gradient.

        Where an example uses parameters more than once, as convolutions do, each use counts.
        """
        gradients = updates * self.recipe.optimizer.gradients
        used = max(self.parameters, self.multiply_adds)
        return 6e-9 * used * self.recipe.batch_size * gradients


@dataclass(frozen=True)
class Plan:
    """A sweep, ready to run.

    Attributes:
        programs: One entry per compiled training program.
        dataset: What every lane trains on.
        memory: Budget in bytes for a chunk: its lanes, and what is computed of them.
        reasons: Why the layout is what it is, and what padding wastes, one line each.
        convolutions: How convolutions are computed, and why.
    """

    programs: tuple[Program, ...]
    dataset: Dataset
    memory: int
    reasons: tuple[str, ...]
    convolutions: Convolutions = ()

    @property
    def n_lanes(self) -> int:
        """Number of lanes over all programs."""
        return sum(program.n_lanes for program in self.programs)

    @property
    def seconds(self) -> float:
        """Expected training time without compilation, evaluation or measurement."""
        return sum(program.seconds for program in self.programs)

    @property
    def data_bytes(self) -> int:
        """Memory of the dataset: as it was loaded, and as devices have it."""
        arrays = (
            self.dataset.x_train,
            self.dataset.y_train,
            self.dataset.x_test,
            self.dataset.y_test,
        )
        devices = max((program.layout.devices for program in self.programs), default=0)
        # CPU devices share their memory, and so a copy.
        copies = min(devices, 1) if jax.default_backend() == "cpu" else devices
        return (1 + copies) * sum(array.nbytes for array in arrays)

    @property
    def peak_bytes(self) -> int:
        """Predicted memory at the peak of training, beside that of the process and the compiler."""
        return self.data_bytes + max((program.peak_bytes for program in self.programs), default=0)

    def __repr__(self) -> str:
        if not self.programs:
            return f"Plan(nothing to train, {self.dataset.name})"
        return (
            f"Plan({self.n_lanes} lanes in {len(self.programs)} programs, {self.dataset.name}, training "
            f"{_duration(self.seconds)}, {self.peak_bytes / 1e6:.3g} MB)"
        )

    def lanes(self) -> Iterator[Lane]:
        """Iterate over all lanes in the order they run."""
        for program in self.programs:
            for chunk in program.chunks:
                yield from chunk

    def describe(self) -> str:
        """Return the plan as text: programs, lanes, chunks, devices, memory, expected time, reasons.

        ``params`` are the parameters of a network, ``MFLOP`` the 10⁶ floating-point operations to
        evaluate one example, two for each multiplication with an addition.
        """
        if not self.programs:
            return f"nothing is trained; experiments on {self._data()}"
        most = "at most " if any(lane.budget.may_end_early for lane in self.lanes()) else ""
        lines = [
            f"{self.n_lanes} lanes in {len(self.programs)} compiled program(s) on "
            f"{self._data()}; training alone takes {most}{_duration(self.seconds)}; compiling and "
            "measuring, not counted here, come on top",
            f"{'batch':>6} {'optimiser':<12} {'lanes':>6} {'chunks':>6} {'layout':<22} "
            f"{'params':>9} {'MFLOP':>9} {'MB/chunk':>9} {'training':>12}",
        ]
        for program in self.programs:
            layout = program.layout
            how = layout.strategy + (f" of {layout.tile}" if layout.tile > 1 else "")
            how += f" × {layout.devices} device" + ("s" if layout.devices > 1 else "")
            lines.append(
                f"{program.recipe.batch_size:>6} {program.recipe.optimizer.name:<12} "
                f"{program.n_lanes:>6} {len(program.chunks):>6} {how:<22} {program.parameters:>9} "
                f"{2e-6 * program.multiply_adds:>9.4g} "
                f"{program.peak_bytes / 1e6:>9.1f} "
                f"{_duration(program.seconds):>12}"
            )
        memory = (
            f"memory at its peak: about {self.peak_bytes / 1e6:.3g} MB, {self.data_bytes / 1e6:.3g} of them "
            "data; the process, the compiler and measuring come on top"
        )
        reasons = (*self.reasons, *summarised(self.convolutions), memory)
        return "\n".join([*lines, *(f"- {reason}" for reason in reasons)])

    def _data(self) -> str:
        """Name the data, and say where labels may have been saved as numbers by mistake."""
        data = self.dataset
        if data.task == "classification":
            return data.name
        y = data.y_train
        labels = data.n_outputs == 1 and bool(np.all((y >= 0) & (y == np.round(y))))
        hint = " (its targets are whole numbers; saved as an integer type they would be classes)"
        return f"{data.name}, a regression{hint if labels else ''}"

    def to_json(self) -> dict[str, Any]:
        """Return what a resumed run must repeat, as JSON-ready data."""
        return {
            "dataset": {"name": self.dataset.name, "checksum": self.dataset.checksum},
            "memory": self.memory,
            "peak_bytes": self.peak_bytes,
            "data_bytes": self.data_bytes,
            "programs": [
                {
                    "recipe": program.recipe.describe(),
                    "strategy": program.layout.strategy,
                    "tile": program.layout.tile,
                    "devices": program.layout.devices,
                    "lanes": program.n_lanes,
                    "chunks": [len(chunk) for chunk in program.chunks],
                    "peak_bytes": program.peak_bytes,
                    "evaluator_chunk": program.evaluator_chunk,
                }
                for program in self.programs
            ],
            "reasons": list(self.reasons),
            "convolutions": listed(self.convolutions),
        }


def _duration(seconds: float) -> str:
    """Write an estimate, which is no better than its first digits."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 120:
        return f"about {seconds:.0f} s"
    if seconds < 7200:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.0f} h"
