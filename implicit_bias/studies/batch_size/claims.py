"""What the batch-size study decides: claims and the rules that judge them, fixed before any run."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Claim, Evidence, Finding, NotDecidable, identity
from implicit_bias.results.statistics import (
    Comparison,
    mean_interval,
    rank_correlation,
)
from implicit_bias.studies import compare
from implicit_bias.studies.batch_size.arms import TUNING, UPDATE_RATIO_CAP

if TYPE_CHECKING:
    import xarray as xr

SMALLEST_GAP = 0.2
"""Difference of test errors that matters, in percentage points."""
SMALLEST_RATIO = 0.25
"""A curvature ratio matters from 1.25 on."""
SMALLEST_CORRELATION = 0.3
"""A rank correlation matters from here on."""
RICH = 0.3
"""Relative kernel change above which training counts as rich (not lazy)."""

JUDGED_ARMS = (
    "epochs-fixed",
    "epochs-sqrt",
    "epochs-linear",
    "updates-fixed",
    "updates-linear",
    "matched-fixed",
    "tuned",
    "matched-tuned",
)
"""Arms in which the gap and the curvature ratio are judged; every further one widens all intervals."""


def _ends(result: xr.Dataset, arm: str, large: int = -1) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the lanes of a larger batch size of an arm, by default the largest, and of the smallest."""
    sizes = compare.batch_sizes(result, arm)
    return compare.cell(result, arm, sizes[large]), compare.cell(result, arm, sizes[0])


def _gap(result: xr.Dataset, arm: str, large: int = -1) -> Comparison:
    return compare.error_gap(*_ends(result, arm, large), SMALLEST_GAP)


def _sharpness(
    result: xr.Dataset, arm: str, large: int = -1, effect: float = SMALLEST_RATIO
) -> Comparison:
    return compare.ratio(*_ends(result, arm, large), "lambda_max", effect)


def _over_arms(
    comparison: Callable[[xr.Dataset, str], Comparison], names: Sequence[str], headline: str
) -> Callable[[xr.Dataset], Evidence]:
    """Judge one comparison in every arm of a list that was run."""

    def rule(result: xr.Dataset) -> Evidence:
        present = [arm for arm in compare.arms(result) if arm in names]
        if not present:
            several = len(names) > 1
            raise NotDecidable(
                f"needs {'one of the arms' if several else 'arm'} {', '.join(names)}"
            )
        return Evidence(
            {arm: comparison(result, arm) for arm in present},
            headline=headline if headline in present else present[0],
            reason=_excluded(result, present),
        )

    return rule


def _both(arm: str, *others: str, large: int = -1) -> Callable[[xr.Dataset], Evidence]:
    """Judge error gap and curvature ratio in one arm, and the ratio alone in others."""

    def rule(result: xr.Dataset) -> Evidence:
        comparisons = {
            f"test error, {arm}": _gap(result, arm, large),
            f"λmax, {arm}": _sharpness(result, arm, large),
        }
        for other in others:
            if other in compare.arms(result):
                comparisons[f"λmax, {other}"] = _sharpness(result, other, large)
        return Evidence(comparisons, reason=_excluded(result, [arm, *others]))

    return rule


def _excluded(result: xr.Dataset, names: Sequence[str]) -> str:
    """Say which lanes of some arms do not count, and why."""
    chosen = np.isin(result["arm"].values, list(names))
    diverged = int((result["diverged"].values & chosen).sum())
    missed = int((~compare.usable(result).values & ~result["diverged"].values & chosen).sum())
    parts = []
    if diverged:
        parts.append(f"{diverged} of {int(chosen.sum())} lanes diverged")
    if missed:
        parts.append(f"{missed} of {int(chosen.sum())} lanes missed the target loss")
    return "; ".join(parts) + (", left out in pairs" if parts else "")


def _of_arms(result: xr.Dataset) -> xr.Dataset:
    return result.isel(lane=np.flatnonzero(result["stage"].values != TUNING))


def _measured(result: xr.Dataset) -> xr.Dataset:
    """Return the lanes that were measured: those of the arms, but for diverged ones.

    Raises:
        NotDecidable: There are none.
    """
    lanes = _of_arms(result)
    lanes = lanes.isel(lane=np.flatnonzero(~lanes["diverged"].values))
    if not lanes.sizes["lane"]:
        raise NotDecidable("no lane was measured: there is none, or all diverged")
    return lanes


def _weight_perturbation(result: xr.Dataset) -> Evidence:
    """Compare the loss increase under filter-normalised perturbations of the middle radius."""
    measured = _measured(result)
    radius = float(result["filter_radius"][result.sizes["filter_radius"] // 2])

    def change(lanes: xr.Dataset) -> xr.DataArray:
        return lanes["loss_change_filter"].sel(filter_radius=radius).mean("direction")

    def comparison(result: xr.Dataset, arm: str) -> Comparison:
        return compare.ratio(*_ends(result, arm), change, SMALLEST_RATIO)

    evidence = _over_arms(comparison, ("epochs-fixed", "matched-fixed", "tuned"), "epochs-fixed")(
        result
    )
    parameters = measured["parameters"].values
    smallest = float(measured["radius"][0])
    predicted = 0.5 * smallest**2 / parameters * measured["trace"].values
    seen = measured["loss_change"].isel(radius=0).mean("direction").values
    share = float(np.nanmedian(seen / predicted))
    return Evidence(
        evidence.comparisons,
        evidence.headline,
        reason=evidence.reason,
        details={
            "filter_radius": radius,
            f"median of measured/predicted Δloss at radius {smallest:g}, ½ r² tr H / p": share,
        },
    )


def _correlation(result: xr.Dataset) -> Evidence:
    lanes = _measured(result)
    lanes = lanes.isel(lane=np.flatnonzero(compare.usable(lanes).values))
    sharpness, error = lanes["lambda_max"].values, lanes["test_error"].values
    arm, seed = lanes["arm"].values.astype(str), lanes["seed"].values
    if len(np.unique(seed)) < 2:
        raise NotDecidable("a correlation over seeds needs at least 2 seeds")
    return Evidence(
        {
            "within arms": Comparison(
                rank_correlation(sharpness, error, arm, clusters=seed),
                SMALLEST_CORRELATION,
                1,
            ),
            "pooled over arms": Comparison(
                rank_correlation(sharpness, error, np.zeros(arm.shape, int), clusters=seed),
                SMALLEST_CORRELATION,
                1,
            ),
        },
        n_seeds=len(np.unique(seed)),
    )


def _noise_against_compute(result: xr.Dataset) -> Evidence:
    """Compare large batches with and without injected noise, at equal updates and step size."""
    comparisons = {}
    for size in compare.batch_sizes(result, "injected-noise"):
        plain = compare.cell(result, "updates-fixed", size)
        noisy = compare.cell(result, "injected-noise", size)
        comparisons[f"test error, B = {size}"] = compare.error_gap(plain, noisy, SMALLEST_GAP)
        comparisons[f"λmax, B = {size}"] = compare.ratio(plain, noisy, "lambda_max", SMALLEST_RATIO)
    largest = compare.batch_sizes(result, "injected-noise")[-1]
    return Evidence(comparisons, headline=f"test error, B = {largest}")


def _hyperparameter_table(result: xr.Dataset) -> Finding:
    names = ["batch_size", "step_size", "updates", "epochs", "updates_budget", "label_noise",
             "weight_decay", "decoupled_weight_decay", "init_scale"]  # fmt: skip
    absent = [name for name in names if name not in result.variables]
    gaps = sum(int(result[name].isnull().sum()) for name in names if name in result.variables)
    missing = len(absent) + gaps
    return identity(
        missing,
        0.5,
        n_seeds=_n_seeds(result),
        reason=f"{missing} values are missing from the table",
    )


def _error_bars(result: xr.Dataset) -> Finding:
    lanes = _of_arms(result)
    counts = compare.usable(lanes)
    without, least = 0, math.inf
    for arm in compare.arms(lanes):
        for size in compare.batch_sizes(lanes, arm):
            chosen = (lanes["arm"].values == arm) & (lanes["batch_size"].values == size)
            n = int(counts.values[chosen].sum())
            # A cell in which nothing can be reported is not a number without an interval.
            if n:
                without += n < 2
                least = min(least, n)
    if not math.isfinite(least):
        raise NotDecidable("nothing can be reported: no lane counts")
    return identity(
        without, 0.5, n_seeds=_n_seeds(result),
        reason=f"{without} reported cells lack an interval; the smallest stands on {least} seed(s)",
    )  # fmt: skip


def _architecture(result: xr.Dataset) -> Finding:
    settings = json.loads(result.attrs["settings"])
    described = [json.loads(text) for text in settings["models"]]
    if any("widths" not in one for one in described):
        raise NotDecidable("the parameter count has a closed form only for dense networks")
    n_in = math.prod(settings["dataset"]["input_shape"])
    expected = set()
    for one in described:
        sizes = [n_in, *one["widths"], one["outputs"]]
        bias = 1 if one.get("bias", True) else 0
        expected.add(sum((a + bias) * b for a, b in itertools.pairwise(sizes)))
    counted = {int(count) for count in result["parameters"].values}
    different = len(expected ^ counted)
    return identity(
        different, 0.5, n_seeds=_n_seeds(result),
        reason=f"{different} parameter counts differ from Σ (n_in + 1) n_out; counted {sorted(counted)}",
    )  # fmt: skip


def _regime(result: xr.Dataset) -> Evidence:
    comparisons = {}
    for arm in [
        arm for arm in compare.arms(result) if arm in ("epochs-fixed", "tuned", "momentum")
    ]:
        for lanes, end in zip(_ends(result, arm), ("largest B", "smallest B"), strict=True):
            comparisons[f"{arm}, {end}"] = compare.mean_above(lanes, "kernel_change", RICH)
    if not comparisons:
        raise NotDecidable("needs one of the arms epochs-fixed, tuned, momentum")
    return Evidence(comparisons)


def _hessian_method(result: xr.Dataset) -> Finding:
    lanes = _measured(result)
    both = (lanes["lambda_max_converged"] & lanes["lambda_max_power_converged"]).values
    if both.sum() < max(1, len(both) / 2):
        raise NotDecidable(f"both methods converged on {int(both.sum())} of {len(both)} lanes only")
    first, second = lanes["lambda_max"].values[both], lanes["lambda_max_power"].values[both]
    return identity(
        second / first - 1, 0.02, n_seeds=_n_seeds(result),
        reason=f"power iteration against Lanczos on {int(both.sum())} of {len(both)} lanes "
        "on which both converged",
    )  # fmt: skip


def _covariance_ratio(result: xr.Dataset) -> Finding:
    lanes = _measured(result)
    small, large = (int(size) for size in result["noise_batch"].values)
    traces = lanes["batch_covariance_trace"].values
    # Each lane has its own scale of noise: take it out by the mean of both sizes' estimates of tr S.
    scaled = traces * np.array([small, large])
    scaled = scaled / scaled.mean(axis=1, keepdims=True)
    means = np.nanmean(scaled, axis=0)
    error, allowed = means[0] / means[1] - 1, 0.05
    # Lanes of a seed share their draws. What drawing alone can do must not refute an identity.
    each = (scaled[:, 0] - scaled[:, 1]) / means[1]
    seeds = lanes["seed"].values
    drawn = mean_interval([np.nanmean(each[seeds == seed]) for seed in np.unique(seeds)])
    if abs(error) > allowed and min(abs(drawn.low), abs(drawn.high)) <= allowed:
        raise NotDecidable(
            f"the draws leave the ratio's error between {drawn.low:.2f} and {drawn.high:.2f}; more "
            "curvature.noise_draws or seeds would decide"
        )
    return identity(
        error,
        allowed,
        n_seeds=_n_seeds(result),
        reason=f"variance ratio of B = {small} to {large}, drawn with replacement, relative to "
        f"{large / small:g}; the standard deviation's ratio is its root, and without replacement "
        "(1/b − 1/n)/(1/B − 1/n) takes its place",
    )


def _gap_sign(result: xr.Dataset) -> Finding:
    """Compare the measured gap with the last evaluation during training, for lanes that have both."""
    lanes = _measured(result)
    rows = np.flatnonzero(lanes["target_loss"].isnull().values)
    if not rows.size:
        raise NotDecidable("needs an arm that runs to the end of its budget")
    lanes = lanes.isel(lane=rows)
    last = (lanes["log_step"] == lanes["updates"]).argmax("probe")
    logged = (lanes["log_test_loss"] - lanes["log_train_loss"]).isel(probe=last)
    return identity(
        lanes["loss_gap"].values - logged.values,
        1e-4,
        n_seeds=_n_seeds(result),
        reason="gap = test − training, positive where training fits better than test; "
        "written train − test, as in the source, the sign is reversed",
    )


def _n_seeds(result: xr.Dataset) -> int:
    return len(np.unique(result["seed"].values))


REVIEW = "Johannsen 2026 (arXiv 2604.07603)"
DHAND = "Dhand"
CHAPTER = "Chapter 11"
ERROR_CRITERION = (
    f"test error of the largest batch exceeds that of the smallest by more than {SMALLEST_GAP} "
    "percentage points, paired by seed, in every arm: {arms}"
)
RATIO_CRITERION = (
    f"λmax of the largest batch is more than {1 + SMALLEST_RATIO} times that of the smallest, "
    "paired by seed, in every arm: {arms}"
)


def _claims() -> Iterator[Claim]:
    def claim(
        name: str, kind: Any, source: str, sentence: str, published: Any, criterion: str,
        rule: Callable[[xr.Dataset], Finding | Evidence], smallest: float | None = None,
        unit: str = "1",
    ) -> Claim:  # fmt: skip
        return Claim(name, kind, source, sentence, published, criterion, rule, smallest, unit)

    points = "percentage points"
    yield claim(
        "johannsen.batch-size", "statistical", f"{REVIEW}, abstract",
        "Smaller batches consistently give lower test error.", 1.61,
        ERROR_CRITERION.format(arms=", ".join(JUDGED_ARMS))
        + "; the tuned and the matched arms decide",
        _over_arms(_gap, JUDGED_ARMS, "tuned"), SMALLEST_GAP, points,
    )  # fmt: skip
    yield claim(
        "johannsen.hessian", "statistical", f"{REVIEW}, abstract",
        "Small batches end in flatter minima: the top Hessian eigenvalue differs by a factor of 11.8.",
        11.8, RATIO_CRITERION.format(arms="all, with equal training loss deciding"),
        _over_arms(_sharpness, JUDGED_ARMS, "matched-fixed"), SMALLEST_RATIO, "ratio",
    )  # fmt: skip
    yield claim(
        "johannsen.weight-perturb", "statistical", f"{REVIEW}, abstract",
        "Random perturbation of the weights raises the loss less after small-batch training.",
        "small-batch solutions are flatter",
        "loss increase under filter-normalised perturbations of the middle radius, largest batch over "
        f"smallest, exceeds {1 + SMALLEST_RATIO} at equal epochs, at equal training loss and with tuned "
        "step sizes",
        _weight_perturbation, SMALLEST_RATIO, "ratio",
    )  # fmt: skip
    yield claim(
        "johannsen.corr", "statistical", f"{REVIEW}, core claim",
        "A larger top eigenvalue goes with a larger test error.", "positive correlation",
        f"Spearman correlation above {SMALLEST_CORRELATION}, within arms and pooled",
        _correlation, SMALLEST_CORRELATION, "correlation",
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.lr-scaling", "required-control", f"{REVIEW}, referee 1",
        "The gap is there although the step size was scaled linearly with the batch size.", 1.61,
        ERROR_CRITERION.format(arms="step size ∝ B"),
        _over_arms(_gap, ("epochs-linear", "updates-linear"), "updates-linear"), SMALLEST_GAP, points,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.updates", "required-control", f"{REVIEW}, referee 1",
        "The gap is there although the number of updates was the same.", 1.61,
        ERROR_CRITERION.format(arms=f"equal updates, batch sizes within a ratio of {UPDATE_RATIO_CAP}"),
        _over_arms(_gap, ("updates-fixed", "updates-linear"), "updates-linear"),
        SMALLEST_GAP, points,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.settle", "required-control", f"{REVIEW}, what would settle it",
        "Both gaps remain when the step size of large batches is scaled to equalise the effective step.",
        "11.8 and 1.61 percentage points",
        f"step size ∝ B: test-error gap above {SMALLEST_GAP} points and λmax ratio above "
        f"{1 + SMALLEST_RATIO}, at equal epochs and at equal updates",
        lambda result: Evidence({
            **_both("epochs-linear")(result).comparisons,
            **_both("updates-linear")(result).comparisons,
        }, reason=_excluded(result, ["epochs-linear", "updates-linear"])),
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.noise-vs-compute", "required-control", f"{REVIEW}, referee 1",
        "It is the noise of small batches, not their number of updates, that helps.", None,
        "injecting the smallest batch's gradient noise into larger batches, at equal updates and step "
        f"size, lowers test error by more than {SMALLEST_GAP} points and λmax by a factor of more than "
        f"{1 + SMALLEST_RATIO}",
        _noise_against_compute,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.hparam-table", "required-control", f"{REVIEW}, referee 1",
        "Every run's hyper-parameters are reported.", None,
        "no hyper-parameter of any lane is missing from the result", _hyperparameter_table,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.errorbars", "required-control", f"{REVIEW}, referee 2",
        "Every number comes with its number of seeds and its spread.", 5,
        "no arm and batch size is reported from fewer than two seeds", _error_bars,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.arch-report", "required-control", f"{REVIEW}, referee 2",
        "The architecture at which curvature is measured is reported.", None,
        "recorded parameter counts equal the closed form of the recorded widths", _architecture,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.regime", "required-control", f"{REVIEW}, referee 2",
        "Curvature was measured outside the lazy (kernel) regime.", "nonlinear regime",
        f"mean relative change of the empirical kernel above {RICH} at the smallest and the "
        "largest batch size, with fixed step, tuned and with momentum",
        _regime, RICH, "relative kernel change",
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.hessian-method", "required-control", f"{REVIEW}, referee, minor 2",
        "The top eigenvalue does not depend on the method that finds it.", None,
        "Lanczos and power iteration agree within 2 % on every lane on which both converge",
        _hessian_method,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.dataset", "required-control", f"{REVIEW}, load-bearing premise",
        "The effect does not belong to one dataset.", None,
        ERROR_CRITERION.format(arms="clean and noisy labels; a second dataset needs a second run"),
        _over_arms(_gap, ("epochs-fixed", "noisy-labels"), "noisy-labels"), SMALLEST_GAP, points,
    )  # fmt: skip
    yield claim(
        "dhand.cor-8.2", "statistical", f"{DHAND}, corollary 8.2",
        "Smaller batches mean more noise, flatter minima and better generalisation, up to a point.",
        "flatter and better",
        f"equal epochs, fixed step: test-error gap above {SMALLEST_GAP} points and λmax ratio above "
        f"{1 + SMALLEST_RATIO}; λmax ratio also with tuned step sizes",
        _both("epochs-fixed", "tuned"),
    )  # fmt: skip
    yield claim(
        "dhand.E5", "statistical", f"{DHAND}, experiment 5",
        "With step size ∝ √B, small batches generalise better and end in flatter minima.",
        "about 3 percentage points between B = 32 and 8192",
        f"step size ∝ √B, equal epochs: test-error gap above {SMALLEST_GAP} points and λmax ratio above "
        f"{1 + SMALLEST_RATIO}; λmax ratio also at equal updates",
        _both("epochs-sqrt", "updates-sqrt"),
    )  # fmt: skip
    yield claim(
        "ch11.C.7", "statistical", f"{CHAPTER}, C.7",
        "With step size 0.1 and momentum 0.9, B = 32 ends flatter and more accurate than B = 512.",
        "λmax 3.2 against 12.5; test accuracy 98.3 against 97.6 %",
        f"test-error gap above {SMALLEST_GAP} points and λmax ratio above {1 + SMALLEST_RATIO}, the latter "
        "also at equal training loss",
        _both("momentum", "momentum-matched", large=1),
    )  # fmt: skip
    yield claim(
        "ch11.W.7", "statistical", f"{CHAPTER}, worked example 7",
        "After long training with momentum, the small batch's minimum is flatter, in λmax and on average "
        "over directions, and has the smaller norm.",
        "97.5 against 96.5 %; flatter, lower norm",
        f"largest batch over smallest: λmax and trace above {1 + SMALLEST_RATIO}, ‖θ‖ above 1; "
        f"test-error gap above {SMALLEST_GAP} points",
        _worked_example,
    )  # fmt: skip
    yield claim(
        "ch11.A.2", "statistical", f"{CHAPTER}, A.2",
        "Trained to the same loss, a small batch does not end sharper than a large one: λmax is larger "
        "for the large batch.",
        "5 against 20",
        "λmax of the second smallest batch (512 of the published pair) exceeds that of the smallest at "
        "equal training loss, with momentum",
        _over_arms(lambda result, arm: _sharpness(result, arm, 1, 0.0),
                   ("momentum-matched",), "momentum-matched"), 0.0, "ratio",
    )  # fmt: skip
    yield claim(
        "ch11.mot.batch", "statistical", f"{CHAPTER}, motivation",
        "A small batch (32) finds a flatter minimum and a better test accuracy than a large one (1024).",
        "99 against 98 %",
        f"momentum protocol, largest against smallest batch: test-error gap above {SMALLEST_GAP} points "
        f"and λmax ratio above {1 + SMALLEST_RATIO}",
        _both("momentum"),
    )  # fmt: skip
    yield claim(
        "ch11.ml.4", "identity", f"{CHAPTER}, worked arithmetic 4",
        "Gradient noise is inversely proportional to batch size: 8 times from 512 to 64.", 8,
        "ratio of the traces of the gradient covariance within 5 % of the ratio of batch sizes",
        _covariance_ratio,
    )  # fmt: skip
    yield claim(
        "ch11.def.gap", "definition", f"{CHAPTER}, generalisation gap",
        "The generalisation gap is the difference of test and training loss.", "train − test",
        "test − training, from two evaluations, within 1e-4", _gap_sign,
    )  # fmt: skip


def _worked_example(result: xr.Dataset) -> Evidence:
    ends = _ends(result, "momentum-long")
    return Evidence(
        {
            "test error": compare.error_gap(*ends, SMALLEST_GAP),
            "λmax": compare.ratio(*ends, "lambda_max", SMALLEST_RATIO),
            "trace": compare.ratio(*ends, "trace", SMALLEST_RATIO),
            "‖θ‖": compare.ratio(*ends, "parameter_norm", 0.0),
        },
        headline="λmax",
        reason=_excluded(result, ["momentum-long"]),
    )


CLAIMS = tuple(_claims())
"""All claims the study owns."""
