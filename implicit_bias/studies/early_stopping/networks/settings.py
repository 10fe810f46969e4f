"""Settings of the networks' part of the early-stopping study."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.refusals import check_names, increasing
from implicit_bias.studies.settings import Count, Increasing, NonNegative, Positive, Section

ARMS: dict[str, str] = {
    "decay": "one network under several penalties λΣ‖W‖²",
    "gap": "small and large batches, each without and with a penalty",
    "overfit": "few examples, many epochs, no penalty",
}
"""Arms that train networks on the run's data, and what they train."""

Widths = Annotated[tuple[Count, ...], Field(min_length=1)]
Penalties = Annotated[
    tuple[NonNegative, ...], Field(min_length=3), AfterValidator(increasing)
]  # fmt: skip
Batches = Annotated[tuple[Count, ...], Field(min_length=2), AfterValidator(increasing)]


class Sine(Section):
    """A ReLU network on few points of a sine, by gradient descent from a small start."""

    examples: Annotated[int, Field(ge=3)] = Field(20, description="training points on [0, 2π]")
    tests: Count = Field(100, description="test points, with noise of their own")
    noise: Positive = Field(0.1, description="standard deviation of the noise")
    width: Count = Field(100, description="hidden units")
    start: Positive = Field(0.01, description="standard deviation of all initial parameters")
    step_size: Positive = Field(0.01, description="as stated")
    iterations: Annotated[int, Field(ge=20)] = Field(1000, description="as stated")
    penalty: Positive = Field(1e-4, description="λ of the penalised run")
    longer_step_size: Positive = Field(0.05, description="of the longer run, same start")
    longer_iterations: Annotated[int, Field(ge=20)] = Field(
        20_000, description="of the longer run; 20 times as many make 100 times the stated time"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Sine:
        if self.width < self.examples:
            raise self.refusal(
                "width", "examples", advice="choose at least as many hidden units as points"
            )
        if self.longer_iterations * self.longer_step_size <= self.iterations * self.step_size:
            raise self.refusal(
                "longer_iterations", "longer_step_size", "iterations", "step_size",
                advice="choose more iterations, or a larger step, for the longer run",
            )  # fmt: skip
        return self


class Validated(Section):
    """A ReLU network on a noisy sine, stopped where validation loss is least."""

    examples: Count = Field(600, description="training points on [−π, π]")
    valid: Count = Field(200, description="validation points")
    tests: Count = Field(200, description="test points")
    noise: Positive = Field(0.1, description="standard deviation of the noise")
    width: Count = Field(50, description="hidden units")
    batch_sizes: Batches = Field((32, 600), description="points in an update; none is stated")
    step_sizes: Annotated[Increasing, Field(min_length=2)] = Field(
        (0.02, 0.1), description="the last as stated"
    )
    epochs: Annotated[int, Field(ge=4)] = Field(200, description="as stated")
    few_examples: Annotated[int, Field(ge=3)] = Field(15, description="points of the control")
    few_noise: Positive = Field(0.7, description="standard deviation of the control's noise")
    few_draws: Count = Field(10, description="training sets of the control, of a seed")
    few_step_size: Positive = Field(0.02, description="of the control, on all points at once")
    few_updates: Annotated[int, Field(ge=10)] = Field(6000, description="of the control")

    @model_validator(mode="after")
    def _consistent(self) -> Validated:
        if self.batch_sizes[-1] > self.examples:
            raise self.refusal(
                "batch_sizes", "examples", advice="choose batches of at most all points"
            )
        return self


class Decay(Section):
    """Explicit penalties beside none: λΣ‖W‖², whose gradient is 2λW."""

    widths: Widths = Field((64,), description="hidden widths")
    examples: Count | None = Field(700, description="training examples; none: all that are left")
    batch_size: Count = Field(32, description="examples in an update")
    step_size: Positive = Field(0.1, description="as stated")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="as stated")
    epochs: Count = Field(50, description="as stated")
    penalties: Penalties = Field((0.0, 1e-5, 1e-4, 1e-3, 1e-2), description="λ, from 0")

    @model_validator(mode="after")
    def _consistent(self) -> Decay:
        if self.penalties[0] != 0:
            raise self.refusal("penalties", advice="begin with 0, which others stand beside")
        return self


class Gap(Section):
    """Batch sizes and a penalty, for the same number of epochs."""

    widths: Widths = Field((64,), description="hidden widths")
    examples: Count | None = Field(700, description="training examples; none: all that are left")
    batch_sizes: Batches = Field(
        (32, 256), description="examples in an update, from small to large"
    )
    penalty: Positive = Field(0.01, description="λ of the penalised runs")
    step_size: Positive = Field(0.1, description="of all; none is stated")
    epochs: Annotated[int, Field(ge=4)] = Field(100, description="as stated")


class Overfit(Section):
    """Few examples for many epochs."""

    widths: Widths = Field((64,), description="hidden widths")
    examples: Count | None = Field(700, description="training examples; none: all that are left")
    batch_size: Count = Field(32, description="examples in an update")
    step_size: Positive = Field(0.1, description="as stated")
    epochs: Annotated[int, Field(ge=4)] = Field(200, description="as stated")


class NetworkSettings(Section):
    """Networks that are trained longer than is good for them."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = ("decay", "gap", "overfit")
    valid: Count = Field(150, description="examples of the data held out for validation")
    probe_every: Count = Field(5, description="epochs between evaluations, beyond the stated ones")
    class_examples: Count = Field(
        1000, description="training examples, at most, of the accuracy by class"
    )
    sine: Sine = Sine()
    validated: Validated = Validated()
    decay: Decay = Decay()
    gap: Gap = Gap()
    overfit: Overfit = Overfit()
