"""Measures of size and flatness that rescaling the layers of a ReLU network leaves unchanged.

And one that it does not: the largest Hessian eigenvalue over the loss, which is kept because it is
used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_function, require_key, require_whole, scalar_valued
from implicit_bias.chunks import Batch, checked_chunk_size, chunked_sum, example_count
from implicit_bias.errors import UserError
from implicit_bias.finite import require_finite
from implicit_bias.random_probes import TraceEstimate, check_tolerance, trace_estimate

Params = Any


def fisher_rao_norm(
    per_example: Callable[[Params, Batch], jax.Array],
    params: Params,
    data: Batch,
    *,
    chunk_size: int | None = None,
) -> jax.Array:
    """Return the Fisher–Rao norm ``sqrt(θ · I(θ) θ)``, I the mean of ``∇l_i ∇l_iᵀ``.

    That is the root mean square, over examples, of the loss's derivative along the parameters
    themselves: one forward-mode product. The expectation is over the data's own labels, as in the
    source's definition (the "empirical" Fisher matrix). It is unchanged by any rescaling of
    single parameters that changes no output. For a network without biases, of depth d (weight
    layers) with ReLU or no activation, it equals ``d · sqrt(mean (∂l_i/∂f · f)²)`` (their
    analytical form, with L = d − 1 hidden layers).

    Args:
        per_example: ``(params, batch of c examples) -> losses (c,)``.
        params: Any pytree of floating arrays.
        data: Pytree of arrays with one leading axis of n examples.
        chunk_size: Examples at once; all by default.

    Returns:
        A scalar, in units of the loss.

    Raises:
        UserError: If there are no examples, ``chunk_size`` is below one, the losses have another
            shape, or parameters that are not traced are not finite.

    References:
        Liang, Poggio, Rakhlin & Stokes, *Fisher–Rao metric, geometry, and complexity of neural
        networks* (2019), their definition of the norm and its analytical form.
    """
    require_function(
        "per_example", per_example, ("params", "batch"), "the examples' losses, shape (examples,)"
    )
    if chunk_size is not None:
        require_whole("chunk_size", chunk_size)
    require_finite(params)
    n = example_count(data)
    size = checked_chunk_size(chunk_size, n)
    dtype = jnp.result_type(*jax.tree.leaves(params))
    if not jnp.issubdtype(dtype, jnp.floating):
        raise UserError(f"the parameters have type {dtype}; give floating-point parameters")

    def squares(batch: Batch, weights: jax.Array) -> jax.Array:
        def losses(theta: Params) -> jax.Array:
            found = per_example(theta, batch)
            given = getattr(found, "shape", type(found).__name__)
            if given != weights.shape:
                raise UserError(
                    f"per_example returns shape {given} for {weights.shape[0]} examples; "
                    f"return one loss per example, shape {weights.shape}"
                )
            return found

        _, slopes = jax.jvp(losses, (params,), (params,))
        return jnp.sum(weights * jnp.square(slopes))

    with jax.default_matmul_precision("highest"):
        return jnp.sqrt(chunked_sum(squares, data, jnp.full((n,), 1 / n, dtype), size))


def relative_flatness(
    loss: Callable[[Params], jax.Array],
    params: Params,
    layer: str,
    *,
    n_probes: int | None = None,
    key: jax.Array | None = None,
    batch_size: int = 1,
    tol: float = 0.1,
) -> TraceEstimate:
    """Return the relative flatness of a layer, κ = Σ_{s,s'} ⟨w_s, w_s'⟩ · tr H_{s,s'}.

    Here w_s are the rows of the layer's weight (each one unit's incoming weights), and H_{s,s'} is
    the block of the loss's Hessian between rows s and s'. Large κ means sharp, in spite of the
    name. It is unchanged by rescaling the layers of a ReLU network. The sum is
    ``Σ_{k,i} V_ki · H V_ki`` over V_ki = (k-th singular vector times value) ⊗ (i-th unit vector):
    exactly ``min(d, m) · m`` products with the layer's Hessian block for a weight of shape (d, m),
    or, with ``n_probes``, an unbiased estimate by random signs in place of k and i.

    Args:
        loss: ``params -> scalar``, mostly the mean loss over a dataset.
        params: A nested dict with ``params[layer]["weight"]`` of shape (units, inputs).
        layer: The source measures the last hidden representation, so the last layer.
        n_probes: How many random probes, at least two; ``None`` for the exact sum.
        key: For the probes.
        batch_size: Products at once; memory grows with it.
        tol: Relative standard error up to which the estimate counts as converged.

    Returns:
        κ in units of the loss, its standard error (zero when exact), the number of products, and
        whether that error is within ``tol``.

    Raises:
        UserError: If the layer has no such weight, or the options for probes do not fit.

    References:
        Petzka, Kamp, Adilova, Sminchisescu & Boley, *Relative flatness and generalization* (2021),
        their definition of relative flatness by the trace, ``κ_Tr``.
    """
    known = list(params) if isinstance(params, Mapping) else []
    if (
        layer not in known
        or not isinstance(params[layer], Mapping)
        or "weight" not in params[layer]
    ):
        raise UserError(
            f"there is no weight in layer {layer!r} (known: {', '.join(map(str, known)) or 'none'})"
        )
    loss = scalar_valued("loss", loss, ("params",), "return one number, such as the mean loss")
    require_finite(params)
    weight = params[layer]["weight"]
    if jnp.ndim(weight) != 2 or not jnp.issubdtype(weight.dtype, jnp.floating):
        raise UserError(
            f"the weight of {layer!r} has shape {jnp.shape(weight)} and type "
            f"{jnp.result_type(weight)}; give a layer with a floating weight (units, inputs)"
        )
    require_whole("batch_size", batch_size)
    check_tolerance(tol)
    if n_probes is not None:
        require_whole("n_probes", n_probes)
    if key is not None:
        require_key(key)
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; choose batch_size >= 1 products at once")
    if n_probes is None:
        key = jax.random.key(0)  # not used
    elif n_probes < 2 or key is None:
        raise UserError(
            f"n_probes is {n_probes}; choose n_probes >= 2 and give a key, or None for the exact sum"
        )

    def own_loss(own: jax.Array) -> jax.Array:
        return loss({**params, layer: {**params[layer], "weight": own}})

    with jax.default_matmul_precision("highest"):
        _, product = jax.linearize(jax.grad(own_loss), weight)
        vectors, values, _ = jnp.linalg.svd(weight, full_matrices=False)
        factors = vectors * values[None, :]
        rank, inputs = factors.shape[1], weight.shape[1]

        def along(left: jax.Array, right: jax.Array) -> jax.Array:
            probe = left[:, None] * right[None, :]
            return jnp.sum(probe * product(probe))

        def term(index: jax.Array) -> jax.Array:
            unit = (jnp.arange(inputs, dtype=jnp.int32) == index % inputs).astype(weight.dtype)
            return along(factors[:, index // inputs], unit)

        def sample(index: jax.Array) -> jax.Array:
            left, right = jax.random.split(jax.random.fold_in(key, index))
            signs = jax.random.rademacher(left, (rank,), weight.dtype)
            return along(factors @ signs, jax.random.rademacher(right, (inputs,), weight.dtype))

        if n_probes is None:
            count = rank * inputs
            terms = jax.lax.map(
                term, jnp.arange(count, dtype=jnp.int32), batch_size=min(batch_size, count)
            )
            total, none = jnp.sum(terms), jnp.zeros((), weight.dtype)
            return TraceEstimate(total, none, jnp.int32(count), jnp.isfinite(total))
        samples = jax.lax.map(
            sample, jnp.arange(n_probes, dtype=jnp.int32), batch_size=min(batch_size, n_probes)
        )
        return trace_estimate(samples, n_probes, tol)


def lambda_max_over_loss(lambda_max: jax.Array, loss: jax.Array) -> jax.Array:
    """Return the largest Hessian eigenvalue over the loss, elementwise.

    It does not change when the loss is multiplied by a constant. It does change when a constant is
    added to the loss, and, like the eigenvalue itself, under rescaling of the layers of a ReLU
    network, which changes no output: values of different networks do not compare by it.
    """
    return lambda_max / loss
