"""The convolutional network of the lottery-ticket paper."""

from __future__ import annotations

from implicit_bias.models import Network
from implicit_bias.models.layers import Activation, Affine, AveragePool, Conv, Flatten


def conv_2(outputs: int, channels: int = 64, hidden: int = 256) -> Network:
    """Return Conv-2 for CIFAR-10: two 3×3 convolutions, pooling by two, two hidden layers.

    It pools by averages, where the source takes the largest entry.

    Args:
        outputs: Number of outputs.
        channels: Of each convolution.
        hidden: Units of each hidden layer.

    References:
        Frankle and Carbin, *The lottery ticket hypothesis* (2019), Figure 2.
    """
    relu = Activation("relu")
    chain = (
        Conv(channels), relu, Conv(channels), relu, AveragePool(2), Flatten(),
        Affine(hidden), relu, Affine(hidden), relu, Affine(outputs),
    )  # fmt: skip
    return Network(chain, initialisation="glorot")


def small_conv_2(outputs: int) -> Network:
    """Return Conv-2 with an eighth of its channels and a quarter of its hidden units."""
    return conv_2(outputs, 8, 64)
