"""What a study is: its settings, what it runs, measures, claims and draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from implicit_bias.data import Dataset
from implicit_bias.studies.settings import StudySettings
from implicit_bias.training import Lane
from implicit_bias.training.experiment import Experiment
from implicit_bias.training.measurement import Measurement
from implicit_bias.training.probe import Probe

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from implicit_bias.results.claims import Claim
    from implicit_bias.results.table import Table
    from implicit_bias.studies.weights import Weights


@dataclass(frozen=True)
class Stage:
    """A sweep of training runs within a study.

    Attributes:
        name: Shown in progress and stored with its lanes.
        lanes: From the settings, the data and the results of the stages before (None for the first) to
            the lanes to train. What it chooses for a seed may depend only on earlier lanes of that
            seed, so that seeds can be spread over machines.
        measured: Whether its lanes are measured after training.
    """

    name: str
    lanes: Callable[[Any, Dataset, xr.Dataset | None], Sequence[Lane]]
    measured: bool = True


@dataclass(frozen=True)
class Rounds:
    """A sweep of training runs, again and again, each made from the weights that those before it left.

    Adding seeds to a finished run trains what its rounds were made from again, unless it was made with
    ``keep_params``.

    Attributes:
        name: Shown in progress and stored with its lanes.
        lanes: From the settings, the data, the round's number (from 0) and the weights so far to the lanes
            of that round; none ends the stage. What a round asks for is of ``weights.seeds``, and of each
            seed depends on that seed's weights alone, so that seeds can be spread over machines. A lane
            that was trained before is not trained again. The first round of a study's first stage asks
            for no weights.
        measured: Whether its lanes are measured after training.
    """

    name: str
    lanes: Callable[[Any, Dataset, int, Weights], Sequence[Lane]]
    measured: bool = True


@dataclass(frozen=True)
class Trials:
    """A stage that trains nothing: an experiment, once a seed, alone or between lanes of the stages before.

    Attributes:
        name: Shown in progress and stored with its rows, as their stage and their arm.
        experiment: From settings and data to what is done.
        when: Whether settings ask for it.
    """

    name: str
    experiment: Callable[[Any, Dataset], Experiment]
    when: Callable[[Any], bool] = lambda settings: True


@dataclass(frozen=True)
class Drawing:
    """A figure of a study.

    Attributes:
        name: File stem.
        caption: For the report.
        draw: From a result to the figure.
        when: Whether a result holds what is drawn; settings may leave out arms.
    """

    name: str
    caption: str
    draw: Callable[[xr.Dataset], Figure]
    when: Callable[[xr.Dataset], bool] = lambda result: True


@dataclass(frozen=True)
class Study:
    """One file of ``studies/``: everything that is particular to a study.

    What makes lanes, measurements, probes and experiments from settings and data is called by ``plan``, and
    before a run trains anything: there a study refuses, as a ``UserError`` that names the setting, what does
    not go with the data or the network.

    Attributes:
        name: As on the command line.
        title: One line.
        settings: Class of its settings.
        stages: What it trains and tries, in order.
        measurement: From settings and data to what is measured of each lane; None measures nothing.
        probe: From settings and data to what is measured while lanes train, at their probes; None logs losses
            and errors alone.
        claims: What it decides, with criteria fixed before the run.
        derive: Adds to a result what follows from it.
        tables: From a result to the tables people read.
        drawings: Its figures.
        methods: How it was done, for the report; paragraphs.
        origin: Where :func:`implicit_bias.studies.get` found it, for finding it again.
    """

    name: str
    title: str
    settings: type[StudySettings]
    stages: tuple[Stage | Rounds | Trials, ...]
    claims: tuple[Claim, ...]
    measurement: Callable[[Any, Dataset], Measurement] | None = None
    probe: Callable[[Any, Dataset], Probe] | None = None
    derive: Callable[[xr.Dataset], xr.Dataset] = lambda result: result
    tables: Callable[[xr.Dataset], Sequence[Table]] = lambda result: ()
    drawings: tuple[Drawing, ...] = ()
    methods: str = ""
    origin: str = ""

    def __repr__(self) -> str:
        return f"Study({self.name!r}, {len(self.stages)} stages, {len(self.claims)} claims)"

    def wanted(self, settings: StudySettings) -> tuple[Stage | Rounds | Trials, ...]:
        """Return the stages that settings ask for: all but trials they leave out."""
        return tuple(
            stage for stage in self.stages if not isinstance(stage, Trials) or stage.when(settings)
        )
