"""Which arms a result of the lottery-ticket study has at which levels, and tables of them by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.studies.lottery_ticket.settings import ARMS
from implicit_bias.studies.rows import by_seed, require, values_of

if TYPE_CHECKING:
    import xarray as xr

STABILITY = "stability"
"""Stage of the comparison of runs in two orders of examples."""

OWN_LAYERS = ("ticket", "late-rewinding", "lr-rewinding", "random", "snip", "grasp", "synflow")
"""Arms with numbers of weights by layer of their own; all others have the ticket's."""


def arms_of(result: xr.Dataset) -> list[str]:
    """Return the arms that were run, without the runs that serve others."""
    there = set(result["arm"].values)
    return [arm for arm in ARMS if arm in there]


def levels_of(result: xr.Dataset, arm: str) -> np.ndarray:
    """Return the fractions of weights at which an arm was run, falling; the dense network's is 1."""
    return values_of(result, arm, "level")[::-1]


def table_levels(result: xr.Dataset) -> np.ndarray:
    """Return the levels at which all arms were run: 1, and those of the controls, falling.

    Without controls they are those of the tickets.
    """
    names = [arm for arm in arms_of(result) if arm not in ("dense", "ticket")]
    found = [levels_of(result, arm) for arm in names if levels_of(result, arm).size]
    # Others that are pruned in rounds have all of the tickets' levels; controls have the fewest.
    fewest = min(found, key=len) if found else levels_of(result, "ticket")
    return np.concatenate([[1.0], fewest])


def of_arm(result: xr.Dataset, arm: str, name: str, level: float) -> np.ndarray:
    """Return a quantity of an arm at a level by seed, shape (seeds, …); NaN for diverged or missing lanes.

    At level 1 every arm is the dense network.

    Raises:
        NotDecidable: The arm was not run at that level.
    """
    require(result, arm)
    if level == 1:
        arm = "dense"
    if not np.isclose(levels_of(result, arm), level).any():
        raise NotDecidable(f"arm {arm} was not run at {100 * level:g} % of the weights")
    return by_seed(result, arm, name, level=level)


def at_levels(result: xr.Dataset, arm: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels of an arm, 1 first, and a quantity there, shape (seeds, levels, …)."""
    levels = np.concatenate([[1.0], levels_of(result, arm)]) if arm != "dense" else np.ones(1)
    return levels, np.stack([of_arm(result, arm, name, float(level)) for level in levels], axis=1)
