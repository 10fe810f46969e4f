"""The neural tangent kernel of a finite network, at its parameters as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from implicit_bias.errors import UserError

Params = Any


def empirical_ntk(
    apply: Callable[[Params, jax.Array], jax.Array], params: Params, x: jax.Array
) -> jax.Array:
    """Compute the kernel of a probe set, reduced by the mean over outputs.

    ``K[a, b] = (1/k) sum_c grad f_c(x_a) . grad f_c(x_b)``, gradients with respect to all p
    parameters.

    The Jacobian is taken one output at a time, so memory is ``n * p`` numbers and not ``n * k *
    p``, and the work n k backward passes of single examples: meant for small probe sets (32 to 64
    examples).

    Args:
        apply: ``(params, x of shape (n, ...)) -> outputs of shape (n, k)``; each example's outputs
            must depend on that example alone.
        params: Any pytree of floating arrays.
        x: Probe set of n inputs.

    Returns:
        Shape (n, n), symmetric, positive semi-definite up to rounding.

    Raises:
        UserError: If the probe set is empty, or the outputs are not of shape (n, k).

    References:
        Jacot, Gabriel & Hongler, *Neural tangent kernel* (2018), section 4.
    """
    if x.ndim < 1 or x.shape[0] < 1:
        raise UserError(f"the probe set has shape {x.shape}; give at least one example")
    n = x.shape[0]
    outputs = jax.eval_shape(apply, params, x)
    if outputs.ndim != 2 or outputs.shape[0] != n or outputs.shape[1] < 1:
        raise UserError(
            f"the network maps {n} examples to shape {outputs.shape}; make it shape ({n}, outputs)"
        )
    k = outputs.shape[1]

    def gradient(example: jax.Array, output: jax.Array) -> jax.Array:
        def value(params: Params) -> jax.Array:
            return apply(params, example[None])[0, output]

        return ravel_pytree(jax.grad(value)(params))[0]

    def one_output(output: jax.Array) -> jax.Array:
        jacobian = jax.vmap(gradient, in_axes=(0, None))(x, output)
        return jnp.matmul(jacobian, jacobian.T, precision=jax.lax.Precision.HIGHEST)

    def add(total: jax.Array, output: jax.Array) -> tuple[jax.Array, None]:
        return total + one_output(output), None

    with jax.default_matmul_precision("highest"):
        dtype = jax.eval_shape(one_output, jnp.int32(0)).dtype
        total, _ = jax.lax.scan(add, jnp.zeros((n, n), dtype), jnp.arange(k, dtype=jnp.int32))
    return total / k
