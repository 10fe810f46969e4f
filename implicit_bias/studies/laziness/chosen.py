"""The time at which a run is judged: that of least validation error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


def best_time(error: np.ndarray, loss: np.ndarray) -> int:
    """Return the place of the least validation error, of equals that of least loss, then the first.

    Args:
        error: Shape (times,); NaN where there is none.
        loss: Likewise.

    Returns:
        The place, or −1 where there is none.
    """
    usable = np.flatnonzero(np.isfinite(error) & np.isfinite(loss))
    if not usable.size:
        return -1
    return int(usable[np.lexsort((loss[usable], error[usable]))[0]])


def derive(result: xr.Dataset) -> xr.Dataset:
    """Add each lane's errors at its chosen time and at its end, and which test examples were wrong then.

    ``best_update`` is the update of least validation error among the evaluations, of equals that of least
    validation loss; ``best_test_error`` and ``best_wrong`` are of that time, ``end_test_error``,
    ``end_train_loss`` and ``end_wrong`` of the last. Diverged lanes have none. The mistakes at all other
    times are dropped.
    """
    if "log_test_wrong" not in result:
        return result
    error, loss = result["log_valid_error"].values, result["log_valid_loss"].values
    n, width = error.shape[0], result.sizes["test_example"]
    scalars = {name: np.full(n, np.nan) for name in
               ("best_update", "best_test_error", "end_test_error", "end_train_loss")}  # fmt: skip
    wrong = {name: np.full((n, width), np.nan) for name in ("best_wrong", "end_wrong")}
    for row in np.flatnonzero(~result["diverged"].values):
        best = best_time(error[row], loss[row])
        if best < 0:
            continue
        last = int(np.flatnonzero(np.isfinite(error[row]))[-1])
        scalars["best_update"][row] = result["log_step"].values[row, best]
        scalars["best_test_error"][row] = result["log_test_error"].values[row, best]
        scalars["end_test_error"][row] = result["log_test_error"].values[row, last]
        scalars["end_train_loss"][row] = result["log_train_loss"].values[row, last]
        wrong["best_wrong"][row] = result["log_test_wrong"].values[row, best]
        wrong["end_wrong"][row] = result["log_test_wrong"].values[row, last]
    units = {
        "best_update": "updates",
        "end_train_loss": result["log_train_loss"].attrs.get("units", "1"),
    }
    added = {
        **{
            name: ("lane", values, {"units": units.get(name, "fraction")})
            for name, values in scalars.items()
        },
        **{
            name: (("lane", "test_example"), values, {"units": "1"})
            for name, values in wrong.items()
        },
    }
    return result.drop_vars("log_test_wrong").assign(added)
