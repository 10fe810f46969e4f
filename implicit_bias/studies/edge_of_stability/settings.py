"""Settings of the edge-of-stability study, and its arms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.refusals import check_names, different
from implicit_bias.studies.settings import (
    LARGEST_WHOLE,
    Count,
    DataSettings,
    Different,
    ModelSettings,
    Positive,
    Products,
    Section,
    StudySettings,
    Tolerance,
)


@dataclass(frozen=True)
class Arm:
    """An optimiser, and the sharpness that it is stable at on a quadratic.

    Attributes:
        optimizer: Its name.
        what: One line, for the report.
        formula: The threshold as people write it; empty where there is none.
    """

    optimizer: str
    what: str
    formula: str = ""


ARMS: dict[str, Arm] = {
    "gd": Arm("sgd", "gradient descent, whole training set", "2/η"),
    "heavy-ball": Arm("heavy_ball", "heavy ball, whole training set", "2(1 + β)/η"),
    "adam": Arm("adam", "Adam, whole training set; preconditioned sharpness",
                "(2 + 2β₁)/((1 − β₁)η)"),
    "sgd": Arm("sgd", "stochastic gradient descent, small batches", "2/η"),
    "flow": Arm("gradient_flow", "gradient flow, whole training set, by Runge–Kutta steps"),
    "small-steps": Arm("sgd", "gradient descent at step sizes far below the edge, a short time", "2/η"),
}  # fmt: skip

REFERENCE = "small-steps-flow"
"""Lanes that the arm ``small-steps`` is held against: the flow over the same short time."""


class GradientDescent(Section):
    """The arm of gradient descent."""

    step_sizes: Different = (0.4, 0.5, 0.6)


class HeavyBall(Section):
    """The arm with momentum."""

    step_sizes: Different = (0.2, 0.3)
    momentum: float = Field(0.9, ge=0, lt=1)


class AdamArm(Section):
    """The arm of Adam."""

    step_sizes: Different = (0.006, 0.012)
    b1: float = Field(0.9, ge=0, lt=1)
    b2: float = Field(0.999, ge=0, lt=1)
    eps: Positive = 1e-7


class SmallBatches(Section):
    """The arm of stochastic gradients."""

    step_sizes: Different = (0.4,)
    batch_size: Count = 16


class Flow(Section):
    """The arm of gradient flow: what gradient descent would do if it were never unstable."""

    step_size: Positive = Field(
        0.05, description="time of one Runge–Kutta step; below 2.78 / sharpness"
    )
    time: Positive = Field(50.0, description="time it follows the flow, at most")
    until_sharpness: Positive | None = Field(
        None, description="sharpness at which it stops; none: never"
    )

    @property
    def updates(self) -> int:
        """Runge–Kutta steps."""
        return round(self.time / self.step_size)


class SmallSteps(Section):
    """Gradient descent that should follow the flow: the distance after a time against the step size."""

    step_sizes: Annotated[tuple[Positive, ...], Field(min_length=2), AfterValidator(different)] = (
        0.02,
        0.01,
        0.005,
    )
    time: Positive = Field(4.0, description="time followed; a multiple of each step size")

    @model_validator(mode="after")
    def _whole_steps(self) -> SmallSteps:
        for step in self.step_sizes:
            updates = self.time / step
            if abs(updates - round(updates)) > 1e-6 * updates:
                raise self.refusal(
                    "time",
                    "step_sizes",
                    advice="choose a time that is a multiple of each step size",
                )
        return self


class EdgeOfStabilitySettings(StudySettings):
    """Settings of the edge-of-stability study."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = tuple(ARMS)
    data: DataSettings = DataSettings(n_train=300)
    model: ModelSettings = ModelSettings(widths=(32, 32), activation="tanh", init="lecun")
    loss: Literal["squared", "cross_entropy"] = "squared"
    gd: GradientDescent = GradientDescent()
    heavy_ball: HeavyBall = HeavyBall()
    adam: AdamArm = AdamArm()
    sgd: SmallBatches = SmallBatches()
    flow: Flow = Flow()
    small_steps: SmallSteps = SmallSteps()
    init_scale: Positive = Field(1.0, description="initial weights are multiplied by it")
    updates: Count = Field(1000, description="updates of every arm but the flow and small-steps")
    until_error: float | None = Field(
        None, ge=0, lt=1, description="training error at which lanes stop; none: never"
    )
    probes: int = Field(
        50, ge=10, le=10_000, description="measurements of the sharpness, evenly spaced"
    )
    tol: Tolerance = Field(1e-3, description="residual of the sharpness, relative to it, at most")
    max_products: Products = Field(60, description="Hessian-vector products at a probe, at most")

    @model_validator(mode="after")
    def _usable(self) -> EdgeOfStabilitySettings:
        self.check_resolved("tol")
        if set(self.arms) - {"flow", "small-steps"} and self.updates < self.probes:
            raise self.refusal(
                "updates", "probes", advice="choose at least as many updates as probes"
            )
        if "flow" in self.arms and self.flow.updates < self.probes:
            raise self.refusal(
                "flow.time",
                "flow.step_size",
                "probes",
                advice="choose a time of at least as many steps as there are probes",
            )
        if self.flow.time / self.flow.step_size > LARGEST_WHOLE:
            raise self.refusal("flow.time", "flow.step_size", advice="choose fewer steps than 2³¹")
        if self.small_steps.time / min(self.small_steps.step_sizes) > LARGEST_WHOLE:
            raise self.refusal(
                "small_steps.time", "small_steps.step_sizes", advice="choose fewer steps than 2³¹"
            )
        return self
