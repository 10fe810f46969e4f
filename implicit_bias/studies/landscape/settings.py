"""Settings of the landscape study."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.refusals import Refusal, increasing
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    Different,
    ModelSettings,
    Positive,
    Products,
    Section,
    StudySettings,
)


class Batches(Section):
    """Batch and step sizes."""

    small: Count = 32
    large: Count = 512
    step_size: Positive = Field(0.1, description="of SGD, for both batch sizes")
    scaled_step_size: Positive = Field(
        0.8, description="of SGD with large batches where it is larger for them"
    )
    adam_step_size: Positive = 1e-3


def odd(count: int) -> int:
    """Refuse a number of points without a middle."""
    if count % 2 == 0:
        raise Refusal({}, "choose an odd number, so that the middle is on it")
    return count


Points = Annotated[int, Field(ge=3, le=1001), AfterValidator(odd)]


class Planes(Section):
    """Random planes through each end point."""

    slices: Count = Field(10, description="planes of each normalisation")
    grid: Points = Field(21, description="points along each axis of a plane; odd")
    fine_grid: Points = Field(51, description="the same for the one plane that is drawn; odd")
    reach: Positive = Field(5.0, description="half a raw plane's side, in parameters")
    filter_reach: Positive = Field(
        1.0, description="half a filter-normalised plane's side, relative to each unit's weights"
    )
    examples: Count = Field(
        10_000, description="training examples the loss is averaged over; at most all of a lane's"
    )
    rescaling: Positive = Field(
        4.0, description="factor on the first layer of the same ReLU network, the control"
    )

    @model_validator(mode="after")
    def _rescales(self) -> Planes:
        if self.rescaling == 1:
            raise self.refusal("rescaling", advice="give another factor: this one changes nothing")
        return self


class Paths(Section):
    """Ways between end points. Curves are trained as the arm ``adam`` is, and as long."""

    points: Points = Field(31, description="points along a path between two networks; odd")


class Nearby(Section):
    """Random points around the initial weights."""

    radii: Different = Field((0.01, 0.1, 0.3, 1.0), description="distances relative to ‖θ₀‖")
    points: int = Field(50, ge=1, le=10_000, description="points at each distance")


class Special(Section):
    """Planes along eigenvectors and along the trajectory."""

    stations: Annotated[tuple[Positive, ...], Field(min_length=2), AfterValidator(increasing)] = (
        Field((0.25, 0.5, 1, 2, 5, 10), description="epochs at which the way is looked at")
    )
    reach: Positive = Field(
        2.0, description="half the side of the eigenvector plane, in parameters"
    )
    max_products: Products = Field(100, description="Hessian-vector products for two eigenvectors")


class LandscapeSettings(StudySettings):
    """Settings of the landscape study."""

    data: DataSettings = DataSettings(classes=(0, 1))
    model: ModelSettings = ModelSettings(widths=(50,))
    epochs: Positive = 20
    batches: Batches = Batches()
    planes: Planes = Planes()
    paths: Paths = Paths()
    nearby: Nearby = Nearby()
    special: Special = Special()

    @model_validator(mode="after")
    def _fits(self) -> LandscapeSettings:
        if self.batches.small >= self.batches.large:
            raise self.refusal(
                "batches.small", "batches.large", advice="choose a smaller small one"
            )
        if self.batches.scaled_step_size <= self.batches.step_size:
            raise self.refusal(
                "batches.scaled_step_size",
                "batches.step_size",
                advice="choose a larger scaled one",
            )
        if self.special.stations[-1] >= self.epochs:
            raise self.refusal(
                "special.stations", "epochs", advice="choose stations before training ends"
            )
        if self.model.name != "dense":
            raise self.refusal("model.name", advice="hidden units are matched, which needs dense")
        if not self.model.widths:
            raise self.refusal("model.widths", advice="hidden units are matched; give some")
        if self.model.parameterisation != "standard":
            raise self.refusal(
                "model.parameterisation", advice="the first layer is cut off, which needs standard"
            )
        return self
