"""The loss that finite steps descend on: its gradient flow is where an epoch of mini-batches ends on average.

Examples are split into k batches, and an epoch takes each once in random order. The mean over orders of
where it ends is, up to O(η³), where gradient flow of
``L + (η/4) · mean over batches of ‖∇L_batch‖²`` is at time kη [SDBD]; of L itself, up to O(η²). The mean of
squares is ‖∇L‖² and the variance of the batch's gradient. Batches that are drawn independently instead have
the mean of gradient descent on quadratics, and so the term ‖∇L‖² alone [BD].

References:
    [SDBD] S. Smith, B. Dherin, D. Barrett, S. De, *On the origin of implicit regularization in stochastic
    gradient descent*, ICLR 2021: the modified loss of shuffled epochs, and its mean square of
    batches' gradients.
    [BD] D. Barrett, B. Dherin, *Implicit gradient regularization*, ICLR 2021, equation 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import count, finite, from_zero, number
from implicit_bias.theory.sgd_noise import batch_covariance, labelled, symmetric

MOST = 7
"""Batches up to which all orders are gone through: 5,040."""


class Quadratic(NamedTuple):
    """½wᵀHw − bᵀw.

    Attributes:
        hessian: H, symmetric, (n, n).
        linear: b, (n,).
    """

    hessian: np.ndarray
    linear: np.ndarray

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """Return Hw − b, (…, n)."""
        return np.asarray(w @ self.hessian - self.linear)


def batch_losses(x: Any, y: Any, batches: int) -> tuple[Quadratic, ...]:
    """Return ½ mean (xᵢᵀw − yᵢ)² of consecutive batches of equal size, up to constants.

    Args:
        x: Design, (m, n).
        y: Labels, (m,).
        batches: How many; m is a multiple.

    Raises:
        UserError: A shape does not fit, or m is no multiple.
    """
    (design, labels), several = labelled(x, y), count("batches", batches)
    if len(design) % several:
        raise UserError(
            f"batches is {several}, but {len(design)} examples are no multiple of it; choose a divisor"
        )
    size = len(design) // several
    return tuple(
        Quadratic(part.T @ part / size, part.T @ targets / size)
        for part, targets in zip(np.split(design, several), np.split(labels, several), strict=True)
    )


def checked(parts: Sequence[Quadratic]) -> Sequence[Quadratic]:
    """Return losses of one number of parameters, at least one.

    Raises:
        UserError: There is none, one is no :class:`Quadratic`, or their shapes differ.
    """
    if not isinstance(parts, Sequence) or not parts:
        raise UserError("parts is no list of losses, or empty; give those of at least one batch")
    for part in parts:
        if not isinstance(part, Quadratic):
            raise UserError(
                f"a loss is of type {type(part).__name__}; give Quadratics, as batch_losses returns them"
            )
        size = len(symmetric("hessian", part.hessian))
        finite("linear", part.linear, shape=(size,))
        if size != len(parts[0].linear):
            raise UserError(
                f"losses have {len(parts[0].linear)} and {size} parameters; give those of one model"
            )
    return parts


def mean_loss(parts: Sequence[Quadratic]) -> Quadratic:
    """Return the mean of losses.

    Raises:
        UserError: As :func:`checked`.
    """
    checked(parts)
    return Quadratic(
        np.mean([part.hessian for part in parts], axis=0),
        np.mean([part.linear for part in parts], axis=0),
    )


def epoch_loss(
    parts: Sequence[Quadratic], step_size: float, coefficient: float = 0.25
) -> Quadratic:
    """Return ``L + (η/4) mean ‖∇L_k‖²``, which is a quadratic again.

    Args:
        parts: Losses of the batches; the whole loss alone gives the modified loss of gradient descent.
        step_size: η ≥ 0.
        coefficient: Another number than a quarter, for showing that it is a quarter.

    Raises:
        UserError: The step size is negative, a number is not finite, or as :func:`checked`.

    References:
        [SDBD].
    """
    weight = 2 * number("coefficient", coefficient) * from_zero("step_size", step_size)
    whole = mean_loss(parts)
    return Quadratic(
        whole.hessian + weight * np.mean([part.hessian @ part.hessian for part in parts], axis=0),
        whole.linear + weight * np.mean([part.hessian @ part.linear for part in parts], axis=0),
    )


def flow_end(loss: Quadratic, start: Any, time: float) -> np.ndarray:
    """Return where gradient flow of a quadratic is at a time, (n,), directions without curvature included.

    Raises:
        UserError: The Hessian is not symmetric, a shape does not fit, or the time is negative.
    """
    checked([loss])
    values, vectors = np.linalg.eigh(symmetric("hessian", loss.hessian))
    t, begin = from_zero("time", time), finite("start", start, shape=(len(values),))
    slope = vectors.T @ loss.gradient(begin)
    flat = np.abs(values) <= 1e-14 * np.abs(values).max()
    safe = np.where(flat, 1.0, values)
    way = np.where(flat, t, -np.expm1(-safe * t) / safe)
    return np.asarray(begin - vectors @ (way * slope))


def epoch_end(parts: Sequence[Quadratic], step_size: float, start: Any) -> np.ndarray:
    """Return the mean over all orders of where an epoch of SGD ends, (n,), each batch taken once.

    Raises:
        UserError: There are too many batches to go through all orders, or the step size is negative.
    """
    if not 1 <= len(checked(parts)) <= MOST:
        raise UserError(
            f"there are {len(parts)} batches, of which all orders are taken; choose at most {MOST}"
        )
    step = from_zero("step_size", step_size)
    begin = finite("start", start, shape=parts[0].linear.shape)
    ends = []
    for order in permutations(parts):
        w = begin
        for part in order:
            with np.errstate(over="ignore", invalid="ignore"):
                w = w - step * part.gradient(w)
        ends.append(w)
    if not np.isfinite(ends).all():
        raise UserError(f"step_size is {step:g}, with which weights overflow; choose a smaller one")
    return np.asarray(np.mean(ends, axis=0))


def mean_square_gradient(gradients: Any, batch_size: int, replacement: bool = False) -> float:
    """Return the mean of ‖∇L_batch‖² over random batches: ‖∇L‖² and the trace of their covariance.

    Args:
        gradients: Of single examples, (m, n).
        batch_size: b.
        replacement: Whether a batch may hold an example twice.

    Raises:
        UserError: As for :func:`implicit_bias.theory.sgd_noise.batch_covariance`.

    References:
        [SDBD].
    """
    spread = float(np.trace(batch_covariance(gradients, batch_size, replacement)))
    return float(np.sum(np.mean(np.asarray(gradients, np.float64), axis=0) ** 2)) + spread
