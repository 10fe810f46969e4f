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

Padding = Literal["SAME", "VALID", "CENTRED"]

PADDINGS: tuple[Padding, ...] = ("SAME", "VALID", "CENTRED")

Initial = float | Literal["identity"]
"""How the weights of one layer begin, as a change of the network's initialisation.

A number multiplies the spread of the initial weights; at 0 they begin at zero. With ``"identity"``
unit i begins as a copy of input i (for a convolution: of channel i at the centre of the patch), as
far as there are both; all other weights begin at zero.
"""


@dataclass(frozen=True)
class Affine:
    """Weights and, where the network has them, biases; acts on the last axis.

    Attributes:
        outputs: Number of units.
        bias: Whether this layer has biases; None where that is the network's choice.
        initial: How its weights begin; see ``Initial``.
    """

    outputs: int
    bias: bool | None = None
    initial: Initial = 1.0


@dataclass(frozen=True)
class Conv:
    """A convolution over (batch, height, width, channels), with one weight for each patch entry.

    Attributes:
        channels: Number of output channels.
        size: Height and width of a patch.
        stride: Steps between patches, along both axes.
        padding: ``"VALID"`` adds nothing around the image. ``"SAME"`` adds as many zeros as make
            ceil(length / stride) patches, the odd one after the image (the convention of XLA and
            TensorFlow). ``"CENTRED"`` adds size // 2 zeros on every side, so that patches are
            centred on positions 0, stride, 2 · stride, … (PyTorch's ``padding=size // 2``). The
            last two differ for strides above 1.
        bias: Whether this layer has biases; None where that is the network's choice.
        initial: How its weights begin; see ``Initial``.
    """

    channels: int
    size: int = 3
    stride: int = 1
    padding: Padding = "SAME"
    bias: bool | None = None
    initial: Initial = 1.0


@dataclass(frozen=True)
class Activation:
    """An elementwise function, by its name in ``models.dense.ACTIVATIONS``."""

    name: str


@dataclass(frozen=True)
class Residual:
    """``shortcut(h) + scale · branch(h)``.

    Attributes:
        branch: A chain that ends in a layer with weights, so that what is added is independent of
            h, or in a normalisation of one; learned scalars may follow.
        scale: Fixed factor of the branch.
        shortcut: The chain beside the branch; empty for h itself. Where the branch changes the
            shape, such as a projection by a strided 1 × 1 convolution and its normalisation. Its
            layers are numbered after the branch's.
    """

    branch: tuple[Any, ...]
    scale: float = 1.0
    shortcut: tuple[Any, ...] = ()


@dataclass(frozen=True)
class AveragePool:
    """Means over non-overlapping square windows; what does not fill a window is left out."""

    size: int = 2


@dataclass(frozen=True)
class MaxPool:
    """Maxima over non-overlapping square windows; what does not fill a window is left out."""

    size: int = 2


@dataclass(frozen=True)
class GlobalAverage:
    """The mean over all positions: (batch, height, width, channels) to (batch, channels)."""


@dataclass(frozen=True)
class Flatten:
    """All axes but the batch made one."""


@dataclass(frozen=True)
class BatchNorm:
    """Normalisation of each channel over a batch, and a learned scale and bias of each channel.

    In training, mean and variance are those of the batch: over its examples, weighted as the batch
    is, and all positions. The state holds running ones, which evaluation takes:
    ``running + momentum · (batch − running)``, with the unbiased variance of the batch, n/(n − 1)
    times the one that is divided by. A batch of one number for each channel has no variance: the
    running one then stays, and the channel is its bias.

    Source: Ioffe and Szegedy, *Batch normalization* (2015), algorithms 1 and 2; the running
    statistics are PyTorch's.

    Attributes:
        momentum: Weight of the newest batch in the running statistics, 0 to 1: PyTorch's 0.1 is
            0.9 in the words of Flax.
        eps: Added to the variance. At 0 the network is exactly invariant to the scale of the
            weights before it, and not defined where a channel is constant.
        initial_scale: What the learned scales begin at; 0 makes a residual block begin as its
            shortcut (Goyal et al. 2017, section 5.1).
    """

    momentum: float = 0.1
    eps: float = 1e-5
    initial_scale: float = 1.0


@dataclass(frozen=True)
class GroupNorm:
    """Normalisation over positions and groups of neighbouring channels of each example.

    Followed by a learned scale and bias of each channel; nothing depends on the batch.

    Source: Wu and He, *Group normalization* (2018), equation 7.

    Attributes:
        groups: Number of groups; divides the number of channels.
        eps: As in ``BatchNorm``.
        initial_scale: As there.
    """

    groups: int = 32
    eps: float = 1e-5
    initial_scale: float = 1.0


@dataclass(frozen=True)
class LayerNorm:
    """Normalisation over all units of a layer, for each example: of images, channels and positions.

    Followed by a learned scale and bias of each channel. The same function as ``GroupNorm(1)``.

    Source: Ba, Kiros and Hinton, *Layer normalization* (2016), equation 3.

    Attributes:
        eps: As in ``BatchNorm``.
        initial_scale: As there.
    """

    eps: float = 1e-5
    initial_scale: float = 1.0


@dataclass(frozen=True)
class ScalarBias:
    """One learned number, added to all units; begins at 0 (Zhang et al. 2019, section 3)."""


@dataclass(frozen=True)
class ScalarMultiplier:
    """One learned number that multiplies all units; begins at 1 (Zhang et al. 2019, section 3)."""


Norm = BatchNorm | GroupNorm | LayerNorm
"""Any normalisation."""

LearnedScalar = ScalarBias | ScalarMultiplier

LayerSpec = (
    Affine
    | Conv
    | Activation
    | Residual
    | AveragePool
    | MaxPool
    | GlobalAverage
    | Flatten
    | Norm
    | LearnedScalar
)
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


def each_layer(chain: Chain) -> Iterator[LayerSpec]:
    """Iterate over all layers in the order in which they run, each residual before what is in it."""
    for layer in chain:
        yield layer
        if isinstance(layer, Residual):
            yield from each_layer(layer.branch)
            yield from each_layer(layer.shortcut)


def with_weights(chain: Chain) -> Iterator[Affine | Conv]:
    """Iterate over the layers with weights in the order in which they run."""
    return (layer for layer in each_layer(chain) if isinstance(layer, Affine | Conv))


def only_weights(chain: Chain) -> bool:
    """Say whether all that the chain learns are weights and biases: no normalisation, no scalars."""
    return not any(isinstance(layer, Norm | LearnedScalar) for layer in each_layer(chain))


def hidden_activations(
    model: ChainModel, params: Params, state: State, x: jax.Array
) -> list[jax.Array]:
    """Return what each hidden layer makes of inputs: what the next layer with weights is given.

    Args:
        model: A network of n inputs.
        params: Its parameters.
        state: Its state.
        x: Inputs, shape (n, *features).

    Returns:
        For each layer with weights but the first, shape (n, units); padded units are zero.
    """
    _, given = model.tapped(params, state, x)
    return [entry.reshape(entry.shape[0], -1) for entry in given[1:]]
