"""The sharpness study: which measures of sharpness mean something, and what do they survive?"""

from __future__ import annotations

from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.sharpness.arms import (
    arpack,
    derive,
    keskar,
    lanes,
    measurement,
)
from implicit_bias.studies.sharpness.claims import CLAIMS
from implicit_bias.studies.sharpness.drawings import DRAWINGS
from implicit_bias.studies.sharpness.minimum import Minimum
from implicit_bias.studies.sharpness.presentation import METHODS
from implicit_bias.studies.sharpness.quadratics import Quadratics
from implicit_bias.studies.sharpness.regression import Regression
from implicit_bias.studies.sharpness.select import STAGE
from implicit_bias.studies.sharpness.settings import SharpnessSettings
from implicit_bias.studies.sharpness.tables import tables

STUDY = Study(
    name="sharpness",
    title="Which measures of sharpness mean something, and what do they survive?",
    settings=SharpnessSettings,
    stages=(
        Stage(STAGE, lanes),
        Trials("keskar", keskar),
        Trials("arpack", arpack),
        Trials("minimum", lambda settings, dataset: Minimum()),
        Trials("exact", lambda settings, dataset: Quadratics()),
        Trials("regression", lambda settings, dataset: Regression()),
    ),
    measurement=measurement,
    claims=CLAIMS,
    derive=derive,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
