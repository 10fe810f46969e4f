"""Figures of the landscape study."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.claims import NotDecidable
from implicit_bias.studies import compare
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.landscape.arms import MEASURED
from implicit_bias.studies.landscape.derived import end_points, path, trials
from implicit_bias.studies.landscape.special import walk_explained

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

WAY_NAMES = {
    "straight": "straight line",
    "matched": "straight line, units matched",
    "curve": "Bezier curve",
}

_KINDS = {
    "raw": ("fine_a", "fine_b", "random direction {} (parameters)"),
    "filter": ("fine_u", "fine_v", "filter-normalised direction {}"),
}
_TEST = "test loss (nats)"
_RISE = "rise of the test loss (nats)"
_DEPTH = 50.0  # levels of a rise go down to its highest over this
_TRAIN = "training loss (nats)"


def arm_names(result: xr.Dataset) -> dict[str, str]:
    """Return how arms are called in figures: with batch size and step size."""
    names = {}
    for arm in MEASURED:
        lanes = end_points(result, arm)
        how = "Adam" if arm == "adam" else "SGD"
        names[arm] = (
            f"{how}, B = {int(lanes['batch_size'][0])}, η = {float(lanes['step_size'][0]):g}"
        )
    return names


def pair_names(result: xr.Dataset) -> dict[str, str]:
    """Return how pairs are called."""
    sizes = [int(end_points(result, arm)["batch_size"][0]) for arm in ("small", "large")]
    names = {
        "batches": f"B = {sizes[0]} to {sizes[1]}",
        "optimisers": "SGD to Adam",
        "initialisations": "two initialisations",
    }
    return {str(pair): names[str(pair)] for pair in result["pair"].values}


def _first_seed(result: xr.Dataset, *arms: str) -> int:
    """Return the first seed of which all these arms are there and did not diverge."""
    good = [
        set(lanes["seed"].values[compare.usable(lanes).values])
        for lanes in (end_points(result, arm) for arm in arms)
    ]
    both = sorted(set.intersection(*good))
    if not both:
        raise NotDecidable(f"no seed has all of {', '.join(arms)}")
    return int(both[0])


def _portrait(result: xr.Dataset, arm: str, kind: str, seed: int) -> tuple[Any, Any, Any]:
    first, second, _ = _KINDS[kind]
    lane = end_points(result, arm).sel(seed=seed)
    plane = lane[f"portrait_{kind}"].sel(split="test").transpose(first, second)
    return plane[first].values, plane[second].values, plane.values


def _rise(result: xr.Dataset, arm: str, kind: str, seed: int) -> tuple[Any, Any, Any]:
    """Return a portrait above its middle, so that networks of different loss can share levels."""
    first, second, loss = _portrait(result, arm, kind, seed)
    return first, second, loss - loss[loss.shape[0] // 2, loss.shape[1] // 2]


def _levels(rises: Sequence[np.ndarray]) -> np.ndarray:
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
    levels = {kind: _levels([planes[kind, arm][2] for arm in arms]) for kind in _KINDS}
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
    notes: list[str] = []

    def draw(ax: Any, name: str) -> None:
        kind = titles[name]
        label = _KINDS[kind][2]
        planes: dict[Hashable, tuple[Any, Any, Any]] = {
            names[arm]: _rise(result, arm, kind, seed) for arm in arms
        }
        text = figures.overlay(
            ax, planes, xlabel=label.format(1), ylabel=label.format(2), label=_RISE,
            scale="linear", levels=_levels([plane[2] for plane in planes.values()]),
        )  # fmt: skip
        notes.append(f"{name}: {text}")

    figure = figures.panels(
        list(titles), draw, columns=2, width=3.5, height=3.4, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, f"Seed {seed}. {' '.join(notes)}")
    return figure


def _surface(result: xr.Dataset, arm: str) -> Figure:
    seed, names = _first_seed(result, "small", "large"), arm_names(result)
    both = [_portrait(result, one, "filter", seed) for one in ("small", "large")]
    top = min(float(np.nanmax(plane[2])) for plane in both)
    label = _KINDS["filter"][2]
    return figures.surface(
        *_portrait(result, arm, "filter", seed), xlabel=label.format(1), ylabel=label.format(2),
        zlabel=_TEST, top=top, title=f"{names[arm]}, seed {seed}",
    )  # fmt: skip


def draw_surface_small(result: xr.Dataset) -> Figure:
    """Draw the filter-normalised plane of small batches as a surface."""
    return _surface(result, "small")


def draw_surface_large(result: xr.Dataset) -> Figure:
    """Draw the filter-normalised plane of large batches as a surface."""
    return _surface(result, "large")


def slices(lanes: xr.Dataset, kind: str, split: str) -> np.ndarray:
    """Return the loss along both axes of all planes, averaged over these directions, (seeds, n)."""
    first, second = {"raw": ("a", "b"), "filter": ("u", "v")}[kind]
    plane = lanes[f"plane_{kind}"].sel(split=split).transpose("seed", "slice", first, second).values
    middle = plane.shape[-1] // 2
    along: np.ndarray = np.stack([plane[..., middle], plane[:, :, middle]]).mean((0, 2))
    return along


def draw_slices(result: xr.Dataset) -> Figure:
    """Draw the loss along random directions, mean over directions, bands over seeds."""
    names = arm_names(result)
    cells = {
        f"{title}, {split}": (kind, split)
        for kind, title in (("raw", "raw"), ("filter", "filter-normalised"))
        for split in ("training", "test")
    }
    looks = figures.categorical(names.values())
    notes: list[str] = []

    def draw(ax: Any, name: str) -> None:
        kind, split = cells[name]
        shown: dict[Hashable, np.ndarray] = {}
        for arm in MEASURED:
            lanes = end_points(result, arm)
            good = np.flatnonzero(compare.usable(lanes).values)
            if good.size:
                own = slices(lanes.isel(seed=good), kind, "train" if split == "training" else split)
                shown[names[arm]] = own
        places = result["a" if kind == "raw" else "u"].values
        label = "α (parameters)" if kind == "raw" else "α (relative to each unit's weights)"
        notes.append(
            figures.slice_lines(
                ax, places, shown, xlabel=label, ylabel="loss (nats)", styles=looks,
                yscale="log", summary="geometric mean",
            )
        )  # fmt: skip

    figure = figures.panels(
        list(cells), draw, columns=2, width=3.3, height=2.5, share_x=False, share_y=False
    )
    figures.legend(figure)
    count = 2 * result.sizes["slice"]
    figures.note(figure, f"Mean over {count} random directions of each seed, then: {notes[0]}")
    return figure


def _interpolations(result: xr.Dataset, what: str, split: str, label: str, factor: float) -> Figure:
    straight, matched = trials(result, "paths"), trials(result, "matching")
    pairs = pair_names(result)
    looks = figures.categorical(WAY_NAMES.values())
    notes: list[str] = []

    def draw(ax: Any, name: str) -> None:
        place = list(pairs.values()).index(name)
        side = ["train", "test"].index(split)
        shown: dict[Hashable, np.ndarray] = {}
        for way, title in WAY_NAMES.items():
            lanes = matched if way == "matched" else straight
            places, values = path(lanes, way, what)
            shown[title] = factor * values[:, place, side]
        text = figures.interpolation(
            ax, places, shown, xlabel="fraction of the way", ylabel=label, styles=looks
        )
        notes.append(f"{name}: {text}")

    figure = figures.panels(
        list(pairs.values()), draw, columns=len(pairs), width=2.7, height=2.5, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, " ".join(notes))
    return figure


def draw_interpolation(result: xr.Dataset) -> Figure:
    """Draw the training loss on paths between end points."""
    return _interpolations(result, "loss", "train", _TRAIN, 1.0)


def draw_interpolation_error(result: xr.Dataset) -> Figure:
    """Draw the test error on paths between end points."""
    return _interpolations(result, "error", "test", "test error (%)", 100.0)


def draw_line(result: xr.Dataset) -> Figure:
    """Draw the straight line through two end points, beyond both."""
    lanes, pairs = trials(result, "paths"), pair_names(result)
    notes: list[str] = []

    def draw(ax: Any, name: str) -> None:
        pair = list(pairs)[list(pairs.values()).index(name)]
        loss = lanes["straight_loss"].sel(pair=pair).transpose("split", "lane", "alpha").values
        notes.append(
            figures.slice_lines(
                ax, lanes["alpha"].values, {"training": loss[0], "test": loss[1]}, yscale="log",
                xlabel="α (0: first network, 1: second)", ylabel="loss (nats)",
                summary="geometric mean",
            )
        )  # fmt: skip
        for place in (0.0, 1.0):
            ax.axvline(place, color="0.5", lw=0.8, ls=":")

    figure = figures.panels(list(pairs.values()), draw, columns=len(pairs), width=2.7, height=2.5)
    figures.legend(figure)
    figures.note(figure, f"Dotted: the two networks. {notes[0]}")
    return figure


def draw_nearby(result: xr.Dataset) -> Figure:
    """Draw the training loss of random points near the initial weights, beside that of end points."""
    lanes = trials(result, "paths")
    radii = [f"{radius:g}" for radius in result["radius"].values]
    ends = end_points(result, "small")
    reached = ends["train_loss"].where(compare.usable(ends)).values
    with figures.style():
        figure, ax = figures.axes(5.2, 3.4)
        rng = np.random.default_rng(0)  # moves points apart sideways, and nothing else
        for place, radius in enumerate(result["radius"].values):
            loss = lanes["nearby_loss"].sel(radius=radius).values.ravel()
            loss = loss[np.isfinite(loss)]
            ax.plot(
                place + rng.uniform(-0.22, 0.22, loss.size), loss, ls="none", marker="o", ms=2.5,
                mfc="0.55", mec="none", zorder=2,
                label="random point" if not place else None,
            )  # fmt: skip
            ax.plot(
                [place - 0.32, place + 0.32], [np.median(loss)] * 2, color="black", lw=1.6, zorder=3,
                label="median" if not place else None,
            )  # fmt: skip
        place = len(radii)
        ax.plot(
            np.full(reached.size, place), reached, ls="none", marker="D", ms=5, mfc="white",
            mec="black", zorder=3, label="end of training, small batches",
        )  # fmt: skip
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.set_xlim(-0.6, place + 0.4)
        ax.set_xticks(range(place + 1), [*radii, "trained"])
        ax.set_xlabel("distance from the initial weights (relative to their norm)")
        ax.set_ylabel(_TRAIN)
    figures.reference_line(ax, float(np.log(_classes(result))), "guessing")
    figures.legend(figure)
    per = lanes.sizes["point"]
    figures.note(figure, f"{per} points of each of {lanes.sizes['lane']} seeds at each distance.")
    return figure


def _classes(result: xr.Dataset) -> int:
    import json

    return int(json.loads(result.attrs["settings"])["dataset"]["n_outputs"])


def draw_special(result: xr.Dataset) -> Figure:
    """Draw the planes of the top eigenvectors and of the way of training, for one seed."""
    lanes = trials(result, "special")
    good = np.flatnonzero(np.isfinite(lanes["eigenvalues"].values).all(1))
    if not good.size:
        raise NotDecidable("no seed has planes of eigenvectors")
    lane = lanes.isel(lane=int(good[0]))
    seed = int(lane["seed"])
    titles = {"top eigenvectors": "eigen", "principal components of the way": "way"}
    notes: list[str] = []

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
        text = figures.contour(
            ax, plane[axes[0]].values, plane[axes[1]].values, plane.values, xlabel=labels[0],
            ylabel=labels[1], label=_TRAIN, levels=8 if titles[name] == "eigen" else 6,
        )  # fmt: skip
        notes.append(f"{name}: {text}")
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
        f"its squared distances to the end. {' '.join(notes)}",
    )
    return figure


def _all_there(result: xr.Dataset) -> bool:
    """Say whether one seed has end points of SGD with both batch sizes, and of the larger step."""
    try:
        _first_seed(result, "small", "large", "scaled")
    except NotDecidable:
        return False
    return True


def _some_way(result: xr.Dataset) -> bool:
    """Say whether one seed has planes of eigenvectors."""
    try:
        found = trials(result, "special")["eigenvalues"]
    except NotDecidable:
        return False
    return bool(np.isfinite(found.values).all(1).any())


DRAWINGS = (
    Drawing(
        "contours", "Rise of the test loss over one random plane through the end point of each arm, by "
        "raw directions and by filter-normalised ones.", draw_contours, _all_there,
    ),
    Drawing("overlay", "The same planes of small and large batches over one another, at equal levels.",
            draw_overlay, _all_there),
    Drawing("surface-small", "The filter-normalised plane of small batches as a surface.",
            draw_surface_small, _all_there),
    Drawing("surface-large", "The filter-normalised plane of large batches as a surface, cut at the "
            "same height.", draw_surface_large, _all_there),
    Drawing("slices", "Loss along random directions from each end point.", draw_slices),
    Drawing("interpolation", "Training loss between end points: on the straight line, after matching "
            "hidden units, and on a trained curve.", draw_interpolation),
    Drawing("interpolation-error", "Test error on the same paths.", draw_interpolation_error),
    Drawing("line", "Loss on the straight line through two end points, beyond both.", draw_line),
    Drawing("nearby", "Training loss of random points near the initial weights.", draw_nearby),
    Drawing("special", "Planes of the top Hessian eigenvectors and of the way of training.",
            draw_special, _some_way),
)  # fmt: skip
