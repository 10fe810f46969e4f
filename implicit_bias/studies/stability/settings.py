"""Settings of the stability study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.refusals import increasing
from implicit_bias.studies.settings import Count, DataSettings, Increasing, Section, StudySettings
from implicit_bias.studies.stability.designs import SMOOTHNESS

AtLeastTwo = Annotated[int, Field(ge=2)]
Sizes = Annotated[
    tuple[Annotated[int, Field(ge=10)], ...], Field(min_length=2), AfterValidator(increasing)
]


class Bounds(Section):
    """Algorithms whose stability is known exactly, drawn many times."""

    examples: Annotated[int, Field(ge=16)] = Field(400, description="training examples m")
    draws: Annotated[int, Field(ge=100)] = Field(500, description="training sets of a seed")
    delta: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="probability δ with which a bound may fail"
    )


class Regularised(Section):
    """Ridge and logistic regression with a penalty, on bounded data."""

    inputs: AtLeastTwo = Field(10, description="features")
    population: AtLeastTwo = Field(400, description="examples that the distribution consists of")
    sizes: Sizes = Field((50, 100, 200, 400), description="training examples m")
    penalties: Increasing = Field(
        (0.03, 0.1, 0.3, 1.0, 3.0), description="λ, of ½‖w‖² beside means"
    )
    draws: Count = Field(10, description="training sets of a seed")

    @model_validator(mode="after")
    def _provable(self) -> Regularised:
        if self.sizes[0] * self.penalties[0] < 1:
            raise self.refusal(
                "sizes", "penalties", advice="choose them with a least product of 1, which the bound needs"
            )  # fmt: skip
        return self


class Descent(Section):
    """Pairs of runs of stochastic gradient descent, in the same order, one example replaced."""

    sizes: Sizes = Field((50, 100, 200, 400), description="training examples m")
    updates: Annotated[int, Field(ge=10)] = Field(800, description="updates of a run")
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(0.5, description="step size")
    replaced: Count = Field(8, description="examples replaced, a run each")

    @model_validator(mode="after")
    def _stable(self) -> Descent:
        if self.step > 2 / SMOOTHNESS:
            raise self.refusal(
                "step", advice=f"choose at most 2/β = {2 / SMOOTHNESS:g}, where steps move no runs apart"
            )  # fmt: skip
        if self.replaced > self.sizes[0]:
            raise self.refusal(
                "replaced", "sizes", advice=f"choose at most the smallest size, {self.sizes[0]}: each is "
                    "replaced once"
            )  # fmt: skip
        if any(self.updates % size for size in self.sizes):
            raise self.refusal(
                "updates", "sizes", advice="choose a multiple of every size, so that all are seen as often"
            )  # fmt: skip
        return self


class Interpolation(Section):
    """Algorithms that fit every training label."""

    sizes: Sizes = Field((25, 50, 100, 200), description="training examples m")
    tests: AtLeastTwo = Field(2000, description="test points of the nearest neighbour")


class Learning(Section):
    """Coins, thresholds and kernels: what can and cannot be learnt."""

    sizes: Sizes = Field(
        (25, 100, 400, 1600), description="training examples m of coins and thresholds"
    )
    draws: Annotated[int, Field(ge=100)] = Field(500, description="training sets of a seed")
    kernel_sizes: Sizes = Field((25, 50, 100, 200), description="training examples m of kernels")
    shattered: Annotated[int, Field(ge=2, le=14)] = Field(
        8, description="points that a kernel is to label in every way"
    )


class StabilitySettings(StudySettings):
    """Settings of the stability study."""

    data: DataSettings = DataSettings(standardise="none")
    bounds: Bounds = Bounds()
    regularised: Regularised = Regularised()
    descent: Descent = Descent()
    interpolation: Interpolation = Interpolation()
    learning: Learning = Learning()
    exercise: AtLeastTwo = Field(
        100, description="training examples of exercise C.16, drawn by the seed"
    )
