"""A network, which may be a model, as a checked function of parameters and inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.arguments import as_numbers, require_function
from implicit_bias.errors import UserError
from implicit_bias.models.base import Model, evaluate, failure_in

Params = Any
Apply = Callable[[Params, jax.Array], jax.Array]


def as_function(network: Any, state: Any) -> Apply:
    """Return a network, which may be a model, as a function of parameters and inputs.

    Raises:
        UserError: If it is neither, or a function of other arguments.
    """
    if isinstance(network, type) or not (callable(network) or isinstance(network, Model)):
        given = network.__name__ if isinstance(network, type) else type(network).__name__
        kind = "the class" if isinstance(network, type) else "of type"
        raise UserError(
            f"the network is {kind} {given}; give a model, or a function (params, x) -> outputs"
        )
    if isinstance(network, Model):
        return lambda params, x: evaluate(network, params, state, x)
    require_function("network", network, ("params", "x"), "outputs of shape (n, k)")
    function: Apply = network
    return function


def outputs_of(network: Any, function: Apply, params: Params, x: Any) -> jax.ShapeDtypeStruct:
    """Return shape and dtype of a network's outputs, without computing them.

    Args:
        network: What the caller gave, for its name.
        function: The same as a function.
        params: Parameters, or their shapes.
        x: Inputs, or their shape.

    Raises:
        UserError: If the network fails, or returns anything but one floating array.
    """
    try:
        outputs = jax.eval_shape(function, params, x)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        if isinstance(error, jax.errors.JAXTypeError):  # a tracer misused: its own text is best
            raise
        raise failure_in(getattr(network, "__name__", type(network).__name__), x, error) from error
    if not hasattr(outputs, "dtype"):
        raise UserError(
            f"the network returns {type(outputs).__name__}; return the outputs alone, one array of "
            "shape (n, k)"
        )
    if not jnp.issubdtype(outputs.dtype, jnp.floating):
        raise UserError(
            f"the network returns outputs of dtype {outputs.dtype}; return floating ones, which have "
            "a derivative"
        )
    return outputs


def require_floating_parameters(name: str, params: Params) -> None:
    """Refuse parameters that have no derivative.

    Raises:
        UserError: If there are none, or one is no floating array.
    """
    leaves = jax.tree.leaves_with_path(params)
    if not leaves:
        raise UserError(f"{name} has no arrays; give the network's parameters")
    for path, leaf in leaves:
        dtype = getattr(leaf, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            given = f"of type {type(leaf).__name__}" if dtype is None else f"of dtype {dtype}"
            raise UserError(f"{name}{jax.tree_util.keystr(path)} is {given}; give floating arrays")


def checked_inputs(name: str, x: Any) -> Any:
    """Return inputs, or their shape and dtype.

    Raises:
        UserError: If they are no array, or empty.
    """
    if not hasattr(x, "ndim") or not hasattr(x, "dtype"):
        raise UserError(f"{name} is of type {type(x).__name__}; give an array of shape (n, ...)")
    if x.ndim < 1 or x.shape[0] < 1:
        raise UserError(f"{name} has shape {x.shape}; give at least one example, shape (n, ...)")
    # An index that is traced does not select from NumPy's arrays.
    return as_numbers(name, x) if isinstance(x, np.ndarray) else x
