"""The committed table from which the plan chooses how lanes run.

The rows of the CPU come from ``scripts/benchmark.py`` (``engine``, ``widths --measure``); those of
accelerators are guesses and say so. ``implicit-bias tune`` compares layouts on the machine at hand. Nothing
is measured behind the user's back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


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
# A 3 × 3 convolution of 32 channels at 32 × 32 pixels, 4 lanes, batch 64, two cores.
CPU_CONVOLUTION = replace(CPU, gflops=67.0)
ACCELERATOR = Choice(
    "vmap",
    64,
    5000.0,
    "accelerator: lanes batched in tiles of fixed size; not measured yet, run `implicit-bias tune`",
)


SHARED_WEIGHTS = 2.0
"""Uses of a parameter for each example, on average, from which a network counts as convolutional."""


def choose(backend: str, uses: float = 1.0) -> Choice:
    """Return the row for a backend and a kind of network.

    Args:
        backend: As ``jax.default_backend()`` names it.
        uses: Multiplications of one example for each parameter: 1 in a dense network, hundreds where
            weights are shared by the positions of an image.
    """
    if backend != "cpu":
        return ACCELERATOR
    return CPU_CONVOLUTION if uses >= SHARED_WEIGHTS else CPU


@dataclass(frozen=True)
class Costs:
    """What the plan of widths (``training.widths``) takes training and compiling to cost.

    The times of training are those of one lane on one device, while all devices are busy.

    Attributes:
        devices: Devices that share the lanes.
        compile_seconds: For all programs of one recipe: start, updates and evaluation.
        sharing: Part of a second that training and compiling each lose for each second that both run: one
            over the number of cores where they share these, 0 where they do not.
        start_seconds: For a lane to begin and end, whatever its size.
        start_per_parameter: The same for each parameter: drawing it, and fetching it in the end.
        per_example: Seconds of an update for each example.
        per_parameter: Seconds of an update for each parameter, whatever the batch size.
        gflops: Speed of the matrix products, 10⁹ operations a second.
    """

    devices: int
    compile_seconds: float
    sharing: float
    start_seconds: float
    start_per_parameter: float
    per_example: float
    per_parameter: float
    gflops: float

    def update_seconds(self, parameters: int, operations: float, batch_size: int) -> float:
        """Return the time of one gradient and update of a lane.

        Args:
            parameters: Of the network.
            operations: Of matrix products, for each example.
            batch_size: Examples in an update.
        """
        products = 1e-9 * operations / self.gflops
        return batch_size * (self.per_example + products) + parameters * self.per_parameter

    def lane_seconds(self, parameters: int) -> float:
        """Return the time a lane takes beside its updates."""
        return self.start_seconds + parameters * self.start_per_parameter


# 784-W-10 networks on two cores, two lanes at a time, heavy ball: fitted to widths 32 to 4096 at batch
# 128, 64 to 4096 at 1000 examples in one batch, and 64 and 512 at 16; it misses none by more than 27 %.
# Least processor time of three runs, as the machine was shared. Compiling took 2.6 to 3.0 s with
# mini-batches, whose order is drawn by a sort, and 1.6 to 1.7 s with full batches, at any width.
CPU_COSTS = Costs(
    devices=2,
    compile_seconds=2.6,
    sharing=0.5,
    start_seconds=0.005,
    start_per_parameter=1.6e-7,
    per_example=5.2e-7,
    per_parameter=7.5e-10,
    gflops=108.0,
)
ACCELERATOR_COSTS = Costs(
    devices=1,
    compile_seconds=8.0,
    sharing=0.0,
    start_seconds=0.005,
    start_per_parameter=1e-8,
    per_example=2e-8,
    per_parameter=1e-11,
    gflops=5000.0,  # none of these is measured
)


def costs(backend: str) -> Costs:
    """Return the costs of training and compiling on a backend."""
    return CPU_COSTS if backend == "cpu" else ACCELERATOR_COSTS
