"""What the runners of the convolutions' benchmark train: convolutional networks, all alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.work import CLASSES, Precision

SIDE, COLOURS = 32, 3
WARM_UP = 2
"""Updates before the clock runs."""

JUDGED = 128
"""Examples on which the loss is taken after a run."""


@dataclass(frozen=True)
class Convs:
    """What one runner trains.

    Softmax cross-entropy, SGD with momentum 0.9, batches without replacement in a fresh random order each
    epoch, float32; colour images of 32 × 32 and their labels are drawn.

    Attributes:
        network: ``"cnn5"``: four 3 × 3 convolutions of k, 2k, 4k and 8k channels with biases and ReLU, then
            an affine layer, without normalisation; or ``"resnet18"`` with batch normalisation.
        lanes: Networks.
        width: Channels k of the first convolution.
        batch: Examples in an update.
        examples: Examples in the training set.
        precision: Of float32 products on an accelerator.
    """

    network: Literal["cnn5", "resnet18"]
    lanes: int
    width: int
    batch: int
    examples: int = 1024
    precision: Precision = "float32"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return images (examples, 32, 32, 3) float32 and labels (examples,) int32."""
        generator = np.random.default_rng(0)
        shape = (self.examples, SIDE, SIDE, COLOURS)
        x = generator.standard_normal(shape, dtype=np.float32)
        return x, generator.integers(0, CLASSES, self.examples, dtype=np.int32)
