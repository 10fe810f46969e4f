"""The plan: which lanes share a compiled program, how they are cut into chunks, and how they run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.data.dataset import Dataset
from implicit_bias.errors import UserError
from implicit_bias.models import model_cost
from implicit_bias.models.convolution import Product
from implicit_bias.models.convolution_table import Choice
from implicit_bias.runtime import Layout
from implicit_bias.training import table
from implicit_bias.training.convolving import Convolutions, convolutions_of, listed, summarised
from implicit_bias.training.footprint import Footprint, footprint
from implicit_bias.training.lane import LaneInputs, initial_state
from implicit_bias.training.recipe import Lane, Recipe
from implicit_bias.training.widths import padding_reasons

DEFAULT_MEMORY = 3 * 2**30
"""Bytes that a chunk, its lanes and what is computed of them, may take where nothing else is said."""

PADDED_MEMORY = 8 * 2**20
"""Bytes up to which a chunk may grow by empty slots, to share a compiled program with others."""


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
            return f"nothing is trained; experiments on {self.dataset.name}"
        lines = [
            f"{self.n_lanes} lanes in {len(self.programs)} compiled program(s) on "
            f"{self.dataset.name}; training alone takes {_duration(self.seconds)}; compiling and "
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


def make_plan(
    lanes: Sequence[Lane],
    dataset: Dataset,
    *,
    memory: int = DEFAULT_MEMORY,
    strategy: str | None = None,
    tile: int | None = None,
    devices: int | None = None,
) -> Plan:
    """Group lanes into the fewest compiled programs and cut each into chunks that fit in memory.

    Args:
        lanes: The sweep. Lanes with equal recipes share a program.
        dataset: What they train on.
        memory: Bytes one chunk may take: its lanes, and what is computed of them at a time.
        strategy: ``"map"`` or ``"vmap"``; by default what the committed table says for the backend.
        tile: Lanes in one batched computation under ``"vmap"``.
        devices: Number of devices; by default all.

    Returns:
        The plan.

    Raises:
        UserError: If there are no lanes, a lane asks for more examples than the pool has, a single lane
            does not fit in the memory budget, inputs are to be augmented and are no images, or the layout
            is impossible.
    """
    if not lanes:
        raise UserError("the sweep has no lanes; give at least one seed, step size and batch size")
    present = len(jax.devices())
    if devices is not None and not 1 <= devices <= present:
        raise UserError(f"devices is {devices}, but JAX sees {present}; choose 1 to {present}")
    if memory < 1:
        raise UserError(f"memory is {memory} bytes; choose a positive number")
    backend = jax.default_backend()
    groups: dict[Recipe, list[Lane]] = {}
    for lane in lanes:
        groups.setdefault(lane.recipe, []).append(lane)

    programs: list[Program] = []
    reasons: list[str] = []
    convolutions: list[tuple[Choice, Product]] = []
    for recipe, members in groups.items():
        needed = recipe.n_train + recipe.n_valid
        if needed > dataset.n_train:
            raise UserError(
                f"n_train + n_valid is {needed}, but {dataset.name} has {dataset.n_train} training "
                "examples; choose fewer"
            )
        if jax.dtypes.canonicalize_dtype(recipe.dtype) != recipe.dtype:
            raise UserError(
                f"dtype is {recipe.dtype!r}, but JAX computes in float32; "
                "call implicit_bias.runtime.configure(float64=True) first"
            )
        recipe.loss.check(dataset.task, _outputs(recipe, dataset))
        if recipe.augmentation is not None:
            recipe.augmentation.check(dataset.input_shape, dataset.name)
        stored, beside, parameters = _lane_size(recipe, dataset, members)
        products = model_cost(recipe.model, dataset.input_shape, recipe.dtype).multiply_adds
        choice = table.choose(backend, recipe, products / max(parameters, 1))
        wanted = strategy or choice.strategy
        if wanted not in ("map", "vmap"):
            raise UserError(f"strategy is {wanted!r}; choose 'map' or 'vmap'")
        if tile is not None and (tile < 1 or (wanted == "map" and tile > 1)):
            raise UserError(
                f"tile is {tile} and strategy {wanted!r}; "
                "choose tile 1, or strategy 'vmap' and a tile of at least 1"
            )
        width = (tile or choice.tile) if wanted == "vmap" else 1
        count = min(devices or present, max(1, math.ceil(len(members) / width)))
        lane_bytes = _copies(backend, devices or present) * stored + beside
        needs = footprint(recipe, dataset)
        layout = _layout(wanted, width, count, lane_bytes, needs, memory)
        working = _working_bytes(needs, layout)
        reason = "asked for" if strategy else choice.reason
        if reason not in reasons:
            reasons.append(reason)
        if layout.devices < count:
            reasons.append(
                f"{layout.devices} of {count} devices: on more, what is computed of lanes at a time would "
                f"not fit in the memory budget of {memory / 1e6:.4g} MB"
            )

        convolutions += convolutions_of(recipe, dataset.input_shape, backend)

        available = memory - layout.devices * working
        fit = available // lane_bytes // layout.granule * layout.granule
        size = min(fit, len(members))
        chunks = tuple(
            tuple(members[first : first + size]) for first in range(0, len(members), size)
        )
        slots = _slots(size, lane_bytes, available, layout)
        programs.append(
            Program(
                recipe,
                layout,
                chunks,
                slots,
                lane_bytes,
                working,
                needs.evaluator_chunk,
                parameters,
                choice.gflops,
                products,
            )
        )
    reasons += padding_reasons(groups, math.prod(dataset.input_shape))
    return Plan(
        tuple(programs), dataset, memory, tuple(reasons), tuple(dict.fromkeys(convolutions))
    )


def _outputs(recipe: Recipe, dataset: Dataset) -> int:
    """Return the network's number of outputs, found without computing anything.

    Raises:
        UserError: It differs from what the data needs.
    """
    example = jax.ShapeDtypeStruct(dataset.input_shape, jnp.dtype(recipe.dtype))
    key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))

    def run(key: jax.Array, example: jax.Array) -> jax.Array:
        params, state = recipe.model.init(key, example)
        outputs: jax.Array = recipe.model.apply(params, state, example[None], train=False)[0]
        return outputs

    shape = jax.eval_shape(run, key, example).shape
    needed = dataset.predictions * dataset.n_outputs
    logistic = shape == (1, 1) and dataset.task == "classification" and needed == 2
    if shape != (1, needed) and not logistic:
        raise UserError(
            f"the model's outputs have shape {shape[1:]}, but {dataset.name} needs "
            f"{needed}; build the model for that many outputs"
        )
    return int(shape[1])


def _layout(
    strategy: str, tile: int, devices: int, lane_bytes: int, needs: Footprint, memory: int
) -> Layout:
    """Return the layout on as many devices as the memory budget allows.

    Raises:
        UserError: Not even one device does.
    """
    for count in range(devices, 0, -1):
        layout = Layout("map" if strategy == "map" else "vmap", tile, count)
        least = count * _working_bytes(needs, layout) + layout.granule * lane_bytes
        if least <= memory:
            return layout
    smaller = "a smaller --tile or " if tile > 1 else ""
    raise UserError(
        f"the smallest chunk on 1 device takes {least} bytes, but the memory budget is {memory}; raise it "
        f"(--memory), or use {smaller}a micro_batch in the recipe"
    )


def _working_bytes(needs: Footprint, layout: Layout) -> int:
    """Return the memory that a device takes beside its lanes: those of a tile are trained at once."""
    return max(layout.tile * needs.update_bytes, needs.evaluation_bytes)


def _slots(lanes: int, lane_bytes: int, memory: int, layout: Layout) -> int:
    """Return how many slots a device gets for the lanes of a chunk.

    For small networks counts are rounded up to a multiple of 32, or where that is too much to a power of
    two, at least 4: every count is a program of its own to compile, which takes longer than the empty slots
    do, and of equal counts recipes share what they evaluate and probe with. Where slots are large, moving
    them costs more than that, and nothing is added; nor under ``vmap``, where an empty slot is computed
    like any other.
    """
    tiles = math.ceil(lanes / layout.granule)
    spare = min(memory, PADDED_MEMORY) // lane_bytes // layout.granule
    if layout.strategy == "vmap":
        return tiles * layout.tile
    rounded = (math.ceil(tiles / 32) * 32, max(4, 1 << (tiles - 1).bit_length()))
    return next((count for count in rounded if count <= spare), tiles) * layout.tile


def _copies(backend: str, devices: int) -> int:
    """Return how often the state of lanes is in a device's memory at once.

    As input and output of a segment; and where what devices hold is gathered for a checkpoint in the memory
    that they share, once more. One CPU's arrays are written from where they are.
    """
    return 3 if backend == "cpu" and devices > 1 else 2


def _lane_size(recipe: Recipe, dataset: Dataset, members: Sequence[Lane]) -> tuple[int, int, int]:
    """Return the bytes of one lane's state, those of its examples, mask and start, and its parameter count.

    Raises:
        UserError: A lane's mask or start does not have the shape of the parameters.
    """
    dtype = jnp.dtype(recipe.dtype)
    example = jax.ShapeDtypeStruct(dataset.input_shape, dtype)
    inputs = LaneInputs(
        jax.ShapeDtypeStruct((), np.uint32),
        {name: jax.ShapeDtypeStruct((), dtype) for name in recipe.setting_defaults()},
    )
    state = jax.eval_shape(lambda e, i: initial_state(recipe, e, i), example, inputs)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    stored = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    targets = dataset.y_train.nbytes // dataset.n_train
    examples = (4 + targets) * recipe.n_train + 4 * recipe.n_valid
    given = 0
    if recipe.masked:
        given += max(_checked_bytes("mask", lane.mask, lane, state.params) for lane in members)
    if recipe.started:
        given += max(_checked_bytes("start", lane.start, lane, state.params) for lane in members)
    return stored, examples + given, parameters


def _checked_bytes(what: str, given: Any, lane: Lane, params: Any) -> int:
    """Return the bytes of a lane's mask or of the parameters it begins with.

    Raises:
        UserError: It does not have the shape of the parameters.
    """
    structure: Any = jax.tree.structure(params)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(given)]
    shapes = [leaf.shape for leaf in jax.tree.leaves(params)]
    if structure != jax.tree.structure(given) or shapes != [x.shape for x in leaves]:
        raise UserError(
            f"the {what} of the lane with seed {lane.seed} is not shaped like the parameters; "
            "give one array for each of theirs"
        )
    return sum(leaf.nbytes for leaf in leaves)


def _duration(seconds: float) -> str:
    """Write an estimate, which is no better than its first digits."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 120:
        return f"about {seconds:.0f} s"
    if seconds < 7200:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.0f} h"
