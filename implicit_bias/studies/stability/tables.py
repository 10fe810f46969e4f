"""Tables of the stability study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.table import Table, format_number, make_table, words_then_numbers
from implicit_bias.studies.rows import by_seed, has
from implicit_bias.studies.seed_means import INTERVALS, mean
from implicit_bias.studies.stability.exercise import PENALTIES, PUBLISHED, SCALINGS
from implicit_bias.studies.stability.interpolation import FITS
from implicit_bias.studies.stability.known import BOUNDS, CASES
from implicit_bias.studies.stability.learning import INPUT_LAWS, PLAYERS
from implicit_bias.studies.stability.rules import delta_of, draws_of, known
from implicit_bias.studies.stability.script import PENALTIES as SCRIPT_PENALTIES
from implicit_bias.studies.stability.script import PRINTED

if TYPE_CHECKING:
    import xarray as xr


def tables(result: xr.Dataset) -> list[Table]:
    """Return one table for each thing that was done."""
    made = {
        "known": (_bounds, _violations),
        "ridge": (_ridge,),
        "logistic": (_logistic,),
        "descent": (_descent,),
        "interpolation": (_interpolation,),
        "learning": (_coins, _kernels),
        "exercise": (_exercise,),
        "script": (_script,),
    }
    return [table(result) for arm, some in made.items() if has(result, arm) for table in some]


def _bounds(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for case in CASES:
        bounds = [float(known(result, "bound", case=case, bound=bound)[0]) for bound in BOUNDS[:-1]]
        rows.append([
            case, format_number(float(known(result, "stability", case=case)[0])),
            mean(known(result, "gap", case=case)), mean(known(result, "quantile", case=case)),
            *(f"{format_number(value)}{' (vacuous)' if value >= 1 else ''}" for value in bounds),
        ])  # fmt: skip
    m = int(np.nanmax(known(result, "examples")))
    return make_table(
        ["algorithm", "ε", "mean gap", f"gap at {1 - delta_of(result):g}", *BOUNDS[:-1]],
        rows,
        align=words_then_numbers(1, 3 + len(BOUNDS) - 1),
        caption=f"Algorithms of known stability ε and bounds on their gap that hold with probability "
        f"{1 - delta_of(result):g}, m = {m}, losses in [0, 1]; gaps are {INTERVALS}",
        notes=(
            "sampling: L√(ln(1/δ)/(2m)); the first two bounds are the chapter's, the last four have proofs",
            "vacuous: at least the loss's range, so that it holds for every algorithm",
        ),
    )


def _violations(result: xr.Dataset) -> Table:
    rows = [
        [case, *(mean(100 * known(result, "violated", case=case, bound=bound)) for bound in BOUNDS),
         mean(100 * known(result, "off", case=case))]
        for case in CASES
    ]  # fmt: skip
    return make_table(
        ["algorithm", *BOUNDS, "off its mean"],
        rows,
        align=words_then_numbers(1, len(BOUNDS) + 1),
        caption=f"Training sets whose gap exceeds a bound, in per cent, of {draws_of(result):,}; δ = "
        f"{100 * delta_of(result):g} %; {INTERVALS}",
        notes=(
            "the last bound has half of the sampling term, to be caught",
            "off its mean: further than L√(ln(1/δ)/(2m)) either way",
        ),
    )


def _ridge(result: xr.Dataset) -> Table:
    names = ("moved", "most", "worst", "bound", "change", "gap", "average")
    last = float(result["size"].values[-1])
    rows = [
        [format_number(float(lam)),
         *(mean(by_seed(result, "ridge", f"ridge_{n}", size=last, penalty=lam)) for n in names)]
        for lam in result["penalty"].values
    ]  # fmt: skip
    return make_table(
        ["λ", "‖Δw‖ mean", "largest", "alone", "bound", "ε tried", "gap", "change at the replaced"],
        rows,
        align=words_then_numbers(0, 8),
        caption=f"Ridge regression, m = {last:g}: removal of one example, its bound, the largest change of a "
        f"loss by replacement, and the mean gap; {INTERVALS}",
        notes=("alone: an example that no other shares its direction with",),
    )


def _logistic(result: xr.Dataset) -> Table:
    names = ("moved", "most", "worst", "bound", "change")
    last = float(result["size"].values[-1])
    rows = [
        [format_number(float(lam)),
         *(mean(by_seed(result, "logistic", f"logistic_{n}", size=last, penalty=lam)) for n in names)]
        for lam in result["penalty"].values
    ]  # fmt: skip
    return make_table(
        ["λ", "‖Δw‖ mean", "largest", "alone", "bound", "largest change of a loss"],
        rows,
        align=words_then_numbers(0, 6),
        caption=f"Logistic regression, m = {last:g}: removal of one example; {INTERVALS}",
    )


def _descent(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for loss in result["descent_loss"].values:
        for m in result["descent_size"].values:
            at = {"descent_loss": loss, "descent_size": m}
            rows.append([
                loss, f"{int(m):,}",
                *(mean(by_seed(result, "descent", f"sgd_{n}", **at)) for n in ("apart", "change", "bound")),
            ])  # fmt: skip
    return make_table(
        ["loss", "m", "distance of weights", "largest change of a loss", "2ρ²Σ η/m"],
        rows,
        align=words_then_numbers(1, 4),
        caption="Pairs of runs of stochastic gradient descent in the same order, one example "
        f"opposite; {INTERVALS}",
    )


def _interpolation(result: xr.Dataset) -> Table:
    def of(name: str, fit: str, m: Any) -> str:
        values = by_seed(result, "interpolation", f"fit_{name}", fit=fit, fit_size=m)
        return mean(values) if np.isfinite(values).any() else ""

    rows = [
        [fit, f"{int(m):,}", *(of(name, fit, m) for name in ("change", "gap", "excess", "ball"))]
        for fit in FITS
        for m in (result["fit_size"].values[0], result["fit_size"].values[-1])
    ]
    return make_table(
        ["interpolator", "m", "change of a loss", "gap", "excess risk", "complexity of its ball"],
        rows,
        align=words_then_numbers(1, 5),
        caption="Fits of every training label: largest change of a loss in [0, 1] by another label, gap and "
        f"excess risk (wrong labels, or over the labels' variance), Rademacher complexity; {INTERVALS}",
        notes=(
            "low dimension fits only labels that are linear in five features, and so does not fit "
            "the changed one",
        ),
    )


def _coins(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for m in result["coin_size"].values:
        gaps = [
            np.sqrt(m) * by_seed(result, "learning", "coin_gap", player=p, coin_size=m)
            for p in PLAYERS
        ]
        shares = [
            100 * by_seed(result, "learning", "coin_share", player=p, coin_size=m) for p in PLAYERS
        ]
        excess = np.sqrt(m) * by_seed(result, "learning", "coin_excess", coin_size=m)
        risks = [
            m * by_seed(result, "learning", "threshold_risk", input_law=law, coin_size=m)
            for law in INPUT_LAWS
        ]
        rows.append([f"{int(m):,}", *(mean(v) for v in (*gaps, *shares, excess, *risks))])
    return make_table(
        ["m", *(f"√m·|gap|, {p}" for p in PLAYERS), *(f"large, %, {p}" for p in PLAYERS), "√m·excess",
         *(f"m·risk, inputs {law}" for law in INPUT_LAWS)],
        rows,
        align=words_then_numbers(0, 2 + 2 * len(PLAYERS) + len(INPUT_LAWS)),
        caption=f"Coins: gap of three algorithms on a fair one, share of draws of at least 1/(4√m), and the "
        f"best algorithm's excess risk on one biased by 1/(2√m); thresholds on a line; {INTERVALS}",
    )  # fmt: skip


def _kernels(result: xr.Dataset) -> Table:
    rows = [
        [f"{int(m):,}", *(mean(100 * by_seed(result, "learning", f"kernel_{n}", kernel_size=m))
                          for n in ("random", "margin"))]
        for m in result["kernel_size"].values
    ]  # fmt: skip
    share = np.nanmin(by_seed(result, "learning", "kernel_shattered"))
    return make_table(
        ["m", "labels by coin flips", "classes with a margin"],
        rows,
        align=words_then_numbers(0, 3),
        caption=f"Gaussian kernel that fits its training set: risk in per cent; {INTERVALS}",
        notes=(f"of all labellings of random points the kernel realises {100 * share:g} %",),
    )


def _exercise(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for scaling in SCALINGS:
        for place, lam in enumerate(PENALTIES):
            at = {"scaling": scaling, "ridge_penalty": lam}
            found = [mean(by_seed(result, "exercise", f"image_{n}", **at))
                     for n in ("moved", "gap", "left", "change", "error")]  # fmt: skip
            said = [
                format_number(PUBLISHED[n][place]) if scaling == "sum" else ""
                for n in ("moved", "gap")
            ]
            rows.append([scaling, format_number(lam), said[0], found[0], said[1], *found[1:]])
    features = float(np.nanmax(by_seed(result, "exercise", "image_features")))
    return make_table(
        ["λ beside", "λ", "Δ̄ expected", "Δ̄", "gap expected", "gap", "left out less training",
         "largest change of a loss", "test less training error, %"],
        rows,
        align=words_then_numbers(1, 8),
        caption=f"Exercise C.16, ridge regression of class indicators on {features:.0f} pixels, squared "
        f"error as mean over classes; {INTERVALS}",
        notes=("what is expected is of MNIST, 784 pixels",),
    )  # fmt: skip


def _script(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for place, lam in enumerate(SCRIPT_PENALTIES):
        at = {"script_penalty": lam}
        for name, words in (("moved", "‖Δw‖, called ε"), ("gap", "test error, called gap"),
                            ("real", "test less training error")):  # fmt: skip
            said = format_number(PRINTED[name][place]) if name in PRINTED else ""
            own = format_number(float(by_seed(result, "script", f"own_{name}", **at)[0]))
            rows.append(
                [
                    f"{words}, λ = {lam:g}",
                    said,
                    own,
                    mean(by_seed(result, "script", f"script_{name}", **at)),
                ]
            )
    return make_table(
        ["", "said to be printed", "its own seed gives", "other draws"],
        rows,
        align=words_then_numbers(1, 3),
        caption=f"Solution C.12, ridge regression of noise; {INTERVALS}",
    )
