"""Two checkpoints of one path: does a larger margin mean that the boundary moved away?

The share is log(distance₂/distance₁)/log(margin₂/margin₁): 1 where the distance to the boundary grows as the
margin does, 0 where it stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.margin.designs import DECADE, generator, separable_blobs
from implicit_bias.training.experiment import Variable

PUBLISHED = (0.12, 0.21)
"""The document's margins at two epochs."""

RISE = PUBLISHED[1] / PUBLISHED[0]
"""What it is multiplied by."""

GAINS: dict[str, tuple[str, bool]] = {
    "margin from 0.12 to 0.21": ("raw", False),
    "margin, late": ("raw", True),
    "margin over weights' norm": ("normalised", True),
}
"""Which margin rises between the checkpoints, and whether they are the last two that differ so."""


def pair_of(values: np.ndarray, late: bool) -> tuple[int, int] | None:
    """Choose two checkpoints between which values rise as published.

    Args:
        values: At checkpoints in order, shape (n,).
        late: The last checkpoint, and the last before it that is lower by the published factor; otherwise the
            first ones that reach the published values.

    Returns:
        Their places, or None where there are none.
    """
    if not values.size:
        return None
    if late:
        lower = np.flatnonzero((values > 0) & (values <= values[-1] / RISE))
        return (int(lower[-1]), len(values) - 1) if lower.size else None
    reached = [np.flatnonzero(values >= bound) for bound in PUBLISHED]
    if not all(found.size for found in reached) or reached[0][0] == reached[1][0]:
        return None
    return int(reached[0][0]), int(reached[1][0])


def gain_share(
    distances: Sequence[float] | np.ndarray, margins: Sequence[float] | np.ndarray
) -> float:
    """Return log(distance₂/distance₁)/log(margin₂/margin₁)."""
    return float(np.log(distances[1] / distances[0]) / np.log(margins[1] / margins[0]))


@dataclass(frozen=True)
class LinearCheckpoints(Drawn):
    """Pairs of checkpoints along gradient flow of a linear classifier of the plane.

    Pairs of margins are of the path from zero; those of the normalised margin of a path from afar, whose
    boundary has a long way to go. The distance is that of the nearest training point to the line.

    Attributes:
        examples: Of each class of the same data that flow follows.
        distance: Of the classes' means from the origin.
        far: Length of the far start.
    """

    examples: int
    distance: float
    far: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        what = "logarithm of the rise of the distance to the boundary, over that of the margin"
        return {
            "linear_share": Variable(("gain",), "1", f"{what}, between two checkpoints"),
            "linear_rise": Variable(("gain",), "1", "rise of the distance, a factor"),
            "linear_scaled": Variable(
                (), "1", "the same share where all weights are multiplied by the published factor"
            ),
            "linear_gain": Variable((), "1", "relative gain of the margin there"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Kinds of checkpoints."""
        return {"gain": tuple(GAINS)}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Follow one seed's paths."""
        rng = generator(seed)
        z = separable_blobs(rng, self.examples, self.distance).signed
        away = rng.standard_normal((z.shape[1],))
        away = self.far * away / np.linalg.norm(away)
        times = np.linspace(-5, 9, 700) * DECADE
        paths = {late: theory.flow_path(z, times, start=start)
                 for late, start in (("raw", None), ("normalised", away))}  # fmt: skip
        shares: list[float] = []
        rises: list[float] = []
        for measure, late in GAINS.values():
            path = paths[measure]
            raw = (path @ z.T).min(axis=1)
            values = raw if measure == "raw" else theory.margins_in(z, path)
            distances = raw / np.linalg.norm(path[:, :-1], axis=1)
            pair = pair_of(values, late)
            if pair is None:
                shares.append(np.nan)
                rises.append(np.nan)
                continue
            shares.append(gain_share(distances[list(pair)], values[list(pair)]))
            rises.append(float(distances[pair[1]] / distances[pair[0]]))
        last = paths["raw"][-1]
        both = np.stack([last, RISE * last])
        raw = (both @ z.T).min(axis=1)
        scaled = gain_share(raw / np.linalg.norm(both[:, :-1], axis=1), raw)
        return {
            "linear_share": np.asarray(shares),
            "linear_rise": np.asarray(rises),
            "linear_scaled": np.asarray(scaled),
            "linear_gain": np.asarray(raw[1] / raw[0] - 1),
        }
