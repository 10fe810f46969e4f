"""Settings of the NTK-prediction study."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from implicit_bias import models
from implicit_bias.studies.refusals import check_names, increasing
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    Positive,
    Section,
    StudySettings,
)

ARMS: dict[str, str] = {
    "centred": "the network less its initial function, so that it starts at zero",
    "plain": "the network as it is, from its random initial function",
    "linearised": "the tangent of the centred network at its initial parameters",
}
"""What is trained, by name."""

FEWEST_WIDTHS = 3
"""Widths that a slope is taken over."""

Widths = Annotated[tuple[Count, ...], Field(min_length=FEWEST_WIDTHS), AfterValidator(increasing)]


class NetworkSettings(Section):
    """The dense network, in the NTK parameterisation, whose hidden layers are equally wide."""

    depth: int = Field(1, ge=1, le=16, description="hidden layers")
    activation: Literal["relu", "erf"] = "relu"
    init: Literal["he", "lecun"] = "he"
    bias: bool = False
    bias_std: float = Field(0.0, ge=0, description="standard deviation of the initial biases")

    @model_validator(mode="after")
    def _used(self) -> NetworkSettings:
        if self.bias_std and not self.bias:
            raise self.refusal(
                "bias_std", "bias", advice="choose bias: true, or leave bias_std out"
            )
        return self

    def build(self, outputs: int, width: int = 64) -> models.Dense:
        """Return the network of a width."""
        return models.Dense(
            (width,) * self.depth, outputs, self.activation, "ntk", self.init,
            self.bias, self.bias_std,
        )  # fmt: skip


class ExerciseSettings(Section):
    """The published exercise: a two-layer network against kernel ridge regression."""

    width: int = Field(10_000, ge=1, le=200_000, description="hidden units")
    examples: int = Field(50, ge=2, le=2000)
    dimension: Count = 20
    step_size: Positive = 0.001
    iterations: Count = 100
    ridge: Positive = Field(0.01, description="λ of the kernel regression; not published")
    test_examples: Count = 200
    noise: float = Field(0.1, ge=0, description="of the targets of a linear teacher; not published")


class NtkPredictionSettings(StudySettings):
    """Settings of the NTK-prediction study."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = tuple(ARMS)
    data: DataSettings = DataSettings(n_train=60, n_test=80, classes=(3, 8))
    model: NetworkSettings = NetworkSettings()  # type: ignore[assignment]
    widths: Widths = Field((64, 128, 256, 512), description="of every hidden layer, increasing")
    step_fraction: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="step size in units of 2n/λmax of the infinite network's kernel",
    )
    updates: Count = 2000
    probes: int = Field(
        12,
        ge=3,
        le=200,
        description="comparisons after the first update, evenly spaced in log time",
    )
    shown: Count = Field(20, description="test examples whose outputs are kept for figures")
    exercise: ExerciseSettings = ExerciseSettings()

    @model_validator(mode="after")
    def _usable(self) -> NtkPredictionSettings:
        if self.data.n_train is not None and self.data.n_train < 2:
            raise self.refusal(
                "data.n_train",
                advice="choose at least 2, as a kernel of one example has no spectrum to compare",
            )
        if self.updates < self.probes:
            raise self.refusal(
                "updates", "probes", advice="choose at least as many updates as probes"
            )
        return self
