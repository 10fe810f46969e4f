"""Figures and methods of the benign-overfitting study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.benign_overfitting.norms import DIRECTIONS, SPECTRA
from implicit_bias.studies.benign_overfitting.plane_drawings import draw_plane, draw_regions
from implicit_bias.studies.benign_overfitting.ranks import FACTORS
from implicit_bias.studies.benign_overfitting.rows import epochs_logged
from implicit_bias.studies.benign_overfitting.tails import DESIGNS
from implicit_bias.studies.rows import by_seed, has, if_run

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """Linear experiments are in double precision and use nothing of the data; every seed draws its
own training sets, and what is kept of a seed are means over its draws.

Interpolation with a tail: inputs have a few directions of large variance, the spikes, which carry the
signal, and a tail of equal eigenvalues whose sum is fixed; their effective rank, the sum of all eigenvalues
over the largest, is the same whatever the tail's length. Bias and variance are exact given the inputs. The
tail enters through its Gram matrix, a Wishart matrix, which is drawn as such. Risks are held against k*/m +
m/R_k* of Bartlett et al. with b = 1.

Norms: ‖X⁺y‖ on matrices of prescribed singular values and random singular vectors, with y along the first
and the last left singular vector, random, and Xθ. The effective rank r is the number of singular values
that hold 90 % of their squares' sum.

Effective rank: the exercise's data sets by both readings of its design, with true weights of about norm 1,
whose size it does not give, and noise of 0.1 on targets; and its solution's sweep with the test inputs it
draws, which have no structure, and with test inputs drawn as the training inputs are. Errors are given as
they are and over the variance of the test targets.

Networks: one network is trained on the same images with true labels and with labels that are uniform over
the classes and independent of the images: label noise that redraws among the other classes, at rate (K −
1)/K, which keeps a label with probability 1/K. Training ends when all labels are fitted. Test labels are
always true. A lookup table answers with the stored label of an image that it holds and guesses otherwise;
the nearest example is a table that answers for all images.

The plane: 50 points drawn uniformly from [−1, 1]², labels 1 where the first coordinate is positive, or
coins. As stated: SGD with step size 0.01 on batches of 32, from PyTorch's default start; the same from He's
start; and a longer run with momentum and a step size that falls to zero, which fits random labels. The last
batch of an epoch is what is left. Random labels are drawn many times over for the nearest of 50 points,
which fits any labels."""

LOOKS = figures.categorical(["given", "random", "all-given", "all-random"])


def draw_tails(result: xr.Dataset) -> Figure:
    """Draw what noise costs against the tail's length, and the risk of every design against m."""
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        if name == "the tail's length":
            x = result["tail_size"].values.astype(float)
            measured = by_seed(result, "tails", "tail_variance")
            curves: dict[Hashable, figures.Curve] = {
                "noise's share": figures.Curve.from_values(x, measured, summary="geometric mean")
            }
            figures.curves_with_bands(
                ax, curves, xlabel="directions of the tail", ylabel="excess risk / σ²",
                xscale="log", yscale="log",
            )  # fmt: skip
            order = by_seed(result, "tails", "tail_order")[0]
            ax.plot(x, order, ls=(0, (1, 2)), lw=1.2, color="0.3", label="k*/m + m/R_k*")
        else:
            x = result["sample"].values.astype(float)
            curves = {
                design: figures.Curve.from_values(
                    x,
                    by_seed(result, "tails", "growth_excess", design=design),
                    summary="geometric mean",
                )
                for design in DESIGNS
            }
            figures.curves_with_bands(
                ax, curves, xlabel="training examples m", ylabel="excess risk / σ²",
                xscale="log", yscale="log", styles=figures.categorical(["", *DESIGNS]),
            )  # fmt: skip
            start = np.mean(by_seed(result, "tails", "growth_excess", design="long tail")[:, 0])
            ax.plot(
                x,
                start * np.sqrt(x[0] / x),
                ls=(0, (4, 2)),
                lw=1.0,
                color="0.5",
                label="∝ m^(−1/2)",
            )
        shown.update(curves)

    figure = figures.panels(
        ["the tail's length", "the sample"], draw, columns=2, width=3.4, height=2.9, share_x=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_norms(result: xr.Dataset) -> Figure:
    """Draw the ratio of the interpolator's norm to ‖y‖/σ_r against the condition number."""
    kappas = result["condition"].values.astype(float)
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, spectrum: str) -> None:
        curves: dict[Hashable, figures.Curve] = {
            f"y {direction}": figures.Curve.from_values(
                kappas,
                by_seed(result, "norms", "norm_ratio", spectrum=spectrum, direction=direction),
                summary="geometric mean",
            )
            for direction in DIRECTIONS
        }
        figures.curve_by_group(
            ax, curves, xlabel="condition number κ of X", ylabel="‖X⁺y‖ σ_r / ‖y‖", yscale="log"
        )
        ax.axhspan(1 / 4, 4, color="0.93", lw=0, zorder=0)
        shown.update(curves)

    figure = figures.panels(list(SPECTRA), draw, columns=2, width=3.2, height=2.7)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown) + " Grey: within a factor of 4, as claimed.")
    return figure


def draw_ranks(result: xr.Dataset) -> Figure:
    """Draw singular values, test error and test error over variance of the exercise's data sets."""
    ranks = result["nominal_rank"].values.astype(float)
    position = result["position"].values.astype(float)
    shown: dict[Hashable, figures.Curve] = {}
    spectra = {f"singular values, {reading}": reading for reading in FACTORS}
    panels = {
        "test error": ("rank_error", "mean squared test error"),
        "relative to the targets": ("rank_relative", "test error / variance of targets"),
    }

    def draw(ax: Any, name: str) -> None:
        curves: dict[Hashable, figures.Curve]
        if name in spectra:
            values = by_seed(result, "ranks", "rank_singular", factors=spectra[name])
            curves = {
                f"rank {rank:g}": figures.Curve.from_values(
                    position, values[:, place], summary="geometric mean"
                )
                for place, rank in enumerate(ranks)
            }
            figures.curves_with_bands(
                ax, curves, xlabel="position", ylabel="singular value / first", yscale="log",
                styles=figures.ordered(curves),
            )  # fmt: skip
            return
        variable, label = panels[name]
        curves = {
            reading: figures.Curve.from_values(
                ranks, by_seed(result, "ranks", variable, factors=reading), summary="geometric mean"
            )
            for reading in FACTORS
        }
        figures.curve_by_group(ax, curves, xlabel="nominal rank", ylabel=label, yscale="log")
        shown.update(curves)

    figure = figures.panels(
        [*spectra, *panels], draw, columns=2, width=3.2, height=2.5, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_sweep(result: xr.Dataset) -> Figure:
    """Draw the sweep's test errors against the nominal rank, with what is printed for them."""
    ranks = result["sweep_rank"].values.astype(float)
    curves: dict[Hashable, figures.Curve] = {
        f"test inputs: {test}": figures.Curve.from_values(
            ranks,
            by_seed(result, "ranks", "sweep_error", sweep_test=test),
            summary="geometric mean",
        )
        for test in result["sweep_test"].values
    }
    figure, ax = figures.axes(5.2, 3.4)
    figures.curve_by_group(
        ax, curves, xlabel="nominal rank", ylabel="mean squared test error", yscale="log"
    )
    printed = {5: 0.008234, 10: 0.013421, 20: 0.021456, 50: 0.051234, 100: 0.098123, 200: 0.154321}
    there = [rank for rank in printed if rank in ranks]
    ax.plot(
        there, [printed[rank] for rank in there], ls=(0, (1, 2)), marker="x", lw=1.2, color="0.3",
        label="printed in the source",
    )  # fmt: skip
    figures.legend(figure)
    figures.note(figure, figures.count_note(curves))
    return figure


def draw_networks(result: xr.Dataset) -> Figure:
    """Draw labels fitted and accuracy on true labels against epochs, by arm."""
    shown: dict[Hashable, figures.Curve] = {}
    arms = [arm for arm in LOOKS if has(result, str(arm))]
    names = {"labels fitted": "log_train_error", "test accuracy, true labels": "log_test_error"}

    def draw(ax: Any, name: str) -> None:
        curves: dict[Hashable, figures.Curve] = {}
        for arm in arms:
            at = epochs_logged(result, str(arm))
            epochs = at[np.argmax(np.isfinite(at).sum(axis=1))]
            values = held(100 * (1 - by_seed(result, str(arm), names[name])))
            kept = np.isfinite(epochs) & (epochs > 0)
            curves[arm] = figures.Curve.from_values(
                epochs[kept], values[:, kept], bounds=(0.0, 100.0)
            )
        figures.curves_with_bands(
            ax, curves, xlabel="epochs", ylabel="%", xscale="log", styles=LOOKS
        )
        ax.set_ylim(0, 103)
        shown.update(curves)

    figure = figures.panels(list(names), draw, columns=2, width=3.3, height=2.7)
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown)
        + " A run that has fitted all labels has ended, and is drawn on as it ended.",
    )
    return figure


def held(values: np.ndarray) -> np.ndarray:
    """Fill what comes after a row's last finite value with that value.

    Args:
        values: Shape (seeds, probes).
    """
    filled = values.copy()
    for row in filled:
        seen = np.flatnonzero(np.isfinite(row))
        if seen.size:
            row[seen[-1] :] = row[seen[-1]]
    return filled


DRAWINGS = (
    Drawing(
        "tails",
        "What interpolating noise costs: against the tail's length, and against the sample at the same "
        "effective rank.",
        draw_tails,
        if_run("tails"),
    ),
    Drawing(
        "norms",
        "Norm of the minimum-norm interpolator in units of ‖y‖/σ_r, over spectra and directions of y.",
        draw_norms,
        if_run("norms"),
    ),
    Drawing(
        "ranks",
        "Effective rank and test error by both readings of the exercise.",
        draw_ranks,
        if_run("ranks"),
    ),
    Drawing(
        "sweep",
        "Test error of the solution's sweep, as it is run and as it is printed.",
        draw_sweep,
        if_run("ranks"),
    ),
    Drawing(
        "networks",
        "Labels fitted and test accuracy of a network with true and with random labels.",
        draw_networks,
        if_run("given", "random"),
    ),
    Drawing(
        "plane",
        "Fifty points of the plane: labels fitted and test accuracy.",
        draw_plane,
        if_run("plane"),
    ),
    Drawing(
        "regions",
        "Probability of class 1 over the plane after training, first seed.",
        draw_regions,
        if_run("plane"),
    ),
)
