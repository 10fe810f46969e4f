"""The residual study: blocks of the same parameters with and without shortcuts."""

from __future__ import annotations

from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.residual.arms import (
    GRID,
    chosen_lanes,
    grid_lanes,
    jacobians,
    linear,
    measurement,
    probe,
)
from implicit_bias.studies.residual.claims import CLAIMS
from implicit_bias.studies.residual.presentation import DRAWINGS, METHODS
from implicit_bias.studies.residual.settings import ResidualSettings
from implicit_bias.studies.residual.tables import tables

STUDY = Study(
    name="residual",
    title="What shortcuts do",
    settings=ResidualSettings,
    stages=(
        Stage(GRID, grid_lanes, measured=False),
        Stage("chosen", chosen_lanes),
        Trials("jacobians", jacobians),
        Trials("linear", linear),
    ),
    claims=CLAIMS,
    measurement=measurement,
    probe=probe,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
