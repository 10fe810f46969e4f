"""Many runs of SGD on quadratics, long enough to be stationary, beside what laws say of their covariance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.sgd_noise.draws import generator, orthogonal, root_of, slope_of_logs
from implicit_bias.training.experiment import Variable

SPECTRUM = (1.0, 1.5, 2.2, 3.0)
"""Curvatures where noise is added to gradients."""

EXAMPLES = 12
"""Examples of the least squares whose mini-batches are drawn."""

LABEL_NOISE = 0.5
"""Standard deviation of labels that are drawn afresh."""


class Case(NamedTuple):
    """A quadratic, its noise, and how SGD is run on it.

    Attributes:
        kind: Covariance C₁ of one example's gradient: ``identity``, ``hessian``, ``other`` (commutes with
            nothing), ``line`` (rank one); or mini-batches of least squares: ``replaced``, ``unreplaced``,
            ``labels`` (all labels fitted, and drawn afresh).
        batch: B: C = C₁/B, or examples of a batch.
        fraction: ηλmax.
    """

    kind: str
    batch: int
    fraction: float


CASES: dict[str, Case] = {
    "C = I": Case("identity", 1, 0.04),
    "C = I/16": Case("identity", 16, 0.04),
    "C = I, large steps": Case("identity", 1, 1.5),
    "C = H": Case("hessian", 1, 0.04),
    "C = H/8, large steps": Case("hessian", 8, 1.5),
    "C not commuting": Case("other", 1, 0.04),
    "C not commuting, large steps": Case("other", 4, 1.2),
    "C of rank one": Case("line", 1, 0.6),
    "one example, replaced": Case("replaced", 1, 0.2),
    "three examples, not replaced": Case("unreplaced", 3, 0.6),
    "fitted, labels drawn afresh": Case("labels", 3, 0.3),
}
"""What is run."""

SMALL_STEPS = tuple(name for name, case in CASES.items() if case.fraction < 0.1)
"""Cases in which an equation in continuous time is asked for."""


class Setup(NamedTuple):
    """A case made ready, in the eigenbasis of its Hessian.

    Attributes:
        curvatures: λ, increasing, (4,).
        noise: C at the minimum, (4, 4).
        step: η.
        law: Covariance that SGD keeps, exactly, (4, 4).
        advance: From a generator and deviations, (chains, 4), to those after an update.
    """

    curvatures: np.ndarray
    noise: np.ndarray
    step: float
    law: np.ndarray
    advance: Callable[[np.random.Generator, np.ndarray], np.ndarray]


def set_up(case: Case) -> Setup:
    """Return a case's quadratic, the same for all seeds."""
    return _added(case) if case.kind in ("identity", "hessian", "other", "line") else _drawn(case)


def _added(case: Case) -> Setup:
    curvatures = np.asarray(SPECTRUM)
    fixed, size = np.random.default_rng(8), len(SPECTRUM)
    turn = orthogonal(fixed, size)
    one = {
        "identity": np.eye(size),
        "hessian": np.diag(curvatures),
        "other": (turn * [0.1, 0.5, 1.0, 4.0]) @ turn.T,
        "line": np.ones((size, size)),
    }[case.kind]
    noise, step = one / case.batch, case.fraction / curvatures[-1]
    root, keep = root_of(noise), 1 - step * curvatures

    def advance(rng: np.random.Generator, away: np.ndarray) -> np.ndarray:
        return np.asarray(away * keep - step * rng.standard_normal(away.shape) @ root)

    law = theory.stationary_covariance(np.diag(curvatures), noise, step)
    return Setup(curvatures, noise, step, law, advance)


def _drawn(case: Case) -> Setup:
    fixed = np.random.default_rng(9)
    x = fixed.standard_normal((EXAMPLES, len(SPECTRUM)))
    curvatures, basis = np.linalg.eigh(x.T @ x / EXAMPLES)
    x = x @ basis  # coordinates in which H is diagonal
    y = x @ fixed.standard_normal(len(SPECTRUM))
    fresh = LABEL_NOISE if case.kind == "labels" else 0.0
    if case.kind != "labels":
        y = y + fixed.standard_normal(EXAMPLES)
    step = case.fraction / curvatures[-1]
    exact = theory.least_squares_noise(x, y, step, case.batch, case.kind == "replaced", fresh)
    left = y - x @ exact.minimum
    # All batches of as many examples, equally likely.
    members = np.asarray(
        list(
            product(range(EXAMPLES), repeat=case.batch)
            if case.kind == "replaced"
            else combinations(range(EXAMPLES), case.batch)
        )
    )
    keep = np.stack([np.eye(len(SPECTRUM)) - step * x[b].T @ x[b] / case.batch for b in members])
    push = np.stack([step * x[b].T @ left[b] / case.batch for b in members])

    def advance(rng: np.random.Generator, away: np.ndarray) -> np.ndarray:
        place = rng.integers(len(members), size=len(away))
        moved = np.matmul(keep[place], away[:, :, None])[:, :, 0] + push[place]
        if fresh:
            labels = fresh * rng.standard_normal((len(away), case.batch))
            moved += step / case.batch * np.einsum("cb,cbn->cn", labels, x[members[place]])
        return np.asarray(moved)

    return Setup(curvatures, exact.noise, step, exact.stationary, advance)


def simulate(setup: Setup, rng: np.random.Generator, chains: int, lengths: float) -> np.ndarray:
    """Return the second moment about the minimum of runs that began there, (4, 4).

    Args:
        setup: What to run.
        rng: Its noise.
        chains: Runs beside each other.
        lengths: Relaxation times 1/(ηλmin) that are averaged over, after four of them.
    """
    slow = 1 / (setup.step * setup.curvatures[0])
    skipped, kept = int(np.ceil(4 * slow)), int(np.ceil(lengths * slow))
    away = np.zeros((chains, len(setup.curvatures)))
    total = np.zeros((len(setup.curvatures),) * 2)
    for update in range(skipped + kept):
        away = setup.advance(rng, away)
        if update >= skipped:
            total += away.T @ away
    return total / (kept * chains)


@dataclass(frozen=True)
class Stationary(Drawn):
    """Covariances of SGD, simulated, and what is said of them.

    Attributes:
        chains: Runs beside each other.
        lengths: Relaxation times that are averaged over.
    """

    chains: int
    lengths: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        case, square = ("noise_case",), ("noise_case", "row", "column")
        along = ("noise_case", "row")
        return {
            "white": Variable(square, "1", "S^(−1/2) times the covariance times S^(−1/2), S of the "
            "exact law"),
            "variance": Variable(along, "1", "variance along eigenvectors of H"),
            "variance_law": Variable(along, "1", "the same by the exact law"),
            "curvature": Variable(along, "1", "eigenvalues of H"),
            "root_error": Variable(case, "1", "distance of the equation's covariance with √η C^(1/2) "
            "dW, relative"),
            "written_error": Variable(case, "1", "the same with √η C dW"),
            "gibbs_error": Variable(case, "1", "largest |variance/(η/2λ) − 1| of a direction"),
            "variance_exponent": Variable(case, "1", "a in variance ∝ λ^a over directions"),
            "solution_ratio": Variable(case, "1", "trace of α tr(C) H⁻¹ over that of the covariance"),
            "validation_ratio": Variable(case, "1", "trace of α C H⁻¹ over that of the covariance"),
            "right_ratio": Variable(case, "1", "trace of the exact law over that of the covariance"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Cases and directions."""
        places = tuple(range(len(SPECTRUM)))
        return {"noise_case": tuple(CASES), "row": places, "column": places}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run all cases with one seed's noise."""
        found = [
            self._case(set_up(case), generator(seed, 100 + place))
            for place, case in enumerate(CASES.values())
        ]
        return {name: np.stack([one[name] for one in found]) for name in self.variables}

    def _case(self, setup: Setup, rng: np.random.Generator) -> dict[str, np.ndarray]:
        seen = simulate(setup, rng, self.chains, self.lengths)
        hessian, step, noise = np.diag(setup.curvatures), setup.step, setup.noise
        values, vectors = np.linalg.eigh(setup.law)
        whiten = (vectors / np.sqrt(values)) @ vectors.T
        ends = {
            "root": theory.process_covariance(hessian, step * noise),
            "written": theory.process_covariance(hessian, step * noise @ noise),
        }
        size, trace = np.linalg.norm(seen), np.trace(seen)
        variance = np.diag(seen)
        made: dict[str, Any] = {
            "white": whiten @ seen @ whiten,
            "variance": variance,
            "variance_law": np.diag(setup.law),
            "curvature": setup.curvatures,
            **{f"{name}_error": np.linalg.norm(end - seen) / size for name, end in ends.items()},
            "gibbs_error": np.abs(variance * 2 * setup.curvatures / step - 1).max(),
            "variance_exponent": slope_of_logs(setup.curvatures, variance),
            "solution_ratio": step * np.trace(noise) * np.sum(1 / setup.curvatures) / trace,
            "validation_ratio": step * np.sum(np.diag(noise) / setup.curvatures) / trace,
            "right_ratio": np.trace(setup.law) / trace,
        }
        return {name: np.asarray(value) for name, value in made.items()}
