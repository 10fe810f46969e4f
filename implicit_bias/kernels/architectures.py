"""Which networks have an infinite-width kernel, by which engine, and why others have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from implicit_bias.errors import UserError
from implicit_bias.models.layers import (
    Activation,
    Affine,
    AveragePool,
    Chain,
    ChainModel,
    Conv,
    Flatten,
    GlobalAverage,
    LearnedScalar,
    MaxPool,
    Norm,
    Residual,
    each_layer,
)

Engine = Literal["closed form", "neural-tangents"]

ENGINES: tuple[Engine, ...] = ("closed form", "neural-tangents")
"""The recursion of ``kernels.closed_form``, in the base install, and the ``ntk`` extra."""


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes:
        name: What people call such networks.
        layers: Names of the layers that they are made of.
        activations: By engine, the activations whose kernel it computes; none for no kernel.
        why: What the limit is, or why there is none.
    """

    name: str
    layers: tuple[str, ...]
    activations: Mapping[str, tuple[str, ...]]
    why: str


_DENSE = ("Flatten", "Affine", "Activation")
_IMAGE = ("Conv", "Affine", "Activation", "Flatten")
_ARC = ("relu", "erf", "identity")
_STAX = (*_ARC, "gelu")
_BOTH = {"closed form": _ARC, "neural-tangents": _STAX}
_STAX_ONLY = {"neural-tangents": _STAX}

ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture("dense", _DENSE, _BOTH, "the widths of all hidden layers grow"),
    Architecture(
        "residual dense",
        (*_DENSE, "Residual"),
        _BOTH,
        "branches end in weights, so that their kernels add to the stem's",
    ),
    Architecture(
        "convolution, flattened",
        _IMAGE,
        _STAX_ONLY,
        "the channels grow; pairs of positions that differ drop out",
    ),
    Architecture(
        "convolution, average pooling",
        (*_IMAGE, "AveragePool"),
        _STAX_ONLY,
        "the channels grow; all pairs of positions count: positions² numbers for a pair of inputs",
    ),
    Architecture(
        "convolution, mean over positions",
        (*_IMAGE, "AveragePool", "GlobalAverage"),
        _STAX_ONLY,
        "the channels grow; all pairs of positions count: positions² numbers for a pair of inputs",
    ),
    Architecture(
        "residual convolution",
        (*_IMAGE, "AveragePool", "GlobalAverage", "Residual"),
        _STAX_ONLY,
        "branches end in weights, so that their kernels add to the stem's",
    ),
    Architecture(
        "any of these with tanh",
        (*_IMAGE, "AveragePool", "GlobalAverage", "Residual"),
        {},
        "the Gaussian average of tanh has no closed form; erf(x) is close to tanh(x · 2/√π)",
    ),
    Architecture(
        "any of these with normalisation",
        (
            *_IMAGE,
            "AveragePool",
            "GlobalAverage",
            "Residual",
            "BatchNorm",
            "GroupNorm",
            "LayerNorm",
        ),
        {},
        "units of one layer, or examples of one batch, divide each other, so that they are no "
        "independent Gaussians; choose norm='none'",
    ),
    Architecture(
        "any of these with learned scalars, as Fixup has",
        (*_IMAGE, "AveragePool", "GlobalAverage", "Residual", "ScalarBias", "ScalarMultiplier"),
        {},
        "one number for all units has a gradient that grows with their number; leave them out",
    ),
    Architecture(
        "any of these with maxima over windows",
        (*_IMAGE, "MaxPool", "GlobalAverage", "Residual"),
        {},
        "the Gaussian average of a maximum has no closed form; choose AveragePool",
    ),
    Architecture(
        "any of these with a shortcut of its own, or a layer that begins as the identity",
        (*_IMAGE, "AveragePool", "GlobalAverage", "Residual"),
        {},
        "its limit is not worked out here; choose Residuals without a shortcut, and weights drawn "
        "at random",
    ),
    Architecture(
        "any of these with CENTRED padding",
        (*_IMAGE, "AveragePool", "GlobalAverage", "Residual"),
        {},
        "the engine knows SAME and VALID",
    ),
    Architecture(
        "mup and mup_adam",
        _DENSE,
        {},
        "their features move at any width, so that no kernel that stays describes them",
    ),
    Architecture(
        "Flax modules and other models",
        (),
        {},
        "only a chain of layers says what the limit is; build the network by Dense or Network",
    ),
)
"""Rows with an engine are tried from the top; the others say why they have none."""


def chain_of(model: Any) -> Chain:
    """Return a model's layers, of a model that has a kernel limit.

    Raises:
        UserError: If it is not made of a chain, or learns features at any width.
    """
    if not isinstance(model, ChainModel):
        raise UserError(f"{type(model).__name__} has no infinite-width kernel: {_why('Flax')}")
    parameterisation = getattr(model, "parameterisation", None)
    if parameterisation in ("mup", "mup_adam"):
        raise UserError(
            f"the {parameterisation!r} parameterisation has no infinite-width kernel: "
            f"{_why('mup')}; choose 'ntk' or 'standard'"
        )
    return model.chain()


def choose_engine(chain: Chain, wanted: str, input_shape: tuple[int, ...] | None) -> Engine:
    """Return the engine that computes a chain's kernels.

    Args:
        chain: Layers from input to output.
        wanted: An engine, or ``"auto"`` for the closed form wherever there is one.
        input_shape: Shape of one input, where it is known.

    Raises:
        UserError: If none does, or not the wanted one.
    """
    if wanted not in ("auto", *ENGINES):
        known = ", ".join(repr(name) for name in ("auto", *ENGINES))
        raise UserError(f"engine is {wanted!r}; choose from {known}")
    _require_limit(chain)
    _require_gaussian(chain)
    layers = {type(layer).__name__ for layer in each_layer(chain)}
    activations = {layer.name for layer in each_layer(chain) if isinstance(layer, Activation)}
    able: list[Engine] = [
        engine
        for engine in ENGINES
        if any(
            layers <= set(row.layers) and activations <= set(row.activations.get(engine, ()))
            for row in ARCHITECTURES
        )
    ]
    positions = input_shape is not None and len(input_shape) > 1
    if positions and not (chain and isinstance(chain[0], Flatten)):
        able = [engine for engine in able if engine != "closed form"]
    if not able:
        if "tanh" in activations:
            raise UserError(
                f"a network with tanh has no infinite-width kernel here: {_why('tanh')}; choose "
                f"from {', '.join(_STAX)}"
            )
        raise UserError(
            f"no engine computes the kernel of a chain of {_listed(layers)} with activations "
            f"{_listed(activations) or 'none'}; see implicit_bias.kernels.ARCHITECTURES"
        )
    if wanted == "auto":
        return able[0]
    if wanted not in able:
        raise UserError(
            f"engine is {wanted!r}, which does not compute chains of {_listed(layers)} with "
            f"activations {_listed(activations) or 'none'}; choose {able[0]!r}"
        )
    return next(engine for engine in ENGINES if engine == wanted)


def _require_limit(chain: Chain) -> None:
    """Refuse layers that no engine has a limit of.

    Raises:
        UserError: There is one.
    """
    for layer in each_layer(chain):
        name = type(layer).__name__
        part = None
        if isinstance(layer, Norm):
            part = "normalisation"
        elif isinstance(layer, LearnedScalar):
            part = "learned scalars"
        elif isinstance(layer, MaxPool):
            part = "maxima"
        elif isinstance(layer, Residual) and layer.shortcut:
            part, name = "shortcut", "a Residual with a shortcut"
        elif isinstance(layer, Affine | Conv) and layer.initial == "identity":
            part, name = "identity", f"{name} with initial 'identity'"
        elif isinstance(layer, Conv) and layer.padding == "CENTRED":
            part, name = "CENTRED", "Conv with padding 'CENTRED'"
        if part is not None:
            raise UserError(f"{name} has no infinite-width kernel here: {_why(part)}")


def _require_gaussian(chain: Chain) -> None:
    """Refuse activations of what is not a Gaussian process in the limit.

    Raises:
        UserError: If there is such an activation, or no layer with weights.
    """
    if not any(isinstance(layer, Affine | Conv) for layer in each_layer(chain)):
        raise UserError("the chain has no layer with weights; give it an Affine or a Conv")
    _gaussian(chain, False)


def _gaussian(chain: Chain, gaussian: bool) -> bool:
    spatial = False
    for layer in chain:
        match layer:
            case Affine() | Conv():
                gaussian, spatial = True, isinstance(layer, Conv)
            case Activation(name):
                if name != "identity" and not gaussian:
                    raise UserError(
                        f"the chain applies {name} to what is not the sum of a layer with weights, "
                        "which has no closed form; put an Affine or a Conv before it"
                    )
                gaussian = gaussian and name == "identity"
            case Residual(branch):
                if not gaussian:
                    raise UserError(
                        "the chain has a Residual around what is not the sum of a layer with "
                        "weights; put an Affine or a Conv before it, and the activation inside"
                    )
                _gaussian(branch, gaussian)
            case Flatten():
                # Units of different positions have different variances.
                gaussian = gaussian and not spatial
            case GlobalAverage():
                spatial = False
            case AveragePool():
                pass
    return gaussian


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _why(part: str) -> str:
    return next(row.why for row in ARCHITECTURES if part in row.name)
