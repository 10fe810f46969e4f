"""Settings of the benign-overfitting study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.refusals import check_names, increasing
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    Increasing,
    ModelSettings,
    NonNegative,
    Positive,
    Section,
    StudySettings,
)

ARMS: dict[str, str] = {
    "given": "true labels, until they are fitted",
    "random": "the same images, labels uniform at random, until they are fitted",
    "all-given": "all images, true labels, for the stated number of epochs",
    "all-random": "all images, labels uniform at random, for the stated number of epochs",
}
"""The arms, and what they train."""

Counts = Annotated[tuple[Count, ...], Field(min_length=2), AfterValidator(increasing)]


LONGEST_TAIL = 10**8
"""Directions of a tail: 800 MB in double precision."""

MOST_NUMBERS = 2**28
"""Numbers in the Gram matrices of all draws at a point: 2 GiB in double precision."""


class Tails(Section):
    """Few spikes and a tail: interpolation at given effective rank."""

    spikes: Count = Field(5, description="directions of the signal")
    spike_value: Positive = Field(1.0, description="eigenvalue of each")
    tail_energy: Positive = Field(0.5, description="sum of the tail's eigenvalues")
    noise: Positive = Field(0.5, description="standard deviation of the noise; the signal's is 1")
    draws: Count = Field(50, description="training sets of a seed at each point")
    examples: Count = Field(100, description="training examples along the tail's length")
    tails: Counts = Field((110, 200, 500, 2000, 20000), description="lengths of the tail")
    growth: Annotated[Counts, Field(min_length=3)] = Field(
        (25, 50, 100, 200), description="training examples along which designs are followed"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Tails:
        if self.tails[0] < self.examples:
            raise self.refusal(
                "tails",
                "examples",
                advice="choose tails of at least as many directions as examples",
            )
        if self.tails[-1] > LONGEST_TAIL:
            raise self.refusal(
                "tails", advice=f"choose at most {LONGEST_TAIL:,}, whose eigenvalues are all kept"
            )
        if self.draws * max(self.examples, self.growth[-1]) ** 2 > MOST_NUMBERS:
            raise self.refusal(
                "draws", "examples", "growth",
                advice=f"choose fewer: draws times the most examples squared is at most {MOST_NUMBERS:,}",
            )  # fmt: skip
        if self.growth[0] < self.spikes + 2:
            raise self.refusal(
                "growth", "spikes", advice="choose at least two more examples than spikes"
            )
        return self


class Norms(Section):
    """Norms of interpolators over singular values and directions of the targets."""

    examples: Annotated[int, Field(ge=2)] = Field(50, description="rows of X")
    inputs: Count = Field(200, description="columns of X")
    rank: Count = Field(7, description="large singular values where the effective rank is low")
    conditions: Annotated[Increasing, Field(min_length=2)] = Field(
        (1.0, 10.0, 100.0, 1000.0), description="largest singular value over the smallest"
    )
    draws: Count = Field(5, description="matrices of a seed at each point")

    @model_validator(mode="after")
    def _consistent(self) -> Norms:
        if self.inputs < self.examples:
            raise self.refusal(
                "inputs", "examples", advice="choose at least as many inputs as examples"
            )
        if self.rank >= self.examples:
            raise self.refusal(
                "rank", "examples", advice="choose a rank below the number of examples"
            )
        if self.conditions[0] < 1:
            raise self.refusal("conditions", advice="choose numbers of at least 1")
        return self


class Ranks(Section):
    """The exercise on effective rank, and the sweep of its solution."""

    examples: Count = Field(100, description="training examples")
    inputs: Count = Field(500, description="inputs")
    ranks: Counts = Field((5, 20, 80), description="nominal ranks of the exercise")
    sweep: Counts = Field((5, 10, 20, 50, 100, 200), description="nominal ranks of the sweep")
    tests: Count = Field(1000, description="test examples of the exercise")
    sweep_tests: Annotated[int, Field(ge=2)] = Field(50, description="test examples of the sweep")
    target_noise: NonNegative = Field(
        0.1, description="standard deviation of the noise on the exercise's targets"
    )
    draws: Count = Field(3, description="data sets of a seed at each point")

    @model_validator(mode="after")
    def _consistent(self) -> Ranks:
        if self.inputs < self.examples:
            raise self.refusal(
                "inputs", "examples", advice="choose at least as many inputs as examples"
            )
        if self.ranks[-1] > self.examples:
            raise self.refusal(
                "ranks", "examples",
                advice="choose ranks up to the number of examples, or columns cannot be orthonormal",
            )  # fmt: skip
        if self.sweep[-1] > self.inputs:
            raise self.refusal(
                "sweep",
                "inputs",
                advice="choose ranks up to the inputs, of which no more are there",
            )
        return self


class Few(Section):
    """Few examples of many features."""

    examples: Count = Field(50, description="training examples")
    inputs: Count = Field(1000, description="features")
    noise: NonNegative = Field(
        0.1, description="standard deviation of the noise; the signal's is 1"
    )
    spikes: Count = Field(5, description="directions of the signal where inputs are spiked")
    tail_energy: Positive = Field(
        0.5, description="sum of the other eigenvalues there; spikes have 1"
    )
    draws: Count = Field(50, description="training sets of a seed")

    @model_validator(mode="after")
    def _consistent(self) -> Few:
        if self.inputs < self.examples + max(2, self.spikes):
            raise self.refusal(
                "inputs", "examples", "spikes", advice="choose many more inputs than examples"
            )
        return self


class Relabel(Section):
    """Random labels drawn many times on few points in a square."""

    points: Count = Field(50, description="training points")
    tests: Count = Field(1000, description="test points")
    classes: Counts = Field((2, 10), description="numbers of classes")
    draws: Count = Field(500, description="labellings of a seed's points")
    margin: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.1, description="how far above 1/K an accuracy counts as good after all"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Relabel:
        if self.classes[0] < 2:
            raise self.refusal("classes", advice="choose at least 2 classes")
        return self


class PlaneSettings(Section):
    """Fifty points in a square, with true and with random labels."""

    points: Count = Field(50, description="training points")
    tests: Count = Field(1000, description="test points")
    widths: tuple[Count, ...] = Field((128, 128, 128, 128), description="hidden widths")
    batch_size: Count = Field(32, description="points in an update")
    step_size: Positive = Field(0.01, description="as stated")
    epochs: Annotated[int, Field(ge=4)] = Field(200, description="as stated")
    longer_step_size: Positive = Field(0.02, description="of the longer run, which falls to zero")
    longer_momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.9, description="of the longer run"
    )
    longer_epochs: Annotated[int, Field(ge=4)] = Field(1200, description="of the longer run")
    grid: Annotated[int, Field(ge=2, le=200)] = Field(
        41, description="places along each side where confidences are taken"
    )

    @model_validator(mode="after")
    def _consistent(self) -> PlaneSettings:
        if self.batch_size > self.points:
            raise self.refusal(
                "batch_size", "points", advice="choose a batch of at most all points"
            )
        return self


class BenignSettings(StudySettings):
    """Settings of the benign-overfitting study."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = ("given", "random")
    data: DataSettings = DataSettings(n_train=500)
    model: ModelSettings = ModelSettings(widths=(128, 64, 64))
    step_size: Positive = Field(0.05, description="step size of the networks")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="heavy-ball momentum")
    batch_size: Count = Field(50, description="examples in an update")
    stated_epochs: Count = Field(10, description="epochs after which the document reads accuracies")
    epochs: Count = Field(
        200, description="most epochs of the arms that end when labels are fitted"
    )
    probe_every: Count = Field(5, description="epochs between probes, beyond the stated ones")
    tails: Tails = Tails()
    norms: Norms = Norms()
    ranks: Ranks = Ranks()
    few: Few = Few()
    relabel: Relabel = Relabel()
    plane: PlaneSettings = PlaneSettings()

    @model_validator(mode="after")
    def _usable(self) -> BenignSettings:
        if not {"given", "random"} <= set(self.arms):
            raise self.refusal(
                "arms", advice="add 'given' and 'random', which all others stand beside"
            )
        if self.stated_epochs > self.epochs:
            raise self.refusal(
                "stated_epochs", "epochs", advice="choose at least as many epochs as are stated"
            )
        return self
