"""The early-stopping study: training time as a penalty, exactly in linear regression, then in networks."""

from __future__ import annotations

import dataclasses

from implicit_bias.studies.base import Rounds, Stage, Study, Trials
from implicit_bias.studies.early_stopping.claims import EXACT_CLAIMS
from implicit_bias.studies.early_stopping.networks import (
    NETWORK_CLAIMS,
    NETWORK_DRAWINGS,
    NETWORK_METHODS,
    NETWORK_STAGES,
    network_probe,
    network_tables,
)
from implicit_bias.studies.early_stopping.notes import Notes
from implicit_bias.studies.early_stopping.overfitting import LongTraining
from implicit_bias.studies.early_stopping.paths import Paths
from implicit_bias.studies.early_stopping.presentation import EXACT_DRAWINGS, EXACT_METHODS
from implicit_bias.studies.early_stopping.scripts import (
    LinearScript,
    NormScript,
    PatienceScript,
)
from implicit_bias.studies.early_stopping.settings import EarlyStoppingSettings
from implicit_bias.studies.early_stopping.tables import exact_tables
from implicit_bias.studies.early_stopping.validation import ValidationChoice
from implicit_bias.studies.early_stopping.worked import Worked

EXACT_TRIALS = (
    Trials("paths", lambda settings, dataset: Paths(**settings.paths.model_dump())),
    Trials("validation", lambda settings, dataset: ValidationChoice(**settings.validation.model_dump())),
    Trials("long-training", lambda settings, dataset: LongTraining(**settings.overfitting.model_dump())),
    Trials("patience", lambda settings, dataset: PatienceScript()),
    Trials("norms", lambda settings, dataset: NormScript()),
    Trials("linear", lambda settings, dataset: LinearScript()),
    Trials("worked", lambda settings, dataset: Worked(**settings.worked.model_dump())),
    Trials("notes", lambda settings, dataset: Notes(**settings.notes.model_dump())),
)  # fmt: skip
"""What trains no network of the engine's; it uses nothing of the data."""


def _if_asked(stage: Stage | Rounds | Trials) -> Stage | Rounds | Trials:
    """Let settings leave out a trial: none of them needs the run's data."""
    if not isinstance(stage, Trials):
        return stage
    return dataclasses.replace(stage, when=lambda settings: settings.exact)


STUDY = Study(
    name="early-stopping",
    title="Early stopping",
    settings=EarlyStoppingSettings,
    stages=tuple(_if_asked(stage) for stage in (*NETWORK_STAGES, *EXACT_TRIALS)),
    claims=(*EXACT_CLAIMS, *NETWORK_CLAIMS),
    probe=network_probe,
    tables=lambda result: [*exact_tables(result), *network_tables(result)],
    drawings=(*EXACT_DRAWINGS, *NETWORK_DRAWINGS),
    methods=f"{EXACT_METHODS}\n\n{NETWORK_METHODS}",
)
"""The study, as the command finds it."""
