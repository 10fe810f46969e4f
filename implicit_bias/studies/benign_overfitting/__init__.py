"""The benign-overfitting study: when fitting everything does no harm, and when it does."""

from __future__ import annotations

from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.benign_overfitting.arms import (
    few,
    lanes,
    memorisers,
    norms,
    plane,
    ranks,
    relabelled,
    tails,
)
from implicit_bias.studies.benign_overfitting.claims import CLAIMS
from implicit_bias.studies.benign_overfitting.presentation import DRAWINGS, METHODS
from implicit_bias.studies.benign_overfitting.settings import BenignSettings
from implicit_bias.studies.benign_overfitting.tables import tables

STUDY = Study(
    name="benign-overfitting",
    title="Fitting everything, benign or not",
    settings=BenignSettings,
    stages=(
        Stage("arms", lanes, measured=False),
        Trials("memorisers", memorisers),
        Trials("plane", plane),
        Trials("tails", tails),
        Trials("norms", norms),
        Trials("ranks", ranks),
        Trials("few", few),
        Trials("relabelled", relabelled),
    ),
    claims=CLAIMS,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
