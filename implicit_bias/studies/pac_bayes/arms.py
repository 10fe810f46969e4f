"""What the PAC-Bayes study trains and tries, from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.studies.pac_bayes.coverage import Coverage
from implicit_bias.studies.pac_bayes.information import InformationPaths
from implicit_bias.studies.pac_bayes.posterior import Posteriors
from implicit_bias.studies.pac_bayes.script import Script
from implicit_bias.studies.pac_bayes.settings import PacBayesSettings
from implicit_bias.studies.pac_bayes.sharp import Sharp
from implicit_bias.studies.refusals import check_classification
from implicit_bias.training import Budget, Lane, Recipe
from implicit_bias.training.budget import Until

if TYPE_CHECKING:
    import xarray as xr

ARMS: dict[str, str] = {
    "trained": "all examples, true labels",
    "random": "the same examples, labels uniform at random, until they are fitted",
    "prior": "some of the examples, true labels: the mean of a prior for the others",
}
"""The arms, and what they train."""


def lanes(settings: PacBayesSettings, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return all lanes: arms × seeds.

    The examples that an arm leaves out are those of its bound: of the prior's arm, its validation examples.

    Raises:
        UserError: The data are no classification, or too few.
    """
    del earlier
    check_classification(dataset, "errors are bounded")
    n = settings.data.sizes(dataset)[0]
    own = round(settings.prior_share * n)
    if min(own, n - own) < settings.batch_size:
        raise UserError(
            f"prior_share is {settings.prior_share:g} and batch_size is {settings.batch_size}, but of {n} "
            f"examples the prior has {own} and its bound {n - own}; choose a share, or a batch, that leaves "
            "both at least one batch"
        )
    drawn = settings.posterior.batch_size
    if drawn > n - own:
        raise UserError(
            f"posterior.batch_size is {drawn}, but of {n} examples the bound of the learned prior counts "
            f"{n - own}; choose at most {n - own}"
        )
    chance = 1 / dataset.n_outputs
    made = []
    for arm in ARMS:
        used = own if arm == "prior" else n
        recipe = Recipe(
            model=settings.model.build(dataset.n_outputs),
            loss=losses.get("cross_entropy"),
            optimizer=optimizers.get("heavy_ball"),
            schedule=optimizers.Schedule(),
            batch_size=settings.batch_size,
            n_train=used,
            n_valid=n - used,
            dtype=settings.dtype,
        )
        epochs = settings.random_epochs if arm == "random" else settings.epochs
        last = epochs * recipe.updates_per_epoch
        traced = {
            "step_size": settings.step_size,
            "momentum": settings.momentum,
            # So a label keeps its class with probability 1/K, and becomes each other with as much.
            "label_noise": 1 - chance if arm == "random" else 0.0,
        }
        until = (Until("train_error", 0.0),) if arm == "random" else ()
        step = max(1, epochs // 10) * recipe.updates_per_epoch
        probes = (*range(0, last, step), last)
        tags: dict[str, str | int | float | bool] = {"arm": arm, "chance": chance, "examples": used}
        made += [
            Lane(recipe, seed, traced, Budget(last, until=until), probes, tags)
            for seed in range(settings.seeds)
        ]
    return made


def posteriors(settings: PacBayesSettings, dataset: Dataset) -> Posteriors:
    """Return the laws of networks."""
    own = settings.posterior
    return Posteriors(
        model=settings.model.dense(settings.model.widths, dataset.n_outputs),
        updates=own.updates,
        batch_size=own.batch_size,
        step_size=own.step_size,
        spread=own.spread,
        passes=own.passes,
        largest_variance=own.largest_variance,
        precision=own.precision,
        delta=settings.delta,
        spreads=settings.spreads,
        stated_scales=settings.stated_scales,
        curvature_examples=settings.curvature_examples,
        losses=settings.losses,
        sampling_delta=own.sampling_delta,
    )


def coverage(settings: PacBayesSettings, dataset: Dataset) -> Coverage:
    """Return the samples with known risks."""
    del dataset
    return Coverage(**settings.coverage.model_dump(), delta=settings.delta)


def script(settings: PacBayesSettings, dataset: Dataset) -> Script:
    """Return the chapter's linear classifier."""
    del dataset
    return Script(**settings.script.model_dump())


def sharp(settings: PacBayesSettings, dataset: Dataset) -> Sharp:
    """Return the separable data."""
    del dataset
    return Sharp(**settings.sharp.model_dump(), delta=settings.delta)


def information(settings: PacBayesSettings, dataset: Dataset) -> InformationPaths:
    """Return the networks on bit patterns."""
    del dataset
    return InformationPaths(**settings.information.model_dump())
