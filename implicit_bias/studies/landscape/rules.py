"""Rules of the landscape study's claims, by criteria fixed beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.results.statistics import (
    Comparison,
    Estimate,
    geometric_mean_ratio,
    mean_interval,
)
from implicit_bias.studies import paired_cells
from implicit_bias.studies.comparisons import below
from implicit_bias.studies.landscape.derived import end_points, trials

if TYPE_CHECKING:
    import xarray as xr

SMALLEST_RATIO = 0.25
"""A rise, a curvature or a distance is another from a factor of 1.25 on."""
PUBLISHED_RISES = {"small": 0.05, "large": 2.0}
"""Rise of the test loss to the boundary, in nats, as published."""
WITHIN = 2.0
"""Factor within which a published rise counts as found."""
NEARLY_ALL = 0.9
"""Share of points from which on they are nearly all."""
FREE = 0.02
"""Rise of the training loss, in nats, below which a path counts as one that does not rise."""
WILD = 1.0
"""The test loss varies wildly along a path from a factor of 2 on, 1 above no change."""
PUBLISHED_RANGES = ((0.0012, 0.1234), (0.0015, 0.8932))
"""Lowest and highest loss that the script is said to print, small batch and large."""
PRINTED = 0.01
"""What is printed may differ by so much."""

OTHERS = {"large": "equal step", "scaled": "larger step"}
"""Arms of large batches, as conditions name them."""


def _rise(kind: str) -> Callable[[xr.Dataset], xr.DataArray]:
    def get(lanes: xr.Dataset) -> xr.DataArray:
        rise: xr.DataArray = lanes[f"rise_{kind}"].sel(split="test").mean("slice", skipna=False)
        return rise

    return get


def _curvature(lanes: xr.Dataset) -> xr.DataArray:
    larger = lanes["plane_curvature_raw"].sel(split="test", mode="larger")
    mean: xr.DataArray = larger.mean("slice", skipna=False)
    return mean


_MEASURES: dict[str, Callable[[xr.Dataset], xr.DataArray]] = {
    "rise, raw": _rise("raw"),
    "rise, filter-normalised": _rise("filter"),
    "curvature, raw": _curvature,
}


def rises_more(result: xr.Dataset) -> Evidence:
    """Ask whether the loss rises and curves more around ends of large batches than of small ones."""
    small = end_points(result, "small")
    comparisons: dict[str, Comparison] = {}
    share: dict[str, float] = {}
    for arm, condition in OTHERS.items():
        other = end_points(result, arm)
        for name, get in _MEASURES.items():
            comparisons[f"{name}, {condition}"] = paired_cells.ratio(
                other, small, get, SMALLEST_RATIO
            )
        for kind in ("raw", "filter"):
            above = other[f"rise_{kind}"].sel(split="test") - small[f"rise_{kind}"].sel(
                split="test"
            )
            known = above.values[np.isfinite(above.values)]
            share[f"{kind}, {condition}"] = float(np.mean(known > 0)) if known.size else np.nan
    said = []
    for arm in ("small", *OTHERS):
        correct = 1 - end_points(result, arm)["test_error"].values
        correct = correct[np.isfinite(correct)]
        said.append(f"{arm} {100 * correct.mean():.1f} %" if correct.size else f"{arm} diverged")
    quadratic = small["rise_raw"].sel(split="train") / small["predicted_raw"].sel(split="train")
    return Evidence(
        comparisons,
        reason="test accuracy: " + ", ".join(said),
        details={
            "share of slices in which the large batch rises more": share,
            "small, raw, training loss: median of rise over ½ tr H · mean square": float(
                np.nanmedian(quadratic)
            ),
            "parameters": int(np.nanmax(small["parameters"].values)),
        },
    )


def _log_interval(values: Any, level: float) -> Estimate:
    """Estimate a geometric mean; values that are not positive count as none."""
    array = np.asarray(values, float)
    return geometric_mean_ratio(array, np.ones_like(array), level)


def _estimating(
    values: np.ndarray, estimate: Callable[[Any, float], Estimate]
) -> Callable[[float], Estimate]:
    return lambda level: estimate(values, level)


def published_rises(result: xr.Dataset) -> Finding:
    """Hold mean rises to the boundary of raw planes against the published ones.

    Raises:
        NotDecidable: A mean rise is not positive, or there are too few seeds.
    """
    verdicts: list[str] = []
    details: dict[str, dict[str, Any]] = {}
    for arm, published in PUBLISHED_RISES.items():
        lanes = end_points(result, arm)
        rise = _rise("raw")(lanes).where(paired_cells.usable(lanes)).values
        if (rise <= 0).any():
            raise NotDecidable(f"the test loss falls towards the boundary in arm {arm}")
        found = _log_interval(rise, 1 - 0.05 / len(PUBLISHED_RISES))
        if found.n < 2:
            raise NotDecidable("an interval needs at least 2 seeds")
        factor = tuple(end / published for end in (found.low, found.high))
        inside = factor[0] >= 1 / WITHIN and factor[1] <= WITHIN
        outside = factor[0] > WITHIN or factor[1] < 1 / WITHIN
        verdicts.append("supported" if inside else "refuted" if outside else "inconclusive")
        details[arm] = {
            "rise": found.value,
            "interval": (found.low, found.high),
            "published": published,
            "n": found.n,
            "verdict": verdicts[-1],
        }
    verdict = (
        "refuted" if "refuted" in verdicts
        else "supported" if set(verdicts) == {"supported"} else "inconclusive"
    )  # fmt: skip
    head = details["large"]
    text = "; ".join(f"{arm}: {d['rise']:.3g} nats, published {d['published']:g}"
                     for arm, d in details.items())  # fmt: skip
    return Finding(
        verdict=verdict,  # type: ignore[arg-type]
        effect=head["rise"],
        interval=head["interval"],
        n_seeds=min(d["n"] for d in details.values()),
        reason=text,
        details=details,
    )


def rise_is_of_the_function(result: xr.Dataset) -> Evidence:
    """Ask whether rescaling of layers, which changes no output, leaves the rise as it is.

    Raises:
        NotDecidable: The network is no ReLU network.
    """
    lanes = end_points(result, "small")
    if not np.isfinite(lanes["rescaled_rise"].values).any():
        raise NotDecidable("only ReLU networks can be rescaled without a change of their outputs")
    comparisons = {}
    for kind, name in (("raw", "raw"), ("filter", "filter-normalised")):
        own = lanes[f"rise_{kind}"].sel(split="test").isel(slice=0).values
        ratio = lanes["rescaled_rise"].sel(kind=kind).values / own
        change = np.exp(np.abs(np.log(np.where(ratio > 0, ratio, np.nan))))
        comparisons[name] = Comparison(
            _estimating(change, _log_interval), 0.0, -1, origin=1 + SMALLEST_RATIO
        )
    return Evidence(comparisons)


def zero_loss_nearby(result: xr.Dataset) -> Evidence:
    """Ask whether nearly all random points near the initial weights fit all training examples."""
    rows = trials(result, "paths")
    zero = (rows["nearby_error"] == 0).where(rows["nearby_error"].notnull())
    share = zero.mean("point", skipna=False).transpose("radius", "lane").values
    lowest = rows["nearby_loss"].min("point")
    return Evidence(
        {
            f"‖θ − θ₀‖ = {radius:g}‖θ₀‖": Comparison(
                _estimating(own, mean_interval), 0.0, 1, origin=NEARLY_ALL
            )
            for radius, own in zip(result["radius"].values, share, strict=True)
        },
        details={
            "lowest training loss of any point, in nats, by distance": {
                f"{radius:g}": float(lowest.sel(radius=radius).min())
                for radius in result["radius"].values
            }
        },
    )  # fmt: skip


def paths_do_not_rise(result: xr.Dataset) -> Evidence:
    """Ask whether the training loss along curves between end points stays where it is."""
    climb = trials(result, "paths")["curve_climb"].sel(split="train")
    return Evidence({pair: below(values, FREE) for pair, values in _by_pair(climb).items()})


def test_loss_varies(result: xr.Dataset) -> Evidence:
    """Ask whether the test loss varies by a factor along curves between end points."""
    rows = trials(result, "paths")
    loss, error = rows["curve_loss"], rows["curve_error"].sel(split="test")
    spread = (loss.max("fraction") - loss.min("fraction")).mean("lane")
    points = 100 * (error.max("fraction") - error.min("fraction")).mean("lane")
    return Evidence(
        {
            pair: Comparison(_estimating(values, _log_interval), WILD, 1, origin=1.0)
            for pair, values in _by_pair(rows["curve_swing"].sel(split="test")).items()
        },
        details={
            "highest − lowest along the curve, mean over seeds": {
                pair: {
                    "test loss (nats)": float(spread.sel(pair=pair, split="test")),
                    "training loss (nats)": float(spread.sel(pair=pair, split="train")),
                    "test error (points)": float(points.sel(pair=pair)),
                }
                for pair in map(str, result["pair"].values)
            }
        },
    )


def _by_pair(values: xr.DataArray) -> dict[str, np.ndarray]:
    table = values.transpose("pair", "lane").values.astype(float)
    return dict(zip(map(str, values["pair"].values), table, strict=True))


def adam_ends_elsewhere(result: xr.Dataset) -> Evidence:
    """Compare norms, and distances from the start, of Adam's end points and of SGD's."""
    sgd, adam = (end_points(result, arm) for arm in ("small", "adam"))
    loss = paired_cells.ratio(adam, sgd, "test_loss", 0.0).estimate(0.95)
    return Evidence(
        {
            "‖θ‖, Adam / SGD": paired_cells.ratio(adam, sgd, "parameter_norm", SMALLEST_RATIO),
            "distance from θ₀, Adam / SGD": paired_cells.ratio(
                adam, sgd, "relative_movement", SMALLEST_RATIO
            ),
        },
        details={"test loss, Adam / SGD": [loss.value, loss.low, loss.high]},
    )


def script_prints(result: xr.Dataset) -> Finding:
    """Hold what the script prints, and what it would print if it did as it says, against the published."""
    rows = trials(result, "script")
    printed = rows["printed"].transpose("lane", "network", "extreme").values
    true = rows["true"].transpose("lane", "network", "extreme").values
    errors = printed - np.asarray(PUBLISHED_RANGES)[None]
    ranges, meant = np.ptp(printed, axis=-1), np.ptp(true, axis=-1)
    ratio = _log_interval(meant[:, 1] / meant[:, 0], 0.95)
    walked = rows["walked"].values.mean(0)
    return identity(
        errors,
        PRINTED,
        n_seeds=len(rows["lane"]),
        reason=(
            f"as it stands the script prints one number for every point ({printed[0, 0, 0]:.4f} and "
            f"{printed[0, 1, 0]:.4f} at its own seed), a range of {ranges.max():g}: the displaced "
            "weights are never used, and nothing was trained; displaced, both planes rise alike, "
            f"ratio {ratio.value:.3g} [{ratio.low:.3g}, {ratio.high:.3g}]"
        ),
        printed=printed[0].tolist(),
        printed_difference=float(printed[0, 1, 1] - printed[0, 0, 1]),
        meant=true[0].tolist(),
        meant_range_ratio=[ratio.value, ratio.low, ratio.high],
        random_walk_lengths=walked.tolist(),
    )
