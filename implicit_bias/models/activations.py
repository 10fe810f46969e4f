"""The values inside a network, and the network from there on.

Together they make the loss a function of one layer's activations, of which derivatives can be taken
(``curvature.activation_hessian``). Neither touches how a network is trained.
"""

from __future__ import annotations

import jax

from implicit_bias.errors import UserError, unknown
from implicit_bias.models.base import Model, Params, State
from implicit_bias.models.dense import ACTIVATIONS, Dense
from implicit_bias.models.flax_module import LinenModel, replaced, run_with_layer
from implicit_bias.models.network import Network


def layer_activations(
    model: Model, params: Params, state: State, x: jax.Array, layer: str
) -> jax.Array:
    """Return what a layer puts out, in evaluation mode.

    Args:
        model: A ``Dense`` network, a ``Network``, or an adapted Flax Linen module. For others, and
            for activations after the nonlinearity, write the two halves of the network as functions.
        params: Its parameters.
        state: Its state.
        x: Inputs, shape (n, *features).
        layer: For ``Dense`` and ``Network``, ``"layer_0"`` to the last: its sums, before the
            activation. For Linen, a submodule's path, such as ``"Dense_0"`` or ``"block/Conv_1"``:
            what its ``__call__`` returns.

    Returns:
        Shape (n, *units), one row for each example.

    Raises:
        UserError: If the model is another, there is no such layer, it is called more than once, or
            it does not return one array.
    """
    return _run(model, params, state, x, layer, None)[0]


def outputs_from(
    model: Model, params: Params, state: State, x: jax.Array, layer: str, activations: jax.Array
) -> jax.Array:
    """Return the outputs that a network has where a layer puts out the given activations.

    Args:
        model: As in ``layer_activations``.
        params: Its parameters.
        state: Its state.
        x: Inputs, shape (n, *features). They matter where something goes around the layer (a
            residual connection); what only leads to the layer is not computed in a compiled program.
        layer: As in ``layer_activations``.
        activations: In place of the layer's own, of the shape that ``layer_activations`` returns.

    Returns:
        Shape (n, k).

    Raises:
        UserError: As ``layer_activations``, or if the activations have another shape.
    """
    return _run(model, params, state, x, layer, activations)[1]


def _run(
    model: Model,
    params: Params,
    state: State,
    x: jax.Array,
    layer: str,
    instead: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Return the layer's activations, its own or the given ones, and the outputs."""
    if isinstance(model, LinenModel):
        return run_with_layer(model, params, state, x, layer, instead)
    if not isinstance(model, Dense | Network):
        raise UserError(
            f"the layers of {type(model).__name__} cannot be reached; give a Dense network, a "
            "Network or an adapted Linen module, or write the two halves of the network as functions"
        )
    names = [f"layer_{index}" for index in range(model.depth)]
    if layer not in names:
        raise unknown("layer", layer, names)
    found: list[jax.Array] = []

    def touch(index: int, sums: jax.Array) -> jax.Array:
        if names[index] != layer:
            return sums
        found.append(replaced(sums, instead))
        return found[0]

    if isinstance(model, Network):
        outputs, _ = model.passed(params, state, x, lambda index, _, sums: touch(index, sums))
        return found[0], outputs
    hidden = x.reshape(x.shape[0], -1)
    for index, entry in enumerate(model.layers(hidden.shape[1], x.dtype)):
        hidden = touch(index, model.sums(index, entry, params, state, hidden))
        if index < len(model.widths):
            hidden = ACTIVATIONS[model.activation](hidden)
    return found[0], hidden
