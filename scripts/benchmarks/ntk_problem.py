"""The networks whose tangent kernels are measured: two hidden ReLU layers, as they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import curvature_problem
from benchmarks.work import CLASSES, FEATURES

PARTS = ("w0", "b0", "w1", "b1", "w2", "b2")
"""Names of the parameters in files, layer by layer: weights (n_out, n_in), biases (n_out,)."""


@dataclass(frozen=True)
class Problem:
    """Which kernels are asked for.

    Attributes:
        folder: Where networks, inputs and what is found are kept meanwhile.
        lanes: Networks, of the same sizes and different weights.
        images: Inputs n; a kernel is (n, n), the mean over outputs.
        hidden: Units of either hidden layer.
        rows: Rows of a network's kernel that the other tools compute in a run, against all n
            inputs. A lane of theirs takes n / rows times as long.
        batch: Inputs in a block of theirs; as many as rows, so that blocks are square and gradients
            are used as often as their memory allows.
        memory: Bytes that one kernel of ours may take.
        drawn: Whether to draw the data even where MNIST is present.
    """

    folder: str
    lanes: int = 16
    images: int = 512
    hidden: int = 512
    rows: int = 64
    batch: int = 64
    memory: int = 2**28
    drawn: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of each layer, inputs first."""
        return FEATURES, self.hidden, self.hidden, CLASSES

    @property
    def parameters(self) -> int:
        """Number of parameters of one network."""
        return sum((n + 1) * m for n, m in zip(self.sizes, self.sizes[1:], strict=False))

    def make(self) -> str:
        """Draw the networks, take the inputs, save both, and say what the inputs are."""
        x, _, what = curvature_problem.Problem(
            self.folder, examples=self.images, drawn=self.drawn
        ).data()
        generator = np.random.default_rng(1)
        arrays: dict[str, Any] = {"x": np.asarray(x, np.float32)}
        for index, (n, m) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            drawn = generator.standard_normal((self.lanes, m, n), dtype=np.float32)
            arrays[f"w{index}"] = drawn * np.float32((2 / n) ** 0.5)
            arrays[f"b{index}"] = 0.1 * generator.standard_normal((self.lanes, m), np.float32)
        self.save("problem", **arrays)
        return what

    def save(self, name: str, **arrays: Any) -> None:
        """Leave arrays under a name."""
        np.savez(Path(self.folder) / f"{name}.npz", **arrays)

    def read(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays left under a name."""
        with np.load(Path(self.folder) / f"{name}.npz") as file:
            return {key: file[key] for key in file.files}

    def first(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the inputs and the first network's parameters in the order of ``PARTS``."""
        saved = self.read("problem")
        return saved["x"], [saved[part][0] for part in PARTS]

    def exact(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the first network's rows in float64, and which images are not on a kink.

        An image is left out where a unit's sum is zero to the rounding of float32: its derivative is
        then one or zero by chance, in every tool.

        Returns:
            Shape (rows, images), and booleans (images,).
        """
        x, (w0, b0, w1, b1, w2, _) = self.first()
        x, w0, b0, w1, b1, w2 = (part.astype(np.float64) for part in (x, w0, b0, w1, b1, w2))
        sums1 = x @ w0.T + b0
        hidden1 = np.maximum(sums1, 0)
        sums2 = hidden1 @ w1.T + b1
        hidden2 = np.maximum(sums2, 0)
        back2 = w2[None] * (sums2 > 0)[:, None]
        back1 = (back2 @ w1) * (sums1 > 0)[:, None]
        flat1, flat2 = (part.reshape(len(x), -1) for part in (back1, back2))
        kernel, top = np.zeros((self.rows, len(x))), slice(self.rows)
        for seen, back in ((x, flat1), (hidden1, flat2)):
            kernel += (seen[top] @ seen.T + 1) * (back[top] @ back.T) / CLASSES
        kernel += hidden2[top] @ hidden2.T + 1
        clear = [np.min(np.abs(sums), axis=1) > 1e-5 for sums in (sums1, sums2)]
        return kernel, clear[0] & clear[1]
