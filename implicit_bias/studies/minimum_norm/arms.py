"""What the minimum-norm study tries, from its settings."""

from __future__ import annotations

from implicit_bias.data import Dataset
from implicit_bias.studies.base import Trials
from implicit_bias.studies.minimum_norm.adaptive import Adaptive
from implicit_bias.studies.minimum_norm.batches import Batches
from implicit_bias.studies.minimum_norm.definitions import Definitions
from implicit_bias.studies.minimum_norm.descents import Descents
from implicit_bias.studies.minimum_norm.diagonal import DiagonalNetwork
from implicit_bias.studies.minimum_norm.exercises import Experiment1, Validation
from implicit_bias.studies.minimum_norm.flows import Flows
from implicit_bias.studies.minimum_norm.images import Images, check_inputs
from implicit_bias.studies.minimum_norm.penalties import RidgePath
from implicit_bias.studies.minimum_norm.risks import Gaps, Risks
from implicit_bias.studies.minimum_norm.settings import MinimumNormSettings
from implicit_bias.studies.minimum_norm.shifts import Shifts
from implicit_bias.studies.minimum_norm.worked import Worked, check_stated_step


def descents(settings: MinimumNormSettings, dataset: Dataset) -> Descents:
    """Return descent on designs of every kind."""
    return Descents(**settings.descents.model_dump())


def experiment_1(settings: MinimumNormSettings, dataset: Dataset) -> Experiment1:
    """Return Experiment 1."""
    return Experiment1(**settings.experiment_1.model_dump())


def validation(settings: MinimumNormSettings, dataset: Dataset) -> Validation:
    """Return the validation of exercise B.1."""
    return Validation(**settings.validation.model_dump())


def ridge(settings: MinimumNormSettings, dataset: Dataset) -> RidgePath:
    """Return the ridge path, on designs of the same sizes as descent's."""
    return RidgePath(settings.descents.examples, settings.descents.inputs, settings.ridge.penalties)


def risks(settings: MinimumNormSettings, dataset: Dataset) -> Risks:
    """Return the risks beside the bound."""
    return Risks(**settings.risks.model_dump())


def gaps(settings: MinimumNormSettings, dataset: Dataset) -> Gaps:
    """Return the gaps of interpolating fits."""
    return Gaps(**settings.gaps.model_dump())


def shifts(settings: MinimumNormSettings, dataset: Dataset) -> Shifts:
    """Return interpolating solutions where inputs change."""
    return Shifts(**settings.shifts.model_dump())


def batches(settings: MinimumNormSettings, dataset: Dataset) -> Batches:
    """Return the mini-batches."""
    return Batches(**settings.batches.model_dump())


def diagonal(settings: MinimumNormSettings, dataset: Dataset) -> DiagonalNetwork:
    """Return the mini-batches where w = u² − v²."""
    return DiagonalNetwork(**settings.diagonal.model_dump())


def flows(settings: MinimumNormSettings, dataset: Dataset) -> Flows:
    """Return the flows."""
    return Flows(**settings.flows.model_dump())


def definitions(settings: MinimumNormSettings, dataset: Dataset) -> Definitions:
    """Return the definitions' cases."""
    return Definitions(**settings.definitions.model_dump())


def worked(settings: MinimumNormSettings, dataset: Dataset) -> Worked:
    """Return the worked examples.

    Raises:
        UserError: Descent diverges on a seed's design with the step size that is set.
    """
    given = settings.worked
    check_stated_step(
        settings.seeds,
        given.draws,
        given.examples,
        given.inputs,
        given.step_size,
        "worked.step_size",
    )
    return Worked(**given.model_dump())


def optimisers(settings: MinimumNormSettings, dataset: Dataset) -> Adaptive:
    """Return the engine's optimisers."""
    return Adaptive(**settings.optimisers.model_dump())


def images(settings: MinimumNormSettings, dataset: Dataset) -> Images:
    """Return descent on the study's data.

    Raises:
        UserError: There are too few examples, or all inputs are zero.
    """
    check_inputs(dataset, settings.images.examples, "images.examples")
    classes = dataset.n_outputs if dataset.task == "classification" else 0
    return Images(settings.images.examples, settings.images.fraction, classes)


TRIALS = (
    Trials("definitions", definitions),
    Trials("descents", descents),
    Trials("experiment-1", experiment_1),
    Trials("validation", validation),
    Trials("ridge", ridge),
    Trials("risks", risks),
    Trials("gaps", gaps),
    Trials("shifts", shifts),
    Trials("batches", batches),
    Trials("diagonal", diagonal),
    Trials("flows", flows),
    Trials("worked", worked),
    Trials("images", images),
    Trials("optimisers", optimisers),
)
"""One experiment each; only the images use the study's data."""
