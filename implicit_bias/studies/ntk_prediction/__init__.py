"""Do wide networks predict what their tangent kernel does, at equal time?

One network is trained at many widths, from zero, from its random start, and linearised; its outputs are
held against gradient descent with its own initial kernel and with the infinite network's at every logged
update. Beside it stand a published exercise and two published scripts, run as they are specified, and the
ends of gradient descent that are known in closed form.
"""

from __future__ import annotations

from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.ntk_prediction.arms import lanes, probe
from implicit_bias.studies.ntk_prediction.claims import CLAIMS
from implicit_bias.studies.ntk_prediction.exact import LinearisedEnd, NearestSolution
from implicit_bias.studies.ntk_prediction.exercise import WideNetwork
from implicit_bias.studies.ntk_prediction.presentation import DRAWINGS, METHODS, tables
from implicit_bias.studies.ntk_prediction.scripts import FrozenFeatures, UntrainedNetwork
from implicit_bias.studies.ntk_prediction.settings import NtkPredictionSettings

STUDY = Study(
    name="ntk-prediction",
    title="Wide networks and what their kernel predicts",
    settings=NtkPredictionSettings,
    stages=(
        Stage("arms", lanes, measured=False),
        Trials("exercise", lambda settings, dataset: WideNetwork(**settings.exercise.model_dump())),
        Trials("untrained", lambda settings, dataset: UntrainedNetwork()),
        Trials("frozen", lambda settings, dataset: FrozenFeatures()),
        Trials("linearised-end", lambda settings, dataset: LinearisedEnd()),
        Trials("nearest-solution", lambda settings, dataset: NearestSolution()),
    ),
    claims=CLAIMS,
    probe=probe,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
