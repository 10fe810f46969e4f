"""The laziness study: lazy or rich at the same width, and what it changes."""

from __future__ import annotations

from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.laziness.arms import (
    lanes,
    measurement,
    modes,
    multi_index,
    predictions,
    probe,
)
from implicit_bias.studies.laziness.chosen import derive
from implicit_bias.studies.laziness.claims import CLAIMS
from implicit_bias.studies.laziness.presentation import DRAWINGS, METHODS
from implicit_bias.studies.laziness.settings import LazinessSettings
from implicit_bias.studies.laziness.tables import tables

STUDY = Study(
    name="laziness",
    title="Lazy or rich at the same width",
    settings=LazinessSettings,
    stages=(
        Stage("arms", lanes),
        Trials("kernels", predictions),
        Trials("modes", modes),
        Trials("multi-index", multi_index),
    ),
    claims=CLAIMS,
    measurement=measurement,
    probe=probe,
    derive=derive,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
