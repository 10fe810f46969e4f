"""How arms, pairs and paths of the landscape study are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from implicit_bias.studies.landscape.arms import MEASURED
from implicit_bias.studies.landscape.derived import end_points

if TYPE_CHECKING:
    import xarray as xr

TEST, TRAIN = "test loss (nats)", "training loss (nats)"

WAY_NAMES = {
    "straight": "straight line",
    "matched": "straight line, units matched",
    "curve": "Bezier curve",
}


def arm_names(result: xr.Dataset) -> dict[str, str]:
    """Return how arms are called in figures: with batch size and step size."""
    names = {}
    for arm in MEASURED:
        lanes = end_points(result, arm)
        how = "Adam" if arm == "adam" else "SGD"
        names[arm] = (
            f"{how}, B = {int(lanes['batch_size'][0])}, η = {float(lanes['step_size'][0]):g}"
        )
    return names


def pair_names(result: xr.Dataset) -> dict[str, str]:
    """Return how pairs are called."""
    sizes = [int(end_points(result, arm)["batch_size"][0]) for arm in ("small", "large")]
    names = {
        "batches": f"B = {sizes[0]} to {sizes[1]}",
        "optimisers": "SGD to Adam",
        "initialisations": "two initialisations",
    }
    return {str(pair): names[str(pair)] for pair in result["pair"].values}
