"""What the margin study tries, from its settings."""

from __future__ import annotations

from implicit_bias.data import Dataset
from implicit_bias.studies.margin.checkpoints import LinearCheckpoints
from implicit_bias.studies.margin.descents import Pace, PlainSteps, Steepest
from implicit_bias.studies.margin.designs import generator, separable_blobs
from implicit_bias.studies.margin.flows import ChosenSolution, Degenerate, Flow
from implicit_bias.studies.margin.networks import Homogeneous
from implicit_bias.studies.margin.script import Scripts
from implicit_bias.studies.margin.settings import MarginSettings


def flow(settings: MarginSettings, dataset: Dataset) -> Flow:
    """Return the paths on two classes in the plane.

    Raises:
        UserError: Classes are so close that no draw is separable.
    """
    blobs = settings.blobs
    for seed in range(settings.seeds):
        separable_blobs(generator(seed), blobs.examples, blobs.distance)
    return Flow(blobs.examples, blobs.distance, settings.horizon, settings.far)


def law(settings: MarginSettings, dataset: Dataset) -> ChosenSolution:
    """Return the paths on data of chosen solutions."""
    return ChosenSolution(**settings.law.model_dump(), horizon=settings.horizon)


def degenerate(settings: MarginSettings, dataset: Dataset) -> Degenerate:
    """Return the paths where a support vector does not push."""
    return Degenerate(settings.horizon)


def steps(settings: MarginSettings, dataset: Dataset) -> PlainSteps:
    """Return plain steps beside flow."""
    return PlainSteps(**settings.blobs.model_dump(), **settings.steps.model_dump())


def pace(settings: MarginSettings, dataset: Dataset) -> Pace:
    """Return normalised steps."""
    return Pace(**settings.law.model_dump(), **settings.pace.model_dump())


def steepest(settings: MarginSettings, dataset: Dataset) -> Steepest:
    """Return steepest descent in three norms."""
    return Steepest(**settings.steepest.model_dump())


def networks(settings: MarginSettings, dataset: Dataset) -> Homogeneous:
    """Return homogeneous networks."""
    return Homogeneous(**settings.networks.model_dump())


def checkpoints(settings: MarginSettings, dataset: Dataset) -> LinearCheckpoints:
    """Return pairs of checkpoints of a linear classifier."""
    return LinearCheckpoints(**settings.blobs.model_dump(), far=settings.far)


def script(settings: MarginSettings, dataset: Dataset) -> Scripts:
    """Return the chapter's exercise and script."""
    return Scripts(**settings.script.model_dump(), horizon=settings.horizon)
