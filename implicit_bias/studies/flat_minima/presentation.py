"""How the flat-minima study is read: tables, figures, methods."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.statistics import Estimate, geometric_mean_ratio, mean_interval
from implicit_bias.results.table import Table, format_number, make_table
from implicit_bias.studies import compare
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.flat_minima.arms import ARMS, PENALTIES
from implicit_bias.studies.flat_minima.claims import SPECTRA, adaptive, compared

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """\
A seed decides the initial weights, the training and validation examples drawn from the pool, the order
of examples and all other draws, and the same seeds run in every arm: comparisons are paired by seed.
SGD's step size is chosen for each batch size and seed by validation error (ties by validation loss).
Arms with a penalty run every strength, at the step sizes named in the settings relative to SGD's; of
these runs the one of least validation error is compared. Test data enter no choice. Arms have equal
epochs, but for SGD with as many updates as the small batch, few examples (as many updates as the large
batch), and the published protocols. All but the arm fixed (without momentum) and the published protocols
use heavy ball with one momentum. Gradients per update say what an update costs.

SAM and ASAM take the gradient where the loss is higher (by ρ); the penalties add tr H or λmax of the
batch's Hessian to the loss, times a factor. The Hessian measured is that of the mean training loss, with
the labels that were trained on, over as many of the lane's training examples as the settings say: its
largest eigenvalues and its smallest by Lanczos, stopped on the residual or at the largest number of
products; its trace by random signs. Of a network with ReLUs it has a bulk of eigenvalues near zero, of
both signs, and exact zeros where an input is constant or a unit is never active: a quotient of the
largest and the smallest eigenvalue means nothing. Adaptive sharpness is the highest rise of the training
loss found at w + |w| u, ‖u‖₂ ≤ ρ, which no rescaling of ReLU layers changes.

Attacks know the network and move pixels, which lie in [0, 1], by at most ε: FGSM by one signed gradient
step, PGD by several from a random start; random signs of the same size are the control. Where a network
is so sure of a class that its loss is rounded to zero, the gradient hardly points anywhere and FGSM
fails: of the two attacks, the stronger one tells more. Certified radii are output margins over a bound
of the network's slope from the spectral norms of its layers, zero where the network errs.

Poisoned minima start where the plain ones do and are trained by the same full-batch descent, on the same
examples and on others with wrong labels, until the loss over the clean examples is as low. Guessed
networks are random ReLU networks that happen to fit a few examples of two classes; each is held against
a network trained until its normalised loss is the same, whether or not that fits every example; both
have layers of the same lengths."""

_SHOWN = (
    ("sgd", 0), ("sgd", -1), ("sam", -1), ("decay", 0), ("adam", 0), ("fixed", 0), ("fixed", -1),
)  # fmt: skip
"""Arms in the figures of robustness, at their smallest (0) or largest (−1) batch size."""


def tables(result: xr.Dataset) -> list[Table]:
    """Return the tables of a result."""
    return [
        arm_table(result), flatness_table(result), robustness_table(result),
        *constructed_tables(result),
    ]  # fmt: skip


def arm_table(result: xr.Dataset) -> Table:
    """Return what was trained, and what was chosen."""
    rows = []
    for arm, size, lanes, good in _cells(result):
        rows.append(
            [
                f"{arm}, {size}",
                ARMS[arm].what,
                f"{int(good.sum())}" + (f" (−{int((~good).sum())})" if (~good).any() else ""),
                _range(lanes["step_size"].values),
                _range(lanes["strength"].values) if (lanes["strength"] > 0).any() else "–",
                float(lanes["updates_budget"][0]),
                ARMS[arm].gradients,
            ]
        )
    return make_table(
        ["arm, batch", "what", "seeds", "step size", "strength", "updates", "gradients/update"],
        rows,
        caption="What was trained; step size and strength: those chosen, over seeds",
        notes=("seeds: lanes that count (− those that diverged)",),
    )


def flatness_table(result: xr.Dataset) -> Table:
    """Return fit and flatness of each arm."""
    rows = []
    for arm, size, lanes, good in _cells(result):
        rows.append(
            [
                f"{arm}, {size}",
                _mean(100 * lanes["test_error"].where(good)),
                _geometric(lanes["train_loss"].where(good)),
                _geometric(lanes["lambda_max"].where(good)),
                _mean(lanes["lambda_min"].where(good)),
                _mean(lanes["trace"].where(good)),
                _geometric(adaptive(lanes).where(good)),
            ]
        )
    radius = _middle(result)
    return make_table(
        ["arm, batch", "test error (%)", "train loss", "λmax", "λmin", "tr H", "adaptive"],
        rows,
        caption="Fit and flatness: means, of train loss, λmax and adaptive sharpness geometric means "
        "[95 % t-intervals over seeds]; nats, and nats/parameter²",
        notes=(f"adaptive: worst-case sharpness relative to the weights, ρ = {radius:g}",),
    )


def robustness_table(result: xr.Dataset) -> Table:
    """Return margins and accuracy under attack of each arm."""
    eps = [float(value) for value in result["eps"].values]
    middle = eps[len(eps) // 2]
    rows = []
    for arm, size, lanes, good in _cells(result):
        under = [
            _mean(100 * lanes[f"{name}_accuracy"].sel(eps=middle).where(good))
            for name in ("fgsm", "pgd", "noise")
        ]
        rows.append(
            [
                f"{arm}, {size}",
                _mean(lanes["parameter_norm"].where(good)),
                _mean(lanes["output_margin"].where(good)),
                _mean(lanes["certified_radius"].where(good)),
                *under,
            ]
        )
    return make_table(
        ["arm, batch", "‖θ‖", "margin", "certified", "FGSM (%)", "PGD (%)", "random (%)"],
        rows,
        caption=f"Margins and accuracy under attack at ε = {middle:g}: means [95 % t-intervals over seeds]; "
        "radii in pixels from 0 to 1",
        notes=("certified: mean certified radius, zero where the network errs; random: random signs",),
    )  # fmt: skip


def constructed_tables(result: xr.Dataset) -> Iterator[Table]:
    """Return the tables of poisoned and guessed minima, where they were made."""
    if "minimum_lambda_max" in result:
        rows = []
        lanes = result.isel(lane=np.flatnonzero(result["stage"].values == "poisoned"))
        for kind in lanes["minimum"].values:
            own = lanes.sel(minimum=kind)
            rows.append(
                [
                    str(kind),
                    f"{int((own['minimum_reached'] == 1).sum())} of {own.sizes['lane']}",
                    _mean(own["minimum_loss"]),
                    _mean(100 * own["minimum_extra_error"]),
                    _mean(100 * own["minimum_test_error"]),
                    _geometric(own["minimum_lambda_max"]),
                    _geometric(
                        own["minimum_adaptive_sharpness"].sel(adaptive_radius=_middle(result))
                    ),
                ]
            )
        yield make_table(
            ["minimum", "at target", "clean loss", "mislabelled (%)", "test error (%)", "λmax",
             "adaptive"],
            rows,
            caption="Minima of gradient descent from one initialisation, without and with mislabelled extra "
            "examples, at equal loss over the clean ones [95 % t-intervals over seeds]",
            notes=("mislabelled: error on the extra examples, by their wrong labels",),
        )  # fmt: skip
    if "search_lambda_max" in result:
        rows = []
        lanes = result.isel(lane=np.flatnonzero(result["stage"].values == "random-search"))
        for way in lanes["found_by"].values:
            own = lanes.sel(found_by=way)
            counts = np.isfinite(own["search_loss"].values)
            rows.append(
                [
                    str(way),
                    int(counts.sum()),
                    _over_networks(own["search_loss"]),
                    _over_networks(own["search_lambda_max"], logarithm=True),
                    _over_networks(100 * own["search_train_error"]),
                    _over_networks(100 * own["search_test_error"]),
                ]
            )
        share = float(np.nanmean(lanes["search_fitting"].values))
        yield make_table(
            [
                "found by",
                "networks",
                "normalised loss",
                "λmax",
                "train error (%)",
                "test error (%)",
            ],
            rows,
            caption="Small networks of equal norms and loss that fit a few examples of two classes "
            "[95 % t-intervals over seeds, each a mean over its networks]",
            notes=(f"{100 * share:.2g} % of random networks fit all examples",),
        )


# Figures


def draw_flatness(result: xr.Dataset) -> Figure:
    """Draw test error against λmax and against adaptive sharpness, a point a lane."""
    lanes = _good(compared(result))
    names = _names(lanes)
    looks = figures.categorical(dict.fromkeys(names))
    radius = _middle(result)
    axes = {
        "largest eigenvalue": (lanes["lambda_max"].values, "λmax (nats/parameter²)"),
        "adaptive sharpness": (
            adaptive(lanes).values, f"adaptive sharpness, ρ = {radius:g} (nats)"
        ),
    }  # fmt: skip
    notes: list[str] = []
    legends: list[Any] = []

    def draw(ax: Any, name: str) -> None:
        measure, label = axes[name]
        found, note = figures.scatter_measures(
            ax, measure, 100 * lanes["test_error"].values, names, seed=lanes["seed"].values,
            xlabel=label, ylabel="test error (%)", group_title="arm", styles=looks, yscale="log",
        )  # fmt: skip
        legends[:] = found
        notes.append(f"{name[0].upper()}{name[1:]}: {note}")

    figure = figures.panels(axes, draw, columns=2, width=3.6, height=3.4, share_x=False)
    for entry in legends:
        figures.legend(figure, entry.handles, title=entry.title)
    figures.note(figure, " ".join(notes))
    return figure


def draw_spectra(result: xr.Dataset) -> Figure:
    """Draw the largest eigenvalues of the published protocols, a shade a length of training."""
    present = [arm for arm in SPECTRA if arm in compare.arms(result)]
    if not present:
        return _empty("arms momentum and adam were not run")
    lengths = {arm: np.unique(_of(result, arm)["updates_budget"].values) for arm in present}
    notes: dict[str, str] = {}
    every = sorted({_epochs(result, arm, n) for arm in present for n in lengths[arm]})
    looks = figures.ordered(every)

    def draw(ax: Any, arm: str) -> None:
        lanes = _good(_of(result, arm))
        spectra: dict[Hashable, Any] = {}
        for updates in lengths[arm]:
            own = lanes["updates_budget"].values == updates
            if own.any():
                spectra[_epochs(result, arm, updates)] = lanes["eigenvalue"].values[own]
        if not spectra:
            return
        notes[arm] = figures.spectrum(
            ax, spectra, ylabel="Hessian eigenvalue (nats/parameter²)", summary="geometric mean",
            styles={key: looks[key] for key in spectra}, label="{:g}",
        )  # fmt: skip
        figures.reference_line(ax, SPECTRA[arm], "published largest eigenvalue")

    figure = figures.panels(present, draw, columns=2, width=3.6, height=3.0)
    figures.legend(figure, title="epochs")
    alike = len(set(notes.values())) == 1
    texts = list(notes.values())[:1] if alike else [f"{a}: {text}" for a, text in notes.items()]
    figures.note(figure, " ".join(texts))
    return figure


def draw_strength(result: xr.Dataset) -> Figure:
    """Draw λmax and test error against the strength of each penalty at the large batch size."""
    present = [arm for arm in PENALTIES if arm in compare.arms(result)]
    if not present:
        return _empty("no arm with a penalty was run")
    shown: dict[Hashable, figures.Curve] = {}
    measures = {
        "lambda_max": ("λmax (nats/parameter²)", 1.0, "geometric mean", "log"),
        "test_error": ("test error (%)", 100.0, "mean", "linear"),
    }
    cells = {f"{arm}: {'λmax' if name == 'lambda_max' else 'test error'}": (arm, name)
             for name in measures for arm in present}  # fmt: skip
    plain = compared(result)
    plain = _good(plain.isel(lane=np.flatnonzero(plain["arm"].values == "sgd")))
    sizes = np.unique(plain["batch_size"].values)

    def draw(ax: Any, title: str) -> None:
        arm, name = cells[title]
        label, factor, summary, scale = measures[name]
        lanes = _of(result, arm)
        curves = figures.curves(
            lanes, name, x="strength", by="step_factor", summary=summary,  # type: ignore[arg-type]
            factor=factor,
        )  # fmt: skip
        figures.curve_by_group(
            ax, curves, xlabel="ρ" if ARMS[arm].strength == "rho" else "factor of the penalty",
            ylabel=label, yscale=scale,  # type: ignore[arg-type]
            label="penalty, step size × {:g}",
        )  # fmt: skip
        for size, dash in zip(sizes, ("-", (0, (2, 2))), strict=False):
            values = factor * plain[name].values[plain["batch_size"].values == size]
            if values.size:
                level = np.exp(np.mean(np.log(values))) if scale == "log" else np.mean(values)
                ax.axhline(level, color="#4d4d4d", lw=1.1, ls=dash, label=f"SGD, B = {size}")
        shown.update({f"{title}, {group:g}": curve for group, curve in curves.items()})

    figure = figures.panels(
        cells, draw, columns=len(present), width=2.6, height=2.4, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_attacks(result: xr.Dataset) -> Figure:
    """Draw accuracy against ε under both attacks and under random signs."""
    kinds = {"FGSM": "fgsm", "PGD": "pgd", "random signs": "noise"}
    lanes, looks = _shown(result)
    eps = np.concatenate([[0.0], lanes["eps"].values])
    for name in kinds.values():
        # Without attack all begin at the same accuracy.
        values = lanes[f"{name}_accuracy"].transpose("lane", "eps").values
        whole = np.concatenate([lanes["clean_accuracy"].values[:, None], values], axis=1)
        lanes = lanes.assign({f"{name}_whole": (("lane", "moved"), whole)})
    lanes = lanes.assign_coords(moved=eps)
    notes: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, kind: str) -> None:
        variable = f"{kinds[kind]}_whole"
        curves = figures.curves(lanes, variable, x="moved", by="name", factor=100)
        figures.curves_with_bands(
            ax, curves, xlabel="ε (pixels from 0 to 1)", ylabel="accuracy (%)", styles=looks
        )
        ax.set_ylim(-3, 103)
        notes.update({f"{kind}, {name}": curve for name, curve in curves.items()})

    figure = figures.panels(kinds, draw, columns=3, width=2.7, height=2.7)
    figures.legend(figure)
    figures.note(figure, figures.count_note(notes))
    return figure


def draw_certified(result: xr.Dataset) -> Figure:
    """Draw the fraction of test examples certified at a radius, against the radius."""
    lanes, looks = _shown(result)
    curves = figures.curves(lanes, "certified_accuracy", x="certified_ball", by="name", factor=100)
    figure, ax = figures.axes(6.0, 3.6)
    figures.curves_with_bands(
        ax, curves, xlabel="certified Euclidean radius (pixels from 0 to 1)",
        ylabel="test examples certified (%)", xscale="log", styles=looks,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(figure, figures.count_note(curves))
    return figure


DRAWINGS = (
    Drawing(
        "flatness", "Test error against the largest Hessian eigenvalue, which a rescaling of layers changes, "
        "and against adaptive sharpness, which it does not: one point a run.", draw_flatness,
    ),
    Drawing(
        "strength", "Largest Hessian eigenvalue and test error of large batches against the strength of each "
        "penalty; lines without markers: SGD without it.", draw_strength,
    ),
    Drawing(
        "spectra", "Largest Hessian eigenvalues of the published protocols, heavy ball and Adam, after "
        "several lengths of training.", draw_spectra,
    ),
    Drawing(
        "attacks", "Accuracy on test examples moved by FGSM, PGD and random signs.", draw_attacks
    ),
    Drawing(
        "certified", "Distribution of certified radii: the fraction of test examples that no change of "
        "that length makes the network misclassify.", draw_certified,
    ),
)  # fmt: skip


# Helpers


def _cells(result: xr.Dataset) -> Iterator[tuple[str, int, xr.Dataset, xr.DataArray]]:
    """Iterate over arm, batch size, its compared lanes by seed, and which of them count."""
    lanes = compared(result)
    for arm in compare.arms(lanes):
        for size in compare.batch_sizes(lanes, arm):
            cell = compare.cell(lanes, arm, size)
            yield arm, size, cell, compare.usable(cell)


def _shown(result: xr.Dataset) -> tuple[xr.Dataset, dict[Hashable, figures.Style]]:
    """Return the lanes of the figures of robustness with their names, and how each name looks."""
    lanes = compared(result)
    keep: list[int] = []
    for arm, which in _SHOWN:
        if arm in compare.arms(lanes):
            size = compare.batch_sizes(lanes, arm)[which]
            own = (lanes["arm"].values == arm) & (lanes["batch_size"].values == size)
            keep += np.flatnonzero(own).tolist()
    lanes = lanes.isel(lane=keep)
    names = _names(lanes)
    return lanes.assign_coords(name=("lane", np.asarray(names, object))), figures.categorical(names)


def _names(lanes: xr.Dataset) -> list[str]:
    return [
        f"{arm}, B = {size}"
        for arm, size in zip(lanes["arm"].values, lanes["batch_size"].values, strict=True)
    ]


def _of(result: xr.Dataset, arm: str) -> xr.Dataset:
    return result.isel(lane=np.flatnonzero(result["arm"].values == arm))


def _good(lanes: xr.Dataset) -> xr.Dataset:
    return lanes.isel(lane=np.flatnonzero(compare.usable(lanes).values))


def _epochs(result: xr.Dataset, arm: str, updates: float) -> float:
    lanes = _of(result, arm)
    own = np.flatnonzero(lanes["updates_budget"].values == updates)
    return round(float(np.nanmax(lanes["epochs"].values[own])), 3)


def _middle(result: xr.Dataset) -> float:
    radii = result["adaptive_radius"].values
    return float(radii[len(radii) // 2])


def _range(values: np.ndarray) -> str:
    low, high = (format_number(float(end), digits=3) for end in (values.min(), values.max()))
    return low if low == high else f"{low}–{high}"


def _mean(values: xr.DataArray) -> Estimate:
    return mean_interval(values.values)


def _geometric(values: xr.DataArray) -> Estimate:
    return geometric_mean_ratio(values.values, np.ones(values.shape))


def _over_networks(values: xr.DataArray, logarithm: bool = False) -> Estimate:
    """Estimate over seeds from each seed's mean over its networks, of the logarithm where asked."""
    table = values.transpose("lane", "network").values
    finite = np.isfinite(table)
    known = np.where(finite, table, 1)
    total = np.where(finite, np.log(known) if logarithm else known, 0).sum(1)
    means = np.where(finite.any(1), total / np.maximum(finite.sum(1), 1), np.nan)
    if logarithm:
        return geometric_mean_ratio(np.exp(means), np.ones(means.shape))
    return mean_interval(means)


def _empty(text: str) -> Figure:
    figure, ax = figures.axes(5.0, 1.2)
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center", va="center")
    return figure
