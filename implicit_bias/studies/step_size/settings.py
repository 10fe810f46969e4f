"""Settings of the step-size study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.images import ImageSettings
from implicit_bias.studies.refusals import check_names
from implicit_bias.studies.settings import (
    Count,
    Increasing,
    Positive,
    Products,
    Section,
    StudySettings,
    Tolerance,
)

ARMS: dict[str, str] = {
    "optimisers": "a dense network by SGD, momentum and Adam, at the stated step sizes and on a grid",
    "steps": "one network by SGD at step sizes far apart, for equal epochs",
    "matched": "the same until all have one training loss",
    "tuning": "one network by momentum, Adam and AdamW in two batch sizes, on a grid of step sizes",
    "variants": "one network and what differs from it in one thing: depth, step, penalty, labels, layers",
    "decay": "small and large batches, the latter with and without weight decay",
    "long": "one network for many epochs, with a step size that falls and one that stays",
}
"""What can be run."""

IMAGE_ARMS = ("steps", "matched", "tuning", "variants", "decay", "long")
"""Arms of the run's own network; ``optimisers`` has a dense one of its own."""

Momentum = Annotated[float, Field(ge=0, lt=1)]
Two = tuple[Count, Count]


def _with_one(section: Any) -> Any:
    if 1.0 not in section.factors:
        raise section.refusal("factors", advice="add 1, which is the stated step size")
    return section


def _small_first(section: Any) -> None:
    if section.batch_sizes[0] >= section.batch_sizes[1]:
        raise section.refusal("batch_sizes", advice="give the small one first")


class Optimisers(Section):
    """Three optimisers on one dense network, as exercise C.12 states them."""

    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (256, 128), description="hidden widths, as stated"
    )
    batch_size: Count = Field(32, description="examples in an update, as stated")
    epochs: Count = Field(50, description="as stated")
    sgd: Positive = Field(0.01, description="step size of SGD, as stated, and of momentum")
    momentum: Momentum = Field(0.9, description="as stated")
    adam: Positive = Field(0.001, description="step size of Adam, as stated")
    factors: Increasing = Field(
        (1.0,), description="step sizes tried, as factors of the stated ones"
    )
    every_epoch_until: Count = Field(12, description="evaluated after each of so many epochs")
    probe_every: Count = Field(1, description="epochs between evaluations after that")

    @model_validator(mode="after")
    def _with_the_stated(self) -> Optimisers:
        return _with_one(self)


class Steps(Section):
    """Plain SGD at step sizes far apart."""

    step_sizes: Annotated[Increasing, Field(min_length=3)] = Field(
        (0.001, 0.01, 0.1, 0.5), description="as stated"
    )
    batch_size: Count = Field(128, description="examples in an update; none is stated")
    epochs: Count = Field(20, description="of every step size; none is stated")
    target_loss: Positive = Field(1.0, description="training loss of arm matched, nats")
    max_epochs: Count = Field(60, description="epochs after which arm matched gives up")


class Tuning(Section):
    """Three optimisers in two batch sizes, each at several step sizes."""

    batch_sizes: Two = Field((128, 1024), description="the small and the large one, as stated")
    epochs: Count = Field(20, description="of every run; none is stated")
    sgd: Positive = Field(0.1, description="step size of momentum, as stated")
    momentum: Momentum = Field(0.9, description="as stated")
    adam: Positive = Field(0.001, description="step size of Adam, as stated, and of AdamW")
    factors: Increasing = Field(
        (0.3, 1.0, 3.0), description="step sizes tried, as factors of the stated ones"
    )
    decays: Increasing = Field(
        (1e-4, 1e-2), description="weight decays of AdamW, the first as stated"
    )

    @model_validator(mode="after")
    def _with_the_stated(self) -> Tuning:
        _small_first(self)
        return _with_one(self)


class Variants(Section):
    """One protocol, and what differs from it in one thing."""

    batch_size: Count = Field(128, description="as stated")
    step_size: Positive = Field(0.1, description="as stated")
    small_step_size: Positive = Field(
        0.01, description="of the variant with small steps, as stated"
    )
    momentum: Momentum = Field(0.9, description="as stated")
    epochs: Count = Field(200, description="as stated")
    decay_every: Count = Field(100, description="epochs after which the step size falls to a tenth")
    penalty: Positive = Field(
        5e-4, description="weight decay of the penalised variant; none is stated"
    )
    label_noise: Annotated[float, Field(gt=0, lt=1)] = Field(0.2, description="as stated")
    deep: Count | None = Field(
        50, description="layers of the deep resnet, whose depth is stated; none: it is left out"
    )


class Decay(Section):
    """Small batches against weight decay."""

    batch_sizes: Two = Field((32, 512), description="the small and the large one, as stated")
    step_size: Positive = Field(0.1, description="as stated")
    momentum: Momentum = Field(0.9, description="as stated")
    weight_decay: Positive = Field(1e-4, description="of the third configuration, as stated")
    epochs: Count = Field(200, description="as stated")
    decay_every: Count = Field(100, description="epochs after which the step size falls to a tenth")

    @model_validator(mode="after")
    def _usable(self) -> Decay:
        _small_first(self)
        return self


class Long(Section):
    """Many epochs."""

    batch_size: Count = Field(128, description="as stated")
    step_size: Positive = Field(0.1, description="as stated")
    momentum: Momentum = Field(0.9, description="as stated")
    epochs: Annotated[int, Field(ge=10)] = Field(500, description="as stated")
    decay_every: Count = Field(100, description="epochs after which the step size falls to a tenth")
    probes: Annotated[int, Field(ge=10)] = Field(50, description="evaluations, evenly spaced")


class Measure(Section):
    """How sharp the ends are of arms optimisers, steps and matched."""

    examples: Count | None = Field(None, description="training examples of the Hessian; none: all")
    tol: Tolerance = Field(1e-3, description="residual of the largest eigenvalue relative to it")
    max_products: Products = Field(60, description="Hessian-vector products of a search")
    chunk_size: Count = Field(1000, description="examples in one pass of the Hessian")


class Scripts(Section):
    """The chapter's solution scripts, and beside them what their set-ups give when all is trained."""

    run: bool = Field(True, description="run them")
    draws: Annotated[int, Field(ge=1)] = Field(
        4, description="data and networks of a seed; twice as many of the script on labels"
    )
    trained_epochs: Count = Field(
        200, description="full-batch updates where all layers are trained"
    )
    trained_width: Count = Field(200, description="hidden units of the trained deep network")
    full_start: bool = Field(
        True, description="draw the start of a ResNet-18 for images of CIFAR-10 at its full size"
    )


class StepSizeSettings(StudySettings):
    """Settings of the step-size study."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = ("optimisers", "steps", "matched")
    data: ImageSettings = ImageSettings(n_train=700, n_valid=200)
    probes: Annotated[int, Field(ge=1, le=1000)] = Field(
        10, description="evaluations of a run, where an arm has no number of its own"
    )
    optimisers: Optimisers = Optimisers()
    steps: Steps = Steps()
    tuning: Tuning = Tuning()
    variants: Variants = Variants()
    decay: Decay = Decay()
    long: Long = Long()
    measure: Measure = Measure()
    scripts: Scripts = Scripts()

    @model_validator(mode="after")
    def _usable(self) -> StepSizeSettings:
        self.check_resolved("measure.tol")
        if "matched" in self.arms and "steps" not in self.arms:
            raise self.refusal("arms", advice="add 'steps', with which matched is compared")
        choosing = "tuning" in self.arms or (
            "optimisers" in self.arms and len(self.optimisers.factors) > 1
        )
        if choosing and self.data.n_valid < 1:
            raise self.refusal(
                "data.n_valid", "arms",
                advice="step sizes are chosen on validation data: hold some out, or give optimisers.factors "
                "1 alone and leave out tuning",
            )  # fmt: skip
        return self
