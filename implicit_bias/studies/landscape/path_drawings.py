"""Figures of lines: slices, paths between end points, and points near the start."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.statistics import NOT_NEGATIVE, PERCENT
from implicit_bias.studies import paired_cells
from implicit_bias.studies.landscape.arms import MEASURED
from implicit_bias.studies.landscape.derived import end_points, path, trials
from implicit_bias.studies.landscape.names import TRAIN, WAY_NAMES, arm_names, pair_names

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


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
            good = np.flatnonzero(paired_cells.usable(lanes).values)
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
    figures.note(figure, f"Means over {count} random directions of each seed. {notes[0]}")
    return figure


def _interpolations(result: xr.Dataset, what: str, split: str, label: str, factor: float) -> Figure:
    straight, matched = trials(result, "paths"), trials(result, "matching")
    pairs = pair_names(result)
    looks = figures.categorical(WAY_NAMES.values())
    notes: dict[str, str] = {}

    def draw(ax: Any, name: str) -> None:
        place = list(pairs.values()).index(name)
        side = ["train", "test"].index(split)
        shown: dict[Hashable, np.ndarray] = {}
        for way, title in WAY_NAMES.items():
            lanes = matched if way == "matched" else straight
            places, values = path(lanes, way, what)
            shown[title] = factor * values[:, place, side]
        notes[name] = figures.interpolation(
            ax, places, shown, xlabel="fraction of the way", ylabel=label, styles=looks,
            bounds=PERCENT if what == "error" else NOT_NEGATIVE,
        )  # fmt: skip

    figure = figures.panels(
        list(pairs.values()), draw, columns=len(pairs), width=2.7, height=2.5, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.joint_note(notes))
    return figure


def draw_interpolation(result: xr.Dataset) -> Figure:
    """Draw the training loss on paths between end points."""
    return _interpolations(result, "loss", "train", TRAIN, 1.0)


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
    reached = ends["train_loss"].where(paired_cells.usable(ends)).values
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
        ax.set_ylabel(TRAIN)
    figures.reference_line(ax, float(np.log(_classes(result))), "guessing")
    figures.legend(figure)
    per = lanes.sizes["point"]
    figures.note(figure, f"{per} points of each of {lanes.sizes['lane']} seeds at each distance.")
    return figure


def _classes(result: xr.Dataset) -> int:
    import json

    return int(json.loads(result.attrs["settings"])["dataset"]["n_outputs"])
