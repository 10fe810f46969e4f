"""Gradient descent on fewer examples than features: exercise C.1 and the first script, as they are set.

Iterates are taken mode by mode in closed form (:mod:`implicit_bias.theory.linear_descent`); one data set of a
seed is descended one update after the other, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.scripts.comparing import TINY
from implicit_bias.studies.minimum_norm.scripts.printed import S1_ITERATIONS, seeds_of_script
from implicit_bias.theory.least_squares import modes
from implicit_bias.theory.linear_descent import mode_factors
from implicit_bias.training.experiment import Variable

EXAMPLES, FEATURES, SIGNALS, SIGMA = 50, 200, 10, 0.01
STEPS = (0.5, 1.5, 1.99)
"""αλmax of the exercise's trials, λmax by its power iteration."""
SWEEP = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.5, 1.6, 1.7, 1.75, 1.8, 1.85, 1.9, 1.95, 1.99)
"""αλmax of a finer sweep, λmax exact."""
TOLERANCES = (1e-6, 1e-10)
CAP, LOGGED, POWER = 20_000, 100, 50
BEYOND, GROWN = 2.05, 1000
"""αλmax of descent that is to diverge, and the update at which its norm is taken."""
TIMES = tuple(int(t) for t in np.unique(np.geomspace(1, CAP, 60).round()))
SHOWN, LOOKED = 16, 400
"""Iterates of a path that are kept, and that decide its plane."""
LONG = 2000
"""Updates over which an exponential is fitted at most: what diverges would overflow."""
VISIBLE = 1e-3
"""Updates shorter than this, relative to ‖w*‖, do not show in a figure of the path."""
PLANE = ("first", "second")
S1_CAP = 200_000


class Quadratic(NamedTuple):
    """Least squares in its modes: curvatures λ of the loss that is descended, and w* along them."""

    curvatures: np.ndarray
    goal: np.ndarray

    def error(self, step: float, t: Any) -> np.ndarray:
        """Return w_t − w* from w₀ = 0 along the modes, up to sign, shape (…, modes)."""
        return mode_factors(self.curvatures, t, step) * self.goal

    def first_below(self, step: float, tolerance: float, cap: int) -> int:
        """Return the first update after which the gradient is shorter than a tolerance, or the cap.

        Below 2/λmax gradients shrink at every update, so that bisection finds it.
        """
        gradient, left = self.curvatures * self.goal, np.abs(1 - step * self.curvatures)

        def short(t: int) -> bool:
            return float(np.linalg.norm(gradient * left**t)) < tolerance

        if step * self.curvatures[0] >= 2 or not short(cap):
            return cap
        low, high = 0, cap
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if short(middle) else (middle + 1, high)
        return low


def power_iteration(x: np.ndarray, start: np.ndarray, products: int = POWER) -> float:
    """Return an estimate of λmax(XᵀX)/m as the exercise hints: it never exceeds the eigenvalue."""
    v = start / np.linalg.norm(start)
    for _ in range(products):
        v = x.T @ (x @ v)
        v /= np.linalg.norm(v)
    return float(np.sum((x @ v) ** 2) / len(x))


def straightness(x: np.ndarray, y: np.ndarray) -> float:
    """Return R² of a straight line through points."""
    return float(np.corrcoef(x, y)[0, 1] ** 2)


class Path(NamedTuple):
    """A way of descent in the plane of its two largest principal components, which are its axes."""

    way: np.ndarray
    axes: np.ndarray
    share: float
    turns: bool


def path_of(problem: Quadratic, step: float) -> Path:
    """Project iterates and w* on the right singular vectors of their matrix, uncentred, as hinted.

    A path turns back if two successive visible updates have an angle of more than 90° in the plane.
    """
    way = problem.goal - problem.error(step, np.arange(LOOKED + 1))
    values, vectors = np.linalg.eigh(way.T @ way + np.outer(problem.goal, problem.goal))
    axes = vectors[:, ::-1][:, :2]
    # A principal axis has no direction of its own: w* lies on the positive side of both.
    axes = axes * np.where(problem.goal @ axes < 0, -1, 1)
    moves = np.diff(way @ axes, axis=0)
    seen = np.linalg.norm(moves, axis=1) > VISIBLE * np.linalg.norm(problem.goal)
    backwards = np.sum(moves[1:] * moves[:-1], axis=1) < 0
    turns = bool(np.any(backwards & seen[1:] & seen[:-1]))
    return Path(way, axes, float(values[-1] / values.sum()), turns)


@dataclass(frozen=True)
class DescentExercise(Drawn):
    """Exercise C.1: 50 examples of 200 features, ten of which make the labels, descended from 0.

    Medians are over the data sets of a seed.

    Attributes:
        draws: Data sets of a seed.
        updates: Updates of the first data set that are done one by one.
    """

    draws: int
    updates: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        step = ("c1_step",)
        return {
            "c1_norm": Variable((), "1", "geometric mean of ‖w*‖"),
            "c1_signal": Variable((), "1", "geometric mean of ‖w_true‖"),
            "c1_condition": Variable((), "1", "median κ of XᵀX on the row space"),
            "c1_iterations": Variable(step, "update", f"median updates to ‖∇f‖ < 1e-6, at most {CAP}"),
            "c1_sweep": Variable(("c1_factor",), "update", "the same with the exact λmax"),
            "c1_mismatch": Variable(
                ("c1_tolerance",), "1", "median |‖w_T‖ − ‖w*‖| where ‖∇f‖ falls below, α = 1.5/λmax"
            ),
            "c1_rate": Variable(step, "1", "median decay of the error an update, fitted"),
            "c1_rate_law": Variable(step, "1", "median log r over log(1 − αλmin)"),
            "c1_null": Variable((), "1", "longest part of an iterate outside the row space"),
            "c1_plain": Variable((), "1", "relative distance of plain descent from the closed form"),
            "c1_power": Variable((), "1", "median fraction of λmax that power iteration lacks"),
            "c1_unstable": Variable(
                (), "fraction", "data sets in which 1.99/λ̂ is 2/λmax or more, as λ̂ is too small"
            ),
            "c1_growth": Variable((), "1", f"geometric mean of ‖w‖/‖w*‖ after {GROWN} at {BEYOND}/λmax"),
            "c1_border": Variable((), "1", f"geometric mean of ‖w‖/‖w*‖ after {GROWN} at 2/λmax"),
            "c1_smooth": Variable(step, "fraction", "data sets in which the path never turns back"),
            "c1_share": Variable(step, "fraction", "mean share of the first principal component"),
            "c1_logged": Variable(step, "1", f"median logged points, one every {LOGGED} updates"),
            "c1_straight": Variable(
                ("c1_axes",), "1", "median R² of a line through the log error, α = 1.5/λmax"
            ),
            "c1_error": Variable(
                ("c1_step", "c1_time"), "1", "median ‖w_t − w*‖/‖w*‖"
            ),
            "c1_path": Variable(
                ("c1_step", "c1_update", "c1_axis"),
                "1",
                "iterates of one data set in the plane of α = 1.5/λmax",
            ),
            "c1_goal": Variable(("c1_axis",), "1", "w* in that plane"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Step sizes, tolerances, times."""
        return {
            "c1_step": STEPS,
            "c1_factor": SWEEP,
            "c1_tolerance": TOLERANCES,
            "c1_axes": ("update", "log update"),
            "c1_time": TIMES,
            "c1_update": tuple(range(SHOWN)),
            "c1_axis": PLANE,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Do the exercise on the data sets of one seed."""
        rng = role_generator(seed, "data", "exercise C.1")
        found = [self._draw(rng, first=index == 0) for index in range(self.draws)]
        table = {name: np.stack([one[name] for one in found]) for name in found[-1]}
        geometric = {
            name: np.exp(np.mean(np.log(np.maximum(table.pop(name), TINY)), axis=0))
            for name in ("c1_norm", "c1_signal", "c1_growth", "c1_border")
        }
        means = {
            name: table.pop(name).mean(axis=0) for name in ("c1_unstable", "c1_smooth", "c1_share")
        }
        medians = {name: np.median(values, axis=0) for name, values in table.items()}
        own = {name: found[0][name] for name in ("c1_null", "c1_plain", "c1_path", "c1_goal")}
        return {**geometric, **means, **medians, **own}

    def _draw(self, rng: np.random.Generator, first: bool) -> dict[str, np.ndarray]:
        """Descend on one data set."""
        x = rng.standard_normal((EXAMPLES, FEATURES))
        truth = np.zeros(FEATURES)
        truth[:SIGNALS] = rng.standard_normal(SIGNALS)
        y = x @ truth + SIGMA * rng.standard_normal(EXAMPLES)
        design = modes(x)
        problem = Quadratic(design.curvatures / EXAMPLES, design.left.T @ y / design.values)
        top = power_iteration(x, rng.standard_normal(FEATURES))
        exact, least = problem.curvatures[0], problem.curvatures[-1]
        norm = np.linalg.norm(problem.goal)
        steps = [factor / top for factor in STEPS]
        counts = [problem.first_below(step, TOLERANCES[0], CAP) for step in steps]
        rates = [
            _fitted_rate(problem, step, count) for step, count in zip(steps, counts, strict=True)
        ]
        paths = [path_of(problem, step) for step in steps]
        ends = [problem.first_below(steps[1], tolerance, CAP) for tolerance in TOLERANCES]
        found = {
            "c1_norm": norm,
            "c1_signal": np.linalg.norm(truth),
            "c1_condition": exact / least,
            "c1_iterations": np.asarray(counts, float),
            "c1_sweep": np.asarray(
                [problem.first_below(factor / exact, TOLERANCES[0], CAP) for factor in SWEEP], float
            ),
            "c1_mismatch": np.abs(
                np.linalg.norm(problem.goal - problem.error(steps[1], ends), axis=1) - norm
            ),
            "c1_rate": np.asarray(rates),
            "c1_rate_law": np.log(rates) / np.log(np.abs(1 - np.asarray(steps) * least)),
            "c1_power": 1 - top / exact,
            "c1_unstable": float(STEPS[-1] / top >= 2 / exact),
            "c1_growth": _grown(problem, BEYOND / exact),
            "c1_border": _grown(problem, 2 / exact),
            "c1_smooth": np.asarray([not path.turns for path in paths], float),
            "c1_share": np.asarray([path.share for path in paths]),
            "c1_logged": np.ceil(np.asarray(counts) / LOGGED),
            "c1_straight": _straight(problem, steps[1], counts[1]),
            "c1_error": np.stack([_lengths(problem.error(step, TIMES)) / norm for step in steps]),
        }
        if first:
            w, outside = self._plain(x, y, design.right, steps[1])
            closed = design.right @ (problem.goal - problem.error(steps[1], self.updates))
            found |= {
                "c1_null": np.asarray(outside),
                "c1_plain": np.linalg.norm(w - closed) / norm,
                "c1_path": np.stack([path.way[:SHOWN] @ paths[1].axes for path in paths]),
                "c1_goal": problem.goal @ paths[1].axes,
            }
        return {name: np.asarray(value) for name, value in found.items()}

    def _plain(
        self, x: np.ndarray, y: np.ndarray, basis: np.ndarray, step: float
    ) -> tuple[np.ndarray, float]:
        """Descend one update after the other, and look outside the row space at each of the first ones."""
        w, outside = np.zeros(x.shape[1]), 0.0
        for t in range(1, self.updates + 1):
            w -= step / len(x) * (x.T @ (x @ w - y))
            if t <= LOOKED or t % LOGGED == 0:
                outside = max(outside, float(np.linalg.norm(w - basis @ (basis.T @ w))))
        return w, outside


def _lengths(rows: np.ndarray) -> np.ndarray:
    """Return ‖·‖ of rows; infinite where descent diverged beyond what can be squared."""
    with np.errstate(over="ignore"):
        return np.linalg.norm(rows, axis=1)


def _fitted_rate(problem: Quadratic, step: float, count: int) -> float:
    """Fit an exponential to the error over the second half of the updates, as the exercise hints."""
    last = min(count, LONG)
    t = np.unique(np.linspace(last // 2, last, 200).round())
    errors = np.linalg.norm(problem.error(step, t), axis=1)
    return float(np.exp(np.polyfit(t, np.log(errors), 1)[0]))


def _straight(problem: Quadratic, step: float, count: int) -> np.ndarray:
    t = np.arange(1, count + 1)
    logs = np.log(np.linalg.norm(problem.error(step, t), axis=1))
    return np.array([straightness(t, logs), straightness(np.log(t), logs)])


def _grown(problem: Quadratic, step: float) -> float:
    grown = np.linalg.norm(problem.goal - problem.error(step, GROWN))
    return float(grown / np.linalg.norm(problem.goal))


@dataclass(frozen=True)
class DescentScript(Drawn):
    """The script to C.1: five coefficients, descended from 0 with a two-hundredth of 1/λmax.

    It sums squared errors where the exercise averages them, and prints after each 10,000 of its 50,000
    updates but the last: the loop counts from 0.

    Attributes:
        repeats: Runs of a seed.
    """

    repeats: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What it prints, and what that can be held against."""
        each, once = ("script_run", "s1_iteration"), ("script_run",)
        return {
            "s1_loss": Variable(each, "label²", "½‖Xw − y‖²"),
            "s1_norm": Variable(each, "1", "‖w‖"),
            "s1_gradient": Variable(each, "1", "‖∇f‖"),
            "s1_minimum": Variable(once, "1", "‖X⁺y‖"),
            "s1_signal": Variable(once, "1", "‖w_true‖"),
            "s1_alignment": Variable(once, "1", "‖w/‖w‖ − w*/‖w*‖‖ at the end"),
            "s1_excess": Variable(once, "1", "‖w‖/‖w*‖ − 1 at the end"),
            "s1_needed": Variable(once, "update", "updates to ‖∇f‖ < 1e-6"),
            "s1_best": Variable(
                once, "update", "the same with the best step size, 2/(λmin + λmax)"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Updates that are printed."""
        return {"script_run": tuple(range(self.repeats)), "s1_iteration": S1_ITERATIONS}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run the script with the seeds of one of the study's, drawing in its order."""
        runs = [
            self._run(np.random.RandomState(one)) for one in seeds_of_script(seed, self.repeats)
        ]
        return {name: np.stack([run[name] for run in runs]) for name in runs[0]}

    def _run(self, draw: np.random.RandomState) -> dict[str, Any]:
        """Run it once."""
        x = draw.randn(EXAMPLES, FEATURES)
        truth = np.zeros(FEATURES)
        truth[:5] = draw.randn(5)
        y = x @ truth + 0.01 * draw.randn(EXAMPLES)
        design = modes(x)
        problem = Quadratic(design.curvatures, design.left.T @ y / design.values)
        step = 0.01 / (2 * problem.curvatures[0])
        error = problem.error(step, S1_ITERATIONS)
        w = problem.goal - error
        norms, minimum = np.linalg.norm(w, axis=1), np.linalg.norm(problem.goal)
        best = 2 / (problem.curvatures[0] + problem.curvatures[-1])
        return {
            "s1_loss": 0.5 * np.sum((design.values * error) ** 2, axis=1),
            "s1_norm": norms,
            "s1_gradient": np.linalg.norm(problem.curvatures * error, axis=1),
            "s1_minimum": minimum,
            "s1_signal": np.linalg.norm(truth),
            "s1_alignment": np.linalg.norm(w[-1] / norms[-1] - problem.goal / minimum),
            "s1_excess": norms[-1] / minimum - 1,
            "s1_needed": float(problem.first_below(step, 1e-6, S1_CAP)),
            "s1_best": float(problem.first_below(best, 1e-6, S1_CAP)),
        }
