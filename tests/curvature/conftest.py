"""Matrices with known spectra, shared by the tests of this room."""

from __future__ import annotations

import numpy as np
import pytest

DIMENSION = 24


def _spectra() -> dict[str, np.ndarray]:
    d = DIMENSION
    bulk = np.random.default_rng(5).uniform(0, 1, d)
    return {
        "spread": np.linspace(0.1, 5, d),
        "clustered": np.concatenate([2 + 1e-2 * np.arange(6), bulk[6:]]),
        "indefinite, negative dominates": np.concatenate([[-9, -7], bulk[4:], [3, 4]]),
        "indefinite, nearly balanced": np.concatenate([[-4.01], bulk[3:] - 0.5, [2, 4]]),
        "negative definite": -np.linspace(1, 3, d),
        "rank deficient": np.concatenate([np.zeros(d - 3), [1, 2, 5]]),
        "repeated": np.concatenate([np.ones(d - 6), [3, 4, 4, 5, 5, 5]]),
        "one eigenvalue": np.full(d, 2.0),
        "zero": np.zeros(d),
        "tiny": 1e-12 * np.linspace(1, 2, d),
    }


SPECTRA = {name: np.sort(values) for name, values in _spectra().items()}


def symmetric(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return a dense symmetric matrix with the given eigenvalues."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(len(values), len(values))))[0]
    matrix = (basis * values[None, :]) @ basis.T
    return (matrix + matrix.T) / 2


@pytest.fixture(params=list(SPECTRA))
def spectrum(request: pytest.FixtureRequest) -> np.ndarray:
    """Ascending eigenvalues of each kind of trouble."""
    return SPECTRA[request.param]


@pytest.fixture
def with_spectrum():
    """Return the maker of matrices with given eigenvalues."""
    return symmetric
