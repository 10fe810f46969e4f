"""Rules on the chapter's exercise and its solution's script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence
from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import above, below, mean_ends
from implicit_bias.studies.margin.script import ANGLE, AT, PRINTED
from implicit_bias.studies.rows import by_seed

if TYPE_CHECKING:
    import xarray as xr

HARD = 0.6
"""The exercise's hard margin."""

OFF = 0.1
"""Relative departure from a number that is stated, that matters."""

RATIO = 0.95
"""The exercise's share of the hard margin."""

SHAPE = 1.5
"""Between 1, a power law or slower, and 2, an exponential; see ``script_loss_shape``."""

LENGTH = 50.0
"""Half of the length that the exercise expects after 20,000 steps."""

ALL_RIGHT = {"train": 99.9, "test": 99.0}
"""Accuracy in per cent that counts as about all right."""

ALWAYS = 0.95
"""Share of draws that a line must separate where any line is said to."""

SAME_MARGIN = 0.99
"""The script's ratio of margins is printed as 1.0001; it cannot exceed one."""

PRINTED_OFF = float(np.log(1.25))
"""Logarithm of the factor up to which a number counts as the one that is printed."""


def at(result: xr.Dataset, name: str, setup: str, **more: Any) -> np.ndarray:
    """Return a quantity of one set-up by seed."""
    return by_seed(result, "script", f"script_{name}", setup=setup, **more)


def exercise(result: xr.Dataset) -> Evidence:
    """Hold exercise C.3, run as it is set, against what it expects."""
    here = {
        name: at(result, name, "exercise")
        for name in ("hard", "margin", "angle", "loss_shape", "norm_shape", "train", "test", "bisected")
    }  # fmt: skip
    norm = at(result, "norm", "exercise", printed_step=AT[-1])
    return Evidence(
        {
            "angle below 1°": below(here["angle"], ANGLE),
            "hard margin within 10 % of 0.6": below(np.abs(here["hard"] / HARD - 1), OFF),
            "95 % of the hard margin": above(here["margin"] / here["hard"], RATIO),
            "loss falls exponentially": above(here["loss_shape"], SHAPE),
            "norm grows exponentially": above(here["norm_shape"], SHAPE),
            "norm about 100 after 20,000 steps": above(norm, LENGTH),
            "all training points right": above(here["train"], ALL_RIGHT["train"]),
            "all test points right": above(here["test"], ALL_RIGHT["test"]),
            "the line halfway separates every draw": above(here["bisected"], ALWAYS),
        },
        reason="on draws that some line separates",
        details={
            "draws that some line separates": mean_ends(at(result, "separable", "exercise")),
            "decades of steps until the angle is 1°, median": float(
                np.nanmedian(at(result, "wait", "exercise"))
            ),
            "angle": mean_ends(here["angle"]),
            "norm after 20,000 steps": mean_ends(norm),
        },
    )


def printed(result: xr.Dataset) -> Evidence:
    """Hold what the script is said to print against what the same set-up gives."""
    made: dict[str, Comparison] = {
        "angle below 1°": below(at(result, "angle", "script"), ANGLE),
        "margin at least 99 % of the machine's": above(
            at(result, "margin", "script") / at(result, "hard", "script"), SAME_MARGIN
        ),
    }
    falls: dict[str, np.ndarray] = {}
    for name, words in (("loss", "fall of the loss"), ("norm", "growth of the norm")):
        first, last = (at(result, name, "script", printed_step=step) for step in (AT[0], AT[-1]))
        falls[words] = last / first
        said_ratio = PRINTED[name][-1] / PRINTED[name][0]
        made[f"{words} from 5,000 to 20,000 steps as printed"] = below(
            np.abs(np.log(falls[words] / said_ratio)), PRINTED_OFF
        )
    own: dict[str, Any] = {}
    for name, said in PRINTED.items():
        values = by_seed(result, "script", f"printed_{name}")[0]
        own[name] = {"printed": list(said), "the script's own seed gives": np.atleast_1d(values)}
    return Evidence(
        made,
        reason="|log ratio| to what is printed; the last line is said to be of step 20,000, which the loop "
        "of 20,000 steps never reaches",
        details={
            "the script as it is": own,
            "ratios from 5,000 to 20,000 steps": {
                words: mean_ends(v) for words, v in falls.items()
            },
            "as printed": {n: PRINTED[n][-1] / PRINTED[n][0] for n in ("loss", "norm")},
            "degrees between its machine and descent's limit": mean_ends(
                at(result, "limit", "script")
            ),
        },
    )
