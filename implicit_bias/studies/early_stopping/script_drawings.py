"""Figures of the three scripts: what they do, and what is printed for them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from implicit_bias.results import figures
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.early_stopping.scripts import NORM_BATCHES, TRAINED_EVERY
from implicit_bias.studies.rows import by_seed, if_run

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

PRINTED_PATIENCE = {
    "training": {0: 0.326541, 40: 0.008234, 80: 0.001234, 120: 0.000234},
    "test": {0: 0.318932, 40: 0.008912, 80: 0.019234, 120: 0.041823},
}
PRINTED_LINEAR = {
    "training": {0: 0.234567, 100: 0.001234, 200: 0.000567, 300: 0.000123, 400: 4.5e-5, 500: 1.2e-5},
    "test": {0: 0.232145, 100: 0.002789, 200: 0.004123, 300: 0.009156, 400: 0.016234, 500: 0.025456},
}  # fmt: skip
"""Losses that the source prints, by epoch."""

PRINTED_LOOK = {"training": ("o", "0.35"), "test": ("D", "0.0")}


def _printed(ax: Any, losses: dict[str, dict[int, float]], first: float = 0.0) -> None:
    for part, points in losses.items():
        marker, color = PRINTED_LOOK[part]
        ax.plot(
            [max(epoch, first) for epoch in points], list(points.values()), ls="none", marker=marker,
            mfc="none", mec=color, ms=5, label=f"printed, {part}", zorder=4,
        )  # fmt: skip


def draw_patience(result: xr.Dataset) -> Figure:
    """Draw the losses of the first script, and with all layers trained."""
    epochs = result["patience_epoch"].values.astype(float)
    looks = figures.categorical(["training", "test"])
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, trained: str) -> None:
        stated = "stated" in trained
        at = epochs if stated else TRAINED_EVERY * (epochs + 1)
        curves: dict[Hashable, figures.Curve] = {}
        for label, part in (("training", "train"), ("test", "test")):
            values = by_seed(
                result, "patience", "patience_losses", patience_part=part, patience_trained=trained
            )
            curves[label] = figures.Curve.from_values(at, values, summary="geometric mean")
        figures.curves_with_bands(
            ax, curves, xlabel="epochs", ylabel="loss (label²)", yscale="log", styles=looks
        )
        if stated:
            _printed(ax, PRINTED_PATIENCE)
        shown.update(curves)

    figure = figures.panels(
        list(result["patience_trained"].values), draw, columns=2, width=3.3, height=2.7, share_x=False
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown) + " Runs that patience ends are drawn on.",
    )
    return figure


def draw_linear(result: xr.Dataset) -> Figure:
    """Draw the losses of the third script, followed until it converges."""
    epochs = result["linear_time"].values.astype(float)
    looks = figures.categorical(["training", "test"])
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, design: str) -> None:
        curves: dict[Hashable, figures.Curve] = {
            label: figures.Curve.from_values(
                epochs,
                by_seed(result, "linear", f"linear_{part}_path", linear_design=design),
                summary="geometric mean",
            )
            for label, part in (("training", "train"), ("test", "test"))
        }
        figures.curves_with_bands(
            ax, curves, xlabel="epochs", ylabel="loss (label²)", xscale="log", yscale="log",
            styles=looks,
        )  # fmt: skip
        figures.reference_line(ax, 0.01, "variance of the noise")
        ax.axvline(500, color="0.45", ls=(0, (1, 2)), lw=1.2, label="the script ends")
        if design == "as stated":
            _printed(ax, PRINTED_LINEAR, 1.0)
        shown.update(curves)

    figure = figures.panels(
        list(result["linear_design"].values), draw, columns=2, width=3.3, height=2.7
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown) + " What is printed for epoch 0 stands at 1.")
    return figure


def draw_norms(result: xr.Dataset) -> Figure:
    """Draw the growth of the output layer by batch size and way of training."""
    epochs = result["norm_epoch"].values.astype(float) + 1
    names = [f"B = {size}" for size in NORM_BATCHES]
    looks = figures.categorical(names)
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, way: str) -> None:
        curves: dict[Hashable, figures.Curve] = {
            name: figures.Curve.from_values(
                epochs,
                by_seed(result, "norms", "norm_path", norm_way=way, norm_batch=size),
                summary="geometric mean",
            )
            for name, size in zip(names, NORM_BATCHES, strict=True)
        }
        figures.curves_with_bands(
            ax, curves, xlabel="updates" if "updates" in way else "epochs",
            ylabel="‖W₂‖ / ‖W₂‖ at the start", styles=looks,
        )  # fmt: skip
        shown.update(curves)

    figure = figures.panels(
        list(result["norm_way"].values), draw, columns=3, width=2.7, height=2.5, share_x=False
    )
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown) + " Printed: growth to 234.5 (B = 32) and 187.6 (B = 128).",
    )
    return figure


SCRIPT_DRAWINGS = (
    Drawing(
        "script-patience", "Solution C.4: losses of the script as programmed and as printed, and with all "
        "layers trained.", draw_patience, if_run("patience"),
    ),
    Drawing(
        "script-norms", "Solution C.17: growth of the output layer at two batch sizes.", draw_norms,
        if_run("norms"),
    ),
    Drawing(
        "script-linear", "Solution C.18: losses of the script as programmed, as printed, and beyond its "
        "end; and on few examples.", draw_linear, if_run("linear"),
    ),
)  # fmt: skip
"""Figures of the scripts."""
