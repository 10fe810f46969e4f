"""Rules on stopping by validation, on long training and on the three scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence
from implicit_bias.studies.comparisons import (
    above,
    below,
    larger,
    less_than,
    mean_ends,
    more_than,
    share_above,
    share_below,
)
from implicit_bias.studies.early_stopping.overfitting import CONDITIONS
from implicit_bias.studies.early_stopping.scripts import LINEAR_DESIGNS, NORM_BATCHES, TRAINED
from implicit_bias.studies.rows import by_seed, require

if TYPE_CHECKING:
    import xarray as xr

OFTEN = 0.05
"""Fraction of validation sets that must miss the best time for there to be no guarantee."""

SMALL = 0.05
"""Relative excess of test loss up to which a choice costs little."""

RISE = 0.05
"""Relative rise of a loss that matters."""

FALL = 0.05
"""Relative fall of a loss that matters."""

AS_PRINTED = 2.0
"""Factor within which a number is as printed."""

AROUND = 4
"""Epochs on either side of one that its loss is a mean over, as one epoch's is noisy."""


STATED_LAYERS, ALL_LAYERS = TRAINED

AS_STATED, FEW = LINEAR_DESIGNS


def no_guarantee(result: xr.Dataset) -> Evidence:
    """Ask how often validation misses the best time of a test set, and what that costs."""
    require(result, "validation")
    sizes = [int(size) for size in result["validation_size"].values]
    missed = by_seed(result, "validation", "stop_missed")
    truly = by_seed(result, "validation", "stop_missed_truly")
    regret = by_seed(result, "validation", "stop_regret")
    optimism = by_seed(result, "validation", "stop_optimism")
    return Evidence(
        {
            f"misses a test set's best time, {sizes[0]} validation examples": share_above(
                missed[:, 0], OFTEN
            ),
            f"misses a test set's best time, {sizes[-1]} validation examples": share_above(
                missed[:, -1], OFTEN
            ),
            f"misses the best expected loss, {sizes[-1]} validation examples": share_above(
                truly[:, -1], OFTEN
            ),
            f"costs test loss, {sizes[0]} validation examples": above(regret[:, 0], 0.0),
            f"costs little, {sizes[1]} validation examples": below(regret[:, 1], SMALL),
            f"validation loss is too low, {sizes[0]} validation examples": above(optimism[:, 0], 0.0),
        },
        details={
            "excess test loss by validation examples": dict(
                zip(map(str, sizes), (mean_ends(column) for column in regret.T), strict=True)
            ),
            "excess test loss of never stopping": mean_ends(by_seed(result, "validation", "stop_never")),
        },
    )  # fmt: skip


def infinite_validation(result: xr.Dataset) -> Evidence:
    """Ask whether exact validation losses find the best time of a test set."""
    return Evidence(
        {
            "misses a test set's best time": share_below(
                by_seed(result, "validation", "stop_infinite"), OFTEN
            )
        },
        reason="a test set is finite as well: where its own loss is least is not where the "
        "expected loss is",
    )


def rises_again(result: xr.Dataset) -> Evidence:
    """Ask where a network's test loss rises from epoch 20, and from epoch 50, to the last."""
    made = {
        f"rises from epoch 20 to the last ({name})": larger(
            test_around(result, name, None), test_around(result, name, 20), RISE
        )
        for name in CONDITIONS
    }
    noisy = next(iter(CONDITIONS))
    made[f"rises from epoch 50 to the last ({noisy})"] = larger(
        test_around(result, noisy, None), test_around(result, noisy, 50), RISE
    )
    made[f"falls until epoch 20 ({noisy})"] = larger(
        test_around(result, noisy, 0), test_around(result, noisy, 20), FALL
    )
    return Evidence(
        made,
        reason="when test loss turns, and whether it does, depends on noise and on examples; the 20th "
        "epoch is one of a step size",
        details={
            "epoch of least test loss": {name: mean_ends(least_epoch(result, name)) for name in CONDITIONS}
        },
    )  # fmt: skip


def test_around(result: xr.Dataset, condition: str, epoch: int | None) -> np.ndarray:
    """Return by seed the mean test loss around an epoch; of the start alone, and of the last epochs.

    Args:
        result: The study's result.
        condition: Of the long training.
        epoch: The epoch, or none for the last.
    """
    curve = by_seed(result, "long-training", "long_test", long_condition=condition)
    epochs = result["long_epoch"].values
    if epoch is None:
        near = epochs >= epochs[-1] - 2 * AROUND
    else:
        near = np.abs(epochs - epoch) <= (AROUND if epoch else 0)
    found: np.ndarray = curve[:, near].mean(axis=1)
    return found


def least_epoch(result: xr.Dataset, condition: str) -> np.ndarray:
    """Return by seed the epoch of the least test loss."""
    curve = by_seed(result, "long-training", "long_test", long_condition=condition)
    found: np.ndarray = result["long_epoch"].values[curve.argmin(axis=1)].astype(float)
    return found


def patience_script(result: xr.Dataset) -> Evidence:
    """Hold the first script's losses against those printed."""
    stated = {"patience_trained": STATED_LAYERS}
    train = by_seed(result, "patience", "patience_losses", patience_part="train", **stated)
    stopped = by_seed(result, "patience", "patience_stopped", **stated)
    final = by_seed(result, "patience", "patience_final", **stated)
    return Evidence(
        {
            "training loss at epoch 40 as printed": less_than(train[:, 40], 0.008234, AS_PRINTED),
            "test loss at the best epoch as printed": less_than(stopped, 0.008934, AS_PRINTED),
            "stopping lowers test loss": larger(final, stopped, FALL),
        },
        headline="test loss at the best epoch as printed",
        reason="features of size 0.01 let the output layer learn nothing in 200 epochs; printed are epochs "
        "80 and 120 of a run that ended at 78, a test loss below the noise's variance of 0.01, and an "
        "improvement of 78.94 % where the formula gives "
        f"{100 * (0.008934 - 0.041234) / 0.008934:.1f} %",
        details={
            "best epoch": mean_ends(by_seed(result, "patience", "patience_best", **stated)),
            "improvement by the script's formula, %": mean_ends(
                by_seed(result, "patience", "patience_improvement", **stated)
            ),
        },
    )


def patience_trained(result: xr.Dataset) -> Evidence:
    """Ask what stopping gains on the script's data when all layers are trained until they fit."""
    whole = {"patience_trained": ALL_LAYERS}
    stopped = by_seed(result, "patience", "patience_stopped", **whole)
    final = by_seed(result, "patience", "patience_final", **whole)
    return Evidence(
        {"test loss at the end over that at the best epoch": larger(final, stopped, FALL)},
        details={
            "best epoch": mean_ends(by_seed(result, "patience", "patience_best", **whole)),
            "test loss, stopped and at the end": [mean_ends(stopped), mean_ends(final)],
        },
    )


def norm_script(result: xr.Dataset) -> Evidence:
    """Hold the second script's growth against what is printed."""
    small, large = NORM_BATCHES
    slow, fast = (_growth(result, "as stated", size) for size in (large, small))
    start, loss = (
        by_seed(result, "norms", f"norm_{name}", norm_way="as stated", norm_batch=small)
        for name in ("start", "loss")
    )
    return Evidence(
        {
            f"growth of B = {small} as printed": more_than(fast, 234.5, 1 / AS_PRINTED),
            f"growth of B = {large} as printed": more_than(slow, 187.6, 1 / AS_PRINTED),
            "loss at the end as printed": less_than(loss, 0.001234, AS_PRINTED),
            f"more growth at B = {small}": larger(fast, slow, FALL),
        },
        reason="printed norms and growths need a start of 0.001, and 0.01 √50 = 0.071 is drawn; of 100 "
        "examples, a batch of 128 holds 100",
        details={"start": mean_ends(start), "growth": [mean_ends(fast), mean_ends(slow)]},
    )


def norm_trained(result: xr.Dataset) -> Evidence:
    """Ask when small batches' norms grow faster, with all layers trained from one start."""
    small, large = NORM_BATCHES
    ways = {
        "equal epochs": "all layers, equal epochs",
        "equal updates": "all layers, equal updates",
    }
    return Evidence(
        {
            f"more growth at B = {small} at {name}": larger(
                _growth(result, way, small), _growth(result, way, large), FALL
            )
            for name, way in ways.items()
        },
        reason="at equal epochs small batches make four times the updates",
    )  # fmt: skip


def _growth(result: xr.Dataset, way: str, size: int) -> np.ndarray:
    return by_seed(result, "norms", "norm_growth", norm_way=way, norm_batch=size)


def linear_script(result: xr.Dataset) -> Evidence:
    """Hold the third script's losses against those printed, and ask where its gap opens."""

    def of(name: str, **at: int) -> np.ndarray:
        return by_seed(result, "linear", f"linear_{name}", linear_design=AS_STATED, **at)

    end = {"linear_epoch": 499}
    return Evidence(
        {
            "training loss at the end as printed": less_than(of("train", **end), 1.2e-5, AS_PRINTED),
            "test loss U-shaped within 500 epochs": larger(of("test", **end), of("own_least"), RISE),
            "least gap marks the best epoch": less_than(of("test_at_gap"), of("own_least"), 1 + RISE),
        },
        reason="no linear model of 50 features fits 1000 noisy examples below "
        f"{np.mean(of('floor')):.4f}; 500 epochs of step 0.01 go a fifth of the way; the gap is least "
        "where nothing is learnt",
        details={
            "epoch of the least gap": mean_ends(of("gap_epoch")),
            "test loss at the end, printed 0.0255": mean_ends(of("test", **end)),
            "closed form against 500 epochs, relative": float(np.max(np.abs(of("iterated")))),
        },
    )  # fmt: skip


def linear_converged(result: xr.Dataset) -> Evidence:
    """Ask where the linear model's test loss rises again, followed until it converges."""
    made = {}
    for design in (AS_STATED, FEW):
        last, least = (
            by_seed(result, "linear", f"linear_{name}", linear_design=design, **at)
            for name, at in (("test", {"linear_epoch": 1_000_000}), ("test_least", {}))
        )
        made[f"test loss U-shaped, {LINEAR_DESIGNS[design]} examples"] = larger(last, least, RISE)
    return Evidence(
        made,
        reason="least squares on m examples of n features have test loss σ²(1 + n/(m − n − 1)): "
        f"{0.01 * (1 + 50 / 949):.4f} for 1000 and {0.01 * (1 + 50 / 9):.4f} for 60",
        details={
            "training loss at convergence": {
                design: mean_ends(by_seed(result, "linear", "linear_floor", linear_design=design))
                for design in (AS_STATED, FEW)
            }
        },
    )
