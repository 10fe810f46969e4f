"""What the batch size does to flatness and test error, with the controls that decide why.

A network is trained with batches of several sizes under budgets and step-size rules (arms) that separate
batch size from step size, number of updates, final training loss and gradient noise. The same seeds run in
every arm; a seed decides the initial weights, the training subset, the order of examples and every other
draw.
"""

from __future__ import annotations

from implicit_bias.studies.base import Stage, Study
from implicit_bias.studies.batch_size.arms import arm_lanes, derive, endpoint, tuning_lanes
from implicit_bias.studies.batch_size.claims import CLAIMS
from implicit_bias.studies.batch_size.presentation import DRAWINGS, METHODS, tables
from implicit_bias.studies.batch_size.settings import TUNING, BatchSizeSettings

STUDY = Study(
    name="batch-size",
    title="Batch size, flatness and test error",
    settings=BatchSizeSettings,
    stages=(Stage(TUNING, tuning_lanes, measured=False), Stage("arms", arm_lanes)),
    claims=CLAIMS,
    measurement=endpoint,
    derive=derive,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
