"""The ntk-width study: what changes in a network, and what training changes in it, as it widens."""

from __future__ import annotations

from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.ntk_width.arms import (
    kernel_average,
    kernel_predictions,
    lanes,
    measurement,
)
from implicit_bias.studies.ntk_width.claims import CLAIMS
from implicit_bias.studies.ntk_width.presentation import DRAWINGS, METHODS
from implicit_bias.studies.ntk_width.settings import NtkWidthSettings
from implicit_bias.studies.ntk_width.silent import SilentUnits
from implicit_bias.studies.ntk_width.tables import tables

STUDY = Study(
    name="ntk-width",
    title="Kernel regime against width",
    settings=NtkWidthSettings,
    stages=(
        Stage("arms", lanes),
        Trials("kernels", kernel_predictions),
        Trials("average", kernel_average),
        Trials("silent", lambda settings, dataset: SilentUnits()),
    ),
    claims=CLAIMS,
    measurement=measurement,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
