"""The stability study: what one example may change, and what that says of the gap."""

from __future__ import annotations

from implicit_bias.studies.base import Study, Trials
from implicit_bias.studies.stability.arms import (
    descent,
    exercise,
    interpolation,
    known,
    learning,
    logistic,
    ridge,
    script,
)
from implicit_bias.studies.stability.claims import CLAIMS
from implicit_bias.studies.stability.presentation import DRAWINGS, METHODS
from implicit_bias.studies.stability.settings import StabilitySettings
from implicit_bias.studies.stability.tables import tables

STUDY = Study(
    name="stability",
    title="Uniform stability and the generalisation gap",
    settings=StabilitySettings,
    stages=(
        Trials("known", known),
        Trials("ridge", ridge),
        Trials("logistic", logistic),
        Trials("descent", descent),
        Trials("interpolation", interpolation),
        Trials("learning", learning),
        Trials("exercise", exercise),
        Trials("script", script),
    ),
    claims=CLAIMS,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
