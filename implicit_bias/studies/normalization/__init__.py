"""The normalization study: invariance of scale, what it does to steps, and whether minima are flatter."""

from __future__ import annotations

from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.normalization.arms import (
    GRID,
    equilibrium,
    grid_lanes,
    invariance,
    measured_lanes,
    measurement,
    probe,
)
from implicit_bias.studies.normalization.claims import CLAIMS
from implicit_bias.studies.normalization.presentation import DRAWINGS, METHODS
from implicit_bias.studies.normalization.settings import NormalizationSettings
from implicit_bias.studies.normalization.tables import tables

STUDY = Study(
    name="normalization",
    title="What normalisation does",
    settings=NormalizationSettings,
    stages=(
        Stage(GRID, grid_lanes, measured=False),
        Stage("measured", measured_lanes),
        Trials("invariance", invariance),
        Trials("equilibrium", equilibrium),
    ),
    claims=CLAIMS,
    measurement=measurement,
    probe=probe,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
