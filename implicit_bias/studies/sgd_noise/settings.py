"""Settings of the study of SGD's noise."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from implicit_bias.studies.settings import Count, Section, StudySettings
from implicit_bias.studies.sgd_noise.corrupted import BATCH
from implicit_bias.theory.sgd_noise import LARGEST


class StationarySettings(Section):
    """Runs long enough to be stationary."""

    chains: Annotated[int, Field(ge=100)] = Field(2000, description="runs beside each other")
    lengths: Annotated[float, Field(ge=1, le=1000)] = Field(
        4.0, description="relaxation times that are averaged over"
    )


class MomentSettings(Section):
    """Moments at a fixed time."""

    dimension: Annotated[int, Field(ge=2, le=LARGEST)] = Field(5, description="parameters")


class WellSettings(Section):
    """A line with two wells, and a ring."""

    chains: Annotated[int, Field(ge=100)] = Field(800, description="runs beside each other")
    updates: Annotated[int, Field(ge=1000)] = Field(
        4000, description="updates, half of them counted"
    )
    step_size: Annotated[float, Field(gt=0, le=0.1)] = Field(0.02, description="η")


class EndpointSettings(Section):
    """Ends of SGD that is stopped early."""

    examples: Annotated[int, Field(ge=6)] = Field(40, description="examples")
    inputs: Annotated[int, Field(ge=2)] = Field(8, description="features, fewer")
    updates: Annotated[int, Field(ge=4)] = Field(20, description="T")
    runs: Annotated[int, Field(ge=100)] = Field(1000, description="runs whose mean is taken")

    @model_validator(mode="after")
    def _over(self) -> EndpointSettings:
        if self.inputs >= self.examples:
            raise self.refusal(
                "inputs", "examples", advice="choose fewer inputs than examples: noise adds up without end "
                    "where the loss is flat"
            )  # fmt: skip
        return self


class EpochSettings(Section):
    """Epochs of shuffled batches."""

    examples: Count = Field(3, description="examples of each of four batches")
    inputs: Annotated[int, Field(ge=2)] = Field(4, description="features")

    @model_validator(mode="after")
    def _over(self) -> EpochSettings:
        if self.inputs > 4 * self.examples:
            raise self.refusal(
                "inputs", "examples", advice="choose at most four times as many inputs"
            )
        return self


class LabelSettings(Section):
    """Labels drawn afresh."""

    runs: Annotated[int, Field(ge=100)] = Field(500, description="runs whose mean is taken")
    updates: Count = Field(300, description="updates")


class CorruptedSettings(Section):
    """Labels some of which are wrong."""

    examples: Annotated[int, Field(ge=20)] = Field(60, description="examples, a multiple of 10")
    inputs: Annotated[int, Field(ge=4)] = Field(40, description="features")
    flipped: Annotated[float, Field(gt=0, lt=0.5)] = Field(0.2, description="share of wrong labels")
    epochs: Annotated[int, Field(ge=5)] = Field(60, description="epochs")
    width: Count = Field(16, description="hidden units of the network")
    tests: Annotated[int, Field(ge=50)] = Field(
        400, description="test and validation examples, each"
    )
    draws: Count = Field(3, description="data sets of a seed")

    @model_validator(mode="after")
    def _whole(self) -> CorruptedSettings:
        if self.examples % BATCH:
            raise self.refusal("examples", advice=f"choose a multiple of {BATCH}, the batch")
        if round(self.flipped * self.examples) < 2:
            raise self.refusal(
                "flipped", "examples", advice="choose more: fewer than two are wrong"
            )
        return self


class GivenSettings(Section):
    """Mini-batches of the run's data."""

    features: Annotated[int, Field(ge=2, le=LARGEST)] = Field(6, description="principal components")
    batch: Count = Field(8, description="examples of a batch")
    fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="step size over 2/max‖x‖², below which all batches are stable"
    )
    chains: Annotated[int, Field(ge=100)] = Field(400, description="runs beside each other")
    lengths: Annotated[float, Field(ge=1, le=1000)] = Field(
        20.0, description="relaxation times that are averaged over"
    )
    batches: Annotated[int, Field(ge=100)] = Field(4000, description="batches drawn, of each kind")


class SgdNoiseSettings(StudySettings):
    """Settings of the study of SGD's noise."""

    seeds: int = Field(
        8, ge=1, le=100_000, description="independent repetitions: 0, 1, …, seeds − 1"
    )
    dtype: Literal["float32", "float64"] = Field("float64", description="floating-point type")
    stationary: StationarySettings = StationarySettings()
    moments: MomentSettings = MomentSettings()
    wells: WellSettings = WellSettings()
    endpoints: EndpointSettings = EndpointSettings()
    epochs: EpochSettings = EpochSettings()
    labels: LabelSettings = LabelSettings()
    corrupted: CorruptedSettings = CorruptedSettings()
    given: GivenSettings = GivenSettings()

    @model_validator(mode="after")
    def _double(self) -> SgdNoiseSettings:
        if self.dtype != "float64":
            raise self.refusal(
                "dtype", advice="choose float64: what is exact here is so to its rounding"
            )
        return self
