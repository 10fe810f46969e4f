"""Figures and methods of the study of SGD's noise."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.rows import by_seed, if_run
from implicit_bias.studies.sgd_noise.endpoints import ENDINGS
from implicit_bias.studies.sgd_noise.epochs import FLOWS, FRACTIONS, NOISES, STEPS
from implicit_bias.studies.sgd_noise.moments import EQUATIONS, UPDATES
from implicit_bias.studies.sgd_noise.rules_penalties import ADDED
from implicit_bias.studies.sgd_noise.stationary import CASES, set_up

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """Everything is in double precision, with NumPy. Each seed draws its own noise and, but where it is
said otherwise, its own data; SGD is simulated update by update, in many runs beside each other.

Stationary covariances: four parameters with curvatures 1 to 3 and Gaussian noise of a given covariance, or
least squares of twelve examples with mini-batches, which are drawn from the list of all batches. Quadratics
are the same for all seeds, so that covariances are averaged over them. Runs begin at the minimum, four
relaxation times are left out. Covariances are held against their exact laws whitened, so that an error
along a flat or a sharp direction counts alike.

Equations in continuous time are not integrated: on a quadratic their moments are known, and so are SGD's;
both are compared at one time. Where noise is as large as C = I, C and its square are one, and nothing can
be told. On a line, two wells of widths 2 and 1 meet in a barrier one above the bottom of the flat one, with
a temperature ηc/2 of 0.6; half of the runs begin in either, and half of the updates count. On the ring the
two examples have opposite losses, so that the mean loss is flat, and one of them is drawn at a time.

Mean ends are means of many runs, of which the sampling error is given. The effective penalty is that of the
ridge solution about the start which is nearest to the mean end. Strengths by the sources' formulas are in
units of ½λ‖θ − θ₀‖²; σ² is read as the variance of a coordinate of the batch's gradient.

Epochs: four batches, each taken once, exactly averaged over all 24 orders. Labels that are drawn afresh: uv
fitted to one label; the strength is read off the fall of u² − v², which gradient flow conserves.

Wrong labels: four clusters in alternating classes, labels of ±1 of which a fifth is flipped; SGD in batches
of ten in one order, from outputs of zero; stopped at the epoch with the least squared error on validation
examples of which as many are flipped. Clusters overlap, but for one network, whose clusters are small beside
their distances, as theory of early stopping has them. What a label counts is the derivative of all training
predictions by it, by training again with that label changed: by one in least squares, where predictions are
linear in labels, and by 10⁻⁶ elsewhere.

The run's data: least squares of a label of ±1, whether the class is odd, on principal components.

Before the criteria were written the experiments were tried on two seeds that are in no run. After that look
wells were made shallower and closer in noise, as runs had not come from one to the other, and step sizes
with wrong labels smaller, so that stopping has epochs to choose from. After the first run of eight seeds its
data were given as they are, not standardised by pixel: pixels that are nearly always dark had made single
examples so large that these were components of their own, with other variances by factors of ten from seed
to seed; and the step on these data was made larger, so that chains are stationary sooner. No criterion was
changed."""

LAW: dict[str, Any] = {"color": "#d45e03", "lw": 1.2, "ls": (0, (4, 2)), "zorder": 5}
GUIDE: dict[str, Any] = {"color": "0.45", "lw": 1.0, "ls": (0, (1.2, 1.2)), "zorder": 4}
SHOWN = (
    "C = I", "C = I, large steps", "C = H", "C not commuting", "one example, replaced",
    "fitted, labels drawn afresh",
)  # fmt: skip


def draw_variances(result: xr.Dataset) -> Figure:
    """Draw the variance along eigenvectors of H against their curvature, with the law and ηc/2λ."""
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        at = {"noise_case": name}
        x = by_seed(result, "stationary", "curvature", **at)[0]
        setup = set_up(CASES[name])
        made: dict[Hashable, figures.Curve] = {
            "SGD": figures.Curve.from_values(
                x, by_seed(result, "stationary", "variance", **at), summary="geometric mean"
            )
        }
        figures.curve_by_group(
            ax, made, xlabel="curvature λ", ylabel="variance", xscale="log", yscale="log",
            styles=figures.categorical(made),
        )  # fmt: skip
        _few_ticks(ax, x)
        ax.plot(x, by_seed(result, "stationary", "variance_law", **at)[0], label="exact law", **LAW)
        level = np.trace(setup.noise) / len(x)
        ax.plot(x, setup.step * level / 2 / x, label="η tr(C)/d / 2λ", **GUIDE)
        shown[name] = made["SGD"]

    figure = figures.panels(
        SHOWN, draw, columns=3, width=2.5, height=2.2, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def _few_ticks(ax: Any, x: np.ndarray) -> None:
    """Write all of a few curvatures; of many the least and the largest, and one between."""
    places = x if len(x) <= 5 else x[[0, len(x) // 2, -1]]
    ax.set_xticks(places, [f"{place:.2g}" for place in places])


def draw_moments(result: xr.Dataset) -> Figure:
    """Draw distances of moments at one time against the step size."""
    shown: dict[Hashable, figures.Curve] = {}
    names = {"mean": "distance of means", "covariance": "distance of covariances"}
    looks = figures.categorical(EQUATIONS)

    def draw(ax: Any, name: str) -> None:
        made: dict[Hashable, figures.Curve] = {
            equation: figures.Curve.from_values(
                2 / np.asarray(UPDATES), by_seed(result, "moments", f"moment_{name}", equation=equation),
                summary="geometric mean",
            )
            for equation in EQUATIONS
        }  # fmt: skip
        figures.curve_by_group(
            ax, made, xlabel="ηλmax", ylabel=f"{names[name]}, relative", xscale="log", yscale="log",
            styles=looks,
        )  # fmt: skip
        shown.update({(name, equation): curve for equation, curve in made.items()})

    figure = figures.panels(names, draw, columns=2, width=3.4, height=2.7, share_y=False)
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown) + " At t = 2/λmax. The first two have the same mean.",
    )
    return figure


def draw_penalties(result: xr.Dataset) -> Figure:
    """Draw the fitted penalty against noise, step size and time, with what is said of it."""
    shown: dict[Hashable, figures.Curve] = {}
    swept = {
        "σ²": {name: ENDINGS[name].noise for name in ADDED},
        "α, over the base's": {"α/2": 0.5, "σ² = 1": 1.0, "2α": 2.0},
        "T, over the base's": {"T/2": 0.5, "σ² = 1": 1.0, "2T": 2.0},
    }
    formulas = {
        "B.15": "σ²/(αT), B.15",
        "noise-induced": "σ²/(2α), definition",
        "early stopping": "1/(αT)",
    }
    stopping = {"color": "black", "lw": 1.0, "ls": (0, (6, 1.5, 1, 1.5)), "zorder": 4}
    looks: dict[str, Any] = {"B.15": LAW, "noise-induced": GUIDE, "early stopping": stopping}

    def draw(ax: Any, name: str) -> None:
        places = swept[name]
        x = np.asarray(list(places.values()))
        table = np.stack(
            [by_seed(result, "endpoints", "end_penalty", ending=one) for one in places], axis=1
        )
        made: dict[Hashable, figures.Curve] = {
            "fitted to the mean end": figures.Curve.from_values(x, table, summary="geometric mean")
        }
        figures.curve_by_group(
            ax, made, xlabel=name, ylabel="ridge penalty λ", xscale="log", yscale="log",
            styles=figures.categorical(made),
        )  # fmt: skip
        for formula, label in formulas.items():
            values = [
                np.nanmean(by_seed(result, "endpoints", "end_formula", ending=one, formula=formula))
                for one in places
            ]
            ax.plot(x, values, label=label, **looks[formula])
        shown[name] = made["fitted to the mean end"]

    figure = figures.panels(swept, draw, columns=3, width=2.5, height=2.5, share_x=False)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown) + " Formulas: means over seeds.")
    return figure


def draw_strengths(result: xr.Dataset) -> Figure:
    """Draw what noise adds against the step size: fresh labels, and shuffled epochs' distances."""
    shown: dict[Hashable, figures.Curve] = {}
    labels = figures.ordered(NOISES)
    flows = figures.categorical(FLOWS)

    def draw(ax: Any, name: str) -> None:
        if name == "labels drawn afresh":
            x = np.asarray(STEPS)
            made: dict[Hashable, figures.Curve] = {
                noise: figures.Curve.from_values(
                    x, by_seed(result, "fresh-labels", "drift", label_noise=noise),
                    summary="geometric mean",
                )
                for noise in NOISES
            }  # fmt: skip
            figures.curve_by_group(
                ax, made, xlabel="step size α", ylabel="strength λ", xscale="log", yscale="log",
                styles=labels, label="σ² = {}",
            )  # fmt: skip
            for place, noise in enumerate(NOISES):
                law = by_seed(result, "fresh-labels", "drift_law", label_noise=noise)[0]
                ax.plot(x, law, label="law" if place == 0 else None, **LAW)
            middle = made[NOISES[1]].centre[1]
            ax.plot(x, middle * STEPS[1] / x, label="slope of σ²/(2α)", **GUIDE)
        else:
            made = {
                flow: figures.Curve.from_values(
                    np.asarray(FRACTIONS), by_seed(result, "epochs", "epoch_apart", flow=flow),
                    summary="geometric mean",
                )
                for flow in FLOWS
            }  # fmt: skip
            figures.curve_by_group(
                ax, made, xlabel="ηλmax", ylabel="flow's end from the mean epoch's", xscale="log",
                yscale="log", styles=flows, label="flow of {}",
            )  # fmt: skip
        shown.update({(name, key): curve for key, curve in made.items()})

    figure = figures.panels(
        ["labels drawn afresh", "shuffled batches"], draw, columns=2, width=3.4, height=2.8,
        share_x=False, share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_given(result: xr.Dataset) -> Figure:
    """Draw variances on the run's data against curvatures, scaled by their means."""
    x = np.nanmean(by_seed(result, "given", "given_curvature"), axis=0)
    made: dict[Hashable, figures.Curve] = {
        "SGD": figures.Curve.from_values(
            x, by_seed(result, "given", "given_variance"), summary="geometric mean"
        )
    }
    with figures.style():
        figure, ax = figures.axes(4.4, 3.2)
        figures.curve_by_group(
            ax, made, xlabel="curvature λ, mean over seeds", ylabel="variance", xscale="log",
            yscale="log", styles=figures.categorical(made),
        )  # fmt: skip
        _few_ticks(ax, x)
        law = np.exp(np.nanmean(np.log(by_seed(result, "given", "given_variance_law")), axis=0))
        ax.plot(x, law, label="exact law", **LAW)
        ax.plot(x, law[-1] * x[-1] / x, label="slope of 1/λ", **GUIDE)
    figures.legend(figure)
    figures.note(figure, figures.count_note(made))
    return figure


DRAWINGS = (
    Drawing(
        "variances",
        "Variance of stationary SGD along eigenvectors of H: like 1/λ where noise is isotropic and steps are "
        "small, and not elsewhere.",
        draw_variances,
        if_run("stationary"),
    ),
    Drawing(
        "moments",
        "Stochastic differential equations beside SGD: the factor of the noise is the root of its "
        "covariance.",
        draw_moments,
        if_run("moments"),
    ),
    Drawing(
        "penalties",
        "The ridge penalty of SGD's mean end: the noise does not change it.",
        draw_penalties,
        if_run("endpoints"),
    ),
    Drawing(
        "strengths",
        "What noise adds to the loss rises with the step size; flow of the modified loss is a "
        "third-order match.",
        draw_strengths,
        if_run("epochs", "fresh-labels"),
    ),
    Drawing(
        "given",
        "Mini-batches of the run's data: variances along eigenvectors of H.",
        draw_given,
        if_run("given"),
    ),
)
"""Figures."""
