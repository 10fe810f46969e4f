"""Draws of the study, each experiment's own, and covariances of many runs at once."""

from __future__ import annotations

import numpy as np

from implicit_bias.keys import role_generator


def generator(seed: int, draw: int) -> np.random.Generator:
    """Return the generator of one experiment of one seed; others' draws do not depend on it."""
    return role_generator(seed, "gradient_noise", draw)


def orthogonal(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a rotation or reflection, (size, size)."""
    return np.asarray(np.linalg.qr(rng.standard_normal((size, size)))[0])


def root_of(covariance: np.ndarray) -> np.ndarray:
    """Return the symmetric square root of a covariance, of any rank."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)


def slope_of_logs(x: np.ndarray, y: np.ndarray) -> float:
    """Return a in y ∝ x^a by least squares of logarithms; both (k,), positive."""
    across = np.log(x) - np.log(x).mean()
    return float(across @ np.log(y) / (across @ across))
