"""A network with one hidden layer of ReLUs and one output, in NumPy: small, and as scripts program it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class TwoLayer:
    """f(x) = relu(x W₁ + b₁) W₂ + b₂, changed in place by its updates; several at once along leading axes.

    Attributes:
        first: W₁, shape (…, inputs, width).
        first_bias: b₁, shape (…, width).
        second: W₂, shape (…, width).
        second_bias: b₂, shape (…).
    """

    first: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray

    @classmethod
    def scripted(cls, rng: np.random.Generator, inputs: int, width: int, *several: int) -> TwoLayer:
        """Draw weights of standard deviation 0.01, as the chapter's scripts do."""
        return cls._drawn(rng, inputs, width, several, 0.01, 0.01)

    @classmethod
    def usual(cls, rng: np.random.Generator, inputs: int, width: int, *several: int) -> TwoLayer:
        """Draw weights of variance 2/inputs below ReLUs and 1/width above (He et al. 2015)."""
        return cls._drawn(rng, inputs, width, several, np.sqrt(2 / inputs), np.sqrt(1 / width))

    @classmethod
    def _drawn(
        cls,
        rng: np.random.Generator,
        inputs: int,
        width: int,
        several: tuple[int, ...],
        below: float,
        above: float,
    ) -> TwoLayer:
        return cls(
            below * rng.standard_normal((*several, inputs, width)),
            np.zeros((*several, width)),
            above * rng.standard_normal((*several, width)),
            np.zeros(several),
        )

    def copy(self) -> TwoLayer:
        """Return the networks as they are now."""
        return TwoLayer(*(part.copy() for part in vars(self).values()))

    def hidden(self, x: np.ndarray) -> np.ndarray:
        """Return activations, shape (…, examples, width)."""
        return np.maximum(0, x @ self.first + self.first_bias[..., None, :])

    def _output(self, hidden: np.ndarray) -> np.ndarray:
        return (hidden @ self.second[..., None])[..., 0] + self.second_bias[..., None]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return predictions, shape (…, examples)."""
        return self._output(self.hidden(x))

    def loss(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return mean squared errors, shape (…)."""
        return np.asarray(np.mean((self(x) - y) ** 2, axis=-1))

    def update_output(self, x: np.ndarray, y: np.ndarray, step: float) -> None:
        """Change the output layer alone, as the scripts do: its bias by 1/examples of its gradient."""
        hidden = self.hidden(x)
        slope = 2 * (self._output(hidden) - y) / y.shape[-1]
        self.second -= step * (slope[..., None, :] @ hidden)[..., 0, :]
        self.second_bias -= step * slope.mean(axis=-1)

    def update(self, x: np.ndarray, y: np.ndarray, step: float) -> None:
        """Make one step of gradient descent on the mean squared error, in all layers."""
        hidden = self.hidden(x)
        slope = 2 * (self._output(hidden) - y) / y.shape[-1]
        below = (hidden > 0) * (slope[..., None] * self.second[..., None, :])
        self.second -= step * (slope[..., None, :] @ hidden)[..., 0, :]
        self.second_bias -= step * slope.sum(axis=-1)
        self.first -= step * (np.swapaxes(x, -1, -2) @ below)
        self.first_bias -= step * below.sum(axis=-2)


def batches(rng: np.random.Generator, examples: int, size: int) -> list[np.ndarray]:
    """Return the batches of one epoch, in random order; what is left over is the last batch."""
    order = rng.permutation(examples)
    return [order[start : start + size] for start in range(0, examples, size)]
