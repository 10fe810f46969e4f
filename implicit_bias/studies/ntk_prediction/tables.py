"""Tables of the NTK-prediction study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import mean_interval
from implicit_bias.results.table import Table, make_table
from implicit_bias.studies.ntk_prediction import scripts
from implicit_bias.studies.ntk_prediction.exact import ENDS, PROBLEMS
from implicit_bias.studies.ntk_prediction.exercise import VARIANTS
from implicit_bias.studies.ntk_prediction.probe import DIFFERENCES
from implicit_bias.studies.ntk_prediction.rows import (
    OWN_TOLERANCE,
    SLOPE,
    SLOPE_MARGIN,
    Reduce,
    by_width,
    first,
    geometric,
    last,
    mean,
    trial,
    worst,
)
from implicit_bias.studies.ntk_prediction.settings import ARMS

if TYPE_CHECKING:
    import xarray as xr

SLOPES: tuple[tuple[str, str, Reduce, str], ...] = (
    ("infinite", "difference from the infinite kernel", mean, "−1"),
    ("own", "difference from its own kernel", mean, "−3/2 (ReLU), −2 (smooth)"),
    ("kernel_error", "‖K₀ − K∞‖ / ‖K∞‖", first, "−1/2"),
    ("kernel_change", "‖K − K₀‖ / ‖K₀‖ at the end", last, "−3/4 (ReLU), −1 (smooth)"),
)
"""What is fitted over widths: variable, words, value of a lane, and the power that is expected.

A kernel that moves by flips of a fraction width^(−1/2) of ReLU units, each worth 1/width with either sign,
moves by width^(−3/4); one of smooth units by 1/width.
"""


def arms_of(result: xr.Dataset) -> list[str]:
    """Return the arms that were trained."""
    return [name for name in ARMS if (result["arm"].values == name).any()]


def tables(result: xr.Dataset) -> list[Table]:
    """Return the tables of a result."""
    made = []
    if arms_of(result):
        made += [_widths(result), _slopes(result), _laws(result)]
    made += [table for table in (_exercise(result), _scripts(result), _ends(result)) if table]
    return made


def _widths(result: xr.Dataset) -> Table:
    """Return how far networks are from their predictions, a row an arm and width."""
    rows = []
    for arm in arms_of(result):
        grids = {
            name: by_width(result, arm, variable, reduce)
            for name, variable, reduce in (
                ("own", "own", worst), ("infinite", "infinite", mean), ("size", "size", mean),
                ("error", "kernel_error", first), ("change", "kernel_change", last),
            )
        }  # fmt: skip
        for place, width in enumerate(grids["own"].widths):
            values = {name: grid.values[:, place] for name, grid in grids.items()}
            used = np.isfinite(values["own"])
            lost = f" (−{int((~used).sum())})" if not used.all() else ""
            rows.append(
                [
                    arm,
                    int(width),
                    f"{int(used.sum())}{lost}",
                    geometric(values["own"]),
                    geometric(values["infinite"]),
                    geometric(values["infinite"] / values["size"]),
                    geometric(values["error"]),
                    geometric(values["change"]),
                ]
            )
    return make_table(
        ["arm", "width", "seeds", "from own kernel, largest", "from K∞, mean", "relative",
         "‖K₀ − K∞‖/‖K∞‖", "‖K − K₀‖/‖K₀‖"],
        rows,
        caption="Networks against kernel gradient descent at equal time: mean squared differences on test "
        "examples, over the course; geometric means over seeds [95 % t-intervals of the logarithm]",
        notes=(
            "from own kernel, largest: with the network's initial kernel, at the worst probe; "
            f"{OWN_TOLERANCE:g} counts as none",
            "from K∞, mean: with the infinite network's kernel, averaged over probes; relative: to the mean "
            "square of the outputs",
            "seeds: lanes that count (− those that diverged)",
        ),
    )  # fmt: skip


def _slopes(result: xr.Dataset) -> Table:
    """Return powers of the width, a row an arm and quantity."""
    rows = []
    for arm in arms_of(result):
        for variable, words, reduce, theory in SLOPES:
            if arm == "linearised" and variable in ("own", "kernel_change"):
                continue  # Rounding, which is what is left there, has no power.
            found = mean_interval(by_width(result, arm, variable, reduce).slopes())
            rows.append([arm, words, theory, int(found.n), found])
    return make_table(
        ["arm", "quantity", "expected", "seeds", "power of the width"],
        rows,
        caption="Slopes of logarithms against that of the width, fitted seed by seed: means "
        "[95 % t-intervals]",
        notes=(
            f"the difference from the infinite kernel is to fall with power {SLOPE:g} ± {SLOPE_MARGIN:g}",
        ),
    )


def _laws(result: xr.Dataset) -> Table:
    """Return how far the widest network is from each law, a row a law and arm."""
    rows = []
    for arm in arms_of(result):
        sizes = {reduce: by_width(result, arm, "size", reduce) for reduce in (mean, last)}
        for name, words in DIFFERENCES.items():
            cells = [
                geometric(by_width(result, arm, name, reduce).widest / sizes[reduce].widest)
                for reduce in (mean, last)
            ]
            rows.append([arm, words, int(cells[0].n), *cells])
    width = by_width(result, arms_of(result)[0], "size").widths[-1]
    return make_table(
        ["arm", "held against", "seeds", "over the course", "at the end"],
        rows,
        caption=f"Width {width} against laws: mean squared difference on test examples, relative to the "
        "mean square of the outputs; geometric means [95 % t-intervals of the logarithm]",
    )


def _exercise(result: xr.Dataset) -> Table | None:
    names = ("difference", "matched", "size", "condition", "speed")
    found = _trials(result, *(f"exercise_{name}" for name in names))
    if found is None:
        return None
    rows = [
        [variant.name, variant.what, len(found[0]),
         *(geometric(values[:, place]) for values in found)]
        for place, variant in enumerate(VARIANTS)
    ]  # fmt: skip
    return make_table(
        ["variant", "what is left open", "seeds", "from regression", "at equal time", "regression",
         "condition number", "step / stable"],
        rows,
        caption="The published exercise: mean squared difference of the trained network from kernel ridge "
        "regression, and from kernel descent for equal time with the initial function kept; mean square of "
        "the regression; condition number of the kernel; step size over the largest stable one. Geometric "
        "means [95 % t-intervals of the logarithm]",
        notes=("published: difference below 0.01, condition number 100 to 1000",),
    )  # fmt: skip


def _scripts(result: xr.Dataset) -> Table | None:
    first_script = _trials(result, "script_norm", "script_difference", "script_own_kernel")
    second = _trials(result, "frozen_test_loss", "frozen_difference", "learned_test_loss")
    if first_script is None or second is None:
        return None
    seeds = result["seed"].values[np.isfinite(result["script_norm"].values)]
    printed = np.flatnonzero(np.sort(seeds) == 0)

    def row(script: str, what: str, values: np.ndarray, published: Any) -> list[Any]:
        own = float(values[printed[0]]) if printed.size else None
        return [script, what, own, published, len(values), geometric(values)]

    rows = [
        row("C.16", "‖α‖", first_script[0], scripts.NORM),
        row("C.16", "difference from the linear kernel", first_script[1], scripts.DIFFERENCE),
        row("C.16", "difference from the network's own kernel", first_script[2], None),
    ]
    for place, width in enumerate(scripts.WIDTHS):
        rows.append(row("C.20", f"width {width}: difference at epoch 75", second[1][:, place, 3],
                        float(scripts.PUBLISHED_DIFFERENCE[place, 3])))  # fmt: skip
    for place, width in enumerate(scripts.WIDTHS):
        rows.append(row("C.20", f"width {width}: last test loss, frozen", second[0][:, place, -1],
                        float(scripts.PUBLISHED_FROZEN[place])))  # fmt: skip
    rows.append(
        row("C.20", "last test loss, features trained", second[2][:, -1], scripts.PUBLISHED_LEARNED)
    )
    return make_table(
        ["script", "number", "printed", "published", "seeds", "over seeds"],
        rows,
        caption="Published scripts, run: what they print with their own seed, what is published, and "
        "geometric means over seeds [95 % t-intervals of the logarithm]",
        notes=(
            "C.20 stops with an error before it trains features; one product is mended",
            "published last test losses, frozen, are those of its epoch 75",
        ),
    )


def _ends(result: xr.Dataset) -> Table | None:
    rows: list[list[Any]] = []
    for variable, names, problem in (
        ("end_error", ENDS, "linearised network"),
        ("projection_error", PROBLEMS, "nearest solution"),
    ):
        found = _trials(result, variable)
        if found is not None:
            rows += [
                [problem, name, len(found[0]), float(found[0][:, place].max())]
                for place, name in enumerate(names)
            ]
    if not rows:
        return None
    return make_table(
        ["problem", "formula or start", "seeds", "largest error"],
        rows,
        caption="Ends of gradient descent in double precision: distance of what is claimed from where it "
        "ends, relative to the way from the start",
    )


def _trials(result: xr.Dataset, *names: str) -> list[np.ndarray] | None:
    try:
        return [trial(result, name) for name in names]
    except NotDecidable:
        return None
