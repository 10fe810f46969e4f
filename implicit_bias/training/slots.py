"""Lanes and data on the devices: the pool, and which lane stands in which slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from implicit_bias.data.dataset import Dataset
from implicit_bias.keys import Role
from implicit_bias.runtime import aligned, replicate
from implicit_bias.training.lane import LaneInputs, Pool
from implicit_bias.training.recipe import REPLICATED, Lane


def make_pool(dataset: Dataset, dtype: str, devices: int) -> Pool:
    """Copy a dataset to every device, floating-point arrays in the given dtype; CPU devices share a copy."""

    def cast(array: np.ndarray) -> np.ndarray:
        return aligned(array, dtype if np.issubdtype(array.dtype, np.floating) else array.dtype)

    pool = Pool(*map(cast, (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)))
    placed: Pool = replicate(pool, devices)
    return placed


def stack_inputs(lanes: Sequence[Lane]) -> LaneInputs:
    """Stack the traced halves of lanes of one recipe, lane leading."""
    recipe = lanes[0].recipe
    values = [lane.values for lane in lanes]
    settings = {
        name: np.asarray([value[name] for value in values], recipe.dtype) for name in values[0]
    }
    seeds = np.asarray([lane.seed for lane in lanes], np.uint32)
    return LaneInputs(seeds, settings, *stack_beginnings(lanes))


def stack_beginnings(lanes: Sequence[Lane]) -> tuple[Any, Any, dict[Role, Any]]:
    """Stack masks, parameters to begin with, and replicates of lanes of one recipe, lane leading."""
    recipe = lanes[0].recipe

    def stacked(trees: Sequence[Any]) -> Any:
        return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)

    mask = stacked([lane.mask for lane in lanes]) if recipe.masked else None
    start = stacked([lane.start for lane in lanes]) if recipe.started else None
    replicates = {
        role: np.asarray([lane.replicates.get(role, 0) for lane in lanes], np.uint32)
        for role in REPLICATED
    }
    return mask, start, replicates


def deal(lanes: Sequence[Lane], devices: int, share: int) -> np.ndarray:
    """Deal lanes to devices, each of which has ``share`` slots, so that all carry about the same work.

    Returns:
        (devices × share,) index of the lane in each slot, −1 for padding; the shard of a device is
        contiguous.
    """
    order = sorted(range(len(lanes)), key=lambda index: -lanes[index].updates)
    slots = np.full((devices, share), -1)
    for place, index in enumerate(order):
        slots[place % devices, place // devices] = index
    return slots.reshape(-1)
