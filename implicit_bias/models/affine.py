"""What all networks of affine layers share: the one product, and checks of their fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError, unknown
from implicit_bias.models.base import Params, Scalar
from implicit_bias.models.initializers import GAINS, INITS


def product(hidden: jax.Array, weight: jax.Array) -> jax.Array:
    """Return ``h Wᵀ`` over the last axis of h: one product, without a transpose for XLA to move."""
    return jnp.tensordot(hidden, weight, axes=((hidden.ndim - 1,), (1,)))


def affine(
    name: str,
    params: Params,
    bias: bool,
    multipliers: tuple[Scalar, Scalar],
    hidden: jax.Array,
    multiply: Callable[[jax.Array, jax.Array], jax.Array] = product,
    positions: int = 1,
) -> jax.Array:
    """Return ``m · h Wᵀ + β · b`` over the last axis of the inputs.

    Args:
        name: The layer's name among the parameters.
        params: All parameters.
        bias: Whether the layer has biases.
        multipliers: m and β.
        hidden: The layer's inputs h, shape (batch, ..., n_in).
        multiply: From h and W to what stands for h Wᵀ: a convolution, say.
        positions: How many of W's columns belong to each of the n_in inputs.

    Returns:
        Shape (batch, ..., n_out).

    Raises:
        UserError: If the parameters lack the layer, or the shapes do not fit each other.
    """
    parts = ("weight", "bias") if bias else ("weight",)
    if not isinstance(params, Mapping) or not all(p in params.get(name, ()) for p in parts):
        raise UserError(
            f"the parameters have no {' and '.join(parts)} in {name}; "
            "give those of this network, as its init returns them"
        )
    weight = params[name]["weight"]
    if weight.ndim != 2 or weight.shape[1] != positions * hidden.shape[-1]:
        raise UserError(
            f"{name} has a weight of shape {weight.shape}, but its inputs have "
            f"{positions * hidden.shape[-1]} features; give inputs (batch, *features) and parameters that "
            "fit each other"
        )
    sums = times(multipliers[0], multiply(hidden, weight))
    if bias:
        shift = times(multipliers[1], params[name]["bias"])
        sums = sums + shift.reshape((1,) * (hidden.ndim - 1) + shift.shape)
    return sums


def times(multiplier: Scalar, array: jax.Array) -> jax.Array:
    """Multiply, unless by the constant one."""
    return array if isinstance(multiplier, float) and multiplier == 1.0 else multiplier * array


def require_parameterisation(
    known: Sequence[str],
    parameterisation: str,
    initialisation: str,
    bias_std: float,
    bias_scale: float,
) -> None:
    """Raise ``UserError`` unless these fields of a network can be used, and together."""
    if parameterisation not in known:
        raise unknown("parameterisation", parameterisation, known)
    if initialisation not in INITS:
        raise unknown("initialisation", initialisation, INITS)
    if parameterisation != "standard" and initialisation not in GAINS:
        raise UserError(
            f"initialisation is {initialisation!r}, which the {parameterisation!r} "
            "parameterisation cannot use, as it depends on the fan-out; choose 'he' or 'lecun'"
        )
    if not (bias_std >= 0 and math.isfinite(bias_std)):
        raise UserError(f"bias_std is {bias_std}; choose a finite bias_std >= 0")
    if not (bias_scale > 0 and math.isfinite(bias_scale)):
        raise UserError(f"bias_scale is {bias_scale}; choose a finite bias_scale > 0")
    if bias_scale != 1.0 and parameterisation != "ntk":
        raise UserError(
            f"bias_scale is {bias_scale}, but the {parameterisation!r} "
            "parameterisation has none; leave it at 1 or choose parameterisation='ntk'"
        )


def require_taps(taps: Sequence[jax.Array] | None, depth: int) -> None:
    """Raise ``UserError`` unless there is one tap for each layer with weights, or none at all."""
    if taps is not None and len(taps) != depth:
        raise UserError(f"{len(taps)} taps are given for {depth} layers with weights; give {depth}")


def require_positive(name: str, value: object) -> None:
    """Raise ``UserError`` unless a value is a whole number >= 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{name} is {value!r}; choose a whole number >= 1")
