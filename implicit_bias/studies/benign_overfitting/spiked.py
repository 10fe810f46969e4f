"""Minimum-norm interpolation where few directions carry the signal: risks given the inputs, without error.

Inputs are ``x = Λ^(1/2) z`` with z standard normal; Λ has k spikes and a tail of N equal eigenvalues. Targets
are ``y = xᵀθ + σε`` with θ among the spikes. All that the minimum-norm interpolator X⁺y needs of the tail is
its Gram matrix, a Wishart matrix, which is drawn as such: a tail of a million directions costs no more than
one of a hundred.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Spectrum(NamedTuple):
    """Eigenvalues of the inputs' covariance, and what the targets are.

    Attributes:
        spikes: Eigenvalues of the spikes, (k,).
        signal: θ along the spikes, (k,).
        tail: Number of tail directions: none, or at least as many as there are examples.
        tail_value: Eigenvalue of each tail direction.
        noise: Standard deviation σ of the targets' noise.
    """

    spikes: np.ndarray
    signal: np.ndarray
    tail: int
    tail_value: float
    noise: float

    @property
    def eigenvalues(self) -> np.ndarray:
        """All eigenvalues, decreasing."""
        every = np.concatenate([self.spikes, np.full(self.tail, self.tail_value)])
        return np.sort(every)[::-1]


class Risks(NamedTuple):
    """Draw by draw, what the interpolator costs; arrays (draws,).

    Attributes:
        bias: Excess risk of the noiseless fit.
        variance: Excess risk that the noise adds, its expectation given the inputs.
        norm: ‖X⁺y‖, root mean square over the noise.
        training: Mean squared training error of a fit to noisy targets.
    """

    bias: np.ndarray
    variance: np.ndarray
    norm: np.ndarray
    training: np.ndarray

    @property
    def excess(self) -> np.ndarray:
        """Test loss less the noise that no predictor avoids."""
        return self.bias + self.variance


def wishart(rng: np.random.Generator, draws: int, size: int, freedom: int) -> np.ndarray:
    """Draw Gram matrices ``Z Zᵀ`` of ``size × freedom`` normal matrices by Bartlett's decomposition.

    Args:
        rng: Generator.
        draws: How many.
        size: Rows of Z.
        freedom: Columns of Z, at least as many.

    Returns:
        Shape (draws, size, size).

    Raises:
        ValueError: There are fewer columns than rows.

    References:
        Bartlett, *On the theory of statistical regression* (1933).
    """
    if freedom < size:
        raise ValueError(f"a {size} × {freedom} matrix has a singular Gram matrix")
    lower = np.tril(rng.standard_normal((draws, size, size)), -1)
    place = np.arange(size)
    lower[:, place, place] = np.sqrt(rng.chisquare(freedom - place, (draws, size)))
    return lower @ lower.transpose(0, 2, 1)


def risks(rng: np.random.Generator, spectrum: Spectrum, examples: int, draws: int) -> Risks:
    """Return the risks of the minimum-norm least-squares fit on fresh inputs, draw by draw.

    Without a tail there are fewer directions than examples and the fit is ordinary least squares, which
    interpolates nothing.

    Args:
        rng: Generator.
        spectrum: Covariance, signal and noise.
        examples: Training examples m, more than spikes.
        draws: Training sets.
    """
    features = rng.standard_normal((draws, examples, len(spectrum.spikes))) * np.sqrt(
        spectrum.spikes
    )
    noiseless = features @ spectrum.signal
    noise = spectrum.noise * rng.standard_normal((draws, examples))
    if not spectrum.tail:
        return _least_squares(spectrum, features, noise)
    tail = spectrum.tail_value * wishart(rng, draws, examples, spectrum.tail)
    gram = features @ features.transpose(0, 2, 1) + tail
    inverse = np.linalg.inv(gram)
    dual = _times(inverse, noiseless)
    missed = spectrum.signal - _times(features.transpose(0, 2, 1), dual)
    # XΛXᵀ: the spikes' part and λ times the tail's Gram matrix.
    weighted = (features * spectrum.spikes) @ features.transpose(
        0, 2, 1
    ) + spectrum.tail_value * tail
    targets = noiseless + noise
    left = targets - _times(gram, _times(inverse, targets))
    return Risks(
        bias=missed**2 @ spectrum.spikes + spectrum.tail_value * np.sum(dual * _times(tail, dual), axis=1),
        variance=spectrum.noise**2 * np.sum((inverse @ weighted) * inverse, axis=(1, 2)),
        norm=np.sqrt(
            np.sum(noiseless * dual, axis=1)
            + spectrum.noise**2 * np.trace(inverse, axis1=1, axis2=2)
        ),
        training=np.mean(left**2, axis=1),
    )  # fmt: skip


def _least_squares(spectrum: Spectrum, features: np.ndarray, noise: np.ndarray) -> Risks:
    """Return the risks where all directions are spikes, fewer than examples."""
    inverse = np.linalg.inv(features.transpose(0, 2, 1) @ features)
    error = _times(inverse, _times(features.transpose(0, 2, 1), noise))
    spread = spectrum.noise**2 * np.diagonal(inverse, axis1=1, axis2=2)
    return Risks(
        bias=np.zeros(len(noise)),
        variance=spread @ spectrum.spikes,
        norm=np.sqrt(np.sum(spectrum.signal**2) + spread.sum(axis=1)),
        training=np.mean((noise - _times(features, error)) ** 2, axis=1),
    )


def _times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Multiply draw by draw: (draws, a, b) by (draws, b)."""
    return np.einsum("dab,db->da", matrices, vectors)
