"""The minimum-norm study: where descent on squared errors ends, and what decides it."""

from __future__ import annotations

from implicit_bias.studies.base import Study
from implicit_bias.studies.minimum_norm.arms import TRIALS
from implicit_bias.studies.minimum_norm.claims import CLAIMS
from implicit_bias.studies.minimum_norm.presentation import DRAWINGS, METHODS
from implicit_bias.studies.minimum_norm.scripts import (
    SCRIPT_CLAIMS,
    SCRIPT_DRAWINGS,
    SCRIPT_METHODS,
    SCRIPT_TRIALS,
    script_tables,
)
from implicit_bias.studies.minimum_norm.settings import MinimumNormSettings
from implicit_bias.studies.minimum_norm.tables import tables

STUDY = Study(
    name="minimum-norm",
    title="The minimum norm, exactly",
    settings=MinimumNormSettings,
    stages=(*TRIALS, *SCRIPT_TRIALS),
    claims=(*CLAIMS, *SCRIPT_CLAIMS),
    tables=lambda result: [*tables(result), *script_tables(result)],
    drawings=(*DRAWINGS, *SCRIPT_DRAWINGS),
    methods=f"{METHODS}\n\n{SCRIPT_METHODS}",
)
"""The study, as the command finds it."""
