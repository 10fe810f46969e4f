"""Figures and methods of the ntk-width study."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.ntk_width.settings import ARMS, NETWORKS
from implicit_bias.studies.ntk_width.slopes import WIDTH
from implicit_bias.studies.ntk_width.tables import trial

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

PUBLISHED = {32: 0.94, 4096: 0.08}
"""Relative movement by width, as published; the set-up is known in parts only."""

LOOKS = figures.categorical([*ARMS, "K₀", "K₀, end"])

METHODS = """Every arm trains the same dense network at all widths with one step size, on mini-batches in the
same order, for the same number of passes; each seed redraws training set, initial weights and order. Widths
that share a compiled program are padded to the largest of them; a padded network computes what the narrow
one does, and every quantity is that of the true network.

The arm standard is as much of the published set-up as is known: one hidden layer, cross-entropy, initial
weights of PyTorch's variance (normal, zero biases). The arm mup differs from it in the parameterisation
alone; at width 64 they are the same network. The arm ntk has the infinite-width kernel as its limit. Its
function at the start is subtracted, and it is trained on the squared loss, so that kernels predict its
outputs in closed form; linearised trains its first-order expansion in the same way.

Kernels are empirical neural tangent kernels averaged over outputs, on test examples; changes are relative
to the kernel at the start, in Frobenius norm. A unit and a training example flip where the unit was on and
is off, or the other way. Exponents are slopes of logarithms against the logarithm of the width, one for each
seed, over all widths; intervals are Student's over seeds, at the level at which all that the claims need
hold together (Bonferroni).

Kernel descent follows gradient descent on the squared loss in function space, on the examples of the seed
and for as many updates as its networks had, in double precision; networks take these updates on
mini-batches, whose noise is part of their distance. Ridgeless regression is where it ends. An average over
outputs leaves out what couples different outputs of a finite network, which vanishes as it widens; the
linearised networks have it.

The average of kernels over initialisations is taken of networks with one hidden layer, where the
infinite-width kernel is its expectation at any width. Units that are off on all examples are made in small
networks of two and three layers, trained in double precision by descent written out by hand."""


def draw_movement(result: xr.Dataset) -> Figure:
    """Draw relative movement and kernel change against width, with the published ends."""
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        _against_width(ax, result, QUANTITIES[name], name, shown)
        if name == "parameters":
            _published(ax, result)
        _inverse_root(ax, result)

    return _panels(["parameters", "kernel"], draw, shown)


def draw_units(result: xr.Dataset) -> Figure:
    """Draw flips of activation patterns and the change of features against width."""
    shown: dict[Hashable, figures.Curve] = {}
    names = ["activation patterns", "features"]
    if not np.isfinite(result["flips"].values).any():
        names = names[1:]

    def draw(ax: Any, name: str) -> None:
        _against_width(ax, result, QUANTITIES[name], name, shown)

    return _panels(names, draw, shown)


QUANTITIES: dict[str, tuple[str, str, float]] = {
    "parameters": ("relative_movement", "‖θ − θ₀‖ / ‖θ₀‖", 1.0),
    "kernel": ("kernel_change", "‖K − K₀‖ / ‖K₀‖", 1.0),
    "activation patterns": ("flips", "flipped units and examples (%)", 100.0),
    "features": ("feature_change", "‖Φ − Φ₀‖ / ‖Φ₀‖", 1.0),
}
"""Variable, label and factor of each panel."""


def _against_width(
    ax: Any,
    result: xr.Dataset,
    quantity: tuple[str, str, float],
    panel: str,
    shown: dict[Hashable, figures.Curve],
) -> None:
    name, label, factor = quantity
    own = result.isel(lane=np.flatnonzero(np.isin(result["arm"].values, NETWORKS)))
    curves = figures.curves(own, name, x=WIDTH, by="arm", summary="geometric mean", factor=factor)
    figures.curve_by_group(
        ax, curves, xlabel="width (units)", ylabel=label, yscale="log", styles=LOOKS
    )
    shown.update({f"{arm}, {panel}": curve for arm, curve in curves.items()})


def _published(ax: Any, result: xr.Dataset) -> None:
    """Mark the published ends that lie among the widths."""
    widths = result[WIDTH].values
    least, most = np.nanmin(widths), np.nanmax(widths)
    there = {width: value for width, value in PUBLISHED.items() if least <= width <= most}
    if there:
        ax.plot(
            list(there), list(there.values()), ls="none", marker="*", markersize=10,
            markerfacecolor="white", markeredgecolor="0.1", label="published", zorder=5,
        )  # fmt: skip


def _inverse_root(ax: Any, result: xr.Dataset) -> None:
    """Draw a guide of slope −1/2 through the middle of the panel."""
    widths = np.unique(result[WIDTH].values[np.isin(result["arm"].values, NETWORKS)])
    low, high = ax.get_ylim()
    middle = np.exp((np.log(low) + np.log(high)) / 2)
    guide = middle * (widths / np.exp(np.log(widths).mean())) ** -0.5
    ax.plot(widths, guide, ls=(0, (1, 2)), lw=1.0, color="0.4", label="∝ width^(−1/2)", zorder=1)


def draw_errors(result: xr.Dataset) -> Figure:
    """Draw test errors of networks, linearised networks and kernels against width."""
    shown: dict[Hashable, figures.Curve] = {}
    figure, ax = figures.axes(6.2, 3.8)
    own = result.isel(lane=np.flatnonzero(np.isin(result["arm"].values, list(ARMS))))
    curves = figures.curves(own, "test_error", x=WIDTH, by="arm", factor=100, bounds=(0.0, 100.0))
    for name, label in (("own_error", "K₀"), ("own_error_limit", "K₀, end")):
        values = trial(result, name)
        if values is not None:
            curves[label] = figures.Curve.from_values(
                result["kernel_width"].values, 100 * values, bounds=(0.0, 100.0)
            )
    figures.curve_by_group(
        ax, curves, xlabel="width (units)", ylabel="test error (%)", styles=LOOKS
    )
    for name, label in (
        ("infinite_error", "K∞, same time"), ("infinite_error_limit", "K∞, end")
    ):  # fmt: skip
        values = trial(result, name)
        if values is not None:
            figures.reference_line(ax, float(100 * np.nanmean(values)), label)
            if "end" in label:
                ax.lines[-1].set_linestyle((0, (6, 2)))
    shown.update(curves)
    figures.legend(figure)
    said = figures.count_note(shown)
    if trial(result, "own_error") is not None:
        said += (
            " K₀, K∞: descent with the kernel of arm ntk at its start, and of infinite width, for the "
            "networks' time or to its end; lines of K∞ are means over seeds."
        )
    figures.note(figure, said)
    return figure


def draw_limit(result: xr.Dataset) -> Figure:
    """Draw how kernels and functions of arm ntk approach their limits with width."""
    widths = result["kernel_width"].values.astype(float)
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        if name == "kernel at the start":
            groups = {"K₀ from K∞": "kernel_error"}
            label = "‖K₀ − K∞‖ / ‖K∞‖"
        else:
            groups = {"network from descent with K∞": "infinite_distance",
                      "network from descent with K₀": "own_distance"}  # fmt: skip
            label = "mean squared difference\nof a test output"
        curves: dict[Hashable, figures.Curve] = {}
        for group, variable in groups.items():
            values = trial(result, variable)
            assert values is not None
            curves[group] = figures.Curve.from_values(widths, values, summary="geometric mean")
        figures.curve_by_group(
            ax, curves, xlabel="width (units)", ylabel=label, yscale="log", styles=styles
        )
        shown.update(curves)

    styles = figures.categorical(
        ["K₀ from K∞", "network from descent with K∞", "network from descent with K₀"]
    )
    return _panels(["kernel at the start", "function after training"], draw, shown)


def _panels(
    names: Sequence[str], draw: Callable[[Any, Any], None], shown: dict[Hashable, figures.Curve]
) -> Figure:
    figure = figures.panels(names, draw, columns=2, width=3.3, height=2.7, share_y=False)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def _networks(result: xr.Dataset) -> bool:
    return bool(np.isin(result["arm"].values, NETWORKS).any())


DRAWINGS = (
    Drawing(
        "movement", "How far parameters and kernel moved in training, relative to their start, against the "
        "width; stars are published.", draw_movement, _networks,
    ),
    Drawing(
        "units", "Activation patterns that flipped, and the change of the last hidden layer, against the "
        "width.", draw_units, _networks,
    ),
    Drawing(
        "errors", "Test errors against the width: networks, linearised networks, and kernels on the same "
        "training examples.", draw_errors,
    ),
    Drawing(
        "limit", "How the networks of arm ntk approach their infinite-width limit: the kernel at the start, "
        "and the function after training.", draw_limit,
        lambda result: trial(result, "infinite_distance") is not None,
    ),
)  # fmt: skip
