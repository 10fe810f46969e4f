"""Figures of the step-size study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.statistics import PERCENT
from implicit_bias.studies.rows import along, has, values_of
from implicit_bias.studies.step_size.arms import ADAM, ADAMW, CONSTANT, FALLING, MOMENTUM, SGD
from implicit_bias.studies.step_size.rows import (
    accuracy,
    ended,
    epochs,
    logged,
    of_variant,
    variants,
    whole_factors,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

LOOKS = figures.categorical([SGD, MOMENTUM, ADAM, ADAMW])


def draw_optimisers(result: xr.Dataset) -> Figure:
    """Draw test accuracy, test loss and norm against epochs, by optimiser at its stated step size."""
    shown: dict[Hashable, figures.Curve] = {}
    panels = {
        "test accuracy": ("test accuracy (%)", "linear"),
        "test loss": ("test loss (nats)", "log"),
        "training loss": ("training loss (nats)", "log"),
        "norm": ("‖W‖ (parameter)", "linear"),
    }
    names = {
        "test accuracy": "test_error", "test loss": "test_loss", "training loss": "train_loss",
        "norm": "weight_norm",
    }  # fmt: skip

    def draw(ax: Any, panel: str) -> None:
        curves: dict[Hashable, figures.Curve] = {}
        for name in (SGD, MOMENTUM, ADAM):
            values = logged(result, "optimisers", name, names[panel], factor=1.0)
            bounded = panel == "test accuracy"
            curves[name] = figures.Curve.from_values(
                epochs(result, "optimisers", name, factor=1.0),
                100 * (1 - values) if bounded else values,
                summary="geometric mean" if panel in ("test loss", "training loss") else "mean",
                bounds=PERCENT if bounded else (-np.inf, np.inf),
            )
        label, scale = panels[panel]
        figures.curves_with_bands(
            ax, curves, xlabel="epochs", ylabel=label, styles=LOOKS, xscale="symlog",
            yscale="log" if scale == "log" else "linear",
        )  # fmt: skip
        if panel == "test accuracy":
            low = min(float(np.nanmin(curve.centre[curve.x >= 1])) for curve in curves.values())
            ax.set_ylim(max(0.0, low - 2), min(ax.get_ylim()[1], 100.5))
        shown.update({f"{name}, {panel}": curve for name, curve in curves.items()})

    figure = figures.panels(
        list(panels), draw, columns=2, width=3.2, height=2.4, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_norm_accuracy(result: xr.Dataset) -> Figure:
    """Draw test accuracy against norm at the end, and by step size, or by optimiser where each has one."""
    shown: dict[Hashable, figures.Curve] = {}
    names = (SGD, MOMENTUM, ADAM)
    tried = {name: whole_factors(result, "optimisers", name) for name in names}
    several = max(map(len, tried.values())) > 1

    def table(name: str) -> np.ndarray:
        return np.stack(
            [accuracy(result, "optimisers", name, factor=float(f)) for f in tried[name]], axis=1
        )

    def draw(ax: Any, panel: str) -> None:
        if panel == "against norm":
            for name in names:
                for factor, column in zip(tried[name], table(name).T, strict=True):
                    stated = np.isclose(factor, 1)
                    norm = ended(result, "optimisers", name, "weight_norm", factor=float(factor))
                    ax.scatter(
                        norm, column, s=26, marker=LOOKS[name].marker, linewidths=1.1,
                        facecolors=LOOKS[name].colour if stated else "none",
                        edgecolors=LOOKS[name].colour, label=name if stated else None,
                    )  # fmt: skip
            ax.set_xscale("log")
            figures.plain_log_ticks(ax.xaxis)
            ax.set_xlabel("‖W‖ (parameter)")
            ax.set_ylabel("test accuracy (%)")
            return
        curves: dict[Hashable, figures.Curve] = {
            name: figures.Curve.from_values(
                tried[name] if several else np.asarray([float(place)]), table(name), bounds=PERCENT
            )
            for place, name in enumerate(names)
        }
        figures.curve_by_group(
            ax, curves, xlabel="step size / the stated one" if several else "",
            ylabel="test accuracy (%)", xscale="log" if several else "linear", styles=LOOKS,
        )  # fmt: skip
        if not several:
            ax.set_xticks(range(len(names)), names)
            ax.set_xlim(-0.5, len(names) - 0.5)
        shown.update(curves)

    figure = figures.panels(
        ["against norm", "by step size" if several else "by optimiser"], draw, columns=2, width=3.2,
        height=2.6, share_x=False,
    )  # fmt: skip
    figures.legend(figure)
    said = "Filled: the stated step size; hollow: others. " if several else ""
    figures.note(figure, said + figures.count_note(shown))
    return figure


def draw_steps(result: xr.Dataset) -> Figure:
    """Draw λmax, η λmax and test error against the step size, and test error against λmax."""
    shown: dict[Hashable, figures.Curve] = {}
    steps = values_of(result, "steps", "step_size")
    sharp = along(result, "steps", "lambda_max", "step_size")
    error = 100 * along(result, "steps", "test_error", "step_size")
    looks = figures.categorical(["equal epochs", "equal training loss"])
    shades = figures.ordered([f"{step:g}" for step in steps])

    def draw(ax: Any, panel: str) -> None:
        if panel == "error against λmax":
            for place, step in enumerate(steps):
                look = shades[f"{step:g}"]
                ax.scatter(
                    sharp[:, place], error[:, place], s=24, color=look.colour, marker=look.marker,
                    edgecolors="0.2", linewidths=0.4, label=f"η = {step:g}",
                )  # fmt: skip
            ax.set_xscale("log")
            figures.plain_log_ticks(ax.xaxis)
            ax.set_xlabel("λmax (nats/parameter²)")
            ax.set_ylabel("test error (%)")
            return
        curves: dict[Hashable, figures.Curve] = {}
        scale = steps if panel == "η λmax" else np.ones(len(steps))
        if panel == "test error":
            curves["equal epochs"] = figures.Curve.from_values(steps, error, bounds=PERCENT)
        else:
            curves["equal epochs"] = figures.Curve.from_values(
                steps, sharp * scale, summary="geometric mean"
            )
            if has(result, "matched"):
                there = along(result, "matched", "reached_target", "step_size") == 1
                found = along(result, "matched", "lambda_max", "step_size")
                curves["equal training loss"] = figures.Curve.from_values(
                    steps, np.where(there, found, np.nan) * scale, summary="geometric mean"
                )
        figures.curve_by_group(
            ax, curves, xlabel="step size η", styles=looks, xscale="log",
            ylabel={"λmax": "λmax (nats/parameter²)", "η λmax": "η λmax"}.get(panel, "test error (%)"),
            yscale="linear" if panel == "test error" else "log",
        )  # fmt: skip
        if panel == "η λmax":
            figures.reference_line(ax, 2.0, "edge of stability")
        shown.update({f"{panel}, {name}": curve for name, curve in curves.items()})

    figure = figures.panels(
        ["λmax", "η λmax", "test error", "error against λmax"], draw, columns=2, width=3.2,
        height=2.5, share_x=False, share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_tuning(result: xr.Dataset) -> Figure:
    """Draw test accuracy against the step size, by optimiser, a panel a batch size."""
    shown: dict[Hashable, figures.Curve] = {}
    small, large = (int(size) for size in values_of(result, "tuning", "batch_size"))
    decays = [float(d) for d in values_of(result, "tuning", "decoupled_weight_decay") if d > 0]
    rows: dict[str, tuple[str, dict[str, float]]] = {MOMENTUM: (MOMENTUM, {}), ADAM: (ADAM, {})}
    rows |= {
        f"AdamW, decay {decay:g}": (ADAMW, {"decoupled_weight_decay": decay}) for decay in decays
    }
    looks = figures.categorical(rows)

    def draw(ax: Any, size: int) -> None:
        curves: dict[Hashable, figures.Curve] = {}
        for label, (name, at) in rows.items():
            own = of_variant(result, "tuning", name)
            factors = values_of(own, "tuning", "factor")
            table = [
                accuracy(
                    result, "tuning", name, "test", batch_size=size, factor=float(factor), **at
                )
                for factor in factors
            ]
            curves[label] = figures.Curve.from_values(
                factors, np.stack(table, axis=1), bounds=PERCENT
            )
        figures.curve_by_group(
            ax, curves, xlabel="step size / the stated one", ylabel="test accuracy (%)", xscale="log",
            styles=looks,
        )  # fmt: skip
        ax.set_title(f"batch {size}", loc="left")
        shown.update({f"{label}, batch {size}": curve for label, curve in curves.items()})

    figure = figures.panels([small, large], draw, columns=2, width=3.3, height=2.6)
    for ax, size in zip(figure.axes, (small, large), strict=False):
        ax.set_title(f"batch {size}", loc="left")
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_variants(result: xr.Dataset) -> Figure:
    """Draw training and test accuracy, and norm, against epochs, a line a variant of arms with several."""
    arms = [arm for arm in ("variants", "decay") if has(result, arm)]
    panels = {
        f"{arm}: {what}": (arm, what)
        for arm in arms
        for what in ("training accuracy", "test accuracy", "norm")
    }
    shown: dict[Hashable, figures.Curve] = {}
    names = list(dict.fromkeys(name for arm in arms for name in variants(result, arm)))
    looks = figures.categorical(names)

    def draw(ax: Any, panel: str) -> None:
        arm, what = panels[panel]
        curves: dict[Hashable, figures.Curve] = {}
        for name in variants(result, arm):
            if what == "norm":
                values = logged(result, arm, name, "parameter_norm")
                curves[name] = figures.Curve.from_values(
                    epochs(result, arm, name), values, summary="geometric mean"
                )
            else:
                part = what.split()[0].replace("training", "train")
                values = 100 * (1 - logged(result, arm, name, f"{part}_error"))
                curves[name] = figures.Curve.from_values(
                    epochs(result, arm, name), values, bounds=PERCENT
                )
        figures.curves_with_bands(
            ax, curves, xlabel="epochs", styles=looks,
            ylabel="‖θ‖ (parameter)" if what == "norm" else f"{what} (%)",
            yscale="log" if what == "norm" else "linear",
        )  # fmt: skip
        shown.update({f"{arm}, {name}": curve for name, curve in curves.items()})

    figure = figures.panels(
        list(panels), draw, columns=3, width=2.7, height=2.4, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_long(result: xr.Dataset) -> Figure:
    """Draw losses and test error of long training against epochs, falling and constant step size."""
    shown: dict[Hashable, figures.Curve] = {}
    looks = figures.categorical([f"{name} step size" for name in (FALLING, CONSTANT)])
    parts = {"training loss": "train_loss", "test loss": "test_loss", "test error": "test_error"}

    def draw(ax: Any, panel: str) -> None:
        curves: dict[Hashable, figures.Curve] = {}
        wrong = panel == "test error"
        for name in (FALLING, CONSTANT):
            values = logged(result, "long", name, parts[panel])
            curves[f"{name} step size"] = figures.Curve.from_values(
                epochs(result, "long", name), 100 * values if wrong else values,
                summary="mean" if wrong else "geometric mean",
            )  # fmt: skip
        figures.curves_with_bands(
            ax, curves, xlabel="epochs", ylabel="test error (%)" if wrong else f"{panel} (nats)",
            styles=looks, xscale="symlog", yscale="linear" if wrong else "log",
        )  # fmt: skip
        shown.update({f"{panel}, {name}": curve for name, curve in curves.items()})

    figure = figures.panels(
        list(parts), draw, columns=3, width=2.7, height=2.5, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure
