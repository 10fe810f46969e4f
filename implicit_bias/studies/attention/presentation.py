"""Figures and methods of the attention study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.statistics import mean_interval
from implicit_bias.studies.attention.rows import (
    average,
    gains_of,
    layers_of,
    main_width,
    of_few,
    of_gain,
    trained,
    widths_of,
)
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.rows import by_seed, has, if_run, seeds_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """A transformer, pre-normalised and with learned positions, is trained by Adam: causal and on every
next token where data are sequences of tokens, and on the mean over patches where they are images. Sequences
of a Markov chain of known transitions have a test loss that no predictor beats, the conditional entropy of
the next token given those in view, in closed form.

Attention is measured on the same test examples before and after training, of the same network: the
effective rank of each matrix (e to the entropy of its singular values as shares of their sum), its stable
rank, and the entropy of its rows relative to the logarithm of how many positions a row may look at, which a
causal mask makes differ from row to row. Rows with one entry are left out, as they have no choice.
Attention that looks everywhere alike is the reference: it has rank one without a mask, and many with it.
Controls are the width; the spread of the logits at the start, by a factor of the initial query and key
weights; labels drawn at random; and inputs whose positions are permuted. Differences are paired by seed:
seeds share their start, their examples and their order.

The arms with few sequences have as many numbers for each training token, and as many epochs, as the
published example; validation data tell when the test loss is least. What no function of the tokens so far
can fit is counted: sequences that begin alike and go on differently set a least training loss and a largest
training accuracy. In the other alphabet each token has the name of the next, which makes another chain of
the same entropy.

Stacks of untrained single-head attention, with and without skips, are followed in double precision."""

MOMENTS = {"before": "before training", "after": "after training"}
PANELS = {
    "rank": "effective rank of attention",
    "entropy": "entropy of attention rows,\nrelative to uniform",
}
LOOKS = figures.categorical(MOMENTS.values())


def draw_layers(result: xr.Dataset) -> Figure:
    """Draw rank and entropy before and after training, layer by layer, at every width and gain."""
    layers = layers_of(result)
    settings: list[tuple[str, Any]] = [
        (f"width {width:g}", lambda name, width=width: trained(result, name, width))
        for width in widths_of(result)
    ]
    if has(result, "gain"):
        settings += [
            (f"gain {gain:g}", lambda name, gain=gain: of_gain(result, name, gain))
            for gain in gains_of(result)
            if gain != 1
        ]
    if has(result, "shuffled"):
        settings.append(("random labels", lambda name: by_seed(result, "shuffled", name)))
    places = np.arange(len(settings))
    uniform = average(trained(result, "uniform_rank"))

    panels = {f"{name}, layer {layer}": (name, layer) for name in PANELS for layer in layers}
    highest = max(
        float(np.nanmax(of(f"rank_{moment}"))) for _, of in settings for moment in MOMENTS
    )

    def draw(ax: Any, panel: str) -> None:
        name, layer = panels[panel]
        for side, (moment, label) in enumerate(MOMENTS.items()):
            look = LOOKS[label]
            found = [
                mean_interval(of(f"{name}_{moment}")[:, layers.index(layer)]) for _, of in settings
            ]
            middle = np.array([part.value for part in found])
            reach = np.array([[p.value - p.low, p.high - p.value] for p in found]).T
            ax.errorbar(
                places + 0.16 * (2 * side - 1), middle,
                yerr=reach if np.isfinite(reach).all() else None, fmt=look.marker,
                color=look.colour, capsize=2.5, markersize=5, ls="none", label=label,
                mfc=look.colour if moment == "after" else "white",
            )  # fmt: skip
        level = uniform if name == "rank" else 1.0
        ax.axhline(level, ls=(0, (1, 2)), color="0.4", lw=1.0, label="uniform attention", zorder=1)
        ax.set_xticks(places, [words for words, _ in settings], rotation=35, ha="right")
        ax.set_xlim(-0.6, len(settings) - 0.4)
        ax.set_ylim(0, 1.1 * (highest if name == "rank" else 1.0))
        ax.set_ylabel(PANELS[name])

    figure = figures.panels(
        list(panels), draw, columns=len(layers), width=max(2.2, 0.42 * len(settings)), height=2.4,
        share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure,
        f"Means over {seeds_of(result).size} seeds with 95 % t-intervals; gains and random labels at width "
        f"{main_width(result):g}.",
    )
    return figure


def draw_training(result: xr.Dataset) -> Figure:
    """Draw losses while training, on many sequences and on few."""
    shown: dict[Hashable, figures.Curve] = {}
    arms = [arm for arm in ("trained", "few", "few-shuffled", "few-small") if has(result, arm)]
    titles = {
        "trained": f"many examples, width {main_width(result):g}", "few": "few sequences",
        "few-shuffled": "few, random labels", "few-small": "few, small network",
    }  # fmt: skip

    def values(arm: str, name: str) -> np.ndarray:
        return trained(result, name) if arm == "trained" else of_few(result, name, arm)

    def draw(ax: Any, title: str) -> None:
        arm = next(arm for arm, words in titles.items() if words == title)
        steps = np.nanmax(values(arm, "log_step"), axis=0)
        kept = np.isfinite(steps) & (steps >= 0)
        made: dict[Hashable, figures.Curve] = {
            f"{part} loss": figures.Curve.from_values(
                steps[kept] + 1, values(arm, f"log_{key}_loss")[:, kept]
            )
            for part, key in (("training", "train"), ("test", "test"))
        }
        figures.curves_with_bands(
            ax, made, xlabel="updates + 1", ylabel="loss (nats per prediction)", xscale="log"
        )
        guess = average(values(arm, "guess_loss"))
        ax.axhline(guess, ls=(0, (4, 2)), color="0.4", lw=1.0, label="guessing", zorder=1)
        bayes = values(arm, "bayes_loss")
        if np.isfinite(bayes).any():
            ax.axhline(
                average(bayes), ls=(0, (1, 2)), color="0.2", lw=1.0,
                label="least possible", zorder=1,
            )  # fmt: skip
        shown.update({f"{key}, {title}": curve for key, curve in made.items()})

    figure = figures.panels(
        [titles[arm] for arm in arms], draw, columns=min(2, len(arms)), width=3.1, height=2.5,
        share_x=False, share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_map(result: xr.Dataset) -> Figure:
    """Draw the attention of one trained network: each layer and head, mean over test examples."""
    maps = trained(result, "map_after")
    usable = np.flatnonzero(np.isfinite(maps).all(axis=(1, 2, 3, 4)))
    first = maps[usable[0]]
    names = [
        f"layer {layer}, head {head}"
        for layer in result["layer"].values
        for head in result["head"].values
    ]
    flat = first.reshape(len(names), *first.shape[2:])
    length = flat.shape[-1]
    drawn: list[Any] = []

    def draw(ax: Any, name: str) -> None:
        drawn.append(
            ax.imshow(
                flat[names.index(name)], cmap="Greys", vmin=0, vmax=1, interpolation="nearest",
                extent=(0.5, length + 0.5, length + 0.5, 0.5),
            )
        )  # fmt: skip
        ax.grid(False)
        ax.set_xlabel("looked at (position)")
        ax.set_ylabel("looking (position)")

    figure = figures.panels(names, draw, columns=result.sizes["head"], width=1.9, height=1.9)
    figure.colorbar(drawn[-1], ax=figure.axes, label="weight (mean over examples)", shrink=0.8)
    figures.note(
        figure,
        f"Seed {int(seeds_of(result)[usable[0]])}, width {main_width(result):g}, after training.",
    )
    return figure


def draw_collapse(result: xr.Dataset) -> Figure:
    """Draw how positions become one in untrained stacks."""
    layers = result["stack_layer"].values.astype(float)
    made: dict[Hashable, figures.Curve] = {
        str(name): figures.Curve.from_values(
            layers, by_seed(result, "collapse", "residual", stack=name), summary="geometric mean"
        )
        for name in result["stack"].values
    }
    figure, ax = figures.axes(5.0, 3.4)
    figures.curves_with_bands(
        ax,
        made,
        xlabel="layer",
        ylabel="distance of positions\nfrom one vector (relative)",
        yscale="log",
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(made))
    return figure


def _has_maps(result: xr.Dataset) -> bool:
    if not has(result, "trained"):
        return False
    return bool(np.isfinite(trained(result, "map_after")).all(axis=(1, 2, 3, 4)).any())


DRAWINGS = (
    Drawing(
        "layers", "Effective rank and entropy of attention before and after training, layer by layer.",
        draw_layers, if_run("trained"),
    ),
    Drawing(
        "training", "Losses while training on many examples, and on few for the parameters.",
        draw_training, if_run("trained"),
    ),
    Drawing("map", "Attention of one trained network, head by head.", draw_map, _has_maps),
    Drawing(
        "collapse", "Untrained stacks of attention: positions become one unless there are skips.",
        draw_collapse, if_run("collapse"),
    ),
)  # fmt: skip
