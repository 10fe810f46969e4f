"""Rules of the claims about networks on a sine, with the smallest effects that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.results.statistics import Comparison, geometric_mean_ratio
from implicit_bias.studies.comparisons import above, below, larger, mean_ends
from implicit_bias.studies.early_stopping.networks.sine import FRACTIONS
from implicit_bias.studies.early_stopping.networks.validated import PARTS
from implicit_bias.studies.rows import by_seed

if TYPE_CHECKING:
    import xarray as xr

SLACK = 0.25
"""How far outside of a published range a loss may lie, as a share of its end."""

TRAIN, TEST = (0.005, 0.008), (0.010, 0.015)
"""Published losses of C.4."""

NORMS = {"inner": 2.5, "outer": 0.4}
"""Published ‖W₁‖ and ‖W₂‖ of C.4."""

NORM_OFF = 0.2
"""How far a norm may be off, as a share."""

PENALTY_NORM, PENALTY_TEST = 0.1, 0.001
"""Half of what the penalty is said to do: to ‖W₁‖ (2.5 against 2.0, a ratio), and to test loss (.002)."""

CAPACITY = 1e-6
"""Training loss from which a network counts as unable to fit the points."""

GRADIENT = 1e-6
"""Relative error of a gradient, of which central differences make up less."""

RISE, LAST_GAP = 0.0085, 0.0075
"""Halves of the published rise of test loss, .017, and of the published gap at the end, .015, of C.8."""

BEST, END, BEST_EPOCHS = 0.018, 0.035, (50, 70)
"""Published test losses of C.8 at the optimum and at the end, and epochs of the optimum."""

SYMBOLS = {"train": "training loss", "test": "test loss", "inner": "‖W₁‖", "outer": "‖W₂‖"}

RATIO = 0.1
"""Rise of the control's test loss after its optimum that matters, as a share."""

MOST = 0.5
"""Share of seeds that may diverge before a design says nothing."""


def small_start(result: xr.Dataset) -> Evidence:
    """Hold the network of C.4 after the stated iterations against its published losses and norms."""
    bounds = {
        "train": _widened(*TRAIN), "test": _widened(*TEST),
        **{name: ((1 - NORM_OFF) * norm, (1 + NORM_OFF) * norm) for name, norm in NORMS.items()},
    }  # fmt: skip
    found = {name: _last(result, name, "stated") for name in bounds}
    away = farthest([distance(found[name], *ends) for name, ends in bounds.items()])
    saved = found["test"] - _last(result, "test", "penalised")
    lower = geometric_mean_ratio(found["inner"], _last(result, "inner", "penalised"))
    return Evidence(
        {
            "largest distance from what is published, in units of what is allowed": below(
                away, 1.0
            ),
            "the penalty lowers ‖W₁‖": larger(
                found["inner"], _last(result, "inner", "penalised"), PENALTY_NORM
            ),
            "the penalty lowers test loss": above(saved, PENALTY_TEST),
        },
        reason="losses are halves of mean squares, so that the noise alone is .005",
        details={
            **{f"{SYMBOLS[name]}, as stated": mean_ends(values) for name, values in found.items()},
            "‖W₁‖ without the penalty over that with it": lower.value,
            "test loss that the penalty saves": mean_ends(saved),
            **{
                f"{SYMBOLS[name]}, longer run": mean_ends(_last(result, name, "longer"))
                for name in bounds
            },
        },
    )


def time_suffices(result: xr.Dataset) -> Evidence:
    """Ask whether the same network, trained longer, comes down to the published training loss."""
    train = _last(result, "train", "longer")
    times = {run: float(_last(result, "time", run)[0]) for run in ("stated", "longer")}
    half = by_seed(result, "sine", "sine_train", sine_run="longer", sine_log=0.5)
    return Evidence(
        {
            f"training loss after {times['longer'] / times['stated']:g} times the stated time": below(
                train, _widened(*TRAIN)[1]
            )
        },
        details={
            "at half of that": mean_ends(half),
            "test loss": mean_ends(_last(result, "test", "longer")),
            **{SYMBOLS[name]: mean_ends(_last(result, name, "longer")) for name in NORMS},
        },
    )


def cannot_fit(result: xr.Dataset) -> Evidence:
    """Ask whether a network of this size must leave training loss, by one that goes through all points."""
    fitted = by_seed(result, "sine", "sine_fitted")
    return Evidence(
        {"training loss of a constructed network": above(fitted, CAPACITY)},
        reason="the constructed network interpolates linearly: one unit bends at each point",
        details={"gradient descent, longer run": mean_ends(_last(result, "train", "longer"))},
    )


def printed_gradients(result: xr.Dataset) -> Finding:
    """Check the printed gradients against central differences of the loss, at the start."""
    error = by_seed(result, "sine", "sine_printed")
    last = _last(result, "train", "printed")
    return identity(
        error,
        GRADIENT,
        n_seeds=int(np.isfinite(error).sum()),
        reason="2 is the error of a gradient of the other sign; that of b₁ is summed over examples, without "
        "which its shape does not fit",
        **{
            "seeds whose loss is no number after the stated iterations": int(
                (~np.isfinite(last)).sum()
            )
        },
    )


def turns_up(result: xr.Dataset) -> Evidence:
    """Hold the validation curve of C.8 against what is published, in each design that converges."""
    loss = by_seed(result, "validated", "curve_loss")
    batch_sizes, steps = result["curve_batch"].values, result["curve_step"].values
    made: dict[str, Comparison] = {}
    details: dict[str, Any] = {}
    for row, batch in enumerate(batch_sizes):
        for column, step in enumerate(steps):
            title = f"batch {batch:g}, step size {step:g}"
            curves = loss[:, row, column]
            lost = ~np.isfinite(curves).all(axis=(1, 2))
            details[f"{title}: share of seeds that diverge"] = float(lost.mean())
            if lost.mean() > MOST or (~lost).sum() < 2:
                continue
            chosen = stopped(curves)
            best, last = at_epoch(curves, chosen)[:, PARTS.index("test")], curves[:, -1]
            end = last[:, PARTS.index("test")]
            rise, gap = end - best, end - last[:, PARTS.index("train")]
            away = [
                distance(chosen, *BEST_EPOCHS),
                *(
                    distance(at, *_widened(value, value))
                    for at, value in ((best, BEST), (end, END))
                ),
            ]
            made[f"{title}: rise of test loss after the optimum"] = above(rise, RISE)
            made[f"{title}: test − training loss at the end"] = above(gap, LAST_GAP)
            made[
                f"{title}: largest distance from what is published, in units of what is allowed"
            ] = below(farthest(away), 1.0)
            details[f"{title}: rise"] = mean_ends(rise)
            details[f"{title}: test − training loss at the end"] = mean_ends(gap)
            details[f"{title}: epoch of the optimum"] = mean_ends(chosen)
            details[f"{title}: test loss at the optimum"] = mean_ends(best)
    if not made:
        raise NotDecidable(
            "training diverges in more than half of the seeds in every design; lower "
            "networks.validated.step_sizes"
        )
    ceiling = float(by_seed(result, "validated", "curve_ceiling")[0])
    details["what least squares of as many parameters adds to the noise, σ²p/m"] = ceiling
    return Evidence(
        made,
        reason="; ".join(
            f"{title}: diverges in {100 * share:.0f} % of seeds"
            for title, share in details.items()
            if title.endswith("diverge") and isinstance(share, float) and share > 0
        ).replace(": share of seeds that diverge", ""),
        details=details,
    )


def few_turn_up(result: xr.Dataset) -> Evidence:
    """Ask whether test loss rises after the validation optimum where points are few and noisy."""
    rise = by_seed(result, "validated", "few_rise")
    few = by_seed(result, "validated", "few_loss")
    return Evidence(
        {
            "few and noisy points: test loss at the end over that at the optimum": larger(
                rise, np.ones_like(rise), RATIO
            )
        },
        details={
            "updates of the optimum": mean_ends(by_seed(result, "validated", "few_best")),
            "test loss at the end": mean_ends(few[:, -1, PARTS.index("test")]),
            "training loss at the end": mean_ends(few[:, -1, PARTS.index("train")]),
        },
    )


def distance(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return how far values lie from the middle of a range, in units of half of its length."""
    return np.abs(values - (low + high) / 2) / ((high - low) / 2)


def farthest(distances: list[np.ndarray]) -> np.ndarray:
    """Return each seed's largest distance: what is said of several quantities is said of all of them."""
    return np.max(distances, axis=0)


def _widened(low: float, high: float) -> tuple[float, float]:
    return (1 - SLACK) * low, (1 + SLACK) * high


def stopped(curves: np.ndarray) -> np.ndarray:
    """Return where the validation loss is least, by seed, as a float; NaN where training diverged.

    Args:
        curves: Losses, shape (seeds, times, parts).
    """
    valid = curves[:, :, PARTS.index("valid")]
    usable = np.isfinite(curves).all(axis=(1, 2))
    return np.where(usable, np.argmin(np.where(np.isfinite(valid), valid, np.inf), axis=1), np.nan)


def at_epoch(curves: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return losses at each seed's time, (seeds, parts); NaN where there is none."""
    found = np.full((curves.shape[0], curves.shape[2]), np.nan)
    for seed in np.flatnonzero(np.isfinite(chosen)):
        found[seed] = curves[seed, int(chosen[seed])]
    return found


def _last(result: xr.Dataset, name: str, run: str) -> np.ndarray:
    return by_seed(result, "sine", f"sine_{name}", sine_run=run, sine_log=FRACTIONS[-1])
