"""Does making a minimum flatter make it generalise better, and can flatness replace small batches?

Batch sizes, penalties on curvature and published protocols are trained with the same seeds, with step sizes
and strengths chosen on validation data; of every minimum its Hessian's spectrum, an adaptive sharpness, its
margins and its accuracy under attack are measured. Minima that training does not find by itself, poisoned
or guessed, are held against those of gradient descent at equal loss.
"""

from __future__ import annotations

from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.flat_minima.arms import TUNING
from implicit_bias.studies.flat_minima.claims import CLAIMS
from implicit_bias.studies.flat_minima.experiments import guessed, measurement, poisoned
from implicit_bias.studies.flat_minima.lanes import arm_lanes, derive, tuning_lanes
from implicit_bias.studies.flat_minima.presentation import DRAWINGS, METHODS, tables
from implicit_bias.studies.flat_minima.script import MockAttack
from implicit_bias.studies.flat_minima.settings import FlatMinimaSettings

STUDY = Study(
    name="flat-minima",
    title="Flat minima, generalisation and robustness",
    settings=FlatMinimaSettings,
    stages=(
        Stage(TUNING, tuning_lanes, measured=False),
        Stage("arms", arm_lanes),
        Trials("poisoned", poisoned),
        Trials("random-search", guessed),
        Trials("mock-attack", lambda settings, dataset: MockAttack()),
    ),
    claims=CLAIMS,
    measurement=measurement,
    derive=derive,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
