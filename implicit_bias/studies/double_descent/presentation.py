"""Figures of the networks of the double-descent study, and its methods."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.statistics import Estimate
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.double_descent.features import FITS
from implicit_bias.studies.double_descent.rows import (
    at_values,
    controls,
    features,
    has_features,
    noises,
    noisiest,
    remedies,
    threshold,
)
from implicit_bias.studies.rows import if_run, values_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """Networks with one hidden layer are trained on the squared loss with one-hot targets, all for the
same number of updates of Adam, with a step size that falls to zero as a cosine. Every network starts from
weights of its own draw: none takes over the weights of a narrower one, which moves the peak at will. Each
seed redraws training and validation examples, the labels that are wrong, initial weights and order; widths
of a seed share examples and labels. Training errors and losses are on the noisy labels, test and validation
labels are clean. Nothing stops a network early. The predicted threshold is the width whose network has as
many parameters, biases included, as there are numbers to fit: examples times outputs.

Minimum and peak are sought on curves smoothed over neighbouring widths (¼, ½, ¼): the peak is where the curve
stands highest above the least it was at smaller widths, and the minimum is that least. A place chosen as the
highest flatters itself. Differences are therefore measured crosswise: those of a seed at the places that the
mean curve of all other seeds has. Where a peak lies is a number of each seed, on the grid of widths.
Intervals of differences of mistakes cover new seeds and new test examples.

At control widths and the highest label noise, weight decay (added to the gradient) is chosen for each seed
and width by validation error, none being one of the choices; early stopping takes the evaluation of least
validation error; an ensemble is the mean of outputs of networks that share a seed's examples, wrong labels
and order, and differ in their initial weights. Random features are ReLUs with directions uniform on the
sphere, fitted by least squares in double precision to the examples of the noisiest networks; of the ridges,
the one of least validation loss is taken. Its loss has heavy tails near the threshold: medians are given
there. λmax is that of the Hessian of the mean training loss, by Lanczos from two starts."""


def _noise_name(noise: float) -> str:
    return f"{100 * noise:g} % label noise"


def _mark(ax: Any, at: float, label: str = "parameters = n·K") -> None:
    ax.axvline(at, color="0.45", ls=(0, (1, 2)), lw=1.2, label=label, zorder=0.5)


def _capacities(result: xr.Dataset, arm: str) -> tuple[np.ndarray, float]:
    """Return the parameters of each position of an arm, and how many make the threshold."""
    table = at_values(result, arm, "true_parameters")
    if len(noises(result, arm)) > 1:
        table = at_values(result, arm, "true_parameters", label_noise=noises(result, arm)[-1])
    rows = result["arm"].values == arm
    examples = float(result["examples"].values[rows].astype(float).max())
    return np.nanmax(table, axis=0), examples * result["output"].size


def _against_parameters(result: xr.Dataset, arm: str) -> Figure:
    parameters, needed = _capacities(result, arm)
    levels = list(reversed(noises(result, arm)))
    quantities = {
        "test error (%)": ("test_error", 100.0, (0.0, 100.0), "mean"),
        "training error (%)": ("train_error", 100.0, (0.0, 100.0), "mean"),
        "test loss": ("test_loss", 1.0, (0.0, np.inf), "geometric mean"),
        "training loss": ("train_loss", 1.0, (0.0, np.inf), "geometric mean"),
    }
    looks = figures.categorical([_noise_name(noise) for noise in levels])
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        variable, factor, bounds, summary = quantities[name]
        made: dict[Hashable, figures.Curve] = {
            _noise_name(noise): figures.Curve.from_values(
                parameters,
                factor * at_values(result, arm, variable, label_noise=noise),
                summary=summary,  # type: ignore[arg-type]
                bounds=bounds,
            )
            for noise in levels
        }
        figures.curves_with_bands(
            ax, made, xlabel="parameters", ylabel=name, xscale="log", styles=looks,
            yscale="log" if "loss" in name else "linear",
        )  # fmt: skip
        _mark(ax, needed)
        shown.update({f"{key}, {name}": one for key, one in made.items()})

    figure = figures.panels(quantities, draw, columns=2, width=3.3, height=2.5, share_y=False)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_curve(result: xr.Dataset) -> Figure:
    """Draw errors and losses against the number of parameters."""
    return _against_parameters(result, "width")


def draw_channels(result: xr.Dataset) -> Figure:
    """Draw the same of convolutional networks."""
    return _against_parameters(result, "channels")


def draw_controls(result: xr.Dataset) -> Figure:
    """Draw what removes or lowers the peak."""
    widths, predicted = controls(result), threshold(result)
    made: dict[Hashable, figures.Curve] = {
        name: figures.Curve.from_values(widths, 100 * values, bounds=(0.0, 100.0))
        for name, values in remedies(result).items()
        if name != "one of an ensemble"
    }
    figure, ax = figures.axes(5.4, 3.6)
    figures.curve_by_group(ax, made, xlabel="width (hidden units)", ylabel="test error (%)")
    _mark(ax, predicted)
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(made) + f" {_noise_name(noises(result)[-1]).capitalize()}.",
    )
    return figure


def draw_time(result: xr.Dataset) -> Figure:
    """Draw test error along training, a line for each of some widths: below, at and beyond the threshold."""
    widths, predicted = values_of(result, "width", "hidden_width"), threshold(result)
    at = {
        int(np.argmin(np.abs(np.log(widths / (factor * predicted)))))
        for factor in (0.25, 0.5, 1, 2, 4)
    }
    chosen = widths[sorted(at)]
    steps = noisiest(result, "log_step", chosen)
    errors = 100 * noisiest(result, "log_test_error", chosen)
    made: dict[Hashable, figures.Curve] = {}
    for place, width in enumerate(chosen):
        step = np.nanmax(steps[:, place], axis=0)
        there = np.isfinite(step) & (step > 0)
        made[f"width {width:g}"] = figures.Curve.from_values(
            step[there], errors[:, place][:, there], bounds=(0.0, 100.0)
        )
    figure, ax = figures.axes(5.8, 3.6)
    figures.curves_with_bands(
        ax, made, xlabel="updates", ylabel="test error (%)", xscale="log",
        styles=figures.ordered(list(made)),
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(made) + f" {_noise_name(noises(result)[-1]).capitalize()}; "
        f"the threshold is at width {predicted:.1f}.",
    )
    return figure


def draw_sharpness(result: xr.Dataset) -> Figure:
    """Draw the largest Hessian eigenvalue against the number of parameters."""
    parameters, needed = _capacities(result, "width")
    made: dict[Hashable, figures.Curve] = {
        _noise_name(noise): figures.Curve.from_values(
            parameters,
            at_values(result, "width", "lambda_max", label_noise=noise),
            summary="geometric mean",
        )
        for noise in reversed(noises(result))
    }
    figure, ax = figures.axes(5.4, 3.4)
    figures.curves_with_bands(
        ax, made, xlabel="parameters", ylabel="λmax (loss unit per squared parameter)",
        xscale="log", yscale="log",
    )  # fmt: skip
    _mark(ax, needed)
    figures.legend(figure)
    figures.note(figure, figures.count_note(made))
    return figure


def draw_samples(result: xr.Dataset) -> Figure:
    """Draw test error against the number of training examples at one width."""
    sizes = values_of(result, "samples", "examples")
    parameters = float(np.nanmax(at_values(result, "samples", "true_parameters")))
    made: dict[Hashable, figures.Curve] = {
        name: figures.Curve.from_values(
            sizes, 100 * at_values(result, "samples", variable), bounds=(0.0, 100.0)
        )
        for name, variable in (
            ("as trained", "test_error"),
            ("stopped early", "stopped_test_error"),
        )
    }
    figure, ax = figures.axes(5.0, 3.4)
    figures.curve_by_group(ax, made, xlabel="training examples", ylabel="test error (%)")
    _mark(ax, parameters / result["output"].size, "n·K = parameters")
    figures.legend(figure)
    figures.note(figure, figures.count_note(made))
    return figure


def draw_features(result: xr.Dataset) -> Figure:
    """Draw test loss and error of least squares on random features."""
    sizes = result["feature_count"].values.astype(float)
    examples = float(features(result, "feature_examples")[0])
    panels = {
        "test loss": ("feature_test_loss", 1.0),
        "test error (%)": ("feature_test_error", 100.0),
    }
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        variable, factor = panels[name]
        values = factor * features(result, variable)
        made: dict[Hashable, figures.Curve] = {
            fit: figures.Curve.from_estimates(
                sizes,
                [
                    Estimate(np.median(one), one.min(), one.max(), one.size, 1.0, "")
                    for one in values[:, place].T
                ],
                line="median",
                band="least to largest",
            )
            for place, fit in enumerate(FITS)
        }
        figures.curves_with_bands(
            ax, made, xlabel="random features", ylabel=name, xscale="log",
            yscale="log" if name == "test loss" else "linear",
        )  # fmt: skip
        _mark(ax, examples, "features = n")
        shown.update({f"{key}, {name}": one for key, one in made.items()})

    figure = figures.panels(panels, draw, columns=2, width=3.2, height=2.6, share_y=False)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


NETWORK_DRAWINGS = (
    Drawing(
        "width", "Error and loss against the number of parameters; the dotted line is where parameters equal "
        "examples times outputs.", draw_curve, if_run("width"),
    ),
    Drawing("controls", "What removes or lowers the peak.", draw_controls, if_run("width")),
    Drawing("time", "Test error along training, by width.", draw_time, if_run("width")),
    Drawing("sharpness", "Sharpness along the curve.", draw_sharpness, if_run("width")),
    Drawing("samples", "Test error of one width against examples.", draw_samples, if_run("samples")),
    Drawing("features", "Least squares on random features.", draw_features, has_features),
    Drawing(
        "channels", "Error and loss of convolutional networks against the number of parameters.",
        draw_channels, if_run("channels"),
    ),
)  # fmt: skip
"""Figures of the networks."""
