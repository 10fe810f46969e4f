"""What the lottery-ticket study trains: round after round the tickets, at some levels their controls."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np

from implicit_bias import losses, optimizers, pruning
from implicit_bias.data import Dataset
from implicit_bias.pruning.masks import Mask
from implicit_bias.studies.lottery_ticket.masks import (
    SCORED,
    check_levels,
    control_mask,
    layers,
    mask_key,
    prune_further,
    schedule,
    scored_mask,
    shapes,
)
from implicit_bias.studies.lottery_ticket.measure import Subnetwork
from implicit_bias.studies.lottery_ticket.settings import REWOUND, LotterySettings
from implicit_bias.studies.lottery_ticket.stability import TWIN, Stability
from implicit_bias.studies.refusals import check_at_most, check_classification
from implicit_bias.studies.weights import Weights
from implicit_bias.training import Budget, Lane, Recipe
from implicit_bias.training.lane import Params
from implicit_bias.training.recipe import epochs

EARLY = "early"
"""Arm of the dense network up to the update that others are set back to."""

REWINDING: dict[str, pruning.Rewinding] = {
    "ticket": "initialisation",
    "late-rewinding": "step",
    "lr-rewinding": "learning-rate",
}
"""What the arms that are pruned round after round restart from."""


def lanes(settings: LotterySettings, dataset: Dataset, number: int, weights: Weights) -> list[Lane]:
    """Return the lanes of a round: the dense network first, then tickets, and at some levels all controls.

    A seed whose network diverged is pruned no further.

    Args:
        settings: All settings.
        dataset: Data.
        number: Of the round; round 0 is the dense network.
        weights: Of earlier rounds.

    Raises:
        UserError: The data are no classification, or too few; a layer would be emptied; the update to go
            back to lies beyond training.
    """
    levels = schedule(settings)
    if number >= len(levels):
        return []
    if number == 0:
        check(settings, dataset)
        return [lane for seed in weights.seeds for lane in _first(settings, dataset, seed)]
    made: list[Lane] = []
    for seed in weights.seeds:
        ticket: Lane | None = None
        for arm in settings.chains:
            found = _chain(settings, dataset, arm, seed, number, weights)
            if found is not None:
                made.append(found)
                ticket = found if arm == "ticket" else ticket
        if ticket is not None and levels[number] in settings.levels:
            made += _controls(settings, dataset, number, weights, ticket)
    return made


def check(settings: LotterySettings, dataset: Dataset) -> None:
    """Refuse what does not go with the data or the network, before anything is trained.

    Raises:
        UserError: Something does not.
    """
    check_classification(dataset)
    settings.check_batches(dataset, "batch_size", "curvature.examples", "stability.examples")
    plain = recipe(settings, dataset)
    settings.check_epochs(plain, "epochs")
    updates = epochs(settings.epochs, plain)
    check_at_most(settings, "evaluate_every", updates, f"a run has {updates} updates")
    if set(REWOUND) & set(settings.arms):
        check_at_most(settings, "rewind_step", updates - 1, f"a run has {updates} updates")
    if set(SCORED) & set(settings.arms):
        settings.check_batches(dataset, "score_examples")
    check_levels(settings, dataset)


def recipe(
    settings: LotterySettings, dataset: Dataset, *, started: bool = False, first_update: int = 0
) -> Recipe:
    """Return the static half of lanes; the dense network has a mask too, so that all share a program."""
    n_train, n_valid = settings.data.sizes(dataset)
    return Recipe(
        model=settings.model.build(dataset.n_outputs),
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get(settings.optimizer[0]),
        schedule=optimizers.Schedule(),
        batch_size=settings.batch_size,
        n_train=n_train,
        n_valid=n_valid,
        masked=True,
        started=started,
        first_update=first_update,
        dtype=settings.dtype,
        augmentation=settings.data.augmented(),
    )


def lane(
    settings: LotterySettings,
    dataset: Dataset,
    seed: int,
    arm: str,
    number: int,
    mask: Mask,
    *,
    start: Params | None = None,
    first_update: int = 0,
    updates: int | None = None,
    replicates: dict[str, int] | None = None,
) -> Lane:
    """Return one lane.

    Args:
        settings: All settings.
        dataset: Data.
        seed: Its seed.
        arm: What it is called.
        number: Its round.
        mask: What is not pruned.
        start: Weights to begin with; those of the seed if none are given.
        first_update: Number of its first update.
        updates: Where it ends; with training if nothing is said.
        replicates: Draws of the seed that differ from those of other arms.
    """
    static = recipe(settings, dataset, started=start is not None, first_update=first_update)
    end = updates or epochs(settings.epochs, static)
    every = settings.evaluate_every
    return Lane(
        static,
        seed,
        {"step_size": settings.optimizer[1]},
        Budget(end),
        (*range(-(-first_update // every) * every, end, every), end),
        {"arm": arm, "round": number, "level": schedule(settings)[number]},
        mask=mask,
        start=start,
        replicates=replicates or {},
    )


def _dense(settings: LotterySettings, dataset: Dataset, seed: int) -> Lane:
    return lane(settings, dataset, seed, "dense", 0, whole(settings, dataset))


def whole(settings: LotterySettings, dataset: Dataset) -> Mask:
    """Return the mask of the dense network."""
    return pruning.masks.full(shapes(settings.model.build(dataset.n_outputs), dataset))


def _early(settings: LotterySettings, dataset: Dataset, seed: int) -> Lane:
    mask, step = whole(settings, dataset), settings.rewind_step
    return lane(settings, dataset, seed, EARLY, 0, mask, updates=step)


def _first(settings: LotterySettings, dataset: Dataset, seed: int) -> Iterator[Lane]:
    """Yield the dense networks of a seed."""
    yield _dense(settings, dataset, seed)
    if "late-rewinding" in settings.arms:
        yield _early(settings, dataset, seed)


def _chain(
    settings: LotterySettings,
    dataset: Dataset,
    arm: str,
    seed: int,
    number: int,
    weights: Weights,
) -> Lane | None:
    """Return the lane of an arm that is pruned round after round; None if it diverged before."""
    known = weights.notes.setdefault((arm, seed), [])
    if not known:
        known.append(_dense(settings, dataset, seed))
    counted = layers(settings, dataset)
    while len(known) <= number:
        trained = weights(known[-1])
        if not _finite(trained):
            return None
        level = schedule(settings)[len(known)]
        mask = prune_further(settings, counted, known[-1].mask, trained, level)
        kind = REWINDING[arm]
        back = kind != "initialisation"
        begin = pruning.restart(
            kind,
            updates=known[0].budget.updates,
            step=settings.rewind_step if back else 0,
            at_step=weights(_early(settings, dataset, seed)) if kind == "step" else None,
            final=trained,
        )
        start = None if begin.start is None else pruning.masks.apply(mask, begin.start)
        known.append(
            lane(
                settings,
                dataset,
                seed,
                arm,
                len(known),
                mask,
                start=start,
                first_update=begin.first_update,
            )
        )
    return known[number]


def _controls(
    settings: LotterySettings, dataset: Dataset, number: int, weights: Weights, ticket: Lane
) -> list[Lane]:
    """Return the controls of one seed's ticket, and the runs in another order of examples."""
    seed, level = ticket.seed, schedule(settings)[number]
    first = _dense(settings, dataset, seed)
    initial = weights.initial(first) if settings.controls else None
    made: list[Lane] = []
    for arm in settings.controls:
        key = mask_key(seed, arm, number)
        if arm in SCORED:
            mask = scored_mask(arm, settings, dataset, level, seed, initial, key)
        else:
            trained = weights(first) if arm == "one-shot" else initial
            mask = control_mask(arm, settings, level, ticket.mask, initial, trained, key)
        fresh = {"initialisation": 1} if arm == "reinit" else {}
        made.append(lane(settings, dataset, seed, arm, number, mask, replicates=fresh))
    if level != settings.stability.level:
        return made
    once = [one for one in (first, ticket, *made) if one.tags["arm"] in settings.stability.arms]
    return made + [_twin(settings, dataset, one) for one in once]


def _twin(settings: LotterySettings, dataset: Dataset, one: Lane) -> Lane:
    """Return the same run in another order of examples."""
    arm, number = f"{one.tags['arm']}{TWIN}", int(one.tags["round"])
    return lane(settings, dataset, one.seed, arm, number, one.mask, replicates={"data_order": 1})


def _finite(params: Params) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def measurement(settings: LotterySettings, dataset: Dataset) -> Subnetwork:
    """Return what is measured of every finished lane."""
    own = settings.curvature
    return Subnetwork(
        layers(settings, dataset).names, dataset.n_test, own.examples, own.tol, own.max_products
    )


def stability(settings: LotterySettings, dataset: Dataset) -> Stability:
    """Return the comparison of runs in two orders of examples."""
    own = settings.stability
    model = settings.model.build(dataset.n_outputs)
    return Stability(model, own.arms, own.level, own.points, own.examples)
