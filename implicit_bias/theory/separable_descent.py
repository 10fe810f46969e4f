"""Descent on separable data: plain steps, normalised steps, and steepest descent in ℓ1, ℓ2 and ℓ∞.

Signed examples z_i = y_i x_i are rows of Z. Normalised methods step along the gradient of log Σ exp(−z_i·w),
the gradient over the loss, which does not vanish as the loss does; no exponential under- or overflows.

    normalised:  w ← w + η_k p,                p = Σ_i q_i z_i,  q = softmax(−Zw)
    steepest:    w ← w + η_k v,                v = argmax of p·v over ‖v‖ ≤ 1

In ℓ2 the second steps along p/‖p‖; in ℓ1 along the one coordinate in which |p| is largest (coordinate
descent, as AdaBoost); in ℓ∞ along the signs of p. With η_k = c the first moves along the path of gradient
flow at a pace of log t ∝ k, so that what falls like 1/log t there falls like 1/k; with η_k = c/√k like 1/√k.

References:
    M. S. Nacson et al., *Convergence of gradient descent on separable data*, AISTATS 2019 (c/√k).
    Z. Ji, M. Telgarsky, *Characterizing the implicit bias via a primal-dual analysis*, ALT 2021 (1/k).
    S. Gunasekar et al., *Characterizing implicit bias in terms of optimization geometry*, ICML 2018 (norms).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import counts, finite, from_zero, positive
from implicit_bias.theory.margin import check_norm, examples_of


def logistic_step_limit(signed: Any, loss: str = "logistic") -> float:
    """Return 2/β, the step size below which plain gradient descent on the sum of logistic losses descends.

    β = λ_max(ZᵀZ)/4, as the logistic loss bends by at most 1/4; it is reached at w = 0 only.

    Args:
        signed: Z, shape (n, d).
        loss: ``logistic``; the exponential loss has no such number, as its curvature has no bound.

    Raises:
        UserError: The loss is another one, or inputs are all zero or no matrix of finite numbers.
    """
    if loss != "logistic":
        raise UserError(f"loss is {loss!r}, whose curvature has no bound; choose 'logistic'")
    z = examples_of(signed)
    if not z.any():
        raise UserError("all inputs are zero, so that no step changes anything; give others")
    return 8 / float(np.linalg.norm(z, 2)) ** 2


def plain_steps(
    signed: Any, step_size: float, recorded: Sequence[int], start: Any = None
) -> np.ndarray:
    """Return the weights of gradient descent on the sum of logistic losses after given numbers of steps.

    Every step is taken, in a loop that JAX compiles for the shape of Z; call it with 64-bit types enabled.
    Rows of zeros change nothing, so that problems padded with them share a program.

    Args:
        signed: Z, shape (n, d).
        step_size: η > 0; see :func:`logistic_step_limit`. For the mean of the losses, divide by their number.
        recorded: Numbers of steps, increasing.
        start: w(0), shape (d,); zero by default.

    Returns:
        Shape (recorded, d), float64.

    Raises:
        UserError: Examples, a step size, counts or a start cannot be used, weights overflow, or JAX has no
            64-bit types now.
    """
    z, at = examples_of(signed), _increasing(recorded)
    size = jnp.asarray(positive("step_size", step_size))
    begin = np.zeros(z.shape[1])
    if start is not None:
        begin = finite("start", start, shape=begin.shape)
    scaled = jnp.asarray(z)
    if scaled.dtype != jnp.float64:
        raise UserError("JAX has no 64-bit types now; enable them with jax.enable_x64(True)")
    w, steps, found = jnp.asarray(begin), jnp.asarray(0), []
    for last in at:
        _, _, steps, w, _ = jax.lax.while_loop(
            _unfinished, _one_step, (scaled, size, steps, w, jnp.asarray(int(last)))
        )
        found.append(np.asarray(w))
    return _all_finite(np.stack(found), step_size)


def _unfinished(carry: Any) -> jax.Array:
    _, _, steps, _, last = carry
    left: jax.Array = steps < last
    return left


def _one_step(carry: Any) -> Any:
    z, size, steps, w, last = carry
    margins = jnp.sum(z * w[None, :], axis=1)
    gradient = jnp.sum(jax.nn.sigmoid(-margins)[:, None] * z, axis=0)
    return z, size, steps + 1, w + size * gradient, last


def normalised_steps(
    signed: Any, step_size: float, recorded: Sequence[int], *, decay: float = 0.0
) -> np.ndarray:
    """Return the weights of gradient descent over the exponential loss, from zero.

    Args:
        signed: Z, shape (n, d).
        step_size: c > 0.
        recorded: Numbers of steps, increasing.
        decay: a ≥ 0 of the step sizes η_k = c/k^a, k = 1, 2, …

    Returns:
        Shape (recorded, d).

    Raises:
        UserError: Examples or a number cannot be used, or weights overflow.
    """
    return _steps(signed, step_size, recorded, decay, lambda p: p)


def steepest_steps(
    signed: Any, norm: str, step_size: float, recorded: Sequence[int], *, decay: float = 0.5
) -> np.ndarray:
    """Return the weights of steepest descent in a norm, with steps of given length, from zero.

    Where p vanishes, as it can on examples that are not separable, there is no direction and w stays.

    Args:
        signed: Z, shape (n, d).
        norm: ``l1`` (coordinate descent), ``l2`` or ``linf`` (sign descent).
        step_size: c > 0.
        recorded: Numbers of steps, increasing.
        decay: a ≥ 0 of the lengths η_k = c/k^a.

    Returns:
        Shape (recorded, d).

    Raises:
        UserError: The norm is unknown, examples or a number cannot be used, or weights overflow.
    """
    check_norm(norm)
    return _steps(signed, step_size, recorded, decay, {"l1": _l1, "l2": _l2, "linf": np.sign}[norm])


def _l1(p: np.ndarray) -> np.ndarray:
    place = int(np.argmax(np.abs(p)))
    step = np.zeros_like(p)
    step[place] = np.sign(p[place])
    return step


def _l2(p: np.ndarray) -> np.ndarray:
    size = np.abs(p).max()
    if size == 0:
        return p
    direction: np.ndarray = p / size
    return np.asarray(direction / np.sqrt(direction @ direction))


def _steps(
    signed: Any, step_size: float, recorded: Sequence[int], decay: float, direction: Any
) -> np.ndarray:
    z, at = examples_of(signed), _increasing(recorded)
    c, a = positive("step_size", step_size), from_zero("decay", decay)
    sizes = c * np.arange(1, int(at[-1]) + 1) ** -a
    w, found, wanted = np.zeros(z.shape[1]), [], set(at.tolist())
    for k in range(int(at[-1]) + 1):
        if k in wanted:
            found.append(w.copy())
        if k == at[-1]:
            break
        with np.errstate(over="ignore", invalid="ignore"):
            margins = z @ w
            q = np.exp(margins.min() - margins)
            w += sizes[k] * direction((q @ z) / q.sum())
    return _all_finite(np.stack(found), step_size)


def _increasing(recorded: Any) -> np.ndarray:
    at = counts("recorded", recorded, least=0)
    if at.ndim != 1 or not at.size or np.any(np.diff(at) <= 0):
        raise UserError("recorded must be increasing numbers of steps, at least one")
    return at


def _all_finite(path: np.ndarray, step_size: Any) -> np.ndarray:
    if not np.isfinite(path).all():
        raise UserError(
            f"step_size is {step_size:g}, with which weights overflow; choose a smaller one"
        )
    return path
