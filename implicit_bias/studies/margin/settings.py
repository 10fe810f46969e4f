"""Settings of the margin study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    NonNegative,
    Positive,
    Section,
    StudySettings,
)

AtLeastTwo = Annotated[int, Field(ge=2)]


class Blobs(Section):
    """Two Gaussian classes in the plane, drawn again until a line separates them."""

    examples: AtLeastTwo = Field(20, description="examples of each class")
    distance: Positive = Field(
        2.83, description="of each class's mean from the origin, in standard deviations"
    )


class Law(Section):
    """Data whose hard-margin solution is chosen, so that every constant is known beforehand."""

    inputs: AtLeastTwo = Field(3, description="features, and support vectors")
    others: Count = Field(12, description="examples that are no support vectors")
    slack: Annotated[float, Field(gt=1.2, allow_inf_nan=False)] = Field(
        1.6, description="least margin of those, in units of the smallest margin"
    )


class Steps(Section):
    """Gradient descent, every step taken, beside gradient flow."""

    count: Annotated[int, Field(ge=1000)] = Field(1_000_000, description="steps")
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        0.1, description="step size in units of 2/β, from which descent is not ensured"
    )

    @model_validator(mode="after")
    def _stable(self) -> Steps:
        if self.step >= 1:
            raise self.refusal(
                "step",
                advice="it is in units of 2/β = 8/λ_max(ZᵀZ), the stability limit; choose less than 1",
            )
        return self


class Pace(Section):
    """Normalised gradient descent."""

    count: Annotated[int, Field(ge=1000)] = Field(10_000, description="steps")
    step: Positive = Field(1.0, description="step size c, of η_k = c and of η_k = c/√k")


class Steepest(Section):
    """Steepest descent in three norms."""

    examples: AtLeastTwo = Field(20, description="training examples")
    inputs: AtLeastTwo = Field(40, description="features")
    count: Annotated[int, Field(ge=1000)] = Field(20_000, description="steps")
    step: Positive = Field(1.0, description="length c of the first step; later ones are c/√k")


class Networks(Section):
    """Two-layer ReLU networks without biases, which are homogeneous."""

    examples: AtLeastTwo = Field(20, description="training points in the plane")
    width: Count = Field(30, description="hidden units")
    starts: AtLeastTwo = Field(2, description="starts on the same points")
    scale: Positive = Field(0.3, description="size of initial weights, in units of He's")
    count: Annotated[int, Field(ge=1000)] = Field(4000, description="steps")
    step: Positive = Field(1.0, description="step size c of η_k = c/‖θ‖²")


class Script(Section):
    """The chapter's exercise on logistic regression, and its solution's script."""

    draws: Count = Field(
        20, description="training sets of a seed, of which some line may separate each"
    )
    tests: Count = Field(200, description="test points")


class MarginSettings(StudySettings):
    """Settings of the margin study."""

    data: DataSettings = DataSettings(classes=(0, 1), n_train=100)
    horizon: Annotated[float, Field(ge=9, le=3000, allow_inf_nan=False)] = Field(
        1000.0, description="decimal logarithm of the last time of gradient flow, at least 9"
    )
    far: NonNegative = Field(10.0, description="length of the starts that are far from the origin")
    blobs: Blobs = Blobs()
    law: Law = Law()
    steps: Steps = Steps()
    pace: Pace = Pace()
    steepest: Steepest = Steepest()
    networks: Networks = Networks()
    script: Script = Script()
