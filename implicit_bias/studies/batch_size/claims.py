"""What the batch-size study decides: its claims, fixed before any run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from implicit_bias.results.claims import Claim, Evidence, Finding
from implicit_bias.studies.batch_size.rules import SMALLEST_GAP, SMALLEST_RATIO, excluded
from implicit_bias.studies.batch_size.rules_arms import (
    RICH,
    SMALLEST_CORRELATION,
    correlation,
    error_gap,
    gap_and_sharpness,
    noise_against_compute,
    over_arms,
    regime,
    sharpness_ratio,
    weight_perturbation,
    worked_example,
)
from implicit_bias.studies.batch_size.rules_records import (
    architecture,
    covariance_ratio,
    error_bars,
    gap_sign,
    hessian_method,
    hyperparameter_table,
)
from implicit_bias.studies.batch_size.settings import UPDATE_RATIO_CAP

if TYPE_CHECKING:
    import xarray as xr

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
        over_arms(error_gap, JUDGED_ARMS, "tuned"), SMALLEST_GAP, points,
    )  # fmt: skip
    yield claim(
        "johannsen.hessian", "statistical", f"{REVIEW}, abstract",
        "Small batches end in flatter minima: the top Hessian eigenvalue differs by a factor of 11.8.",
        11.8, RATIO_CRITERION.format(arms="all, with equal training loss deciding"),
        over_arms(sharpness_ratio, JUDGED_ARMS, "matched-fixed"), SMALLEST_RATIO, "ratio",
    )  # fmt: skip
    yield claim(
        "johannsen.weight-perturb", "statistical", f"{REVIEW}, abstract",
        "Random perturbation of the weights raises the loss less after small-batch training.",
        "small-batch solutions are flatter",
        "loss increase under filter-normalised perturbations of the middle radius, largest batch over "
        f"smallest, exceeds {1 + SMALLEST_RATIO} at equal epochs, at equal training loss and with tuned "
        "step sizes",
        weight_perturbation, SMALLEST_RATIO, "ratio",
    )  # fmt: skip
    yield claim(
        "johannsen.corr", "statistical", f"{REVIEW}, core claim",
        "A larger top eigenvalue goes with a larger test error.", "positive correlation",
        f"Spearman correlation above {SMALLEST_CORRELATION}, within arms and pooled",
        correlation, SMALLEST_CORRELATION, "correlation",
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.lr-scaling", "required-control", f"{REVIEW}, referee 1",
        "The gap is there although the step size was scaled linearly with the batch size.", 1.61,
        ERROR_CRITERION.format(arms="step size ∝ B"),
        over_arms(error_gap, ("epochs-linear", "updates-linear"), "updates-linear"), SMALLEST_GAP, points,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.updates", "required-control", f"{REVIEW}, referee 1",
        "The gap is there although the number of updates was the same.", 1.61,
        ERROR_CRITERION.format(arms=f"equal updates, batch sizes within a ratio of {UPDATE_RATIO_CAP}"),
        over_arms(error_gap, ("updates-fixed", "updates-linear"), "updates-linear"),
        SMALLEST_GAP, points,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.settle", "required-control", f"{REVIEW}, what would settle it",
        "Both gaps remain when the step size of large batches is scaled to equalise the effective step.",
        "11.8 and 1.61 percentage points",
        f"step size ∝ B: test-error gap above {SMALLEST_GAP} points and λmax ratio above "
        f"{1 + SMALLEST_RATIO}, at equal epochs and at equal updates",
        lambda result: Evidence({
            **gap_and_sharpness("epochs-linear")(result).comparisons,
            **gap_and_sharpness("updates-linear")(result).comparisons,
        }, reason=excluded(result, ["epochs-linear", "updates-linear"])),
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.noise-vs-compute", "required-control", f"{REVIEW}, referee 1",
        "It is the noise of small batches, not their number of updates, that helps.", None,
        "injecting the smallest batch's gradient noise into larger batches, at equal updates and step "
        f"size, lowers test error by more than {SMALLEST_GAP} points and λmax by a factor of more than "
        f"{1 + SMALLEST_RATIO}",
        noise_against_compute,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.hparam-table", "required-control", f"{REVIEW}, referee 1",
        "Every run's hyper-parameters are reported.", None,
        "no hyper-parameter of any lane is missing from the result", hyperparameter_table,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.errorbars", "required-control", f"{REVIEW}, referee 2",
        "Every number comes with its number of seeds and its spread.", 5,
        "no arm and batch size is reported from fewer than two seeds", error_bars,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.arch-report", "required-control", f"{REVIEW}, referee 2",
        "The architecture at which curvature is measured is reported.", None,
        "recorded parameter counts equal the closed form of the recorded widths", architecture,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.regime", "required-control", f"{REVIEW}, referee 2",
        "Curvature was measured outside the lazy (kernel) regime.", "nonlinear regime",
        f"mean relative change of the empirical kernel above {RICH} at the smallest and the "
        "largest batch size, with fixed step, tuned and with momentum",
        regime, RICH, "relative kernel change",
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.hessian-method", "required-control", f"{REVIEW}, referee, minor 2",
        "The top eigenvalue does not depend on the method that finds it.", None,
        "Lanczos and power iteration agree within 2 % on every lane on which both converge",
        hessian_method,
    )  # fmt: skip
    yield claim(
        "johannsen.ctrl.dataset", "required-control", f"{REVIEW}, load-bearing premise",
        "The effect does not belong to one dataset.", None,
        ERROR_CRITERION.format(arms="clean and noisy labels; a second dataset needs a second run"),
        over_arms(error_gap, ("epochs-fixed", "noisy-labels"), "noisy-labels"), SMALLEST_GAP, points,
    )  # fmt: skip
    yield claim(
        "dhand.cor-8.2", "statistical", f"{DHAND}, corollary 8.2",
        "Smaller batches mean more noise, flatter minima and better generalisation, up to a point.",
        "flatter and better",
        f"equal epochs, fixed step: test-error gap above {SMALLEST_GAP} points and λmax ratio above "
        f"{1 + SMALLEST_RATIO}; λmax ratio also with tuned step sizes",
        gap_and_sharpness("epochs-fixed", "tuned"),
    )  # fmt: skip
    yield claim(
        "dhand.E5", "statistical", f"{DHAND}, experiment 5",
        "With step size ∝ √B, small batches generalise better and end in flatter minima.",
        "about 3 percentage points between B = 32 and 8192",
        f"step size ∝ √B, equal epochs: test-error gap above {SMALLEST_GAP} points and λmax ratio above "
        f"{1 + SMALLEST_RATIO}; λmax ratio also at equal updates",
        gap_and_sharpness("epochs-sqrt", "updates-sqrt"),
    )  # fmt: skip
    yield claim(
        "ch11.C.7", "statistical", f"{CHAPTER}, C.7",
        "With step size 0.1 and momentum 0.9, B = 32 ends flatter and more accurate than B = 512.",
        "λmax 3.2 against 12.5; test accuracy 98.3 against 97.6 %",
        f"test-error gap above {SMALLEST_GAP} points and λmax ratio above {1 + SMALLEST_RATIO}, the latter "
        "also at equal training loss",
        gap_and_sharpness("momentum", "momentum-matched", large=1),
    )  # fmt: skip
    yield claim(
        "ch11.W.7", "statistical", f"{CHAPTER}, worked example 7",
        "After long training with momentum, the small batch's minimum is flatter, in λmax and on average "
        "over directions, and has the smaller norm.",
        "97.5 against 96.5 %; flatter, lower norm",
        f"largest batch over smallest: λmax and trace above {1 + SMALLEST_RATIO}, ‖θ‖ above 1; "
        f"test-error gap above {SMALLEST_GAP} points",
        worked_example,
    )  # fmt: skip
    yield claim(
        "ch11.A.2", "statistical", f"{CHAPTER}, A.2",
        "Trained to the same loss, a small batch does not end sharper than a large one: λmax is larger "
        "for the large batch.",
        "5 against 20",
        "λmax of the second smallest batch (512 of the published pair) exceeds that of the smallest at "
        "equal training loss, with momentum",
        over_arms(lambda result, arm: sharpness_ratio(result, arm, 1, 0.0),
                   ("momentum-matched",), "momentum-matched"), 0.0, "ratio",
    )  # fmt: skip
    yield claim(
        "ch11.mot.batch", "statistical", f"{CHAPTER}, motivation",
        "A small batch (32) finds a flatter minimum and a better test accuracy than a large one (1024).",
        "99 against 98 %",
        f"momentum protocol, largest against smallest batch: test-error gap above {SMALLEST_GAP} points "
        f"and λmax ratio above {1 + SMALLEST_RATIO}",
        gap_and_sharpness("momentum"),
    )  # fmt: skip
    yield claim(
        "ch11.ml.4", "identity", f"{CHAPTER}, worked arithmetic 4",
        "Gradient noise is inversely proportional to batch size: 8 times from 512 to 64.", 8,
        "ratio of the traces of the gradient covariance within 5 % of the ratio of batch sizes",
        covariance_ratio,
    )  # fmt: skip
    yield claim(
        "ch11.def.gap", "definition", f"{CHAPTER}, generalisation gap",
        "The generalisation gap is the difference of test and training loss.", "train − test",
        "test − training, from two evaluations, within 1e-4", gap_sign,
    )  # fmt: skip


CLAIMS = tuple(_claims())
"""All claims the study owns."""
