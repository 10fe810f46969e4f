"""Training sets drawn and solved: what laws are held against."""

from __future__ import annotations

import numpy as np


def excess_risks(
    rng: np.random.Generator,
    draws: int,
    theta: np.ndarray,
    used: int,
    examples: int,
    sigma: float,
    spectrum: np.ndarray | None = None,
) -> np.ndarray:
    """Excess test errors of minimum-norm least squares on the first features, shape (draws,).

    By NumPy's pseudo-inverse-free normal equations; features left out count as error.
    """
    scale = np.ones(theta.size) if spectrum is None else np.sqrt(spectrum)
    x = rng.standard_normal((draws, examples, theta.size)) * scale
    y = x @ theta + sigma * rng.standard_normal((draws, examples))
    part = x[:, :, :used]
    flip = np.swapaxes(part, 1, 2)
    if used <= examples:
        w = np.linalg.solve(flip @ part, flip @ y[:, :, None])
    else:
        w = flip @ np.linalg.solve(part @ flip, y[:, :, None])
    missed = scale[:used] * (w[:, :, 0] - theta[:used])
    outside = np.sum((scale[used:] * theta[used:]) ** 2)
    return np.sum(missed**2, axis=1) + outside
