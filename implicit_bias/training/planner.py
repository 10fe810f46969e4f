"""How a plan is made: which lanes share a program, on how many devices, in which chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from implicit_bias.training.convolving import convolutions_of
from implicit_bias.training.footprint import Footprint, footprint
from implicit_bias.training.lane import LaneInputs, initial_state
from implicit_bias.training.plan import Plan, Program
from implicit_bias.training.recipe import Lane, Recipe
from implicit_bias.training.widths import padding_reasons

DEFAULT_MEMORY = 3 * 2**30
"""Bytes that a chunk, its lanes and what is computed of them, may take where nothing else is said."""

PADDED_MEMORY = 8 * 2**20
"""Bytes up to which a chunk may grow by empty slots, to share a compiled program with others."""


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
        choice = table.choose(backend, products / max(parameters, 1))
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
        if width * lane_bytes > memory:
            # Before the compiler is asked, which takes long over networks that fit nowhere, or gives up.
            raise _too_large("what lanes keep takes", width * lane_bytes, memory, width, "")
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
    also = ", or a micro_batch in the recipe"
    raise _too_large("the smallest chunk on 1 device takes", least, memory, tile, also)


def _too_large(what: str, least: int, memory: int, tile: int, also: str) -> UserError:
    """Return the refusal of a network that does not fit in the memory budget."""
    smaller = "a smaller --tile, " if tile > 1 else ""
    return UserError(
        f"{what} {least / 1e9:.4g} GB, but the memory budget is {memory / 1e9:.4g} GB; raise it (--memory), "
        f"or use {smaller}a smaller network{also}"
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
