"""Batch sizes on least squares that can be fitted: exercise C.2 and the second script, as they are set."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.scripts.descent import (
    EXAMPLES,
    FEATURES,
    POWER,
    SIGMA,
    SIGNALS,
)
from implicit_bias.studies.minimum_norm.scripts.printed import (
    C2_BATCHES,
    S2_BATCHES,
    seeds_of_script,
)
from implicit_bias.training.experiment import Variable

MATRICES, TESTS, STEP, EPOCHS, REACHED = 3, 500, 0.01, 100, 1e-3
"""Of the exercise: data sets, test examples, step size, epochs, and the training loss to be reached."""

UPDATES = EPOCHS * -(-EXAMPLES // min(C2_BATCHES))
"""Updates of the smallest batches within the exercise's epochs."""

CLOSE, LONGEST = 1e-6, 6000
"""Relative distance from X⁺y at which a run ends, and epochs after which it does so anyway."""

WHEN = ("100 epochs", "equal updates", "the end")
LOGS = tuple(int(t) for t in np.unique(np.geomspace(1, 3000, 40).round()))

S2_EXAMPLES, S2_FEATURES, S2_EPOCHS, S2_TESTS = 100, 500, 50, 50
S2_LARGER = {8: 5.0, 32: 15.0, 128: 50.0}
"""Sizes of the script, and step sizes with which its descent gets somewhere: half of what is stable."""


def trained(
    x: np.ndarray, y: np.ndarray, batch: int, step: float, order: Callable[[], np.ndarray]
) -> Iterator[np.ndarray]:
    """Yield weights from 0 on, epoch after epoch, of several data sets at once.

    Gradients are sums over a batch divided by its nominal size, also where fewer examples are left, as in
    the exercise's hint and the script.

    Args:
        x: Shape (sets, m, n).
        y: Shape (sets, m).
        batch: Nominal batch size.
        step: Step size.
        order: Returns the examples' order of the next epoch, shape (sets, m).
    """
    sets = np.arange(len(x))[:, None]
    w = np.zeros((len(x), x.shape[2], 1))
    while batch >= x.shape[1]:
        # All examples at once: their order is of no account.
        w = w - step / batch * (np.swapaxes(x, 1, 2) @ (x @ w - y[:, :, None]))
        yield w[:, :, 0]
    while True:
        shuffled = order()
        for first in range(0, x.shape[1], batch):
            chosen = shuffled[:, first : first + batch]
            rows = x[sets, chosen]
            missed = rows @ w - y[sets, chosen][:, :, None]
            w = w - step / batch * (np.swapaxes(rows, 1, 2) @ missed)
        yield w[:, :, 0]


def half_mean_square(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return ½ mean (xᵀw − y)² of each data set, shape (sets,)."""
    return 0.5 * np.mean(((x @ w[:, :, None])[:, :, 0] - y) ** 2, axis=1)


def curvature_at(x: np.ndarray, y: np.ndarray, w: np.ndarray, start: np.ndarray) -> float:
    """Return λmax of the loss at w by power iteration on differences of its gradient there.

    Args:
        x: Shape (m, n).
        y: Shape (m,).
        w: Where, (n,).
        start: A random direction, (n,).
    """

    def gradient(at: np.ndarray) -> np.ndarray:
        return x.T @ (x @ at - y) / len(x)

    v, here = start / np.linalg.norm(start), gradient(w)
    for _ in range(POWER):
        v = gradient(w + v) - here
        v /= np.linalg.norm(v)
    return float(v @ (gradient(w + v) - here))


@dataclass(frozen=True)
class BatchExercise(Drawn):
    """Exercise C.2: batches of 4, 16 and all 50 examples, with one step size, 100 epochs; and then on.

    Runs go on to X⁺y: what a batch size does to the solution is told apart from how many updates its
    epochs have.

    Attributes:
        groups: How often a seed does the whole exercise, of three data sets.
    """

    groups: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        batch, when, log = ("c2_batch",), ("c2_batch", "c2_when"), ("c2_batch", "c2_epoch")
        return {
            "c2_norm": Variable(when, "1", "mean ‖w‖ over data sets"),
            "c2_test": Variable(when, "label²", "mean test loss over data sets"),
            "c2_train": Variable(when, "label²", "mean training loss over data sets"),
            "c2_scaled": Variable(batch, "1", "mean ‖w‖ after 100 epochs with α = 0.01 √(B/50)"),
            "c2_scaled_test": Variable(batch, "label²", "mean test loss, the same"),
            "c2_reached": Variable(batch, "epoch", "mean epochs to a training loss below 0.001"),
            "c2_deviation": Variable(
                batch, "1", "mean over exercises of the test loss's relative deviation"
            ),
            "c2_curvature": Variable(
                batch, "1", "mean λmax of the loss where 100 epochs end, from its gradients"
            ),
            "c2_distance": Variable(batch, "1", "largest ‖w − X⁺y‖/‖X⁺y‖ over data sets at the end"),
            "c2_last": Variable(batch, "epoch", "epochs to the end"),
            "c2_correlation": Variable((), "1", "mean correlation of λmax and test loss of an exercise"),
            "c2_limit": Variable((), "1", "mean ‖X⁺y‖"),
            "c2_limit_test": Variable((), "label²", "mean test loss of X⁺y"),
            "c2_norms": Variable(log, "1", "mean ‖w‖ while training"),
            "c2_tests": Variable(log, "label²", "mean test loss while training"),
            "c2_trains": Variable(log, "label²", "mean training loss while training"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Batch sizes and when they are looked at."""
        return {"c2_batch": C2_BATCHES, "c2_when": WHEN, "c2_epoch": LOGS}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Do the exercise once."""
        rng = role_generator(seed, "data", "exercise C.2")
        sets = MATRICES * self.groups
        x = rng.standard_normal((sets, EXAMPLES, FEATURES))
        truth = np.zeros((sets, FEATURES, 1))
        truth[:, :SIGNALS] = rng.standard_normal((sets, SIGNALS, 1))
        noise = SIGMA * rng.standard_normal((sets, EXAMPLES + TESTS))
        x_test = rng.standard_normal((sets, TESTS, FEATURES))
        y = (x @ truth)[:, :, 0] + noise[:, :EXAMPLES]
        y_test = (x_test @ truth)[:, :, 0] + noise[:, EXAMPLES:]
        goal = np.stack([np.linalg.pinv(a) @ b for a, b in zip(x, y, strict=True)])

        def look(w: np.ndarray) -> np.ndarray:
            norms = np.linalg.norm(w, axis=1)
            return np.stack([norms, half_mean_square(x_test, y_test, w), half_mean_square(x, y, w)])

        def order() -> np.ndarray:
            return rng.permuted(np.tile(np.arange(EXAMPLES), (sets, 1)), axis=1)

        runs = []
        for batch in C2_BATCHES:
            scaled = next(
                itertools.islice(
                    trained(x, y, batch, STEP * (batch / EXAMPLES) ** 0.5, order), EPOCHS - 1, None
                )
            )
            runs.append({**self._run(x, y, goal, batch, order, look), "scaled": look(scaled)})
        seen = np.stack([run["seen"] for run in runs])  # (batch, when, quantity, set)
        logs = np.stack([run["logs"] for run in runs]).mean(axis=3)
        scaled = np.stack([run["scaled"] for run in runs]).mean(axis=2)
        tests = seen[:, 0, 1]
        begun = rng.standard_normal((sets, FEATURES))
        curvatures = np.array(
            [
                [curvature_at(*each) for each in zip(x, y, run["after"], begun, strict=True)]
                for run in runs
            ]
        )
        limit = look(goal).mean(axis=1)
        return {
            **{
                f"c2_{name}": seen[:, :, index].mean(axis=2)
                for index, name in enumerate(("norm", "test", "train"))
            },
            **{
                f"c2_{name}": logs[:, :, index]
                for index, name in enumerate(("norms", "tests", "trains"))
            },
            "c2_scaled": scaled[:, 0],
            "c2_scaled_test": scaled[:, 1],
            "c2_reached": np.array([run["reached"].mean() for run in runs]),
            "c2_deviation": _deviations(tests),
            "c2_curvature": curvatures.mean(axis=1),
            "c2_distance": np.array([run["distance"] for run in runs]),
            "c2_last": np.array([run["last"] for run in runs], float),
            "c2_correlation": _correlation(curvatures, tests),
            "c2_limit": limit[0],
            "c2_limit_test": limit[1],
        }

    def _run(
        self,
        x: np.ndarray,
        y: np.ndarray,
        goal: np.ndarray,
        batch: int,
        order: Callable[[], np.ndarray],
        look: Callable[[np.ndarray], np.ndarray],
    ) -> dict[str, Any]:
        """Train until w is X⁺y, and note what the exercise asks for on the way.

        For the smallest batches, both marks are at the same epoch.
        """
        updates = -(-EXAMPLES // batch)
        marks = {EPOCHS: 0, UPDATES // updates: 1}
        after = goal
        seen = np.empty((len(WHEN), 3, len(x)))
        logs = np.full((len(LOGS), 3, len(x)), np.nan)
        reached = np.full(len(x), np.nan)
        length, distance, epoch, w = np.linalg.norm(goal, axis=1), np.inf, 0, goal
        for epoch, w in enumerate(trained(x, y, batch, STEP, order), start=1):
            low = half_mean_square(x, y, w) < REACHED
            reached[low & np.isnan(reached)] = epoch
            if epoch in LOGS:
                logs[LOGS.index(epoch)] = look(w)
            if epoch in marks:
                seen[marks[epoch]] = look(w)
            if epoch == EPOCHS:
                after, seen[0] = w, look(w)
            distance = float(np.max(np.linalg.norm(w - goal, axis=1) / length))
            if (distance < CLOSE and epoch >= max(marks)) or epoch == LONGEST:
                break
        seen[2] = look(w)
        logs[np.asarray(LOGS) > epoch] = seen[2]
        return {
            "seen": seen, "logs": logs, "reached": reached, "distance": distance, "last": epoch,
            "after": after,
        }  # fmt: skip


def _deviations(tests: np.ndarray) -> np.ndarray:
    """Return the mean over exercises of deviations of (batches, sets) over their three data sets."""
    groups = tests.reshape(len(tests), -1, MATRICES)
    found: np.ndarray = (groups.std(axis=2, ddof=1) / groups.mean(axis=2)).mean(axis=1)
    return found


def _correlation(curvatures: np.ndarray, tests: np.ndarray) -> float:
    """Return the mean over exercises of Pearson's correlation over their nine runs."""
    found = []
    for first in range(0, tests.shape[1], MATRICES):
        group = slice(first, first + MATRICES)
        found.append(np.corrcoef(curvatures[:, group].ravel(), tests[:, group].ravel())[0, 1])
    return float(np.mean(found))


@dataclass(frozen=True)
class BatchScript(Drawn):
    """The script to C.2: 100 examples of 500 features of variance 1/500, batches of 8, 32 and "128".

    Curvatures of the mean squared error are at most 0.02, so that 50 epochs with step size 0.01 hardly move
    w from 0. Beside what it prints, descent is taken to its end with a larger step.

    Attributes:
        repeats: Runs of a seed.
    """

    repeats: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What it prints, and what that can be held against."""
        batch, once = ("script_run", "s2_batch"), ("script_run",)
        return {
            "s2_norm": Variable(batch, "1", "‖w‖ as printed"),
            "s2_train": Variable(batch, "label²", "training loss as printed"),
            "s2_test": Variable(batch, "label²", "test loss as printed"),
            "s2_curvature": Variable(once, "1", "λmax(XᵀX/m)"),
            "s2_sum_curvature": Variable(once, "1", "λmax(XᵀX)"),
            "s2_limit": Variable(once, "1", "‖X⁺y‖"),
            "s2_zero_test": Variable(once, "label²", "test loss of w = 0"),
            "s2_far_norm": Variable(batch, "1", "‖w‖ at the end of descent with a larger step"),
            "s2_far_test": Variable(batch, "label²", "test loss there"),
            "s2_far_distance": Variable(batch, "1", "‖w − X⁺y‖/‖X⁺y‖ there"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Batch sizes."""
        return {"script_run": tuple(range(self.repeats)), "s2_batch": S2_BATCHES}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run the script with the seeds of one of the study's, drawing in its order; all runs at once."""
        m, n, seeds = S2_EXAMPLES, S2_FEATURES, seeds_of_script(seed, self.repeats)
        drawn = []
        for one in seeds:
            draw = np.random.RandomState(one)
            x = draw.randn(m, n) / np.sqrt(n)
            truth = draw.randn(n) * 0.1
            y = x @ truth + 0.05 * draw.randn(m)
            x_test = draw.randn(S2_TESTS, n) / np.sqrt(n)
            drawn.append((x, y, x_test, x_test @ truth + 0.05 * draw.randn(S2_TESTS)))
        x, y, x_test, y_test = (np.stack(part) for part in zip(*drawn, strict=True))
        goal = np.stack([np.linalg.pinv(a) @ b for a, b in zip(x, y, strict=True)])
        length = np.linalg.norm(goal, axis=1)
        found: dict[str, list[np.ndarray]] = {
            name: [] for name in ("norm", "train", "test", "far_norm", "far_test", "far_distance")
        }
        for batch in S2_BATCHES:
            draws = [np.random.RandomState(one) for one in seeds]

            def order(draws: list[np.random.RandomState] = draws) -> np.ndarray:
                return np.stack([draw.permutation(m) for draw in draws])

            w = next(itertools.islice(trained(x, y, batch, STEP, order), S2_EPOCHS - 1, None))
            far, distance = goal, length
            for epoch, far in enumerate(trained(x, y, batch, S2_LARGER[batch], order)):
                distance = np.linalg.norm(far - goal, axis=1) / length
                if distance.max() < CLOSE or epoch == LONGEST:
                    break
            for name, values in (
                ("norm", np.linalg.norm(w, axis=1)),
                ("train", half_mean_square(x, y, w)),
                ("test", half_mean_square(x_test, y_test, w)),
                ("far_norm", np.linalg.norm(far, axis=1)),
                ("far_test", half_mean_square(x_test, y_test, far)),
                ("far_distance", distance),
            ):
                found[name].append(values)
        top = np.linalg.norm(x, 2, axis=(1, 2)) ** 2
        return {
            **{f"s2_{name}": np.stack(values, axis=1) for name, values in found.items()},
            "s2_curvature": top / m,
            "s2_sum_curvature": top,
            "s2_limit": length,
            "s2_zero_test": half_mean_square(x_test, y_test, np.zeros_like(goal)),
        }
