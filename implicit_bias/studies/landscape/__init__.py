"""The landscape study: what slices and paths of the loss show, and what they do not."""

from __future__ import annotations

from implicit_bias.data import Dataset
from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.landscape.arms import adam_updates, lanes, partners, subject
from implicit_bias.studies.landscape.claims import CLAIMS
from implicit_bias.studies.landscape.derived import derive
from implicit_bias.studies.landscape.matching import Matched
from implicit_bias.studies.landscape.paths import Paths
from implicit_bias.studies.landscape.planes import RandomPlanes
from implicit_bias.studies.landscape.presentation import DRAWINGS, METHODS, tables
from implicit_bias.studies.landscape.script import Script
from implicit_bias.studies.landscape.settings import LandscapeSettings
from implicit_bias.studies.landscape.special import SpecialPlanes


def _planes(settings: LandscapeSettings, dataset: Dataset) -> RandomPlanes:
    own = settings.planes
    return RandomPlanes(
        subject(settings, dataset), own.slices, own.grid, own.fine_grid, own.reach,
        own.filter_reach, own.rescaling,
    )  # fmt: skip


def _paths(settings: LandscapeSettings, dataset: Dataset) -> Paths:
    near = settings.nearby
    return Paths(
        subject(settings, dataset), settings.paths.points, adam_updates(settings, dataset),
        settings.batches.adam_step_size, settings.batches.small, near.radii, near.points,
    )  # fmt: skip


def _special(settings: LandscapeSettings, dataset: Dataset) -> SpecialPlanes:
    own = settings.special
    return SpecialPlanes(
        subject(settings, dataset), own.stations, settings.planes.fine_grid, own.reach,
        own.max_products,
    )  # fmt: skip


STUDY = Study(
    name="landscape",
    title="What slices and paths of the loss show, and what they do not",
    settings=LandscapeSettings,
    stages=(
        Stage("arms", lanes),
        Stage("partners", partners, measured=False),
        Trials("paths", _paths),
        Trials("special", _special),
        Trials(
            "matching",
            lambda settings, dataset: Matched(subject(settings, dataset), settings.paths.points),
        ),
        Trials("script", lambda settings, dataset: Script()),
    ),
    measurement=_planes,
    claims=CLAIMS,
    derive=derive,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
