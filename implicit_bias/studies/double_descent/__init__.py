"""The double-descent study: test error below, at and beyond the interpolation threshold."""

from __future__ import annotations

from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.double_descent.arms import lanes, measurement, random_features
from implicit_bias.studies.double_descent.claims import NETWORK_CLAIMS
from implicit_bias.studies.double_descent.derived import derive
from implicit_bias.studies.double_descent.linear import (
    LINEAR_CLAIMS,
    LINEAR_DRAWINGS,
    LINEAR_METHODS,
    LINEAR_TRIALS,
)
from implicit_bias.studies.double_descent.presentation import METHODS, NETWORK_DRAWINGS
from implicit_bias.studies.double_descent.settings import DoubleDescentSettings
from implicit_bias.studies.double_descent.tables import tables

STUDY = Study(
    name="double-descent",
    title="Double descent",
    settings=DoubleDescentSettings,
    stages=(Stage("networks", lanes), Trials("features", random_features), *LINEAR_TRIALS),
    claims=(*NETWORK_CLAIMS, *LINEAR_CLAIMS),
    measurement=measurement,
    derive=derive,
    tables=tables,
    drawings=(*NETWORK_DRAWINGS, *LINEAR_DRAWINGS),
    methods=f"{METHODS}\n\n{LINEAR_METHODS}",
)
"""The study, as the command finds it."""
