"""Settings of the early-stopping study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.early_stopping.networks.settings import NetworkSettings
from implicit_bias.studies.refusals import increasing
from implicit_bias.studies.settings import Count, Positive, Section, StudySettings

Counts = Annotated[tuple[Count, ...], Field(min_length=2), AfterValidator(increasing)]


class Paths(Section):
    """Gradient flow against ridge regression, where both paths are known exactly."""

    examples: Annotated[int, Field(ge=10, le=2000)] = Field(100, description="training examples")
    noise: Positive = Field(0.5, description="standard deviation of the noise; the signal's is 1")
    times: Annotated[int, Field(ge=10, le=1000)] = Field(
        60, description="times along a path, evenly spaced in their logarithm"
    )
    draws: Annotated[int, Field(ge=10, le=100_000)] = Field(
        200, description="noise vectors of a seed that the exact risk is held against"
    )


class Validation(Section):
    """A stopping time chosen on validation data."""

    examples: Annotated[int, Field(ge=10)] = Field(100, description="training examples")
    features: Count = Field(50, description="features, all of one strength")
    noise: Positive = Field(1.0, description="standard deviation of the noise; the signal's is 1")
    sizes: Counts = Field((20, 100, 500, 2500), description="validation examples")
    tests: Count = Field(1000, description="examples of an independent test set")
    draws: Annotated[int, Field(ge=5, le=10_000)] = Field(
        20, description="validation sets of each size, and test sets, of a seed's training set"
    )


class Overfitting(Section):
    """A network trained long, with and without noise in its labels."""

    examples: Count = Field(100, description="training examples where they are few")
    many: Count = Field(1000, description="training examples where they are many")
    width: Count = Field(50, description="hidden units")
    step_size: Positive = Field(0.04, description="of stochastic gradient descent")
    batch_size: Count = Field(40, description="examples in an update")
    epochs: Annotated[int, Field(ge=50)] = Field(100, description="as the document has it")

    @model_validator(mode="after")
    def _consistent(self) -> Overfitting:
        if not self.batch_size <= self.examples < self.many:
            raise self.refusal(
                "batch_size", "examples", "many",
                advice="choose a batch of at most the few examples, and more examples where they are many",
            )  # fmt: skip
        return self


class Worked(Section):
    """The chapter's worked arithmetic, on functions whose curvature is known."""

    dimension: Annotated[int, Field(ge=4)] = Field(200, description="parameters of the functions")
    probes: Annotated[int, Field(ge=10)] = Field(200, description="random probes of a seed")
    batches: Annotated[int, Field(ge=100)] = Field(
        1000, description="mini-batches of each size, from 1000 examples, of a seed"
    )


class Notes(Section):
    """How configurations are compared, and how wide a network must be to follow its kernel."""

    widths: Counts = Field((128, 512, 2048), description="hidden units of the wide networks")
    updates: Count = Field(100, description="updates of the wide networks")
    epochs: Count = Field(10, description="epochs of the comparison of batch sizes")


class EarlyStoppingSettings(StudySettings):
    """Settings of the early-stopping study."""

    seeds: int = Field(8, ge=1, le=100_000, description="independent repetitions: 0, 1, …")
    exact: bool = Field(
        True,
        description="run what trains nothing on the data, too: paths, scripts, a sine, notes",
    )
    paths: Paths = Paths()
    validation: Validation = Validation()
    overfitting: Overfitting = Overfitting()
    worked: Worked = Worked()
    notes: Notes = Notes()
    networks: NetworkSettings = NetworkSettings()
