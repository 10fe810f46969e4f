"""Least squares on random ReLU features of the data: double descent where the minimum is known exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from implicit_bias.keys import role_generator
from implicit_bias.studies.threads import one_thread
from implicit_bias.training import Lane, Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

FITS = ("ridgeless", "best ridge")
"""Least squares of minimum norm, and with the penalty of least validation loss."""

NEGLIGIBLE = 1e-12
"""Singular values up to this, relative to the largest, count as zero."""

SMALL = 400
"""Up to so many features, or examples, are fitted on one thread."""


@dataclass(frozen=True)
class RandomFeatures(Experiment):
    """Fits of random features to the examples of a seed's networks, noisy labels included.

    Features are ``max(0, wᵀx)/√N`` with w uniform on the sphere; more features add to fewer. Outputs are
    linear in them, one for each class, with one-hot targets.

    Attributes:
        sizes: Numbers of features, increasing.
        ridges: Penalties tried, times the number of examples in ``‖Φw − y‖² + nλ‖w‖²``.
        outputs: Classes.
        label_noise: Of the networks whose examples are used.
        present: Whether anything is done; if not, values are NaN.

    References:
        M. Belkin et al., PNAS 116 (2019); A. Rahimi and B. Recht, NIPS 2007.
    """

    sizes: tuple[int, ...]
    ridges: tuple[float, ...]
    outputs: int
    label_noise: float
    present: bool = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("feature_fit", "feature_count")
        return {
            "feature_test_loss": Variable(dims, "½‖·‖²", "test loss of the fit, ½‖f − y‖²"),
            "feature_test_error": Variable(dims, "fraction", "test error of the fit"),
            "feature_train_loss": Variable(dims, "½‖·‖²", "training loss of the fit"),
            "feature_norm": Variable(dims, "1", "norm of the fitted weights"),
            "feature_examples": Variable((), "examples", "training examples"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Fits and numbers of features."""
        return {"feature_fit": FITS, "feature_count": self.sizes}

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose a network of the noisiest labels, for its examples."""
        if not self.present:
            return {}
        for lane in lanes:
            if lane.tags.get("arm") == "width" and lane.values["label_noise"] == self.label_noise:
                return {"examples": lane}
        raise KeyError("no lane of arm width has the highest label noise")

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Fit the features of one seed."""
        shape = (len(FITS), len(self.sizes))
        names = list(self.variables)[:-1]
        if not self.present:
            return {**{name: np.full(shape, np.nan) for name in names}, "feature_examples": np.nan}
        examples = lanes["examples"].examples
        x, x_valid, x_test = (
            np.asarray(part, np.float64).reshape(len(part), -1)
            for part in (pool.x_train[examples.train], pool.x_train[examples.valid], pool.x_test)
        )
        y, y_valid, y_test = (
            np.eye(self.outputs)[np.asarray(labels)]
            for labels in (examples.targets, pool.y_train[examples.valid], pool.y_test)
        )
        rng = role_generator(seed, "probe")
        directions = rng.normal(size=(self.sizes[-1], x.shape[1]))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        found = {name: np.full(shape, np.nan) for name in names}
        for place, size in enumerate(self.sizes):
            features, valid, test = (
                np.maximum(part @ directions[:size].T, 0) / np.sqrt(size)
                for part in (x, x_valid, x_test)
            )
            # Threads would wait for each other longer than small matrices take.
            solve = one_thread()(least_squares) if min(features.shape) < SMALL else least_squares
            fits = solve(features, y, (0.0, *(len(x) * ridge for ridge in self.ridges)))
            best = int(np.argmin([half_square(valid @ fit - y_valid) for fit in fits]))
            for row, fit in enumerate((fits[0], fits[best])):
                outputs = test @ fit
                wrong = outputs.argmax(axis=1) != y_test.argmax(axis=1)
                values = (half_square(outputs - y_test), wrong.mean(),
                          half_square(features @ fit - y), np.linalg.norm(fit))  # fmt: skip
                for name, value in zip(names, values, strict=True):
                    found[name][row, place] = value
        return {**found, "feature_examples": np.float64(len(x))}


def least_squares(features: np.ndarray, y: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Minimise ``‖Φw − y‖² + penalty·‖w‖²`` for several penalties; 0 gives the solution of least norm.

    Args:
        features: Φ, shape (n, N).
        y: Targets, shape (n, k).
        penalties: Not negative.

    Returns:
        Weights, shape (penalties, N, k).
    """
    u, s, vt = scipy.linalg.svd(features, full_matrices=False)
    kept = s > NEGLIGIBLE * s[0]
    projected = u.T @ y
    found = []
    for penalty in penalties:
        scale = np.where(kept, s / np.where(kept, s**2 + penalty, 1.0), 0.0)
        found.append(vt.T @ (scale[:, None] * projected))
    return np.stack(found)


def half_square(residual: np.ndarray) -> float:
    """Return the mean over examples of ½‖residual‖²."""
    return float(0.5 * np.mean(np.sum(residual**2, axis=1)))
