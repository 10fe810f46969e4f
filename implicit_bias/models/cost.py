"""What a network costs: its parameters, and the arithmetic of one example."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias.models.base import Model, abstract_init, parameter_count
from implicit_bias.models.chains import sizes_of
from implicit_bias.models.layers import ChainModel
from implicit_bias.operations import counted_operations


class Cost(NamedTuple):
    """What a network costs.

    Attributes:
        parameters: Numbers that are learned; running statistics are none.
        multiply_adds: Multiplications with an addition that products and convolutions take to
            evaluate one example, as they are defined: algorithms that save some of them do not
            count. Biases, activations, normalisation and pooling do not count either.
    """

    parameters: int
    multiply_adds: int

    @property
    def flops(self) -> int:
        """Floating-point operations to evaluate one example: two for each multiply-add."""
        return 2 * self.multiply_adds


def model_cost(
    model: Model, input_shape: tuple[int, ...], dtype: jax.typing.DTypeLike = jnp.float32
) -> Cost:
    """Return what a network costs; nothing is computed or compiled.

    A network that is made of a chain of layers is counted by its layers, any other from the products
    and convolutions that JAX would run. Training takes about three times the arithmetic.

    Args:
        model: Any model.
        input_shape: Shape of one input.
        dtype: Type of the inputs.

    Raises:
        UserError: If the shape does not fit the network.
    """
    example: Any = jax.ShapeDtypeStruct(input_shape, dtype)
    params, state = abstract_init(model, example)
    if isinstance(model, ChainModel):
        layers = sizes_of(model.chain(), input_shape).weights
        operations = sum(size.places * size.outputs * size.fan_in for size in layers)
    else:
        operations = _operations(model, params, state, example)
    return Cost(parameter_count(params), operations)


def _operations(model: Model, params: Any, state: Any, example: Any) -> int:
    """Count multiply-adds of one example from what JAX would run."""

    def counted(n: int) -> float:
        x = jax.ShapeDtypeStruct((n, *example.shape), example.dtype)

        def run(params: Any, state: Any, x: jax.Array) -> jax.Array:
            outputs: jax.Array = model.apply(params, state, x, train=False)[0]
            return outputs

        return counted_operations(jax.make_jaxpr(run)(params, state, x).jaxpr)[0]

    # What does not grow with the examples cancels.
    return round((counted(3) - counted(2)) / 2)
