"""What the normalization study trains: normalisations × step sizes × seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.models import Network
from implicit_bias.studies.fastest import fastest_steps
from implicit_bias.studies.normalization.equilibrium import Sgd
from implicit_bias.studies.normalization.invariance import Invariance
from implicit_bias.studies.normalization.measure import Sharpness
from implicit_bias.studies.normalization.probe import Path
from implicit_bias.studies.normalization.settings import NormalizationSettings
from implicit_bias.studies.planning import log_times
from implicit_bias.studies.refusals import check_at_most, check_classification
from implicit_bias.training import Budget, Lane, Recipe

if TYPE_CHECKING:
    import xarray as xr

GRID = "grid"
"""Arm of the runs from which each normalisation's step size is chosen, seed by seed; not measured."""

TUNED, COMMON = "tuned", "common"
"""Arms of the measured runs: each at its own step size, and all at one."""

PROBES = 8


def grid_lanes(
    settings: NormalizationSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return the runs at all step sizes.

    Raises:
        UserError: The data are no classification, or too few; or the target is met untrained.
    """
    del earlier
    check_classification(dataset)
    settings.check_batches(dataset, "batch_size")
    settings.check_target(dataset, "target_loss")
    return [
        _lane(settings, dataset, norm, step, seed, GRID)
        for norm in settings.norms
        for step in settings.step_sizes
        for seed in range(settings.seeds)
    ]


def measured_lanes(
    settings: NormalizationSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return the runs that are measured: at the common step size, and at the chosen ones."""
    lanes = [
        _lane(settings, dataset, norm, settings.common_step, seed, COMMON)
        for norm in settings.norms
        for seed in range(settings.seeds)
    ]
    steps = {} if earlier is None else chosen_steps(earlier)
    return lanes + [
        _lane(settings, dataset, norm, steps[seed, norm], seed, TUNED)
        for norm in settings.norms
        for seed in range(settings.seeds)
        if (seed, norm) in steps  # a seed of another shard, or one whose every step size diverged
    ]


def chosen_steps(result: xr.Dataset) -> dict[tuple[int, str], float]:
    """Return, by seed and normalisation, the step size that meets the target in the fewest updates."""
    seeds, norms = result["seed"].values, result["norm"].values
    return fastest_steps(result, GRID, lambda row: (int(seeds[row]), str(norms[row])))


def network(settings: NormalizationSettings, dataset: Dataset, norm: str) -> Network:
    """Return the network with a normalisation; hidden layers have no biases, whatever it is.

    A network without normalisation has as many weights; those with one learn a scale and a shift of
    each unit in place of its bias.
    """
    return models.normalised_dense(
        settings.widths, dataset.n_outputs, norm=norm  # type: ignore[arg-type]
    )  # fmt: skip


def measurement(settings: NormalizationSettings, dataset: Dataset) -> Sharpness:
    """Return what is measured of a finished run.

    Raises:
        UserError: More examples are asked for than a lane trains on.
    """
    n_train, _ = settings.data.sizes(dataset)
    check_at_most(settings, "examples", n_train, f"a lane trains on {n_train} examples")
    return Sharpness(
        len(settings.widths), settings.examples, settings.small_batches, settings.draws, settings.tol,
        settings.max_products,
    )  # fmt: skip


def probe(settings: NormalizationSettings, dataset: Dataset) -> Path:
    """Return what is measured while networks train."""
    del dataset
    return Path(len(settings.widths), settings.examples)


def invariance(settings: NormalizationSettings, dataset: Dataset) -> Invariance:
    """Return the exact checks."""
    del dataset
    return Invariance(**settings.exact.model_dump())


def equilibrium(settings: NormalizationSettings, dataset: Dataset) -> Sgd:
    """Return SGD of which every update is followed."""
    own = settings.equilibrium
    return Sgd(
        tuple(network(settings, dataset, norm) for norm in own.norms),
        own.norms,
        own.decays,
        own.step_size,
        own.updates,
        settings.batch_size,
        settings.data.sizes(dataset)[0],
    )


def _lane(
    settings: NormalizationSettings, dataset: Dataset, norm: str, step: float, seed: int, arm: str
) -> Lane:
    n_train, n_valid = settings.data.sizes(dataset)
    recipe = Recipe(
        model=network(settings, dataset, norm),
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get("sgd"),
        schedule=optimizers.Schedule(),
        batch_size=settings.batch_size,
        n_train=n_train,
        n_valid=n_valid,
        dtype=settings.dtype,
        augmentation=settings.data.augmented(),
    )
    budget = Budget(settings.updates, settings.target_loss, settings.evaluate_every)
    tags: dict[str, str | int | float | bool] = {"arm": arm, "norm": norm}
    times = log_times(settings.updates, PROBES)
    return Lane(recipe, seed, {"step_size": step}, budget, times, tags)
