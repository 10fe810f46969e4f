"""Studies: each composes the other rooms into one question with its controls.

Folders of studies are alike. As far as a study needs them, there are

- ``settings``, and ``arms``: the lanes and experiments that settings ask for;
- a module for each experiment; ``measure`` and ``probe``, of what is measured at the end and on the way;
- ``rows``: a result's numbers by seed; ``rules``, in parts where there are many: from them to findings;
- ``claims``: what documents say, and the criteria;
- ``tables``, ``drawings`` and ``presentation``: the figures in order, and the methods.

What several share lies beside the folders: checks of settings (``refusals``), numbers by seed (``rows``),
comparisons that rules are made of (``comparisons``; ``compare`` where arms have batch sizes), cells of tables
(``seed_means``). The other modules here run studies.
"""

from __future__ import annotations

import dataclasses

from implicit_bias.errors import UserError, unknown
from implicit_bias.plugins import load_attribute
from implicit_bias.studies.base import Drawing as Drawing
from implicit_bias.studies.base import Rounds as Rounds
from implicit_bias.studies.base import Stage as Stage
from implicit_bias.studies.base import Study as Study
from implicit_bias.studies.base import Trials as Trials
from implicit_bias.studies.settings import StudySettings as StudySettings

STUDIES: dict[str, str] = {
    "batch-size": "implicit_bias.studies.batch_size:STUDY",
    "edge-of-stability": "implicit_bias.studies.edge_of_stability:STUDY",
    "sharpness": "implicit_bias.studies.sharpness:STUDY",
    "landscape": "implicit_bias.studies.landscape:STUDY",
    "flat-minima": "implicit_bias.studies.flat_minima:STUDY",
    "ntk-prediction": "implicit_bias.studies.ntk_prediction:STUDY",
    "ntk-width": "implicit_bias.studies.ntk_width:STUDY",
    "laziness": "implicit_bias.studies.laziness:STUDY",
    "double-descent": "implicit_bias.studies.double_descent:STUDY",
    "benign-overfitting": "implicit_bias.studies.benign_overfitting:STUDY",
    "lottery-ticket": "implicit_bias.studies.lottery_ticket:STUDY",
    "mirror-descent": "implicit_bias.studies.mirror_descent:STUDY",
    "minimum-norm": "implicit_bias.studies.minimum_norm:STUDY",
    "margin": "implicit_bias.studies.margin:STUDY",
    "early-stopping": "implicit_bias.studies.early_stopping:STUDY",
    "factorization": "implicit_bias.studies.factorization:STUDY",
    "pac-bayes": "implicit_bias.studies.pac_bayes:STUDY",
    "sgd-noise": "implicit_bias.studies.sgd_noise:STUDY",
    "stability": "implicit_bias.studies.stability:STUDY",
    "attention": "implicit_bias.studies.attention:STUDY",
    "step-size": "implicit_bias.studies.step_size:STUDY",
    "residual": "implicit_bias.studies.residual:STUDY",
    "normalization": "implicit_bias.studies.normalization:STUDY",
}
"""Where each study is; imported when asked for."""


def names() -> list[str]:
    """Return the names of the studies that come with the package."""
    return list(STUDIES)


def get(name: str) -> Study:
    """Return a study by name, or a user's own by ``module:attribute`` or ``file.py:attribute``.

    Raises:
        UserError: There is no such study.

    Example:
        >>> get("stability")
        Study('stability', 8 stages, 21 claims)
    """
    if name not in STUDIES and ":" not in name:
        raise unknown("study", name, STUDIES, own="file.py:NAME")
    study = load_attribute(STUDIES.get(name, name), kind="study")
    if not isinstance(study, Study):
        raise UserError(f"{name} is a {type(study).__name__}, not a Study; name a Study object")
    return dataclasses.replace(study, origin=name)
