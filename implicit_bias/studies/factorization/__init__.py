"""The factorization study: what deep linear networks, matrix sensing and diagonal networks prefer."""

from __future__ import annotations

from implicit_bias.studies.base import Study, Trials
from implicit_bias.studies.factorization.claims import CLAIMS
from implicit_bias.studies.factorization.depths import Depths
from implicit_bias.studies.factorization.diagonal import Diagonal
from implicit_bias.studies.factorization.gradients import Gradients
from implicit_bias.studies.factorization.modes import Modes
from implicit_bias.studies.factorization.networks import Networks
from implicit_bias.studies.factorization.plane import Plane
from implicit_bias.studies.factorization.presentation import DRAWINGS, METHODS
from implicit_bias.studies.factorization.ranks import Ranks
from implicit_bias.studies.factorization.sensing import Sensing
from implicit_bias.studies.factorization.settings import FactorizationSettings
from implicit_bias.studies.factorization.signals import Signals
from implicit_bias.studies.factorization.tables import tables
from implicit_bias.studies.factorization.widths import Widths

TRIALS = (
    Trials("gradients", lambda settings, dataset: Gradients()),
    Trials("modes", lambda settings, dataset: Modes(**settings.modes.model_dump())),
    Trials("sensing", lambda settings, dataset: Sensing(**settings.sensing.model_dump())),
    Trials("plane", lambda settings, dataset: Plane(**settings.plane.model_dump())),
    Trials("depths", lambda settings, dataset: Depths(**settings.depth.model_dump())),
    Trials("widths", lambda settings, dataset: Widths(**settings.width.model_dump())),
    Trials("ranks", lambda settings, dataset: Ranks(**settings.ranks.model_dump())),
    Trials("diagonal", lambda settings, dataset: Diagonal(**settings.diagonal.model_dump())),
    Trials("networks", lambda settings, dataset: Networks(**settings.networks.model_dump())),
    Trials("signals", lambda settings, dataset: Signals(**settings.signals.model_dump())),
)
"""Nothing is trained by the engine; no experiment uses anything of the data."""

STUDY = Study(
    name="factorization",
    title="Deep linear networks and factorisation",
    settings=FactorizationSettings,
    stages=TRIALS,
    claims=CLAIMS,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
