"""Figures of planes: contours, surfaces, and planes that are not random."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.claims import NotDecidable
from implicit_bias.studies import paired_cells
from implicit_bias.studies.landscape.derived import end_points, trials
from implicit_bias.studies.landscape.names import TEST, TRAIN, arm_names
from implicit_bias.studies.landscape.special import walk_explained

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_KINDS = {
    "raw": ("fine_a", "fine_b", "random direction {} (parameters)"),
    "filter": ("fine_u", "fine_v", "filter direction {} (relative)"),
}
_RISE = "rise of the test loss (nats)"
_DEPTH = 50.0  # levels of a rise go down to its highest over this


def _first_seed(result: xr.Dataset, *arms: str) -> int:
    """Return the first seed of which all these arms are there and did not diverge."""
    good = [
        set(lanes["seed"].values[paired_cells.usable(lanes).values])
        for lanes in (end_points(result, arm) for arm in arms)
    ]
    both = sorted(set.intersection(*good))
    if not both:
        raise NotDecidable(f"no seed has all of {', '.join(arms)}")
    return int(both[0])


def all_there(result: xr.Dataset) -> bool:
    """Say whether one seed has end points of SGD with both batch sizes, and of the larger step."""
    try:
        _first_seed(result, "small", "large", "scaled")
    except NotDecidable:
        return False
    return True


def _portrait(result: xr.Dataset, arm: str, kind: str, seed: int) -> tuple[Any, Any, Any]:
    first, second, _ = _KINDS[kind]
    lane = end_points(result, arm).sel(seed=seed)
    plane = lane[f"portrait_{kind}"].sel(split="test").transpose(first, second)
    return plane[first].values, plane[second].values, plane.values


def _rise(result: xr.Dataset, arm: str, kind: str, seed: int) -> tuple[Any, Any, Any]:
    """Return a portrait above its middle, so that networks of different loss can share levels."""
    first, second, loss = _portrait(result, arm, kind, seed)
    return first, second, loss - loss[loss.shape[0] // 2, loss.shape[1] // 2]


def rise_levels(rises: Sequence[np.ndarray]) -> np.ndarray:
    """Choose levels of rises: zero, and round numbers in about equal ratios up to the highest."""
    values = np.concatenate([rise[np.isfinite(rise)] for rise in rises])
    top = float(values.max(initial=0.0))
    if not top > 0:
        return figures.contour_levels(values, scale="linear")
    upper = figures.contour_levels(values[values > top / _DEPTH], count=7)
    return np.concatenate([np.zeros(1), upper])


def draw_contours(result: xr.Dataset) -> Figure:
    """Draw one plane of each arm, raw above and filter-normalised below, at equal levels in a row."""
    arms = ("small", "large", "scaled")
    seed, names = _first_seed(result, *arms), arm_names(result)
    cells = {
        f"{names[arm]}\n{'raw' if kind == 'raw' else 'filter-normalised'}": (kind, arm)
        for kind in _KINDS
        for arm in arms
    }
    planes = {cell: _rise(result, cell[1], cell[0], seed) for cell in cells.values()}
    levels = {kind: rise_levels([planes[kind, arm][2] for arm in arms]) for kind in _KINDS}
    notes: list[str] = []

    def draw(ax: Any, name: str) -> None:
        kind, arm = cells[name]
        label = _KINDS[kind][2]
        notes.append(
            figures.contour(
                ax, *planes[kind, arm], xlabel=label.format(1), ylabel=label.format(2), label=_RISE,
                scale="linear", levels=levels[kind], bar=arm == arms[-1],
            )
        )  # fmt: skip
        if arm != arms[0]:
            ax.set_ylabel("")

    figure = figures.panels(
        list(cells), draw, columns=len(arms), width=2.6, height=2.7, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(
        figure,
        f"Test loss minus that of the centre, seed {seed}; the levels are the same for the panels of a "
        f"row. {notes[0].split(' Lowest')[0]}",
    )
    return figure


def draw_overlay(result: xr.Dataset) -> Figure:
    """Draw small and large batches over one another, at equal levels."""
    arms = ("small", "large")
    seed, names = _first_seed(result, *arms), arm_names(result)
    titles = {"raw": "raw", "filter-normalised": "filter"}
    notes: dict[str, str] = {}

    def draw(ax: Any, name: str) -> None:
        kind = titles[name]
        label = _KINDS[kind][2]
        planes: dict[Hashable, tuple[Any, Any, Any]] = {
            names[arm]: _rise(result, arm, kind, seed) for arm in arms
        }
        notes[name] = figures.overlay(
            ax, planes, xlabel=label.format(1), ylabel=label.format(2), label=_RISE,
            scale="linear", levels=rise_levels([plane[2] for plane in planes.values()]),
        )  # fmt: skip

    figure = figures.panels(
        list(titles), draw, columns=2, width=3.5, height=3.4, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, f"Seed {seed}. {figures.joint_note(notes)}")
    return figure


def _surface(result: xr.Dataset, arm: str) -> Figure:
    seed, names = _first_seed(result, "small", "large"), arm_names(result)
    both = [_portrait(result, one, "filter", seed) for one in ("small", "large")]
    top = min(float(np.nanmax(plane[2])) for plane in both)
    label = _KINDS["filter"][2]
    return figures.surface(
        *_portrait(result, arm, "filter", seed), xlabel=label.format(1), ylabel=label.format(2),
        zlabel=TEST, top=top, title=f"{names[arm]}, seed {seed}",
    )  # fmt: skip


def draw_surface_small(result: xr.Dataset) -> Figure:
    """Draw the filter-normalised plane of small batches as a surface."""
    return _surface(result, "small")


def draw_surface_large(result: xr.Dataset) -> Figure:
    """Draw the filter-normalised plane of large batches as a surface."""
    return _surface(result, "large")


def draw_special(result: xr.Dataset) -> Figure:
    """Draw the planes of the top eigenvectors and of the way of training, for one seed."""
    lanes = trials(result, "special")
    good = np.flatnonzero(np.isfinite(lanes["eigenvalues"].values).all(1))
    if not good.size:
        raise NotDecidable("no seed has planes of eigenvectors")
    lane = lanes.isel(lane=int(good[0]))
    seed = int(lane["seed"])
    titles = {"top eigenvectors": "eigen", "principal components of the way": "way"}
    notes: dict[str, str] = {}

    def draw(ax: Any, name: str) -> None:
        if titles[name] == "eigen":
            axes = ("e1", "e2")
            values = [float(value) for value in lane["eigenvalues"].values]
            labels = [f"eigenvector {n + 1}, λ = {value:.2g} (parameters)"
                      for n, value in enumerate(values)]  # fmt: skip
        else:
            axes = ("c1", "c2")
            labels = [
                f"component {n + 1}, {100 * float(share):.0f} % (of {float(reach):.2g} parameters)"
                for n, (share, reach) in enumerate(
                    zip(lane["way_explained"].values, lane["way_reach"].values, strict=True)
                )
            ]
        plane = lane[f"{titles[name]}_plane"].sel(split="train").transpose(*axes)
        notes[name] = figures.contour(
            ax, plane[axes[0]].values, plane[axes[1]].values, plane.values, xlabel=labels[0],
            ylabel=labels[1], label=TRAIN, levels=8 if titles[name] == "eigen" else 6,
        )  # fmt: skip
        if titles[name] == "way":
            figures.trajectory(ax, lane["way"].transpose("snapshot", "component").values)

    figure = figures.panels(
        list(titles), draw, columns=2, width=3.9, height=3.4, share_x=False, share_y=False
    )
    figures.legend(figure)
    walk = 100 * float(walk_explained(lane.sizes["snapshot"] - 1).sum())
    figures.note(
        figure,
        f"Arm small, seed {seed}. Two components of a random walk of as many steps hold {walk:.0f} % of "
        f"its squared distances to the end. {figures.joint_note(notes)}",
    )
    return figure


def some_way(result: xr.Dataset) -> bool:
    """Say whether one seed has planes of eigenvectors."""
    try:
        found = trials(result, "special")["eigenvalues"]
    except NotDecidable:
        return False
    return bool(np.isfinite(found.values).all(1).any())
