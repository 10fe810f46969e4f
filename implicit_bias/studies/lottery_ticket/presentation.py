"""Figures and methods of the lottery-ticket study."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.lottery_ticket.rows import (
    OWN_LAYERS,
    STABILITY,
    arms_of,
    at_levels,
    levels_of,
    table_levels,
)
from implicit_bias.studies.lottery_ticket.settings import ARMS
from implicit_bias.studies.rows import by_seed, if_run

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """A network is trained, a part of its smallest weights is set to zero for good, the others are
set back to their initial values, and it is trained again: round after round, down to few per cent of the
weights. Each round takes the same part of every layer's weights that are left, less of the output layer
where the settings say so, and less where a level of the tables would be passed: a partial round lands on
it, exact to a weight. Biases are never pruned. All runs have the same number of updates. Each seed
redraws training and validation set, initial weights and order of examples; all arms of a seed share them,
but for what an arm says.

At the levels of the tables each ticket has controls. A random mask keeps the same part of every layer, or
as many weights of every layer as the ticket. The mask of the largest initial weights has the ticket's
numbers by layer, so that it differs in nothing but which weights they are. The shuffled mask also keeps
the number of weights that each unit has, unless the settings ask for layers. Fresh weights are another
draw of the seed, on the same examples in the same order. SNIP and GraSP prune at once by scores of the
first training examples, SynFlow in many rounds without data; all layers compete there. Late rewinding
goes back to the weights of an early update, learning-rate rewinding keeps the trained weights and repeats
the rest of training; optimisers start afresh.

Masks multiply weights, gradients and updates; every run counts pruned weights that are not exactly zero.
Accuracies are of all test examples, after all updates, and where validation loss was least among the
evaluations. Differences of errors after all updates are paired by seed, and their intervals cover new
seeds and new test examples. The largest eigenvalue is that of the Hessian of the mean training loss with
rows and columns of pruned weights left out, by Lanczos iteration from two starts.

Stability is measured between two runs that differ in the order of examples alone, on the straight line
between their ends: the highest error there, less the mean error of both."""

LOOKS = figures.categorical(ARMS)
"""How each arm looks in all figures."""

REMAINING = "weights remaining (%)"


def _curve(
    result: xr.Dataset,
    arm: str,
    name: str,
    make: Callable[[np.ndarray], np.ndarray],
    **options: Any,
) -> figures.Curve:
    """Return a quantity of an arm against the weights remaining."""
    levels, values = at_levels(result, arm, name)
    return figures.Curve.from_values(np.round(100 * levels, 6), make(values), **options)


def _pruned(result: xr.Dataset) -> list[str]:
    """Return the arms that can be drawn against the weights remaining."""
    return [arm for arm in arms_of(result) if arm != "dense" and levels_of(result, arm).size]


def _falling(ax: Any, result: xr.Dataset, curves: dict[Hashable, figures.Curve]) -> None:
    """Turn the axis, from the dense network to the sparsest, and name the levels of the tables."""
    most, least = (float(pick([pick(curve.x) for curve in curves.values()])) for pick in (max, min))
    levels = 100 * table_levels(result)
    ax.set_xticks(levels, [f"{level:.3g}" for level in levels])
    ax.set_xlim(most * 1.08, least / 1.08)


def _against_weights(
    result: xr.Dataset,
    panels: dict[str, str],
    make: Callable[[np.ndarray], np.ndarray],
    ylabel: str,
    *,
    yscale: Any = "linear",
    note: str = "",
    **options: Any,
) -> Figure:
    """Draw a panel for each variable, a line for each arm, against the weights remaining."""
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        made: dict[Hashable, figures.Curve] = {
            arm: _curve(result, arm, panels[name], make, **options) for arm in _pruned(result)
        }
        figures.curve_by_group(
            ax, made, xlabel=REMAINING, ylabel=ylabel, styles=LOOKS, yscale=yscale
        )
        _falling(ax, result, made)
        shown.update(
            {f"{arm}, {name}" if len(panels) > 1 else arm: one for arm, one in made.items()}
        )

    figure = figures.panels(
        panels, draw, columns=len(panels), width=3.6 if len(panels) > 1 else 5.6, height=3.2
    )
    figures.legend(figure)
    figures.note(figure, f"{figures.count_note(shown)} {note}".strip())
    return figure


def draw_accuracy(result: xr.Dataset) -> Figure:
    """Draw test accuracy against the weights remaining, all arms."""
    return _against_weights(
        result,
        {"after all updates": "test_error", "at least validation loss": "stop_test_error"},
        lambda error: 100 - 100 * error,
        "test accuracy (%)",
        bounds=(0.0, 100.0),
        note="At 100 % all arms are the dense network.",
    )


def draw_stopping(result: xr.Dataset) -> Figure:
    """Draw the update of least validation loss against the weights remaining."""
    return _against_weights(
        result,
        {"": "stop_update"},
        lambda update: update,
        "update of least validation loss",
        bounds=(0.0, np.inf),
        note="Counted from the first update of the dense network.",
    )


def draw_layers(result: xr.Dataset) -> Figure:
    """Draw what is left of each layer against the weights remaining, a panel for each kind of mask."""
    names = [str(name) for name in result["layer"].values]
    looks = figures.categorical(names)
    shown: dict[Hashable, figures.Curve] = {}
    arms = [arm for arm in _pruned(result) if arm in OWN_LAYERS]

    def draw(ax: Any, arm: str) -> None:
        levels, left = at_levels(result, arm, "layer_remaining")
        made: dict[Hashable, figures.Curve] = {
            name: figures.Curve.from_values(
                np.round(100 * levels, 6), 100 * left[..., place], bounds=(0.0, 100.0)
            )
            for place, name in enumerate(names)
        }
        figures.curve_by_group(
            ax,
            made,
            xlabel=REMAINING,
            ylabel="remaining of the layer (%)",
            styles=looks,
            yscale="log",
        )
        _falling(ax, result, made)
        shown.update({f"{arm}, {name}": one for name, one in made.items()})

    figure = figures.panels(arms, draw, width=3.2, height=2.8)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_flatness(result: xr.Dataset) -> Figure:
    """Draw the largest Hessian eigenvalue along pruning, and test error against it."""
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        made: dict[Hashable, figures.Curve] = {
            arm: _curve(result, arm, "lambda_max", lambda x: x, summary="geometric mean")
            for arm in _pruned(result)
        }
        label = "largest Hessian eigenvalue\n(nats per squared parameter)"
        if name == "along pruning":
            figures.curve_by_group(
                ax, made, xlabel=REMAINING, ylabel=label, styles=LOOKS, yscale="log"
            )
            _falling(ax, result, made)
            shown.update(made)
            return
        x, y, group = [], [], []
        for arm, curve in made.items():
            levels, error = at_levels(result, str(arm), "test_error")
            mean = 100 * np.nanmean(error, axis=0)[np.argsort(levels)]
            ax.plot(curve.centre, mean, color=LOOKS[arm].colour, linestyle=LOOKS[arm].dash, lw=0.9)
            x += [*curve.centre]
            y += [*mean]
            group += [arm] * len(mean)
        figures.scatter_by_group(
            ax, x, y, group, xlabel=label, ylabel="test error (%)", styles=LOOKS, xscale="log"
        )

    figure = figures.panels(
        ["along pruning", "against test error"], draw, columns=2, width=3.8, height=3.2,
        share_x=False, share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure,
        f"{figures.count_note(shown)} Right: means over seeds, a point for each level; a line joins "
        "neighbouring levels. Only surviving parameters count.",
    )
    return figure


def draw_stability(result: xr.Dataset) -> Figure:
    """Draw the error on the straight line between two runs that differ in the order of examples."""
    fractions = result["fraction"].values.astype(float)
    values = 100 * by_seed(result, STABILITY, "line_error")
    splits, arms = (list(map(str, result[name].values)) for name in ("split", "twice"))
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, split: str) -> None:
        made: dict[Hashable, figures.Curve] = {
            arm: figures.Curve.from_values(
                fractions, values[:, place, splits.index(split)], bounds=(0.0, 100.0)
            )
            for place, arm in enumerate(arms)
        }
        figures.curves_with_bands(
            ax,
            made,
            xlabel="fraction of the way between the runs",
            ylabel="error (%)",
            styles=LOOKS,
        )
        shown.update({f"{arm}, {split}": one for arm, one in made.items()})

    figure = figures.panels(splits, draw, columns=2, width=3.4, height=2.8)
    figures.legend(figure)
    at = levels_of(result, "ticket-twin") if "ticket" in arms else np.empty(0)
    sparse = f" Pruned networks have {100 * at[0]:.3g} % of the weights." if at.size else ""
    figures.note(figure, figures.count_note(shown) + sparse)
    return figure


DRAWINGS = (
    Drawing(
        "accuracy", "Test accuracy against the weights remaining: tickets and their controls.",
        draw_accuracy, if_run("dense", "ticket"),
    ),
    Drawing(
        "stopping", "When validation loss is least, against the weights remaining.", draw_stopping,
        if_run("dense", "ticket"),
    ),
    Drawing(
        "layers", "What is left of each layer, against the weights remaining.", draw_layers,
        if_run("dense", "ticket"),
    ),
    Drawing(
        "flatness", "The largest Hessian eigenvalue of what survives, along pruning and against test error.",
        draw_flatness, if_run("dense", "ticket"),
    ),
    Drawing(
        "stability", "Error between two runs that differ in the order of examples alone.", draw_stability,
        if_run(STABILITY),
    ),
)  # fmt: skip
