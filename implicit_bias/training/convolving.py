"""How a recipe's convolutions are computed, for the plan to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.models import abstract_init
from implicit_bias.models.convolution import SLOTS, Product, choices
from implicit_bias.models.convolution_table import Choice
from implicit_bias.models.layers import ChainModel, Conv, each_layer
from implicit_bias.training.recipe import Recipe

Convolutions = Sequence[tuple[Choice, Product]]
"""Products, and how each is computed and why."""

_MADE = {"sums": "sums", "images": "gradients of images", "weight": "gradients of weights"}


def convolutions_of(
    recipe: Recipe, input_shape: tuple[int, ...], backend: str
) -> tuple[tuple[Choice, Product], ...]:
    """Return how convolutions of an update are computed, forwards and backwards; nothing is computed.

    Args:
        recipe: What is trained.
        input_shape: Shape of one input.
        backend: Of JAX.

    Returns:
        Each product once, and its row of the table; none without convolutions.
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


def summarised(convolutions: Convolutions) -> tuple[str, ...]:
    """Say how convolutions are computed, and why: one line for each method, with the range of shapes.

    Args:
        convolutions: Of ``convolutions_of``, of several recipes one after another.
    """
    lines = []
    for method in dict.fromkeys(choice.method for choice, _ in convolutions):
        rows = [row for row in dict.fromkeys(convolutions) if row[0].method == method]
        reasons = dict.fromkeys(choice.reason for choice, _ in rows)
        made = {product.output for _, product in rows}
        shapes = [product.given for _, product in rows]
        sizes = [f"{size} x {size}" for size in sorted({given.size for given in shapes})]
        channels = [number for given in shapes for number in (given.inputs, given.outputs)]
        images = sorted({(given.height, given.width) for given in shapes})
        ends = [f"{height} x {width}" for height, width in dict.fromkeys((images[0], images[-1]))]
        lines.append(
            f"convolutions by {method!r} ({'; '.join(reasons)}): {len(rows)} "
            f"{'product' if len(rows) == 1 else 'products'}, "
            f"{', '.join(_MADE[slot] for slot in reversed(SLOTS) if slot in made)}; patches of "
            f"{', '.join(sizes)}, {_range(min(channels), max(channels))} channels, images of "
            f"{' to '.join(ends)}"
        )
    return tuple(lines)


def listed(convolutions: Convolutions) -> list[dict[str, Any]]:
    """Return how convolutions are computed, as JSON-ready data: each method and reason, and its products."""
    found: dict[Choice, list[str]] = {}
    for choice, product in dict.fromkeys(convolutions):
        found.setdefault(choice, []).append(str(product))
    return [
        {
            "method": choice.method,
            "reason": choice.reason,
            "products": list(dict.fromkeys(products)),
        }
        for choice, products in found.items()
    ]


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"
