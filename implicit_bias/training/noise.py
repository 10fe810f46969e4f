"""Noise of a smaller batch, added to the gradient of a larger one in a single backward pass."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def noisy_weights(key: jax.Array, weights: jax.Array, small_batch: jax.Array) -> jax.Array:
    """Return example weights whose weighted gradient has the noise of a smaller batch.

    With B examples of weight 1/B, gradients gᵢ and sample covariance S = Σ (gᵢ − ḡ)(gᵢ − ḡ)ᵀ / (B − 1),
    example i receives 1/B + √((1/b − 1/B)/(B − 1)) · (zᵢ − z̄) with z standard normal. Given the batch,
    Σ wᵢ gᵢ then has mean ḡ and covariance (1/b − 1/B) S: what a batch of b drawn from these B adds
    (Wu et al. 2020, "On the noisy gradient descent that generalizes as SGD", use the same multiplicative
    noise).

    Args:
        key: Random key.
        weights: (B,) equal positive weights, or 0 for the empty slots of a smaller last batch, whose
            number of examples then takes the place of B.
        small_batch: b, a scalar between 1 and B.

    Returns:
        (B,) weights with the sum of ``weights``.
    """
    present = weights > 0
    count = jnp.sum(present).astype(weights.dtype)
    z = jnp.where(present, jax.random.normal(key, weights.shape, weights.dtype), 0)
    centred = jnp.where(present, z - jnp.sum(z) / count, 0)
    excess = jnp.maximum(1 / small_batch - 1 / count, 0)
    return weights + jnp.sqrt(excess / jnp.maximum(count - 1, 1)) * centred
