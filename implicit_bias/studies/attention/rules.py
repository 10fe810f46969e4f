"""Rules of the attention study on ranks and sparsity, with the smallest effects that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.studies.attention.rows import (
    average,
    gains_of,
    known,
    main_width,
    of_gain,
    trained,
    widths_of,
)
from implicit_bias.studies.comparisons import (
    above,
    below,
    less_than,
    mean_ends,
    more_than,
    share_below,
)
from implicit_bias.studies.rows import by_seed, has, lost_lanes, require

if TYPE_CHECKING:
    import xarray as xr

    from implicit_bias.results.statistics import Comparison

LOWER = 0.9
"""A rank counts as lower below this part of the untrained one."""

LOW = 0.25
"""A rank counts as low below this part of the number of positions."""

DROP = 0.05
"""Fall of the relative entropy that matters."""

SPARSE = 0.5
"""Relative entropy below which attention counts as sparse."""

RISE = 0.05
"""Rise of a mass that matters."""

LEARNT = 0.2
"""Part of what there is to learn that a network which learnt may miss."""

ROUNDING = 1e-4
"""How far sums and bounds may be off in float32."""

FLOOR_SLACK = 1e-4
"""How far below what is possible a training loss may lie, in float32."""

COLLAPSED, KEPT = 0.01, 0.1
"""Relative distances of positions below which they are one, and above which they are not."""


def rank_falls(result: xr.Dataset) -> Evidence:
    """Hold trained against untrained ranks, means over layers, at every width.

    Layers take over one another's parts from seed to seed: one by one they are in the details.
    """
    require(result, "trained")
    comparisons: dict[str, Comparison] = {}
    for width in widths_of(result):
        before, after = (
            trained(result, f"rank_{moment}", width).mean(axis=1) for moment in ("before", "after")
        )
        comparisons[f"width {width:g}"] = less_than(after, before, LOWER)
    moved = [trained(result, f"moved_rank_{moment}") for moment in ("before", "after")]
    return Evidence(
        comparisons,
        headline=f"width {main_width(result):g}",
        reason=lost_lanes(result),
        details={
            **_by_layer(result, "rank"),
            "looking everywhere alike": average(trained(result, "uniform_rank")),
            "positions permuted, untrained and trained": [mean_ends(m.mean(axis=1)) for m in moved],
        },
    )


def rank_is_low(result: xr.Dataset) -> Evidence:
    """Hold trained ranks, means over layers, against the number of positions."""
    require(result, "trained")
    positions = result.sizes["query"]
    return Evidence(
        {
            f"width {width:g}": share_below(
                trained(result, "rank_after", width).mean(axis=1) / positions, LOW
            )
            for width in widths_of(result)
        },
        headline=f"width {main_width(result):g}",
        reason=lost_lanes(result),
        details={"positions": positions, **_by_layer(result, "rank")},
    )


def rank_falls_from_any_start(result: xr.Dataset) -> Evidence:
    """Hold trained against untrained ranks by the spread of the logits at the start."""
    require(result, "trained", "gain")
    comparisons, ranks = {}, {}
    for gain in gains_of(result):
        first, last = (
            of_gain(result, f"rank_{moment}", gain).mean(axis=1) for moment in ("before", "after")
        )
        comparisons[f"gain {gain:g}"] = less_than(last, first, LOWER)
        ranks[f"gain {gain:g}"] = [mean_ends(first), mean_ends(last)]
    return Evidence(
        comparisons,
        reason=lost_lanes(result),
        details={"untrained and trained, mean of layers": ranks},
    )


def attention_turns_sparse(result: xr.Dataset) -> Evidence:
    """Hold entropy and the largest weights, means over layers, trained against untrained."""
    require(result, "trained")
    comparisons: dict[str, Comparison] = {}
    for width in widths_of(result):
        comparisons[f"entropy, width {width:g}"] = below(_change(result, "entropy", width), -DROP)
        comparisons[f"largest weights, width {width:g}"] = above(
            _change(result, "top", width), RISE
        )
    moved = trained(result, "moved_entropy_after") - trained(result, "moved_entropy_before")
    details: dict[str, object] = {
        **_by_layer(result, "entropy"),
        "change of entropy, positions permuted": mean_ends(moved.mean(axis=1)),
    }
    for gain in gains_of(result) if has(result, "gain") else ():
        before, after = (of_gain(result, f"entropy_{m}", gain) for m in ("before", "after"))
        details[f"change of entropy, gain {gain:g}"] = mean_ends((after - before).mean(axis=1))
    return Evidence(
        comparisons,
        headline=f"entropy, width {main_width(result):g}",
        reason=lost_lanes(result),
        details=details,
    )


def attention_is_sparse(result: xr.Dataset) -> Evidence:
    """Hold the entropy of trained attention, mean over layers, against that of looking everywhere alike."""
    require(result, "trained")
    return Evidence(
        {
            f"width {width:g}": share_below(
                trained(result, "entropy_after", width).mean(axis=1), SPARSE
            )
            for width in widths_of(result)
        },
        headline=f"width {main_width(result):g}",
        reason=lost_lanes(result),
    )


def sparse_for_structure(result: xr.Dataset) -> Evidence:
    """Hold the fall of entropy, mean over layers, against that of training on random labels."""
    require(result, "trained", "shuffled")
    real = -_change(result, "entropy", main_width(result))
    before, after = (by_seed(result, "shuffled", f"entropy_{m}") for m in ("before", "after"))
    random = (before - after).mean(axis=1)
    return Evidence(
        {"fall with the data's labels less that with random ones": above(real - random, DROP)},
        reason=lost_lanes(result),
        details={"with the data's": mean_ends(real), "with random ones": mean_ends(random)},
    )


def looks_where_it_matters(result: xr.Dataset) -> Evidence:
    """Hold the mass on the positions that the next token depends on, trained against untrained."""
    require(result, "trained")
    before, after = (
        known(trained(result, f"recent_{moment}"), "where to look").max(axis=1)
        for moment in ("before", "after")
    )
    return Evidence(
        {"layer that looks there most": above(after - before, RISE)},
        reason=lost_lanes(result),
        details={
            "untrained": mean_ends(before),
            "trained": mean_ends(after),
            "looking everywhere alike": average(trained(result, "uniform_recent")),
        },
    )


def has_learnt(result: xr.Dataset) -> Evidence:
    """Ask whether the networks whose attention is judged learnt what there is to learn."""
    require(result, "trained")
    bayes, guess, least = (
        trained(result, name) for name in ("bayes_loss", "guess_loss", "least_test_loss")
    )
    missed = (least - known(bayes, "the least possible loss")) / (guess - bayes)
    return Evidence(
        {"part missed of what there is to learn": less_than(missed, 1.0, LEARNT)},
        reason=lost_lanes(result),
        details={"test loss": mean_ends(least), "least possible": average(bayes)},
    )


def rows_are_laws(result: xr.Dataset) -> Finding:
    """Check that rows add up to 1 and that ranks and entropies keep their bounds."""
    worst = [result[name].values for name in ("row_error", "bound_error")]
    values = np.concatenate([part[np.isfinite(part)] for part in worst])
    if not values.size:
        raise NotDecidable("no lane was measured")
    return identity(values, ROUNDING, n_seeds=np.unique(result["seed"].values).size)


def nothing_beats_the_beginnings(result: xr.Dataset) -> Finding:
    """Check that training losses stay above what the beginnings of sequences allow."""
    measured = np.isfinite(result["floor_loss"].values)
    if not measured.any():
        raise NotDecidable("no arm has few sequences of which every next token is predicted")
    short = (result["floor_loss"] - result["final_train_loss"]).values[measured]
    fewer = (result["floor_error"] - result["final_train_error"]).values[measured]
    return identity(
        np.maximum(np.concatenate([short, fewer]), 0.0),
        FLOOR_SLACK,
        n_seeds=np.unique(result["seed"].values[measured]).size,
        closest_loss=float(-short.max()),
        closest_error=float(-fewer.max()),
    )


def positions_collapse(result: xr.Dataset) -> Evidence:
    """Hold untrained stacks of attention with and without skips."""
    require(result, "collapse")
    alone, causal, skips = (
        by_seed(result, "collapse", "residual", stack=name)[:, -1]
        for name in ("attention alone", "attention alone, causal", "with skips")
    )
    layers = result.sizes["stack_layer"] - 1
    return Evidence(
        {
            f"attention alone, {layers} layers": less_than(alone, 1.0, COLLAPSED),
            f"with skips, {layers} layers": more_than(skips, 1.0, KEPT),
        },
        details={"causal attention alone, median": float(np.median(causal))},
    )


def _change(result: xr.Dataset, name: str, width: float) -> np.ndarray:
    """Return what training changed at a width, mean over layers, by seed."""
    before, after = (trained(result, f"{name}_{moment}", width) for moment in ("before", "after"))
    change: np.ndarray = (after - before).mean(axis=1)
    return change


def _by_layer(result: xr.Dataset, name: str) -> dict[str, list[list[float]]]:
    """Describe the main width layer by layer, for details."""
    return {
        f"{word}, by layer": [mean_ends(part) for part in trained(result, f"{name}_{moment}").T]
        for word, moment in (("untrained", "before"), ("trained", "after"))
    }
