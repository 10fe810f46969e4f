"""Settings of the flat-minima study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.flat_minima.arms import ARMS, Arm
from implicit_bias.studies.refusals import check_names, increasing
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    Different,
    Increasing,
    NonNegative,
    Positive,
    Products,
    Section,
    StudySettings,
    Tolerance,
)

Pixels = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class Strengths(Section):
    """What is swept in the arms that make minima flatter; chosen on validation data, seed by seed."""

    sam: Different = Field((0.05, 0.1, 0.2, 0.5), description="ρ")
    asam: Different = Field((0.5, 1.0, 2.0, 4.0), description="ρ")
    trace_penalty: Different = Field((1e-4, 1e-3, 1e-2), description="factor of the penalty")
    top_penalty: Different = Field((1e-3, 1e-2, 1e-1), description="factor of the penalty")
    weight_decay: Different = Field((1e-4, 1e-3, 1e-2), description="coupled, on the gradient")
    step_factors: Different = Field(
        (1.0,), description="step sizes tried with each, relative to SGD's tuned one"
    )
    large_rho: Positive = Field(0.5, description="ρ of the arm with a large one")

    def of(self, arm: Arm) -> tuple[float, ...]:
        """Return what is swept in an arm."""
        if arm.strength == "weight_decay":
            return self.weight_decay
        values: tuple[float, ...] = getattr(self, arm.optimizer.partition("(")[0])
        return values


class Spectrum(Section):
    """The published protocols whose Hessian spectra are compared (chapter 11, example 4)."""

    widths: tuple[Count, ...] | None = Field(
        None, description="hidden widths of the protocols; none: the study's"
    )
    batch_size: Count = 32
    step_size: Positive = Field(0.1, description="of heavy ball")
    momentum: float = Field(0.9, ge=0, lt=1)
    adam_step_size: Positive = 1e-3
    epochs: Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(increasing)] = (
        5, 20, 50, 100,
    )  # fmt: skip
    published_epochs: Count = Field(50, description="the length that is compared with the source")
    large_batch_size: Count = 512
    weight_decay: NonNegative = Field(2e-4, description="twice the source's factor of ‖θ‖²")
    deep_widths: tuple[Count, ...] = Field((100, 100, 100), min_length=2)

    @model_validator(mode="after")
    def _consistent(self) -> Spectrum:
        if self.published_epochs not in self.epochs:
            raise self.refusal(
                "published_epochs", "epochs", advice="choose one of the lengths that are trained"
            )
        return self


class Tasks(Section):
    """Other data on which SAM is compared with SGD."""

    label_noise: float = Field(0.2, ge=0, lt=1, description="rate of wrong training labels")
    few: Count = Field(100, description="training examples where there are few")


class MeasureSettings(Section):
    """What is measured at the end of training."""

    examples: Count | None = Field(
        None, description="training examples for curvature; none: all of the lane's"
    )
    eigenvalues: Count = Field(20, description="eigenvalues at either end")
    tol: Tolerance = Field(1e-4, description="residual relative to the largest, at most")
    max_products: Products = Field(150, description="Hessian-vector products for each end, at most")
    trace_probes: int = Field(16, ge=2)
    adaptive_radii: Increasing = (0.25, 0.5, 1.0)
    adaptive_steps: Count = 10
    attacked: Count | None = Field(None, description="test examples attacked; none: all")
    eps: Annotated[tuple[Pixels, ...], Field(min_length=1), AfterValidator(increasing)] = Field(
        (0.02, 0.05, 0.1, 0.2), description="radii of attacks, pixels from 0 to 1"
    )
    published_eps: Pixels = Field(0.1, description="the radius that is compared with the source")
    pgd_steps: Count = 10
    certified_radii: Annotated[
        tuple[Positive, ...], Field(min_length=2), AfterValidator(increasing)
    ] = Field(
        (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5),
        description="Euclidean radii, pixels from 0 to 1",
    )

    @model_validator(mode="after")
    def _consistent(self) -> MeasureSettings:
        if self.published_eps not in self.eps:
            raise self.refusal("published_eps", "eps", advice="choose one of the radii of attacks")
        if self.max_products < self.eigenvalues + 2:
            raise self.refusal(
                "max_products",
                "eigenvalues",
                advice="a search needs at least two products more than that",
            )
        return self


class Poison(Section):
    """Minima of gradient descent with and without wrongly labelled extra examples."""

    examples: Count = Field(300, description="clean training examples")
    extra: Count = Field(150, description="wrongly labelled ones")
    target_loss: Positive = Field(0.1, description="mean loss over the clean examples, nats")
    step_size: Positive = 0.1
    momentum: float = Field(0.9, ge=0, lt=1)
    max_updates: Count = 3000


class Search(Section):
    """Networks found by guessing against networks found by gradient descent."""

    examples: Count = Field(12, description="of the classes 0 and 1 together; an even number")
    width: Count = 8
    guesses: Count = 20_000
    keep: Count = Field(8, description="guesses compared, those of least loss")
    step_size: Positive = 0.05
    max_updates: Count = 5000

    @model_validator(mode="after")
    def _consistent(self) -> Search:
        if self.examples % 2:
            raise self.refusal("examples", advice="choose an even number, half of each class")
        if self.keep > self.guesses:
            raise self.refusal("keep", "guesses", advice="choose no more to keep than are guessed")
        return self


class FlatMinimaSettings(StudySettings):
    """Settings of the flat-minima study."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = tuple(ARMS)
    data: DataSettings = DataSettings(n_train=800, n_valid=200, standardise="none")
    small_batch: Count = 32
    large_batch: Count = 256
    epochs: Positive = Field(20, description="budget of every arm but the published and long ones")
    step_sizes: Different = Field(
        (0.01, 0.03, 0.1, 0.3), description="grid of SGD, for each batch size"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of every arm with a tuned step size")
    fixed_step_size: Positive = Field(0.1, description="of the arm fixed, without momentum")
    strengths: Strengths = Strengths()
    spectrum: Spectrum = Spectrum()
    tasks: Tasks = Tasks()
    measure: MeasureSettings = MeasureSettings()
    poison: Poison = Poison()
    search: Search = Search()

    @model_validator(mode="after")
    def _consistent(self) -> FlatMinimaSettings:
        self.check_resolved("measure.tol")
        if "sgd" not in self.arms:
            raise self.refusal("arms", advice="add 'sgd', against which all others are compared")
        if self.small_batch >= self.large_batch:
            raise self.refusal("small_batch", "large_batch", advice="choose a larger large one")
        if self.data.n_valid < 1:
            raise self.refusal(
                "data.n_valid",
                advice="step sizes and strengths are chosen on validation data; hold some out",
            )
        if self.data.standardise != "none":
            raise self.refusal("data.standardise", advice="attacks are in pixel units; choose none")
        if self.model.name != "dense":
            raise self.refusal("model.name", advice="certified radii are known for dense only")
        if self.model.activation not in ("relu", "tanh", "identity"):
            raise self.refusal(
                "model.activation",
                advice="certified radii are known for relu, tanh and identity; choose one",
            )
        return self
