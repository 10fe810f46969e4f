"""Figures of the flat-minima study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.statistics import NOT_NEGATIVE, PERCENT
from implicit_bias.studies import paired_cells
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.flat_minima.arms import ARMS, PENALTIES
from implicit_bias.studies.flat_minima.rules import adaptive, compared
from implicit_bias.studies.flat_minima.rules_spectra import SPECTRA
from implicit_bias.studies.flat_minima.tables import middle_radius

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_SHOWN = (
    ("sgd", 0), ("sgd", -1), ("sam", -1), ("decay", 0), ("adam", 0), ("fixed", 0), ("fixed", -1),
)  # fmt: skip
"""Arms in the figures of robustness, at their smallest (0) or largest (−1) batch size."""


def draw_flatness(result: xr.Dataset) -> Figure:
    """Draw test error against λmax and against adaptive sharpness, a point a lane."""
    lanes = compared(result)
    names = _names(lanes)
    diverged = lanes["diverged"].values
    dropped = {
        "diverged": diverged,
        "missed the target": ~paired_cells.usable(lanes).values & ~diverged,
    }
    looks = figures.categorical(dict.fromkeys(names))
    radius = middle_radius(result)
    axes = {
        "largest eigenvalue": (lanes["lambda_max"].values, "λmax (nats/parameter²)"),
        "adaptive sharpness": (
            adaptive(lanes).values, f"adaptive sharpness, ρ = {radius:g} (nats)"
        ),
    }  # fmt: skip
    notes: dict[str, str] = {}
    legends: list[Any] = []

    def draw(ax: Any, name: str) -> None:
        measure, label = axes[name]
        found, notes[name] = figures.scatter_measures(
            ax, measure, 100 * lanes["test_error"].values, names, seed=lanes["seed"].values,
            xlabel=label, ylabel="test error (%)", group_title="arm", styles=looks, yscale="log",
            dropped=dropped,
        )  # fmt: skip
        legends[:] = found

    figure = figures.panels(axes, draw, columns=2, width=3.6, height=3.4, share_x=False)
    for entry in legends:
        figures.legend(figure, entry.handles, title=entry.title)
    figures.note(figure, figures.joint_note(notes))
    return figure


def draw_spectra(result: xr.Dataset) -> Figure:
    """Draw the largest eigenvalues of the published protocols, a shade a length of training."""
    present = [arm for arm in SPECTRA if arm in paired_cells.arms(result)]
    if not present:
        return _empty("arms momentum and adam were not run")
    lengths = {arm: np.unique(_of(result, arm)["updates_budget"].values) for arm in present}
    notes: dict[str, str] = {}
    every = sorted({_epochs(result, arm, n) for arm in present for n in lengths[arm]})
    looks = figures.ordered(every)

    def draw(ax: Any, arm: str) -> None:
        lanes = _good(_of(result, arm))
        spectra: dict[Hashable, Any] = {}
        for updates in lengths[arm]:
            own = lanes["updates_budget"].values == updates
            if own.any():
                spectra[_epochs(result, arm, updates)] = lanes["eigenvalue"].values[own]
        if not spectra:
            return
        notes[arm] = figures.spectrum(
            ax, spectra, ylabel="Hessian eigenvalue (nats/parameter²)", summary="geometric mean",
            styles={key: looks[key] for key in spectra}, label="{:g}",
        )  # fmt: skip
        figures.reference_line(ax, SPECTRA[arm], "published largest eigenvalue")

    figure = figures.panels(present, draw, columns=2, width=3.6, height=3.0)
    figures.legend(figure, title="epochs")
    figures.note(figure, figures.joint_note(notes))
    return figure


def draw_strength(result: xr.Dataset) -> Figure:
    """Draw λmax and test error against the strength of each penalty at the large batch size."""
    present = [arm for arm in PENALTIES if arm in paired_cells.arms(result)]
    if not present:
        return _empty("no arm with a penalty was run")
    shown: dict[str, dict[Hashable, figures.Curve]] = {"λmax": {}, "test error": {}}
    measures = {
        "lambda_max": ("λmax (nats/parameter²)", 1.0, "geometric mean", "log", NOT_NEGATIVE),
        "test_error": ("test error (%)", 100.0, "mean", "linear", PERCENT),
    }
    cells = {f"{arm}: {'λmax' if name == 'lambda_max' else 'test error'}": (arm, name)
             for name in measures for arm in present}  # fmt: skip
    plain = compared(result)
    plain = _good(plain.isel(lane=np.flatnonzero(plain["arm"].values == "sgd")))
    sizes = np.unique(plain["batch_size"].values)

    def draw(ax: Any, title: str) -> None:
        arm, name = cells[title]
        label, factor, summary, scale, bounds = measures[name]
        lanes = _of(result, arm)
        curves = figures.curves(
            lanes, name, x="strength", by="step_factor", summary=summary,  # type: ignore[arg-type]
            factor=factor, bounds=bounds,
        )  # fmt: skip
        figures.curve_by_group(
            ax, curves, xlabel=_strength_label(arm),
            ylabel=label, yscale=scale,  # type: ignore[arg-type]
            label="penalty, step size × {:g}",
        )  # fmt: skip
        for size, dash in zip(sizes, ("-", (0, (2, 2))), strict=False):
            values = factor * plain[name].values[plain["batch_size"].values == size]
            if values.size:
                level = figures.Curve.from_values(
                    np.zeros(1), values[:, None], summary=summary, bounds=bounds,  # type: ignore[arg-type]
                )  # fmt: skip
                ax.axhline(
                    level.centre[0], color="#4d4d4d", lw=1.1, ls=dash, label=f"SGD, B = {size}"
                )
                if np.isfinite([level.low[0], level.high[0]]).all():
                    low, high = level.low[0], level.high[0]
                    ax.axhspan(low, high, color="#4d4d4d", alpha=0.08, lw=0, zorder=1)
                    for edge in (low, high):  # where two bands meet
                        ax.axhline(edge, color="#4d4d4d", lw=0.6, ls=dash, zorder=1)
        what = title.removeprefix(f"{arm}: ")
        shown[what].update({f"{arm}, step size × {group:g}": own for group, own in curves.items()})

    figure = figures.panels(
        cells, draw, columns=len(present), width=2.6, height=2.4, share_x=False, share_y=False
    )
    figures.legend(figure)
    notes = {name: figures.count_note(curves) for name, curves in shown.items() if curves}
    figures.note(figure, figures.joint_note(notes))
    return figure


def _strength_label(arm: str) -> str:
    if ARMS[arm].strength == "rho":
        return "ρ (relative)" if arm.startswith("asam") else "ρ (parameters)"
    return "factor of the penalty (parameter²)"


def draw_attacks(result: xr.Dataset) -> Figure:
    """Draw accuracy against ε under both attacks and under random signs."""
    kinds = {"FGSM": "fgsm", "PGD": "pgd", "random signs": "noise"}
    lanes, looks = _shown(result)
    eps = np.concatenate([[0.0], lanes["eps"].values])
    for name in kinds.values():
        # Without attack all begin at the same accuracy.
        values = lanes[f"{name}_accuracy"].transpose("lane", "eps").values
        whole = np.concatenate([lanes["clean_accuracy"].values[:, None], values], axis=1)
        lanes = lanes.assign({f"{name}_whole": (("lane", "moved"), whole)})
    lanes = lanes.assign_coords(moved=eps)
    notes: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, kind: str) -> None:
        variable = f"{kinds[kind]}_whole"
        curves = figures.curves(lanes, variable, x="moved", by="name", factor=100, bounds=PERCENT)
        figures.curves_with_bands(
            ax, curves, xlabel="ε (pixels from 0 to 1)", ylabel="accuracy (%)", styles=looks
        )
        ax.set_ylim(-3, 103)
        notes.update({f"{kind}, {name}": curve for name, curve in curves.items()})

    figure = figures.panels(kinds, draw, columns=3, width=2.7, height=2.7)
    figures.legend(figure)
    figures.note(figure, figures.count_note(notes))
    return figure


def draw_certified(result: xr.Dataset) -> Figure:
    """Draw the fraction of test examples certified at a radius, against the radius."""
    lanes, looks = _shown(result)
    curves = figures.curves(
        lanes, "certified_accuracy", x="certified_ball", by="name", factor=100, bounds=PERCENT
    )
    figure, ax = figures.axes(6.0, 3.6)
    figures.curves_with_bands(
        ax, curves, xlabel="certified Euclidean radius (pixels from 0 to 1)",
        ylabel="test examples certified (%)", xscale="log", styles=looks,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(figure, figures.count_note(curves))
    return figure


DRAWINGS = (
    Drawing(
        "flatness", "Test error against the largest Hessian eigenvalue, which a rescaling of layers changes, "
        "and against adaptive sharpness, which it does not: one point a run.", draw_flatness,
    ),
    Drawing(
        "strength", "Largest Hessian eigenvalue and test error of large batches against the strength of each "
        "penalty; lines across, with their intervals: SGD without it.", draw_strength,
    ),
    Drawing(
        "spectra", "Largest Hessian eigenvalues of the published protocols, heavy ball and Adam, after "
        "several lengths of training.", draw_spectra,
    ),
    Drawing(
        "attacks", "Accuracy on test examples moved by FGSM, PGD and random signs.", draw_attacks
    ),
    Drawing(
        "certified", "Distribution of certified radii: the fraction of test examples that no change of "
        "that length makes the network misclassify.", draw_certified,
    ),
)  # fmt: skip


def _shown(result: xr.Dataset) -> tuple[xr.Dataset, dict[Hashable, figures.Style]]:
    """Return the lanes of the figures of robustness with their names, and how each name looks."""
    lanes = compared(result)
    keep: list[int] = []
    for arm, which in _SHOWN:
        if arm in paired_cells.arms(lanes):
            size = paired_cells.batch_sizes(lanes, arm)[which]
            own = (lanes["arm"].values == arm) & (lanes["batch_size"].values == size)
            keep += np.flatnonzero(own).tolist()
    lanes = lanes.isel(lane=keep)
    names = _names(lanes)
    return lanes.assign_coords(name=("lane", np.asarray(names, object))), figures.categorical(names)


def _names(lanes: xr.Dataset) -> list[str]:
    return [
        f"{arm}, B = {size}"
        for arm, size in zip(lanes["arm"].values, lanes["batch_size"].values, strict=True)
    ]


def _of(result: xr.Dataset, arm: str) -> xr.Dataset:
    return result.isel(lane=np.flatnonzero(result["arm"].values == arm))


def _good(lanes: xr.Dataset) -> xr.Dataset:
    return lanes.isel(lane=np.flatnonzero(paired_cells.usable(lanes).values))


def _epochs(result: xr.Dataset, arm: str, updates: float) -> float:
    lanes = _of(result, arm)
    own = np.flatnonzero(lanes["updates_budget"].values == updates)
    return round(float(np.nanmax(lanes["epochs"].values[own])), 3)


def _empty(text: str) -> Figure:
    figure, ax = figures.axes(5.0, 1.2)
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center", va="center")
    return figure
