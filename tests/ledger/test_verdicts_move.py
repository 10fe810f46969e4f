"""No verdict is a constant: change what was measured, and every one changes.

The results are small runs of all studies (``small_results``); where smoke configs leave out what a claim
needs, such as data that are not in the package, results that the studies' own tests plant. Their variables
are changed in ways drawn at random: negated, scaled, shifted, shuffled among lanes, set equal. A rule that
says the same whatever was measured, or that reads nothing of what was, is found here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from implicit_bias import ledger, studies
from implicit_bias.results.claims import Claim, Finding, evaluate
from tests.studies import (
    batch_size_planted,
    step_size_planted,
    test_double_descent,
    test_early_stopping_network_claims,
    test_flat_minima_claims,
    test_step_size_claims,
)

from . import small_results

FILES = sorted(small_results.FOLDER.glob("*.npz"))

Planted = Callable[[], xr.Dataset]

PLANTED: dict[str, tuple[str, Planted]] = {
    "batch-size, all arms": ("batch-size", batch_size_planted.planted),
    "step-size, CIFAR-10": (
        "step-size", lambda: step_size_planted.planted(test_step_size_claims.published)
    ),
    "step-size, MNIST": (
        "step-size", lambda: step_size_planted.planted(test_step_size_claims.published, "mnist")
    ),
    "flat-minima, two classes": (
        "flat-minima",
        lambda: test_flat_minima_claims.planted(
            {
                ("fixed", 32): test_flat_minima_claims.PUBLISHED,
                ("fixed", 512): {"error": 4.0, "fgsm": 30.0, "lambda_max": 12.0},
            },
            outputs=2,
        ),
    ),
    "double-descent, two depths": ("double-descent", test_double_descent.planted),
    "early-stopping, few images": ("early-stopping", test_early_stopping_network_claims.planted),
}  # fmt: skip
"""Study and result."""


def results() -> Iterator[tuple[str, xr.Dataset]]:
    """Give each result with its study."""
    for file in FILES:
        kept = small_results.read(file)
        yield kept.attrs["study"], kept
    for study, plant in PLANTED.values():
        yield study, plant()


DRAWS = 40
"""Of ways to change a result, after which a verdict that has stood still is a constant."""

PRINTED = "refuted unless all numbers that are printed are met, which no draw does"

STEADY: dict[str, str] = {
    "ch11.W.2": "refuted unless the ratio of two norms is 1.05, which no draw makes it",
    "ch11.W.3": "conditional unless formulas are met in all or in none of its cases",
    "ch11.S.13": PRINTED,
    "ch11.S.15": PRINTED,
    "ch11.S.16": PRINTED,
    "dhand.sec-6.1-crit": "turns where exponents of two arms lie on either side of a bound at once",
}
"""Claims whose verdict these draws do not turn, though its number moves, and why; tests of their
studies plant what turns it."""

Way = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _shuffled(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shuffle what is known, so that no lane gains or loses a value."""
    known = np.isfinite(values)
    changed = values.copy()
    changed[known] = rng.permutation(values[known])
    return changed


WAYS: tuple[Way, ...] = (
    lambda values, rng: -values,
    lambda values, rng: values * np.exp(rng.standard_normal(values.shape)),
    lambda values, rng: values * 1e3,
    lambda values, rng: values * 1e-3,
    lambda values, rng: values + 1,
    lambda values, rng: values**2,
    lambda values, rng: np.where(np.isfinite(values), 0.0, values),
    lambda values, rng: np.where(np.isfinite(values), 1.0, values),
    lambda values, rng: values,
    _shuffled,
)
"""What is done to a variable."""


RECORDS: tuple[Way, ...] = (
    lambda values, rng: ~values,
    lambda values, rng: rng.permutation(values),
    lambda values, rng: values & (rng.random(values.shape[0]) < 0.5)[:, None],
    lambda values, rng: np.zeros_like(values),
    lambda values, rng: values,
)
"""What is done to records of which examples were wrong, lane by example; flags of lanes stay."""


def changed(result: xr.Dataset, draw: int) -> xr.Dataset:
    """Change all that was measured: in one way for the first draws, then each variable in its own.

    The last two draws are for claims on what is recorded: one seed alone, and settings that are missing.
    """
    rng = np.random.default_rng(draw)
    if draw == DRAWS - 1:
        return result.isel(lane=np.flatnonzero(result["seed"].values == result["seed"].values[0]))
    if draw == DRAWS - 2:
        return result.assign_coords(
            {
                name: (coordinate.dims, np.full_like(coordinate.values, np.nan))
                for name, coordinate in result.coords.items()
                if coordinate.dims == ("lane",) and coordinate.dtype.kind == "f"
            }
        )
    made = {}
    for name, variable in result.data_vars.items():
        values = variable.values
        if values.dtype.kind in "fiu":
            way = WAYS[draw if draw < len(WAYS) else rng.integers(len(WAYS))]
            values = way(values.astype(float), rng).astype(values.dtype)
        elif values.dtype.kind == "b" and values.ndim == 2:
            way = RECORDS[draw if draw < len(RECORDS) else rng.integers(len(RECORDS))]
            values = way(values, rng)
        made[name] = (variable.dims, values, variable.attrs)
    return result.assign(made)


def judged(claim: Claim, result: xr.Dataset) -> Finding | None:
    """Judge one claim; None where its rule decides nothing, or fails on numbers that cannot be."""
    try:
        (finding,) = evaluate([claim], result)
    except Exception:  # of what no run can leave, a rule need not make sense
        return None
    return None if finding.verdict == "not-decided" else finding


def move(study: str, result: xr.Dataset, best: dict[str, tuple[bool, bool]]) -> None:
    """Note of each claim that a result decides whether its number moved, and whether its verdict did."""
    known = ledger.registry()
    wanted = [
        claim
        for claim in studies.get(study).claims
        if claim.id in known and not any(best.get(claim.id, ())[claim.id not in STEADY :])
    ]
    before = {claim.id: found for claim in wanted if (found := judged(claim, result)) is not None}
    still = [claim for claim in wanted if claim.id in before]
    for claim in still:
        best.setdefault(claim.id, (False, False))
    for draw in range(DRAWS if still else 0):
        other = changed(result, draw)
        for claim in list(still):
            found = judged(claim, other)
            if found is not None and found.verdict != before[claim.id].verdict:
                best[claim.id] = (True, True)
                still.remove(claim)
            elif found is not None and found.effect != before[claim.id].effect:
                best[claim.id] = (True, False)
                if claim.id in STEADY:  # no more is asked of these
                    still.remove(claim)
        if not still:
            return


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[bool, bool]]:
    """Whether each claim's number and verdict move, in any of the results."""
    best: dict[str, tuple[bool, bool]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zeros that are divided by, there are many here
        for study, result in results():
            move(study, result, best)
    return best


@pytest.mark.parametrize("entry", ledger.registry().values(), ids=lambda entry: entry.id)
def test_every_verdict_moves(entry: ledger.Entry, found: dict[str, tuple[bool, bool]]) -> None:
    """Breaks if a rule's verdict is a constant, or no result here decides it."""
    assert entry.id in found, (
        f"no result here decides {entry.id}: add one to small_results.RUNS or to PLANTED"
    )
    number, verdict = found[entry.id]
    assert number, f"{entry.id} says the same of everything"
    assert verdict or entry.id in STEADY, f"the verdict on {entry.id} never changes"


def test_a_constant_is_found() -> None:
    """Breaks if the changes do not reach what rules read, or a rule that reads nothing passes."""
    (file, *_) = FILES
    result = small_results.read(file)
    constant = Claim(
        "x.constant", "statistical", "here", "It holds.", None, "none",
        lambda given: Finding("supported", float(given.sizes["lane"] > 0), (0.5, 1.5), 3),
    )  # fmt: skip
    before = judged(constant, result)
    assert all(judged(constant, changed(result, draw)) == before for draw in range(DRAWS))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_kept_results_are_small_and_made_here(file: Path) -> None:
    """Breaks if a result is kept that nobody can make again, or whole."""
    assert file.stem in small_results.RUNS
    assert file.stat().st_size <= small_results.LARGEST
    assert set(small_results.read(file).attrs) == {"study", "schema_version", "settings"}
