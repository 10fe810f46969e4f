"""Plain networks of chains by a few words: residual, normalised and convolutional ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

from implicit_bias.errors import UserError, unknown
from implicit_bias.models.affine import require_positive
from implicit_bias.models.initializers import Init
from implicit_bias.models.layers import (
    Activation,
    Affine,
    AveragePool,
    BatchNorm,
    Chain,
    Conv,
    Flatten,
    GlobalAverage,
    GroupNorm,
    LayerNorm,
    LayerSpec,
    Norm,
    Padding,
    Residual,
)
from implicit_bias.models.network import Network

NormName = Literal["batch", "group", "layer", "none"]

GROUP_UNITS = 8
"""Units of a group at least, where a layer has no positions: two values, normalised, are always ±1."""
"""Kinds of normalisation, by a word."""


def residual_dense(
    width: int,
    blocks: int,
    outputs: int,
    activation: str = "relu",
    branch_scale: float = 1.0,
    *,
    parameterisation: Literal["standard", "ntk"] = "standard",
    initialisation: Init = "he",
    bias: bool = True,
    bias_std: float = 0.0,
    bias_scale: float = 1.0,
) -> Network:
    """Build a fully connected residual network; inputs of any shape are flattened.

    An affine layer, then ``blocks`` times ``h + branch_scale · (W φ(h) + b)``, then the activation
    and the affine layer of the outputs.

    Args:
        width: Number of units of each hidden layer.
        blocks: Number of residual blocks; 0 leaves one hidden layer.
        outputs: Number of outputs.
        activation: Name of the activation φ.
        branch_scale: Factor of each branch, such as ``blocks ** -0.5``.
        parameterisation: As in ``Network``, like all that follow.
        initialisation: As there.
        bias: As there.
        bias_std: As there.
        bias_scale: As there.

    Raises:
        UserError: When a value cannot be used.
    """
    require_positive("width", width)
    if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks < 0:
        raise UserError(f"blocks is {blocks!r}; choose a whole number >= 0")
    block = Residual((Activation(activation), Affine(width)), branch_scale)
    last = (Activation(activation), Affine(outputs))
    chain: Chain = (Flatten(), Affine(width), *(block,) * blocks, *last)
    return Network(chain, parameterisation, initialisation, bias, bias_std, bias_scale)


def conv_net(
    channels: Sequence[int],
    outputs: int,
    head: Literal["flatten", "mean"] = "flatten",
    size: int = 3,
    stride: int = 1,
    padding: Padding = "SAME",
    activation: str = "relu",
    pool: int | None = None,
    norm: NormName = "none",
    *,
    parameterisation: Literal["standard", "ntk"] = "standard",
    initialisation: Init = "he",
    bias: bool = True,
    bias_std: float = 0.0,
    bias_scale: float = 1.0,
    convolution: str | None = None,
) -> Network:
    """Build a plain convolutional network over (batch, height, width, channels).

    Args:
        channels: Number of channels of each convolution.
        outputs: Number of outputs.
        head: What the last affine layer sees: ``"flatten"``, all positions side by side, or
            ``"mean"``, the mean over positions.
        size: Height and width of the patches.
        stride: Steps between patches.
        padding: ``"SAME"``, ``"VALID"`` or ``"CENTRED"``; see ``layers.Conv``.
        activation: Name of the activation after each convolution.
        pool: Size of the average pooling after each activation; None for no pooling.
        norm: Normalisation between each convolution and its activation; see ``norm_layers``. The
            convolutions before one have no biases.
        parameterisation: As in ``Network``, like all that follow.
        initialisation: As there.
        bias: As there.
        bias_std: As there.
        bias_scale: As there.
        convolution: As there: how convolutions are computed, by default what a table says.

    Raises:
        UserError: When a value cannot be used.
    """
    if isinstance(channels, str) or not isinstance(channels, Sequence) or not channels:
        raise UserError(
            f"channels is {channels!r}; give one whole number per convolution, e.g. (32, 64)"
        )
    if head not in ("flatten", "mean"):
        raise unknown("head", head, ("flatten", "mean"))
    chain: list[LayerSpec] = []
    for number in channels:
        conv = Conv(number, size, stride, padding, None if norm == "none" else False)
        chain += [conv, *norm_layers(norm, number), Activation(activation)]
        chain += [] if pool is None else [AveragePool(pool)]
    chain += [Flatten() if head == "flatten" else GlobalAverage(), Affine(outputs)]
    layers = tuple(chain)
    return Network(
        layers, parameterisation, initialisation, bias, bias_std, bias_scale, convolution
    )


def normalised_dense(
    widths: Sequence[int],
    outputs: int,
    activation: str = "relu",
    norm: NormName = "batch",
    *,
    eps: float = 1e-5,
    momentum: float = 0.1,
    parameterisation: Literal["standard", "ntk"] = "standard",
    initialisation: Init = "he",
    bias: bool = True,
) -> Network:
    """Build a fully connected network with normalisation before each activation.

    Inputs of any shape are flattened. Layers before a normalisation have no biases.

    Args:
        widths: Number of units of each hidden layer.
        outputs: Number of outputs.
        activation: Name of the activation.
        norm: Kind of normalisation; see ``norm_layers``.
        eps: As in ``layers.BatchNorm``.
        momentum: As there.
        parameterisation: As in ``Network``, like all that follow.
        initialisation: As there.
        bias: As there.

    Raises:
        UserError: When a value cannot be used.
    """
    if isinstance(widths, str) or not isinstance(widths, Sequence):
        raise UserError(f"widths is {widths!r}; give one whole number per hidden layer, e.g. (64,)")
    chain: list[LayerSpec] = [Flatten()]
    for width in widths:
        chain += [Affine(width, None if norm == "none" else False)]
        normalised = norm_layers(norm, width, groups=None, eps=eps, momentum=momentum)
        chain += [*normalised, Activation(activation)]
    return Network((*chain, Affine(outputs)), parameterisation, initialisation, bias)


def norm_layers(
    norm: NormName,
    channels: int,
    *,
    groups: int | None = 32,
    eps: float = 1e-5,
    momentum: float = 0.1,
    initial_scale: float = 1.0,
) -> tuple[Norm, ...]:
    """Return the normalisation that a word means, or nothing for ``"none"``.

    Args:
        norm: ``"batch"``, ``"group"``, ``"layer"`` or ``"none"``.
        channels: Number of channels it is given.
        groups: Largest number of groups; of ``channels``, the greatest common divisor is taken. None, for
            layers without positions: groups of at least ``GROUP_UNITS`` units.
        eps: As in ``layers.BatchNorm``, like all that follow.
        momentum: As there.
        initial_scale: As there.

    Raises:
        UserError: If the word is another.
    """
    match norm:
        case "batch":
            return (BatchNorm(momentum, eps, initial_scale),)
        case "group":
            require_positive("channels", channels)
            if groups is None:
                groups = max(channels // GROUP_UNITS, 1)
            require_positive("groups", groups)
            return (GroupNorm(math.gcd(groups, channels), eps, initial_scale),)
        case "layer":
            return (LayerNorm(eps, initial_scale),)
        case "none":
            return ()
    raise unknown("norm", norm, get_args(NormName))
