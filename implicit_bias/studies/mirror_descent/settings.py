"""Settings of the mirror-descent study."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.refusals import different
from implicit_bias.studies.settings import Count, Positive, Section, StudySettings, Tolerance

Steps = Annotated[
    tuple[Annotated[float, Field(ge=1e-5, le=0.1)], ...],
    Field(min_length=2),
    AfterValidator(different),
]


class LimitSettings(Section):
    """Mirror descent to a solution."""

    examples: Annotated[int, Field(ge=2, le=200)] = Field(10, description="examples of a problem")
    features: Annotated[int, Field(ge=3, le=2000)] = Field(
        40, description="weights, more than examples and the sum's together"
    )
    tolerance: Tolerance = Field(1e-9, description="‖Xw − y‖/‖y‖ at which a run ends")
    updates: Count = Field(100_000, description="most updates of a run")
    every: Count = Field(2500, description="updates between looks at the residual")

    @model_validator(mode="after")
    def _fewer_examples(self) -> LimitSettings:
        if self.features < self.examples + 2:
            raise self.refusal(
                "examples", "features",
                advice=f"choose at least {self.examples + 2} features: with as few weights as examples and "
                "their sum there is one solution, and nothing to prefer",
            )  # fmt: skip
        return self


class CoordinateSettings(Section):
    """Coordinate descent, and what it is compared with."""

    examples: Annotated[int, Field(ge=4, le=500)] = Field(30, description="examples of a data set")
    features: Annotated[int, Field(ge=5, le=2000)] = Field(
        80, description="weights, more than examples"
    )
    draws: Annotated[int, Field(ge=1, le=1000)] = Field(
        3, description="data sets of a seed, of each design"
    )
    epsilons: Steps = Field(
        (1e-2, 3e-3, 1e-3), description="step sizes of ε-step descent, falling; the least ‖w‖₁ is 1"
    )
    small: Positive = Field(0.1, description="step size of greedy descent in small steps", lt=1)
    tolerance: Tolerance = Field(
        1e-4, description="‖Xw − y‖/‖y‖ at which methods that can end there do"
    )
    updates: Annotated[int, Field(ge=1000)] = Field(
        12_000, description="most updates of methods other than ε-step descent"
    )

    @model_validator(mode="after")
    def _fewer_examples(self) -> CoordinateSettings:
        if self.features <= self.examples:
            raise self.refusal(
                "examples", "features",
                advice="choose more features than examples: otherwise there is one solution at most",
            )  # fmt: skip
        if list(self.epsilons) != sorted(self.epsilons, reverse=True):
            raise self.refusal("epsilons", advice="give them from the largest to the smallest")
        return self


class ExerciseSettings(Section):
    """Exercise C.15; its sizes are fixed."""

    draws: Annotated[int, Field(ge=1, le=1000)] = Field(
        4, description="data sets of a seed, of each kind of true weights"
    )
    updates: Count = Field(
        60_000, description="updates of every run; with few examples, 20 times as many where needed"
    )


class MirrorSettings(StudySettings):
    """Settings of the mirror-descent study; it uses nothing of the data."""

    seeds: int = Field(
        8, ge=1, le=100_000, description="independent repetitions: 0, 1, …, seeds − 1"
    )
    limits: LimitSettings = LimitSettings()
    coordinates: CoordinateSettings = CoordinateSettings()
    exercise: ExerciseSettings = ExerciseSettings()
