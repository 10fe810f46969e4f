"""The study of SGD's noise: what it leaves about a minimum, and what it adds to the loss."""

from __future__ import annotations

from implicit_bias.data import Dataset
from implicit_bias.studies.base import Study, Trials
from implicit_bias.studies.sgd_noise.claims import CLAIMS
from implicit_bias.studies.sgd_noise.corrupted import Corrupted
from implicit_bias.studies.sgd_noise.endpoints import Endpoints
from implicit_bias.studies.sgd_noise.epochs import Epochs, FreshLabels
from implicit_bias.studies.sgd_noise.given import GivenData, check_given
from implicit_bias.studies.sgd_noise.moments import Moments
from implicit_bias.studies.sgd_noise.presentation import DRAWINGS, METHODS
from implicit_bias.studies.sgd_noise.settings import SgdNoiseSettings
from implicit_bias.studies.sgd_noise.stationary import Stationary
from implicit_bias.studies.sgd_noise.tables import tables
from implicit_bias.studies.sgd_noise.wells import Wells


def given_data(settings: SgdNoiseSettings, dataset: Dataset) -> GivenData:
    """Return what is measured on the run's data.

    Raises:
        UserError: Nothing can be: see :func:`implicit_bias.studies.sgd_noise.given.check_given`.
    """
    count, _ = settings.data.sizes(dataset)
    chosen = settings.given
    check_given(dataset, count, chosen.features, chosen.batch)
    return GivenData(count, **chosen.model_dump())


TRIALS = (
    Trials("stationary", lambda settings, dataset: Stationary(**settings.stationary.model_dump())),
    Trials("moments", lambda settings, dataset: Moments(**settings.moments.model_dump())),
    Trials("wells", lambda settings, dataset: Wells(**settings.wells.model_dump())),
    Trials("endpoints", lambda settings, dataset: Endpoints(**settings.endpoints.model_dump())),
    Trials("epochs", lambda settings, dataset: Epochs(**settings.epochs.model_dump())),
    Trials("fresh-labels", lambda settings, dataset: FreshLabels(**settings.labels.model_dump())),
    Trials("corrupted", lambda settings, dataset: Corrupted(**settings.corrupted.model_dump())),
    Trials("given", given_data),
)
"""One experiment each; the last uses the run's data."""

STUDY = Study(
    name="sgd-noise",
    title="The noise of SGD",
    settings=SgdNoiseSettings,
    stages=TRIALS,
    claims=CLAIMS,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
