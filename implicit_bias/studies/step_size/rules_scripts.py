"""Rules on two of the chapter's scripts: what they print, and what their set-ups give when trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence
from implicit_bias.studies.comparisons import (
    about_zero,
    above,
    mean_ends,
    more_than,
    share_above,
    share_below,
)
from implicit_bias.studies.rows import by_seed
from implicit_bias.studies.step_size.scripts import CLASSES, LABELS, OPTIMISERS, WAYS

if TYPE_CHECKING:
    import xarray as xr

PRINTED_NORMS = {"SGD": 8.1234, "Momentum": 7.9456, "Adam": 8.3421}
"""Norms of the output layer that are printed."""

AS_PRINTED = 0.75
"""A printed norm, and a printed accuracy, counts as found from this share of it on."""

PRINTED_TEST, PRINTED_TRUE, PRINTED_RANDOM = 0.89, 0.76, 0.09
"""Printed test accuracies: of the optimisers, on true and on random labels."""

FIT, OFTEN = 0.99, 0.5
"""Training accuracy that counts as memorised, and share of draws that counts as typical."""

CHANCE = 0.05
"""How far a test accuracy may lie from that of guessing."""


def optimisers_as_printed(result: xr.Dataset) -> Evidence:
    """Hold the comparison of optimisers against what it is said to print."""
    made = {}
    for name in OPTIMISERS:
        converged, test, norm = _script(result, WAYS[0], name)
        made[f"{name} reaches 95 % on the training set"] = share_above(converged, OFTEN)
        made[f"{name}, test accuracy as printed"] = share_above(test, AS_PRINTED * PRINTED_TEST)
        made[f"{name}, ‖W₂‖ as printed"] = more_than(norm, PRINTED_NORMS[name], AS_PRINTED)
    return Evidence(
        made,
        headline="SGD, test accuracy as printed",
        reason="test labels are random, of ten classes, so that nothing can be right more often than one "
        "time in ten; the output layer alone is changed, its bias by 1/200 of its gradient, and inputs of "
        "length one reach it with activations of 0.004",
        details=_details(result, WAYS[0]),
    )


def optimisers_when_trained(result: xr.Dataset) -> Evidence:
    """Ask what the same data give when all layers are trained until they fit."""
    made = {}
    for name in OPTIMISERS[1:]:
        converged, test, _ = _script(result, WAYS[1], name)
        made[f"{name} fits the random labels"] = share_above(converged, OFTEN)
        made[f"{name}, test accuracy is chance"] = about_zero(test - 1 / CLASSES, CHANCE)
    return Evidence(
        made,
        reason="SGD without momentum takes longer than these epochs",
        details=_details(result, WAYS[1]),
    )


def memory_as_printed(result: xr.Dataset) -> Evidence:
    """Hold the script on random and true labels, which trains nothing, against what it is said to print."""
    made = {}
    for name, printed in zip(LABELS, (None, PRINTED_TRUE), strict=True):
        train, test = (
            by_seed(result, "memory", f"memory_{part}", memory_labels=name)
            for part in ("train", "test")
        )
        made[f"{name} labels: training accuracy at the last print"] = share_above(train[:, -1], FIT)
        made[f"{name} labels: training accuracy rises"] = above(train[:, -1] - train[:, 0], OFTEN)
        if printed is not None:
            made[f"{name} labels: test accuracy as printed"] = share_above(
                test, AS_PRINTED * printed
            )
        else:
            made[f"{name} labels: test accuracy is chance"] = about_zero(test - 1 / CLASSES, CHANCE)
    return Evidence(
        made,
        reason="the loop computes predictions and their accuracy, and changes no weight; what is printed for "
        "random labels is chance, which an untrained network has as well",
        details=_memory(result, "train", "test"),
    )


def memory_when_trained(result: xr.Dataset) -> Evidence:
    """Ask whether a trained network on the script's data does what the script is said to print."""
    made = {}
    for name in LABELS:
        train, test = (
            by_seed(result, "memory", f"memory_trained_{part}", memory_labels=name)
            for part in ("train", "test")
        )
        made[f"{name} labels: fits"] = share_above(train, FIT)
        if name == "random":
            made[f"{name} labels: test accuracy is chance"] = about_zero(test - 1 / CLASSES, CHANCE)
        else:
            made[f"{name} labels: test accuracy of 0.75"] = share_above(test, 0.7)
            made[f"{name} labels: test accuracy below that"] = share_below(test, 0.8)
    return Evidence(
        made,
        reason="the true labels are four quadrants, not ten classes, so that guessing one of those seen is "
        "right one time in four",
        details=_memory(result, "trained_train", "trained_test"),
    )


def _script(result: xr.Dataset, way: str, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    converged, test, norm = (
        by_seed(result, "script", f"script_{what}", script_way=way, script_optimiser=name)
        for what in ("converged", "test", "norm")
    )
    return converged, test, norm


def _details(result: xr.Dataset, way: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in OPTIMISERS:
        train = by_seed(result, "script", "script_train", script_way=way, script_optimiser=name)
        _, test, norm = _script(result, way, name)
        found[f"{name}: training and test accuracy at the end"] = [
            mean_ends(train[:, -1]), mean_ends(test)
        ]  # fmt: skip
        found[f"{name}: ‖W₂‖"] = mean_ends(norm)
    return found


def _memory(result: xr.Dataset, *parts: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in LABELS:
        for part in parts:
            values = by_seed(result, "memory", f"memory_{part}", memory_labels=name)
            values = values if values.ndim == 1 else values[:, -1]
            found[f"{name} labels: {part.replace('_', ', ')}"] = mean_ends(values)
    return found
