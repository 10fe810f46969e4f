"""Bounds from their terms, in double precision: of the laws, and of trained networks with noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.rows import has

if TYPE_CHECKING:
    import xarray as xr

STAGE = "posteriors"

BETAS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""β of Catoni's bound, each at δ over their number."""

KINDS = ("inverse kl", "quadratic", "Pinsker", "McAllester", "Catoni")
"""Bounds of the laws."""

FORMULAS = ("task", "hint", "valid")
"""The exercise's bound by its task and by its hint, and Maurer's with the KL of a point mass."""


def derive(result: xr.Dataset) -> xr.Dataset:
    """Add bounds: of laws, of networks with equal noise, and of the exercise."""
    if not has(result, STAGE):
        return result
    import xarray as xr

    delta, sampling = (result[f"certify_{n}"].values for n in ("delta", "sampling_delta"))
    usable = np.isfinite(result["law_kl"].values).all(axis=1) & ~result["diverged"].values
    rows = np.flatnonzero((result["stage"].values == STAGE) & usable)
    n_loss, n_law, n_net = (result.sizes[name] for name in ("bounded_loss", "law", "net"))
    lanes = result.sizes["lane"]
    risk = np.full((lanes, n_law, n_loss), np.nan)
    bound = np.full((lanes, n_law, n_loss, len(KINDS)), np.nan)
    scales = result["prior_std"].values
    shape = (lanes, n_net, scales.size)
    noisy = {name: np.full(shape, np.nan) for name in ("bound", "spread", "kl", "least_kl")}
    stated = np.full((*shape, len(FORMULAS)), np.nan)
    for row in rows:
        terms = {
            n: result[f"law_{n}"].values[row]
            for n in ("sampled", "kl", "examples", "prior", "draws")
        }
        risk[row], bound[row] = law_bounds(terms, float(delta[row]), float(sampling[row]))
        for net in range(n_net):
            seen = {
                n: result[f"{n}"].values[row, net]
                for n in ("net_norm", "net_train", "noisy_sampled")
            }
            error = list(result["bounded_loss"].values).index("error")
            m, d = (float(result[f"law_{n}"].values[row, 0]) for n in ("examples", "weights"))
            found = noisy_bounds(
                float(seen["net_norm"]), d, seen["noisy_sampled"][:, error], result["noise_std"].values,
                scales, int(m), float(delta[row]), float(sampling[row]),
            )  # fmt: skip
            for name, values in found.items():
                noisy[name][row, net] = values
            stated[row, net] = stated_bounds(
                float(seen["net_train"][error]),
                result["stated_kl"].values[row, net],
                int(m),
                float(delta[row]),
            )
    law = ("lane", "law", "bounded_loss")
    net_dims = ("lane", "net", "prior_std")
    said: dict[str, Any] = {
        "law_risk": (
            law,
            np.minimum(risk, 1),
            "mean loss on the sample at most, over all networks",
        ),
        "law_bound": ((*law, "bound_kind"), bound, "true mean loss at most"),
        "noisy_bound": (
            net_dims,
            noisy["bound"],
            "error at most, with the equal noise of least bound",
        ),
        "noisy_spread": (net_dims, noisy["spread"], "standard deviation of that noise"),
        "noisy_kl": (net_dims, noisy["kl"], "KL of that law"),
        "noisy_least_kl": (net_dims, noisy["least_kl"], "KL of the law of least noise"),
        "stated_bound": ((*net_dims, "formula"), stated, "the exercise's bound"),
    }
    added = {
        name: xr.DataArray(values, dims=dims, attrs={"long_name": words, "units": "1"})
        for name, (dims, values, words) in said.items()
    }
    return result.assign(added).assign_coords(bound_kind=list(KINDS), formula=list(FORMULAS))


def law_bounds(
    terms: dict[str, np.ndarray], delta: float, sampling: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds on empirical and on true risks.

    Args:
        terms: ``sampled`` (laws, losses); ``kl``, ``examples``, ``prior`` and ``draws``, (laws,).
        delta: δ, shared among priors.
        sampling: δ_s.

    Returns:
        Shapes (laws, losses) and (laws, losses, bounds of ``KINDS``).
    """
    m, kl = np.round(terms["examples"])[:, None], np.asarray(terms["kl"], float)[:, None]
    own = theory.prior_delta(np.round(terms["prior"]), delta)[:, None]
    sampled = np.clip(np.asarray(terms["sampled"], float), 0.0, 1.0)
    risk = theory.sampled_risk_bound(sampled, np.round(terms["draws"])[:, None], sampling)
    catoni = [theory.catoni_bound(risk, kl, m, own / len(BETAS), beta) for beta in BETAS]
    made = (
        theory.kl_bound(risk, kl, m, own), theory.quadratic_bound(risk, kl, m, own),
        theory.pinsker_bound(risk, kl, m, own), theory.mcallester_bound(risk, kl, m, own),
        np.min(catoni, axis=0),
    )  # fmt: skip
    return risk, np.stack(made, axis=-1)


def noisy_bounds(
    norm: float, weights: float, sampled: np.ndarray, spreads: np.ndarray, scales: np.ndarray,
    m: int, delta: float, sampling: float,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the least bound over widths s of N(w, s²I), for each prior N(0, σ²I); δ is shared by priors.

    Args:
        norm: ‖w‖.
        weights: d.
        sampled: Errors on the sample by s, of one draw for every example.
        spreads: s.
        scales: σ.
        m: Examples.
        delta: δ.
        sampling: δ_s, shared by widths.

    Returns:
        ``bound``, ``spread`` and ``kl`` of least bound, and ``least_kl``, the KL of the least width; by σ.
    """
    risk = theory.sampled_risk_bound(np.clip(sampled, 0, 1), m, sampling / len(spreads))[None, :]
    ratio = (spreads[None, :] / scales[:, None]) ** 2
    kl = (weights * (ratio - 1 - np.log(ratio)) + (norm / scales[:, None]) ** 2) / 2
    bound = theory.kl_bound(risk, kl, m, delta / len(scales))
    best = np.argmin(bound, axis=1)
    rows = np.arange(len(scales))
    return {
        "bound": bound[rows, best], "spread": spreads[best], "kl": kl[rows, best],
        "least_kl": kl[:, int(np.argmin(spreads))],
    }  # fmt: skip


def stated_bounds(train: float, kl: np.ndarray, m: int, delta: float) -> np.ndarray:
    """Return the exercise's bound by its formulas, and a valid one, for each prior, (priors, formulas)."""
    hint = train + np.sqrt((2 * (kl + np.log(2 * np.sqrt(m) / delta))) / (2 * m))
    point = np.full(kl.shape, np.inf)
    return np.stack(
        [theory.printed_bound(train, kl, m, delta), hint, theory.kl_bound(train, point, m, delta)],
        axis=-1,
    )
