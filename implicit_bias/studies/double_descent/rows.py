"""What arms of the double-descent study sweep, and tables of them by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.studies.rows import along, by_seed, has, require, values_of

if TYPE_CHECKING:
    import xarray as xr

SWEEPS: dict[str, str] = {
    "width": "hidden_width", "decay": "hidden_width", "members": "hidden_width",
    "samples": "examples", "channels": "hidden_width",
}  # fmt: skip
"""The coordinate that an arm sweeps."""


def features(result: xr.Dataset, name: str) -> np.ndarray:
    """Return what regression on random features left by seed, shape (seeds, …).

    Raises:
        NotDecidable: It was not made.
    """
    if not has_features(result):
        raise NotDecidable("needs features, which was not run")
    return by_seed(result, "features", name)


def has_features(result: xr.Dataset) -> bool:
    """Say whether random features were fitted: their stage always has rows, of NaN where they are no arm."""
    rows = result["arm"].values == "features"
    return bool(np.isfinite(result["feature_examples"].values[rows]).any())


def noises(result: xr.Dataset, arm: str = "width") -> list[float]:
    """Return the levels of label noise of an arm, ascending."""
    return [float(noise) for noise in values_of(result, arm, "label_noise")]


def at_values(
    result: xr.Dataset, arm: str, name: str, values: np.ndarray | None = None, **at: float
) -> np.ndarray:
    """Return a quantity of an arm by seed along what it sweeps.

    Args:
        result: The study's result.
        arm: The arm.
        name: The variable, of shape (lane, ...).
        values: Of what the arm sweeps; all of them by default.
        **at: Values of further coordinates.

    Returns:
        Shape (seeds, values, ...); NaN for lanes that diverged or are missing.
    """
    return along(result, arm, name, SWEEPS[arm], values, **at)


def noisiest(result: xr.Dataset, name: str, widths: np.ndarray | None = None) -> np.ndarray:
    """Return a quantity of arm width at the highest label noise, shape (seeds, widths, ...)."""
    require(result, "width")
    return at_values(result, "width", name, widths, label_noise=noises(result)[-1])


def controls(result: xr.Dataset) -> np.ndarray:
    """Return the control widths that were run; all widths where no control was."""
    for arm in ("decay", "members"):
        if has(result, arm):
            return values_of(result, arm, "hidden_width")
    return values_of(result, "width", "hidden_width")


def remedies(result: xr.Dataset) -> dict[str, np.ndarray]:
    """Return test errors as trained, and with what lowers the peak, each (seeds, control widths)."""
    widths = controls(result)
    found = {
        "as trained": noisiest(result, "test_error", widths),
        "stopped early": noisiest(result, "stopped_test_error", widths),
    }
    if has(result, "decay"):
        found["best decay"] = decayed(result)["test_error"]
    if has(result, "members"):
        found["one of an ensemble"] = noisiest(result, "member_error", widths)
        found["ensemble"] = noisiest(result, "ensemble_error", widths)
    return found


def decayed(result: xr.Dataset) -> dict[str, np.ndarray]:
    """Return networks with the decay, none included, of least validation error at their end.

    Returns:
        ``test_wrong`` (seeds, widths, examples), ``test_error``, ``test_loss``, ``lambda_max`` and
        ``weight_decay`` (seeds, widths), at the control widths.
    """
    widths = controls(result)
    names = ("valid_error", "valid_loss", "test_wrong", "test_error", "test_loss", "lambda_max")
    decays = [0.0, *values_of(result, "decay", "weight_decay")]
    tables = [
        {name: noisiest(result, name, widths) for name in names}
        if decay == 0
        else {name: at_values(result, "decay", name, widths, weight_decay=decay) for name in names}
        for decay in decays
    ]
    stacked = {name: np.stack([table[name] for table in tables]) for name in names}
    # Of equal errors the one with less loss; a lane that diverged is never chosen.
    score = stacked["valid_error"] + 1e-6 * stacked["valid_loss"]
    best = np.where(np.isfinite(score), score, np.inf).argmin(axis=0)
    seed, width = np.indices(best.shape)
    found = {name: stacked[name][best, seed, width] for name in names}
    found["weight_decay"] = np.asarray(decays)[best]
    return found


def threshold(result: xr.Dataset) -> float:
    """Return the width at which parameters equal n·K, from the lanes of arm width.

    Their true numbers of parameters are linear in the width, as K + width·(d + K + 1) is.
    """
    rows = np.flatnonzero(result["arm"].values == "width")
    widths = result["hidden_width"].values[rows].astype(float)
    counts = result["true_parameters"].values[rows].astype(float)
    last, first = int(widths.argmax()), int(widths.argmin())
    each = (counts[last] - counts[first]) / (widths[last] - widths[first])
    rest = counts[first] - each * widths[first]
    needed = result["examples"].values[rows[0]] * result["output"].size
    return float((needed - rest) / each)
