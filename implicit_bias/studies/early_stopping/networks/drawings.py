"""Figures of the networks' part of the early-stopping study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.early_stopping.networks.rows import (
    accuracies,
    batches,
    ended,
    logged,
    loss_gap,
    penalties,
)
from implicit_bias.studies.early_stopping.networks.rules_sine import TEST, TRAIN
from implicit_bias.studies.early_stopping.networks.sine import PLACES
from implicit_bias.studies.early_stopping.networks.validated import PARTS
from implicit_bias.studies.rows import by_seed, epochs_of, has, if_run, seeds_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

PART_LOOKS = figures.categorical(["training", "test", "validation"])
WORDS = {"train": "training", "valid": "validation", "test": "test"}


def draw_sine(result: xr.Dataset) -> Figure:
    """Draw losses against training time with what is published, and functions learnt by the first seed."""
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        if name != "losses":
            _draw_learnt(ax, result)
            return
        # Both runs follow one path, which the longer one goes on along.
        first, later = (
            by_seed(result, "sine", "sine_time", sine_run=run)[0] for run in ("stated", "longer")
        )
        beyond = later > first[-1]
        curves: dict[Hashable, figures.Curve] = {}
        for part in ("train", "test"):
            begun, gone = (
                by_seed(result, "sine", f"sine_{part}", sine_run=run)
                for run in ("stated", "longer")
            )
            curves[WORDS[part]] = figures.Curve.from_values(
                np.concatenate([first[1:], later[beyond]]),
                np.concatenate([begun[:, 1:], gone[:, beyond]], axis=1),
                summary="geometric mean",
            )
        figures.curves_with_bands(
            ax, curves, xlabel="step size × iterations", ylabel="half mean square", xscale="log",
            yscale="log", styles=PART_LOOKS,
        )  # fmt: skip
        shown.update(curves)
        stated = float(by_seed(result, "sine", "sine_time", sine_run="stated")[0, -1])
        ax.axvline(stated, color="0.4", lw=1.0, ls=(0, (4, 2)))
        ax.annotate(
            "1000 iterations\nas stated", (stated, 0.03), xycoords=("data", "axes fraction"),
            xytext=(-4, 0), textcoords="offset points", ha="right", va="bottom", fontsize=7,
        )  # fmt: skip
        for (low, high), colour in ((TRAIN, "training"), (TEST, "test")):
            ax.axhspan(low, high, color=PART_LOOKS[colour].colour, alpha=0.13, lw=0, zorder=0)

    figure = figures.panels(
        ["losses", "functions learnt, first seed"], draw, columns=2, width=3.4, height=2.8,
        share_x=False, share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown) + " Shaded: the published ranges of training and test loss.",
    )
    return figure


def _draw_learnt(ax: Any, result: xr.Dataset) -> None:
    x = np.asarray(PLACES)
    points = by_seed(result, "sine", "sine_points")[0]
    ax.plot(x, np.sin(x), color="0.6", lw=3.0, label="sin x")
    for (run, words), look in zip(
        {"stated": "after 1000 iterations", "longer": "trained longer"}.items(),
        list(figures.categorical(range(5)).values())[3:],
        strict=True,
    ):
        ax.plot(
            x, by_seed(result, "sine", "sine_learnt", sine_run=run)[0], color=look.colour,
            ls=look.dash, label=words,
        )  # fmt: skip
    ax.scatter(*points.T, s=14, color="0.1", zorder=4, label="training points")
    ax.set_xlabel("x")
    ax.set_ylabel("f(x)")


def draw_validated(result: xr.Dataset) -> Figure:
    """Draw training, validation and test loss: in the stated designs, and on few and noisy points."""
    shown: dict[Hashable, figures.Curve] = {}
    loss, few = (by_seed(result, "validated", name) for name in ("curve_loss", "few_loss"))
    batch_sizes, steps = result["curve_batch"].values, result["curve_step"].values
    designs = {
        f"batch {batch:g}, step size {step:g}": (result["curve_epoch"].values, loss[:, row, column])
        for row, batch in enumerate(batch_sizes)
        for column, step in enumerate(steps)
        if np.isfinite(loss[:, row, column]).all(axis=(1, 2)).sum() > 1
    }
    designs["few and noisy points"] = (result["few_update"].values, few)

    def draw(ax: Any, name: str) -> None:
        x, table = designs[name]
        # A seed that diverges is left out of a panel as a whole.
        curves: dict[Hashable, figures.Curve] = {
            WORDS[part]: figures.Curve.from_values(
                np.asarray(x, float), table[:, :, PARTS.index(part)], summary="geometric mean"
            )
            for part in ("train", "test", "valid")
        }
        control = name == "few and noisy points"
        figures.curves_with_bands(
            ax, curves, xlabel="updates" if control else "epochs", ylabel="mean square",
            xscale="log", yscale="log", styles=PART_LOOKS,
        )  # fmt: skip
        if not control:
            for epoch, value in ((65, 0.018), (200, 0.035)):
                ax.plot(epoch, value, marker="x", ls="none", color="0.1", ms=6, zorder=5)
        shown[name] = curves[WORDS["test"]]

    figure = figures.panels(
        list(designs), draw, columns=2, width=3.2, height=2.4, share_x=False,
        share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown)
        + " Crosses: published test losses at the optimum and at the end.",
    )
    return figure


def draw_points(result: xr.Dataset) -> Figure:
    """Draw the loss of each test point of the first seed against time, for exercise C.8 and its control."""
    places = by_seed(result, "validated", "point_place")[0]
    batch_size, step_size = result["curve_batch"].values[0], result["curve_step"].values[0]
    designs = {
        f"batch {batch_size:g}, step size {step_size:g}": (
            result["point_epoch"].values,
            "point_loss",
            "epochs",
        ),
        "few and noisy points": (result["few_update"].values, "few_point_loss", "updates"),
    }

    def draw(ax: Any, name: str) -> None:
        times, variable, unit = designs[name]
        x = places[list(designs).index(name)]
        table = by_seed(result, "validated", variable)[0]
        # Time and place are unevenly spaced; a logarithm of time shows the first epochs too.
        drawn = ax.pcolormesh(
            np.log1p(np.asarray(times, float)), x, np.log10(np.maximum(table.T, 1e-4)),
            cmap="cividis", vmin=-4, vmax=1, shading="nearest", rasterized=True,
        )  # fmt: skip
        ticks = [tick for tick in (0, 1, 10, 100, 1000, 10000) if tick <= times[-1]]
        ax.set_xticks(np.log1p(ticks), [f"{tick:g}" for tick in ticks])
        ax.grid(False)
        ax.set_xlabel(unit)
        ax.set_ylabel("test point x")
        ax.figure.colorbar(drawn, ax=ax, label="log₁₀ squared residual")

    figure = figures.panels(
        list(designs), draw, columns=2, width=3.3, height=2.7, share_x=False, share_y=False
    )
    figures.note(figure, "Test points of the first seed; residuals below 0.01 are drawn as 0.01.")
    return figure


def draw_decay(result: xr.Dataset) -> Figure:
    """Draw losses, norm and accuracies at the end against the penalty."""
    shown: dict[Hashable, figures.Curve] = {}
    lambdas = np.asarray(penalties(result, "decay"))
    places = np.arange(lambdas.size)  # evenly, as one of them is 0
    looks = {**PART_LOOKS, "‖W‖": figures.categorical(range(4))[3]}

    def table(name: str) -> np.ndarray:
        return np.stack(
            [ended(result, "decay", name, penalty=float(one)) for one in lambdas], axis=1
        )

    def draw(ax: Any, name: str) -> None:
        parts = {WORDS[part]: part for part in ("train", "test")}
        curves: dict[Hashable, figures.Curve]
        match name:
            case "loss":
                found = {word: table(f"{part}_loss") for word, part in parts.items()}
                label, scale = "cross-entropy (nats)", "log"
            case "accuracy":
                found = {word: 100 * (1 - table(f"{part}_error")) for word, part in parts.items()}
                label, scale = "accuracy (%)", "linear"
            case _:
                found = {"‖W‖": table("weight_norm")}
                label, scale = "‖W‖ (parameter)", "log"
        curves = {word: figures.Curve.from_values(places, values) for word, values in found.items()}
        figures.curve_by_group(
            ax, curves, xlabel="penalty λ", ylabel=label, xscale="linear",
            yscale="log" if scale == "log" else "linear", styles=looks,
        )  # fmt: skip
        ax.set_xticks(range(lambdas.size), [f"{penalty:g}" for penalty in lambdas])
        shown.update(curves)

    figure = figures.panels(
        ["loss", "accuracy", "norm"], draw, columns=3, width=2.7, height=2.5, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_gaps(result: xr.Dataset) -> Figure:
    """Draw gap and test loss against epochs, by batch size and penalty."""
    shown: dict[Hashable, figures.Curve] = {}
    none, penalty = penalties(result, "gap")
    names = [
        (f"batch {size}" + (f", λ = {one:g}" if one else ""), {"batch_size": size, "penalty": one})
        for one in (none, penalty)
        for size in batches(result, "gap")
    ]
    looks = figures.categorical([name for name, _ in names])

    def draw(ax: Any, what: str) -> None:
        curves: dict[Hashable, figures.Curve] = {}
        for name, at in names:
            x = epochs_of(result, "gap", **at)
            values = (
                loss_gap(result, "gap", **at)
                if what == "gap"
                else logged(result, "gap", "test_loss", **at)
            )
            curves[name] = figures.Curve.from_values(x, values)
        figures.curves_with_bands(
            ax, curves, xlabel="epochs",
            ylabel="test − training loss (nats)" if what == "gap" else "test loss (nats)",
            yscale="linear" if what == "gap" else "log", styles=looks,
        )  # fmt: skip
        shown.update(curves)

    figure = figures.panels(
        ["gap", "test loss"], draw, columns=2, width=3.3, height=2.7, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_overfit(result: xr.Dataset) -> Figure:
    """Draw losses, gap and accuracies of few examples against epochs."""
    shown: dict[Hashable, figures.Curve] = {}
    x = epochs_of(result, "overfit")
    looks = {**PART_LOOKS, "test − training": figures.categorical(range(4))[3]}

    def draw(ax: Any, name: str) -> None:
        curves: dict[Hashable, figures.Curve]
        match name:
            case "loss":
                curves = {
                    WORDS[part]: figures.Curve.from_values(
                        x, logged(result, "overfit", f"{part}_loss")
                    )
                    for part in ("train", "test", "valid")
                }
                label = "cross-entropy (nats)"
            case "gap":
                gap = loss_gap(result, "overfit")
                curves = {"test − training": figures.Curve.from_values(x, gap)}
                label = "test − training loss (nats)"
            case _:
                curves = {
                    WORDS[part]: figures.Curve.from_values(
                        x, accuracies(result, "overfit", part), bounds=(0.0, 100.0)
                    )
                    for part in ("train", "test", "valid")
                }
                label = "accuracy (%)"
        figures.curves_with_bands(
            ax, curves, xlabel="epochs", ylabel=label, styles=looks,
            yscale="log" if name == "loss" else "linear",
        )  # fmt: skip
        shown.update(curves)

    figure = figures.panels(
        ["loss", "gap", "accuracy"], draw, columns=3, width=2.7, height=2.5, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_classes(result: xr.Dataset) -> Figure:
    """Draw training and test accuracy by class at the stated epochs, means over seeds."""
    at = epochs_of(result, "overfit")
    stated = [place for place, epoch in enumerate(at) if epoch in (10, 50, 100, 150, 200)]
    stated = stated or [len(at) - 1]
    table = 100 * np.nanmean(logged(result, "overfit", "class_accuracy")[:, stated], axis=0)
    parts = [str(part) for part in result["class_part"].values]

    def draw(ax: Any, word: str) -> None:
        part = next(place for place, one in enumerate(parts) if WORDS[one] == word)
        ax.imshow(table[:, part].T, cmap="cividis", vmin=0, vmax=100, aspect="auto", origin="lower")
        ax.set_xticks(range(len(stated)), [f"{at[place]:g}" for place in stated])
        ax.set_yticks(range(table.shape[2]), [str(one) for one in result["class"].values])
        for column in range(table.shape[0]):
            for row in range(table.shape[2]):
                value = table[column, part, row]
                ax.text(
                    column, row, f"{value:.0f}", ha="center", va="center", fontsize=7,
                    color="0.05" if value > 55 else "1.0",
                )  # fmt: skip
        ax.grid(False)
        ax.set_xlabel("epochs")
        ax.set_ylabel("class")

    figure = figures.panels(
        [WORDS[part] for part in parts], draw, columns=2, width=2.8, height=3.2, share_x=False
    )
    figures.note(
        figure, f"Accuracy in %, mean over {seeds_of(result).size} seeds; lighter is better."
    )
    return figure


NETWORK_DRAWINGS = (
    Drawing(
        "sine",
        "A ReLU network on few points of a sine: the stated number of iterations ends long before the "
        "published losses.",
        draw_sine,
        if_run("sine"),
    ),
    Drawing(
        "validated",
        "Training, validation and test loss of a ReLU network on a noisy sine.",
        draw_validated,
        if_run("validated"),
    ),
    Drawing(
        "points",
        "Squared residual of each test point while a ReLU network fits a noisy sine.",
        draw_points,
        lambda result: has(result, "validated") and "point_loss" in result,
    ),
    Drawing("decay", "What an explicit penalty does.", draw_decay, if_run("decay")),
    Drawing(
        "gaps", "Gap and test loss by batch size, without and with a penalty.", draw_gaps, if_run("gap")
    ),
    Drawing(
        "overfit", "Few examples for many epochs: losses, gap, accuracies.", draw_overfit,
        if_run("overfit"),
    ),
    Drawing("classes", "Accuracy by class while few examples are fitted.", draw_classes, if_run("overfit")),
)  # fmt: skip
"""Figures of the networks' part."""
