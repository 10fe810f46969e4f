"""Settings of the factorization study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.refusals import increasing
from implicit_bias.studies.settings import Count, Positive, Section, StudySettings

Fraction = Annotated[float, Field(gt=0, lt=1)]
Counts = Annotated[tuple[Count, ...], Field(min_length=2), AfterValidator(increasing)]
Depths = Annotated[
    tuple[Annotated[int, Field(ge=1, le=20)], ...],
    Field(min_length=2),
    AfterValidator(increasing),
]
Deeper = Annotated[
    tuple[Annotated[int, Field(ge=2, le=20)], ...],
    Field(min_length=1),
    AfterValidator(increasing),
]
Scales = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=0.5)], ...],
    Field(min_length=2),
    AfterValidator(increasing),
]


class Modes(Section):
    """Singular values against time, in networks and by their law."""

    dimension: Annotated[int, Field(ge=4, le=100)] = Field(6, description="inputs and outputs")
    depths: Depths = Field((1, 2, 3, 5, 10), description="layers")
    start: Annotated[float, Field(gt=0, le=0.05)] = Field(
        1e-3, description="size of the product at the start, where it is the same at all depths"
    )
    alpha: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.3, description="scale of each layer at the start, where that is the same at all depths"
    )
    times: Annotated[int, Field(ge=10, le=1000)] = Field(60, description="times of a trajectory")


class Sensing(Section):
    """Matrices sought from linear measurements of them, beside the least nuclear norm."""

    dimension: Annotated[int, Field(ge=4, le=60)] = Field(10, description="rows and columns")
    rank: Count = Field(1, description="rank of the truth")
    many: Count = Field(60, description="Gaussian measurements where they are many")
    few: Count = Field(25, description="Gaussian measurements where they are few")
    seen: Fraction = Field(0.5, description="share of the entries seen in completion")
    depths: Deeper = Field((2, 3), description="layers")
    starts: Scales = Field((1e-4, 1e-3, 1e-2, 1e-1), description="size of the product at the start")
    eigenvalues: Annotated[int, Field(ge=8, le=500)] = Field(
        30, description="dimension where measurements commute"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Sensing:
        if self.rank > self.dimension:
            raise self.refusal("rank", "dimension", advice="choose a rank of at most the dimension")
        if self.many > self.dimension**2 or self.few >= self.many:
            raise self.refusal(
                "few", "many", "dimension",
                advice="choose fewer measurements where they are few, and at most dimension² where many",
            )  # fmt: skip
        return self


class Plane(Section):
    """Two by two entries of which one is not seen."""

    depths: Deeper = Field((2, 3, 4), description="layers")
    alpha: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.1, description="scale of each layer's start"
    )
    least: Annotated[float, Field(ge=1e-8, le=1e-2)] = Field(1e-5, description="loss at the end")


class Depth(Section):
    """Completion by depth."""

    dimension: Annotated[int, Field(ge=4, le=60)] = Field(12, description="rows and columns")
    rank: Count = Field(1, description="rank of the truth")
    seen: Fraction = Field(0.5, description="share of the entries seen")
    depths: Depths = Field((1, 2, 3, 5, 10), description="layers")
    start: Annotated[float, Field(gt=0, le=0.1)] = Field(
        1e-3, description="size of the product at the start"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Depth:
        if self.rank > self.dimension:
            raise self.refusal("rank", "dimension", advice="choose a rank of at most the dimension")
        return self


class Width(Section):
    """Conditioning and speed by width."""

    dimension: Annotated[int, Field(ge=2, le=30)] = Field(8, description="inputs and outputs")
    depth: Annotated[int, Field(ge=2, le=10)] = Field(4, description="layers")
    widths: Counts = Field((8, 16, 32, 64, 128), description="units of the hidden layers")
    updates: Annotated[int, Field(ge=100)] = Field(5000, description="updates at most")

    @model_validator(mode="after")
    def _consistent(self) -> Width:
        if self.widths[0] < self.dimension:
            raise self.refusal(
                "widths", "dimension",
                advice="choose widths of at least the dimension: narrower layers bound the rank",
            )  # fmt: skip
        return self


class Ranks(Section):
    """Ranks while a deep linear network trains."""

    dimension: Annotated[int, Field(ge=6, le=200)] = Field(50, description="inputs and outputs")
    depth: Annotated[int, Field(ge=2, le=10)] = Field(5, description="layers")
    truths: Counts = Field((2, 8, 25, 50), description="ranks of the truth")
    start: Annotated[float, Field(gt=0, le=0.1)] = Field(
        1e-3, description="size of the product at the start"
    )
    times: Annotated[int, Field(ge=10, le=1000)] = Field(80, description="times of a trajectory")

    @model_validator(mode="after")
    def _consistent(self) -> Ranks:
        if self.truths[-1] > self.dimension:
            raise self.refusal(
                "truths", "dimension", advice="choose ranks of at most the dimension"
            )
        return self


class Diagonal(Section):
    """Diagonal linear networks by scale."""

    features: Annotated[int, Field(ge=4, le=500)] = Field(40, description="features")
    examples: Annotated[int, Field(ge=2)] = Field(16, description="examples")
    active: Count = Field(3, description="features that the truth uses")
    alphas: Annotated[tuple[Positive, ...], Field(min_length=4), AfterValidator(increasing)] = (
        Field(
            (1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
            description="scales of the layers' start",
        )
    )

    @model_validator(mode="after")
    def _consistent(self) -> Diagonal:
        if not self.active <= self.examples < self.features:
            raise self.refusal(
                "active", "examples", "features",
                advice="choose fewer examples than features, and no more active features than examples",
            )  # fmt: skip
        if self.alphas[0] < 1e-4 or self.alphas[-1] > 100:
            # u^{2−D} of three layers leaves no digits below, and β/α² none above.
            raise self.refusal("alphas", advice="choose scales between 1e-4 and 100")
        return self


class Networks(Section):
    """Networks with one hidden layer by the scale of their start."""

    examples: Count = Field(20, description="training examples")
    inputs: Count = Field(5, description="features of an input")
    width: Count = Field(60, description="hidden units, and as many of the opposite sign")
    alphas: Annotated[tuple[Positive, ...], Field(min_length=2), AfterValidator(increasing)] = (
        Field((0.1, 1.0, 10.0), description="factors on the usual start of both layers")
    )
    updates: Annotated[int, Field(ge=100)] = Field(20_000, description="updates at most")


class Signals(Section):
    """Variances of signals through deep networks at their start."""

    width: Annotated[int, Field(ge=20, le=2000)] = Field(200, description="units of a layer")
    layers: Annotated[int, Field(ge=2, le=50)] = Field(8, description="hidden layers")
    networks: Annotated[int, Field(ge=1, le=1000)] = Field(10, description="networks of a seed")


class FactorizationSettings(StudySettings):
    """Settings of the factorization study."""

    seeds: int = Field(8, ge=1, le=100_000, description="independent repetitions: 0, 1, …")
    modes: Modes = Modes()
    sensing: Sensing = Sensing()
    plane: Plane = Plane()
    depth: Depth = Depth()
    width: Width = Width()
    ranks: Ranks = Ranks()
    diagonal: Diagonal = Diagonal()
    networks: Networks = Networks()
    signals: Signals = Signals()
