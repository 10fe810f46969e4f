"""Two of the chapter's solution scripts as programmed, and what their set-ups give when all is trained."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

STREAM = 41
"""Of all draws; designs were settled on draws of another one."""

OPTIMISERS = ("SGD", "Momentum", "Adam")
WAYS = ("as written", "all layers")

EPOCHS, ENOUGH = 50, 0.95
"""Epochs of the comparison of optimisers, and the training accuracy that counts as converged."""

EXAMPLES, TESTS, INPUTS, HIDDEN, CLASSES = 200, 1000, 784, 100, 10
"""Its sizes, but for test examples, of which it has 100: what is chance shows in more."""

STEPS = {"SGD": 0.1, "Momentum": 0.1, "Adam": 0.001}
BETA, B1, B2, EPS = 0.9, 0.9, 0.999, 1e-8
"""Its step sizes and decays."""

MEMORY_EXAMPLES, MEMORY_TESTS, MEMORY_INPUTS, MEMORY_HIDDEN, MEMORY_DEPTH = 50, 1000, 20, 1000, 5
"""Sizes of the script on random and true labels, but for test examples, of which it has 100."""

MEMORY_EPOCHS = 200
LABELS = ("random", "true")

Layers = list[tuple[np.ndarray, np.ndarray]]


def generator(seed: int, *parts: int) -> np.random.Generator:
    """Return a seed's generator; ``parts`` tell scripts and draws apart."""
    return role_generator(seed, "data", STREAM, *parts)


def forward(layers: Layers, x: np.ndarray) -> list[np.ndarray]:
    """Return inputs and all layers' outputs, ReLU after each but the last, each (examples, units)."""
    found = [x]
    for place, (weight, bias) in enumerate(layers):
        hidden = found[-1] @ weight + bias
        found.append(hidden if place == len(layers) - 1 else np.maximum(0, hidden))
    return found


def gradients(layers: Layers, x: np.ndarray, slope: Any) -> tuple[Layers, np.ndarray]:
    """Return the gradients of all layers, and the outputs.

    Args:
        layers: Weights (in, out) and biases (out,).
        x: Inputs, (examples, inputs).
        slope: From outputs to the loss's derivative by them, (examples, outputs).
    """
    seen = forward(layers, x)
    back: np.ndarray = slope(seen[-1])
    found: Layers = []
    for place in range(len(layers) - 1, -1, -1):
        found.append((seen[place].T @ back, back.sum(axis=0)))
        if place:
            back = (back @ layers[place][0].T) * (seen[place] > 0)
    return found[::-1], seen[-1]


def accuracy(layers: Layers, x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of examples whose largest output is that of their class."""
    return right(forward(layers, x)[-1], y)


def right(outputs: np.ndarray, y: np.ndarray) -> float:
    """Return the share of outputs, (examples, classes), whose largest is that of the class."""
    return float(np.mean(outputs.argmax(axis=1) == y))


def drawn_layers(rng: np.random.Generator, sizes: Sequence[int], scale: float | None) -> Layers:
    """Draw a network: weights of one standard deviation, or of variance 2/inputs where there is none."""
    return [
        (rng.standard_normal((a, b)) * (np.sqrt(2 / a) if scale is None else scale), np.zeros(b))
        for a, b in itertools.pairwise(sizes)
    ]


@dataclass(frozen=True)
class OptimiserScript(Drawn):
    """SGD, momentum and Adam on random inputs with random labels.

    As written, the output layer alone is changed, its bias by 1/examples of its gradient and by Adam not
    at all. Beside it all layers are trained, with the whole gradient, from the same start, until they fit.

    Attributes:
        draws: Data and networks of a seed, of which means are kept.
        trained_epochs: Updates, at most, where all layers are trained.
    """

    draws: int
    trained_epochs: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("script_way", "script_optimiser")
        return {
            "script_train": Variable(
                (*dims, "script_epoch"), "fraction", "training accuracy after each tenth of the epochs"
            ),
            "script_test": Variable(dims, "fraction", "test accuracy at the end"),
            "script_converged": Variable(
                dims, "fraction", f"draws that reach {ENOUGH:g} training accuracy"
            ),
            "script_norm": Variable(dims, "parameter", "‖W₂‖ at the end"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Ways, optimisers, and shares of the epochs."""
        shares = tuple(round(0.1 * place, 1) for place in range(11))
        return {"script_way": WAYS, "script_optimiser": OPTIMISERS, "script_epoch": shares}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run the script with one seed's draws."""
        drawn = [self._draw(generator(seed, 8, draw)) for draw in range(self.draws)]
        return {name: np.mean([one[name] for one in drawn], axis=0) for name in drawn[0]}

    def _draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        x, x_test = (rng.standard_normal((n, INPUTS)) / np.sqrt(INPUTS) for n in (EXAMPLES, TESTS))
        y, y_test = (rng.integers(0, CLASSES, n) for n in (EXAMPLES, TESTS))
        start = drawn_layers(rng, (INPUTS, HIDDEN, CLASSES), 0.01)
        # The script draws other weights for each optimiser; here they begin alike, as its text says.
        cells = [
            [self._train(start, x, y, x_test, y_test, way, name) for name in OPTIMISERS]
            for way in WAYS
        ]
        return {
            f"script_{name}": np.asarray([[cell[place] for cell in row] for row in cells])
            for place, name in enumerate(("train", "test", "converged", "norm"))
        }

    def _train(
        self,
        start: Layers,
        x: np.ndarray,
        y: np.ndarray,
        x_test: np.ndarray,
        y_test: np.ndarray,
        way: str,
        name: str,
    ) -> tuple[list[float], float, float, float]:
        wanted = np.eye(CLASSES)[y]
        alone = way == "as written"
        layers, epochs = start, self.trained_epochs
        if alone:
            # What the first layer makes of the inputs never changes.
            x, x_test = (forward(start, inputs)[1] for inputs in (x, x_test))
            layers, epochs = start[1:], EPOCHS
        moving, curve = _Moving(name), []
        for _ in range(epochs):
            found, said = gradients(layers, x, lambda said: 2 * (said - wanted) / len(x))
            curve.append(right(said, y))
            if not alone and curve[-1] == 1:
                break  # it fits, and what it has learnt of others is to be seen there
            if alone:
                weight, bias = found[0]
                found = [(weight, np.zeros_like(bias) if name == "Adam" else bias / len(x))]
            layers = moving.step(layers, found)
        curve.append(accuracy(layers, x, y))
        places = np.minimum(np.arange(11) * epochs // 10, len(curve) - 1)
        norm = float(np.linalg.norm(layers[-1][0]))
        reached = float(max(curve[1:]) >= ENOUGH)
        return [curve[place] for place in places], accuracy(layers, x_test, y_test), reached, norm


class _Moving:
    """One optimiser and its averages, as the script programs it."""

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0
        self.first: list[list[np.ndarray]] = []
        self.second: list[list[np.ndarray]] = []

    def step(self, layers: Layers, found: Layers) -> Layers:
        """Return the layers after one update."""
        rate = STEPS[self.name]
        self.count += 1
        if not self.first:
            self.first = [[np.zeros_like(part) for part in layer] for layer in layers]
            self.second = [[np.zeros_like(part) for part in layer] for layer in layers]
        made = []
        for place, (layer, gradient) in enumerate(zip(layers, found, strict=True)):
            moved = []
            for part in (0, 1):
                g, m, v = gradient[part], self.first[place], self.second[place]
                if self.name == "Adam":
                    m[part] = B1 * m[part] + (1 - B1) * g
                    v[part] = B2 * v[part] + (1 - B2) * g**2
                    mean = m[part] / (1 - B1**self.count)
                    change = -rate * mean / (np.sqrt(v[part] / (1 - B2**self.count)) + EPS)
                elif self.name == "Momentum":
                    m[part] = change = BETA * m[part] - rate * g
                else:
                    change = -rate * g
                moved.append(layer[part] + change)
            made.append((moved[0], moved[1]))
        return made


@dataclass(frozen=True)
class MemoryScript(Drawn):
    """A wide network on random and on structured labels, whose script has no training step.

    Beside it a network is trained on the same examples: by full-batch gradient descent with momentum on the
    cross-entropy, from weights of variance 2/inputs, since from weights of 0.01 five layers pass on next to
    nothing.

    Attributes:
        draws: Data and networks of a seed, of which means are kept.
        trained_epochs: Updates of the trained network.
        trained_width: Its hidden units.
    """

    draws: int
    trained_epochs: int
    trained_width: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        by_labels = ("memory_labels",)
        return {
            "memory_train": Variable(
                (*by_labels, "memory_epoch"), "fraction", "training accuracy as the script prints it"
            ),
            "memory_test": Variable(by_labels, "fraction", "test accuracy as the script prints it"),
            "memory_trained_train": Variable(by_labels, "fraction", "training accuracy once trained"),
            "memory_trained_test": Variable(by_labels, "fraction", "test accuracy once trained"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Kinds of labels, and the epochs at which the script prints."""
        return {"memory_labels": LABELS, "memory_epoch": (0, 50, 100, 150)}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run the script with one seed's draws."""
        drawn = [self._draw(generator(seed, 9, draw)) for draw in range(self.draws)]
        return {name: np.mean([one[name] for one in drawn], axis=0) for name in drawn[0]}

    def _draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        x = rng.standard_normal((MEMORY_EXAMPLES, MEMORY_INPUTS))
        x_test = rng.standard_normal((MEMORY_TESTS, MEMORY_INPUTS))
        labels = {
            "random": (
                rng.integers(0, CLASSES, MEMORY_EXAMPLES),
                rng.integers(0, CLASSES, MEMORY_TESTS),
            ),
            "true": (structured(x), structured(x_test)),
        }
        hidden = [MEMORY_HIDDEN] * (MEMORY_DEPTH - 1)
        narrow = [self.trained_width] * (MEMORY_DEPTH - 1)
        found: dict[str, list[Any]] = {
            "train": [],
            "test": [],
            "trained_train": [],
            "trained_test": [],
        }
        for name in LABELS:
            y, y_test = labels[name]
            layers = drawn_layers(rng, (MEMORY_INPUTS, *hidden, CLASSES), 0.01)
            printed, epoch = [], 0
            while epoch < MEMORY_EPOCHS:
                # The loop's body: predictions, their accuracy, and nothing that changes the network, so
                # that epochs between those printed need not be gone through.
                printed.append(accuracy(layers, x, y))
                epoch += 50
            found["train"].append(printed)
            found["test"].append(accuracy(layers, x_test, y_test))
            trained = drawn_layers(rng, (MEMORY_INPUTS, *narrow, CLASSES), None)
            trained = memorise(trained, x, y, self.trained_epochs)
            found["trained_train"].append(accuracy(trained, x, y))
            found["trained_test"].append(accuracy(trained, x_test, y_test))
        return {f"memory_{name}": np.asarray(values) for name, values in found.items()}


def structured(x: np.ndarray) -> np.ndarray:
    """Return the script's true labels, of which there are four: 5·[x₁ > 0] + [x₂ > 0]."""
    found: np.ndarray = (x[:, 0] > 0).astype(int) * 5 + (x[:, 1] > 0).astype(int)
    return found % CLASSES


def memorise(layers: Layers, x: np.ndarray, y: np.ndarray, updates: int) -> Layers:
    """Train by full-batch gradient descent with momentum 0.9 at step size 0.02 on the cross-entropy."""
    wanted = np.eye(CLASSES)[y]

    def slope(said: np.ndarray) -> np.ndarray:
        shares = np.exp(said - said.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        found: np.ndarray = (shares - wanted) / len(x)
        return found

    speed = [[np.zeros_like(part) for part in layer] for layer in layers]
    for _ in range(updates):
        made = []
        for place, gradient in enumerate(gradients(layers, x, slope)[0]):
            for part in (0, 1):
                speed[place][part] = BETA * speed[place][part] - 0.02 * gradient[part]
            made.append((layers[place][0] + speed[place][0], layers[place][1] + speed[place][1]))
        layers = made
    return layers
