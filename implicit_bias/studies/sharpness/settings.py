"""Settings of the sharpness study, and its arms."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.refusals import Refusal, check_names, different, increasing
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    Different,
    Increasing,
    ModelSettings,
    Positive,
    Section,
    StudySettings,
    Tolerance,
)
from implicit_bias.studies.sharpness.points import Point, make_points

STEPS = ("small-step", "large-step")
EPOCHS, MATCHED = "epochs", "matched"


def arm(budget: str, step: str) -> str:
    """Return an arm's name: how long it trains, and with which step."""
    return f"{budget}-{step}"


ARMS = tuple(arm(budget, step) for budget in (EPOCHS, MATCHED) for step in STEPS)
"""All arms; each is run at both batch sizes."""


def other_than_one(factors: tuple[float, ...]) -> tuple[float, ...]:
    """Refuse factors that change nothing, or one given twice."""
    if 1.0 in factors:
        raise Refusal({}, "give factors other than 1")
    return different(factors)


class Matched(Section):
    """Arms that stop at a training loss."""

    target_loss: Positive = 0.05
    max_epochs: Positive = 1000
    evaluate_every: Count = Field(5, description="updates between evaluations, at all batch sizes")


class Sweeps(Section):
    """Radii of each sharpness, increasing; a plain one and its adaptive one have as many."""

    worst_l2: Increasing = (0.05, 0.1, 0.2, 0.4)
    worst_linf: Increasing = (1e-3, 3e-3, 1e-2)
    average_l2: Increasing = (0.01, 0.03, 0.1)
    average_linf: Increasing = (0.02, 0.06, 0.2)
    adaptive_worst_l2: Increasing = (0.25, 0.5, 1.0, 2.0)
    adaptive_worst_linf: Increasing = (5e-3, 1e-2, 2e-2)
    adaptive_average_l2: Increasing = (0.1, 0.2, 0.4)
    adaptive_average_linf: Increasing = (0.2, 0.4, 0.8)

    @model_validator(mode="after")
    def _as_many(self) -> Sweeps:
        given = self.model_dump()
        for name in given:
            plain = name.removeprefix("adaptive_")
            if len(given[name]) != len(given[plain]):
                raise self.refusal(name, plain, advice="give as many radii of both")
        return self


class Measuring(Section):
    """How finished lanes are measured."""

    examples: Count | None = Field(
        None, description="training examples that losses are means over; none: all of a lane's"
    )
    top: int = Field(5, ge=2, description="largest eigenvalues found")
    tol: Tolerance = Field(1e-4, description="residual of an eigenvalue relative to the largest")
    max_products: int = Field(400, ge=20, description="Hessian-vector products of a search")
    trace_probes: int = Field(16, ge=2)
    density_probes: int = Field(3, ge=2)
    density_depth: int = Field(30, ge=2)
    steps: Count = Field(10, description="ascent steps of a worst-case search, each start")
    draws: int = Field(8, ge=2, description="draws of an average case, each with both signs")

    @model_validator(mode="after")
    def _enough_products(self) -> Measuring:
        if self.max_products < self.top + 2:
            raise self.refusal(
                "max_products", "top", advice="a search needs at least two products more than that"
            )
        return self


Factors = Annotated[tuple[Positive, ...], Field(min_length=1), AfterValidator(other_than_one)]


class KeskarSettings(Section):
    """How Keskar's measure is taken."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = Field(ARMS, description="whose lanes are measured")
    alphas: Annotated[tuple[Positive, ...], AfterValidator(other_than_one)] = Field(
        (10.0,), description="of those rescaled as well"
    )
    epsilons: Different = (1e-3, 5e-4)
    iterations: Count = 10
    subspace: Count = 100


class SharpnessSettings(StudySettings):
    """Settings of the sharpness study."""

    data: DataSettings = DataSettings(n_train=300)
    model: ModelSettings = ModelSettings(widths=(32,))
    dtype: Literal["float32", "float64"] = Field(
        "float64", description="floating-point type; invariance is judged to a part in a thousand"
    )
    batch_sizes: Annotated[tuple[Count, Count], AfterValidator(increasing)] = Field(
        (10, 150), description="small and large"
    )
    step_sizes: Annotated[tuple[Positive, Positive], AfterValidator(increasing)] = Field(
        (0.02, 0.2), description="small and large"
    )
    epochs: Positive = Field(30, description="of the arms of equal epochs")
    matched: Matched = Matched()
    alphas: Factors = Field(
        (0.25, 2.0, 10.0), description="factors of the first layer, undone in the last"
    )
    scales: Factors = Field((2.0, 10.0), description="factors of all parameters: other functions")
    stretch: Positive = Field(2.0, description="c of the loss ψ ↦ L(ψ/c)")
    radii: Sweeps = Sweeps()
    measuring: Measuring = Measuring()
    keskar: KeskarSettings = KeskarSettings()

    @model_validator(mode="after")
    def _usable(self) -> SharpnessSettings:
        if self.model.name != "dense":
            raise self.refusal("model.name", advice="rescaling of layers needs dense")
        if not self.model.widths:
            raise self.refusal("model.widths", advice="rescaling of layers needs a hidden one")
        if self.model.activation not in ("relu", "identity"):
            raise self.refusal(
                "model.activation",
                advice="rescaling of layers keeps the function for relu and identity only; choose one",
            )
        if self.stretch == 1.0:
            raise self.refusal("stretch", advice="give another factor")
        self.check_resolved("measuring.tol")
        return self

    @property
    def points(self) -> tuple[Point, ...]:
        """Where measures are taken."""
        return make_points(self.alphas, self.scales, self.stretch)
