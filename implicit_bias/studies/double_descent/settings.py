"""Settings of the double-descent study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.double_descent.linear.settings import LinearSettings
from implicit_bias.studies.images import ImageSettings
from implicit_bias.studies.refusals import check_names, increasing
from implicit_bias.studies.settings import (
    Count,
    ModelSettings,
    Positive,
    Products,
    Section,
    StudySettings,
    Tolerance,
)

ARMS: dict[str, str] = {
    "width": "networks of every width, at every level of label noise",
    "decay": "networks of the control widths with weight decay, at the highest label noise",
    "members": "networks of the control widths from other initial weights, for ensembles",
    "samples": "one width, on fewer and on more examples",
    "scaling": "small and large batches, at some widths and depths",
    "channels": "convolutional networks with more and more channels",
    "features": "least squares on random features of the same data; trains no network",
}
"""What can be run."""

Widths = Annotated[tuple[Count, ...], AfterValidator(increasing)]
Level = Annotated[float, Field(ge=0, lt=1)]


class Samples(Section):
    """The sweep over numbers of training examples."""

    width: Count = Field(24, description="hidden units")
    sizes: Annotated[Widths, Field(min_length=4)] = Field(
        (250, 500, 1000, 2000), description="training examples"
    )


class Scaling(Section):
    """Small against large batches, by stochastic gradient descent for equal epochs."""

    batch_sizes: tuple[Count, Count] = Field((20, 200), description="the small and the large one")
    widths: Annotated[Widths, Field(min_length=2)] = Field((32, 128), description="hidden units")
    depths: Annotated[Widths, Field(min_length=2)] = Field((1, 2), description="hidden layers")
    step_size: Positive = Field(0.05, description="of both batch sizes")
    epochs: Count = Field(50, description="of every network")

    @model_validator(mode="after")
    def _small_first(self) -> Scaling:
        if self.batch_sizes[0] >= self.batch_sizes[1]:
            raise self.refusal("batch_sizes", advice="give the small one first")
        return self


class Channels(Section):
    """Convolutional networks after Nakkiran et al. (2019), much smaller: k and 2k channels."""

    sizes: Annotated[Widths, Field(min_length=4)] = Field(
        (1, 2, 3, 4, 6, 8, 12), description="channels k of the first layer; the second has 2k"
    )
    step_size: Positive = Field(0.1, description="at the beginning; it falls as 1/√(1 + ⌊t/512⌋)")
    batch_size: Count = Field(128, description="examples in an update")
    updates: Count = Field(5000, description="updates of every network")
    loss: Literal["cross_entropy", "squared"] = "cross_entropy"


class Features(Section):
    """Random features of the data, fitted by least squares."""

    ratios: Annotated[
        tuple[Positive, ...], Field(min_length=5), AfterValidator(increasing)
    ] = Field(
        (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.6, 2.5, 4.0), description="features by training example"
    )  # fmt: skip
    ridges: Annotated[
        tuple[Positive, ...], Field(min_length=1), AfterValidator(increasing)
    ] = Field(
        (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), description="penalties tried, by training example"
    )  # fmt: skip


class Measure(Section):
    """How sharp a network's end is."""

    examples: Count | None = Field(None, description="training examples of the Hessian; none: all")
    tol: Tolerance = Field(1e-3, description="residual of the largest eigenvalue relative to it")
    max_products: Products = Field(100, description="Hessian-vector products of a search")


class DoubleDescentSettings(StudySettings):
    """Settings of the double-descent study."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = ("width", "decay", "members", "features")
    data: ImageSettings = ImageSettings(n_train=200, n_valid=200, standardise="global")
    model: ModelSettings = ModelSettings(widths=(1,), activation="tanh", init="lecun")
    widths: Annotated[Widths, Field(min_length=5)] = Field(
        (3, 6, 10, 14, 20, 27, 40, 80), description="hidden units"
    )
    control_widths: Annotated[Widths, Field(min_length=3)] = Field(
        (6, 14, 27, 80), description="those of the widths at which controls are trained"
    )
    label_noises: Annotated[tuple[Level, ...], Field(min_length=1), AfterValidator(increasing)] = (
        Field((0.0, 0.2), description="fractions of training labels redrawn among other classes")
    )
    decays: Annotated[tuple[Positive, ...], Field(min_length=1), AfterValidator(increasing)] = (
        Field((1e-3,), description="weight decays of which validation chooses one, or none")
    )
    members: Annotated[int, Field(ge=2, le=100)] = Field(3, description="networks of an ensemble")
    step_size: Positive = Field(0.01, description="of Adam, before it falls to zero as a cosine")
    batch_size: Count | None = Field(None, description="examples in an update; none: all")
    updates: Count = Field(2000, description="updates of every network")
    probes: Annotated[int, Field(ge=4, le=1000)] = Field(
        15, description="evaluations while training, evenly spaced in log time"
    )
    samples: Samples = Samples()
    scaling: Scaling = Scaling()
    channels: Channels = Channels()
    features: Features = Features()
    measure: Measure = Measure()
    linear: LinearSettings = LinearSettings()

    @property
    def noisy(self) -> float:
        """The highest label noise, at which controls are trained."""
        return self.label_noises[-1]

    @model_validator(mode="after")
    def _usable(self) -> DoubleDescentSettings:
        if self.model.name != "dense" or len(self.model.widths) != 1:
            raise self.refusal(
                "model.name", "model.widths",
                advice="choose dense with one hidden layer, whose width the study sweeps",
            )  # fmt: skip
        if missing := set(self.control_widths) - set(self.widths):
            raise self.refusal(
                "control_widths", "widths",
                advice=f"choose among the widths; {', '.join(map(str, sorted(missing)))} is none",
            )  # fmt: skip
        needing = [arm for arm in ("decay", "members", "features") if arm in self.arms]
        if needing and "width" not in self.arms:
            raise self.refusal("arms", advice=f"add 'width', with which {needing[0]} is compared")
        if "channels" in self.arms and (self.arms != ("channels",) or self.data.flatten):
            raise self.refusal(
                "arms", "data.flatten",
                advice="run channels alone, with data.flatten false, as convolutions need images",
            )  # fmt: skip
        if "channels" not in self.arms and not self.data.flatten:
            raise self.refusal("data.flatten", advice="choose true; only arm channels needs images")
        if self.data.n_train is None:
            raise self.refusal(
                "data.n_train", advice="give a number, as it decides where the threshold lies"
            )
        if self.data.n_valid < 1:
            raise self.refusal(
                "data.n_valid",
                advice="when to stop and how much to decay is decided on validation data; hold some out",
            )  # fmt: skip
        if self.updates < self.probes:
            raise self.refusal("updates", "probes", advice="choose at least as many as probes")
        return self
