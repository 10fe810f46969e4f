"""What can be said about a chain of layers without running it: its sizes, and how to write it."""

from __future__ import annotations

import math
from dataclasses import MISSING, asdict, fields
from typing import Any, NamedTuple

from implicit_bias.errors import UserError
from implicit_bias.models.layers import (
    Affine,
    AveragePool,
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
from implicit_bias.models.windows import along

_SINCE: frozenset[str] = frozenset({"bias", "initial", "shortcut"})
"""Fields that layers did not always have: not written at their defaults, so that a network's
description, and with it the identity of a lane, stays what it was."""


class Size(NamedTuple):
    """Fans of a layer with weights, and over how many positions its inputs' channels spread.

    Attributes:
        outputs: Number of units.
        fan_in: Inputs of a unit.
        fan_out: Units that an input reaches.
        positions: How often each input channel occurs among the inputs of a unit.
        places: Places at which the units are evaluated: 1, or an image's positions.
    """

    outputs: int
    fan_in: int
    fan_out: int
    positions: int
    places: int = 1


class Sizes(NamedTuple):
    """What the shape of one input says about the layers that learn, each in the order they run.

    Attributes:
        weights: Of each layer with weights.
        norms: Each normalisation with its number of channels.
        scalars: The learned scalars.
    """

    weights: list[Size]
    norms: list[tuple[Norm, int]]
    scalars: list[LearnedScalar]


def sizes_of(chain: Chain, features: tuple[int, ...]) -> Sizes:
    """Return what the shape of one input says about the layers that learn.

    Args:
        chain: Layers from input to output.
        features: Shape of one input; (height, width) is an image of one channel.

    Raises:
        UserError: If the shape does not fit the chain.
    """
    sizes = Sizes([], [], [])
    given = tuple(features)
    _follow(chain, _Shape((*given, 1) if len(given) == 2 else given), sizes)
    return sizes


def described(layer: LayerSpec) -> dict[str, Any]:
    """Return a layer as plain values that JSON can hold."""
    written: dict[str, Any] = {"layer": type(layer).__name__}
    for field in fields(layer):
        value = getattr(layer, field.name)
        if field.name in _SINCE and value == field.default:
            continue
        if isinstance(layer, Residual):
            value = float(value) if field.name == "scale" else [described(each) for each in value]
        written[field.name] = value
    return written


class _Shape(NamedTuple):
    """One example on its way through the chain.

    Its channels have a number that can grow only where a layer made them. After flattening,
    ``positions`` keeps how often each occurs.
    """

    features: tuple[int, ...]
    made: bool = False
    positions: int = 1


def _follow(chain: Chain, at: _Shape, sizes: Sizes) -> _Shape:
    for layer in chain:
        at = _after(layer, at, sizes)
    return at


def _after(layer: LayerSpec, at: _Shape, sizes: Sizes) -> _Shape:
    features, made, positions = at
    if isinstance(layer, Conv | AveragePool | MaxPool | GlobalAverage) and len(features) != 3:
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
            sizes.weights.append(Size(outputs, features[0], outputs, positions))
            return _Shape((outputs,), made=True)
        case Conv(channels, size):
            if layer.padding == "VALID":
                _require_fits(layer, features)
            rows, columns = (along(length, layer).number for length in features[:2])
            around, places = size**2, rows * columns
            sizes.weights.append(
                Size(channels, features[2] * around, channels * around, around, places)
            )
            return _Shape((rows, columns, channels), made=True)
        case AveragePool(size) | MaxPool(size):
            _require_fits(layer, features)
            return at._replace(features=(features[0] // size, features[1] // size, features[2]))
        case GlobalAverage():
            return _Shape(features[2:], made)
        case Flatten():
            spread = math.prod(features[:-1]) if made else 1
            return _Shape((math.prod(features),), made, positions * spread)
        case Residual(branch, _, shortcut):
            end, beside = _follow(branch, at, sizes), _follow(shortcut, at, sizes)
            if end.features != beside.features:
                made_of = f"the branch of a Residual makes shape {end.features} of shape {features}"
                if shortcut:
                    raise UserError(
                        f"{made_of}, but its shortcut makes {beside.features}; give both the same "
                        "units and positions"
                    )
                raise UserError(
                    f"{made_of}, to which it cannot be added; end it in as many units and keep the "
                    "positions, or give the Residual a shortcut"
                )
            return beside
        case _ if isinstance(layer, Norm):
            if not features:
                raise UserError(f"{_short(layer)} needs channels, but its input has shape ()")
            if isinstance(layer, GroupNorm) and features[-1] % layer.groups:
                raise UserError(
                    f"{_short(layer)} is given {features[-1]} channels; choose a number of groups "
                    "that divides them"
                )
            _require_varied(layer, features)
            sizes.norms.append((layer, features[-1]))
        case _ if isinstance(layer, LearnedScalar):
            sizes.scalars.append(layer)
    return at


def _require_varied(layer: Norm, features: tuple[int, ...]) -> None:
    """Refuse to normalise one value, which leaves 0, or two, which leaves 1 and -1 whatever they are."""
    if isinstance(layer, GroupNorm) and math.prod(features) < 3 * layer.groups:
        raise UserError(
            f"{_short(layer)} is given features of shape {features}, {math.prod(features) // layer.groups} "
            "values in each group, of which normalisation leaves nothing but signs; choose fewer groups, or "
            "more channels"
        )


def _require_fits(layer: Conv | AveragePool | MaxPool, features: tuple[int, ...]) -> None:
    if layer.size > min(features[:2]):
        raise UserError(
            f"{_short(layer)} has a window of {layer.size} by {layer.size}, larger than its input "
            f"of {features[0]} by {features[1]}; choose a smaller size"
        )


def _short(layer: LayerSpec) -> str:
    """Write a layer in one word, without what it does not say."""
    given = [
        str(value)
        for field, value in zip(fields(layer), asdict(layer).values(), strict=True)
        if field.default is MISSING or field.name not in _SINCE or value != field.default
    ]
    return f"{type(layer).__name__}({', '.join(given)})"
