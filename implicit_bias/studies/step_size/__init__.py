"""Optimisers and step sizes compared fairly: at what is stated, and with each one's step size chosen.

A dense network is trained by SGD, momentum and Adam; one network (of any kind) by SGD at step sizes far
apart, by tuned optimisers in two batch sizes, in variants of one protocol, with small batches against weight
decay, and for many epochs. The same seeds run everywhere: a seed decides initial weights, examples and
their order. Beside these, two of the chapter's scripts are run as written.
"""

from __future__ import annotations

from implicit_bias.data import Dataset
from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.step_size.arms import (
    measured_lanes,
    measurement,
    other_lanes,
    probe,
)
from implicit_bias.studies.step_size.claims import CLAIMS
from implicit_bias.studies.step_size.presentation import DRAWINGS, METHODS
from implicit_bias.studies.step_size.scripts import MemoryScript, OptimiserScript
from implicit_bias.studies.step_size.settings import StepSizeSettings
from implicit_bias.studies.step_size.start import FullStart
from implicit_bias.studies.step_size.tables import tables


def _optimiser_script(settings: StepSizeSettings, dataset: Dataset) -> OptimiserScript:
    own = settings.scripts
    return OptimiserScript(own.draws, own.trained_epochs)


def _memory_script(settings: StepSizeSettings, dataset: Dataset) -> MemoryScript:
    own = settings.scripts
    return MemoryScript(2 * own.draws, own.trained_epochs, own.trained_width)


STUDY = Study(
    name="step-size",
    title="Optimisers and step sizes",
    settings=StepSizeSettings,
    stages=(
        Stage("measured", measured_lanes),
        Stage("others", other_lanes, measured=False),
        Trials("script", _optimiser_script, lambda settings: settings.scripts.run),
        Trials("memory", _memory_script, lambda settings: settings.scripts.run),
        Trials(
            "full-start",
            lambda settings, dataset: FullStart(),
            lambda settings: settings.scripts.full_start,
        ),
    ),
    claims=CLAIMS,
    measurement=measurement,
    probe=probe,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
