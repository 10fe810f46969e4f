"""Tables of the factorization study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.statistics import Estimate, mean_interval
from implicit_bias.results.table import Table, format_estimate, format_number, make_table
from implicit_bias.studies.factorization.diagonal import DEPTHS
from implicit_bias.studies.factorization.modes import LEARNT, STARTS
from implicit_bias.studies.factorization.plane import STARTS as PLANE_STARTS
from implicit_bias.studies.factorization.rules_norms import last_finite
from implicit_bias.studies.factorization.sensing import CASES
from implicit_bias.studies.factorization.signals import ACTIVATIONS, INITS, SHAPES, WAYS
from implicit_bias.studies.rows import by_seed, geometric_mean, has
from implicit_bias.studies.seed_means import INTERVALS

if TYPE_CHECKING:
    import xarray as xr


def tables(result: xr.Dataset) -> list[Table]:
    """Return one table for each thing that was done."""
    made = {
        "sensing": _sensing,
        "plane": _plane,
        "modes": _modes,
        "depths": _depths,
        "widths": _widths,
        "ranks": _ranks,
        "diagonal": _diagonal,
        "networks": _networks,
        "signals": _signals,
    }
    return [table(result) for arm, table in made.items() if has(result, arm)]


def mean(values: np.ndarray) -> str:
    """Write a mean over seeds with its interval."""
    return written(mean_interval(values))


def written(found: Estimate) -> str:
    """Write an estimate, without its interval where that has no width to speak of."""
    if found.high - found.low <= 1e-4 * abs(found.value):
        return format_number(found.value)
    return format_estimate(found)


def floored(values: np.ndarray) -> np.ndarray:
    """Return errors that are only rounding, or what the duality gap leaves, as 0."""
    return np.where(values < 1e-5, 0.0, values)


def geometric(values: np.ndarray) -> str:
    """Write a geometric mean over seeds with its interval."""
    return written(geometric_mean(values))


def _sensing(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    depths = result["sensing_depth"].values
    for place, case in enumerate(CASES):
        rows.append(
            [
                case,
                "least nuclear norm",
                "0",
                mean(floored(by_seed(result, "sensing", "minimum_error")[:, place])),
                mean(by_seed(result, "sensing", "minimum_rank")[:, place]),
            ]
        )
        for column, depth in enumerate(depths):
            found = {
                name: by_seed(result, "sensing", f"sensing_{name}")[:, place, column, 0]
                for name in ("excess", "error", "rank")
            }
            rows.append([case, f"L = {depth}", *(mean(values) for values in found.values())])
    start = float(result["sensing_start"].values[0])
    return make_table(
        [
            "measurements",
            "solution",
            "excess of nuclear norm",
            "error of the truth",
            "effective rank",
        ],
        rows,
        caption=f"Deep factorisations from αI with product {start:g}, beside the least nuclear norm; "
        f"{INTERVALS}",
        notes=tuple(f"{case}: {what}" for case, what in CASES.items()),
    )


def _plane(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for row, start in enumerate(PLANE_STARTS):
        for column, depth in enumerate(result["plane_depth"].values):
            found = {
                name: last_finite(by_seed(result, "plane", f"plane_{name}")[:, row, column])
                for name in ("entry", "nuclear", "rank")
            }
            known = np.isfinite(by_seed(result, "plane", "plane_entry")[:, row, column])
            losses = result["plane_loss"].values.astype(float)
            least = np.array([losses[one][-1] if one.any() else np.nan for one in known])
            rows.append(
                [start, int(depth), geometric(least), *(geometric(v) for v in found.values())]
            )
    return make_table(
        ["start", "L", "least loss looked at", "|W₁₁|", "nuclear norm", "effective rank"],
        rows,
        caption="Two by two entries of which W₁₁ is not seen, W₁₂ = W₂₁ = 1, W₂₂ = 0; geometric means over "
        "seeds [95 % t-intervals of the logarithm]",
        notes=(
            "least nuclear norm of a solution: 2, at W₁₁ = 0; paths are followed for as long as "
            "rounding leaves the sign of det W as gradient flow does",
        ),
    )


def _modes(result: xr.Dataset) -> Table:
    rows = []
    for place, depth in enumerate(result["mode_depth"].values):
        second = by_seed(result, "modes", "mode_second")[:, :, place]
        when = by_seed(result, "modes", "mode_when")[:, :, place]
        rows.append(
            [
                int(depth),
                geometric(when[:, 0]),
                geometric(second[:, 0]),
                geometric(when[:, 1]),
                geometric(second[:, 1]),
                float(by_seed(result, "modes", "mode_second_scaled")[0, place]),
            ]
        )
    return make_table(
        [
            "L",
            "time, αI",
            "second, αI",
            "time, turned",
            "second, turned",
            "second, α of a layer fixed",
        ],
        rows,
        caption=f"When the strongest mode is at {LEARNT:g} of its target, and the second's share of its own "
        "then; geometric means over seeds [95 % t-intervals of the logarithm]",
        notes=(f"αI: {STARTS[0]}; turned: balanced layers {STARTS[1]}; last column by the law",),
    )


def _depths(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for place, depth in enumerate(result["depth_layers"].values):
        found = {
            name: by_seed(result, "depths", f"depth_{name}")[:, place]
            for name in ("error", "tail", "rank", "stable", "nuclear")
        }
        rows.append(
            [
                f"L = {int(depth)}",
                geometric(found["error"]),
                geometric(found["tail"]),
                *(mean(found[name]) for name in ("rank", "stable", "nuclear")),
            ]
        )
    rows.append(
        [
            "least nuclear norm",
            geometric(by_seed(result, "depths", "depth_minimum_error")),
            "n/a",
            mean(by_seed(result, "depths", "depth_minimum_rank")),
            "n/a",
            "n/a",
        ]
    )
    return make_table(
        ["solution", "error, unseen entries", "σ_{r+1}/σ_1", "effective rank", "stable rank", "nuclear "
                                                                                              "norm/truth's"],
        rows,
        caption=f"Completion by depth from balanced layers turned at random; {INTERVALS}, of errors and "
                "tails "
        "geometric",
    )  # fmt: skip


def _widths(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for start in result["width_start"].values:
        for place, width in enumerate(result["width"].values):
            found = {
                name: by_seed(result, "widths", f"width_{name}", width_start=start)[:, place]
                for name in ("condition", "updates", "unfitted", "left", "excess")
            }
            rows.append(
                [
                    str(start),
                    int(width),
                    geometric(found["condition"]),
                    geometric(found["updates"]),
                    int(found["unfitted"].sum()),
                    mean(found["left"]),
                    mean(found["excess"]),
                ]
            )
    return make_table(
        ["start", "width", "condition number", "updates", "not fitted", "left of the start", "excess of "
                                                                                             "nuclear norm"],
        rows,
        caption=f"Deep linear networks by width; {INTERVALS}, of condition numbers and updates geometric",
        notes=(
            "not fitted: seeds that are not within the most updates; a square orthogonal network "
            "cannot change the sign of its "
            "determinant", "the last two columns: half as many examples as inputs",
        ),
    )  # fmt: skip


def _ranks(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    effective = by_seed(result, "ranks", "rank_effective")
    for place, truth in enumerate(result["rank_truth"].values):
        line = effective[:, place]
        rows.append(
            [
                f"rank {int(truth)}",
                mean(by_seed(result, "ranks", "rank_of_truth")[:, place]),
                mean(line[:, 0]),
                mean(line.min(axis=1)),
                mean(line[:, -1]),
                mean(by_seed(result, "ranks", "rank_stable")[:, place, -1]),
                mean(by_seed(result, "ranks", "rank_nuclear")[:, place, -1]),
                int(by_seed(result, "ranks", "rank_exact")[:, place, -1].min()),
            ]
        )
    line = by_seed(result, "ranks", "rank_trained")
    rows.append(
        [
            "network, layer by layer",
            mean(by_seed(result, "ranks", "rank_trained_truth")),
            mean(line[:, 0]), mean(line.min(axis=1)), mean(line[:, -1]), "n/a", "n/a",
            int(by_seed(result, "ranks", "rank_trained_exact").min()),
        ]
    )  # fmt: skip
    return make_table(
        ["truth", "effective rank of it", "at the start", "least", "at the end", "stable rank, end",
         "nuclear norm/truth's, end", "exact rank, end"],
        rows,
        caption=f"Effective rank of the product while a deep linear network trains from αI; {INTERVALS}",
    )  # fmt: skip


def _diagonal(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for place, alpha in enumerate(result["alpha"].values):
        row: list[Any] = [f"{float(alpha):g}"]
        for column in range(len(DEPTHS)):
            for name in ("excess", "distance", "error", "moved"):
                values = by_seed(result, "diagonal", f"diagonal_{name}")[:, 0, column, place]
                row.append(geometric(np.maximum(values, 1e-16)))
        rows.append(row)
    heads = [f"{name}, D = {depth}" for depth in DEPTHS
             for name in ("l1 excess", "distance from X⁺y", "error", "kernel's change")]  # fmt: skip
    return make_table(
        ["α", *heads],
        rows,
        caption="Diagonal networks by scale, sparse truth; geometric means over seeds [95 % t-intervals of "
        "the logarithm], relative",
    )


def _networks(result: xr.Dataset) -> Table:
    rows = []
    for place, alpha in enumerate(result["network_alpha"].values):
        found = {
            name: by_seed(result, "networks", f"network_{name}")[:, place]
            for name in ("kernel", "angle", "moved", "updates", "fit")
        }
        rows.append([f"{float(alpha):g}", *(geometric(values) for values in found.values())])
    return make_table(
        ["α", "kernel's change", "1 − cosine", "‖θ − θ₀‖/‖θ₀‖", "updates", "loss/loss of 0"],
        rows,
        caption="ReLU networks that start as zero functions, by the scale of both layers; geometric means "
        "over seeds [95 % t-intervals of the logarithm]",
    )


def _signals(result: xr.Dataset) -> Table:
    change = by_seed(result, "signals", "signal_change")
    rows: list[list[Any]] = []
    for row, init in enumerate(INITS):
        for column, activation in enumerate(ACTIVATIONS):
            cells = [
                mean(100 * np.expm1(change[:, row, column, shape, way]))
                for shape in range(len(SHAPES))
                for way in range(len(WAYS))
            ]
            rows.append([INITS[init], activation, *cells])
    return make_table(
        [
            "variance of weights",
            "activation",
            *(f"{shape}, {way}" for shape in SHAPES for way in WAYS),
        ],
        rows,
        caption=f"Change of the second moment by a layer (%); {INTERVALS}",
    )
