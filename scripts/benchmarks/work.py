"""What the runners of the engine's benchmark train: many small networks, all alike.

Every runner trains ``lanes`` networks of one hidden ReLU layer with biases, He-normal initial weights,
softmax cross-entropy, SGD with momentum 0.9, batches without replacement in a fresh random order each
epoch, the last one of an epoch smaller, float32. A run starts from new initial weights and ends when all
lanes have had their updates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

FEATURES, CLASSES = 784, 10
STEP_SIZE, MOMENTUM = 0.01, 0.9
WARM_UP_UPDATES = 5
Precision = Literal["float32", "tensorfloat32"]


@dataclass(frozen=True)
class Work:
    """What one runner trains.

    Attributes:
        lanes: Networks.
        hidden: Hidden units H of each 784-H-10 network.
        batch: Examples B in an update.
        examples: Examples in the training set.
        precision: Of float32 matrix products on an accelerator.
    """

    lanes: int
    hidden: int
    batch: int
    examples: int = 10_000
    precision: Precision = "float32"

    def nominal_flops(self) -> float:
        """Operations of one update of all lanes, 6 for each weight and example.

        That is 2 (multiply and add) for the forward pass, for the gradient of the weights and for
        the gradient of the layer's input.
        """
        return 6.0 * self.lanes * self.batch * self.hidden * (FEATURES + CLASSES)

    def true_flops(self) -> float:
        """The same without the gradient of the first layer's input, which nobody needs."""
        return self.nominal_flops() - 2.0 * self.lanes * self.batch * self.hidden * FEATURES

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return random inputs (examples, 784) float32 and labels (examples,) int32."""
        generator = np.random.default_rng(0)
        x = generator.standard_normal((self.examples, FEATURES), dtype=np.float32)
        return x, generator.integers(0, CLASSES, self.examples, dtype=np.int32)


def halves(work: Work) -> tuple[Work, ...]:
    """Cut the lanes in two parts, as equal as can be; one part when there is one lane."""
    first = work.lanes // 2
    return tuple(replace(work, lanes=n) for n in (work.lanes - first, first) if n)
