"""Settings of the minimum-norm study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.minimum_norm.scripts.settings import ScriptSettings
from implicit_bias.studies.refusals import Refusal, increasing
from implicit_bias.studies.settings import (
    Count,
    Increasing,
    NonNegative,
    Positive,
    Section,
    StudySettings,
)

Counts = Annotated[tuple[Count, ...], Field(min_length=2), AfterValidator(increasing)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


def _stable(fraction: float) -> float:
    if fraction >= 1:
        raise Refusal(
            {},
            "gradient descent converges only below 2/λmax(XᵀX), of which this is the fraction; "
            "choose less than 1",
        )
    return fraction


Fraction = Annotated[float, Field(gt=0), AfterValidator(_stable)]
"""A step size as a fraction of where descent ceases to converge."""


class Descents(Section):
    """Descent on designs of every kind."""

    examples: Annotated[int, Field(ge=4)] = Field(20, description="examples")
    inputs: Count = Field(50, description="features")
    fractions: Annotated[
        tuple[Fraction, ...], Field(min_length=2), AfterValidator(increasing)
    ] = Field((0.25, 0.5, 0.95), description="step sizes over 2/λmax")  # fmt: skip
    momentum: Momentum = Field(0.9, description="of the heavy ball and of Nesterov's")

    @model_validator(mode="after")
    def _under(self) -> Descents:
        if self.inputs <= self.examples:
            raise self.refusal("inputs", "examples", advice="choose more inputs than examples")
        return self


class Experiment1(Section):
    """Experiment 1."""

    examples: Count = Field(100, description="as stated")
    inputs: Count = Field(1000, description="as stated")
    draws: Count = Field(20, description="trials of a seed; the source has 100 in all")
    fraction: Fraction = Field(0.5, description="step size over 2/λmax")
    updates: Count = Field(100, description="updates")
    noise: NonNegative = Field(0.1, description="standard deviation of the noise")

    @model_validator(mode="after")
    def _under(self) -> Experiment1:
        if self.inputs <= self.examples:
            raise self.refusal("inputs", "examples", advice="choose more inputs than examples")
        return self


class Validation(Section):
    """Exercise B.1's own validation."""

    examples: Count = Field(50, description="as stated")
    inputs: Count = Field(200, description="as stated")
    fraction: Fraction = Field(0.75, description="step size over 2/λmax, as stated")
    beyond: Annotated[float, Field(gt=1, le=2)] = Field(
        1.01, description="the same, of the run that diverges"
    )
    updates: Annotated[int, Field(ge=1000)] = Field(10_000, description="as stated")
    sparse: Count = Field(10, description="features that matter")

    @model_validator(mode="after")
    def _under(self) -> Validation:
        if self.inputs <= self.examples:
            raise self.refusal("inputs", "examples", advice="choose more inputs than examples")
        if self.sparse > self.inputs:
            raise self.refusal("sparse", "inputs", advice="choose at most all inputs")
        return self


class Ridge(Section):
    """The ridge path."""

    penalties: Annotated[Increasing, Field(min_length=3)] = Field(
        (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0),
        description="λ over the smallest positive eigenvalue of XᵀX",
    )

    @model_validator(mode="after")
    def _small(self) -> Ridge:
        if not 1e-8 <= self.penalties[0] <= self.penalties[1] <= 1e-4:
            raise self.refusal(
                "penalties", advice="begin with two of 1e-8 to 1e-4, where the limit shows and "
                    "rounding does not"
            )  # fmt: skip
        return self


class Risks(Section):
    """Risks beside the bound."""

    examples: Count = Field(100, description="examples, as stated")
    inputs: Counts = Field((120, 150, 200, 400, 1000), description="features")
    ratios: Annotated[
        tuple[NonNegative, ...], Field(min_length=2), AfterValidator(increasing)
    ] = Field((0.0, 0.25, 1.0, 4.0), description="‖θ‖²/σ²")  # fmt: skip
    draws: Count = Field(20, description="designs of a seed at each size")
    fresh: Annotated[int, Field(ge=50)] = Field(200, description="new examples of an estimate")

    @model_validator(mode="after")
    def _mean(self) -> Risks:
        if self.inputs[0] < self.examples + 4:
            raise self.refusal(
                "inputs", "examples", advice="choose at least 4 more inputs than examples, or "
                    "risks have no variance"
            )  # fmt: skip
        return self


class Gaps(Section):
    """Gaps of interpolating fits."""

    examples: Annotated[int, Field(ge=4)] = Field(20, description="examples")
    draws: Count = Field(125, description="fits of a seed, of each kind")
    noise: Positive = Field(0.5, description="standard deviation of the noise; the signal's is 1")
    tests: Count = Field(100, description="test examples")


class Shifts(Section):
    """Interpolating solutions where inputs change."""

    examples: Count = Field(30, description="examples")
    inputs: Count = Field(60, description="features")
    sparse: Count = Field(3, description="features that matter where the truth is sparse")
    factor: Annotated[float, Field(gt=1, le=100)] = Field(
        3.0, description="by which features become wider"
    )
    draws: Count = Field(10, description="training sets of a seed")

    @model_validator(mode="after")
    def _under(self) -> Shifts:
        if not self.sparse < self.examples < self.inputs:
            raise self.refusal(
                "sparse", "examples", "inputs", advice="choose each smaller than the next"
            )
        return self


class Batches(Section):
    """Mini-batches."""

    examples: Annotated[int, Field(ge=3)] = Field(20, description="examples")
    inputs: Count = Field(
        100, description="features; the other way round where labels cannot be fitted"
    )
    sizes: Counts = Field((1, 4, 20), description="batch sizes, the last all examples")
    momentum: Momentum = Field(0.9, description="of the runs with momentum")
    fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="step size over where mini-batches cease to converge in mean square"
    )
    updates: Annotated[int, Field(ge=100)] = Field(3000, description="updates of every run")

    @model_validator(mode="after")
    def _all(self) -> Batches:
        if self.sizes[-1] != self.examples:
            raise self.refusal("sizes", "examples", advice="let the last batch be all examples")
        if self.inputs < 2 * self.examples:
            raise self.refusal("inputs", "examples", advice="choose at least twice as many inputs")
        return self


class Diagonal(Section):
    """Mini-batches where w = u² − v²."""

    examples: Count = Field(40, description="examples")
    inputs: Count = Field(100, description="features")
    sparse: Count = Field(5, description="features that matter")
    scale: Positive = Field(0.07, description="initial value of u and v")
    step_size: Positive = Field(0.1, description="of the mean of squares, the truth having norm 1")
    updates: Count = Field(8000, description="updates")

    @model_validator(mode="after")
    def _sparse(self) -> Diagonal:
        if not self.sparse < self.examples < self.inputs:
            raise self.refusal(
                "sparse", "examples", "inputs", advice="choose each smaller than the next"
            )
        return self


class Flows(Section):
    """Gradient flow, and rates on quadratics."""

    examples: Count = Field(5, description="examples")
    inputs: Count = Field(9, description="features")
    condition: Annotated[float, Field(ge=2, le=1e4)] = Field(
        100.0, description="κ of the quadratics"
    )
    dimension: Annotated[int, Field(ge=2)] = Field(20, description="parameters of the quadratics")

    @model_validator(mode="after")
    def _under(self) -> Flows:
        if self.inputs <= self.examples:
            raise self.refusal("inputs", "examples", advice="choose more inputs than examples")
        return self


class Definitions(Section):
    """Definitions on cases with known answers."""

    examples: Annotated[int, Field(ge=4)] = Field(20, description="examples")
    inputs: Count = Field(50, description="features")
    stretch: Annotated[float, Field(ge=1, le=1e4)] = Field(
        1000.0, description="length of the null vector added to X⁺y, over its norm"
    )

    @model_validator(mode="after")
    def _under(self) -> Definitions:
        if self.inputs <= self.examples:
            raise self.refusal("inputs", "examples", advice="choose more inputs than examples")
        return self


class Worked(Section):
    """The worked examples."""

    examples: Count = Field(100, description="as stated")
    inputs: Count = Field(500, description="as stated")
    noise: Positive = Field(0.01, description="as stated")
    step_size: Positive = Field(0.001, description="as stated")
    updates: Count = Field(10_000, description="as stated")
    draws: Count = Field(4, description="data sets of a seed")
    perturbations: Increasing = Field((1e-4, 1e-3, 1e-2), description="ε of X + εE")

    @model_validator(mode="after")
    def _under(self) -> Worked:
        if self.inputs <= self.examples:
            raise self.refusal("inputs", "examples", advice="choose more inputs than examples")
        return self


class Optimisers(Section):
    """The engine's optimisers."""

    examples: Count = Field(10, description="examples of the linear problem")
    inputs: Count = Field(30, description="its features")
    updates: Count = Field(4000, description="updates of all optimisers")
    momentum: Momentum = Field(0.9, description="momentum")
    adaptive_step_size: Positive = Field(
        0.05, description="at first, of those that scale coordinates"
    )
    networks: Count = Field(4, description="networks of a seed, each trained four times")
    width: Count = Field(30, description="hidden units of the network")
    points: Annotated[int, Field(ge=4)] = Field(12, description="its training examples")
    network_updates: Count = Field(8000, description="its updates")
    network_step_size: Positive = Field(0.03, description="its step size without momentum")

    @model_validator(mode="after")
    def _under(self) -> Optimisers:
        if self.inputs <= self.examples:
            raise self.refusal("inputs", "examples", advice="choose more inputs than examples")
        return self


class Images(Section):
    """Least squares on the study's data."""

    examples: Count = Field(40, description="examples, drawn by the seed")
    fraction: Fraction = Field(0.5, description="step size over 2/λmax")


class MinimumNormSettings(StudySettings):
    """Settings of the minimum-norm study."""

    dtype: Literal["float32", "float64"] = Field("float64", description="floating-point type")
    descents: Descents = Descents()
    experiment_1: Experiment1 = Experiment1()
    validation: Validation = Validation()
    ridge: Ridge = Ridge()
    risks: Risks = Risks()
    gaps: Gaps = Gaps()
    shifts: Shifts = Shifts()
    batches: Batches = Batches()
    diagonal: Diagonal = Diagonal()
    flows: Flows = Flows()
    definitions: Definitions = Definitions()
    worked: Worked = Worked()
    optimisers: Optimisers = Optimisers()
    images: Images = Images()
    scripts: ScriptSettings = ScriptSettings()

    @model_validator(mode="after")
    def _double(self) -> MinimumNormSettings:
        if self.dtype != "float64":
            raise self.refusal(
                "dtype", advice="choose float64: what is exact here is so to its rounding"
            )
        return self
