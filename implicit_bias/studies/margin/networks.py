"""The normalised margin of homogeneous networks: two layers of ReLU without biases, by gradient descent.

``f(x) = Σ_j a_j max(0, w_j·x)`` is homogeneous of degree two in all weights θ: scaling them by s scales f by
s². So the margin that means anything is min_i y_i f(x_i)/‖θ‖². Along gradient flow on Σ exp(−y_i f(x_i)),
once the sum is below one, its smoothed version log(1/loss)/‖θ‖² never falls, and directions tend to points
that satisfy the optimality conditions of the largest margin.

References:
    K. Lyu, J. Li, *Gradient descent maximizes the margin of homogeneous neural networks*, ICLR 2020: theorems
    4.1 (monotone) and 4.4 (optimality conditions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.margin.checkpoints import GAINS, gain_share, pair_of
from implicit_bias.studies.margin.descents import log_spaced
from implicit_bias.studies.margin.designs import generator, ring
from implicit_bias.training.experiment import Variable

DIRECTIONS = 180
"""Around each point, in which its distance to the boundary is looked for."""

RADII = 60
"""Along each direction, before the crossing is bisected."""

FINE = 40
"""Checkpoints a decade of steps, of which pairs are chosen."""


class Network(NamedTuple):
    """Weights: ``inner`` (width, 2) and ``outer`` (width,)."""

    inner: np.ndarray
    outer: np.ndarray

    @property
    def square(self) -> float:
        """‖θ‖²."""
        return float(np.sum(self.inner**2) + np.sum(self.outer**2))


def outputs(network: Network, x: np.ndarray) -> np.ndarray:
    """Return f(x), shape (…), of inputs (…, 2)."""
    found: np.ndarray = np.maximum(x @ network.inner.T, 0.0) @ network.outer
    return found


def initial(rng: np.random.Generator, width: int, scale: float) -> Network:
    """Draw He's initial weights, scaled."""
    inner = rng.standard_normal((width, 2)) * scale
    outer = rng.standard_normal(width) * scale * np.sqrt(2 / width)
    return Network(inner, outer)


def gradient(network: Network, x: np.ndarray, y: np.ndarray) -> tuple[Network, np.ndarray]:
    """Return the gradient of log(1/Σ exp(−y f)) and the margins y f.

    It is Σ q_i ∇(y_i f(x_i)) with q = softmax(−y f): the gradient of the loss over the loss.
    """
    hidden = x @ network.inner.T
    active = np.maximum(hidden, 0.0)
    margins = y * (active @ network.outer)
    q = np.exp(margins.min() - margins)
    pull = q / q.sum() * y
    on = (hidden > 0) * pull[:, None]
    return Network((on.T @ x) * network.outer[:, None], pull @ active), margins


def smoothed(margins: np.ndarray) -> float:
    """Return log(1/Σ exp(−m))."""
    least = margins.min()
    return float(least - np.log(np.exp(least - margins).sum()))


def boundary_distance(network: Network, x: np.ndarray, y: np.ndarray) -> float:
    """Return the smallest distance of a training point to a point that is classified otherwise.

    Looked for along directions and radii up to the point's own length, where the origin, with f = 0, always
    ends the search; then bisected. Its error is below (π/directions)²/2 of itself, upwards.

    Args:
        network: Weights.
        x: Training points that are classified rightly, shape (n, 2).
        y: Labels −1 or 1.
    """
    turn = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    rays = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    best = float(np.linalg.norm(x, axis=1).min())
    for point, label in zip(x, y, strict=True):
        along = np.linspace(0, best, RADII + 1)[1:]
        places = point[None, None, :] + along[None, :, None] * rays[:, None, :]
        wrong = label * outputs(network, places) <= 0
        hit = np.flatnonzero(wrong.any(axis=1))
        if not hit.size:
            continue
        first = np.argmax(wrong[hit], axis=1)
        high, low = along[first], along[first] - along[0]
        for _ in range(40):
            middle = (low + high) / 2
            there = point[None, :] + middle[:, None] * rays[hit]
            crossed = label * outputs(network, there) <= 0
            high, low = np.where(crossed, middle, high), np.where(crossed, low, middle)
        best = min(best, float(high.min()))
    return best


@dataclass(frozen=True)
class Homogeneous(Drawn):
    """Networks trained long after they classify all points of the plane rightly.

    Steps are c/‖θ‖² along the gradient over the loss: the change of direction in a step then neither grows
    nor dies out as weights grow, and the loss goes where floating-point numbers end.

    Attributes:
        examples: Training points.
        width: Hidden units.
        starts: Starts on the same points.
        scale: Size of initial weights, in units of He's.
        count: Steps.
        step: c.
    """

    examples: int
    width: int
    starts: int
    scale: float
    count: int
    step: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along, once = ("network_start", "network_steps"), ("network_start",)
        return {
            "network_margin": Variable(along, "1", "smallest margin over ‖θ‖²"),
            "network_smoothed": Variable(along, "1", "log(1/loss) over ‖θ‖²"),
            "network_raw": Variable(along, "1", "smallest margin"),
            "network_norm": Variable(along, "1", "‖θ‖"),
            "network_alignment": Variable(along, "1", "1 − cosine of θ and the gradient"),
            "network_fall": Variable(
                once, "1", "largest fall of the smoothed margin in a step once the loss is below one, over "
                "its last value",
            ),
            "network_fitted": Variable(once, "steps", "first step with all points right"),
            "network_balance": Variable(
                once, "1", "largest ||w_j|² − a_j²| of a unit over the largest |w_j|², at the end"
            ),
            "network_share": Variable(
                ("gain",), "1", "logarithm of the rise of the distance to the boundary, over that of the "
                "margin, between two checkpoints; mean over starts",
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Starts, steps, and kinds of checkpoints."""
        return {
            "network_start": tuple(range(self.starts)),
            "network_steps": log_spaced(10, self.count, 4),
            "gain": tuple(GAINS),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Train all starts of one seed."""
        rng = generator(seed, 4)
        x, y = ring(rng, self.examples)
        found = [
            self._trained(initial(rng, self.width, self.scale), x, y) for _ in range(self.starts)
        ]
        stacked = {name: np.asarray([one[name] for one in found]) for name in self.variables}
        return stacked | {"network_share": np.mean(stacked["network_share"], axis=0)}

    def _trained(self, network: Network, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        recorded, snapshots = (set(log_spaced(10, self.count, n)) for n in (4, FINE))
        rows: list[tuple[float, ...]] = []
        kept: list[Network] = []
        fall, before, fitted, soft = 0.0, -np.inf, np.nan, np.nan
        for k in range(self.count + 1):
            slope, margins = gradient(network, x, y)
            square, least = network.square, float(margins.min())
            soft = smoothed(margins) / square
            if least > 0 and np.isnan(fitted):
                fitted = float(k)
            if soft > 0:
                fall, before = max(fall, before - soft), soft
            if k in snapshots and least > 0:
                kept.append(network)
            if k in recorded:
                inner = float(np.sum(slope.inner * network.inner) + slope.outer @ network.outer)
                cosine = inner / np.sqrt(slope.square * square)
                rows.append((least / square, soft, least, np.sqrt(square), 1 - cosine))
            if k < self.count:
                rate = self.step / square
                network = Network(
                    network.inner + rate * slope.inner, network.outer + rate * slope.outer
                )
        names = ("margin", "smoothed", "raw", "norm", "alignment")
        squares = np.sum(network.inner**2, axis=1)
        columns = np.asarray(rows).T
        return {f"network_{name}": column for name, column in zip(names, columns, strict=True)} | {
            "network_fall": fall / soft,
            "network_fitted": fitted,
            "network_balance": np.abs(squares - network.outer**2).max() / squares.max(),
            "network_share": _shares(kept, x, y),
        }


def _shares(kept: list[Network], x: np.ndarray, y: np.ndarray) -> list[float]:
    """Compare pairs of checkpoints."""
    raw = np.asarray([float((y * outputs(one, x)).min()) for one in kept])
    over = raw / np.asarray([one.square for one in kept])
    shares = []
    for measure, late in GAINS.values():
        values = raw if measure == "raw" else over
        pair = pair_of(values, late)
        if pair is None:
            shares.append(np.nan)
            continue
        distances = [boundary_distance(kept[place], x, y) for place in pair]
        shares.append(gain_share(distances, values[list(pair)]))
    return shares
