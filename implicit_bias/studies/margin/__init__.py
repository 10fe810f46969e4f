"""The margin study: to which direction descent on separable data tends, and how slowly."""

from __future__ import annotations

from implicit_bias.studies.base import Study, Trials
from implicit_bias.studies.margin.arms import (
    checkpoints,
    degenerate,
    flow,
    law,
    networks,
    pace,
    script,
    steepest,
    steps,
)
from implicit_bias.studies.margin.claims import CLAIMS
from implicit_bias.studies.margin.given import given
from implicit_bias.studies.margin.presentation import DRAWINGS, METHODS
from implicit_bias.studies.margin.settings import MarginSettings
from implicit_bias.studies.margin.tables import tables

STUDY = Study(
    name="margin",
    title="Descent on separable data and the largest margin",
    settings=MarginSettings,
    stages=(
        Trials("flow", flow),
        Trials("law", law),
        Trials("degenerate", degenerate),
        Trials("steps", steps),
        Trials("pace", pace),
        Trials("steepest", steepest),
        Trials("networks", networks),
        Trials("checkpoints", checkpoints),
        Trials("script", script),
        Trials("given", given),
    ),
    claims=CLAIMS,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
