"""Mini-batches of the run's own data: least squares on leading principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.studies.sgd_noise.draws import generator, slope_of_logs
from implicit_bias.studies.threads import one_thread
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

SAMPLINGS = ("with replacement", "without replacement")


@dataclass(frozen=True)
class GivenData(Experiment):
    """Exact covariances of mini-batch gradients and of stationary SGD, beside drawn batches and runs.

    Attributes:
        examples: Training examples of a seed.
        features: Principal components.
        batch: Examples of a batch.
        fraction: η over 2/max‖xᵢ‖², below which no batch takes weights further from a solution.
        chains: Runs beside each other.
        lengths: Relaxation times that are averaged over.
        batches: Batches drawn for the gradient's covariance.
    """

    examples: int
    features: int
    batch: int
    fraction: float
    chains: int
    lengths: float
    batches: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along, kind = ("component",), ("sampling",)
        return {
            "given_noise": Variable(kind, "1", "trace of the batch gradient's covariance at zero, drawn"),
            "given_noise_law": Variable(kind, "1", "the same, exactly"),
            "given_variance": Variable(along, "1", "variance of stationary SGD along eigenvectors of H"),
            "given_variance_law": Variable(along, "1", "the same, exactly"),
            "given_curvature": Variable(along, "1", "eigenvalues of H"),
            "given_exponent": Variable((), "1", "a in variance ∝ λ^a"),
            "given_white": Variable((), "1", "trace of S⁻¹ times the covariance of SGD over its size"),
            "given_shape": Variable((), "1", "correlation of entries of C and of H"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Components and ways of sampling."""
        return {"component": tuple(range(1, self.features + 1)), "sampling": SAMPLINGS}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Measure one seed's examples."""
        del lanes
        with one_thread():
            rng = generator(seed, 6)
            places = rng.permutation(len(pool.y_train))[: self.examples]
            x, y = prepared(pool.x_train, pool.y_train, places, self.features)
            return self._measure(x, y, rng)

    def _measure(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        m = len(y)
        curvatures = np.linalg.eigvalsh(x.T @ x / m)
        step = self.fraction * theory.safe_batch_step(x)
        exact = theory.least_squares_noise(x, y, step, self.batch, True)
        basis = np.linalg.eigh(exact.hessian)[1]
        z, left = x @ basis, y - x @ exact.minimum
        law = basis.T @ exact.stationary @ basis
        slow = 1 / (step * curvatures[0])
        skipped, kept = int(np.ceil(4 * slow)), int(np.ceil(self.lengths * slow))
        away, total = np.zeros((self.chains, self.features)), np.zeros((self.features,) * 2)
        for update in range(skipped + kept):
            rows = rng.integers(m, size=(self.chains, self.batch))
            part = z[rows]
            slope = np.matmul(part, away[:, :, None])[:, :, 0] - left[rows]
            away = away - step / self.batch * np.matmul(slope[:, None, :], part)[:, 0]
            if update >= skipped:
                total += away.T @ away
        seen = total / (kept * self.chains)
        gradients = -x * y[:, None]
        noise = basis.T @ exact.noise @ basis
        return {
            "given_noise": np.asarray([
                drawn_trace(gradients, self.batch, self.batches, kind == SAMPLINGS[0], rng)
                for kind in SAMPLINGS
            ]),
            "given_noise_law": np.asarray([
                np.trace(theory.batch_covariance(gradients, self.batch, kind == SAMPLINGS[0]))
                for kind in SAMPLINGS
            ]),
            "given_variance": np.diag(seen),
            "given_variance_law": np.diag(law),
            "given_curvature": curvatures,
            "given_exponent": np.asarray(slope_of_logs(curvatures, np.diag(seen))),
            "given_white": np.asarray(np.trace(np.linalg.solve(law, seen)) / self.features),
            "given_shape": np.asarray(
                np.sum(noise * np.diag(curvatures))
                / (np.linalg.norm(noise) * np.linalg.norm(curvatures))
            ),
        }  # fmt: skip


def prepared(
    inputs: Any, classes: Any, places: np.ndarray, features: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return principal components, of mean square 1 in all, and labels of ±1, of some examples.

    Labels say whether a class is odd, or follow the first output of a regression; both are centred.
    """
    x = np.asarray(inputs)[places].reshape(len(places), -1).astype(np.float64)
    left, values, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    scores = (left * values)[:, :features]
    scores = scores / np.sqrt(np.mean(np.sum(scores**2, axis=1)))
    targets = np.asarray(classes)[places]
    y = 2.0 * (targets % 2) - 1 if targets.ndim == 1 else targets[:, 0].astype(np.float64)
    return scores, y - y.mean()


def drawn_trace(
    gradients: np.ndarray, batch: int, batches: int, replacement: bool, rng: np.random.Generator
) -> float:
    """Return the trace of the covariance of drawn batches' mean gradients about the whole one's."""
    m = len(gradients)
    rows = (
        rng.integers(m, size=(batches, batch))
        if replacement
        else np.argsort(rng.random((batches, m)), axis=1)[:, :batch]
    )
    away = gradients[rows].mean(axis=1) - gradients.mean(axis=0)
    return float(np.mean(np.sum(away**2, axis=1)))


def check_given(dataset: Dataset, examples: int, features: int, batch: int) -> None:
    """Refuse data with which nothing can be measured.

    Raises:
        UserError: There are too few features, or a batch is no smaller than the training set.
    """
    width = int(np.prod(dataset.input_shape))
    most = min(width, examples - 1)
    if features > most:
        raise UserError(
            f"given.features is {features}, but {examples} examples of {width} inputs have at most {most} "
            f"principal components; choose at most {most}"
        )
    if batch >= examples:
        raise UserError(
            f"given.batch is {batch}, but a lane has {examples} examples; choose fewer than that"
        )
