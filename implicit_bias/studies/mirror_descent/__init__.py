"""The mirror-descent study: which solution other geometries prefer, exactly in linear regression."""

from __future__ import annotations

from implicit_bias.studies.base import Study, Trials
from implicit_bias.studies.mirror_descent.claims import CLAIMS
from implicit_bias.studies.mirror_descent.coordinates import Coordinates
from implicit_bias.studies.mirror_descent.exercise import Exercise
from implicit_bias.studies.mirror_descent.limits import Limits
from implicit_bias.studies.mirror_descent.presentation import DRAWINGS, METHODS
from implicit_bias.studies.mirror_descent.script import Script
from implicit_bias.studies.mirror_descent.settings import MirrorSettings
from implicit_bias.studies.mirror_descent.tables import tables

TRIALS = (
    Trials("limits", lambda settings, dataset: Limits(**settings.limits.model_dump())),
    Trials(
        "coordinates", lambda settings, dataset: Coordinates(**settings.coordinates.model_dump())
    ),
    Trials("exercise", lambda settings, dataset: Exercise(**settings.exercise.model_dump())),
    Trials("script", lambda settings, dataset: Script()),
)
"""One experiment each; they use nothing of the data."""

STUDY = Study(
    name="mirror-descent",
    title="Mirror, coordinate and sign descent",
    settings=MirrorSettings,
    stages=TRIALS,
    claims=CLAIMS,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
