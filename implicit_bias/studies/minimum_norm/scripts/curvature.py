"""An ill-conditioned quadratic: descent, RMSProp and Adam in exercise C.6 and its script, as they are set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.scripts.comparing import TINY
from implicit_bias.studies.minimum_norm.scripts.printed import (
    C6_ACCURACY,
    C6_ADAPTIVE,
    C6_SLOW,
    seeds_of_script,
)
from implicit_bias.studies.minimum_norm.scripts.quadratic import (
    EPSILON,
    FIRST_DECAY,
    SECOND_DECAY,
    TENTH,
    Watched,
    adam,
    descended,
    first_below,
    rmsprop,
    slope,
    updates_needed,
    watch,
)
from implicit_bias.training.experiment import Variable

DIRECTIONS, LEAST, LARGEST = 100, 0.1, 100.0
STEP, ADAPTIVE_STEP, UPDATES = 0.01, 0.1, 10_000
GD, RMS, ROTATED, FADING, FADING_ROTATED, ADAM, ADAM_ROTATED = (
    "GD",
    "RMSProp",
    "RMSProp, H rotated",
    "RMSProp, 0.1/√t",
    "RMSProp, 0.1/√t, H rotated",
    "Adam",
    "Adam, H rotated",
)
OPTIMISERS = (GD, RMS, ROTATED, FADING, FADING_ROTATED, ADAM, ADAM_ROTATED)
HEATED = (GD, RMS, ROTATED)
"""Whose components are kept."""
TIMES = (0, *(int(t) for t in np.unique(np.geomspace(1, UPDATES, 60).round())))
CONDITIONS = (10.0, 100.0, 1000.0, 10_000.0)
SHORT = 200
"""Updates within which RMSProp is below the accuracy for the first time; more are not looked at."""

S6_DIRECTIONS, S6_STEP, S6_ADAPTIVE_STEP, S6_UPDATES = 50, 0.005, 0.01, 5000
S6_OPTIMISERS = ("GD", "RMSProp")
S6_LOUD = 0.05
"""Directions that begin nearer to 0 than this are left out of times to a half: RMSProp's own cycle, of half
its step size, hides them."""


@dataclass(frozen=True)
class CurvatureExercise(Drawn):
    """Exercise C.6: 100 curvatures from 0.1 to 100, 10,000 updates of descent, RMSProp and Adam.

    Curvatures are spaced evenly in their logarithm. The start is standard normal: from 0, where the exercise
    begins, nothing moves. What is diagonal is turned into a random basis, too.
    """

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        each = ("c6_optimiser",)
        return {
            "c6_tenth": Variable(each, "update", "first update with ‖θ‖ at a tenth of its start"),
            "c6_first": Variable(
                each, "update", f"first update with ‖θ‖ < {C6_ACCURACY:g}, at most {UPDATES}"
            ),
            "c6_norm": Variable((*each, "c6_time"), "1", "‖θ‖"),
            "c6_late": Variable(
                each, "1", f"largest ‖θ‖ from update {C6_ADAPTIVE} to {UPDATES}"
            ),
            "c6_least": Variable(each, "1", "smallest ‖θ‖ of all updates"),
            "c6_slope": Variable(
                each, "1", "exponent of λ in the updates a component takes to a tenth"
            ),
            "c6_log_parts": Variable(
                ("c6_heated", "c6_direction", "c6_time"), "1", "log10 of a component's magnitude"
            ),
            "c6_needed": Variable((), "update", f"updates of descent to ‖θ‖ < {C6_ACCURACY:g}"),
            "c6_slowest": Variable((), "1", f"slowest component after {C6_SLOW} updates, over its start"),
            "c6_steepest": Variable((), "1", "steepest component after one update, over its start"),
            "c6_at_zero": Variable(each, "1", "largest ‖θ‖ of 100 updates from θ₀ = 0"),
            "c6_speedup": Variable(
                ("c6_condition",), "1", "updates of descent with 1/λmax over RMSProp's, to 1e-7"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Optimisers, directions, times."""
        return {
            "c6_optimiser": OPTIMISERS,
            "c6_heated": HEATED,
            "c6_direction": tuple(float(f"{value:.4g}") for value in _curvatures(DIRECTIONS)),
            "c6_time": TIMES,
            "c6_condition": CONDITIONS,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Do the exercise from one start, in one rotated basis."""
        rng = role_generator(seed, "data", "exercise C.6")
        curvatures, start = _curvatures(DIRECTIONS), rng.standard_normal(DIRECTIONS)
        basis = np.linalg.qr(rng.standard_normal((DIRECTIONS, DIRECTIONS)))[0]
        problem = _Turned(curvatures, basis, (basis * curvatures) @ basis.T)
        seen = {GD: descended(curvatures, start, UPDATES, STEP, TIMES)}
        four = _rows(
            watch(
                rmsprop(problem.start(start, 4), problem.gradient, ADAPTIVE_STEP, SECOND_DECAY,
                        fades=np.array([0, 0, 0.5, 0.5])[:, None]),
                np.tile(start, (4, 1)), UPDATES, problem.seen, times=TIMES,
            )
        )  # fmt: skip
        seen |= dict(zip((RMS, ROTATED, FADING, FADING_ROTATED), four, strict=True))
        two = _rows(
            watch(
                adam(problem.start(start, 2), problem.gradient, ADAPTIVE_STEP),
                np.tile(start, (2, 1)), UPDATES, problem.seen, times=TIMES,
            )
        )  # fmt: skip
        seen |= dict(zip((ADAM, ADAM_ROTATED), two, strict=True))
        whole = [seen[name] for name in OPTIMISERS]
        norms = np.concatenate([one.norms for one in whole])
        slowest, steepest = np.abs(1 - STEP * curvatures[[0, -1]]) ** (C6_SLOW, 1)
        parts = np.stack([seen[name].parts[0].T for name in HEATED])
        return {
            "c6_tenth": first_below(norms, TENTH * norms[:, :1]),
            "c6_first": first_below(norms, C6_ACCURACY),
            "c6_norm": norms[:, list(TIMES)],
            "c6_late": norms[:, C6_ADAPTIVE:].max(axis=1),
            "c6_least": norms.min(axis=1),
            "c6_slope": np.array([slope(curvatures, one.tenths)[0] for one in whole]),
            "c6_log_parts": np.log10(np.maximum(np.abs(parts), TINY)),
            "c6_needed": updates_needed(curvatures, start, STEP, C6_ACCURACY),
            "c6_slowest": slowest,
            "c6_steepest": steepest,
            "c6_at_zero": self._at_zero(curvatures, problem),
            "c6_speedup": np.array([_speedup(start, condition) for condition in CONDITIONS]),
        }  # fmt: skip

    def _at_zero(self, curvatures: np.ndarray, problem: _Turned) -> np.ndarray:
        """Begin where the exercise does."""
        zero = np.zeros(DIRECTIONS)
        fades = np.array([0, 0, 0.5, 0.5])[:, None]
        four = rmsprop(
            problem.start(zero, 4), problem.gradient, ADAPTIVE_STEP, SECOND_DECAY, fades=fades
        )
        two = adam(problem.start(zero, 2), problem.gradient, ADAPTIVE_STEP)
        norms = [
            descended(curvatures, zero, UPDATES, STEP, TIMES).norms,
            watch(four, np.zeros((4, DIRECTIONS)), 100, problem.seen).norms,
            watch(two, np.zeros((2, DIRECTIONS)), 100, problem.seen).norms,
        ]
        return np.concatenate([one.max(axis=1) for one in norms])


class _Turned(NamedTuple):
    """The quadratic in its eigenvectors' basis, for even runs, and in a rotated one, for odd runs."""

    curvatures: np.ndarray
    basis: np.ndarray
    hessian: np.ndarray

    def start(self, components: np.ndarray, runs: int) -> np.ndarray:
        theta = np.tile(components, (runs, 1))
        theta[1::2] = components @ self.basis.T
        return theta

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        g = theta * self.curvatures
        g[1::2] = theta[1::2] @ self.hessian
        return g

    def seen(self, theta: np.ndarray) -> np.ndarray:
        parts = theta.copy()
        parts[1::2] = theta[1::2] @ self.basis
        return parts


def _curvatures(count: int, condition: float = LARGEST / LEAST) -> np.ndarray:
    return np.geomspace(LARGEST / condition, LARGEST, count)


def _rows(watched: Watched) -> list[Watched]:
    return [
        Watched(*(part[row : row + 1] for part in watched)) for row in range(len(watched.norms))
    ]


def _speedup(start: np.ndarray, condition: float) -> float:
    """Return how many times as many updates descent takes to the accuracy as RMSProp at its first visit."""
    curvatures = _curvatures(len(start), condition)
    runs = rmsprop(start[None], lambda theta: theta * curvatures, ADAPTIVE_STEP, SECOND_DECAY)
    norms = watch(runs, start[None], SHORT, times=()).norms
    descent = updates_needed(curvatures, start, 1 / LARGEST, C6_ACCURACY)
    return descent / float(first_below(norms, C6_ACCURACY)[0])


@dataclass(frozen=True)
class CurvatureScript(Drawn):
    """The script to C.6: 50 curvatures, 5000 updates from a tenth of a standard normal start.

    What it prints as iterations to convergence is the length of a list to which every hundredth update is
    appended, whatever happens.

    Attributes:
        repeats: Runs of a seed.
    """

    repeats: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What it prints, and what that can be held against."""
        each, once = ("script_run", "s6_optimiser"), ("script_run",)
        return {
            "s6_printed": Variable(each, "update", "iterations to convergence as printed"),
            "s6_idle": Variable(once, "update", "the same with an optimiser that never moves"),
            "s6_steep": Variable(each, "update", f"updates of the steepest direction to {C6_ACCURACY:g}"),
            "s6_flat": Variable(
                once, "update", f"updates of descent in the flattest direction to {C6_ACCURACY:g}"
            ),
            "s6_half": Variable(
                each, "update", f"updates to half its start of the flattest direction with |θ₀| ≥ {S6_LOUD}"
            ),
            "s6_slope": Variable(each, "1", "exponent of λ in the updates a component takes to a half"),
            "s6_end": Variable(
                (*each, "s6_direction"), "1", "magnitude of a component after 5000 updates"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Optimisers and curvatures."""
        return {
            "script_run": tuple(range(self.repeats)),
            "s6_optimiser": S6_OPTIMISERS,
            "s6_direction": tuple(float(f"{value:.4g}") for value in _curvatures(S6_DIRECTIONS)),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run the script with the seeds of one of the study's, drawing in its order; all runs at once."""
        curvatures = np.logspace(-1, 2, S6_DIRECTIONS)
        draws = [np.random.RandomState(one) for one in seeds_of_script(seed, self.repeats)]
        start = np.stack([draw.randn(S6_DIRECTIONS) * 0.1 for draw in draws])
        every = tuple(range(S6_UPDATES + 1))

        def descent() -> Iterator[np.ndarray]:
            theta = start
            while True:
                theta = theta - S6_STEP * curvatures * theta
                yield theta

        adaptive = rmsprop(
            start, lambda theta: theta * curvatures, S6_ADAPTIVE_STEP, FIRST_DECAY,
            begun=1e-8, within=0.0, beside=EPSILON,
        )  # fmt: skip
        found = [
            watch(run, start, S6_UPDATES, fraction=0.5, times=every)
            for run in (descent(), adaptive)
        ]
        loud = np.abs(start) >= S6_LOUD
        flattest = loud.argmax(axis=1)
        runs = np.arange(len(start))
        slopes = [
            [
                slope(curvatures[kept], half[kept])
                for kept, half in zip(loud, one.tenths, strict=True)
            ]
            for one in found
        ]
        return {
            "s6_printed": np.array([[_count_logged(w) for w in one.parts] for one in found]).T,
            "s6_idle": np.array([_count_logged(np.tile(w, (len(every), 1))) for w in start]),
            "s6_steep": np.stack(
                [first_below(np.abs(one.parts[:, :, -1]), C6_ACCURACY) for one in found], axis=1
            ),
            "s6_flat": np.array(
                [updates_needed(curvatures[:1], w[:1], S6_STEP, C6_ACCURACY) for w in start]
            ),
            "s6_half": np.stack([one.tenths[runs, flattest] for one in found], axis=1),
            "s6_slope": np.array(slopes).T,
            "s6_end": np.abs(np.stack([one.parts[:, -1] for one in found], axis=1)),
        }


def _count_logged(parts: np.ndarray) -> float:
    """Count what the script appends: a component's magnitude at every hundredth of its 5000 updates."""
    return float(len([abs(part[0]) for t, part in enumerate(parts[1:]) if t % 100 == 0]))
