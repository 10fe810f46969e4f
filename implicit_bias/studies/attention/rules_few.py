"""Rules of the attention study on networks with more numbers than tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, NotDecidable
from implicit_bias.studies.attention.rows import FACTOR, average, known, of_few, trained
from implicit_bias.studies.comparisons import (
    about_zero,
    above,
    below,
    less_than,
    mean_ends,
    share_above,
)
from implicit_bias.studies.rows import along, lost_lanes, require, values_of

if TYPE_CHECKING:
    import xarray as xr

PERFECT = 0.99
"""Training accuracy that counts as about 100 %."""

FAR_BELOW = 0.8
"""Test loss that counts as much lower than guessing, in units of it."""

BENIGN = 0.1
"""Part of what there is to learn that benign overfitting may lose after its least test loss."""

CHANCE = 0.03
"""Distance of an accuracy from chance that does not matter."""

GAP = 0.05
"""Difference of losses that matters, in nats."""


def memorises_and_predicts(result: xr.Dataset) -> Evidence:
    """Ask for training accuracy of 100 % and test losses far below guessing."""
    require(result, "few")
    right = 1 - of_few(result, "end_train_error")
    end, guess = (of_few(result, name) for name in ("end_test_loss", "guess_loss"))
    return Evidence(
        {
            "training accuracy": share_above(right, PERFECT),
            "test loss at the end to guessing": less_than(end, guess, FAR_BELOW),
        },
        headline="test loss at the end to guessing",
        reason=lost_lanes(result),
        details=_of_losses(result),
    )


def memorises_what_can_be(result: xr.Dataset) -> Evidence:
    """Hold training accuracy against what the beginnings of the sequences allow."""
    require(result, "few")
    most = 1 - known(of_few(result, "floor_error"), "what the beginnings allow")
    right = 1 - of_few(result, "end_train_error")
    return Evidence(
        {"part of the accuracy that is possible": share_above(right / most, PERFECT)},
        reason=lost_lanes(result),
        details={"training accuracy": mean_ends(right), "most possible": mean_ends(most)},
    )


def overfits_benignly(result: xr.Dataset) -> Evidence:
    """Hold the rise of the test loss after its least against what there is to learn."""
    require(result, "few")
    end, least, guess, bayes = (
        of_few(result, name)
        for name in ("end_test_loss", "least_test_loss", "guess_loss", "bayes_loss")
    )
    there = guess - known(bayes, "the least possible loss")
    return Evidence(
        {
            "rise after the least, part of what there is to learn": below(
                (end - least) / there, BENIGN
            )
        },
        reason=lost_lanes(result),
        details=_of_losses(result),
    )


def memorises_noise(result: xr.Dataset) -> Evidence:
    """Ask of random labels for training accuracy of 100 % and test accuracy at chance."""
    require(result, "few-shuffled")
    right, tested, most, guess = (
        of_few(result, name, "few-shuffled")
        for name in ("end_train_error", "end_test_error", "floor_error", "guess_loss")
    )
    return Evidence(
        {
            "training accuracy": share_above(1 - right, PERFECT),
            "test accuracy less chance": about_zero(1 - tested - np.exp(-guess), CHANCE),
        },
        reason=lost_lanes(result),
        details={
            "part of the accuracy that is possible": mean_ends((1 - right) / (1 - most)),
            "test loss at the end": mean_ends(of_few(result, "end_test_loss", "few-shuffled")),
        },
    )


def smaller_generalises(result: xr.Dataset) -> Evidence:
    """Hold a smaller network's test losses against the larger one's, after as many epochs."""
    require(result, "few", "few-small")
    return Evidence(
        {
            name: above(
                of_few(result, variable) - of_few(result, variable, "few-small"), GAP
            )
            for name, variable in (
                ("at the end", "end_test_loss"), ("at the least validation loss", "least_test_loss")
            )
        },
        reason=lost_lanes(result),
        details={
            "numbers of the networks": [
                average(of_few(result, "parameters", arm)) for arm in ("few-small", "few")
            ]
        },
    )  # fmt: skip


def other_language_is_harder(result: xr.Dataset) -> Evidence:
    """Hold test losses with another alphabet against those with the own."""
    require(result, "trained")
    own = trained(result, "end_test_loss")
    other = known(trained(result, "relabelled_loss"), "another alphabet")
    return Evidence(
        {"another alphabet less the own": above(other - own, GAP)},
        reason=lost_lanes(result),
        details={"own": mean_ends(own), "other": mean_ends(other)},
    )


def adam_is_steadier(result: xr.Dataset) -> Evidence:
    """Hold both optimisers' sensitivity to the step size, and their test losses at their best ones."""
    require(result, "few", "few-sgd")
    spread, best = {}, {}
    for arm in ("few", "few-sgd"):
        factors = values_of(result, arm, FACTOR)
        if factors.size < 2:
            raise NotDecidable("few.factors has one step size, and sensitivity needs two")
        ends, valid, tests, guess = (
            along(result, arm, name, FACTOR)
            for name in ("end_train_loss", "least_valid_loss", "least_test_loss", "guess_loss")
        )
        # A run that diverged is as good as guessing.
        chance = np.nanmax(guess)
        ends = np.where(np.isfinite(ends), ends, chance)
        spread[arm] = ends.mean(axis=1) - ends.min(axis=1)
        place = np.argmin(np.where(np.isfinite(valid), valid, np.inf), axis=1)
        best[arm] = np.take_along_axis(tests, place[:, None], axis=1)[:, 0]
    return Evidence(
        {
            "training loss over step sizes less its least, SGD less Adam": above(
                spread["few-sgd"] - spread["few"], GAP
            ),
            "least test loss at the best step size, SGD less Adam": above(
                best["few-sgd"] - best["few"], GAP
            ),
        },
        reason=lost_lanes(result),
        details={
            "excess training loss, mean over step sizes": {
                arm: mean_ends(values) for arm, values in spread.items()
            },
            "test loss": {arm: mean_ends(values) for arm, values in best.items()},
        },
    )


def _of_losses(result: xr.Dataset) -> dict[str, object]:
    found: dict[str, object] = {
        name: mean_ends(of_few(result, variable))
        for name, variable in (
            ("least test loss", "least_test_loss"),
            ("test loss at the end", "end_test_loss"),
            ("training loss at the end", "end_train_loss"),
        )
    }
    numbers = ("per_token", "guess_loss", "bayes_loss")
    return found | {name: average(of_few(result, name)) for name in numbers}
