"""The families of image classifiers that studies of generalisation train: CNN-5, VGG, ResNet.

All are ``Network``s; where a normalisation follows, a convolution has no biases (but in ``cnn5``,
as published). Inputs are (batch, height, width, channels), of 32 × 32 pixels unless said otherwise.
Weights begin with He's initialisation by fan-in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from implicit_bias.errors import UserError
from implicit_bias.models.affine import require_positive
from implicit_bias.models.constructors import NormName, norm_layers
from implicit_bias.models.layers import (
    Activation,
    Affine,
    Conv,
    Flatten,
    GlobalAverage,
    LayerSpec,
    MaxPool,
    Norm,
    Residual,
    ScalarBias,
    ScalarMultiplier,
)
from implicit_bias.models.network import Network

_RELU = Activation("relu")


@dataclass(frozen=True)
class _Norms:
    """How a family normalises."""

    norm: NormName
    groups: int
    eps: float
    momentum: float

    def __call__(self, channels: int, initial_scale: float = 1.0) -> tuple[Norm, ...]:
        return norm_layers(
            self.norm,
            channels,
            groups=self.groups,
            eps=self.eps,
            momentum=self.momentum,
            initial_scale=initial_scale,
        )

    @property
    def conv_bias(self) -> bool:
        """Whether convolutions need biases of their own."""
        return self.norm == "none"


def cnn5(
    width: int = 64,
    outputs: int = 10,
    norm: NormName = "batch",
    pools: Sequence[int] = (1, 2, 2, 8),
    *,
    groups: int = 32,
    eps: float = 1e-5,
    momentum: float = 0.1,
    convolution: str | None = None,
) -> Network:
    """Build the five-layer network of Nakkiran et al. 2019, *Deep double descent*, appendix B.

    Four 3 × 3 convolutions of k, 2k, 4k and 8k channels, each with biases, normalisation, ReLU and a
    max-pool, then an affine layer: 1,558,026 parameters for k = 64, ten classes and colour images.

    Args:
        width: Channels k of the first convolution.
        outputs: Number of outputs.
        norm: ``"batch"``, ``"group"``, ``"layer"`` or ``"none"``.
        pools: Size of the max-pool after each convolution; as published, for 32 × 32 pixels. Images
            of 28 × 28 need a last one of at most 7; what is left of the image is flattened.
        groups: Largest number of groups of ``"group"``.
        eps: As in ``layers.BatchNorm``.
        momentum: As there.
        convolution: As in ``Network``: how convolutions are computed, by default what a table says.

    Raises:
        UserError: When a value cannot be used.
    """
    require_positive("width", width)
    if isinstance(pools, str) or not isinstance(pools, Sequence) or len(pools) != 4:
        raise UserError(f"pools is {pools!r}; give one whole number for each of 4 convolutions")
    normalise = _Norms(norm, groups, eps, momentum)
    chain: list[LayerSpec] = []
    for stage, pool in enumerate(pools):
        require_positive("each of pools", pool)
        channels = width * 2**stage
        chain += [Conv(channels), *normalise(channels), _RELU]
        chain += [MaxPool(pool)] if pool > 1 else []
    return Network((*chain, Flatten(), Affine(outputs)), convolution=convolution)


VGG_STAGES: dict[int, tuple[int, ...]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""By depth, the convolutions of each of five stages (Simonyan and Zisserman 2015, table 1)."""


def vgg(
    depth: int = 11,
    width: int = 64,
    outputs: int = 10,
    norm: NormName = "batch",
    *,
    groups: int = 32,
    eps: float = 1e-5,
    momentum: float = 0.1,
    convolution: str | None = None,
) -> Network:
    """Build a VGG network for 32 × 32 images: five stages, and one affine layer on top.

    Each stage is 3 × 3 convolutions with normalisation and ReLU, then a max-pool of 2. The hidden
    affine layers of the original, made for larger images, are left out, as is usual for small ones.

    Args:
        depth: 11, 13, 16 or 19: the layers with weights of the original.
        width: Channels of the first stage, 64 in the original; the others have 2, 4, 8 and 8 times
            as many.
        outputs: Number of outputs.
        norm: As in ``cnn5``, like all that follow.
        groups: As there.
        eps: As there.
        momentum: As there.
        convolution: As there.

    Raises:
        UserError: When a value cannot be used.
    """
    require_positive("width", width)
    normalise = _Norms(norm, groups, eps, momentum)
    chain: list[LayerSpec] = []
    for factor, convs in zip((1, 2, 4, 8, 8), _of_depth(depth, VGG_STAGES), strict=True):
        channels = factor * width
        conv = Conv(channels, bias=normalise.conv_bias)
        chain += [conv, *normalise(channels), _RELU] * convs + [MaxPool(2)]
    return Network((*chain, Flatten(), Affine(outputs)), convolution=convolution)


RESNET_STAGES: dict[int, tuple[int, ...]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    20: (3, 3, 3),
    32: (5, 5, 5),
    44: (7, 7, 7),
    56: (9, 9, 9),
}
"""By depth, the blocks of each stage: He et al. 2016, table 1 (four stages, from 50 on bottlenecks)
and section 4.2 (three stages)."""


def resnet(
    depth: int = 18,
    width: int | None = None,
    outputs: int = 10,
    norm: NormName = "batch",
    skip: bool = True,
    *,
    zero_branches: bool = False,
    groups: int = 32,
    eps: float = 1e-5,
    momentum: float = 0.1,
    convolution: str | None = None,
) -> Network:
    r"""Build a residual network for 32 × 32 images (He et al. 2016, *Deep residual learning*).

    A 3 × 3 convolution without pooling, stages of blocks with w, 2w, 4w (and 8w) channels, each but
    the first beginning with stride 2, the mean over positions, and an affine layer. A block adds its
    branch to its input, or to a strided 1 × 1 convolution of it where shapes change, then applies
    ReLU. Basic blocks have two 3 × 3 convolutions; bottlenecks 1 × 1, 3 × 3 (which has the stride)
    and 1 × 1 with four times the channels. Convolutions have no biases and are padded on both sides
    alike, as in PyTorch. ResNet-18 with ten outputs has 11,173,962 parameters, on colour images.

    With ``norm="none"`` it is Fixup (Zhang, Dauphin and Ma 2019, *Fixup initialization*, section 3):
    the last convolution of each branch and the last affine layer begin at zero, the other weights of
    branches are scaled by L^{−1/(2m−2)}, for L branches of m convolutions, and learned scalars are
    added before each convolution, activation and affine layer, with a multiplier at the end of each
    branch.

    Args:
        depth: 18, 34 or 50 with four stages, and 10, of one block each, for tests; 20, 32, 44 or 56
            with three.
        width: Channels w of the first stage; by default 64 with four stages and 16 with three.
        outputs: Number of outputs.
        norm: ``"batch"``, ``"group"``, ``"layer"``, or ``"none"`` for Fixup.
        skip: Whether blocks have shortcuts. Without, the same layers stand in one line, and
            ``"none"`` is a plain network with biases and He's initialisation.
        zero_branches: Whether the last normalisation of each branch begins with scale 0, so that
            blocks begin as their shortcuts (Goyal et al. 2017, section 5.1).
        groups: Largest number of groups of ``"group"``.
        eps: As in ``layers.BatchNorm``.
        momentum: As there.
        convolution: As in ``Network``: how convolutions are computed, by default what a table says.

    Raises:
        UserError: When a value cannot be used.
    """
    stages = _of_depth(depth, RESNET_STAGES)
    width = (64 if len(stages) == 4 else 16) if width is None else width
    require_positive("width", width)
    if zero_branches and (norm == "none" or not skip):
        raise UserError(
            "zero_branches is True without a normalisation or without shortcuts; leave it out"
        )
    normalise = _Norms(norm, groups, eps, momentum)
    sizes = (1, 3, 1) if depth == 50 else (3, 3)
    wider = 4 if depth == 50 else 1
    fixup = norm == "none" and skip
    factor = sum(stages) ** (-1 / (2 * len(sizes) - 2)) if fixup else 1.0

    def conv(channels: int, size: int, stride: int, initial: float = 1.0) -> Conv:
        bias = normalise.conv_bias and not fixup
        return Conv(channels, size, stride, "CENTRED", bias, initial)

    def branch(channels: int, stride: int) -> Iterator[LayerSpec]:
        """Yield a branch, without the activation after it."""
        for place, size in enumerate(sizes):
            last = place == len(sizes) - 1
            number = channels * (wider if last else 1)
            step = stride if place == len(sizes) - 2 else 1
            if fixup:
                yield ScalarBias()
            yield conv(number, size, step, (0.0 if last else factor) if fixup else 1.0)
            yield from normalise(number, 0.0 if last and zero_branches else 1.0)
            if fixup:
                yield from (ScalarMultiplier(), ScalarBias()) if last else (ScalarBias(),)
            if not last:
                yield _RELU

    def projection(channels: int, stride: int) -> Iterator[LayerSpec]:
        if fixup:
            yield ScalarBias()
        yield conv(channels, 1, stride)
        yield from normalise(channels)

    chain: list[LayerSpec] = [conv(width, 3, 1), *normalise(width)]
    chain += [ScalarBias(), _RELU] if fixup else [_RELU]
    given = width
    for stage, blocks in enumerate(stages):
        channels = width * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            own = tuple(branch(channels, stride))
            changes = stride > 1 or given != wider * channels
            beside = tuple(projection(wider * channels, stride)) if changes else ()
            chain += [Residual(own, shortcut=beside)] if skip else own
            chain += [_RELU]
            given = wider * channels
    chain += [GlobalAverage(), *([ScalarBias()] if fixup else [])]
    chain += [Affine(outputs, initial=0.0 if fixup else 1.0)]
    return Network(tuple(chain), convolution=convolution)


def _of_depth(depth: int, stages: dict[int, tuple[int, ...]]) -> tuple[int, ...]:
    if isinstance(depth, bool) or depth not in stages:
        known = ", ".join(map(str, sorted(stages)))
        raise UserError(f"depth is {depth!r}; choose from {known}")
    return stages[depth]
