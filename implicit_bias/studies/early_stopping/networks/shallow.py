"""Two-layer ReLU networks of one input, in double precision: outputs, gradient descent, exact fits.

Axes before those that are named (``…``) hold several networks that are trained side by side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Shallow(NamedTuple):
    """f(x) = Σ_j outer_j max(0, inner_j0 x + inner_j1) + offset.

    Attributes:
        inner: Slopes and biases of the hidden units, shape (…, width, 2).
        outer: Shape (…, width).
        offset: The output's bias, shape (…).
    """

    inner: np.ndarray
    outer: np.ndarray
    offset: Any

    @property
    def norms(self) -> tuple[float, float]:
        """‖W_1‖ and ‖W_2‖ of a single network, without biases."""
        return float(np.linalg.norm(self.inner[:, 0])), float(np.linalg.norm(self.outer))


def raised(x: np.ndarray) -> np.ndarray:
    """Return inputs (…, n) with a row of ones below, shape (…, 2, n)."""
    return np.stack([x, np.ones_like(x)], axis=-2)


def outputs(net: Shallow, x: np.ndarray) -> np.ndarray:
    """Return f at x of shape (…, n)."""
    hidden = np.maximum(net.inner @ raised(x), 0)
    found: np.ndarray = (net.outer[..., None, :] @ hidden)[..., 0, :] + np.asarray(net.offset)[
        ..., None
    ]
    return found


def half_squares(net: Shallow, x: np.ndarray, y: np.ndarray) -> Any:
    """Return (1/2n) Σ (f(x_i) − y_i)², shape (…)."""
    return 0.5 * np.mean((outputs(net, x) - y) ** 2, axis=-1)


def small_start(rng: np.random.Generator, width: int, deviation: float) -> Shallow:
    """Draw all parameters from N(0, deviation²)."""
    inner, outer = rng.standard_normal((width, 2)), rng.standard_normal(width)
    return Shallow(deviation * inner, deviation * outer, deviation * float(rng.standard_normal()))


def uniform_start(rng: np.random.Generator, width: int) -> Shallow:
    """Draw PyTorch's default: uniform within ±1/√fan-in, weights and biases."""
    inner, outer = rng.uniform(-1, 1, (width, 2)), rng.uniform(-1, 1, width + 1) / np.sqrt(width)
    return Shallow(inner, outer[:-1], float(outer[-1]))


def descend(
    net: Shallow,
    x: np.ndarray,
    y: np.ndarray,
    step_size: float,
    updates: int,
    *,
    penalty: float = 0.0,
    orders: np.ndarray | None = None,
) -> Shallow:
    """Run gradient descent on :func:`half_squares` plus λ(‖W_1‖² + ‖W_2‖²).

    Args:
        net: Where from; left as it is.
        x: Inputs, shape (…, n).
        y: Targets, shape (…, n).
        step_size: Step size; negative climbs.
        updates: How many.
        penalty: λ; biases are not penalised.
        orders: Rows of each update, shape (updates, batch); all rows where it is None.

    Returns:
        The network after the updates. Where they diverge its numbers are not finite.
    """
    inner, outer, offset = net.inner, net.outer, np.asarray(net.offset)
    points, targets, n = raised(x), y, x.shape[-1]
    with np.errstate(over="ignore", invalid="ignore"):
        for update in range(updates):
            if orders is not None:
                rows = orders[update]
                points, targets, n = raised(x[..., rows]), y[..., rows], rows.size
            hidden = np.maximum(inner @ points, 0)
            said = (outer[..., None, :] @ hidden)[..., 0, :] + offset[..., None]
            residual = (said - targets) * (step_size / n)
            back = outer[..., :, None] * residual[..., None, :]
            slopes = np.where(hidden > 0, back, 0.0) @ np.swapaxes(points, -1, -2)
            if penalty:
                slopes[..., 0] += 2 * step_size * penalty * inner[..., 0]
                outer = (1 - 2 * step_size * penalty) * outer
            outer = outer - (hidden @ residual[..., :, None])[..., 0]
            offset = offset - residual.sum(axis=-1)
            inner = inner - slopes
    return Shallow(inner, outer, offset)


def interpolator(x: np.ndarray, y: np.ndarray, width: int) -> Shallow:
    """Return a network that goes through all points: their piecewise linear interpolation.

    Unit j bends at the j-th point from the left, by the change of slope there.

    Args:
        x: Different inputs, shape (n,), n ≥ 2.
        y: Targets, shape (n,).
        width: Hidden units, n − 1 at least; those beyond are zero.
    """
    order = np.argsort(x)
    left, slopes = x[order][:-1], np.diff(y[order]) / np.diff(x[order])
    inner, outer = np.zeros((width, 2)), np.zeros(width)
    inner[: left.size] = np.stack([np.ones_like(left), -left], axis=1)
    outer[: left.size] = np.diff(slopes, prepend=0.0)
    return Shallow(inner, outer, float(y[order][0]))
