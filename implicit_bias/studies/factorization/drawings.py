"""Figures of the factorization study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias import theory
from implicit_bias.results import figures
from implicit_bias.studies.factorization.modes import LEARNT, STARTS, TARGETS
from implicit_bias.studies.factorization.plane import LEAST_NORM
from implicit_bias.studies.factorization.plane import STARTS as PLANE_STARTS
from implicit_bias.studies.factorization.sensing import CASES
from implicit_bias.studies.rows import by_seed, has

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def draw_modes(result: xr.Dataset) -> Figure:
    """Draw singular values against time beside the law, by depth, for both starts."""
    depths = [int(depth) for depth in result["mode_depth"].values]
    shown_depths = depths if len(depths) <= 4 else [depths[i] for i in _spread(len(depths), 4)]
    looks = figures.ordered([f"mode {place}" for place in range(1, len(TARGETS) + 1)])
    names = [f"L = {depth}, {start}" for start in ("αI", "turned") for depth in shown_depths]
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        depth = int(name.split(",")[0].removeprefix("L = "))
        start = STARTS[0] if name.endswith("αI") else STARTS[1]
        at = {"mode_depth": depth}
        times = by_seed(result, "modes", "mode_time", **at)[0]
        values = by_seed(result, "modes", "mode_value", mode_start=start, **at)
        aligned = start == STARTS[0]
        # Seeds differ in when they learn a mode: a mean over them would be no seed's path.
        curves: dict[Hashable, figures.Curve] = {
            label: figures.Curve.from_values(
                times, values[:, place] if aligned else values[:1, place], bounds=(0.0, np.inf)
            )
            for place, label in enumerate(looks)
        }
        figures.curves_with_bands(
            ax, curves, xlabel="time of gradient flow", ylabel="singular value", styles=looks
        )
        if not aligned:
            for place, label in enumerate(looks):
                ax.plot(times, values[1:, place].T, color=looks[label].colour, lw=0.7, alpha=0.55)
        ax.set_ylim(-0.05, 1.15)
        law = by_seed(result, "modes", "mode_law", **at)[0]
        for place, line in enumerate(law):
            ax.plot(times, line, color="#d45e03", lw=1.1, ls=(0, (3, 2)), zorder=6,
                    label="law, dσ/dt = L σ^(2−2/L) (c − σ)" if not place else None)  # fmt: skip
        if aligned:
            shown.update(curves)

    figure = figures.panels(
        names, draw, columns=len(shown_depths), width=2.3, height=2.1, share_x=False
    )
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown)
        + " Above: layers αI and a symmetric target, whose vectors they share. Below: "
        "balanced layers of the same size, turned at random, a line a seed.",
    )
    return figure


def _spread(count: int, wanted: int) -> list[int]:
    return sorted({round(place) for place in np.linspace(0, count - 1, wanted)})


def draw_depth(result: xr.Dataset) -> Figure:
    """Draw how far modes are apart, and what depth brings to completion."""
    depths = result["mode_depth"].values.astype(float)
    panels = ["modes apart"] + (
        ["completion: error", "completion: effective rank"] if has(result, "depths") else []
    )
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        curves: dict[Hashable, figures.Curve]
        if name == "modes apart":
            curves = {
                label: figures.Curve.from_values(depths, values, summary="geometric mean")
                for label, values in (
                    ("product fixed, αI", by_seed(result, "modes", "mode_second")[:, 0]),
                    ("product fixed, turned", by_seed(result, "modes", "mode_second")[:, 1]),
                    ("α of a layer fixed (law)", by_seed(result, "modes", "mode_second_scaled")),
                )
            }
            figures.curve_by_group(
                ax, curves, xlabel="layers L", ylabel=f"second mode when the first is at {LEARNT:g}",
                xscale="linear", yscale="log",
            )  # fmt: skip
        else:
            layers = result["depth_layers"].values.astype(float)
            error = name.endswith("error")
            values = by_seed(result, "depths", "depth_error" if error else "depth_rank")
            curves = {
                "network": figures.Curve.from_values(
                    layers, values, summary="geometric mean" if error else "mean"
                )
            }
            figures.curve_by_group(
                ax, curves, xlabel="layers L", xscale="linear", yscale="log" if error else "linear",
                ylabel="error on unseen entries, relative" if error else "effective rank",
                styles=figures.categorical(["unused", "also unused", "not used", "network"]),
            )  # fmt: skip
            least = by_seed(
                result, "depths", "depth_minimum_error" if error else "depth_minimum_rank"
            )
            centre = np.exp(np.log(least).mean()) if error else least.mean()
            figures.reference_line(ax, float(centre), "least nuclear norm")
        shown.update({f"{name}, {group}": curve for group, curve in curves.items()})

    figure = figures.panels(
        panels, draw, columns=len(panels), width=3.0, height=2.8, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_sensing(result: xr.Dataset) -> Figure:
    """Draw the excess of nuclear norm against the start, by case and depth."""
    starts = result["sensing_start"].values.astype(float)
    depths = [int(depth) for depth in result["sensing_depth"].values]
    looks = figures.categorical([f"L = {depth}" for depth in depths])
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, case: str) -> None:
        place = list(CASES).index(case)
        curves: dict[Hashable, figures.Curve] = {
            f"L = {depth}": figures.Curve.from_values(
                starts,
                100 * by_seed(result, "sensing", "sensing_excess")[:, place, column],
                bounds=(0.0, np.inf),
            )
            for column, depth in enumerate(depths)
        }
        figures.curve_by_group(
            ax, curves, xlabel="product at the start, α^L", ylabel="excess of nuclear norm (%)", styles=looks
        )  # fmt: skip
        ax.set_yscale("symlog", linthresh=1.0)
        ax.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        ax.minorticks_off()
        ax.set_ylim(-0.4, 150)
        ax.axhline(0, color="0.45", lw=0.8)
        shown.update({f"{case}, {group}": curve for group, curve in curves.items()})

    figure = figures.panels(list(CASES), draw, columns=5, width=2.1, height=2.4)
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown)
        + " Zero is the least nuclear norm of a solution; the scale is linear below 1 %.",
    )
    return figure


def draw_plane(result: xr.Dataset) -> Figure:
    """Draw norm and effective rank against the loss, where one entry is not seen."""
    losses = result["plane_loss"].values.astype(float)
    depths = [int(depth) for depth in result["plane_depth"].values]
    looks = figures.ordered([f"L = {depth}" for depth in depths])
    ends = figures.categorical([f"L = {depths[-1]}, {start}" for start in PLANE_STARTS])
    panels = {
        "norm, det W > 0 (αI)": ("plane_nuclear", 0, "nuclear norm"),
        "norm, det W < 0 (random)": ("plane_nuclear", 2, "nuclear norm"),
        "effective rank": ("plane_rank", 0, "effective rank"),
    }
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        variable, row, label = panels[name]
        norm = variable == "plane_nuclear"
        if norm:
            curves: dict[Hashable, figures.Curve] = {
                f"L = {depth}": figures.Curve.from_values(
                    losses, by_seed(result, "plane", variable)[:, row, column],
                    summary="geometric mean", least=0.999,
                )
                for column, depth in enumerate(depths)
            }  # fmt: skip
        else:
            curves = {
                f"L = {depths[-1]}, {start}": figures.Curve.from_values(
                    losses, by_seed(result, "plane", variable)[:, place, -1], bounds=(1.0, 2.0)
                )
                for place, start in enumerate(PLANE_STARTS)
            }
        figures.curves_with_bands(
            ax, curves, xlabel="loss", ylabel=label, xscale="log",
            yscale="log" if norm else "linear", styles=looks if norm else ends,
        )  # fmt: skip
        if norm:
            ax.plot(losses, np.maximum(theory.unseen_entry_bound(losses), 1e-9), color="#d45e03", lw=1.1,
                    ls=(0, (3, 2)), label="bound of |W₁₁|, det W > 0")  # fmt: skip
            figures.reference_line(ax, LEAST_NORM, "least nuclear norm of a solution")
            ax.set_ylim(1, 2 / np.sqrt(2 * losses[-1]))
        else:
            ax.set_ylim(0.95, 2.05)
        ax.invert_xaxis()
        shown.update({f"{name}, {group}": curve for group, curve in curves.items()})

    figure = figures.panels(panels, draw, columns=3, width=3.0, height=2.7, share_y=False)
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown) + " Training goes to the right.",
    )
    return figure


def draw_ranks(result: xr.Dataset) -> Figure:
    """Draw effective and stable rank against time, by rank of the truth."""
    times = by_seed(result, "ranks", "rank_time")[0]
    truths = [int(truth) for truth in result["rank_truth"].values]
    looks = figures.ordered([f"truth of rank {truth}" for truth in truths])
    panels = ["effective rank", "stable rank", "effective rank, layer by layer"]
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        if name == panels[2]:
            line = by_seed(result, "ranks", "rank_trained")
            learnt = f"truth of rank {truths[min(1, len(truths) - 1)]}"
            curves: dict[Hashable, figures.Curve] = {
                learnt: figures.Curve.from_values(2 * times, line, bounds=(1.0, np.inf))
            }
        else:
            values = by_seed(result, "ranks", f"rank_{name.split()[0]}")
            curves = {
                f"truth of rank {truth}": figures.Curve.from_values(
                    times, values[:, place], bounds=(1.0, np.inf)
                )
                for place, truth in enumerate(truths)
            }
        figures.curves_with_bands(
            ax, curves, xlabel="time of gradient flow", ylabel="rank", styles=looks, yscale="log"
        )
        figures.reference_line(ax, 8.2, "published end, 8.2")
        shown.update({f"{name}, {group}": curve for group, curve in curves.items()})

    figure = figures.panels(panels, draw, columns=3, width=3.0, height=2.7, share_x=False)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown) + " Five layers from αI unless set otherwise.")
    return figure


def draw_scales(result: xr.Dataset) -> Figure:
    """Draw norms, distances and the kernel's change against the scale of the start."""
    alphas = result["alpha"].values.astype(float)
    panels = {
        "l1 norm over the least one": "one",
        "distance from the least l2 norm": "distance",
        "change of the tangent kernel": "moved",
    }
    looks = figures.categorical(["D = 2", "D = 3"])
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        curves: dict[Hashable, figures.Curve] = {}
        for column, depth in enumerate(result["diagonal_depth"].values):
            kind = panels[name]
            if kind == "one":
                values = 1 + by_seed(result, "diagonal", "diagonal_excess")[:, 0, column]
            else:
                values = by_seed(result, "diagonal", f"diagonal_{kind}")[:, 0, column]
            curves[f"D = {int(depth)}"] = figures.Curve.from_values(
                alphas,
                values,
                summary="mean" if kind == "one" else "geometric mean",
                bounds=(1.0, np.inf) if kind == "one" else (0.0, np.inf),
            )
        figures.curves_with_bands(
            ax, curves, xlabel="scale of the start, α", xscale="log", styles=looks,
            ylabel=name if panels[name] == "one" else "relative",
            yscale="linear" if panels[name] == "one" else "log",
        )  # fmt: skip
        shown.update({f"{name}, {group}": curve for group, curve in curves.items()})
        if panels[name] == "moved" and has(result, "networks"):
            scales = result["network_alpha"].values.astype(float)
            extra: dict[Hashable, figures.Curve] = {
                "ReLU network": figures.Curve.from_values(
                    scales, by_seed(result, "networks", "network_kernel"), summary="geometric mean"
                )
            }
            more = figures.categorical(["D = 2", "D = 3", "ReLU network"])
            figures.curves_with_bands(
                ax, extra, xlabel="scale of the start, α", ylabel="relative", xscale="log", yscale="log",
                styles=more,
            )  # fmt: skip
            shown.update({f"{name}, {group}": curve for group, curve in extra.items()})
            figures.reference_line(ax, 1.0, "as large as the kernel")

    figure = figures.panels(
        panels, draw, columns=3, width=3.0, height=2.8, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown) + " Diagonal networks: sparse truth, D layers.")
    return figure


def draw_widths(result: xr.Dataset) -> Figure:
    """Draw condition number, updates and excess of the limit against width."""
    widths = result["width"].values.astype(float)
    panels = {
        "condition number": ("width_condition", "of the tangent kernel", "log"),
        "updates to fit": ("width_updates", "updates", "log"),
        "nuclear norm of the limit": ("width_excess", "over the least one, less 1", "linear"),
    }
    looks = figures.categorical([str(start) for start in result["width_start"].values])
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        variable, label, scale = panels[name]
        curves: dict[Hashable, figures.Curve] = {
            str(start): figures.Curve.from_values(
                widths, by_seed(result, "widths", variable, width_start=start),
                summary="geometric mean" if scale == "log" else "mean",
            )
            for start in result["width_start"].values
        }  # fmt: skip
        figures.curve_by_group(
            ax, curves, xlabel="width (hidden units)", ylabel=label, styles=looks,
            yscale=scale,  # type: ignore[arg-type]
        )  # fmt: skip
        if scale == "linear":
            ax.set_ylim(bottom=0)
        shown.update({f"{name}, {group}": curve for group, curve in curves.items()})

    figure = figures.panels(
        panels, draw, columns=3, width=3.0, height=2.7, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure
