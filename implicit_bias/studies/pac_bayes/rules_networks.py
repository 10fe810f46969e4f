"""Rules about networks: the exercise as it is set, bounds that hold, and labels without meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence
from implicit_bias.results.statistics import Comparison, mean_interval
from implicit_bias.studies.comparisons import above, agreement, below, ends
from implicit_bias.studies.pac_bayes.certificates import KINDS, STAGE
from implicit_bias.studies.pac_bayes.rules_bounds import NEAR
from implicit_bias.studies.rows import by_seed, require

if TYPE_CHECKING:
    import xarray as xr

STATED: dict[str, tuple[float, float]] = {
    "norm": (15.0, 0.2), "bound": (0.8, 0.25), "ratio": (10.0, 0.5),
}  # fmt: skip
"""What the exercise expects at σ = 0.1, and how far off, relative, counts as that: ‖w‖, the bound, and the
bound over the test error."""

STATED_WEIGHTS = 784 * 100 + 100 + 100 * 10 + 10
"""Of the exercise's network, 784-100-10: its numbers are held against no other's."""

STATED_SCALE = 0.1
"""σ at which it expects that."""

MEANINGFUL = 0.1
"""How far below guessing, relative, a bound must be to say something."""

MORE = 0.05
"""By how much a prior from data must lower the bound."""


def law(result: xr.Dataset, name: str, which: str, **at: Any) -> np.ndarray:
    """Return a quantity of a law of networks by seed, for the error."""
    require(result, STAGE)
    if name in ("sampled", "test", "risk", "bound"):
        at |= {"bounded_loss": "error"}
    return by_seed(result, STAGE, f"law_{name}", law=which, **at)


def bound_of(result: xr.Dataset, which: str, kind: str = KINDS[0]) -> np.ndarray:
    """Return a bound on the error of a law by seed."""
    return law(result, "bound", which, bound_kind=kind)


def guessing(result: xr.Dataset) -> float:
    """Return the error of guessing."""
    require(result, "trained")
    return 1 - float(result["chance"].values[result["arm"].values == "trained"][0])


def net(result: xr.Dataset, name: str, labels: str = "true labels", **at: Any) -> np.ndarray:
    """Return a quantity of a trained network by seed; of losses, the error."""
    require(result, STAGE)
    if name in ("net_train", "net_test"):
        at |= {"bounded_loss": "error"}
    return by_seed(result, STAGE, name, net=labels, **at)


def stated_scale(result: xr.Dataset) -> float:
    """Return the prior's standard deviation that is nearest to the exercise's."""
    require(result, STAGE)
    scales = result["prior_std"].values
    return float(scales[np.argmin(np.abs(np.log(scales / STATED_SCALE)))])


def exercise(result: xr.Dataset) -> Evidence:
    """Hold exercise C.18 against what it expects, and against bounds that hold for the same weights."""
    require(result, STAGE)
    at, guess = stated_scale(result), guessing(result)
    scales = result["prior_std"].values
    stated = {s: net(result, "stated_bound", prior_std=s, formula="task") for s in scales}
    kl = net(result, "stated_kl", prior_std=at)
    least = net(result, "noisy_least_kl", prior_std=at)
    valid = {f"{s:g}": net(result, "noisy_bound", prior_std=s) for s in scales}
    test = net(result, "net_test")
    norm = net(result, "net_norm")
    arithmetic = float(np.sqrt(2 * 11_250 / (2 * 10_000)))
    made: dict[str, Comparison] = {}
    if np.nanmax(law(result, "weights", "start")) == STATED_WEIGHTS:
        made = {
            "‖w‖ about 15": agreement(norm, *STATED["norm"]),
            f"bound about 0.8 at σ = {at:g}": agreement(stated[at], *STATED["bound"]),
            "bound about ten times the test error": agreement(stated[at] / test, *STATED["ratio"]),
        }
    made |= {
        "bound larger at the largest σ than at the least": above(
            stated[scales[-1]] - stated[scales[0]]
        ),
        f"KL as stated is that of least noise, up to a factor {NEAR:g}": below(least / kl, NEAR),
        f"equal noise on w has a bound below guessing at σ = {at:g}": below(
            net(result, "noisy_bound", prior_std=at), (1 - MEANINGFUL) * guess
        ),
    }
    return Evidence(
        made,
        reason="KL of a point mass is infinite, and its bound 1; the exercise's own numbers give "
        f"√(22,500/20,000) = {arithmetic:.2f} where it writes 0.75",
        details={
            "‖w‖": ends(mean_interval(norm)),
            "KL as stated": ends(mean_interval(kl)),
            "bound as stated by σ": {f"{s:g}": ends(mean_interval(v)) for s, v in stated.items()},
            "valid bound by σ, equal noise of least bound": {
                s: ends(mean_interval(v)) for s, v in valid.items()
            },
            "test error": ends(mean_interval(test)),
        },
    )  # fmt: skip


def certified(result: xr.Dataset) -> Evidence:
    """Ask whether a law around a random start has a bound that says something."""
    guess = guessing(result)
    made = {}
    for name in ("start", "zero"):
        found, test = bound_of(result, name), law(result, "test", name)
        made[f"prior {name}: bound below {1 - MEANINGFUL:g} of guessing"] = below(
            found, (1 - MEANINGFUL) * guess
        )
        made[f"prior {name}: bound above the law's test error"] = above(found - test)
    return Evidence(made, details=_terms(result, ("start", "zero")))


def learned_prior(result: xr.Dataset) -> Evidence:
    """Ask whether a prior trained on some of the examples lowers the bound."""
    found = bound_of(result, "learned")
    return Evidence(
        {
            "bound lower than around the start": above(bound_of(result, "start") - found, MORE),
            "bound above the law's test error": above(found - law(result, "test", "learned")),
        },
        details=_terms(result, ("learned",)),
    )  # fmt: skip


def random_labels(result: xr.Dataset) -> Evidence:
    """Ask whether bounds on random labels stay above the error that nothing can go below."""
    guess = guessing(result)
    least = np.min([bound_of(result, "random labels", kind) for kind in KINDS], axis=0)
    return Evidence(
        {"least of all bounds, above the error of guessing": above(least - guess)},
        details={
            **_terms(result, ("random labels",)),
            "training error of the network itself": ends(
                mean_interval(net(result, "net_train", "random labels"))
            ),
        },
    )


def _terms(result: xr.Dataset, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        f"{name}: {words}": ends(mean_interval(law(result, term, name)))
        for name in names
        for term, words in (
            ("kl", "KL"),
            ("sampled", "error on the sample"),
            ("test", "test error"),
        )
    } | {f"{name}: bound": ends(mean_interval(bound_of(result, name))) for name in names}
