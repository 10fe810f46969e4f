"""What the stability study tries, from its settings."""

from __future__ import annotations

from implicit_bias.data import Dataset
from implicit_bias.studies.refusals import check_at_most, check_classification
from implicit_bias.studies.stability.descents import PairedDescent
from implicit_bias.studies.stability.exercise import LeaveOneOut
from implicit_bias.studies.stability.interpolation import Interpolation
from implicit_bias.studies.stability.known import Known
from implicit_bias.studies.stability.learning import Learning
from implicit_bias.studies.stability.regularised import Logistic, Ridge
from implicit_bias.studies.stability.script import Script
from implicit_bias.studies.stability.settings import StabilitySettings


def known(settings: StabilitySettings, dataset: Dataset) -> Known:
    """Return algorithms of known stability."""
    return Known(**settings.bounds.model_dump())


def ridge(settings: StabilitySettings, dataset: Dataset) -> Ridge:
    """Return ridge regression on bounded data."""
    return Ridge(**settings.regularised.model_dump())


def logistic(settings: StabilitySettings, dataset: Dataset) -> Logistic:
    """Return logistic regression on bounded data."""
    return Logistic(**settings.regularised.model_dump())


def descent(settings: StabilitySettings, dataset: Dataset) -> PairedDescent:
    """Return pairs of runs of stochastic gradient descent."""
    return PairedDescent(**settings.descent.model_dump())


def interpolation(settings: StabilitySettings, dataset: Dataset) -> Interpolation:
    """Return algorithms that fit every label."""
    return Interpolation(**settings.interpolation.model_dump())


def learning(settings: StabilitySettings, dataset: Dataset) -> Learning:
    """Return coins, thresholds and kernels."""
    return Learning(**settings.learning.model_dump())


def exercise(settings: StabilitySettings, dataset: Dataset) -> LeaveOneOut:
    """Return the exercise on the run's data.

    Raises:
        UserError: The data have no classes, or too few training examples.
    """
    check_classification(dataset, "the exercise is about classes")
    there = f"{dataset.name} has {dataset.n_train} training examples"
    check_at_most(settings, "exercise", dataset.n_train, there)
    return LeaveOneOut(settings.exercise, dataset.n_outputs)


def script(settings: StabilitySettings, dataset: Dataset) -> Script:
    """Return the chapter's script."""
    return Script()
