"""The PAC-Bayes study: bounds for random networks, valid and not, and what information can be estimated."""

from __future__ import annotations

from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.pac_bayes.arms import (
    coverage,
    information,
    lanes,
    posteriors,
    script,
    sharp,
)
from implicit_bias.studies.pac_bayes.certificates import derive
from implicit_bias.studies.pac_bayes.claims import CLAIMS
from implicit_bias.studies.pac_bayes.presentation import DRAWINGS, METHODS
from implicit_bias.studies.pac_bayes.settings import PacBayesSettings
from implicit_bias.studies.pac_bayes.tables import tables

STUDY = Study(
    name="pac-bayes",
    title="Bounds for random networks, and information in layers",
    settings=PacBayesSettings,
    stages=(
        Stage("arms", lanes, measured=False),
        Trials("posteriors", posteriors),
        Trials("coverage", coverage),
        Trials("script", script),
        Trials("sharp", sharp),
        Trials("information", information),
    ),
    claims=CLAIMS,
    derive=derive,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
