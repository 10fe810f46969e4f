"""Rows of the attention study's result, and the losses that runs are judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.studies.rows import by_seed, values_of

if TYPE_CHECKING:
    import xarray as xr

WIDTH, GAIN, FACTOR = "hidden_width", "attention_gain", "step_factor"
"""Coordinates of lanes."""

JUDGED: dict[str, tuple[str, str]] = {
    "end_train_loss": ("nats", "training loss at the end"),
    "end_train_error": ("fraction", "training error at the end"),
    "end_test_loss": ("nats", "test loss at the end"),
    "end_test_error": ("fraction", "test error at the end"),
    "least_test_loss": ("nats", "test loss at the time of least validation loss"),
    "least_test_error": ("fraction", "test error at that time"),
    "least_valid_loss": ("nats", "the validation loss of that time"),
    "least_update": ("updates", "that time"),
}
"""What :func:`derive` adds."""


def derive(result: xr.Dataset) -> xr.Dataset:
    """Add each lane's losses and errors at its end and at the time of its least validation loss.

    Lanes that diverged have none.
    """
    valid = result["log_valid_loss"].values
    found = {name: np.full(valid.shape[0], np.nan) for name in JUDGED}
    for row in np.flatnonzero(~result["diverged"].values):
        usable = np.flatnonzero(np.isfinite(valid[row]))
        if not usable.size:
            continue
        last, least = int(usable[-1]), int(usable[np.argmin(valid[row, usable])])
        for name in found:
            moment, _, quantity = name.partition("_")
            source = "log_step" if quantity == "update" else f"log_{quantity}"
            found[name][row] = result[source].values[row, last if moment == "end" else least]
    return result.assign(
        {
            name: ("lane", values, {"units": JUDGED[name][0], "long_name": JUDGED[name][1]})
            for name, values in found.items()
        }
    )


def main_width(result: xr.Dataset) -> float:
    """Return the width of all arms but those with few sequences."""
    import json

    return float(json.loads(result.attrs["settings"])["width"])


def trained(result: xr.Dataset, name: str, width: float | None = None) -> np.ndarray:
    """Return a variable of the trained arm by seed, by default at the main width."""
    return by_seed(
        result, "trained", name, **{WIDTH: main_width(result) if width is None else width}
    )


def of_gain(result: xr.Dataset, name: str, gain: float) -> np.ndarray:
    """Return a variable by seed at the main width, of the trained arm where the gain is 1."""
    return trained(result, name) if gain == 1 else by_seed(result, "gain", name, **{GAIN: gain})


def of_few(result: xr.Dataset, name: str, arm: str = "few", factor: float = 1.0) -> np.ndarray:
    """Return a variable of an arm with few sequences by seed, at a factor of its step size."""
    return by_seed(result, arm, name, **{FACTOR: factor})


def gains_of(result: xr.Dataset) -> list[float]:
    """Return the gains there are, 1 among them, ascending."""
    return sorted({1.0, *map(float, values_of(result, "gain", GAIN))})


def widths_of(result: xr.Dataset) -> list[float]:
    """Return the widths of the trained arm, ascending."""
    return [float(width) for width in values_of(result, "trained", WIDTH)]


def layers_of(result: xr.Dataset) -> list[int]:
    """Return the layers, from 1."""
    return [int(layer) for layer in result["layer"].values]


def known(values: np.ndarray, what: str) -> np.ndarray:
    """Return values unless there is none.

    Raises:
        NotDecidable: All are missing.
    """
    if not np.isfinite(values).any():
        raise NotDecidable(f"{what} is not known of these data, or all lanes diverged")
    return values


def average(values: np.ndarray) -> float:
    """Return the mean of what is finite, NaN where nothing is."""
    finite = np.asarray(values, float)[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
