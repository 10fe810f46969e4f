"""How a recipe's convolutions are computed, for the plan to say."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.models import abstract_init
from implicit_bias.models.convolution import choices
from implicit_bias.models.layers import ChainModel, Conv, each_layer
from implicit_bias.training.recipe import Recipe


def convolution_reasons(
    recipe: Recipe, input_shape: tuple[int, ...], backend: str
) -> tuple[str, ...]:
    """Say how convolutions of an update are computed, forwards and backwards; nothing is computed.

    Args:
        recipe: What is trained.
        input_shape: Shape of one input.
        backend: Of JAX.

    Returns:
        One line for each method; none without convolutions.
    """
    model: Any = recipe.model
    inside = model
    while not isinstance(inside, ChainModel) and hasattr(inside, "model"):
        inside = inside.model
    if not isinstance(inside, ChainModel):
        return ()
    if not any(isinstance(layer, Conv) for layer in each_layer(inside.chain())):
        return ()
    dtype = jnp.dtype(recipe.dtype)
    example: Any = jax.ShapeDtypeStruct(input_shape, dtype)
    params, state = abstract_init(model, example)
    batch = recipe.micro_batch or recipe.batch_size
    x = jax.ShapeDtypeStruct((batch, *input_shape), dtype)

    def total(params: Any, state: Any, x: jax.Array) -> jax.Array:
        return jnp.sum(model.apply(params, state, x, train=False)[0])

    return choices(jax.make_jaxpr(jax.grad(total))(params, state, x).jaxpr, backend)
