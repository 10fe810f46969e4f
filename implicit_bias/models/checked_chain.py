"""Whether what is given is a chain of layers, and each of them as it may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from implicit_bias.errors import UserError, unknown
from implicit_bias.models.affine import require_positive
from implicit_bias.models.dense import ACTIVATIONS
from implicit_bias.models.layers import (
    PADDINGS,
    Activation,
    Affine,
    AveragePool,
    BatchNorm,
    Chain,
    Conv,
    Flatten,
    GlobalAverage,
    GroupNorm,
    LayerSpec,
    LearnedScalar,
    MaxPool,
    Norm,
    Residual,
)


def checked(chain: object) -> Chain:
    """Return a chain as tuples, once each of its layers is as it may be.

    Raises:
        UserError: If one is not. How shapes fit each other is seen only with an input.
    """
    if isinstance(chain, str) or not isinstance(chain, Iterable):
        raise UserError(f"the chain is {chain!r}; give a tuple of layers from input to output")
    return tuple(_checked_layers(chain))


def _checked_layers(chain: Iterable[Any]) -> Iterator[LayerSpec]:
    for layer in chain:
        match layer:
            case Affine(outputs):
                require_positive("outputs of an Affine", outputs)
                _check_weights(layer)
            case Conv(channels, size, stride, padding):
                for name, value in (("channels", channels), ("size", size), ("stride", stride)):
                    require_positive(f"{name} of a Conv", value)
                if padding not in PADDINGS:
                    raise unknown("padding", padding, PADDINGS)
                _check_weights(layer)
            case AveragePool(size):
                require_positive("size of an AveragePool", size)
            case MaxPool(size):
                require_positive("size of a MaxPool", size)
            case Activation(name):
                if name not in tuple(ACTIVATIONS):
                    raise unknown("activation", name, ACTIVATIONS)
            case Residual(branch, scale, shortcut):
                branch, shortcut = checked(branch), checked(shortcut)
                _check_branch(branch)
                if not isinstance(scale, int | float) or not math.isfinite(scale):
                    raise UserError(f"scale of a Residual is {scale!r}; choose a finite number")
                layer = Residual(branch, scale, shortcut)
            case _ if isinstance(layer, Norm):
                _check_norm(layer)
            case GlobalAverage() | Flatten():
                pass
            case _ if isinstance(layer, LearnedScalar):
                pass
            case _:
                raise UserError(
                    f"the chain holds {layer!r}, which is no layer; choose from Affine, Conv, "
                    "Activation, Residual, AveragePool, MaxPool, GlobalAverage, Flatten, BatchNorm, "
                    "GroupNorm, LayerNorm, ScalarBias and ScalarMultiplier, called: Flatten()"
                )
        yield layer


def _check_weights(layer: Affine | Conv) -> None:
    name = type(layer).__name__
    if layer.bias is not None and not isinstance(layer.bias, bool):
        raise UserError(f"bias of a layer {name} is {layer.bias!r}; choose True, False or None")
    number = isinstance(layer.initial, int | float) and not isinstance(layer.initial, bool)
    if layer.initial != "identity" and not (number and 0 <= layer.initial < math.inf):
        raise UserError(
            f"initial of a layer {name} is {layer.initial!r}; choose a finite number >= 0, or "
            "'identity'"
        )


def _check_norm(layer: Norm) -> None:
    name = type(layer).__name__
    if isinstance(layer, GroupNorm):
        require_positive(f"groups of a {name}", layer.groups)
    if isinstance(layer, BatchNorm) and not (
        _is_number(layer.momentum) and 0 <= layer.momentum <= 1
    ):
        raise UserError(f"momentum of a {name} is {layer.momentum!r}; choose a number from 0 to 1")
    if not (_is_number(layer.eps) and 0 <= layer.eps < math.inf):
        raise UserError(f"eps of a {name} is {layer.eps!r}; choose a finite number >= 0")
    if not (_is_number(layer.initial_scale) and math.isfinite(layer.initial_scale)):
        raise UserError(
            f"initial_scale of a {name} is {layer.initial_scale!r}; choose a finite number"
        )


def _check_branch(branch: Chain) -> None:
    """Refuse a branch that does not end in weights, but for what only rescales and shifts them."""
    end = next((layer for layer in reversed(branch) if not isinstance(layer, Norm | LearnedScalar)),
               None)  # fmt: skip
    if not isinstance(end, Affine | Conv):
        last = end or (branch[-1] if branch else None)
        ends = "is empty" if last is None else f"ends in {type(last).__name__}"
        raise UserError(
            f"the branch of a Residual {ends}; end it in an Affine or a Conv, so that "
            "what it adds is independent of its input at initialisation"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
