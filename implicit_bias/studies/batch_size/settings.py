"""Settings of the batch-size study, and its arms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.images import ImageSettings
from implicit_bias.studies.refusals import check_names, different
from implicit_bias.studies.settings import (
    Count,
    Different,
    Positive,
    Products,
    Section,
    StudySettings,
    Tolerance,
)

UPDATE_RATIO_CAP = 16
"""Largest ratio of batch sizes, and so of epochs, within the arms of equal updates."""

DrawnBatch = Annotated[int, Field(ge=1, le=65_536)]
Rule = Literal["fixed", "sqrt", "linear"]
BudgetKind = Literal["epochs", "updates", "matched"]


@dataclass(frozen=True)
class Arm:
    """A budget and a step-size rule, applied to several batch sizes.

    Attributes:
        budget: Equal epochs, equal updates, or until a training loss is reached.
        rule: Step size fixed, ∝ √B or ∝ B from the anchor; or ``"tuned"`` on validation data.
        group: Which batch sizes: all; those of the arms of equal updates; the published momentum pair;
            the extremes.
        what: One line for tables.
        momentum: Whether the published heavy-ball protocol replaces plain SGD.
        noise: Whether the noise of the group's smallest batch is injected into the others.
        label_noise: Whether training labels are noisy.
    """

    budget: BudgetKind
    rule: Rule | Literal["tuned"]
    group: Literal["all", "updates", "momentum", "momentum-long", "extremes"]
    what: str
    momentum: bool = False
    noise: bool = False
    label_noise: bool = False


ARMS: dict[str, Arm] = {
    "epochs-fixed": Arm("epochs", "fixed", "all", "equal epochs, step size fixed"),
    "epochs-sqrt": Arm("epochs", "sqrt", "all", "equal epochs, step size ∝ √B"),
    "epochs-linear": Arm("epochs", "linear", "all", "equal epochs, step size ∝ B"),
    "updates-fixed": Arm("updates", "fixed", "updates", "equal updates, step size fixed"),
    "updates-sqrt": Arm("updates", "sqrt", "updates", "equal updates, step size ∝ √B"),
    "updates-linear": Arm("updates", "linear", "updates", "equal updates, step size ∝ B"),
    "injected-noise": Arm(
        "updates",
        "fixed",
        "updates",
        "equal updates, step size fixed, noise of the smallest batch injected into the larger",
        noise=True,
    ),
    "matched-fixed": Arm("matched", "fixed", "all", "equal training loss, step size fixed"),
    "noisy-labels": Arm(
        "epochs", "fixed", "extremes", "equal epochs, step size fixed, noisy labels",
        label_noise=True,
    ),
    "momentum": Arm(
        "epochs", "fixed", "momentum", "published protocol with momentum, equal epochs",
        momentum=True,
    ),
    "momentum-long": Arm(
        "epochs", "fixed", "momentum-long", "published protocol with momentum, five times longer",
        momentum=True,
    ),
    "momentum-matched": Arm(
        "matched", "fixed", "momentum", "published protocol with momentum, equal training loss",
        momentum=True,
    ),
    "tuned": Arm("epochs", "tuned", "all", "equal epochs, step size tuned for each B and seed"),
    "matched-tuned": Arm(
        "matched", "tuned", "all", "equal training loss, step size tuned for each B and seed"
    ),
}  # fmt: skip
TUNING = "tuning"
"""Arm of the lanes from which the tuned step sizes are chosen; not measured."""


Sizes = Annotated[tuple[Count, ...], Field(min_length=2), AfterValidator(different)]


class UpdatesSettings(Section):
    """The arms of equal updates."""

    batch_sizes: Sizes = (32, 128, 512)
    epochs: Positive = Field(20, description="epochs of the smallest batch size of these arms")

    @model_validator(mode="after")
    def _capped(self) -> UpdatesSettings:
        if max(self.batch_sizes) > UPDATE_RATIO_CAP * min(self.batch_sizes):
            raise self.refusal(
                "batch_sizes",
                advice=f"choose a largest of at most {UPDATE_RATIO_CAP} times the smallest, since equal "
                "updates cost as many times the epochs",
            )
        return self


class MatchedSettings(Section):
    """The arms of equal training loss."""

    target_loss: Positive = Field(0.05, description="mean loss over the whole training set, nats")
    max_epochs: Positive = Field(100, description="give up after so many epochs")
    evaluations_per_epoch: Positive = Field(
        2, description="evaluations of the training loss an epoch, at most one an update"
    )


class MomentumSettings(Section):
    """The published protocol with momentum (chapter 11, C.7)."""

    batch_sizes: Sizes = (32, 512)
    step_size: Positive = 0.1
    momentum: float = Field(0.9, ge=0, lt=1)
    epochs: Positive = 20


class CurvatureSettings(Section):
    """Measurement at the end of training."""

    examples: Count | None = Field(
        None, description="training examples used; none: all of the lane's"
    )
    radii: Different = (0.5, 1.0, 2.0, 4.0, 8.0)
    filter_radii: Different = (0.05, 0.1, 0.2, 0.4, 0.8)
    directions: int = Field(10, ge=2, le=10_000)
    trace_probes: int = Field(32, ge=2)
    tol: Tolerance = 1e-4
    power_tol: Tolerance = 1e-3
    max_products: Products = 100
    probe_set: Count = 32
    noise_batches: Annotated[tuple[DrawnBatch, DrawnBatch], AfterValidator(different)] = (64, 512)
    noise_draws: int = Field(64, ge=2)
    chunk_size: Count = 1000
    whole_batch: Count = Field(10_000, description="examples a Hessian product may take at once")


class BatchSizeSettings(StudySettings):
    """Settings of the batch-size study."""

    data: ImageSettings = ImageSettings()
    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = tuple(ARMS)
    batch_sizes: Sizes = (16, 64, 256)
    anchor_batch_size: Count = Field(
        64, description="batch size at which all step-size rules agree"
    )
    anchor_step_size: Positive = Field(0.1, description="step size there")
    epochs: Positive = Field(20, description="budget of the arms of equal epochs")
    updates: UpdatesSettings = UpdatesSettings()
    matched: MatchedSettings = MatchedSettings()
    momentum: MomentumSettings = MomentumSettings()
    tuning_step_sizes: Different = Field(
        (0.01, 0.03, 0.1, 0.3, 1.0), description="grid for the tuned arms"
    )
    label_noise: float = Field(0.2, ge=0, lt=1, description="rate in the arm with noisy labels")
    probes: int = Field(8, ge=1, le=10_000, description="evaluations during training")
    curvature: CurvatureSettings = CurvatureSettings()

    @model_validator(mode="after")
    def _consistent(self) -> BatchSizeSettings:
        self.check_resolved("curvature.tol", "curvature.power_tol")
        tuned = any(ARMS[arm].rule == "tuned" for arm in self.arms)
        if tuned and self.data.n_valid < 1:
            raise self.refusal(
                "data.n_valid",
                "arms",
                advice="tuned arms choose step sizes on validation data: hold some out, or leave out the "
                "tuned arms",
            )
        return self

    def sizes(self, group: str) -> tuple[int, ...]:
        """Return the batch sizes of a group of arms, smallest first."""
        sizes = {
            "all": self.batch_sizes,
            "extremes": (min(self.batch_sizes), max(self.batch_sizes)),
            "updates": self.updates.batch_sizes,
            "momentum": self.momentum.batch_sizes,
            "momentum-long": (min(self.momentum.batch_sizes), sorted(self.momentum.batch_sizes)[1]),
        }[group]
        return tuple(sorted(sizes))

    def step_size(self, rule: str, batch_size: int) -> float:
        """Return the step size of a rule, anchored where all rules agree."""
        power = {"fixed": 0.0, "sqrt": 0.5, "linear": 1.0}[rule]
        return self.anchor_step_size * (batch_size / self.anchor_batch_size) ** power
