"""Rules on SGD, momentum and Adam on a dense network, with the smallest effects that matter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, NotDecidable
from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import about_zero, above, larger, mean_ends, near
from implicit_bias.studies.rows import constant, gap, require, values_of
from implicit_bias.studies.step_size.arms import ADAM, FIRST, MOMENTUM, SGD
from implicit_bias.studies.step_size.rows import (
    accuracy,
    by_seed,
    chosen,
    common_factors,
    ended,
    epochs,
    first_epoch,
    logged,
)

if TYPE_CHECKING:
    import xarray as xr

NAMES = (SGD, MOMENTUM, ADAM)

MOMENTUM_GAIN, ADAM_COST = 0.1, 0.15
"""Halves of what momentum is said to gain over SGD, and Adam to lose, in percentage points."""

ACCURACY = {SGD: 97.8, MOMENTUM: 98.0, ADAM: 97.5}
EPOCHS = {SGD: 35.0, MOMENTUM: 32.0, ADAM: 25.0}
NORM = {SGD: 35.0, MOMENTUM: 32.0, ADAM: 50.0}
"""Published, of each: test accuracy (%), epochs until 95 %, and ‖W‖ at the end."""

POINTS, SHARE = 0.3, 0.25
"""What a published accuracy may be off, in points, and an epoch or a norm, as a share."""

LEVEL = 95.0
"""Test accuracy (%) that counts as fast."""

NORM_RATIO = 0.2
"""How far the ratio of Adam's ‖W‖ and SGD's must exceed one: half of the published 0.43."""

SAME, FASTER = math.log(1.25), 1.0
"""Log ratio of training losses that counts as the same speed, and a ratio's excess that counts as faster."""


def speed(result: xr.Dataset, variant: str, factor: float = 1.0) -> np.ndarray:
    """Return the first epoch with 95 % test accuracy, (seeds,); one more than the last if there is none."""
    at = epochs(result, "optimisers", variant, factor=factor)
    curves = 100 * (1 - logged(result, "optimisers", variant, "test_error", factor=factor))
    return np.minimum(first_epoch(curves, at, LEVEL - 1e-6), at[-1] + 1)


def as_published(result: xr.Dataset) -> Evidence:
    """Hold accuracies, speeds and norms at the stated step sizes against those published for MNIST."""
    require(result, "optimisers")
    name = str(constant(result, "optimisers", "data_name"))
    if not name.startswith("mnist"):
        raise NotDecidable(
            f"needs MNIST, and these data are {name}; configs/step_size/mnist.yaml decides it"
        )
    tests = {
        one: by_seed(result, "optimisers", one, "test_wrong", factor=1.0).astype(float)
        for one in NAMES
    }
    made = _order(tests)
    test = {one: accuracy(result, "optimisers", one, factor=1.0) for one in NAMES}
    fast = {one: speed(result, one) for one in NAMES}
    norm = {one: ended(result, "optimisers", one, "weight_norm", factor=1.0) for one in NAMES}
    made["‖W‖ of Adam over SGD"] = larger(norm[ADAM], norm[SGD], NORM_RATIO)
    made["epochs to 95 %, SGD less momentum"] = above(fast[SGD] - fast[MOMENTUM])
    made["epochs to 95 %, momentum less Adam"] = above(fast[MOMENTUM] - fast[ADAM])
    for one in NAMES:
        middle = ACCURACY[one]
        made[f"test accuracy of {one} as published"] = near(
            test[one], middle - POINTS, middle + POINTS
        )
        for what, values, said in (("epochs to 95 %", fast, EPOCHS), ("‖W‖", norm, NORM)):
            made[f"{what} of {one} as published"] = near(
                values[one], (1 - SHARE) * said[one], (1 + SHARE) * said[one]
            )
    details: dict[str, Any] = {}
    for one in NAMES:
        details[f"{one}: test accuracy, %"] = mean_ends(test[one])
        details[f"{one}: test loss, nats"] = mean_ends(
            ended(result, "optimisers", one, "test_loss", factor=1.0)
        )
        details[f"{one}: epochs to 95 %"] = mean_ends(fast[one])
        details[f"{one}: ‖W‖"] = mean_ends(norm[one])
        details[f"{one}: λmax"] = mean_ends(
            by_seed(result, "optimisers", one, "lambda_max", factor=1.0)
        )
    return Evidence(
        made,
        headline="epochs to 95 % of SGD as published",
        reason=f"{int(constant(result, 'optimisers', 'examples'))} training images, "
        f"{int(constant(result, 'optimisers', 'epoch_updates'))} updates an epoch",
        details=details,
    )


def order_when_tuned(result: xr.Dataset) -> Evidence:
    """Ask for the published order of accuracies with each optimiser's step size chosen by validation."""
    require(result, "optimisers")
    shared = common_factors(result, "optimisers", NAMES)
    picked = {
        one: chosen(result, "optimisers", one, ("test_wrong", "test_error"), shared)
        for one in NAMES
    }
    details: dict[str, Any] = {}
    for one in NAMES:
        own = picked[one]["factor"]
        details[f"{one}: chosen factors"] = sorted(
            {float(factor) for factor in own[np.isfinite(own)]}
        )
        details[f"{one}: test accuracy, %"] = mean_ends(100 * (1 - picked[one]["test_error"]))
    ends = {
        one for one in NAMES
        if np.isin(picked[one]["factor"], (shared[0], shared[-1])).mean() > 0.5
    }  # fmt: skip
    said = f"on {constant(result, 'optimisers', 'data_name')}"
    if ends:
        said += (
            f"; the best step size of {', '.join(sorted(ends))} mostly lies at an end of the grid"
        )
    return Evidence(
        _order({one: picked[one]["test_wrong"] for one in NAMES}), reason=said, details=details
    )


def momentum_is_a_longer_step(result: xr.Dataset) -> Evidence:
    """Compare momentum β at η with SGD at η/(1 − β), and with SGD at η, in their first epochs."""
    require(result, "optimisers")
    rows = (result["arm"].values == "optimisers") & (result["variant"].values == MOMENTUM)
    factor = round(1 / (1 - float(result["momentum"].values[rows][0])), 9)
    if not np.isclose(values_of(result, "optimisers", "factor"), factor).any():
        raise NotDecidable(f"needs SGD at {factor:g} times the stated step size, which was not run")
    at = epochs(result, "optimisers", SGD, factor=1.0)
    places = [list(at).index(epoch) for epoch in FIRST if epoch in at]
    if not places:
        raise NotDecidable(f"needs an evaluation after one of epochs {FIRST}")

    def loss(variant: str, factor: float) -> np.ndarray:
        curve = logged(result, "optimisers", variant, "train_loss", factor=factor)
        found: np.ndarray = np.log(curve[:, places]).mean(axis=1)
        return found

    momentum, plain, longer = loss(MOMENTUM, 1.0), loss(SGD, 1.0), loss(SGD, factor)
    return Evidence(
        {
            "log training loss, SGD at η/(1 − β) less momentum": about_zero(longer - momentum, SAME),
            "training loss, SGD at η over momentum": larger(
                np.exp(plain), np.exp(momentum), FASTER
            ),
        },
        reason=f"mean over epochs {', '.join(str(int(at[place])) for place in places)}",
        details={
            "epochs to 95 %": {
                "SGD at η": mean_ends(speed(result, SGD)),
                "SGD at η/(1 − β)": mean_ends(speed(result, SGD, factor)),
                "momentum at η": mean_ends(speed(result, MOMENTUM)),
            }
        },
    )  # fmt: skip


def _order(wrong: dict[str, np.ndarray]) -> dict[str, Comparison]:
    """Return the published order of accuracies as comparisons of mistakes, each (seeds, examples)."""
    return {
        "test accuracy, momentum less SGD": gap(wrong[SGD], wrong[MOMENTUM], MOMENTUM_GAIN),
        "test accuracy, SGD less Adam": gap(wrong[ADAM], wrong[SGD], ADAM_COST),
    }
