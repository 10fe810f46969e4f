"""Networks as pairs of pure functions, and the ways to bring one's own.

``get`` finds a model by name, by ``module:attribute`` from a file outside the package, or takes one
that already is a model or a Flax network. ``load_weights`` reads parameters that someone else
trained.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from implicit_bias.errors import UserError, unknown
from implicit_bias.models import layers as layers
from implicit_bias.models.activations import layer_activations as layer_activations
from implicit_bias.models.activations import outputs_from as outputs_from
from implicit_bias.models.base import Model as Model
from implicit_bias.models.base import Params as Params
from implicit_bias.models.base import Scalar as Scalar
from implicit_bias.models.base import State as State
from implicit_bias.models.base import abstract_init as abstract_init
from implicit_bias.models.base import parameter_count as parameter_count
from implicit_bias.models.constructors import conv_net as conv_net
from implicit_bias.models.constructors import normalised_dense as normalised_dense
from implicit_bias.models.constructors import residual_dense as residual_dense
from implicit_bias.models.cost import Cost as Cost
from implicit_bias.models.cost import model_cost as model_cost
from implicit_bias.models.deep_linear import DeepLinear as DeepLinear
from implicit_bias.models.dense import Dense as Dense
from implicit_bias.models.flax_module import from_flax as from_flax
from implicit_bias.models.image_nets import cnn5 as cnn5
from implicit_bias.models.image_nets import resnet as resnet
from implicit_bias.models.image_nets import vgg as vgg
from implicit_bias.models.linearised import Linearised as Linearised
from implicit_bias.models.linearised import taylor as taylor
from implicit_bias.models.network import Network as Network
from implicit_bias.models.scaled import Scaled as Scaled
from implicit_bias.models.transformer import Transformer as Transformer
from implicit_bias.models.weights import load_weights as load_weights
from implicit_bias.models.width import Padded as Padded

_REGISTRY: dict[str, Callable[..., Model]] = {
    "cnn5": cnn5,
    "conv": conv_net,
    "deep-linear": DeepLinear,
    "dense": Dense,
    "normalised": normalised_dense,
    "residual": residual_dense,
    "resnet": resnet,
    "transformer": Transformer,
    "vgg": vgg,
}


def _linearised(model: object, order: int = 1, **options: Any) -> Model:
    return Linearised(get(model, **options), order)


def _scaled(model: object, centred: bool = True, **options: Any) -> Model:
    return Scaled(get(model, **options), centred)


_REGISTRY |= {"linearised": _linearised, "scaled": _scaled}  # each takes a model and its options


def names() -> tuple[str, ...]:
    """Return the names that ``get`` knows."""
    return tuple(sorted(_REGISTRY))


def get(spec: object, **options: Any) -> Model:
    """Find or build a model.

    Args:
        spec: A registered name (``"dense"``, ``"resnet"``, …: ``names()``); ``"module:attribute"``
            naming a model, a Flax network or a function that returns either; or such an object
            itself.
        **options: Passed to the constructor or function, e.g. ``widths=(64,), outputs=10``.

    Returns:
        A model.

    Raises:
        UserError: For an unknown name, options that do not fit, or an object that is no model.
    """
    if isinstance(spec, str):
        if ":" in spec:
            from implicit_bias.plugins import load_attribute

            return _as_model(load_attribute(spec, "model"), spec, options)
        if spec not in _REGISTRY:
            raise unknown("model", spec, _REGISTRY, own="file.py:NAME")
        return _call(_REGISTRY[spec], spec, options)
    return _as_model(spec, repr(spec), options)


def _as_model(found: object, label: str, options: dict[str, Any]) -> Model:
    made: object = found
    if not isinstance(found, type) and isinstance(found, Model):
        if options:
            raise UserError(
                f"model {label} is already built, but options {sorted(options)} were given; "
                "remove them or name a function that takes them"
            )
        return found
    if _is_nnx_class(found) and not options:
        return from_flax(found)
    if not _is_linen(found) and callable(found):
        made = _call(found, label, options)
        if isinstance(made, Model):
            return made
    if _is_linen(made):
        return from_flax(made)
    needed = ("init", "apply", "describe", "output_axis")
    lacking = ", ".join(name for name in needed if not hasattr(made, name))
    raise UserError(
        f"model {label} gave {type(made).__name__}, which lacks {lacking}; see "
        "implicit_bias.models.Model, or wrap a Flax network with implicit_bias.models.from_flax"
    )


def _call(factory: Callable[..., Any], label: str, options: dict[str, Any]) -> Any:
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        if not options:
            raise UserError(
                f"model {label} is made with options: {error}; give them, or name a network that is made"
            ) from None
        raise UserError(f"model {label} cannot take options {sorted(options)}: {error}") from None
    except ValueError:  # a callable without a signature
        pass
    return factory(**options)


def _is_linen(found: object) -> bool:
    linen = sys.modules.get("flax.linen")  # an object of Flax can only exist once Flax is imported
    return linen is not None and isinstance(found, linen.Module)


def _is_nnx_class(found: object) -> bool:
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(found, type) and issubclass(found, nnx.Module)
