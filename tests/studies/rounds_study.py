"""A small study of rounds; tests load it as a user's file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.studies import Rounds, Study
from implicit_bias.studies.weights import Weights
from implicit_bias.training import Budget, Lane, Recipe
from tests.studies.small_study import Norms, SmallSettings

ROUNDS = 2


def _recipe(settings: SmallSettings, dataset: Dataset, started: bool) -> Recipe:
    return Recipe(
        model=settings.model.build(dataset.n_outputs),
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get("sgd"),
        schedule=optimizers.Schedule(),
        batch_size=8,
        n_train=24,
        n_valid=8,
        masked=started,
        started=started,
    )


def halves(
    settings: SmallSettings, dataset: Dataset, number: int, weights: Weights
) -> Sequence[Lane]:
    """Go on from the weights of the round before, the smaller half of them set to zero."""
    if number == ROUNDS:
        return []
    chain = [_lane(settings, dataset, seed, None, None) for seed in weights.seeds]
    for step in range(1, number + 1):
        chain = [_lane(settings, dataset, lane.seed, *_half(weights(lane)), step) for lane in chain]
    return chain


def _lane(
    settings: SmallSettings, dataset: Dataset, seed: int, mask: Any, start: Any, number: int = 0
) -> Lane:
    return Lane(
        _recipe(settings, dataset, mask is not None),
        seed,
        {"step_size": 0.1},
        Budget(settings.updates),
        (0, settings.updates),
        {"arm": "halves", "round": number},
        mask=mask,
        start=start,
    )


def _half(params: Any) -> tuple[Any, Any]:
    mask = jax.tree.map(
        lambda leaf: (np.abs(leaf) >= np.median(np.abs(leaf))).astype(np.uint8), params
    )
    return mask, params


STUDY = Study(
    name="halves",
    title="Rounds made from weights",
    settings=SmallSettings,
    stages=(Rounds("halves", halves),),
    claims=(),
    measurement=lambda settings, dataset: Norms(),
)
