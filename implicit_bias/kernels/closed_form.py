r"""Infinite-width kernels of fully connected networks, by a recursion of our own.

Two kernels run through the chain: the second moment ``K(x, x') = lim (1/n) Σ_i a_i(x) a_i(x')`` of a
layer's n units (the NNGP kernel; of the outputs, their covariance) and the neural tangent kernel
``Θ(x, x') = lim ∂f(x)·∂f(x')`` of one unit. A layer with weights, ``m W a + β b`` of fan-in n with
spreads σ_w and σ_b, makes of them

    K' = (m σ_w)² n K + (β σ_b)²,        Θ' = (m σ_w)² n Θ + m² n K + β².

An activation φ of Gaussian units (u, v) of covariance K makes ``K' = E φ(u) φ(v)`` and
``Θ' = Θ · E φ'(u) φ'(v)``; a residual branch adds its kernels, times its scale squared.

Cosines near one are where such formulas lose their digits: an angle is the square root of one minus
the cosine. So the recursion never forms that difference, but carries the *gap* ``1 − cos`` itself,
which every layer changes by sums of positive terms.

References:
    Cho & Saul, *Kernel methods for deep learning* (2009), eqs. 3 to 8: ReLU, with n = 1 and 0.
    Williams, *Computing with infinite networks* (1997), eq. 11: erf.
    Jacot, Gabriel & Hongler, *Neural tangent kernel* (2018), theorem 1.
    Arora et al., *On exact computation with an infinitely wide neural net* (2019), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias.models.base import Scalar
from implicit_bias.models.layers import (
    Activation,
    Affine,
    Chain,
    Conv,
    Flatten,
    Residual,
    WeightLayer,
)

# Gaps below so many roundings cannot be told from none: the inputs count as one direction.
_ROUNDINGS = 8


class Kernels(NamedTuple):
    """The two kernels of an infinitely wide network, per output.

    Attributes:
        nngp: Covariance of an output over initialisations, shape (n1, n2).
        ntk: Neural tangent kernel of an output, shape (n1, n2); of a finite network with k outputs
            it is the limit of ``(1/k)`` times the trace over outputs.
    """

    nngp: jax.Array
    ntk: jax.Array


class LayerNumbers(NamedTuple):
    """What a layer with weights does to the kernels: ``K' = aK + b``, ``Θ' = aΘ + gK + β²``.

    Attributes:
        a: ``(m σ_w)² n``, the variance a unit gains from its weights.
        b: ``(β σ_b)²``, the variance it gains from its bias.
        g: ``m² n``, the squared derivative with respect to its weights.
        bias_gradient: ``β²``, that with respect to its bias.
    """

    a: Scalar
    b: Scalar
    g: Scalar
    bias_gradient: Scalar


class Moments(NamedTuple):
    """Second moments of the units of one layer, at n1 and n2 examples.

    Attributes:
        q1: Mean squares at the first examples, shape (n1,).
        q2: Mean squares at the second examples, shape (n2,).
        gap: One minus the cosine between them, shape (n1, n2), between 0 and 2.
        ntk: Neural tangent kernel of one unit, shape (n1, n2).
    """

    q1: jax.Array
    q2: jax.Array
    gap: jax.Array
    ntk: jax.Array

    @property
    def nngp(self) -> jax.Array:
        """The second moment between examples, shape (n1, n2)."""
        return _root(self.q1)[:, None] * _root(self.q2)[None, :] * (1 - self.gap)


def layer_numbers(
    entries: Sequence[WeightLayer], scale: Scalar, dtype: jax.typing.DTypeLike
) -> tuple[LayerNumbers, ...]:
    """Return what each layer with weights does to the kernels.

    Args:
        entries: Numbers of the layers, as ``ChainModel.weight_layers`` returns them.
        scale: Factor on the initial weights, possibly traced.
        dtype: Type of numbers that are traced.
    """

    def plain(value: Scalar) -> Scalar:
        return value.astype(dtype) if isinstance(value, jax.Array) else float(value)

    def numbers(entry: WeightLayer) -> LayerNumbers:
        fan_in, m, beta, weight_std, bias_std = map(plain, entry[1:])
        g = m * m * fan_in
        spread = weight_std * plain(scale)
        return LayerNumbers(g * spread * spread, (beta * bias_std) ** 2, g, beta * beta)

    return tuple(map(numbers, entries))


def closed_form(
    chain: Chain, numbers: Sequence[LayerNumbers], x1: jax.Array, x2: jax.Array | None = None
) -> Kernels:
    """Compute both kernels of a chain of affine layers, activations and residual blocks.

    Pure, and differentiable in the inputs wherever the network's kernel is (not, for ReLU, where two
    inputs have one direction: there the derivatives of the angle are taken as zero). Where an input
    makes a ReLU's sums exactly zero, its derivative counts as zero, as it does in our networks.

    Directions so close that their cosine differs from one by no more than rounding count as one
    direction. Without that, twins among x1 and x2 would get an angle of √ε. A NaN in an input makes
    its row or column NaN.

    Args:
        chain: Layers ``Flatten``, ``Affine``, ``Activation`` (``relu``, ``erf``, ``identity``) and
            ``Residual``; anything else must have been refused before.
        numbers: Numbers of the layers with weights, in the order in which they run.
        x1: Inputs, shape (n1, *features).
        x2: Inputs, shape (n2, *features); None for x1 again, whose diagonal is then exact.

    Returns:
        Kernels of shape (n1, n2), of the inputs' dtype.
    """
    given = iter(numbers)
    moments = _through(chain, given, _of_inputs(x1, x2))
    return Kernels(moments.nngp, moments.ntk)


def _through(chain: Chain, numbers: Iterator[LayerNumbers], moments: Moments) -> Moments:
    for layer in chain:
        match layer:
            case Affine():
                moments = _affine(next(numbers), moments)
            case Activation("relu"):
                moments = _relu(moments)
            case Activation("erf"):
                moments = _erf(moments)
            case Residual(branch, scale):
                moments = _residual(moments, _through(branch, numbers, moments), scale)
            case Flatten() | Activation("identity"):
                pass
            case _:
                kind = Conv.__name__ if isinstance(layer, Conv) else repr(layer)
                raise TypeError(f"no closed form for {kind}")
    return moments


def _of_inputs(x1: jax.Array, x2: jax.Array | None) -> Moments:
    """Return the moments of the inputs themselves: K = x·x'/d, Θ = 0."""
    q1, u1 = _normalised(x1)
    q2, u2 = (q1, u1) if x2 is None else _normalised(x2)
    cosine = jnp.matmul(u1, u2.T, precision=jax.lax.Precision.HIGHEST)
    gap = _snapped(1 - cosine)
    if x2 is None:
        gap = jnp.where(jnp.eye(gap.shape[0], dtype=bool), jnp.zeros_like(gap), gap)
    return Moments(q1, q2, gap, jnp.zeros_like(gap))


def _normalised(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    flat = x.reshape(x.shape[0], -1)
    # Scaled by the largest entry first, so that no square overflows or vanishes.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(flat), axis=1, keepdims=True))
    largest = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    flat = flat / largest
    squares = jnp.sum(jnp.square(flat), axis=1)
    length = jnp.where(squares > 0, _root(squares), jnp.ones_like(squares))
    return squares * jnp.square(largest[:, 0]) / flat.shape[1], flat / length[:, None]


def _affine(numbers: LayerNumbers, old: Moments) -> Moments:
    a, b, g, bias_gradient = numbers
    ntk = a * old.ntk + g * old.nngp + bias_gradient
    q1, q2 = a * old.q1 + b, a * old.q2 + b
    if isinstance(b, float) and b == 0:
        return Moments(q1, q2, old.gap, ntk)
    # Determinant of ((a q1 + b, a K + b), (a K + b, a q2 + b)), without a difference of products.
    r1, r2 = _root(old.q1)[:, None], _root(old.q2)[None, :]
    apart = jnp.square(r1 - r2) + 2 * r1 * r2 * old.gap  # q1 + q2 − 2K
    determinant = a * a * jnp.square(r1 * r2) * old.gap * (2 - old.gap) + a * b * apart
    return Moments(q1, q2, _gap(determinant, a * old.nngp + b, q1, q2, old.gap), ntk)


def _residual(stem: Moments, branch: Moments, scale: Scalar) -> Moments:
    s = scale * scale
    branch = Moments(s * branch.q1, s * branch.q2, branch.gap, s * branch.ntk)
    q1, q2 = stem.q1 + branch.q1, stem.q2 + branch.q2
    h1, h2 = _root(stem.q1)[:, None], _root(stem.q2)[None, :]
    b1, b2 = _root(branch.q1)[:, None], _root(branch.q2)[None, :]
    cosines_gap = stem.gap + (1 - stem.gap) * branch.gap  # 1 − the product of the cosines
    determinant = (
        jnp.square(h1 * h2) * stem.gap * (2 - stem.gap)
        + jnp.square(b1 * b2) * branch.gap * (2 - branch.gap)
        + jnp.square(h1 * b2 - h2 * b1)
        + 2 * h1 * h2 * b1 * b2 * cosines_gap
    )
    gap = _gap(determinant, stem.nngp + branch.nngp, q1, q2, stem.gap)
    return Moments(q1, q2, gap, stem.ntk + branch.ntk)


def _relu(old: Moments) -> Moments:
    """Cho and Saul's arc-cosine kernels: half of those of degree 1 (K) and 0 (for Θ)."""
    sine, cosine = _root(old.gap * (2 - old.gap)), 1 - old.gap
    angle = jnp.arctan2(sine, cosine)
    derivatives = (math.pi - angle) / (2 * math.pi)
    silent = (old.q1 == 0)[:, None] | (old.q2 == 0)[None, :]
    derivatives = jnp.where(silent, jnp.zeros_like(derivatives), derivatives)
    gap = jnp.clip(old.gap - (sine - angle * cosine) / math.pi, 0, 2)
    return Moments(old.q1 / 2, old.q2 / 2, gap, old.ntk * derivatives)


def _erf(old: Moments) -> Moments:
    """Williams' kernel, (2/π) arcsin 2K/√((1 + 2 q1)(1 + 2 q2)), and the derivatives' moment."""
    q1, q2 = old.q1[:, None], old.q2[None, :]
    # (1 + 2 q1)(1 + 2 q2) − 4K², as a sum of positive terms.
    root = jnp.sqrt(1 + 2 * (q1 + q2) + 4 * q1 * q2 * old.gap * (2 - old.gap))
    nngp = _arc(2 * old.nngp, root)
    new1 = _arc(2 * old.q1, jnp.sqrt(1 + 4 * old.q1))
    new2 = _arc(2 * old.q2, jnp.sqrt(1 + 4 * old.q2))
    norm = _root(new1)[:, None] * _root(new2)[None, :]
    cosine = jnp.where(norm <= 0, jnp.zeros_like(nngp), nngp) / _or_one(norm)
    return Moments(new1, new2, _snapped(1 - cosine), old.ntk * (4 / math.pi) / root)


def _arc(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    return 2 / math.pi * jnp.arctan2(numerator, denominator)


def _gap(
    determinant: jax.Array, nngp: jax.Array, q1: jax.Array, q2: jax.Array, old: jax.Array
) -> jax.Array:
    """Return ``1 − K/√(q1 q2)`` from ``q1 q2 − K²``, which holds the digits where K is large."""
    norm = _root(q1)[:, None] * _root(q2)[None, :]
    positive = nngp >= 0
    safe = _or_one(norm)
    close = determinant / (safe * (safe + jnp.where(positive, nngp, jnp.zeros_like(nngp))))
    gap = jnp.clip(jnp.where(positive, close, 1 - nngp / safe), 0, 2)
    return jnp.where(norm <= 0, old, gap)


def _snapped(gap: jax.Array) -> jax.Array:
    """Take gaps that are only rounding as what they stand for."""
    least = _ROUNDINGS * float(jnp.finfo(gap.dtype).eps)
    gap = jnp.where(gap <= least, jnp.zeros_like(gap), gap)
    return jnp.where(gap >= 2 - least, jnp.full_like(gap, 2), gap)


# These ask for what is at most zero, which NaN is not: it must stay what it is.
def _or_one(x: jax.Array) -> jax.Array:
    return jnp.where(x <= 0, jnp.ones_like(x), x)


def _root(x: jax.Array) -> jax.Array:
    """Return the square root, with derivative zero at zero."""
    return jnp.where(x <= 0, jnp.zeros_like(x), jnp.sqrt(_or_one(x)))
