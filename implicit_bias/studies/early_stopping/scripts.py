"""Three of the chapter's solution scripts as programmed, and beside each what would show its claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import Role, role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.early_stopping.two_layer import TwoLayer, batches
from implicit_bias.training.experiment import Variable

PATIENCE_EPOCHS, PATIENCE = 200, 20
"""Epochs of the first script, and how many without a new least validation loss end it before."""

TRAINED_EPOCHS, TRAINED_STEP, TRAINED_VALID, TRAINED_TESTS = 1000, 0.04, 100, 500
"""Beside it, with all layers trained from usual weights: epochs, step size, validation and test examples.
The script has 20 of each, where the chapter itself asks for 50 to validate on."""

TRAINED_EVERY = TRAINED_EPOCHS // PATIENCE_EPOCHS
"""Epochs between evaluations there."""

REPEATS = 4
"""Runs of a script in a seed, with data and weights of their own; means over them are kept."""

NORM_EPOCHS, NORM_STEP, NORM_BATCHES = 100, 0.01, (32, 128)
"""Of the second script; 100 examples are all there are, so that its 128 are 100."""

LINEAR_EPOCHS = (0, 100, 200, 300, 400, 499, 10_000, 1_000_000)
"""Epochs of the third script at which losses are taken; it ends at 499."""

LINEAR_DESIGNS: dict[str, int] = {"as stated": 1000, "60 examples": 60}
"""Training examples of the third script, which has 50 features."""


TRAINED = ("output layer, as stated", "all layers")
"""What of the first script's network is trained."""


def _generator(seed: int, script: int, role: Role = "data") -> np.random.Generator:
    return role_generator(seed, role, 1000 + script)


@dataclass(frozen=True)
class PatienceScript(Drawn):
    """Early stopping with patience 20 on 60 examples of sin(x₁): the output layer alone, from 0.01."""

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("patience_trained", "patience_epoch")
        each = ("patience_trained",)
        return {
            "patience_losses": Variable(
                ("patience_part", *dims), "label²", "losses, drawn on where the script has ended"
            ),
            "patience_best": Variable(each, "epochs", "epoch of least validation loss"),
            "patience_last": Variable(each, "epochs", "epoch at which training ended"),
            "patience_stopped": Variable(each, "label²", "test loss at the best epoch"),
            "patience_final": Variable(each, "label²", "test loss at the last epoch"),
            "patience_improvement": Variable(
                each, "%", "(stopped − final)/stopped, the improvement as the script prints it"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """What is trained, and epochs, which for all layers are 5 apart, from 5 on."""
        return {
            "patience_part": ("train", "validation", "test"),
            "patience_trained": TRAINED,
            "patience_epoch": tuple(range(PATIENCE_EPOCHS)),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run the script of one seed, then train all layers on its data."""
        rng = _generator(seed, 4)
        parts = []
        for count in (60, 20, 20, TRAINED_VALID, TRAINED_TESTS):
            x = rng.standard_normal((REPEATS, count, 10))
            noise = 0.1 * rng.standard_normal((REPEATS, count))
            parts.append((x, np.sin(x[..., 0]) + noise))
        start = _generator(seed, 4, "initialisation")
        stated, ended = _patient(TwoLayer.scripted(start, 10, 50, REPEATS), parts[:3])
        curve, best = _whole(TwoLayer.usual(start, 10, 50, REPEATS), [parts[0], *parts[3:]])
        rows = range(REPEATS)
        # Patience ends a run after its best epoch of all that it reaches.
        first = np.array([int(np.argmin(stated[: ended[row] + 1, 1, row])) for row in rows])
        curves = np.stack([stated, curve]).mean(axis=3)
        found = {
            "best": (first, TRAINED_EVERY * (best + 1)),
            "last": (ended, np.full(REPEATS, TRAINED_EPOCHS)),
            "stopped": (stated[first, 2, rows], curve[best, 2, rows]),
            "final": (stated[ended, 2, rows], curve[-1, 2]),
        }
        made = {f"patience_{name}": np.mean(values, axis=1) for name, values in found.items()}
        gain = 100 * (made["patience_stopped"] - made["patience_final"]) / made["patience_stopped"]
        return {
            "patience_losses": np.moveaxis(curves, 2, 0),
            **made,
            "patience_improvement": gain,
        }


def _patient(
    network: TwoLayer, parts: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Train as the script does, and beyond where its patience ends it.

    Its training loss is that before an epoch's update, the others are those after it.

    Returns:
        Three losses by epoch, shape (epochs, 3, runs), and the last epoch that each run reaches.
    """
    rows = []
    for _ in range(PATIENCE_EPOCHS):
        loss = network.loss(*parts[0])
        network.update_output(*parts[0], 0.01)
        rows.append([loss, network.loss(*parts[1]), network.loss(*parts[2])])
    losses = np.array(rows)
    ended = []
    for line in losses[:, 1].T:
        best = 0
        for epoch, value in enumerate(line):
            if value < line[best]:
                best = epoch
            elif epoch - best > PATIENCE:
                break
        ended.append(epoch)
    return losses, np.array(ended)


def _whole(
    network: TwoLayer, parts: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Train all layers.

    Returns:
        Three losses at evenly spaced epochs, the last among them, shape (times, 3, runs), and the time of the
        least validation loss by run.
    """
    rows = []
    for epoch in range(1, TRAINED_EPOCHS + 1):
        network.update(*parts[0], TRAINED_STEP)
        if epoch % TRAINED_EVERY == 0:
            rows.append([network.loss(*part) for part in parts])
    losses = np.array(rows)
    return losses, losses[:, 1].argmin(axis=0)


@dataclass(frozen=True)
class NormScript(Drawn):
    """Growth of the output layer on random labels at two batch sizes: one batch an epoch, one layer."""

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("norm_way", "norm_batch")
        return {
            "norm_path": Variable((*dims, "norm_epoch"), "1", "‖W₂‖ after each epoch, over the start"),
            "norm_start": Variable(dims, "1", "‖W₂‖ at the start"),
            "norm_growth": Variable(dims, "1", "‖W₂‖ at the end, over the start"),
            "norm_loss": Variable(dims, "label²", "loss of the last batch"),
            "norm_updates": Variable(dims, "1", "updates made"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Ways of training, batch sizes, epochs."""
        return {
            "norm_way": ("as stated", "all layers, equal epochs", "all layers, equal updates"),
            "norm_batch": NORM_BATCHES,
            "norm_epoch": tuple(range(NORM_EPOCHS)),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run the script of one seed, then whole epochs, then as many updates, from one start."""
        rng = _generator(seed, 17)
        x = rng.standard_normal((REPEATS, 100, 20)) / np.sqrt(20)
        y = rng.standard_normal((REPEATS, 100))
        starts = _generator(seed, 17, "initialisation")
        ways: dict[str, Callable[[], TwoLayer]] = {
            "as stated": lambda: TwoLayer.scripted(starts, 20, 50, REPEATS),
            # One start for both batch sizes.
            "epochs": lambda: TwoLayer.usual(_generator(seed, 17, "probe"), 20, 50, REPEATS),
            "updates": lambda: TwoLayer.usual(_generator(seed, 17, "probe"), 20, 50, REPEATS),
        }
        rows = [
            [self._trained(begin(), x, y, size, seed, way) for size in NORM_BATCHES]
            for way, begin in ways.items()
        ]
        return {
            f"norm_{name}": np.array([[one[name] for one in row] for row in rows])
            for name in rows[0][0]
        }

    def _trained(
        self, network: TwoLayer, x: np.ndarray, y: np.ndarray, size: int, seed: int, way: str
    ) -> dict[str, Any]:
        """Train one network; an epoch is all examples, or with equal updates, and as stated, one batch."""
        order = _generator(seed, 17 + size, "data_order")
        start = np.linalg.norm(network.second, axis=-1)
        norms, loss, made = [], start, 0
        for _ in range(NORM_EPOCHS):
            chosen = batches(order, x.shape[1], size)
            for batch in chosen if way == "epochs" else chosen[:1]:
                inputs, labels = x[:, batch], y[:, batch]
                loss = network.loss(inputs, labels)
                if way == "as stated":
                    network.update_output(inputs, labels, NORM_STEP)
                else:
                    network.update(inputs, labels, NORM_STEP)
                made += 1
            norms.append(np.linalg.norm(network.second, axis=-1))
        growth = np.exp(np.mean(np.log(np.array(norms) / start), axis=1))
        return {
            "path": growth,
            "start": start.mean(),
            "growth": growth[-1],
            "loss": loss.mean(),
            "updates": float(made),
        }


@dataclass(frozen=True)
class LinearScript(Drawn):
    """A linear model of sin(x₁) in 50 features of variance 1/50, by full-batch descent from 0.01.

    Every epoch is known in closed form, so that a million of them cost as much as one.
    """

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("linear_design", "linear_epoch")
        line = ("linear_design", "linear_time")
        each = ("linear_design",)
        return {
            "linear_train": Variable(dims, "label²", "training loss"),
            "linear_test": Variable(dims, "label²", "expected test loss"),
            "linear_train_path": Variable(line, "label²", "training loss along epochs"),
            "linear_test_path": Variable(line, "label²", "expected test loss along epochs"),
            "linear_floor": Variable(each, "label²", "training loss of least squares"),
            "linear_gap_epoch": Variable(each, "epochs", "epoch of the least gap, of the script's 500"),
            "linear_test_least": Variable(each, "label²", "least test loss over all epochs"),
            "linear_own_least": Variable(each, "label²", "least test loss of the script's 500 epochs"),
            "linear_test_at_gap": Variable(each, "label²", "test loss at the epoch of the least gap"),
            "linear_iterated": Variable(each, "1", "closed form against 500 epochs, relative"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Designs and epochs."""
        return {
            "linear_design": tuple(LINEAR_DESIGNS),
            "linear_epoch": LINEAR_EPOCHS,
            "linear_time": tuple(_times().tolist()),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Follow the script of one seed."""
        rng = _generator(seed, 18)
        made = []
        for count in LINEAR_DESIGNS.values():
            runs = []
            for _ in range(REPEATS):
                x, tests = (rng.standard_normal((size, 50)) / np.sqrt(50) for size in (count, 200))
                y, wanted = (
                    np.sin(part[:, 0]) + 0.1 * rng.standard_normal(len(part)) for part in (x, tests)
                )
                start = 0.01 * rng.standard_normal(50)
                runs.append(_followed(x, y, tests, wanted, start))
            closed = runs[-1]["last"]
            for run in runs:
                del run["last"]
            made.append(
                {
                    **{name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]},
                    "iterated": abs(_programmed(x, y, start) / closed - 1),
                }
            )
        return {f"linear_{name}": np.array([one[name] for one in made]) for name in made[0]}


def expected_loss(weights: np.ndarray) -> np.ndarray:
    """Return the third script's expected test loss of weights, shape (50, …).

    With x₁ ~ N(0, v), v = 1/50: E sin²x₁ = (1 − e^(−2v))/2 and E x₁ sin x₁ = v e^(−v/2).
    """
    v = 1 / 50
    signal = -np.expm1(-2 * v) / 2
    product = v * np.exp(-v / 2)
    return np.asarray(0.01 + signal - 2 * weights[0] * product + v * np.sum(weights**2, axis=0))


def _times() -> np.ndarray:
    """Return epochs along the linear model's path, evenly spaced in their logarithm."""
    return np.unique(np.geomspace(1, LINEAR_EPOCHS[-1], 100).round())


def _programmed(x: np.ndarray, y: np.ndarray, start: np.ndarray) -> float:
    """Run the third script's updates, and return the training loss at its last epoch."""
    w = start.copy()
    for _ in range(499):
        w -= 0.01 * 2 * x.T @ (x @ w - y) / len(y)
    return float(np.mean((x @ w - y) ** 2))


def _followed(
    x: np.ndarray, y: np.ndarray, tests: np.ndarray, wanted: np.ndarray, start: np.ndarray
) -> dict[str, Any]:
    """Return the losses of descent on the mean squared error with step 0.01, started from given weights."""
    step, m = 0.01, len(y)
    values, vectors = np.linalg.eigh(2 * x.T @ x / m)
    ends = vectors.T @ np.linalg.lstsq(x, y, rcond=None)[0]
    begins = vectors.T @ start

    def losses(epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return training loss, loss on the script's test set, and its expectation."""
        found = theory.descent_shrinkage(values, step, epochs)
        weights = vectors @ (begins + found * (ends - begins)).T
        train, test = (
            np.mean((inputs @ weights - labels[:, None]) ** 2, axis=0)
            for inputs, labels in ((x, y), (tests, wanted))
        )
        return train, test, expected_loss(weights)

    train, _, expected = losses(np.array(LINEAR_EPOCHS))
    own_train, own_test, own_expected = losses(np.arange(500))
    train_path, _, path = losses(_times())
    best = int(np.argmin(own_test - own_train))
    return {
        "train": train,
        "test": expected,
        "train_path": train_path,
        "test_path": path,
        "floor": np.mean((x @ (vectors @ ends) - y) ** 2),
        "gap_epoch": float(best),
        "test_least": min(own_expected.min(), path.min()),
        "own_least": own_expected.min(),
        "test_at_gap": own_expected[best],
        "last": own_train[-1],
    }
