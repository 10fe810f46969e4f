"""Double descent in linear regression: the sources' designs, and those that show what they claim.

The study puts these into itself: settings as its section ``linear``, the trials behind its stages.
"""

from __future__ import annotations

from typing import Any

from implicit_bias.data import Dataset
from implicit_bias.studies.base import Trials
from implicit_bias.studies.double_descent.linear.claims import LINEAR_CLAIMS as LINEAR_CLAIMS
from implicit_bias.studies.double_descent.linear.designs import DESIGNS
from implicit_bias.studies.double_descent.linear.drawings import (
    LINEAR_DRAWINGS as LINEAR_DRAWINGS,
)
from implicit_bias.studies.double_descent.linear.exercise import Exercise
from implicit_bias.studies.double_descent.linear.ridge import RidgeSweep
from implicit_bias.studies.double_descent.linear.rows import stage_of
from implicit_bias.studies.double_descent.linear.settings import LinearSettings as LinearSettings
from implicit_bias.studies.double_descent.linear.special import RandomLabels, Threshold
from implicit_bias.studies.double_descent.linear.sweep import Sweep
from implicit_bias.studies.double_descent.linear.tables import linear_tables as linear_tables

linear_settings = LinearSettings
"""Section of the study's settings, under the name ``linear``."""

LINEAR_METHODS = """Linear regression is measured in double precision on training sets that are drawn and
solved exactly: the minimum norm, or ridge regression with the penalty beside the sum of squared errors.
Models of different sizes see the first features of the same training set. Test error is the expectation
over new examples, noise included; only exercise C.5 has a test set. A seed makes many training sets and
leaves their mean, quartiles and deviation; intervals are over seeds. The mean over training sets is
infinite where |n − m| ≤ 1 and labels are noisy, so that medians are compared near the threshold. Their
exact distribution is known for Gaussian features at every size, and the draws are held against it: a
share of the signal that is Beta-distributed, plus the noise times a ratio of χ² variables. Where
features have different strengths and are more than the examples, the law is a limit. Designs are the
sources' own, with what they leave open chosen and named, and beside them Belkin, Hsu and Xu's, in which
every feature adds signal, a signal that decays as 1/j, and features that decay as 1/j."""


def _sweep(design: Any) -> Trials:
    def make(settings: Any, dataset: Dataset) -> Sweep:
        del dataset
        return Sweep(design, settings.linear.draws)

    return Trials(stage_of(design), make)


LINEAR_TRIALS = (
    *(_sweep(design) for design in DESIGNS),
    Trials("ridge", lambda settings, dataset: RidgeSweep(settings.linear.draws)),
    Trials(
        "exercise",
        lambda settings, dataset: Exercise(settings.linear.trials, settings.linear.tests),
    ),
    Trials("threshold", lambda settings, dataset: Threshold(settings.linear.draws)),
    Trials("random-labels", lambda settings, dataset: RandomLabels(settings.linear.draws)),
)
"""One experiment each; they use nothing of the data."""
