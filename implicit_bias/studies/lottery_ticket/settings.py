"""Settings of the lottery-ticket study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.images import ImageSettings
from implicit_bias.studies.refusals import Refusal, check_names, different
from implicit_bias.studies.settings import (
    Count,
    ModelSettings,
    Positive,
    Products,
    Section,
    StudySettings,
    Tolerance,
)

CHAINS: dict[str, str] = {
    "ticket": "the smallest weights pruned after every round of training, what is left set back to its "
    "initial values",
    "late-rewinding": "the same, set back to the dense network's values of an early update",
    "lr-rewinding": "the same, weights kept, data order and step sizes set back to an early update",
}
"""Arms that are pruned round after round, each by its own trained weights."""

CONTROLS: dict[str, str] = {
    "random": "random mask, the same fraction of every layer; original weights",
    "random-layerwise": "random mask with the ticket's count in every layer; original weights",
    "magnitude-at-init": "mask of the largest initial weights, the ticket's count in every layer",
    "reinit": "the ticket's mask; fresh weights",
    "shuffled": "the ticket's mask shuffled within units or layers; original weights",
    "one-shot": "largest weights of the trained dense network at once, the ticket's count in every layer; "
    "original weights",
    "snip": "mask by SNIP's score at the start, all layers together; original weights",
    "grasp": "mask by GraSP's score at the start, all layers together; original weights",
    "synflow": "mask by SynFlow's score at the start, all layers together; original weights",
}
"""Arms that are made at the levels of the table alone."""

ARMS: dict[str, str] = {"dense": "the whole network", **CHAINS, **CONTROLS}
"""All arms, and what they train."""

DEFAULT_ARMS = (
    "dense", "ticket", "random", "random-layerwise", "magnitude-at-init", "reinit", "shuffled"
)  # fmt: skip

TWICE = ("dense", "ticket", "random")
"""Arms whose runs can be made twice, in two orders of the examples."""

REWOUND = ("late-rewinding", "lr-rewinding")
"""Arms that go back to an early update instead of the start."""

PROTOCOLS: dict[str, tuple[str, float]] = {"paper": ("adam", 1.2e-3), "code": ("sgd", 0.1)}
"""Optimiser and step size by protocol: what the paper says, and what its authors' code runs."""


Rate = Annotated[float, Field(gt=0, lt=1)]


def _falling(values: tuple[float, ...]) -> tuple[float, ...]:
    if not values:
        raise Refusal({}, "give at least one level")
    if any(not 0 < value < 1 for value in values):
        raise Refusal(
            {},
            "give fractions of the weights that remain, above 0 and below 1; the dense network is "
            "always run",
        )
    if list(different(values)) != sorted(values, reverse=True):
        raise Refusal({}, "give falling fractions")
    return values


Levels = Annotated[tuple[float, ...], AfterValidator(_falling)]


class Stability(Section):
    """Whether two runs that differ in the order of the examples alone end in one valley."""

    arms: Annotated[
        tuple[str, ...],
        Field(min_length=1),
        AfterValidator(lambda names: check_names(names, TWICE)),
    ] = Field(TWICE, description="networks that are trained in two orders of the examples")
    level: Rate = Field(
        0.1, description="fraction of weights of the pruned ones, one of the levels"
    )
    points: Annotated[int, Field(ge=3, le=201)] = Field(
        11, description="places on the line between the two ends, both included"
    )
    examples: Count = Field(
        2000, description="training examples evaluated there, beside all test examples"
    )


class Curvature(Section):
    """The largest Hessian eigenvalue at the end of a run."""

    examples: Count = Field(1000, description="training examples it is averaged over")
    tol: Tolerance = Field(1e-3, description="residual relative to the eigenvalue")
    max_products: Products = Field(
        60, description="Hessian-vector products of each of two starts, at most"
    )


class LotterySettings(StudySettings):
    """Settings of the lottery-ticket study."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = DEFAULT_ARMS
    data: ImageSettings = ImageSettings(n_valid=200)
    model: ModelSettings = ModelSettings(widths=(300, 100), init="glorot")
    levels: Levels = Field(
        (0.513, 0.211, 0.135, 0.1, 0.036),
        description="fractions of weights at which all arms are compared; rounds land on each",
    )
    rate: Rate = Field(0.2, description="fraction of a layer's weights pruned in a round")
    output_rate: Rate | None = Field(0.1, description="that of the output layer; none: as others")
    conv_rate: Rate | None = Field(None, description="that of convolutions; none: as others")
    scope: Literal["layer", "global"] = Field(
        "layer", description="whether magnitudes are compared within layers or over all"
    )
    shuffle: Literal["unit", "layer"] = Field(
        "unit",
        description="whether arm shuffled keeps how many weights each unit has, or each layer",
    )
    protocol: Literal["paper", "code"] = Field(
        "paper", description="Adam at 0.0012 as in the paper, or SGD at 0.1 as in its authors' code"
    )
    step_size: Positive | None = Field(None, description="none: the protocol's")
    batch_size: Count = 60
    epochs: Positive = Field(12.0, description="passes over the training examples, of every run")
    evaluate_every: Count = Field(
        500, description="updates between evaluations, of which the best is chosen"
    )
    rewind_step: Count = Field(
        500, description="update that late and learning-rate rewinding go back to"
    )
    score_examples: Count = Field(100, description="training examples of SNIP and GraSP")
    score_rounds: Count = Field(100, description="rounds of SynFlow")
    stability: Stability = Stability()
    curvature: Curvature = Curvature()

    @property
    def optimizer(self) -> tuple[str, float]:
        """Name and step size."""
        name, step_size = PROTOCOLS[self.protocol]
        return name, self.step_size or step_size

    @property
    def controls(self) -> tuple[str, ...]:
        """Arms that are made at the levels of the table."""
        return tuple(arm for arm in self.arms if arm in CONTROLS)

    @property
    def chains(self) -> tuple[str, ...]:
        """Arms that are pruned round after round."""
        return tuple(arm for arm in self.arms if arm in CHAINS)

    @model_validator(mode="after")
    def _usable(self) -> LotterySettings:
        for arm in ("dense", "ticket"):
            if arm not in self.arms:
                raise self.refusal(
                    "arms", advice=f"add {arm!r}, with which all others are compared"
                )
        if self.data.n_valid < 1:
            raise self.refusal(
                "data.n_valid",
                advice="when to stop is decided on validation data; hold some out",
            )
        for arm in self.stability.arms:
            if arm not in self.arms:
                raise self.refusal("stability.arms", "arms", advice=f"add {arm!r} to the arms")
        if self.stability.level not in self.levels:
            raise self.refusal(
                "stability.level",
                "levels",
                advice="choose one of the levels, where all arms are run",
            )
        for key in ("output_rate", "conv_rate"):
            rate = getattr(self, key)
            if rate is not None and rate > self.rate:
                raise self.refusal(
                    key, "rate", advice="choose no more than the rate of other layers"
                )
        return self
