"""Settings of the ntk-width study."""

from __future__ import annotations

from typing import Annotated, Literal

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
    "standard": "standard parameterisation, one step size for all widths",
    "ntk": "NTK parameterisation: the network of which a kernel is the limit",
    "mup": "μ parameterisation: features move at any width",
    "linearised": "first-order Taylor expansion of the networks of arm ntk about their start",
}
"""The arms, and what they train."""

NETWORKS = ("standard", "ntk", "mup")
"""Arms whose networks have kernels and features that may change; a linearised one's cannot."""

FEWEST_WIDTHS = 3
"""Widths through which a slope is worth its name."""

MOST_UNITS = 200_000
"""Hidden units of a network of which the expectation is taken: its parameters must fit the memory."""

MOST_DRAWN = 10**8
"""Hidden units of all networks of one seed's expectation, drawn one after another."""

Widths = Annotated[tuple[Count, ...], Field(min_length=FEWEST_WIDTHS), AfterValidator(increasing)]


class Networks(Section):
    """How the networks of an arm begin and what they minimise."""

    step_size: Positive = Field(0.05, description="the same for all widths")
    loss: Literal["cross_entropy", "squared"] = "cross_entropy"
    init: Literal["he", "lecun"] = "lecun"
    init_scale: Positive = Field(
        3**-0.5,
        description="initial weights are multiplied by it; 3^(-1/2) of lecun is PyTorch's variance",
    )


class KernelNetworks(Section):
    """The arm that has a kernel as its limit, and its linearisation.

    They are trained on the squared loss, and the function of the start is subtracted.
    """

    step_size: Positive = Field(0.3, description="the same for all widths")
    init: Literal["he", "lecun"] = "he"


class LinearisedNetworks(Section):
    """The arm of linearised networks; all but their widths is as in arm ntk."""

    largest: Count | None = Field(None, description="largest width; none: that of the others")


class Expectation(Section):
    """The average of kernels over initialisations, networks with one hidden layer."""

    width: Annotated[int, Field(ge=1, le=MOST_UNITS)] = Field(
        64, description="hidden width of the networks that are drawn"
    )
    networks: Annotated[int, Field(ge=2, le=100_000)] = Field(
        200, description="networks drawn for each seed"
    )
    inputs: Annotated[int, Field(ge=2, le=64)] = Field(8, description="test examples of the kernel")

    @model_validator(mode="after")
    def _affordable(self) -> Expectation:
        if self.width * self.networks > MOST_DRAWN:
            raise self.refusal(
                "width", "networks",
                advice=f"choose fewer, at most {MOST_DRAWN} hidden units in all networks of a seed",
            )  # fmt: skip
        return self


class NtkWidthSettings(StudySettings):
    """Settings of the ntk-width study."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = tuple(ARMS)
    data: DataSettings = DataSettings(n_train=500)
    model: ModelSettings = ModelSettings()
    widths: Widths = Field((16, 32, 64, 128, 256), description="hidden widths that are compared")
    hidden_layers: Annotated[int, Field(ge=1, le=8)] = 1
    standard: Networks = Networks()
    ntk: KernelNetworks = KernelNetworks()
    mup: Networks = Networks()
    linearised: LinearisedNetworks = LinearisedNetworks()
    batch_size: Count = 50
    epochs: Positive = Field(20.0, description="passes over the training examples, in every arm")
    probe_set: Annotated[int, Field(ge=4, le=4096)] = Field(
        64, description="test examples on which kernels and features are compared with their start"
    )
    expectation: Expectation = Expectation()

    @model_validator(mode="after")
    def _usable(self) -> NtkWidthSettings:
        plain = ModelSettings()
        for key, instead in (
            ("name", "the study pads dense networks"),
            ("widths", "choose widths and hidden_layers"),
            ("parameterisation", "choose arms"),
            ("init", "choose standard.init, ntk.init and mup.init"),
        ):
            if getattr(self.model, key) != getattr(plain, key):
                raise self.refusal(f"model.{key}", advice=f"leave it out: {instead}")
        largest = self.linearised.largest
        if largest is not None and largest > max(self.widths):
            raise self.refusal(
                "linearised.largest", "widths",
                advice=f"choose at most {max(self.widths)}, the largest of them, or leave it out",
            )  # fmt: skip
        if "linearised" in self.arms and len(self.linearised_widths) < FEWEST_WIDTHS:
            raise self.refusal(
                "linearised.largest", "widths",
                advice=f"choose a width with at least {FEWEST_WIDTHS} of the widths up to it",
            )  # fmt: skip
        return self

    @property
    def linearised_widths(self) -> tuple[int, ...]:
        """Widths of the arm of linearised networks."""
        largest = self.linearised.largest
        return tuple(width for width in self.widths if largest is None or width <= largest)
