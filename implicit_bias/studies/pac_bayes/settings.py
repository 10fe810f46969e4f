"""Settings of the PAC-Bayes study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.studies.pac_bayes.network import LOSSES
from implicit_bias.studies.refusals import Refusal, different
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    Increasing,
    ModelSettings,
    Positive,
    Section,
    StudySettings,
)

Fraction = Annotated[float, Field(gt=0, lt=1)]


def _bounded(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in LOSSES:
            raise Refusal(
                {},
                f"{name} is not a loss in [0, 1], which PAC-Bayes bounds need; choose of {', '.join(LOSSES)}",
            )
    return different(names)


class DataAsGiven(DataSettings):
    """Which examples are used, as they are."""

    standardise: Literal["pixel", "global", "none"] = Field(
        "none",
        description="none: a prior may not know statistics of the examples that its bound counts",
    )


class PosteriorSettings(Section):
    """Gaussian laws of networks whose bound is made small by gradient descent."""

    updates: Count = Field(3000, description="updates of each law")
    batch_size: Count = Field(500, description="examples in an update, drawn with replacement")
    step_size: Positive = Field(0.003, description="Adam's first step size, which falls to 0")
    spread: Positive = Field(0.03, description="standard deviation of every weight to begin with")
    passes: Count = Field(
        10,
        description="passes over the sample for the empirical risk, with fresh networks for every example",
    )
    largest_variance: Positive = Field(0.1, description="c of the prior variances c exp(−j/b)")
    precision: Positive = Field(100.0, description="b of the prior variances c exp(−j/b)")
    sampling_delta: Fraction = Field(
        0.01, description="δ_s: how often the empirical risk may be above its bound from samples"
    )


class CoverageSettings(Section):
    """Samples on which bounds are held against true risks that are known."""

    draws: Count = Field(2000, description="samples of a seed, for each design")
    examples: Annotated[int, Field(ge=8)] = Field(100, description="examples in a sample")


class ScriptSettings(Section):
    """The chapter's linear classifier."""

    draws: Count = Field(50, description="data sets of a seed")
    tests: Count = Field(20_000, description="fresh inputs that stand for the distribution")


class SharpSettings(Section):
    """Separable data whose solution is scaled."""

    examples: Annotated[int, Field(ge=2)] = Field(60, description="training examples")
    inputs: Annotated[int, Field(ge=3)] = Field(120, description="their dimension")

    @model_validator(mode="after")
    def _separable(self) -> SharpSettings:
        if self.inputs <= self.examples:
            raise self.refusal(
                "inputs", "examples", advice="choose more inputs than examples, to fit all labels"
            )
        return self


class InformationSettings(Section):
    """Networks on bit patterns of which mutual information is estimated."""

    examples: Annotated[int, Field(ge=8, le=4096)] = Field(256, description="patterns of 12 bits")
    draws: Count = Field(4, description="sets of patterns and starts of a seed, averaged over")
    steps: Annotated[int, Field(ge=10)] = Field(2000, description="steps of gradient descent")
    step_size: Positive = Field(0.5, description="step size")
    gradient_noise: Positive = Field(
        0.02, description="standard deviation of the noise on each entry of the gradient"
    )


class PacBayesSettings(StudySettings):
    """Settings of the PAC-Bayes study."""

    data: DataAsGiven = DataAsGiven()
    model: ModelSettings = ModelSettings(widths=(100,))
    delta: Fraction = Field(0.05, description="δ: how often a bound may be wrong")
    losses: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_bounded)] = LOSSES
    prior_share: Fraction = Field(
        0.5,
        description="share of the examples on which a prior is trained, which its bound leaves out",
    )
    step_size: Positive = Field(0.05, description="step size of the networks")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="heavy-ball momentum")
    batch_size: Count = Field(100, description="examples in an update of the networks")
    epochs: Count = Field(20, description="epochs of networks on true labels")
    random_epochs: Count = Field(
        40, description="most epochs on random labels, until all are fitted"
    )
    stated_scales: Annotated[Increasing, Field(min_length=2)] = Field(
        (0.05, 0.1, 0.2, 0.5), description="standard deviations of the exercise's prior"
    )
    spreads: Increasing = Field(
        (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2),
        description="standard deviations of equal noise on all weights of a trained network",
    )
    curvature_examples: Count = Field(
        1000, description="training examples of the Hessian's largest eigenvalue"
    )
    posterior: PosteriorSettings = PosteriorSettings()
    coverage: CoverageSettings = CoverageSettings()
    script: ScriptSettings = ScriptSettings()
    sharp: SharpSettings = SharpSettings()
    information: InformationSettings = InformationSettings()

    @model_validator(mode="after")
    def _usable(self) -> PacBayesSettings:
        if self.data.n_valid:
            raise self.refusal(
                "data.n_valid", advice="choose 0; a bound needs no examples that are held out"
            )
        if self.data.standardise != "none":
            raise self.refusal(
                "data.standardise", advice="choose none; a prior may not know the examples that its bound "
                    "counts, and so neither their mean nor their deviation"
            )  # fmt: skip
        if self.model.name != "dense" or self.model.parameterisation != "standard":
            raise self.refusal(
                "model.name", "model.parameterisation",
                advice="choose dense and standard, whose layers with Gaussian weights have Gaussian sums",
            )  # fmt: skip
        if "error" not in self.losses:
            raise self.refusal("losses", advice="add error, which the claims are about")
        return self
