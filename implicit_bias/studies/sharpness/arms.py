"""What the sharpness study trains: batch sizes × step sizes, to equal epochs and to equal loss."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.studies.refusals import check_at_most
from implicit_bias.studies.sharpness.arpack import Arpack
from implicit_bias.studies.sharpness.keskar import Keskar
from implicit_bias.studies.sharpness.measure import SWEEPS, Sharpness
from implicit_bias.studies.sharpness.points import FOUND, make_points
from implicit_bias.studies.sharpness.settings import (
    EPOCHS,
    MATCHED,
    STEPS,
    SharpnessSettings,
    arm,
)
from implicit_bias.training import Budget, Lane, Recipe
from implicit_bias.training.recipe import epochs

if TYPE_CHECKING:
    import xarray as xr


def examples(settings: SharpnessSettings, dataset: Dataset) -> int:
    """Return how many training examples losses are means over.

    Raises:
        UserError: A lane has fewer.
    """
    n_train, _ = settings.data.sizes(dataset)
    check_at_most(settings, "measuring.examples", n_train, f"a lane trains on {n_train}")
    return settings.measuring.examples or n_train


def measurement(settings: SharpnessSettings, dataset: Dataset) -> Sharpness:
    """Return what is measured of finished lanes.

    Raises:
        UserError: More is asked for than there is.
    """
    count = settings.parameters(dataset)
    check_at_most(settings, "measuring.top", count, f"the network has {count} parameters")
    options = settings.measuring.model_dump()
    del options["examples"]
    radii = settings.radii.model_dump()
    return Sharpness(
        points=settings.points,
        radii=tuple(tuple(radii[sweep.name]) for sweep in SWEEPS),
        last=f"layer_{len(settings.model.widths)}",
        n_test=dataset.n_test,
        examples=examples(settings, dataset),
        loss_unit=losses.get("cross_entropy").unit,
        **options,
    )


def keskar(settings: SharpnessSettings, dataset: Dataset) -> Keskar:
    """Return the published measure of the arms chosen."""
    own = settings.keskar
    points = make_points(own.alphas, (), settings.stretch)
    model = settings.model.build(dataset.n_outputs)
    count = settings.parameters(dataset)
    check_at_most(settings, "keskar.subspace", count, f"the network has {count} parameters")
    return Keskar(
        model, losses.get("cross_entropy"), own.arms, settings.batch_sizes,
        tuple(point for point in points if point.kind != "stretched"), own.epsilons, own.iterations,
        own.subspace, examples(settings, dataset),
    )  # fmt: skip


def arpack(settings: SharpnessSettings, dataset: Dataset) -> Arpack:
    """Return the second opinion on λmax."""
    model = settings.model.build(dataset.n_outputs)
    return Arpack(
        model, losses.get("cross_entropy"), arm(MATCHED, STEPS[-1]), settings.batch_sizes[0],
        examples(settings, dataset),
    )  # fmt: skip


def lanes(settings: SharpnessSettings, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return all lanes: arms × batch sizes × seeds.

    Raises:
        UserError: A batch is larger than the data, or a budget makes no sense for them.
    """
    settings.check_batches(dataset, "batch_sizes")
    settings.check_target(dataset, "matched.target_loss")
    n_train, n_valid = settings.data.sizes(dataset)
    model, loss = settings.model.build(dataset.n_outputs), losses.get("cross_entropy")
    made: list[Lane] = []
    for size in settings.batch_sizes:
        recipe = Recipe(
            model=model,
            loss=loss,
            optimizer=optimizers.get("sgd"),
            schedule=optimizers.Schedule(),
            batch_size=size,
            n_train=n_train,
            n_valid=n_valid,
            dtype=settings.dtype,
        )
        settings.check_epochs(recipe, "epochs", "matched.max_epochs")
        matched = settings.matched
        longest = epochs(matched.max_epochs, recipe)
        check_at_most(settings, "matched.evaluate_every", longest,
                      f"matched.max_epochs is {longest} updates at batch size {size}")  # fmt: skip
        budgets = {
            EPOCHS: Budget(epochs(settings.epochs, recipe)),
            MATCHED: Budget(longest, matched.target_loss, matched.evaluate_every),
        }
        for name, budget in budgets.items():
            for step, value in zip(STEPS, settings.step_sizes, strict=True):
                tags: dict[str, Any] = {"arm": arm(name, step)}
                made += [
                    Lane(recipe, seed, {"step_size": value}, budget, (), tags)
                    for seed in range(settings.seeds)
                ]
    return made


def derive(result: xr.Dataset) -> xr.Dataset:
    """Leave out eigenvalues that were not found, and add for each lane one way of writing it at random.

    ``drawn_point`` is the position of one of the points of the same network: the parameters found or
    rescaled layers, drawn for each lane, so that measures can be compared between networks that are written
    differently.
    """
    found = result["at_converged"] == 1
    names = ("at_lambda_max", "at_lambda_over_loss", "at_lambda_norm")
    changed = {name: result[name].where(found).assign_attrs(result[name].attrs) for name in names}
    same = [
        place
        for place, label in enumerate(map(str, result["point"].values))
        if label == FOUND or label.startswith("layers")
    ]
    drawn = [
        same[np.random.default_rng([int(seed), zlib.crc32(text.encode()), int(size)]).integers(len(same))]
        for seed, text, size in zip(
            result["seed"].values, map(str, result["arm"].values), result["batch_size"].values,
            strict=True,
        )
    ]  # fmt: skip
    changed["drawn_point"] = result["seed"].copy(data=np.asarray(drawn))
    changed["drawn_point"].attrs = {
        "units": "1",
        "long_name": "position of a point of the same network",
    }
    changed["drawn_point"].name = "drawn_point"
    return result.assign(changed)
