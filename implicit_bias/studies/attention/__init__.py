"""The attention study: ranks and sparsity of attention before and after training, and memorising."""

from __future__ import annotations

from implicit_bias.studies.attention.arms import collapse, lanes, measurement
from implicit_bias.studies.attention.claims import CLAIMS
from implicit_bias.studies.attention.presentation import DRAWINGS, METHODS
from implicit_bias.studies.attention.rows import derive
from implicit_bias.studies.attention.settings import AttentionSettings
from implicit_bias.studies.attention.tables import tables
from implicit_bias.studies.base import Stage, Study, Trials

STUDY = Study(
    name="attention",
    title="What training makes of attention",
    settings=AttentionSettings,
    stages=(Stage("arms", lanes), Trials("collapse", collapse)),
    claims=CLAIMS,
    measurement=measurement,
    derive=derive,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
