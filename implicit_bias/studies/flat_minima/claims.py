"""What the flat-minima study decides: claims and the rules that judge them, fixed before any run."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Claim, Evidence, Finding, NotDecidable, identity
from implicit_bias.results.statistics import (
    Comparison,
    Estimate,
    mean_interval,
    paired_difference,
    rank_correlation,
)
from implicit_bias.studies import compare
from implicit_bias.studies.flat_minima.arms import PENALTIES
from implicit_bias.studies.flat_minima.script import PRINTED

if TYPE_CHECKING:
    import xarray as xr

SMALLEST_GAP = 0.2
"""Difference of test errors that matters, in percentage points."""
SMALLEST_RATIO = 0.25
"""A ratio of curvatures, sharpnesses or radii matters from 1.25 on."""
SMALLEST_CORRELATION = 0.3
"""A rank correlation matters from here on."""
ALIKE = 0.05
"""Robustness ratios that differ by less are alike."""
WITHIN = 2.0
"""A published eigenvalue is met within this factor."""

_ROUNDING = 1e-6
"""What float32 leaves open of an eigenvalue, relative to the largest."""

SPECTRA = {"momentum": 50.0, "adam": 10.0}
"""Published largest eigenvalues of the two protocols."""


def compared(result: xr.Dataset) -> xr.Dataset:
    """Return the one lane of each arm, batch size and seed that is compared."""
    return result.isel(lane=np.flatnonzero(result["chosen"].values))


def _cells(result: xr.Dataset, *wanted: tuple[str, int]) -> list[xr.Dataset]:
    """Return compared lanes of arms, each at its smallest (0) or largest (−1) batch size, by seed."""
    lanes = compared(result)
    sizes = [compare.batch_sizes(lanes, arm)[which] for arm, which in wanted]
    return [compare.cell(lanes, arm, size) for (arm, _), size in zip(wanted, sizes, strict=True)]


def _ratio(
    first: xr.Dataset,
    second: xr.Dataset,
    value: str | Callable[[xr.Dataset], xr.DataArray],
    smallest: float = SMALLEST_RATIO,
    direction: int = 1,
) -> Comparison:
    return compare.ratio(first, second, value, smallest, direction)


def _at_most(comparison: Comparison, bound: float) -> Comparison:
    """Ask of the same effect whether it lies below a bound: what the claim allows at most."""
    return Comparison(comparison.estimate, 0.0, -1, bound)


def adaptive(lanes: xr.Dataset) -> xr.DataArray:
    """Return the adaptive sharpness at the middle radius."""
    name = "adaptive_sharpness"
    return lanes[name].isel(adaptive_radius=lanes.sizes["adaptive_radius"] // 2)


# Large batches with a penalty on curvature


def _substitute(result: xr.Dataset) -> Evidence:
    present = [arm for arm in PENALTIES if arm in compare.arms(result)]
    if not present:
        raise NotDecidable(f"needs one of the arms {', '.join(PENALTIES)}")
    small, large = _cells(result, ("sgd", 0), ("sgd", -1))
    comparisons: dict[str, Comparison] = {}
    for arm in present:
        (flat,) = _cells(result, (arm, -1))
        comparisons |= {
            f"λmax lowered by {arm}": _ratio(large, flat, "lambda_max"),
            f"test error lowered by {arm}": compare.error_gap(large, flat, SMALLEST_GAP),
            f"test error as with small B, {arm}": _at_most(
                compare.error_gap(flat, small, SMALLEST_GAP), SMALLEST_GAP
            ),
            f"λmax as with small B, {arm}": _at_most(
                _ratio(flat, small, "lambda_max"), 1 + SMALLEST_RATIO
            ),
        }
    gap = compare.error_gap(large, small, SMALLEST_GAP).estimate(0.95)
    sharper = _ratio(large, small, "lambda_max").estimate(0.95)
    return Evidence(
        comparisons,
        reason=_lost(result, ("sgd", *present)),
        details={
            "large B without penalty, test error above small B (points)": _plain(gap),
            "large B without penalty, λmax relative to small B": _plain(sharper),
        },
    )


# SAM against SGD


SAM_PAIRS: dict[str, tuple[tuple[str, int], tuple[str, int]]] = {
    "clean labels, large B": (("sam", -1), ("sgd", -1)),
    "clean labels, small B": (("sam-small", 0), ("sgd", 0)),
    "clean labels, large B, large ρ": (("sam-large-rho", -1), ("sgd", -1)),
    "noisy labels": (("sam-noisy", -1), ("sgd-noisy", -1)),
    "few examples": (("sam-few", -1), ("sgd-few", -1)),
}
"""Tasks on which SAM is held against SGD: the arms and batch sizes compared."""


def _not_uniformly_better(result: xr.Dataset) -> Finding:
    here = compare.arms(result)
    pairs = {task: pair for task, pair in SAM_PAIRS.items() if all(arm in here for arm, _ in pair)}
    if not pairs:
        raise NotDecidable("needs an arm of SAM and its arm of SGD")
    level = 1 - 0.05 / len(pairs)
    made: dict[str, Estimate] = {}
    for task, (first, second) in pairs.items():
        a, b = _cells(result, first, second)
        made[task] = compare.error_gap(a, b, 0.0).estimate(level)
    worse = [task for task, estimate in made.items() if estimate.above(0)]
    better = [task for task, estimate in made.items() if estimate.below(0)]
    head = max(made, key=lambda task: made[task].low)
    if worse:
        verdict = "supported"
    elif len(better) == len(made):
        verdict = "refuted"
    else:
        verdict = "inconclusive"
    texts = [
        f"{word}: {', '.join(tasks)}"
        for word, tasks in (
            ("SAM errs more", worse),
            ("SAM errs less", better),
            ("undecided", [task for task in made if task not in worse + better]),
        )
        if tasks
    ]
    estimate = made[head]
    return Finding(
        verdict=verdict,  # type: ignore[arg-type]
        effect=estimate.value,
        interval=(estimate.low, estimate.high),
        n_seeds=estimate.n,
        reason="; ".join(texts),
        details={
            "headline": head,
            "level": level,
            "SAM − SGD (points)": {task: _plain(made[task]) for task in made},
        },
    )


# Minima that training does not find by itself


def _minimum(result: xr.Dataset, kind: str) -> xr.Dataset:
    """Return one of the poisoned experiment's minima, indexed by seed, as lanes are compared."""
    stage = np.flatnonzero(result["stage"].values == "poisoned")
    if not stage.size or "minimum_lambda_max" not in result:
        raise NotDecidable("the experiment with poisoned minima was not run")
    rows = result.isel(lane=stage).sel(minimum=kind).swap_dims(lane="seed")
    names = [str(name) for name in rows.data_vars if str(name).startswith("minimum_")]
    lanes = rows[names].rename({name: name.removeprefix("minimum_") for name in names})
    both = result["minimum_reached"].isel(lane=stage).values
    # Losses are equal only where both came to the target.
    missed = ~(np.isfinite(both) & (both == 1)).all(axis=1)
    flags = {
        "test_wrong": lanes["wrong"] == 1,
        "diverged": ("seed", rows["diverged"].values.astype(bool)),
        "target_loss": ("seed", np.ones(lanes.sizes["seed"])),
        "reached_target": ("seed", ~missed),
    }
    return lanes.drop_vars("wrong").assign(flags)


def _search(result: xr.Dataset) -> tuple[Any, Any]:
    """Return, by seed, log λmax and test error (points) of guesses less those of descent, mean over pairs."""
    stage = np.flatnonzero(result["stage"].values == "random-search")
    if not stage.size or "search_lambda_max" not in result:
        raise NotDecidable("the experiment with guessed networks was not run")
    rows = result.isel(lane=stage)
    logs = np.log(rows["search_lambda_max"].transpose("lane", "found_by", "network").values)
    errors = 100 * rows["search_test_error"].transpose("lane", "found_by", "network").values
    return _mean(logs[:, 1] - logs[:, 0]), _mean(errors[:, 1] - errors[:, 0])


def _mean(values: np.ndarray) -> np.ndarray:
    """Take the mean over the last axis of what is finite; NaN where nothing is."""
    finite = np.isfinite(values)
    total = np.where(finite, values, 0).sum(-1)
    return np.where(finite.any(-1), total / np.maximum(finite.sum(-1), 1), np.nan)


def _constructed(result: xr.Dataset) -> Evidence:
    comparisons: dict[str, Comparison] = {}
    details: dict[str, Any] = {}
    plain, poisoned = _minimum(result, "plain"), _minimum(result, "poisoned")
    comparisons |= {
        "λmax, poisoned / descent": _ratio(poisoned, plain, "lambda_max"),
        "adaptive sharpness, poisoned / descent": _ratio(poisoned, plain, adaptive),
        "test error, poisoned − descent": compare.error_gap(poisoned, plain, SMALLEST_GAP),
    }
    for name, lanes in (("descent", plain), ("poisoned", poisoned)):
        details[f"clean training loss, {name}"] = float(np.nanmean(lanes["loss"].values))
        details[f"error on the mislabelled, {name}"] = float(
            np.nanmean(lanes["extra_error"].values)
        )
    logs, errors = _search(result)
    comparisons |= {
        "λmax, random search / descent": Comparison(
            lambda level: _exponential(mean_interval(logs, level)), SMALLEST_RATIO, 1, 1.0
        ),
        "test error, random search − descent": Comparison(
            lambda level: mean_interval(errors, level), SMALLEST_GAP, 1
        ),
    }
    details["random networks that fit"] = float(np.nanmean(result["search_fitting"].values))
    return Evidence(comparisons, details=details)


def _exponential(estimate: Estimate) -> Estimate:
    """Turn the estimate of a logarithm into one of the quantity."""
    value, low, high = (
        math.exp(min(x, 700.0)) for x in (estimate.value, estimate.low, estimate.high)
    )
    return dataclasses.replace(estimate, value=value, low=low, high=high)


# Spectra of the published protocols


def _spectra(result: xr.Dataset) -> Evidence:
    a, b = _cells(result, ("momentum", 0), ("adam", 0))
    comparisons = {"λmax, A / B": _ratio(a, b, "lambda_max")}
    details: dict[str, Any] = {}
    for name, lanes, published in (("A", a, SPECTRA["momentum"]), ("B", b, SPECTRA["adam"])):
        values = lanes["lambda_max"].where(compare.usable(lanes)).values
        comparisons |= {
            f"λmax of {name} within a factor of {WITHIN:g} of {published:g}": Comparison(
                _factor(values, published), 0.0, -1, WITHIN
            ),
            f"no negative eigenvalue, {name}": Comparison(_lowest(lanes), 0.0, 1),
        }  # fmt: skip
        top = lanes["eigenvalue"].values
        details[f"{name}: λ1, λ2, …, mean over seeds"] = np.nanmean(top, axis=0).tolist()
        details[f"{name}: λ1/λk of the k listed"] = float(np.nanmean(top[:, 0] / top[:, -1]))
        for quantity in ("lambda_min", "lambda_min_residual"):
            details[f"{name}: {quantity}, mean over seeds"] = float(
                np.nanmean(lanes[quantity].values)
            )
        for quantity in ("train_error", "test_error"):
            word = quantity.replace("_", " ")
            details[f"{name}: {word} (%)"] = 100 * float(np.nanmean(lanes[quantity].values))
    step, momentum = float(a["step_size"][0]), float(a["momentum"][0])
    details["edge of stability of heavy ball, 2(1 + β)/η"] = 2 * (1 + momentum) / step
    return Evidence(comparisons, details=details, reason=_lost(result, ("momentum", "adam")))


def _lowest(lanes: xr.Dataset) -> Callable[[float], Estimate]:
    """Estimate the smallest eigenvalue over the largest, in %; the interval covers what Lanczos left open.

    A quotient vᵀHv below zero proves a negative eigenvalue, whatever its residual; one above zero proves
    nothing beyond its residual.
    """
    good = compare.usable(lanes).values
    top, low, residual = (
        np.where(good, lanes[name].values, np.nan)
        for name in ("lambda_max", "lambda_min", "lambda_min_residual")
    )

    def estimate(level: float) -> Estimate:
        made = mean_interval(100 * low / top, level)
        beneath = mean_interval(100 * (low - residual) / top, level)
        return dataclasses.replace(made, low=beneath.low, high=made.high + 100 * _ROUNDING)

    return estimate


def _factor(values: np.ndarray, published: float) -> Callable[[float], Estimate]:
    """Estimate by which factor, up or down, the geometric mean differs from a published value."""
    logs = np.log(values / published)
    return lambda level: _exponential(folded(mean_interval(logs, level)))


def folded(estimate: Estimate) -> Estimate:
    """Turn the estimate of a signed difference into one of its size."""
    ends = sorted((abs(estimate.low), abs(estimate.high)))
    low = 0.0 if estimate.low <= 0 <= estimate.high else ends[0]
    return dataclasses.replace(estimate, value=abs(estimate.value), low=low, high=ends[1])


# Attacks on the inputs


def _binary(result: xr.Dataset) -> Evidence:
    outputs = _outputs(result)
    if outputs != {2}:
        raise NotDecidable(
            f"the source has two classes, and this run {sorted(outputs)}: set data.classes"
        )
    comparisons: dict[str, Comparison] = {}
    details: dict[str, Any] = {"accuracy of chance": 0.5}
    for arm in [arm for arm in ("fixed", "sgd") if arm in compare.arms(result)]:
        small, large = _cells(result, (arm, 0), (arm, -1))
        difference = _robustness_difference(small, large)
        comparisons |= {
            f"λmax, large / small B, {arm}": _ratio(large, small, "lambda_max"),
            f"clean error, large − small B, {arm}": compare.error_gap(large, small, SMALLEST_GAP),
            f"error under FGSM, large − small B, {arm}": compare.error_gap(
                _attacked(large), _attacked(small), SMALLEST_GAP
            ),
            f"robustness alike, {arm}": difference,
        }
        for name, lanes in (("small B", small), ("large B", large)):
            good = compare.usable(lanes).values
            details[f"{arm}, {name}"] = {
                "λmax": float(np.nanmean(lanes["lambda_max"].values[good])),
                "clean accuracy (%)": 100 * float(np.mean(lanes["clean_accuracy"].values[good])),
                "accuracy under FGSM (%)": 100 * float(np.mean(_fgsm(lanes).values[good])),
                "accuracy under PGD (%)": 100
                - 100 * float(np.mean(lanes["pgd_wrong"].values[good])),
                "robustness": float(np.mean(robustness(lanes).values[good])),
            }
    if not comparisons:
        raise NotDecidable("needs one of the arms fixed, sgd")
    return Evidence(comparisons, details=details)


def _fgsm(lanes: xr.Dataset) -> xr.DataArray:
    """Return the accuracy under FGSM at the published radius, from the record of each example."""
    return 1 - lanes["fgsm_wrong"].astype(float).mean("attacked_example")


def robustness(lanes: xr.Dataset) -> xr.DataArray:
    """Return accuracy under FGSM over clean accuracy; NaN where a lane does not count."""
    return (_fgsm(lanes) / lanes["clean_accuracy"]).where(compare.usable(lanes))


def _attacked(lanes: xr.Dataset) -> xr.Dataset:
    """Return lanes whose record of test examples is that after FGSM at the published radius."""
    names = {"fgsm_wrong": "test_wrong", "attacked_example": "test_example"}
    return lanes.drop_dims("test_example").rename(names)


def _robustness_difference(small: xr.Dataset, large: xr.Dataset) -> Comparison:
    first, second = robustness(small), robustness(large)
    return Comparison(lambda level: folded(paired_difference(first, second, level)), 0.0, -1, ALIKE)


def _outputs(result: xr.Dataset) -> set[int]:
    settings = json.loads(result.attrs["settings"])
    return {int(json.loads(model)["outputs"]) for model in settings["models"]}


# Margins


def _margins(result: xr.Dataset) -> Evidence:
    lanes = compared(result)
    # Other labels or sets have other margins, and an arm that fails to train has none.
    other = ("-noisy", "-few", "-large-rho")
    same = np.array([not arm.endswith(other) for arm in lanes["arm"].values], bool)
    lanes = lanes.isel(lane=np.flatnonzero(same & compare.usable(lanes).values))
    seeds = lanes["seed"].values
    if len(np.unique(seeds)) < 2:
        raise NotDecidable("a correlation over seeds needs at least 2 seeds")
    norm = lanes["parameter_norm"].values
    arms = np.zeros(norm.shape, int)
    comparisons = {
        f"‖θ‖ with {what}, over arms": Comparison(
            rank_correlation(norm, lanes[name].values, arms, clusters=seeds),
            SMALLEST_CORRELATION, -1,
        )
        for name, what in (("output_margin", "the margin"), ("certified_radius", "the radius"))
    }  # fmt: skip
    if "decay" in compare.arms(result):
        strongest = float(result["strength"].values[result["arm"].values == "decay"].max())
        chosen = (result["arm"].values == "decay") & (result["strength"].values == strongest)
        whole = result.isel(lane=np.flatnonzero(chosen))
        decayed = compare.cell(whole, "decay", compare.batch_sizes(whole, "decay")[0])
        (plain,) = _cells(result, ("sgd", 0))
        comparisons |= {
            "margin, weight decay / none": _ratio(decayed, plain, "output_margin"),
            "radius, weight decay / none": _ratio(decayed, plain, "certified_radius"),
        }
        shrunk = _ratio(decayed, plain, "parameter_norm").estimate(0.95)
        details = {"weight decay": strongest, "‖θ‖, weight decay / none": _plain(shrunk)}
    else:
        details = {}
    return Evidence(comparisons, n_seeds=len(np.unique(seeds)), details=details)


# The script


def _script(result: xr.Dataset) -> Finding:
    stage = (result["stage"].values == "mock-attack") & (result["seed"].values == 0)
    if not stage.any() or "script_mock_accuracy" not in result:
        raise NotDecidable("the script was not repeated with its own seed, the study's seed 0")
    own = result.isel(lane=np.flatnonzero(stage)[0])
    mock = own["script_mock_accuracy"].transpose("script_radius", "script_model").values
    every = result.isel(lane=np.flatnonzero(result["stage"].values == "mock-attack"))
    means = {
        name: every[f"script_{name}_accuracy"].mean("lane").values.round(3).tolist()
        for name in ("mock", "fgsm")
    }
    return identity(
        mock - PRINTED, 0.005, n_seeds=every.sizes["lane"],
        reason="labels drawn at random, no training and a random direction give about one half at every "
        f"radius: {mock[0, 0]:.2f} without attack and {mock[-1, 0]:.2f} at the largest; FGSM on the same "
        f"networks leaves {float(own['script_fgsm_accuracy'].values[-1, 0]):.2f}",
        script=mock.tolist(), printed=PRINTED.tolist(),
        mean_over_seeds_mock=means["mock"], mean_over_seeds_fgsm=means["fgsm"],
    )  # fmt: skip


def _plain(estimate: Estimate) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]


def _lost(result: xr.Dataset, arms: tuple[str, ...]) -> str:
    """Say how many of some arms' compared lanes do not count."""
    lanes = compared(result)
    chosen = np.isin(lanes["arm"].values, list(arms))
    lost = int((~compare.usable(lanes).values & chosen).sum())
    return f"{lost} of {int(chosen.sum())} lanes diverged, left out in pairs" if lost else ""


CHAPTER = "Chapter 11"


def _claims() -> Iterator[Claim]:
    def claim(
        name: str, kind: Any, source: str, sentence: str, published: Any, criterion: str,
        rule: Callable[[xr.Dataset], Finding | Evidence], smallest: float | None = None,
        unit: str = "1",
    ) -> Claim:  # fmt: skip
        return Claim(name, kind, source, sentence, published, criterion, rule, smallest, unit)

    yield claim(
        "johannsen.ext.curv-penalty", "statistical", "Johannsen 2026 (arXiv 2604.07603), extension",
        "Penalising curvature at a large batch size does what a small batch does.", None,
        "at equal epochs, step size and strength chosen on validation data, seed by seed, for each penalty: "
        f"λmax lowered by a factor above {1 + SMALLEST_RATIO} and test error by more than {SMALLEST_GAP} "
        "percentage points against the large batch without it; test error no more than "
        f"{SMALLEST_GAP} points above, and λmax at most {1 + SMALLEST_RATIO} times, those of the small batch",
        _substitute, None, "ratio",
    )  # fmt: skip
    yield claim(
        "dhand.obs-6.3", "statistical", "Dhand, section 6.3, observation",
        "Gradient descent finds flatter minima than random search or an adversary, and flat minima "
        "generalise better.", "gradient descent flatter",
        "at equal training loss, against poisoned minima and guessed networks: λmax above "
        f"{1 + SMALLEST_RATIO} times gradient descent's, and test error more than {SMALLEST_GAP} points "
        "above its own; for poisoned minima the adaptive sharpness, too",
        _constructed, None, "ratio",
    )  # fmt: skip
    yield claim(
        "ch11.W.4", "statistical", f"{CHAPTER}, example 4",
        "Heavy ball (A) ends with a top eigenvalue near 50, Adam (B) near 10, both spectra positive.",
        "A: 50, 20, 8, 3, …; B: 10, 5, 2.5, …; both 97 % training and 96 % test accuracy",
        f"λmax of A above {1 + SMALLEST_RATIO} times B's; each λmax within a factor of {WITHIN:g} of the "
        "published one; smallest eigenvalue above 0",
        _spectra, None, "ratio",
    )  # fmt: skip
    yield claim(
        "ch11.A.19", "statistical", f"{CHAPTER}, A.19",
        "Minimising sharpness (SAM) does not generalise better than SGD on all data and settings.",
        "not always better",
        "on at least one of the tasks (clean labels at both batch sizes, large ρ, noisy labels, few "
        "examples) SAM's test error exceeds SGD's with its whole interval; refuted if SAM errs less on all",
        _not_uniformly_better, 0.0, "percentage points",
    )  # fmt: skip
    yield claim(
        "ch11.C.19", "statistical", f"{CHAPTER}, C.19",
        "The small batch's flatter minimum is more accurate, clean and attacked, but not more robust "
        "relative to its clean accuracy.",
        "clean/FGSM accuracy 98/72 against 96/70 %; λmax 3 against 12; ratio 0.73 for both",
        f"two classes, ε = 0.1: λmax of the large batch above {1 + SMALLEST_RATIO} times the small one's; "
        f"errors, clean and under FGSM, more than {SMALLEST_GAP} points above; robustness ratios within "
        f"{ALIKE}; with one step size and with tuned ones",
        _binary, None, "ratio",
    )  # fmt: skip
    yield claim(
        "ch11.conn.cert", "statistical", f"{CHAPTER}, connection to certification",
        "Training that prefers small norms ends with larger margins, and so with larger certified radii.",
        "lower norm, larger margin",
        "Spearman correlation of ‖θ‖ over arms with the mean margin in the outputs and with the mean "
        f"certified Euclidean radius below −{SMALLEST_CORRELATION}; the strongest weight decay raises both "
        f"by a factor above {1 + SMALLEST_RATIO}",
        _margins,
    )  # fmt: skip
    yield claim(
        "ch11.S.15", "identity", f"{CHAPTER}, solution C.15",
        "The script shows accuracy under FGSM falling from 95 to 42 %.", "0.95 to 0.42",
        "accuracies of the script's computation, with its own seed, within 0.005 of the printed ones",
        _script, None, "accuracy",
    )  # fmt: skip


CLAIMS = tuple(_claims())
"""All claims the study owns."""
