"""What can be said about a chain of layers without running it: whether it is one, and its sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

from implicit_bias.errors import UserError, unknown
from implicit_bias.models.affine import require_positive
from implicit_bias.models.dense import ACTIVATIONS
from implicit_bias.models.layers import (
    Activation,
    Affine,
    AveragePool,
    Chain,
    Conv,
    Flatten,
    GlobalAverage,
    LayerSpec,
    Residual,
)
from implicit_bias.models.windows import along


class Size(NamedTuple):
    """Fans of a layer with weights, and over how many positions its inputs' channels spread."""

    outputs: int
    fan_in: int
    fan_out: int
    positions: int


def checked(chain: object) -> Chain:
    """Return a chain as tuples, once each of its layers is as it may be.

    Raises:
        UserError: If one is not. How shapes fit each other is seen only with an input.
    """
    if isinstance(chain, str) or not isinstance(chain, Iterable):
        raise UserError(f"the chain is {chain!r}; give a tuple of layers from input to output")
    return tuple(_checked_layers(chain))


def sizes_of(chain: Chain, features: tuple[int, ...]) -> list[Size]:
    """Return what the shape of one input says about each layer with weights.

    Args:
        chain: Layers from input to output.
        features: Shape of one input; (height, width) is an image of one channel.

    Raises:
        UserError: If the shape does not fit the chain.
    """
    sizes: list[Size] = []
    given = tuple(features)
    _follow(chain, _Shape((*given, 1) if len(given) == 2 else given), sizes)
    return sizes


def described(layer: LayerSpec) -> dict[str, Any]:
    """Return a layer as plain values that JSON can hold."""
    if isinstance(layer, Residual):
        branch = [described(each) for each in layer.branch]
        return {"layer": "Residual", "branch": branch, "scale": float(layer.scale)}
    return {"layer": type(layer).__name__, **asdict(layer)}


class _Shape(NamedTuple):
    """One example on its way through the chain.

    Its channels have a number that can grow only where a layer made them. After flattening,
    ``positions`` keeps how often each occurs.
    """

    features: tuple[int, ...]
    made: bool = False
    positions: int = 1


def _follow(chain: Chain, at: _Shape, sizes: list[Size]) -> _Shape:
    for layer in chain:
        at = _after(layer, at, sizes)
    return at


def _after(layer: LayerSpec, at: _Shape, sizes: list[Size]) -> _Shape:
    features, made, positions = at
    if isinstance(layer, Conv | AveragePool | GlobalAverage) and len(features) != 3:
        raise UserError(
            f"{_short(layer)} needs images, but its input has shape {features}; give inputs (batch, "
            "height, width, channels), and place it before Flatten"
        )
    match layer:
        case Affine(outputs):
            if len(features) != 1:
                raise UserError(
                    f"{_short(layer)} needs vectors, but its input has shape {features}; place "
                    "Flatten or GlobalAverage before it"
                )
            sizes.append(Size(outputs, features[0], outputs, positions))
            return _Shape((outputs,), made=True)
        case Conv(channels, size):
            if layer.padding == "VALID":
                _require_fits(layer, features)
            rows, columns = (along(length, layer).number for length in features[:2])
            sizes.append(Size(channels, features[2] * size**2, channels * size**2, size**2))
            return _Shape((rows, columns, channels), made=True)
        case AveragePool(size):
            _require_fits(layer, features)
            return at._replace(features=(features[0] // size, features[1] // size, features[2]))
        case GlobalAverage():
            return _Shape(features[2:], made)
        case Flatten():
            spread = math.prod(features[:-1]) if made else 1
            return _Shape((math.prod(features),), made, positions * spread)
        case Residual(branch):
            end = _follow(branch, at, sizes)
            if end.features != features:
                raise UserError(
                    f"the branch of a Residual makes shape {end.features} of shape {features}, to "
                    "which it cannot be added; end it in as many units and keep the positions"
                )
    return at


def _require_fits(layer: Conv | AveragePool, features: tuple[int, ...]) -> None:
    if layer.size > min(features[:2]):
        raise UserError(
            f"{_short(layer)} has a window of {layer.size} by {layer.size}, larger than its input "
            f"of {features[0]} by {features[1]}; choose a smaller size"
        )


def _checked_layers(chain: Iterable[Any]) -> Iterator[LayerSpec]:
    for layer in chain:
        match layer:
            case Affine(outputs):
                require_positive("outputs of an Affine", outputs)
            case Conv(channels, size, stride, padding):
                for name, value in (("channels", channels), ("size", size), ("stride", stride)):
                    require_positive(f"{name} of a Conv", value)
                if padding not in ("SAME", "VALID"):
                    raise unknown("padding", padding, ("SAME", "VALID"))
            case AveragePool(size):
                require_positive("size of an AveragePool", size)
            case Activation(name):
                if name not in tuple(ACTIVATIONS):
                    raise unknown("activation", name, ACTIVATIONS)
            case Residual(branch, scale):
                branch = checked(branch)
                if not branch or not isinstance(branch[-1], Affine | Conv):
                    ends = f"ends in {type(branch[-1]).__name__}" if branch else "is empty"
                    raise UserError(
                        f"the branch of a Residual {ends}; end it in an Affine or a Conv, so that "
                        "what it adds is independent of its input at initialisation"
                    )
                if not isinstance(scale, int | float) or not math.isfinite(scale):
                    raise UserError(f"scale of a Residual is {scale!r}; choose a finite number")
                layer = Residual(branch, scale)
            case GlobalAverage() | Flatten():
                pass
            case _:
                raise UserError(
                    f"the chain holds {layer!r}, which is no layer; choose from Affine, Conv, "
                    "Activation, Residual, AveragePool, GlobalAverage and Flatten, called: Flatten()"
                )
        yield layer


def _short(layer: LayerSpec) -> str:
    return f"{type(layer).__name__}({', '.join(str(value) for value in asdict(layer).values())})"
