"""Rules on residual networks: optimisers, variants of a protocol, and weight decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence
from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import (
    above,
    agreement,
    below,
    larger,
    mean_ends,
    near,
)
from implicit_bias.studies.rows import by_seed as trial
from implicit_bias.studies.rows import require, values_of
from implicit_bias.studies.step_size.arms import (
    ADAM,
    ADAMW,
    CONNECTED,
    DECAYED,
    DEEP,
    LARGE,
    MOMENTUM,
    NOISY,
    PENALISED,
    SMALL,
    SMALL_STEPS,
    STATED,
)
from implicit_bias.studies.step_size.rows import (
    accuracy,
    accuracy_gap,
    chosen,
    common_factors,
    ended,
    logged,
    variants,
)
from implicit_bias.studies.step_size.sizes import full, require_cifar, size_of

if TYPE_CHECKING:
    import xarray as xr

SGD_LEAD, ADAMW_LEAD, BATCH_COST = 1.5, 1.0, 1.5
"""Halves of published differences in percentage points: SGD over Adam, AdamW over Adam, small over large
batches of SGD."""

FIT = 99.0
"""Training accuracy (%) that counts as a perfect fit."""

WORSE = 1.0
"""Fall of test accuracy that matters, in percentage points."""

SMALL_LEAD, DECAY_LEAD = 0.55, 0.7
"""Halves of what small batches, and decay, are said to gain over large batches, in percentage points."""

NORM_RATIOS = {SMALL: 0.3, DECAYED: 0.5}
"""How far the norm of large batches must exceed another, as a ratio: roots of the published ones."""

LONGEST = 10.0
"""A norm of published size, .15 to .35, lies below it."""

LOSS_RATIO = 1.0
"""How far the ratio of training losses of small and large batches must exceed one: 5 is published."""

SHRUNK = float(np.exp(-98 * 100 * (0.1 + 0.01) * 1e-4 / (1 - 0.9)))
"""What is left of a norm after the decay of configuration C, without gradients: exp(−Σ η λ/(1 − β))."""

PARAMETERS, OFF = 35e6, 0.05
"""Published number of parameters, and the share it may be off."""


def optimisers_as_published(result: xr.Dataset) -> Evidence:
    """Hold the order of optimisers, at the stated step sizes, against what is published for CIFAR-10."""
    require_cifar(result, "tuning", "tuning")
    decay = min(one for one in _decays(result) if one > 0)

    def test(name: str, batch: int) -> np.ndarray:
        at = {"decoupled_weight_decay": decay} if name == ADAMW else {}
        return accuracy(result, "tuning", name, "test", batch_size=batch, factor=1.0, **at)

    return _optimisers(result, test, {})


def optimisers_when_tuned(result: xr.Dataset) -> Evidence:
    """Ask for the same order with each optimiser's step size (and decay) chosen by validation."""
    require(result, "tuning")
    shared = common_factors(result, "tuning", (MOMENTUM, ADAM, ADAMW))
    details: dict[str, Any] = {}

    def test(name: str, batch: int) -> np.ndarray:
        picked = chosen(result, "tuning", name, ("log_test_error",), shared, batch_size=batch)
        for what in ("factor", "decoupled_weight_decay"):
            if what == "factor" or name == ADAMW:
                values = picked[what][np.isfinite(picked[what])]
                details[f"{name}, batch {batch}: chosen {what}"] = sorted(map(float, set(values)))
        found: np.ndarray = 100 * (1 - picked["log_test_error"])
        return found

    return _optimisers(result, test, details)


def variants_as_published(result: xr.Dataset) -> Evidence:
    """Hold one protocol and its variants against what is said of them for CIFAR-10."""
    require_cifar(result, "variants")
    present = variants(result, "variants")
    head = DEEP if DEEP in present else STATED
    train, test = (
        {one: accuracy(result, "variants", one, part) for one in present}
        for part in ("train", "test")
    )

    def lead(first: str, second: str, smallest: float) -> Comparison:
        return accuracy_gap(result, "variants", [test[first]], [test[second]], smallest)

    made = {
        f"training accuracy, {head}": above(train[head], FIT),
        f"training accuracy, {SMALL_STEPS}": below(train[SMALL_STEPS], FIT),
        f"training accuracy, {PENALISED}": below(train[PENALISED], FIT),
        f"training accuracy, {NOISY}": above(train[NOISY], FIT),
        f"test accuracy, {STATED} less {NOISY}": lead(STATED, NOISY, WORSE),
        f"test accuracy, {STATED} less {CONNECTED}": lead(STATED, CONNECTED, WORSE),
    }
    if head == DEEP:
        made[f"test accuracy, {DEEP} less {STATED}"] = lead(DEEP, STATED, 0.0)
    if full(result, "variants"):
        made[f"test accuracy, {head}, as published"] = near(test[head], 94.0, 95.0)
    details: dict[str, Any] = {}
    for one in present:
        details[f"{one}: training and test accuracy, %"] = [
            mean_ends(train[one]),
            mean_ends(test[one]),
        ]
        gap = ended(result, "variants", one, "test_loss") - ended(
            result, "variants", one, "train_loss"
        )
        details[f"{one}: test − training loss, nats"] = mean_ends(gap)
    return Evidence(
        made,
        reason=size_of(result, "variants", "ResNet-50 and ResNet-18 on 50,000 images")
        + "; a look-up table of ten classes errs on 90 % of new images, not 99.9 %",
        details=details,
    )


def decay_as_published(result: xr.Dataset) -> Evidence:
    """Hold small batches, large batches and decay against what is published for CIFAR-10."""
    require_cifar(result, "decay")
    test = {one: accuracy(result, "decay", one) for one in (SMALL, LARGE, DECAYED)}
    norm, loss = (
        {one: ended(result, "decay", one, name) for one in test}
        for name in ("parameter_norm", "train_loss")
    )
    made = {
        f"test accuracy, {SMALL} less {LARGE}": accuracy_gap(
            result, "decay", [test[SMALL]], [test[LARGE]], SMALL_LEAD
        ),
        f"test accuracy, {DECAYED} less {LARGE}": accuracy_gap(
            result, "decay", [test[DECAYED]], [test[LARGE]], DECAY_LEAD
        ),
        f"training loss, {SMALL} over {LARGE}": larger(loss[SMALL], loss[LARGE], LOSS_RATIO),
    }
    for one, smallest in NORM_RATIOS.items():
        made[f"‖θ‖, {LARGE} over {one}"] = larger(norm[LARGE], norm[one], smallest)
    for one in test:
        made[f"‖θ‖, {one}, of published size"] = below(norm[one], LONGEST)
    details: dict[str, Any] = {}
    for one in test:
        details[f"{one}: test accuracy, %"] = mean_ends(test[one])
        details[f"{one}: training and test loss, nats"] = [
            mean_ends(loss[one]), mean_ends(ended(result, "decay", one, "test_loss"))
        ]  # fmt: skip
        curve = logged(result, "decay", one, "parameter_norm")
        details[f"{one}: ‖θ‖ at the start and at the end"] = [
            mean_ends(curve[:, 0]), mean_ends(curve[:, -1])
        ]  # fmt: skip
    return Evidence(
        made, reason=size_of(result, "decay", "ResNet-18 on 50,000 images"), details=details
    )


def start_as_published(result: xr.Dataset) -> Evidence:
    """Hold the number of parameters and the norms that are published against a ResNet-18 as it is drawn."""
    require(result, "full-start")
    count, norm = (trial(result, "full-start", f"start_{name}") for name in ("parameters", "norm"))
    return Evidence(
        {
            f"parameters, {PARAMETERS / 1e6:g} million": agreement(count, PARAMETERS, OFF),
            "‖θ₀‖, of published size": below(norm, LONGEST),
        },
        reason=f"decay of 1e-4 alone, at a step size of 0.1 with momentum 0.9 and 98 updates an epoch, "
        f"shrinks a norm by a factor of {1 / SHRUNK:.1f} in the 200 epochs, and gradients of weights before "
        "a normalisation only lengthen them",
        details={
            "parameters": mean_ends(count),
            "‖θ₀‖": mean_ends(norm),
            "‖θ₀‖ after all that decay": mean_ends(SHRUNK * norm),
            "‖W₀‖": mean_ends(trial(result, "full-start", "start_weight_norm")),
        },
    )


def _optimisers(
    result: xr.Dataset, test: Callable[[str, int], np.ndarray], details: dict[str, Any]
) -> Evidence:
    small, large = (int(size) for size in values_of(result, "tuning", "batch_size"))
    table = {
        (name, size): test(name, size)
        for name in (MOMENTUM, ADAM, ADAMW)
        for size in (small, large)
    }

    def lead(more: list[Any], less: list[Any], smallest: float) -> Comparison:
        pick = [[table[cell] for cell in cells] for cells in (more, less)]
        return accuracy_gap(result, "tuning", pick[0], pick[1], smallest)

    return Evidence(
        {
            f"SGD less Adam, batch {small}": lead([(MOMENTUM, small)], [(ADAM, small)], SGD_LEAD),
            f"AdamW less Adam, batch {small}": lead([(ADAMW, small)], [(ADAM, small)], ADAMW_LEAD),
            f"SGD, batch {small} less {large}": lead([(MOMENTUM, small)], [(MOMENTUM, large)], BATCH_COST),
            f"SGD, batch {small} less {large}, beyond the same of Adam": lead(
                [(MOMENTUM, small), (ADAM, large)], [(MOMENTUM, large), (ADAM, small)], BATCH_COST
            ),
        },
        reason="SGD has momentum; " + size_of(result, "tuning", "ResNet-50 on 50,000 images"),
        details={
            **{f"{name}, batch {size}: test accuracy, %": mean_ends(values)
               for (name, size), values in table.items()},
            **details,
        },
    )  # fmt: skip


def _decays(result: xr.Dataset) -> list[float]:
    return [float(decay) for decay in values_of(result, "tuning", "decoupled_weight_decay")]
