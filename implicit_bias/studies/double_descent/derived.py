"""What follows from finished lanes: mistakes, early stopping, ensembles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.studies.laziness.chosen import best_time

if TYPE_CHECKING:
    import xarray as xr


def derive(result: xr.Dataset) -> xr.Dataset:
    """Add what rules need, and drop the outputs on test examples, which are large.

    ``test_wrong`` says which test examples a lane gets wrong at its end. ``stopped_test_error``,
    ``stopped_test_loss`` and ``stopped_update`` are of the evaluation with the least validation error, of
    equals that with the least validation loss; validation labels are clean. ``ensemble_error``,
    ``ensemble_loss`` and ``ensemble_wrong`` are of the mean of outputs of a seed's networks of one width
    and one label noise, ``member_error`` is the mean of their errors; they stand in the rows of arm width.
    """
    if "test_outputs" not in result:
        return result
    n, tests = result.sizes["lane"], result.sizes["test_example"]
    names = ("stopped_test_error", "stopped_test_loss", "stopped_update",
             "ensemble_error", "ensemble_loss", "member_error")  # fmt: skip
    scalars = {name: np.full(n, np.nan) for name in names}
    wrong = {name: np.full((n, tests), np.nan) for name in ("test_wrong", "ensemble_wrong")}
    outputs = result["test_outputs"].values.astype(np.float64)
    labels = _labels(result)
    good = (result["updates_budget"].values > 0) & ~result["diverged"].values
    error, loss = result["log_valid_error"].values, result["log_valid_loss"].values
    for row in np.flatnonzero(good).tolist():
        wrong["test_wrong"][row] = outputs[row].argmax(axis=1) != labels
        best = best_time(error[row], loss[row])
        if best >= 0:
            scalars["stopped_test_error"][row] = result["log_test_error"].values[row, best]
            scalars["stopped_test_loss"][row] = result["log_test_loss"].values[row, best]
            scalars["stopped_update"][row] = result["log_step"].values[row, best]
    for row, members in _ensembles(result):
        if not good[members].all():
            continue
        mean = outputs[members].mean(axis=0)
        wrong["ensemble_wrong"][row] = mean.argmax(axis=1) != labels
        scalars["ensemble_error"][row] = wrong["ensemble_wrong"][row].mean()
        far = mean - np.eye(mean.shape[1])[labels]
        scalars["ensemble_loss"][row] = 0.5 * np.mean(np.sum(far**2, axis=1))
        scalars["member_error"][row] = wrong["test_wrong"][members].mean()
    units = {
        "stopped_update": "updates",
        "stopped_test_loss": "loss unit",
        "ensemble_loss": "½‖·‖²",
    }
    return result.drop_vars(["test_outputs", "test_label"]).assign(
        {
            **{
                name: ("lane", values, {"units": units.get(name, "fraction")})
                for name, values in scalars.items()
            },
            **{
                name: (("lane", "test_example"), values, {"units": "1"})
                for name, values in wrong.items()
            },
        }
    )


def _labels(result: xr.Dataset) -> np.ndarray:
    """Return the labels of the test examples, which all lanes share."""
    rows = np.flatnonzero((result["updates_budget"].values > 0) & ~result["diverged"].values)
    if not rows.size:
        return np.zeros(result.sizes["test_example"], int)
    found: np.ndarray = result["test_label"].values[rows[0]].astype(int)
    return found


def _ensembles(result: xr.Dataset) -> list[tuple[int, np.ndarray]]:
    """Return the row of the first network of each ensemble, and the rows of all of its networks."""
    arm = result["arm"].values
    found: list[tuple[int, np.ndarray]] = []
    others = arm == "members"
    if not others.any():
        return found
    columns = [result[name].values for name in ("seed", "hidden_width", "label_noise")]
    for row in np.flatnonzero(arm == "width"):
        alike = others & np.logical_and.reduce([column == column[row] for column in columns])
        if alike.any():
            found.append((int(row), np.asarray([row, *np.flatnonzero(alike)])))
    return found
