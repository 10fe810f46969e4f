"""Exercises C.1, C.2 and C.6 of the chapter and its scripts on least squares, as they are set.

The study puts these into itself: settings as its section ``scripts``, the trials behind its stages.
"""

from __future__ import annotations

from implicit_bias.studies.base import Trials
from implicit_bias.studies.minimum_norm.scripts.batches import BatchExercise, BatchScript
from implicit_bias.studies.minimum_norm.scripts.claims import SCRIPT_CLAIMS as SCRIPT_CLAIMS
from implicit_bias.studies.minimum_norm.scripts.curvature import (
    CurvatureExercise,
    CurvatureScript,
)
from implicit_bias.studies.minimum_norm.scripts.descent import DescentExercise, DescentScript
from implicit_bias.studies.minimum_norm.scripts.drawings import (
    SCRIPT_DRAWINGS as SCRIPT_DRAWINGS,
)
from implicit_bias.studies.minimum_norm.scripts.penalty import RidgeScript
from implicit_bias.studies.minimum_norm.scripts.rules_descent import (
    BATCH_SCRIPT,
    BATCHES,
    DESCENT,
    DESCENT_SCRIPT,
)
from implicit_bias.studies.minimum_norm.scripts.rules_quadratic import (
    CURVATURE,
    CURVATURE_SCRIPT,
    RIDGE_SCRIPT,
)
from implicit_bias.studies.minimum_norm.scripts.tables import script_tables as script_tables

SCRIPT_METHODS = """Exercises C.1, C.2 and C.6 are done as they are set, in double precision. Descent is taken
mode by mode in closed form, and on one data set of a seed update by update, too; mini-batches and adaptive
optimisers are run. A seed is a draw of data, of starts and of orders; exercise C.1 takes medians over
several data sets of a seed, and exercise C.2, of three data sets, is done several times. C.6 begins at
zero, where nothing moves: it is run from there and from a standard normal start, with its Hessian diagonal
and rotated.

The chapter's scripts are repeated with their own generator: the first run of the study's seed 0 has the
script's seed 42, and others have other ones; runs of a seed are averaged, in their logarithms where they
are positive. Numbers that the chapter says they print are held against what they compute, and beside them
stands the design that would show what is claimed: descent to its end, and penalties as large as the
eigenvalues that they stand beside."""

SCRIPT_TRIALS = (
    Trials(
        DESCENT,
        lambda settings, dataset: DescentExercise(settings.scripts.draws, settings.scripts.updates),
    ),
    Trials(BATCHES, lambda settings, dataset: BatchExercise(settings.scripts.groups)),
    Trials(CURVATURE, lambda settings, dataset: CurvatureExercise()),
    Trials(DESCENT_SCRIPT, lambda settings, dataset: DescentScript(settings.scripts.repeats)),
    Trials(BATCH_SCRIPT, lambda settings, dataset: BatchScript(settings.scripts.repeats)),
    Trials(RIDGE_SCRIPT, lambda settings, dataset: RidgeScript(settings.scripts.repeats)),
    Trials(CURVATURE_SCRIPT, lambda settings, dataset: CurvatureScript(settings.scripts.repeats)),
)
"""One experiment each; they use nothing of the data."""
