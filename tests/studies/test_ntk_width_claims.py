"""The ntk-width study's rules on planted results, in every direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias.results.claims import NotDecidable, evaluate
from implicit_bias.studies.ntk_width.claims import CLAIMS
from implicit_bias.studies.ntk_width.rules import (
    absolute_movement,
    active_units,
    average_of_kernels,
    relative_movement,
    width_dependence,
)
from implicit_bias.studies.ntk_width.silent import SilentUnits
from implicit_bias.studies.ntk_width.slopes import by_width, family_level, slope

WIDTHS = np.array([32, 64, 128, 256, 512])
SEEDS = 5
LAZY = {"relative_movement": -0.5, "absolute_movement": 0.0, "kernel_change": -0.8, "flips": -0.3}
RICH = {"relative_movement": 0.0, "absolute_movement": 0.0, "kernel_change": 0.0, "flips": 0.0}
START = {"relative_movement": 0.9, "absolute_movement": 3.0, "kernel_change": 0.5, "flips": 0.2}


def planted(
    powers: dict[str, dict[str, float]],
    *,
    distance: float = -1.0,
    noise: float = 0.01,
    flips: float = 0.2,
    dead: float = 0.0,
    average: np.ndarray | None = None,
) -> xr.Dataset:
    """A result whose quantities follow powers of the width, by arm; ``average`` are kernels drawn."""
    rng = np.random.default_rng(0)
    rows = [(arm, width, seed) for arm in powers for width in WIDTHS for seed in range(SEEDS)]
    rows += [
        (stage, np.nan, seed) for stage in ("kernels", "average", "silent") for seed in range(SEEDS)
    ]
    arm = np.array([row[0] for row in rows], object)
    width = np.array([row[1] for row in rows], float)
    variables: dict[str, Any] = {"diverged": ("lane", np.zeros(len(rows), bool))}
    for name, start in {**START, "flips": flips}.items():
        power = np.array([powers.get(a, {}).get(name, np.nan) for a in arm])
        values = start * (width / WIDTHS[0]) ** power * np.exp(noise * rng.normal(size=len(rows)))
        variables[name] = ("lane", values)
    trained = np.isfinite(width)
    variables["dead_movement"] = ("lane", np.where(trained, dead, np.nan))
    variables["active_units"] = ("lane", np.where(trained, 1.0, np.nan))
    for stage, names in {"silent": ("silent_movement", "woken_units")}.items():
        for name in names:
            value = 0.5 if name == "woken_units" else 0.0
            variables[name] = ("lane", np.where(arm == stage, value, np.nan))
    far = np.full((len(rows), WIDTHS.size), np.nan)
    own = arm == "kernels"
    far[own] = (
        0.1
        * WIDTHS.astype(float) ** distance
        * np.exp(noise * rng.normal(size=(SEEDS, WIDTHS.size)))
    )
    variables["infinite_distance"] = (("lane", "kernel_width"), far)
    own = arm == "average"
    kernels = (
        rng.normal(np.eye(3) + 1, 0.1, size=(SEEDS, 200, 3, 3)) if average is None else average
    )
    for name, found in {
        "average_kernel": kernels.mean(axis=1),
        "kernel_variance": kernels.var(axis=1, ddof=1),
        "limit_kernel": np.broadcast_to(np.eye(3) + 1, (SEEDS, 3, 3)),
    }.items():
        values = np.full((len(rows), 3, 3), np.nan)
        values[own] = found
        variables[name] = (("lane", "input", "other_input"), values)
    variables["networks"] = ("lane", np.where(own, float(kernels.shape[1]), np.nan))
    return xr.Dataset(
        variables,
        {
            "arm": ("lane", arm),
            "stage": ("lane", np.where(trained, "arms", arm)),
            "seed": ("lane", np.array([row[2] for row in rows])),
            "hidden_width": ("lane", width),
            "kernel_width": WIDTHS,
        },
    )


def test_exponents_are_those_of_the_powers() -> None:
    # Breaks if a slope is of another arm or quantity, or lanes are taken in the order they stand in.
    result = planted({"ntk": LAZY}, noise=0.0)
    shuffled = result.isel(lane=np.random.default_rng(1).permutation(result.sizes["lane"]))
    for name, power in LAZY.items():
        assert slope(shuffled, "ntk", name, 0.95).value == pytest.approx(power, abs=1e-12)
    lost = result["diverged"].copy(
        data=(result["seed"].values == 1) & (result["hidden_width"].values == 64)
    )
    found = slope(result.assign(diverged=lost), "ntk", "flips", 0.95)
    assert (found.n, found.excluded) == (SEEDS - 1, 1)
    assert np.isnan(by_width(result.assign(diverged=lost), "ntk", "flips")[1, 1])


def test_the_level_covers_what_claims_need() -> None:
    # Breaks if an arm or the steps from width to width are not counted: 3 × (4 + 4) + 1 intervals.
    result = planted({"standard": LAZY, "ntk": LAZY, "mup": RICH})
    assert family_level(result) == pytest.approx(1 - 0.05 / 25)
    assert family_level(planted({"ntk": LAZY})) == pytest.approx(1 - 0.05 / 9)


def test_relative_movement_is_judged_arm_by_arm() -> None:
    # Breaks if one arm decides for all, the band is one-sided, or a kernel that stays passes.
    found = relative_movement(planted({"standard": LAZY, "ntk": LAZY}))
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(-0.5, abs=0.02)
    split = relative_movement(planted({"standard": LAZY, "mup": RICH}))
    assert split.verdict == "conditional"
    assert split.condition == "supported: standard. Refuted: mup"
    for changed in (
        {"relative_movement": -0.75},
        {"relative_movement": -0.2},
        {"kernel_change": 0.0},
    ):
        assert relative_movement(planted({"standard": {**LAZY, **changed}})).verdict == "refuted"
    assert relative_movement(planted({"standard": LAZY}, noise=0.5)).verdict == "inconclusive"
    # The exponent fits, but a step goes up.
    result = planted({"standard": LAZY})
    bent = result["relative_movement"].values.copy()
    bent[result["hidden_width"].values == 128] *= 2
    bumpy = result.assign(relative_movement=("lane", bent))
    assert relative_movement(bumpy).verdict == "refuted"
    with pytest.raises(NotDecidable, match="no arm of networks"):
        relative_movement(planted({"linearised": LAZY}))


def test_movement_that_does_not_vanish_refutes_the_criterion() -> None:
    # Breaks if the direction of the criterion is confused, or a kernel that moves counts as lazy.
    arms = {"ntk": LAZY, "mup": RICH}
    assert absolute_movement(planted(arms)).verdict == "refuted"
    vanishing = {**LAZY, "absolute_movement": -0.5}
    assert absolute_movement(planted({"ntk": vanishing, "mup": RICH})).verdict == "supported"
    assert absolute_movement(planted({"ntk": vanishing})).verdict == "inconclusive"
    assert absolute_movement(planted({"ntk": RICH, "mup": RICH})).verdict == "inconclusive"
    with pytest.raises(NotDecidable, match="needs ntk"):
        absolute_movement(planted({"mup": RICH}))


def test_both_kernel_and_solution_must_depend_on_width() -> None:
    # Breaks if one of the two decides alone.
    assert width_dependence(planted({"ntk": LAZY})).verdict == "supported"
    assert width_dependence(planted({"ntk": LAZY}, distance=0.0)).verdict == "conditional"
    assert width_dependence(planted({"ntk": RICH}, distance=0.0)).verdict == "refuted"
    assert width_dependence(planted({"ntk": LAZY}, noise=2.0)).verdict == "inconclusive"
    with pytest.raises(NotDecidable):
        width_dependence(planted({"mup": RICH}))


def test_active_units_need_the_exact_part_and_frozen_patterns() -> None:
    # Breaks if a dead unit that moves passes, or few flips and many are the same to the rule.
    found = active_units(planted({"ntk": LAZY, "mup": RICH}))
    assert found.verdict == "conditional"
    assert "arm mup" in found.condition
    assert found.effect == pytest.approx(-0.3, abs=0.02)
    assert active_units(planted({"ntk": LAZY}, flips=0.005)).verdict == "supported"
    assert active_units(planted({"ntk": LAZY}, dead=1e-9)).verdict == "refuted"
    assert active_units(planted({"ntk": RICH})).verdict == "refuted"
    assert active_units(planted({"ntk": LAZY}, noise=0.5)).verdict == "inconclusive"
    smooth = planted({"ntk": LAZY})
    with pytest.raises(NotDecidable, match="ReLU"):
        active_units(smooth.assign(flips=smooth["flips"] * np.nan))


def test_the_average_of_kernels_is_held_to_its_own_error() -> None:
    # Breaks if the error is that of one network or of a seed, or a bias within it goes unseen.
    rng = np.random.default_rng(2)
    networks = rng.normal(np.eye(3) + 1, 0.1, size=(SEEDS, 200, 3, 3))
    found = average_of_kernels(planted({"ntk": LAZY}, average=networks))
    assert found.verdict == "supported"
    everything = networks.reshape(-1, 3, 3)
    error = everything.std(axis=0, ddof=1) / np.sqrt(len(everything))
    scores = ((everything.mean(axis=0) - np.eye(3) - 1) / error)[np.triu_indices(3)]
    assert found.effect == pytest.approx(scores[np.argmax(np.abs(scores))], rel=1e-9)
    biased = average_of_kernels(planted({"ntk": LAZY}, average=networks + 0.02))
    assert biased.verdict == "refuted"
    few = planted({"ntk": LAZY}, average=networks[:, :2] + rng.normal(size=(SEEDS, 2, 3, 3)))
    with pytest.raises(NotDecidable, match="draw more"):
        average_of_kernels(few)


def test_every_claim_is_judged_of_a_whole_result() -> None:
    # Breaks if a rule needs what a result lacks, or two claims share a name.
    findings = evaluate(CLAIMS, planted({"standard": LAZY, "ntk": LAZY, "mup": RICH}))
    assert {finding.id: finding.verdict for finding in findings} == {
        "johannsen.ntk": "conditional",
        "dhand.ntk-def": "supported",
        "dhand.sec-6.1-crit": "refuted",
        "ch11.A.11": "supported",
        "ch11.B.20": "conditional",
    }
    # Breaks if reports and ledgers cannot say what was found for each parameterisation.
    arms = findings[0].details["arms"]
    assert {arm: record["verdict"] for arm, record in arms.items()} == {
        "standard": "supported", "ntk": "supported", "mup": "refuted",
    }  # fmt: skip
    assert all(len(record["interval"]) == 2 and record["n"] == SEEDS for record in arms.values())
    assert findings[0].effect == arms[findings[0].details["headline"]]["effect"]


def test_silent_units_never_move_next_to_the_inputs_and_do_above() -> None:
    # Breaks if units are not off at the start, or nothing is trained.
    rows = [SilentUnits()(None, seed, {}) for seed in range(3)]  # type: ignore[arg-type]
    assert [row["silent_movement"] for row in rows] == [0.0] * 3
    assert min(row["others_movement"] for row in rows) > 0.1
    assert min(row["woken_units"] for row in rows) > 0
    assert min(row["deep_silent_movement"] for row in rows) > 1e-3
    frozen = SilentUnits(margin=1e3)(None, 0, {})  # type: ignore[arg-type]
    assert frozen["woken_units"] == frozen["deep_silent_movement"] == 0
