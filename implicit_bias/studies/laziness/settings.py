"""Settings of the laziness study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.refusals import check_names, increasing
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    ModelSettings,
    Positive,
    Section,
    StudySettings,
)

ARMS: dict[str, str] = {
    "alpha": "outputs multiplied by α, step size divided by α²; α = 1 is the network as it is",
    "init-scale": "initial weights multiplied by s, step size divided as the kernel grows",
    "linearised": "first-order expansion of the network about its start",
    "width": "the network at other widths",
    "deep": "two hidden layers, at the smallest α",
}
"""The arms, and what they train."""

FEWEST = 3
"""Values of α, or scales, through which a slope is worth its name."""

Sweep = Annotated[tuple[Positive, ...], Field(min_length=FEWEST), AfterValidator(increasing)]


class Modes(Section):
    """Deep linear networks of which every mode of the target is watched; nothing of the data is used."""

    strengths: Annotated[tuple[Positive, ...], Field(min_length=2)] = Field(
        (4.0, 2.0, 1.0, 0.5), description="singular values of the target, the largest first"
    )
    inputs: Count = Field(8, description="inputs, as many as outputs")
    hidden: Count = Field(100, description="units of each hidden layer")
    layers: Annotated[int, Field(ge=2, le=6)] = Field(2, description="layers of weights")
    small: Positive = Field(0.01, description="initial scale of the small start")
    large: Positive = Field(10.0, description="initial scale of the large start")

    @model_validator(mode="after")
    def _consistent(self) -> Modes:
        falling = list(self.strengths)
        if falling != sorted(set(falling), reverse=True):
            raise self.refusal("strengths", advice="give decreasing numbers")
        if len(falling) > self.inputs:
            raise self.refusal("strengths", "inputs", advice="choose at most a mode for each input")
        if len(falling) > self.hidden:
            raise self.refusal(
                "hidden", "strengths",
                advice="choose at least a unit for each mode, or a layer cannot pass them all",
            )  # fmt: skip
        if self.small >= self.large:
            raise self.refusal("small", "large", advice="choose a larger large one")
        return self


class MultiIndex(Section):
    """A target that depends on few directions of its inputs: learnt features against random ones."""

    examples: Count = Field(500, description="training examples, drawn anew by each seed")
    tests: Count = Field(1000, description="test examples")
    inputs: Count = Field(20, description="dimension of the inputs")
    directions: Count = Field(2, description="directions the target depends on")
    hidden: Count = Field(100, description="hidden units of both networks")
    updates: Count = Field(2000, description="updates of training end to end, at most")

    @model_validator(mode="after")
    def _consistent(self) -> MultiIndex:
        if self.directions > self.inputs:
            raise self.refusal("directions", "inputs", advice="choose no more than there are")
        return self


class LazinessSettings(StudySettings):
    """Settings of the laziness study."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = tuple(ARMS)
    data: DataSettings = DataSettings(n_train=250, n_valid=250)
    model: ModelSettings = ModelSettings(widths=(100,), parameterisation="ntk", bias=False)
    alphas: Sweep = Field((0.1, 0.3, 1.0, 3.0, 10.0, 30.0), description="factors of the outputs")
    init_scales: Sweep = Field((0.5, 1.0, 2.0), description="factors of the initial weights")
    widths: Annotated[tuple[Count, ...], Field(min_length=2), AfterValidator(increasing)] = Field(
        (10, 100, 1000), description="hidden widths that are compared"
    )
    step_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        0.2, description="step size at α = 1, in units of where descent with the kernel diverges"
    )
    batch_size: Count | None = Field(None, description="examples in an update; none: all")
    updates: Count = Field(1000, description="updates of every lane")
    probes: Annotated[int, Field(ge=5, le=1000)] = Field(
        20, description="evaluations while training, evenly spaced in log time"
    )
    probe_set: Annotated[int, Field(ge=4, le=4096)] = Field(
        128, description="test examples on which kernels and features are compared with their start"
    )
    modes: Modes = Modes()
    multi_index: MultiIndex = MultiIndex()

    @property
    def width(self) -> int:
        """Hidden units of every arm but ``width``."""
        return self.model.widths[0]

    @model_validator(mode="after")
    def _usable(self) -> LazinessSettings:
        if self.model.name != "dense" or len(self.model.widths) != 1:
            raise self.refusal(
                "model.name", "model.widths",
                advice="choose dense with one hidden layer; arm deep adds another",
            )  # fmt: skip
        if self.model.parameterisation != "ntk":
            raise self.refusal(
                "model.parameterisation",
                advice="choose ntk, in which one step size suits all widths and wide is lazy",
            )
        if "alpha" not in self.arms:
            raise self.refusal("arms", advice="add 'alpha', with which all others are compared")
        if 1.0 not in self.alphas or max(self.alphas) < 4:
            raise self.refusal(
                "alphas", advice="add 1, the network as it is, and at least 4, which is lazy"
            )
        if "width" in self.arms and self.width not in self.widths:
            raise self.refusal("widths", "model.widths", advice="add the width of the other arms")
        if self.data.n_valid < 1:
            raise self.refusal(
                "data.n_valid",
                advice="when to stop is decided on validation data; hold some out",
            )
        if self.updates < self.probes:
            raise self.refusal(
                "updates", "probes", advice="choose at least as many updates as probes"
            )
        return self
