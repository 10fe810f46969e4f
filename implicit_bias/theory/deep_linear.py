"""Deep linear networks, W = W_L ⋯ W_1: gradients of layers, balance, and how long a mode takes.

Gradient flow keeps ``W_{l+1}ᵀW_{l+1} − W_l W_lᵀ`` of every pair of layers as it is [DHL]. Where these are
zero the network is *balanced*, and its singular values σ follow

    σ′ = −L σ^{2 − 2/L} uᵀ∇ℓ(W)v                                           [A19], theorem 3,

u, v being the singular vectors. On whitened inputs, ℓ = ½‖W − T‖²_F, a mode whose vectors are those of T and
whose target is c follows σ′ = L σ^{2−2/L}(c − σ): with σ = w^L, w that mode of each layer, it is
w′ = w^{L−1}(c − w^L) [SMG], which parts into integrals that are known.

References:
    [SMG] A. Saxe, J. McClelland, S. Ganguli, *Exact solutions to the nonlinear dynamics of learning in deep
        linear neural networks*, ICLR 2014.
    [DHL] S. Du, W. Hu, J. Lee, *Algorithmic regularization in learning deep homogeneous models*,
        NeurIPS 2018.
    [A18] S. Arora, N. Cohen, E. Hazan, *On the optimization of deep networks*, ICML 2018.
    [A19] S. Arora, N. Cohen, W. Hu, Y. Luo, *Implicit regularization in deep matrix factorization*,
        NeurIPS 2019.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import count, finite, not_negative, positive, together

Layers = Sequence[np.ndarray]
"""W_1, …, W_L, the one next to the inputs first; W_l has shape (n_l, n_{l−1})."""

FARTHEST = 36.0
"""Logarithm of σ/(c − σ) beyond which σ is c to the last digit."""


def product_of(layers: Layers) -> np.ndarray:
    """Return W_L ⋯ W_1.

    Raises:
        UserError: There is no layer, or one is no finite matrix or does not fit the layer before it.
    """
    layers = layers_of(layers)
    for place, (before, after) in enumerate(itertools.pairwise(layers)):
        if before.shape[0] != after.shape[1]:
            raise UserError(
                f"layer {place + 2} has shape {after.shape}, but layer {place + 1} has shape "
                f"{before.shape}; give each layer as many columns as the one before it has rows"
            )
    return functools.reduce(lambda inner, outer: outer @ inner, layers)


def layer_gradients(layers: Layers, slope: np.ndarray) -> list[np.ndarray]:
    """Return the gradient by each layer: ``(W_L ⋯ W_{l+1})ᵀ ∇ℓ(W) (W_{l−1} ⋯ W_1)ᵀ``.

    Args:
        layers: The layers.
        slope: ∇ℓ(W), the gradient by the product; (Wx − y)xᵀ for half the squared error.

    Returns:
        One array a layer, of its shape.

    Raises:
        UserError: The slope is not of the product's shape.

    References:
        [A18], section 4.
    """
    outer = [np.asarray(slope)]
    # Flows call this at every step: no more is looked at than shapes.
    wanted = (*np.shape(layers[-1])[:1], *np.shape(layers[0])[1:])
    if outer[0].shape != wanted:
        raise UserError(f"slope has shape {outer[0].shape}; give that of the product, {wanted}")
    for layer in reversed(layers[1:]):
        outer.append(layer.T @ outer[-1])
    outer.reverse()
    found = [outer[0]]
    inner = layers[0]
    for place in range(1, len(layers)):
        found.append(outer[place] @ inner.T)
        inner = layers[place] @ inner
    return found


def product_velocity(product: np.ndarray, slope: np.ndarray, depth: int) -> np.ndarray:
    """Return dW/dt of a balanced network from its product alone.

    ``W′ = −Σ_j (WWᵀ)^{(j−1)/L} ∇ℓ(W) (WᵀW)^{(L−j)/L}``, j = 1, …, L.

    Args:
        product: W, of any shape.
        slope: ∇ℓ(W).
        depth: L.

    Raises:
        UserError: They are no finite matrices of one shape, or the depth is no whole number from 1 on.

    References:
        [A18], theorem 1.
    """
    steps = count("depth", depth)
    product = finite("product", product, axes=2)
    slope = finite("slope", slope, shape=product.shape)
    u, s, vt = np.linalg.svd(product)
    left, right = np.zeros(u.shape[0]), np.zeros(vt.shape[0])
    left[: s.size] = right[: s.size] = s
    turned = u.T @ slope @ vt.T
    powers = sum(
        np.outer(left ** (2 * (j - 1) / steps), right ** (2 * (steps - j) / steps))
        for j in range(1, steps + 1)
    )
    return -u @ (powers * turned) @ vt


def imbalance(layers: Layers) -> float:
    """Return the largest ‖W_{l+1}ᵀW_{l+1} − W_l W_lᵀ‖_F; 0 for one layer.

    Raises:
        UserError: As :func:`product_of`.
    """
    product_of(layers)
    return max(
        (
            float(np.linalg.norm(after.T @ after - before @ before.T))
            for before, after in itertools.pairwise(layers_of(layers))
        ),
        default=0.0,
    )


def balanced_layers(product: Any, depth: int) -> list[np.ndarray]:
    """Return balanced layers of a product: with W = UΣVᵀ, Σ^{1/L}Vᵀ, then Σ^{1/L}, …, and UΣ^{1/L}.

    Args:
        product: W, shape (k, d); hidden layers get min(k, d) units.
        depth: L ≥ 1.

    Raises:
        UserError: W is no finite matrix, or the depth is not a whole number from 1 on.

    References:
        [A19], procedure 1.
    """
    w = finite("product", product, axes=2)
    steps = count("depth", depth)
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    root = s ** (1 / steps)
    if steps == 1:
        return [w]
    return [root[:, None] * vt, *[np.diag(root) for _ in range(steps - 2)], u * root]


def mode_time(start: Any, end: Any, target: Any, depth: int, strength: Any = 1.0) -> np.ndarray:
    """Return how long a balanced mode takes from one size to another.

    Args:
        start: σ₀ > 0.
        end: σ, from ``start`` on and below the target.
        target: c.
        depth: L ≥ 1.
        strength: Variance of the inputs along the mode; time goes as its inverse.

    Returns:
        The time, in units of gradient flow, of the arguments' common shape.

    Raises:
        UserError: 0 < σ₀ ≤ σ < c does not hold, or the depth is not a whole number from 1 on.

    References:
        [SMG], section 1.1 (L = 2: equation 8) and its supplement for more layers.
    """
    steps = count("depth", depth)
    given = {
        "start": not_negative("start", start), "end": not_negative("end", end),
        "target": not_negative("target", target), "strength": not_negative("strength", strength),
    }  # fmt: skip
    together(**given)
    s0, s1, c, rate = np.broadcast_arrays(*given.values())
    bad = ~((s0 > 0) & (s0 <= s1) & (s1 < c) & (rate > 0))
    if np.any(bad):
        raise UserError(
            f"a mode goes from {s0[bad].flat[0]:g} to {s1[bad].flat[0]:g} with target "
            f"{c[bad].flat[0]:g}; choose 0 < start ≤ end < target, and a positive strength"
        )
    return (_clock(s1, c, steps) - _clock(s0, c, steps)) / rate


def _clock(s: Any, c: Any, depth: int) -> Any:
    """Return ∫ dw/(w^{L−1}(c − w^L)) up to a constant, at w = s^{1/L}.

    The integrand is (w^{1−L} + w/(c − w^L))/c.
    """
    if depth == 1:
        return -np.log1p(-s / c)
    if depth == 2:
        return (np.log(s / c) - np.log1p(-s / c)) / (2 * c)
    from scipy.special import hyp2f1

    w, share = s ** (1 / depth), 2 / depth
    late = w**2 / (2 * c) * hyp2f1(1.0, share, 1.0 + share, s / c)
    return (late - w ** (2 - depth) / (depth - 2)) / c


def mode_path(
    times: Any, start: float, target: float, depth: int, strength: float = 1.0
) -> np.ndarray:
    """Return the size of a balanced mode at each time.

    Args:
        times: t ≥ 0, any shape.
        start: σ₀, above 0 and below the target.
        target: c.
        depth: L ≥ 1.
        strength: Variance of the inputs along the mode.

    Returns:
        σ(t), of the shape of ``times``; exact for one and two layers, to 1e-12 for more.

    Raises:
        UserError: As :func:`mode_time`, or a time is negative.
    """
    t, depth = not_negative("time", times), count("depth", depth)
    start, c, rate = (
        positive("start", start),
        positive("target", target),
        positive("strength", strength),
    )
    mode_time(start, start, c, depth, rate)
    if depth == 1:
        return c - (c - start) * np.exp(-rate * t)
    begin = np.log(start) - np.log(c - start)
    if depth == 2:
        return c / (1 + np.exp(-(begin + 2 * c * rate * t)))
    # The time is monotone in the logarithm of σ/(c − σ); bisection needs nothing else.
    low, high = np.full(t.shape, begin), np.full(t.shape, max(FARTHEST, begin + 1))
    first = _clock(np.float64(start), np.float64(c), depth)
    for _ in range(60):
        middle = (low + high) / 2
        early = (_clock(c / (1 + np.exp(-middle)), np.float64(c), depth) - first) / rate < t
        low, high = np.where(early, middle, low), np.where(early, high, middle)
    return c / (1 + np.exp(-(low + high) / 2))


def second_mode(depth: int, start: float, share: float, learnt: float = 0.9) -> float:
    """Return how large a weaker mode is when a stronger one has been learnt, each as a part of its target.

    Targets are 1 and ``share``, both modes start at ``start``, and inputs are whitened. One layer learns all
    modes at one rate; more layers learn the strong one first.

    Args:
        depth: L ≥ 1.
        start: σ₀ of the product, below ``share``.
        share: Target of the weaker mode, between 0 and 1.
        learnt: What of the stronger mode is there, between 0 and 1, above ``start``.

    Raises:
        UserError: As :func:`mode_time`.
    """
    share, learnt = positive("share", share), positive("learnt", learnt)
    time = mode_time(start, learnt, 1.0, depth)
    return float(mode_path(time, start, share, depth) / share)


def layers_of(layers: Any) -> list[np.ndarray]:
    """Return layers as float64.

    Raises:
        UserError: There is none, or one is no finite matrix.
    """
    if not isinstance(layers, list | tuple | np.ndarray) or not len(layers):
        raise UserError("there are no layers; give a list of at least one matrix")
    return [finite(f"layer {place}", layer, axes=2) for place, layer in enumerate(layers, 1)]
