"""What a network is made of, as plain data: the one description that everything else reads.

A chain is a tuple of layers from input to output. The finite network (``models.network``), its
infinite-width kernel (``kernels.infinite``) and its empirical kernel (``kernels.empirical``) are
all made from the same chain and the same numbers, so that they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax

from implicit_bias.models.base import Params, Scalar, State

Padding = Literal["SAME", "VALID"]


@dataclass(frozen=True)
class Affine:
    """Weights and, where the network has them, biases; acts on the last axis.

    Attributes:
        outputs: Number of units.
    """

    outputs: int


@dataclass(frozen=True)
class Conv:
    """A convolution over (batch, height, width, channels), with one weight for each patch entry.

    Attributes:
        channels: Number of output channels.
        size: Height and width of a patch.
        stride: Steps between patches, along both axes.
        padding: ``"SAME"`` surrounds the image by zeros, ``"VALID"`` does not.
    """

    channels: int
    size: int = 3
    stride: int = 1
    padding: Padding = "SAME"


@dataclass(frozen=True)
class Activation:
    """An elementwise function, by its name in ``models.dense.ACTIVATIONS``."""

    name: str


@dataclass(frozen=True)
class Residual:
    """``h + scale · branch(h)``.

    Attributes:
        branch: A chain whose last layer has weights, so that what is added is independent of h.
        scale: Fixed factor of the branch.
    """

    branch: tuple[Any, ...]
    scale: float = 1.0


@dataclass(frozen=True)
class AveragePool:
    """Means over non-overlapping square windows; what does not fill a window is left out."""

    size: int = 2


@dataclass(frozen=True)
class GlobalAverage:
    """The mean over all positions: (batch, height, width, channels) to (batch, channels)."""


@dataclass(frozen=True)
class Flatten:
    """All axes but the batch made one."""


LayerSpec = Affine | Conv | Activation | Residual | AveragePool | GlobalAverage | Flatten
"""Any layer."""

Chain = tuple[LayerSpec, ...]
"""A network from input to output."""


class WeightLayer(NamedTuple):
    """The numbers of one layer with weights, in the order in which the chain runs.

    The layer computes ``weight_multiplier · W a + bias_multiplier · b`` of an input ``a`` of
    ``fan_in`` entries (for a convolution: a patch), with initial entries of W of standard deviation
    ``weight_std`` and of b of ``bias_std``. Without biases both their numbers are 0.
    """

    name: str
    fan_in: Scalar
    weight_multiplier: Scalar
    bias_multiplier: Scalar
    weight_std: Scalar
    bias_std: Scalar


@runtime_checkable
class ChainModel(Protocol):
    """A model that can say what it is made of, and show what happens inside."""

    def chain(self) -> Chain:
        """Return the layers from input to output."""
        ...

    def weight_layers(self, input_shape: tuple[int, ...]) -> tuple[WeightLayer, ...]:
        """Return the layers with weights, in the order in which they run.

        Args:
            input_shape: Shape of one input.
        """
        ...

    def tapped(
        self,
        params: Params,
        state: State,
        x: jax.Array,
        taps: tuple[jax.Array, ...] | None = None,
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Evaluate the network and return what each layer with weights was given.

        Args:
            params: Parameters, ``{"layer_0": {"weight": (n_out, fan_in), "bias": (n_out,)}, ...}``.
            state: State.
            x: Inputs, shape (n, *features).
            taps: Added to the sums of each layer with weights, shapes (n, positions, n_out); their
                gradients are the derivatives of the outputs with respect to the sums.

        Returns:
            Outputs of shape (n, k), and for each layer with weights its inputs, shape
            (n, positions, fan_in): one position for an affine layer, one a patch for a convolution.
        """
        ...


def with_weights(chain: Chain) -> Iterator[Affine | Conv]:
    """Iterate over the layers with weights in the order in which they run."""
    for layer in chain:
        if isinstance(layer, Residual):
            yield from with_weights(layer.branch)
        elif isinstance(layer, Affine | Conv):
            yield layer
