"""Exercise C.8: a ReLU network on a noisy sine, stopped where its validation loss is least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.early_stopping.networks.shallow import (
    Shallow,
    descend,
    half_squares,
    outputs,
    uniform_start,
)
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

PARTS = ("train", "valid", "test")
"""Sets of points, in the order in which losses are kept."""

FEW_LOGS = 60
"""Evaluations of the control, evenly spaced in log time."""

POINT_LOGS = 40
"""Epochs, evenly spaced in log time, after which the loss of each test point is kept."""


@dataclass(frozen=True)
class ValidatedSine(Experiment):
    """Gradient descent on the mean square, from PyTorch's default start, in double precision.

    Inputs are uniform on [−π, π], targets sin x plus noise. Beside the stated design, whose batch size is
    left open, a control of few and noisy points, trained on all of them at once.

    Attributes:
        examples: Training points.
        valid: Validation points, of the control too.
        tests: Test points, of the control too.
        noise: Standard deviation of the noise.
        width: Hidden units.
        batch_sizes: Points in an update.
        step_sizes: Step sizes.
        epochs: Epochs.
        few_examples: Training points of the control.
        few_noise: Standard deviation of its noise.
        few_draws: Its training sets, with starts and points of their own, of which means are kept.
        few_step_size: Its step size.
        few_updates: Its updates.
    """

    examples: int
    valid: int
    tests: int
    noise: float
    width: int
    batch_sizes: tuple[int, ...]
    step_sizes: tuple[float, ...]
    epochs: int
    few_examples: int
    few_noise: float
    few_draws: int
    few_step_size: float
    few_updates: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        runs = ("curve_batch", "curve_step", "curve_epoch", "curve_part")
        return {
            "curve_loss": Variable(runs, "mean square", "loss; NaN where training diverged"),
            "few_loss": Variable(
                ("few_update", "curve_part"), "mean square", "loss of the control, geometric mean"
            ),
            "few_rise": Variable(
                (), "1", "its test loss at the end over that at the validation optimum, geometric mean"
            ),
            "few_best": Variable((), "updates", "its validation optimum, geometric mean"),
            "curve_ceiling": Variable(
                (), "mean square", "what least squares with as many parameters adds to the noise"
            ),
            "point_place": Variable(("point_design", "point"), "1", "test points, from left to right"),
            "point_loss": Variable(
                ("point_epoch", "point"), "square",
                "loss of each test point, first batch size and first step size",
            ),
            "few_point_loss": Variable(
                ("few_update", "point"), "square", "loss of each test point of the control's first draw"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Batch sizes, step sizes, epochs, parts, updates of the control."""
        return {
            "curve_batch": self.batch_sizes,
            "curve_step": self.step_sizes,
            "curve_epoch": tuple(range(self.epochs + 1)),
            "curve_part": PARTS,
            "few_update": few_times(self.few_updates),
            "point_design": ("stated", "few"),
            "point_epoch": point_epochs(self.epochs),
            "point": tuple(range(self.tests)),
        }

    def __call__(
        self, pool: Pool, seed: Any, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Train one seed's network in all designs."""
        del pool, lanes
        rng = role_generator(seed, "data")
        sizes = (self.examples, self.valid, self.tests)
        data = _draw(rng, sizes, self.noise)
        start = role_generator(seed, "initialisation")
        first = uniform_start(start, self.width)
        loss = np.full(
            (len(self.batch_sizes), len(self.step_sizes), self.epochs + 1, len(PARTS)), np.nan
        )
        points = np.full((len(point_epochs(self.epochs)), self.tests), np.nan)
        for row, batch_size in enumerate(self.batch_sizes):
            for column, step_size in enumerate(self.step_sizes):
                nets = self._train(seed, first, data, batch_size, step_size)
                losses = np.stack([_losses(net, data) for net in nets])
                if not np.isfinite(losses).all():
                    continue  # a run that diverged is left out as a whole
                loss[row, column] = losses
                if row == column == 0:
                    kept = [nets[epoch] for epoch in point_epochs(self.epochs)]
                    points = np.stack([_squares(net, *data[-1]) for net in kept])
        few, few_places = self._few(rng, start)
        parameters = 3 * self.width + 1
        order = np.argsort(data[-1][0])
        return {
            "curve_loss": loss,
            "curve_ceiling": self.noise**2 * parameters / self.examples,
            "point_place": np.stack([data[-1][0][order], few_places]),
            "point_loss": points[:, order],
            **few,
        }

    def _few(
        self, rng: np.random.Generator, start: np.random.Generator
    ) -> tuple[dict[str, Any], np.ndarray]:
        """Train the control's networks side by side; return also its first test points, sorted."""
        sizes = (self.few_examples, self.valid, self.tests)
        draws = [_draw(rng, sizes, self.few_noise) for _ in range(self.few_draws)]
        data = [
            (
                np.stack([draw[part][0] for draw in draws]),
                np.stack([draw[part][1] for draw in draws]),
            )
            for part in range(len(PARTS))
        ]
        starts = [uniform_start(start, self.width) for _ in draws]
        net, done, found = Shallow(*map(np.stack, zip(*starts, strict=True))), 0, []
        order, points = np.argsort(data[-1][0][0]), []
        times = few_times(self.few_updates)
        for until in times:
            # The step is of the mean square, whose gradient is twice that of half of it.
            net, done = descend(net, *data[0], 2 * self.few_step_size, until - done), until
            found.append(_losses(net, data))
            points.append(_squares(net, *data[-1])[0, order])
        losses = np.stack(found)  # (times, parts, draws)
        valid, test = (losses[:, PARTS.index(part)] for part in ("valid", "test"))
        chosen = np.argmin(valid, axis=0)
        best = test[chosen, np.arange(self.few_draws)]
        # The optimum may be the start, at update 0.
        when = np.log1p(np.asarray(times, float)[chosen])
        return {
            "few_loss": np.exp(np.mean(np.log(losses), axis=2)),
            "few_rise": np.exp(np.mean(np.log(test[-1] / best))),
            "few_best": np.expm1(np.mean(when)),
            "few_point_loss": np.stack(points),
        }, data[-1][0][0, order]

    def _train(
        self, seed: int, first: Shallow, data: list[tuple[np.ndarray, np.ndarray]],
        batch_size: int, step_size: float,
    ) -> list[Shallow]:  # fmt: skip
        """Return the network before the first epoch and after each."""
        rng = role_generator(seed, "data_order")
        x, y = data[0]
        whole, rest = divmod(x.size, batch_size)
        net, found = first, [first]
        for _ in range(self.epochs):
            order = rng.permutation(x.size)
            orders = order[: whole * batch_size].reshape(whole, batch_size)
            net = descend(net, x, y, 2 * step_size, whole, orders=orders)
            if rest:
                net = descend(net, x, y, 2 * step_size, 1, orders=order[None, -rest:])
            found.append(net)
        return found


def few_times(updates: int) -> tuple[int, ...]:
    """Return the updates after which the control is evaluated: 0, and evenly spaced in log time."""
    at = np.geomspace(1, updates, FEW_LOGS).round().astype(int)
    return (0, *sorted({int(update) for update in at}))


def point_epochs(epochs: int) -> tuple[int, ...]:
    """Return the epochs after which the loss of each test point is kept."""
    return (0, *sorted({int(epoch) for epoch in np.geomspace(1, epochs, POINT_LOGS).round()}))


def _draw(
    rng: np.random.Generator, sizes: Sequence[int], noise: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    made = []
    for size in sizes:
        x = rng.uniform(-np.pi, np.pi, size)
        made.append((x, np.sin(x) + noise * rng.standard_normal(size)))
    return made


def _losses(net: Shallow, data: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the mean squares on each set of points."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray([2 * half_squares(net, *points) for points in data])


def _squares(net: Shallow, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the square of each residual, shape (…, n)."""
    with np.errstate(over="ignore", invalid="ignore"):
        found: np.ndarray = (outputs(net, x) - y) ** 2
    return found
