"""Settings of the residual study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.images import ImageSettings
from implicit_bias.studies.refusals import different, increasing
from implicit_bias.studies.settings import (
    Count,
    Increasing,
    ModelSettings,
    Positive,
    Products,
    Section,
    StudySettings,
    Tolerance,
)

KINDS: dict[str, str] = {
    "plain": "h ← F(h)",
    "residual": "h ← h + F(h)",
    "residual, 1/√L": "h ← h + F(h)/√L",
    "residual, 1/L": "h ← h + F(h)/L",
}
"""Networks of the same parameters, and what a block does."""

CONV_KINDS = ("plain", "residual")
"""Convolutional networks, as published: branches have no factor."""

Depths = Annotated[
    tuple[Annotated[int, Field(ge=2, le=1000)], ...],
    Field(min_length=2),
    AfterValidator(increasing),
]
"""With one block branches of all factors are one; parameters of many are drawn one after another."""


def branch(kind: str, depth: int) -> tuple[float, float]:
    """Return the factors of what goes past a block and of its branch."""
    match kind:
        case "plain":
            return 0.0, 1.0
        case "residual":
            return 1.0, 1.0
        case "residual, 1/√L":
            return 1.0, float(depth**-0.5)
    return 1.0, 1.0 / depth


class Convolutional(Section):
    """Published networks, ResNets, with and without their shortcuts."""

    run: bool = Field(False, description="train convolutional networks, too")
    depth: Literal[10, 18, 20, 32, 34, 44, 56] = Field(
        20, description="layers with weights of the resnet"
    )
    width: Count = Field(8, description="channels of its first stage")
    norms: Annotated[
        tuple[Literal["batch", "group", "layer"], ...],
        Field(min_length=1),
        AfterValidator(different),
    ] = Field(("batch",), description="normalisations")
    step_sizes: Increasing = Field((0.03, 0.1, 0.3), description="step sizes tried")


class Exact(Section):
    """Jacobians, gradients and bounds in double precision, before training."""

    width: Annotated[int, Field(ge=4, le=1024)] = Field(
        24, description="units of each hidden layer"
    )
    inputs: Annotated[int, Field(ge=2, le=1024)] = Field(16, description="numbers in an input")
    examples: Annotated[int, Field(ge=1, le=256)] = Field(
        4, description="inputs at which Jacobians are taken"
    )
    draws: Annotated[int, Field(ge=1, le=10_000)] = Field(
        20, description="linear networks of a seed"
    )


class ResidualSettings(StudySettings):
    """Settings of the residual study."""

    data: ImageSettings = ImageSettings(n_train=1000)
    width: Count = Field(32, description="units of each hidden layer")
    depths: Depths = Field((4, 16), description="blocks L")
    norms: Annotated[
        tuple[Literal["none", "layer"], ...], Field(min_length=1), AfterValidator(different)
    ] = Field(("none", "layer"), description="without and with normalisation of each layer")
    activation: Literal["relu", "tanh", "gelu"] = "relu"
    step_sizes: Increasing = Field((0.01, 0.03, 0.1, 0.3), description="step sizes tried")
    batch_size: Count = Field(100, description="examples in an update")
    target_loss: Positive = Field(
        0.1, description="training loss at which a run stops and is measured, nats"
    )
    updates: Count = Field(2000, description="updates after which it gives up")
    evaluate_every: Count = Field(10, description="updates between looks at the training loss")
    early: Count = Field(10, description="update that counts as early training")
    probe_set: Annotated[int, Field(ge=8, le=4096)] = Field(
        64, description="test examples at which features and Jacobians are taken"
    )
    examples: Count = Field(250, description="training examples of gradients and the Hessian")
    tol: Tolerance = Field(1e-2, description="residual of the largest eigenvalue relative to it")
    max_products: Products = Field(40, description="Hessian-vector products of each of two starts")
    conv: Convolutional = Convolutional()
    exact: Exact = Exact()

    @model_validator(mode="after")
    def _usable(self) -> ResidualSettings:
        self.check_resolved("tol")
        if self.model != ModelSettings():
            raise self.refusal(
                *(f"model.{key}" for key in sorted(self.model.model_fields_set)),
                advice="leave it out; the networks are under width, depths and conv",
            )
        if self.updates <= self.early:
            raise self.refusal("updates", "early", advice="choose more updates")
        if self.evaluate_every > self.updates:
            raise self.refusal("evaluate_every", "updates", advice="choose at most the updates")
        if self.conv.run and self.data.flatten:
            raise self.refusal(
                "data.flatten", "conv.run", advice="convolutions need data.flatten false"
            )
        return self
