"""Statements about quadratics and one-dimensional losses, computed exactly in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import optimizers
from implicit_bias.optimizers import Schedule
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

STEPS = 1000
"""Steps of gradient descent on the quadratics."""

SHOWN = tuple(range(0, 101, 5))
"""Steps at which two spectra of one condition number are compared."""

MANY_MEDIUM = np.concatenate([[100.0], np.full(18, 10.0), [1.0]])
FEW_LARGE = np.concatenate([[100.0], np.full(18, 1.01), [1.0]])
"""Spectra with κ = 100: many medium eigenvalues, and one large among small ones."""


def descend(diagonal: np.ndarray, start: np.ndarray, step: float, steps: int) -> np.ndarray:
    """Run gradient descent on ½ Σ aᵢ θᵢ², update by update.

    Args:
        diagonal: a, shape (d,).
        start: θ₀, shape (d,).
        step: Step size.
        steps: Updates.

    Returns:
        Iterates, shape (steps + 1, d).
    """
    path = [start]
    for _ in range(steps):
        path.append(path[-1] - step * diagonal * path[-1])
    return np.stack(path)


def loss_along(diagonal: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Return ½ Σ aᵢ θᵢ² of each iterate."""
    found: np.ndarray = 0.5 * (path**2) @ diagonal
    return found


def steps_until(losses: np.ndarray, level: float) -> float:
    """Return the first step at which the loss is at or below a level; NaN if there is none."""
    met = np.flatnonzero(losses <= level)
    return float(met[0]) if met.size else float("nan")


_SCALARS: dict[str, tuple[str, str]] = {
    "basin_sharp_loss_error": ("1", "W.3: ½ · 0.81ᵗ against the loss of diag(1, 10), t ≥ 1"),
    "basin_flat_loss_factor": ("1", "W.3: 0.99²ᵗ over the loss of diag(0.1, 0.1)"),
    "basin_sharp_axis": ("1", "W.3: axis of the larger eigenvalue of diag(1, 10)"),
    "basin_half_step_error": ("1", "W.3: 0.95ᵗ, 0.5ᵗ and 0.995ᵗ against iterates, α = 0.05"),
    "basin_oscillation": ("1", "W.3: |θ₂| after the last step, α = 0.2"),
    "basin_double_step_loss": ("1", "W.3: loss of diag(1, 10) after the last step, α = 0.2"),
    "basin_preconditioned_error": ("1", "W.3: (1 − α)ᵗ against preconditioned iterates"),
    "basin_steps_sharp": ("updates", "W.3: until the loss is a millionth, diag(1, 10), α = 0.1"),
    "basin_steps_flat": ("updates", "W.3: until the loss is a millionth, diag(0.1, 0.1), α = 0.1"),
    "basin_steps_flat_own": ("updates", "W.3: the same with the flat basin's own step, 1/λmax"),
    "basin_mixed_rate": ("1", "W.3: slowest factor at the best step, spectrum 0.001 to 100"),
    "spectra_condition_error": ("1", "A.18: difference of the condition numbers"),
    "spectra_largest_ratio": ("1", "A.18: largest ratio of the losses at one step"),
    "probe_arithmetic_error": ("1", "ml.1: 80, 240 and 3 against 2ΔL/‖δ‖² and its ratio"),
    "probe_own_error": ("1", "ml.1: 2ΔL/‖δ‖² against v·Hv"),
    "probe_over_mean": ("1", "ml.1: mean of λeff over random directions, over tr H / d"),
    "probe_over_lambda_max": ("1", "ml.1: mean of λeff over random directions, over λmax"),
    "probe_doubling_error": ("1", "ml.1: ΔL at twice the norm over ΔL, minus 4"),
    "probe_misranked": ("1", "ml.1: share of probes that call the checkpoint of larger λmax flatter"),
    "ascent_norm_error": ("1", "ml.2: ‖ε‖ − ρ, both ρ"),
    "ascent_factor_error": ("1", "ml.2: ε against 0.01 g and 0.02 g"),
    "directional_error": ("1", "curvature: v·Hv against Σ λᵢ (v·eᵢ)², and the extremes"),
    "directional_example_error": ("1", "curvature: diag(100, 1) along its axes"),
    "spectrum_example_error": ("1", "spectrum: κ of diag(100, 10, 1, 0.1), minus 1000"),
    "mixed_derivatives_gap": ("1", "spectrum: ∂x∂y − ∂y∂x at 0 of a loss that is not C²"),
    "flattening_quadratic": ("1", "B.17: change of λmax along descent on a quadratic"),
    "flattening_softplus": ("1", "B.17: share of steps that flatten log(1 + exp(−x)), x₀ > 0"),
    "flattening_loss_rises": ("1", "B.17: share of λmax-descent steps that raise log cosh"),
}  # fmt: skip


@dataclass(frozen=True)
class Quadratics(Experiment):
    """The statements, with random matrices of the seed where a matrix is not given.

    Attributes:
        dimension: Of random matrices.
        draws: Random directions.
    """

    dimension: int = 50
    draws: int = 2000

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        scalars = {name: Variable((), units, what) for name, (units, what) in _SCALARS.items()}
        return {
            **scalars,
            "spectra_loss": Variable(
                ("spectrum", "descent_step"), "1", "A.18: loss, relative to the first"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Spectra and steps."""
        return {"spectrum": ("many medium", "few large"), "descent_step": SHOWN}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Compute all statements."""
        rng = np.random.default_rng(seed)
        return {
            **basins(),
            **spectra(),
            **self._probes(rng),
            **ascent(rng),
            **self._directions(rng),
            **flattening(),
        }

    def _symmetric(self, rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
        turn = np.linalg.qr(rng.normal(size=(values.size, values.size)))[0]
        found: np.ndarray = (turn * values) @ turn.T
        return (found + found.T) / 2

    def _ways(self, rng: np.random.Generator) -> np.ndarray:
        ways = rng.normal(size=(self.draws, self.dimension))
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
        return ways

    def _probes(self, rng: np.random.Generator) -> dict[str, Any]:
        """Probe two checkpoints at random: the one with the larger λmax has the smaller trace."""
        spread = np.full(self.dimension, 10.0)
        peaked = np.concatenate([[100.0], np.full(self.dimension - 1, 1.0)])
        first, second = (self._symmetric(rng, values) for values in (spread, peaked))
        ways = self._ways(rng)
        radius = 0.01

        def effective(hessian: np.ndarray, size: float) -> np.ndarray:
            moved = size * ways
            rise = 0.5 * np.sum((moved @ hessian) * moved, axis=1)
            return 2 * rise / size**2

        a, b = effective(first, radius), effective(second, radius)
        own = np.sum((ways @ second) * ways, axis=1)
        doubled = effective(second, 2 * radius) * (2 * radius) ** 2 / (b * radius**2)
        published = np.array([80.0, 240.0, 3.0])
        computed = np.array([2 * 0.004 / 0.01**2, 2 * 0.012 / 0.01**2, 0.012 / 0.004])
        return {
            "probe_arithmetic_error": np.abs(computed - published).max(),
            "probe_own_error": np.abs(b - own).max(),
            "probe_over_mean": b.mean() / (np.trace(second) / self.dimension),
            "probe_over_lambda_max": b.mean() / np.linalg.eigvalsh(second)[-1],
            "probe_doubling_error": np.abs(doubled - 4).max(),
            "probe_misranked": np.mean(b < a),
        }

    def _directions(self, rng: np.random.Generator) -> dict[str, Any]:
        """Compare curvature along directions with the spectrum."""
        hessian = self._symmetric(rng, rng.normal(size=self.dimension))
        values, vectors = np.linalg.eigh(hessian)
        ways = self._ways(rng)
        along = np.sum((ways @ hessian) * ways, axis=1)
        expanded = ((ways @ vectors) ** 2) @ values
        ends = [vectors[:, at] @ hessian @ vectors[:, at] - values[at] for at in (0, -1)]
        beyond = max(0.0, along.max() - values[-1], values[0] - along.min())
        example = np.diag([100.0, 1.0])
        listed = np.linalg.eigvalsh(np.diag([100.0, 10.0, 1.0, 0.1]))
        return {
            "directional_error": max(np.abs(along - expanded).max(), *np.abs(ends), beyond),
            "directional_example_error": np.abs(np.diag(example) - [100.0, 1.0]).max(),
            "spectrum_example_error": listed[-1] / listed[0] - 1000.0,
            "mixed_derivatives_gap": mixed_derivatives_gap(),
        }


def basins() -> dict[str, Any]:
    """Run the example of a sharp and a flat basin."""
    sharp, flat, start = np.array([1.0, 10.0]), np.array([0.1, 0.1]), np.ones(2)
    t = np.arange(STEPS + 1)
    path, slow = (descend(basin, start, 0.1, STEPS) for basin in (sharp, flat))
    half, slow_half = (descend(basin, start, 0.05, STEPS) for basin in (sharp, flat))
    double = descend(sharp, start, 0.2, STEPS)
    stated = [0.95**t, 0.5**t, 0.995**t]
    found = [half[:, 0], half[:, 1], slow_half[:, 0]]
    sharp_loss, flat_loss = loss_along(sharp, path), loss_along(flat, slow)
    early = slice(1, 101)  # later the sharp basin's loss is far below rounding
    own = loss_along(flat, descend(flat, start, 1 / flat[0], STEPS))
    mixed = 10.0 ** np.arange(-3, 3)
    best = 2 / (mixed[0] + mixed[-1])
    # Preconditioned with A⁻¹, every coordinate has curvature one.
    even = descend(np.ones(2), start, 0.1, STEPS)
    return {
        "basin_sharp_loss_error": np.abs(
            0.5 * 0.81 ** t[early] / sharp_loss[early] - 1
        ).max(),
        "basin_flat_loss_factor": np.mean(0.99 ** (2 * t[early]) / flat_loss[early]),
        "basin_sharp_axis": float(np.argmax(sharp) + 1),
        "basin_half_step_error": max(
            np.abs(one - other).max() for one, other in zip(stated, found, strict=True)
        ),
        "basin_oscillation": np.abs(double[-1, 1]),
        "basin_double_step_loss": loss_along(sharp, double)[-1],
        "basin_preconditioned_error": np.abs(even - (0.9**t)[:, None]).max(),
        "basin_steps_sharp": steps_until(sharp_loss / sharp_loss[0], 1e-6),
        "basin_steps_flat": steps_until(flat_loss / flat_loss[0], 1e-6),
        "basin_steps_flat_own": steps_until(own / own[0], 1e-6),
        "basin_mixed_rate": np.abs(1 - best * mixed).max(),
    }  # fmt: skip


def spectra() -> dict[str, Any]:
    """Descend on two quadratics of one condition number with the step 1/λmax of both."""
    curves = []
    for values in (MANY_MEDIUM, FEW_LARGE):
        losses = loss_along(values, descend(values, np.ones(values.size), 1 / values[0], SHOWN[-1]))
        curves.append(losses / losses[0])
    ratio = np.abs(np.log(curves[0] / curves[1]))
    conditions = [values[0] / values[-1] for values in (MANY_MEDIUM, FEW_LARGE)]
    return {
        "spectra_condition_error": conditions[0] - conditions[1],
        "spectra_largest_ratio": np.exp(ratio.max()),
        "spectra_loss": np.stack(curves)[:, list(SHOWN)],
    }


def ascent(rng: np.random.Generator) -> dict[str, Any]:
    """Ask the package's own SAM how far it climbs for a gradient of length 5."""
    gradient = rng.normal(size=20)
    gradient *= 5 / np.linalg.norm(gradient)
    params = jnp.asarray(rng.normal(size=20))
    sam = optimizers.get("sam")
    norms, factors = [], []
    for rho in (0.05, 0.10):
        seen: list[np.ndarray] = []

        def there(at: Any, seen: list[np.ndarray] = seen) -> Any:
            seen.append(np.asarray(at))
            return at

        settings = {**sam.settings(Schedule()), "step_size": 0.1, "rho": rho}
        values = {name: jnp.asarray(value) for name, value in settings.items()}
        sam.update_gradient(
            Schedule(), values, jnp.int32(0), jnp.asarray(gradient), there, params,
            jax.random.key(0),
        )  # fmt: skip
        change = seen[0] - np.asarray(params)
        norms.append(np.linalg.norm(change) - rho)
        factors.append(np.abs(change - rho / 5 * gradient).max())
    return {"ascent_norm_error": np.abs(norms).max(), "ascent_factor_error": max(factors)}


def mixed_derivatives_gap() -> float:
    """Return ∂x∂y f − ∂y∂x f at 0 for f = xy (x² − y²)/(x² + y²), whose second derivatives jump there."""

    def f(x: float, y: float) -> float:
        return x * y * (x * x - y * y) / (x * x + y * y)

    # ∂x f(0, y) = −y and ∂y f(x, 0) = x; the inner step is far smaller than the outer.
    inner, outer = 1e-8, 1e-3

    def fx(y: float) -> float:
        return (f(inner, y) - f(-inner, y)) / (2 * inner)

    def fy(x: float) -> float:
        return (f(x, inner) - f(x, -inner)) / (2 * inner)

    return (fy(outer) - fy(-outer)) / (2 * outer) - (fx(outer) - fx(-outer)) / (2 * outer)


def flattening() -> dict[str, Any]:
    """Look for descent that flattens at every step, and for flattening that climbs."""
    x = [1.0]
    for _ in range(200):
        x.append(x[-1] + 0.5 / (1 + np.exp(x[-1])))
    curvature = [np.exp(-at) / (1 + np.exp(-at)) ** 2 for at in x]
    y = [0.5]
    for _ in range(20):
        # d/dy of the curvature sech² y is −2 sech² y tanh y: descending it leaves the minimum at 0.
        y.append(y[-1] + 0.1 * 2 * np.tanh(y[-1]) / np.cosh(y[-1]) ** 2)
    losses = [np.log(np.cosh(at)) for at in y]
    # On a quadratic the Hessian is one matrix wherever descent goes: second differences at each iterate.
    a = np.array([1.0, 10.0])
    tops = []
    for at in descend(a, np.ones(2), 0.05, 20):
        unit = np.eye(2)
        second = [
            loss_along(a, (at + row)[None])[0] - 2 * loss_along(a, at[None])[0]
            + loss_along(a, (at - row)[None])[0] for row in unit
        ]  # fmt: skip
        tops.append(max(second))
    return {
        "flattening_quadratic": np.ptp(tops),
        "flattening_softplus": np.mean(np.diff(curvature) < 0),
        "flattening_loss_rises": np.mean(np.diff(losses) > 0),
    }
