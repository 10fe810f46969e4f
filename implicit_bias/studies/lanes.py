"""The lanes of a stage: which are the same run, which shard has them, which are measured alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.studies.base import Rounds, Stage
from implicit_bias.training import Lane


def unique_lanes(stage: Stage | Rounds, lanes: Sequence[Lane], dataset: Dataset) -> dict[str, Lane]:
    """Return lanes by identity; arms that ask for the same run share it.

    Raises:
        UserError: One arm asks for a run twice.
    """
    unique: dict[str, Lane] = {}
    asked: set[tuple[str, Any]] = set()
    for lane in lanes:
        name, arm = lane.identity(dataset.checksum), lane.tags.get("arm", "")
        if (name, arm) in asked:
            raise UserError(
                f"stage {stage.name} asks for one run twice (arm {arm!r}, seed {lane.seed}, batch size "
                f"{lane.recipe.batch_size}, settings {lane.values}); leave out one of them"
            )
        asked.add((name, arm))
        unique[name] = lane
    return unique


def of_shard(lanes: Sequence[Lane], shard: tuple[int, int] | None) -> list[Lane]:
    """Return the lanes of shard i of n: those whose seed s has s mod n = i − 1.

    Raises:
        UserError: What a study gives as lanes is no list of them.
    """
    strange = (
        [one for one in lanes if not isinstance(one, Lane)]
        if isinstance(lanes, Iterable)
        else [lanes]
    )
    if strange:
        raise UserError(
            f"the lanes of a stage hold {type(strange[0]).__name__}; return a list of training.Lane"
        )
    if shard is None:
        return list(lanes)
    index, count = shard
    return [lane for lane in lanes if lane.seed % count == index - 1]


def by_architecture(lanes: dict[str, Lane]) -> dict[Any, dict[str, Lane]]:
    """Group lanes that one measuring program serves."""
    groups: dict[Any, dict[str, Lane]] = {}
    for name, lane in lanes.items():
        recipe = lane.recipe
        key = (
            recipe.model,
            recipe.loss,
            recipe.n_train,
            recipe.n_valid,
            recipe.dtype,
            recipe.masked,
            recipe.started,
        )
        groups.setdefault(key, {})[name] = lane
    return groups
