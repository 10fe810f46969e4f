"""Settings of the normalization study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.images import ImageSettings
from implicit_bias.studies.normalization.invariance import NETWORKS
from implicit_bias.studies.refusals import check_names, different, increasing
from implicit_bias.studies.settings import (
    Count,
    Increasing,
    ModelSettings,
    NonNegative,
    Positive,
    Products,
    Section,
    StudySettings,
    Tolerance,
)

Norm = Literal["none", "batch", "layer", "group"]


class Exact(Section):
    """Small networks in double precision, with ε = 0 and with more."""

    networks: Annotated[
        tuple[str, ...],
        Field(min_length=1),
        AfterValidator(lambda names: check_names(names, NETWORKS)),
    ] = Field(tuple(NETWORKS), description="normalisations, of dense and convolutional layers")
    examples: Annotated[int, Field(ge=4, le=1024)] = Field(12, description="examples of a batch")
    large_eps: Positive = Field(0.1, description="an ε that is not negligible")
    decay: Positive = Field(0.1, description="weight decay λ, where one is added")
    step_size: Positive = Field(0.1, description="of the updates that are followed")
    updates: Count = Field(10, description="updates that are followed")


class Equilibrium(Section):
    """SGD of which every update is followed, without and with weight decay."""

    norms: Annotated[tuple[Norm, ...], Field(min_length=1), AfterValidator(different)] = Field(
        ("none", "batch", "layer"), description="normalisations"
    )
    decays: Annotated[tuple[NonNegative, ...], Field(min_length=2), AfterValidator(increasing)] = (
        Field((0.0, 0.003, 0.01), description="weight decays λ, the first 0")
    )
    step_size: Positive = Field(0.3, description="step size η")
    updates: Annotated[int, Field(ge=20)] = Field(2000, description="updates; the last half counts")

    @model_validator(mode="after")
    def _usable(self) -> Equilibrium:
        if self.decays[0] != 0:
            raise self.refusal("decays", advice="add 0, without which growth is not seen")
        return self


class NormalizationSettings(StudySettings):
    """Settings of the normalization study."""

    data: ImageSettings = ImageSettings(n_train=1000)
    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (64, 64), description="hidden widths"
    )
    norms: Annotated[tuple[Norm, ...], Field(min_length=2), AfterValidator(different)] = Field(
        ("none", "batch", "layer", "group"), description="normalisations compared"
    )
    step_sizes: Increasing = Field((0.03, 0.1, 0.3, 1.0), description="step sizes tried")
    common_step: Positive = Field(0.1, description="one of them, at which all are compared, too")
    batch_size: Annotated[int, Field(ge=2)] = Field(50, description="examples in an update")
    target_loss: Positive = Field(
        0.1, description="training loss at which a run stops and is measured, nats"
    )
    updates: Count = Field(2000, description="updates after which it gives up")
    evaluate_every: Count = Field(10, description="updates between looks at the training loss")
    examples: Annotated[int, Field(ge=16)] = Field(
        250, description="training examples of the Hessian and of gradients"
    )
    small_batches: Annotated[
        tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=3), AfterValidator(increasing)
    ] = Field((8, 16, 32, 64), description="batch sizes whose statistics' noise is compared")
    draws: Count = Field(200, description="batches drawn of each size")
    tol: Tolerance = Field(1e-2, description="residual of the largest eigenvalue relative to it")
    max_products: Products = Field(40, description="Hessian-vector products of each of two starts")
    exact: Exact = Exact()
    equilibrium: Equilibrium = Equilibrium()

    @model_validator(mode="after")
    def _usable(self) -> NormalizationSettings:
        self.check_resolved("tol")
        if self.model != ModelSettings():
            raise self.refusal(
                *(f"model.{key}" for key in sorted(self.model.model_fields_set)),
                advice="leave it out; the networks are under widths and norms",
            )
        if "none" not in self.norms or "batch" not in self.norms:
            raise self.refusal("norms", advice="add none and batch, which are compared")
        if self.common_step not in self.step_sizes:
            raise self.refusal("common_step", "step_sizes", advice="choose one of the step sizes")
        if self.evaluate_every > self.updates:
            raise self.refusal("evaluate_every", "updates", advice="choose at most the updates")
        if self.small_batches[-1] > self.examples:
            raise self.refusal("small_batches", "examples", advice="choose at most the examples")
        return self
