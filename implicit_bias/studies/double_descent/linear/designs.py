"""Designs of the sources, and designs that show what they claim: who makes labels of which features."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from implicit_bias import theory

LEVELS = (0.25, 0.5, 0.75)
"""Quantiles at which draws are held against the law."""

Signal = Literal["none", "dense", "first", "even", "decaying"]
Strength = Literal["equal", "falling", "spiked"]

TAIL = 1e-4
"""Variance of the features beyond the signal's in the spiked design, against 1."""

FIRST = 10
"""Features that carry the signal in the chapter's sparse designs."""


@dataclass(frozen=True)
class Target:
    """What labels depend on.

    Attributes:
        name: In results, tables and figures.
        signal: ``none``: labels are noise. ``dense``: every feature that is used, in a random direction;
            nothing is left out at any size. ``first``: the first ten, alike. ``even``: ``total`` features,
            alike, of which a model may have only some. ``decaying``: ``total`` features, the j-th by 1/j.
        sigma: Standard deviation of the noise.
        total: Features the labels depend on, of ``even`` and ``decaying``.
        power: Variance of the labels without noise.
    """

    name: str
    signal: Signal
    sigma: float
    total: int = 0
    power: float = 1.0

    def coefficients(
        self, used: int, strengths: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return θ over all features the labels depend on, or over those used if these are more.

        Args:
            used: Features of the model.
            strengths: Standard deviations of all features.
            rng: For directions that are drawn.
        """
        count = {"none": used, "dense": used, "first": FIRST}.get(self.signal, self.total)
        if self.signal == "none":
            shape = np.zeros(count)
        elif self.signal == "dense":
            shape = rng.standard_normal(count)
        elif self.signal == "decaying":
            shape = 1.0 / np.arange(1, count + 1)
        else:
            shape = np.ones(count)
        theta = np.zeros(max(used, count))
        size = np.sqrt(np.sum((strengths[:count] * shape) ** 2))
        theta[:count] = shape * np.sqrt(self.power) / (size or 1.0)
        return theta


@dataclass(frozen=True)
class Design:
    """Training sets of one number of examples, and models of many sizes.

    Attributes:
        label: Begins the names of its variables.
        examples: m.
        sizes: Features of the models, increasing: always the first ones.
        targets: What labels depend on.
        strength: ``equal``: all features are standard normal. ``falling``: the j-th has standard deviation
            1/j. ``spiked``: ten have variance 1 and the others almost none.
        share: Of a seed's draws that is made: more where they cost little, fewer where errors hardly vary.
    """

    label: str
    examples: int
    sizes: tuple[int, ...]
    targets: tuple[Target, ...]
    strength: Strength = "equal"
    share: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the targets."""
        return tuple(target.name for target in self.targets)

    def target(self, name: str) -> Target:
        """Return a target by name."""
        return self.targets[self.names.index(name)]

    def strengths(self, count: int) -> np.ndarray:
        """Return standard deviations of the first features, shape (count,)."""
        places = np.arange(1, count + 1)
        if self.strength == "falling":
            return 1.0 / places
        if self.strength == "spiked":
            return np.where(places <= FIRST, 1.0, np.sqrt(TAIL))
        return np.ones(count)

    def split(self, target: Target, used: int) -> tuple[float, float]:
        """Return the variance of the labels from features that are used, and from others."""
        theta = target.coefficients(
            used, self.strengths(max(used, target.total, FIRST)), np.random.default_rng(0)
        )
        parts = (self.strengths(theta.size) * theta) ** 2
        return float(parts[:used].sum()), float(parts[used:].sum())

    def defined(self, target: Target, used: int) -> bool:
        """Say whether a model has no feature that the target's model knows nothing of."""
        return target.signal != "even" or used <= target.total


class Law(NamedTuple):
    """What is known of test error, noise included, each (targets, sizes) or with quantiles in front.

    Attributes:
        mean: Over training sets; infinite where it does not exist. Exact for isotropic features and for
            fewer features than examples, else the deterministic equivalent.
        quantiles: At ``LEVELS``; NaN where the distribution is not known.
        exact: Whether ``mean`` holds for these sizes and not only in a limit.
    """

    mean: np.ndarray
    quantiles: np.ndarray
    exact: np.ndarray


@functools.lru_cache(maxsize=32)
def law(design: Design) -> Law:
    """Return the law of a design's test errors."""
    shape = len(design.targets), len(design.sizes)
    mean, exact = np.full(shape, np.nan), np.zeros(shape, bool)
    quantiles = np.full((len(LEVELS), *shape), np.nan)
    for row, target in enumerate(design.targets):
        for column, used in enumerate(design.sizes):
            if not design.defined(target, used):
                continue
            inside, outside = design.split(target, used)
            # Fewer features than examples: what is found does not depend on the features' covariance.
            exact[row, column] = design.strength == "equal" or used <= design.examples + 1
            if exact[row, column]:
                known = theory.misspecified_risk(
                    design.examples, used, target.sigma, inside, outside
                )
            else:
                strengths = design.strengths(used)
                theta = target.coefficients(
                    used, design.strengths(max(used, target.total, FIRST)), np.random.default_rng(0)
                )
                known = theory.anisotropic_risk(
                    design.examples, strengths**2, target.sigma, theta[:used], outside=outside
                )
            mean[row, column] = known.total
    usable = exact & (
        (design.strength == "equal") | (np.asarray(design.sizes) <= design.examples)[None, :]
    )
    rows, columns = np.nonzero(usable)
    splits = np.array(
        [
            design.split(design.targets[i], design.sizes[j])
            for i, j in zip(rows, columns, strict=True)
        ]
    ).reshape(-1, 2)
    noise = np.array([design.targets[i].sigma for i in rows]) ** 2 + splits[:, 1]
    sizes = np.asarray(design.sizes)[columns]
    quantiles[:, rows, columns] = noise + theory.risk_quantile(
        np.asarray(LEVELS)[:, None], design.examples, sizes, np.sqrt(noise), splits[:, 0]
    )
    return Law(mean, quantiles, exact)


BHX, DECAYING, FALLING = "Belkin–Hsu–Xu", "signal 1/j", "features 1/j"
"""Names of the designs that do show double descent."""

DENSE, LOUD, SPARSE = "dense σ = 0.01", "dense σ = 0.1", "sparse σ = 0.01"
FIFTY = Design(
    "linear_50", 50,
    (1, 2, 5, 10, 15, 20, 25, 30, 35, 40, 45, 48, 50, 52, 55, 60, 70, 80, 100, 150, 200, 300, 500),
    (
        Target(DENSE, "dense", 0.01),
        Target(LOUD, "dense", 0.1),
        Target(SPARSE, "first", 0.01),
        Target(BHX, "even", 0.2, 200),
        Target(DECAYING, "decaying", 0.1, 500),
    ),
    share=2.0,
)  # fmt: skip
"""Example 5 of the chapter with its what-ifs, and two designs beside it."""

RANDOM, SIGNAL, NOISELESS, ONES = (
    "random labels",
    "dense σ = 0.5",
    "dense σ = 0",
    "ten ones σ = 0.1",
)
HUNDRED = Design(
    "linear_100", 100,
    (10, 20, 30, 50, 80, 90, 95, 100, 105, 110, 120, 150, 200, 300, 500, 1000),
    (
        Target(RANDOM, "none", 1.0),
        Target(SIGNAL, "dense", 0.5),
        Target(NOISELESS, "dense", 0.0),
        Target(ONES, "first", 0.1, power=10.0),
        Target(BHX, "even", 0.2, 400),
        Target(DECAYING, "decaying", 0.1, 1000),
    ),
)  # fmt: skip
"""The definition's example, theorem 1.6, B.14, A.3 and A.7 as stated, and two designs beside them."""

HUGE = Design(
    "linear_10000",
    100,
    (10_000,),
    (Target(RANDOM, "none", 1.0), Target(SIGNAL, "dense", 0.5)),
    share=0.1,
)
"""The definition's largest model."""

TWO_HUNDRED = Design(
    "linear_200", 200, (100, 150, 180, 200, 220, 250, 400), (Target(LOUD, "dense", 0.1),), share=0.5
)
"""Example 5 with four times the examples."""

STRONG_FIRST = Design(
    "linear_falling", 50, (1, 2, 5, 10, 20, 30, 40, 45, 50, 55, 60, 70, 100, 200, 500),
    (Target(FALLING, "even", 0.1, 500),), strength="falling",
)  # fmt: skip
"""Features of falling strength, alike in what labels make of them: the larger model is the better."""

SPIKED = Design(
    "linear_spiked",
    100,
    (1000,),
    (Target(ONES, "first", 0.1, power=10.0),),
    strength="spiked",
    share=0.25,
)
"""A.3's numbers with weak features beyond the signal's: overfitting that is benign."""

DESIGNS = (FIFTY, HUNDRED, HUGE, TWO_HUNDRED, STRONG_FIRST, SPIKED)
