"""Margins in the outputs, and the distance in the inputs that they guarantee.

The margin of an example of class y is f_y − max_{j≠y} f_j: positive where the network is right. If f_y −
f_j changes by at most L_j for each unit of change of the input, no change shorter than
min_j (f_y − f_j)/L_j makes the network err. For a dense network whose activations have slopes of at
most one, with weights W_1 … W_d and ‖·‖ the largest singular value,

    L_j = ‖W_1‖ … ‖W_{d−1}‖ · ‖w_y − w_j‖,   w the rows of W_d       (``rows``)
    L_j = √2 ‖W_1‖ … ‖W_d‖                                         (``norm``)

The second is Tsuzuku, Sato & Sugiyama (2018), proposition 1; the first is never worse, and for a linear
classifier it is not a bound but the distance to the boundary itself. Both are far below the true
distance in deep networks, whose layers are not aligned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.arguments import as_numbers, require_numbers
from implicit_bias.errors import UserError, unknown
from implicit_bias.finite import require_finite
from implicit_bias.geometry.rescaling import dense_layers
from implicit_bias.models import Dense

Params = Any
Bound = Literal["rows", "norm"]

_SLOPES_UP_TO_ONE = ("relu", "tanh", "identity")


def output_margins(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Return f_y − max_{j≠y} f_j of each example.

    Args:
        outputs: Shape (n, k). A single output f stands for the two classes' difference: its margin is
            f for class 1 and −f for class 0.
        targets: Class numbers, shape (n,).

    Returns:
        Shape (n,), in the outputs' unit; negative where the network is wrong.

    Raises:
        UserError: If shapes or types do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import geometry
        >>> outputs = jnp.array([[2.0, 0.5, -1.0], [0.0, 1.0, 3.0]])
        >>> geometry.output_margins(outputs, jnp.array([0, 1])).tolist()
        [1.5, -2.0]
    """
    outputs, targets = as_numbers("outputs", outputs), as_numbers("targets", targets)
    others = _gaps(outputs, targets)
    return jnp.min(others, axis=1)


def certified_radii(
    model: Dense,
    params: Params,
    inputs: jax.Array,
    targets: jax.Array,
    *,
    bound: Bound = "rows",
    scale: float | jax.Array = 1.0,
    state: Any = None,
) -> jax.Array:
    """Return, for each input, an ℓ2 distance within which no change makes the network err.

    Args:
        model: A dense network with activation ``relu``, ``tanh`` or ``identity``.
        params: Its parameters.
        inputs: Shape (n, *features).
        targets: Class numbers, shape (n,).
        bound: ``"rows"`` or ``"norm"``; see the module's text.
        scale: One pixel unit in the inputs' units, a number or shape features: distances are then in
            pixel units, as in ``adversarial``.
        state: The model's state, if it has one.

    Returns:
        Shape (n,); zero where the network is wrong already, infinite where no change of the input
        can change the order of the outputs.

    Raises:
        UserError: If the network has another architecture or activation, its parameters are not
            finite or not its own, the bound is unknown, or a shape does not fit.

    References:
        Tsuzuku, Sato & Sugiyama, *Lipschitz-margin training* (2018), proposition 1 and section 4.
    """
    if bound not in get_args(Bound):
        raise unknown("bound", bound, get_args(Bound))
    if not isinstance(model, Dense) or model.activation not in _SLOPES_UP_TO_ONE:
        kind = (
            f"activation {model.activation!r}" if isinstance(model, Dense) else type(model).__name__
        )
        raise UserError(
            f"the certified radius is for dense networks with activation "
            f"{', '.join(_SLOPES_UP_TO_ONE)}, but this one has {kind}; choose one of these"
        )
    names = dense_layers(params)
    if len(names) != model.depth:
        raise UserError(
            f"the parameters have {len(names)} layers, but the model has {model.depth}; "
            "give the model's own"
        )
    require_finite(params)
    inputs, targets = as_numbers("inputs", inputs), as_numbers("targets", targets)
    require_numbers("scale", scale)
    if state is not None and not isinstance(state, Mapping):
        raise UserError(f"state is of type {type(state).__name__}; give the model's, or None")
    if jnp.shape(scale) not in ((), inputs.shape[1:]):
        raise UserError(
            f"scale has shape {jnp.shape(scale)}; give one number, or shape {inputs.shape[1:]}"
        )
    if not isinstance(scale, jax.core.Tracer) and not np.all(np.asarray(scale) > 0):
        raise UserError("a scale is not positive; choose scales > 0")
    state = {} if state is None else state
    with jax.default_matmul_precision("highest"):
        outputs, _ = model.apply(params, state, inputs)
    weights = _effective_weights(model, params, state, inputs, scale)
    *hidden, last = weights
    slope = jnp.ones((), last.dtype)
    for weight in hidden:
        slope = slope * _largest_singular_value(weight)
    gaps = _gaps(outputs, targets)
    if bound == "norm":
        # One output is already the difference of two.
        factor = 1.0 if model.outputs == 1 else 2**0.5
        slopes = jnp.full_like(gaps, factor) * (slope * _largest_singular_value(last))
    elif model.outputs == 1:
        slopes = jnp.full_like(gaps, 1) * (slope * jnp.sqrt(jnp.sum(jnp.square(last))))
    else:
        apart = last[:, None, :] - last[None, :, :]
        # Row y of the distances between all rows; a class's distance to itself has an infinite gap.
        slopes = slope * jnp.sqrt(jnp.sum(jnp.square(apart), axis=2))[targets]
    constant = slopes == 0
    ratios = jnp.where(constant, jnp.inf, gaps / jnp.where(constant, jnp.ones_like(slopes), slopes))
    radii = jnp.min(ratios, axis=1)
    return jnp.where(jnp.min(gaps, axis=1) > 0, radii, jnp.zeros_like(radii))


def _gaps(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Return f_y − f_j for all j, infinite for j = y, (n, k); for one output ±f, (n, 1)."""
    integer = jnp.issubdtype(targets.dtype, jnp.integer)
    if outputs.ndim != 2 or targets.shape != outputs.shape[:1] or not integer:
        raise UserError(
            f"outputs have shape {outputs.shape} and targets {targets.shape} of type {targets.dtype}; "
            "give outputs (n, k) with class numbers (n,)"
        )
    if outputs.shape[1] == 1:
        return jnp.where(targets[:, None] == 1, outputs, -outputs)
    chosen = targets[:, None] == jnp.arange(outputs.shape[1], dtype=targets.dtype)[None, :]
    own = jnp.sum(jnp.where(chosen, outputs, 0), axis=1, keepdims=True)
    return jnp.where(chosen, jnp.inf, own - outputs)


def _effective_weights(
    model: Dense, params: Params, state: Any, inputs: jax.Array, scale: float | jax.Array
) -> list[jax.Array]:
    """Return the matrices that the network multiplies by: weights times forward multipliers."""
    n_inputs = int(np.prod(inputs.shape[1:]))
    padded = state.get("multipliers") if state else None
    weights = []
    for index, layer in enumerate(model.layers(n_inputs, inputs.dtype)):
        name = f"layer_{index}"
        multiplier = padded[name]["weight"] if padded else layer.weight_multiplier
        weights.append(jnp.asarray(multiplier, inputs.dtype) * params[name]["weight"])
    columns = jnp.broadcast_to(jnp.asarray(scale, inputs.dtype), inputs.shape[1:]).reshape(-1)
    return [weights[0] * columns[None, :], *weights[1:]]


def _largest_singular_value(matrix: jax.Array) -> jax.Array:
    return jnp.linalg.svd(matrix, compute_uv=False)[0]
