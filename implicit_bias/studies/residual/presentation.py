"""Figures and methods of the residual study."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.residual.arms import DENSE, Cell
from implicit_bias.studies.residual.rows import (
    at_target,
    depths_of,
    exact,
    norms_of,
    of_cell,
    updates_to_target,
)
from implicit_bias.studies.residual.settings import KINDS
from implicit_bias.studies.rows import if_run

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """A stack of L equal layers stands between an affine layer and the outputs. Its blocks are h ←
F(h), h ← h + F(h), h ← h + F(h)/√L or h ← h + F(h)/L with F(h) = W φ(N(h)) + b: the same parameters and
the same draw of them (He's initialisation), so that kinds differ in nothing but the shortcut and its
factor. N normalises each example over its units, or is left out; with it outputs are normalised before
the last layer, too. Convolutional networks are published ResNets at reduced size, with and without their
shortcuts, in which nothing but the projections beside strided blocks is added to the parameters.

Each network is trained by plain SGD on the cross-entropy at several step sizes, until the loss over the
whole training set is at a target, looked at every few updates, or a budget is spent. Of each network and
seed the step size that needs the fewest updates is chosen, and that run is measured: λmax and the
sensitivity of outputs to inputs at the same training loss, so that what differs is not how far training
went. Where a run does not meet the target, its budget stands for its updates, and nothing else of it is
compared.

The change of features by a block is the root mean square over test examples of ‖h_(l+1) − h_l‖, over that
of ‖h_l‖: with a shortcut it is that of the branch. Conditioning is taken before training: the Jacobian
from inputs to outputs of each test example, and the empirical tangent kernel. Along the path it is
measured how fast gradients turn: ‖∇L(θ+δ) − ∇L(θ)‖/‖δ‖ for steps δ down the gradient of 0.3, 1 and 3 % of
‖θ‖, the largest. With batch normalisation networks are taken as they are used, with running statistics.

Beside these, networks as drawn are taken in double precision, without normalisation: Jacobians of blocks
are written out, gradients are automatic ones, and they are held against each other. The condition of
Hardt and Ma is that no block's branch has a Jacobian larger than ε; with it the singular values of the
whole stack have bounds, and linear networks have no critical points but minima."""

LOOKS = figures.categorical(KINDS)
Values = Callable[[Cell], np.ndarray]


def _title(norm: str) -> str:
    return "without normalisation" if norm == "none" else f"{norm} normalisation"


def draw_blocks(result: xr.Dataset) -> Figure:
    """Draw the change of features by each block of the deepest networks, before and after training."""
    deepest = depths_of(result)[-1]
    shown: dict[Hashable, figures.Curve] = {}
    panels = {
        f"{_title(norm)}, {moment} training": (norm, moment)
        for norm in norms_of(result)
        for moment in ("before", "after")
    }
    places = np.arange(1, deepest + 1)

    def draw(ax: Any, panel: str) -> None:
        norm, moment = panels[panel]
        curves: dict[Hashable, figures.Curve] = {
            kind: figures.Curve.from_values(
                places,
                of_cell(result, Cell(DENSE, kind, deepest, norm), f"change_{moment}")[:, :deepest],
                summary="geometric mean",
            )
            for kind in KINDS
        }
        figures.curves_with_bands(
            ax, curves, xlabel="block", ylabel="‖Δh‖/‖h‖", yscale="log", styles=LOOKS
        )
        shown.update({f"{panel}, {kind}": curve for kind, curve in curves.items()})

    figure = figures.panels(list(panels), draw, columns=2, width=3.2, height=2.3)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def _across_depths(
    result: xr.Dataset, panels: dict[str, tuple[str, str, Values]], columns: int = 2
) -> Figure:
    """Draw quantities of cells against the depth, one line a kind; panels give norm, label and values."""
    depths = depths_of(result)
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, panel: str) -> None:
        norm, label, values = panels[panel]
        curves: dict[Hashable, figures.Curve] = {}
        for kind in KINDS:
            table = np.stack([values(Cell(DENSE, kind, depth, norm)) for depth in depths], axis=1)
            if np.isfinite(table).any():
                curves[kind] = figures.Curve.from_values(
                    np.asarray(depths, float), table, summary="geometric mean"
                )
        figures.curve_by_group(
            ax, curves, xlabel="blocks L", ylabel=label, yscale="log", styles=LOOKS
        )
        shown.update({f"{panel}, {kind}": curve for kind, curve in curves.items()})

    figure = figures.panels(
        list(panels), draw, columns=columns, width=3.2, height=2.4, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_conditioning(result: xr.Dataset) -> Figure:
    """Draw conditioning before training against depth: Jacobian and tangent kernel."""
    parts = {
        "Jacobian": ("conditioning", "σ1/σ_median of ∂f/∂x"),
        "tangent kernel": ("kernel_condition", "λ1/λ_median of the kernel"),
    }

    def values_of(name: str) -> Values:
        return lambda cell: of_cell(result, cell, name)

    panels = {
        f"{words}, {_title(norm)}": (norm, label, values_of(name))
        for words, (name, label) in parts.items()
        for norm in norms_of(result)
    }
    return _across_depths(result, panels, max(2, len(norms_of(result))))


def draw_training(result: xr.Dataset) -> Figure:
    """Draw updates to the target, and λmax and sensitivity there, against depth."""
    parts: dict[str, tuple[str, Values]] = {
        "updates": ("updates to the target", lambda cell: updates_to_target(result, cell)),
        "sharpness": ("λmax (nats/parameter²)", lambda cell: at_target(result, cell, "lambda_max")),
        "sensitivity": (
            "‖∂f/∂x‖ / spread of f", lambda cell: at_target(result, cell, "sensitivity"),
        ),
    }  # fmt: skip
    return _across_depths(
        result,
        {
            f"{name}, {_title(norm)}": (norm, label, values)
            for name, (label, values) in parts.items()
            for norm in norms_of(result)
        },
        len(norms_of(result)) if len(norms_of(result)) > 1 else 3,
    )


def draw_path(result: xr.Dataset) -> Figure:
    """Draw the change of features and the turning of gradients of the deepest networks while they train."""
    deepest = depths_of(result)[-1]
    shown: dict[Hashable, figures.Curve] = {}
    words = {"change": "‖Δh‖/‖h‖, mean over blocks",
             "gradient_lipschitz": "‖Δ∇L‖/‖δ‖ (nats/parameter²)"}  # fmt: skip
    panels = {
        f"{'features' if name == 'change' else 'gradient'}, {_title(norm)}": (name, norm)
        for name in words
        for norm in norms_of(result)
    }

    def draw(ax: Any, panel: str) -> None:
        name, norm = panels[panel]
        curves: dict[Hashable, figures.Curve] = {}
        for kind in KINDS:
            cell = Cell(DENSE, kind, deepest, norm)
            steps, values = (of_cell(result, cell, f"log_{part}") for part in ("step", name))
            # Runs end at their own time: points that half of the seeds have not reached are left out.
            kept = np.isfinite(values).sum(axis=0) >= max(1, len(values) / 2)
            if kept.any():
                at = np.nanmax(steps[:, kept], axis=0)
                curves[kind] = figures.Curve.from_values(
                    at + 1, values[:, kept], summary="geometric mean"
                )
        figures.curves_with_bands(
            ax, curves, xlabel="updates + 1", ylabel=words[name], xscale="log", yscale="log",
            styles=LOOKS,
        )  # fmt: skip
        shown.update({f"{panel}, {kind}": curve for kind, curve in curves.items()})

    figure = figures.panels(
        list(panels),
        draw,
        columns=max(2, len(norms_of(result))),
        width=3.2,
        height=2.4,
        share_y=False,
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown) + " Runs stop where they meet the target.")
    return figure


def draw_exact(result: xr.Dataset) -> Figure:
    """Draw singular values of whole stacks as drawn against depth, with the bounds of 1/L branches."""
    depths = result["exact_depth"].values.astype(float)
    shown: dict[Hashable, figures.Curve] = {}
    panels = {"extremes": "singular values of ∂h_L/∂h_0", "ε": "largest ‖∂F/∂h‖ of a block, ε"}

    def draw(ax: Any, panel: str) -> None:
        curves: dict[Hashable, figures.Curve] = {}
        for kind in KINDS:
            if panel == "ε":
                if kind != "plain":
                    curves[kind] = figures.Curve.from_values(
                        depths, exact(result, "branch_norm", kind), summary="geometric mean"
                    )
                continue
            for name in ("stack_largest", "stack_smallest"):
                values = np.maximum(exact(result, name, kind), 1e-16)
                curve = figures.Curve.from_values(depths, values, summary="geometric mean")
                look = LOOKS[kind]
                ax.plot(
                    curve.x, curve.centre, color=look.colour, ls=look.dash, marker=look.marker,
                    markersize=5, mfc=look.colour if name == "stack_largest" else "white",
                    label=kind if name == "stack_largest" else None,
                )  # fmt: skip
                ax.fill_between(curve.x, curve.low, curve.high, color=look.colour, alpha=0.15, lw=0)
                shown[f"{name}, {kind}"] = curve
        if panel == "ε":
            figures.curve_by_group(
                ax, curves, xlabel="blocks L", ylabel=panels[panel], yscale="log", styles=LOOKS
            )
            figures.reference_line(ax, 1.0, "no lower bound above")
            return
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(depths, [f"{depth:g}" for depth in depths])
        ax.set_xlabel("blocks L")
        ax.set_ylabel(panels[panel])

    figure = figures.panels(
        list(panels), draw, columns=2, width=3.3, height=2.8, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(
        figure,
        "Filled: the largest; hollow: the smallest, those below 10⁻¹⁶ drawn there. "
        + figures.count_note(shown),
    )
    return figure


DRAWINGS = (
    Drawing(
        "blocks", "How much each block changes features, before and after training, in the "
        "deepest networks.",
        draw_blocks, if_run(DENSE),
    ),
    Drawing(
        "conditioning", "Conditioning before training against depth, of Jacobians and of tangent "
        "kernels.",
        draw_conditioning, if_run(DENSE),
    ),
    Drawing(
        "training", "Updates to one training loss, and how sharp and how sensitive networks are "
        "there.",
        draw_training, if_run(DENSE),
    ),
    Drawing(
        "path", "While the deepest networks train: change of features by a block, and how fast "
        "gradients turn.", draw_path, if_run(DENSE),
    ),
    Drawing(
        "exact", "Singular values of whole stacks as drawn, and the norm of their blocks' "
        "branches.",
        draw_exact, if_run("jacobians"),
    ),
)  # fmt: skip
