"""Noise of mini-batches: the covariance of their gradients, and what it leaves of SGD on quadratics.

On ½(w − w*)ᵀH(w − w*) with noise of covariance C at every update, e = w − w* obeys
``e ← (I − ηH)e − ηξ``. Its mean is that of gradient descent, whatever C; its covariance tends to the
solution of the discrete Lyapunov equation ``S = (I − ηH) S (I − ηH) + η²C``. With C = cI that is
ηc/(λ(2 − ηλ)) in each direction, with C = cH it is ηc/(2 − ηλ): nearly the same in all directions.

Mini-batches of least squares have a noise that depends on w; their second moment is closed all the same.

References:
    [Co] W. Cochran, *Sampling Techniques* (1977), theorem 2.2: means of samples.
    [MHB] S. Mandt, M. Hoffman, D. Blei, *Stochastic gradient descent as approximate Bayesian inference*,
    JMLR 18 (2017), section 3.
    [LZU] K. Liu, L. Ziyin, M. Ueda, *Noise and fluctuation of finite learning rate SGD*, ICML 2021,
    theorem 1.
    [ZLMU] L. Ziyin, K. Liu, T. Mori, M. Ueda, *Strength of minibatch noise in SGD*, ICLR 2022.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import count, finite, from_zero, positive

SYMMETRIC = 1e-9
"""Departure from symmetry, and from eigenvalues of at least zero, that counts as rounding."""

LARGEST = 48
"""Features up to which the map of second moments is written out, as a matrix of features⁴ numbers."""


def symmetric(name: str, matrix: Any) -> np.ndarray:
    """Return a symmetric matrix as float64, (n, n).

    Raises:
        UserError: It is no square matrix of finite numbers, or not symmetric.
    """
    given = finite(name, matrix, axes=2)
    if given.shape[0] != given.shape[1]:
        raise UserError(f"{name} has shape {given.shape}; give a square matrix")
    apart = float(np.max(np.abs(given - given.T)))
    if apart > SYMMETRIC * max(float(np.max(np.abs(given))), np.finfo(float).tiny):
        raise UserError(
            f"{name} is not symmetric: entries differ from their mirror images by up to {apart:.3g}; "
            "give a symmetric matrix"
        )
    return (given + given.T) / 2


def covariance(name: str, matrix: Any, size: int) -> np.ndarray:
    """Return a covariance matrix as float64, (size, size).

    Raises:
        UserError: It is not symmetric, of another size, or has a negative eigenvalue.
    """
    given = symmetric(name, matrix)
    if len(given) != size:
        raise UserError(
            f"{name} has shape {given.shape}, but the Hessian {size} rows; give as many"
        )
    values = np.linalg.eigvalsh(given)
    if values[0] < -SYMMETRIC * max(float(np.abs(values).max()), np.finfo(float).tiny):
        raise UserError(
            f"{name} has the eigenvalue {values[0]:.3g}; give a covariance, which has none below 0"
        )
    return given


def labelled(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a design, (m, n), and labels, (m,), as float64.

    Raises:
        UserError: A number is not finite, or a shape does not fit.
    """
    design, labels = finite("design", x, axes=2), finite("labels", y)
    if labels.shape != design.shape[:1]:
        raise UserError(
            f"design and labels have shapes {design.shape} and {labels.shape}; give (m, n) and (m,)"
        )
    return design, labels


def curvatures_of(hessian: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues, increasing, (n,), and eigenvectors, (n, n), of a positive definite Hessian.

    Raises:
        UserError: It is not symmetric, or an eigenvalue is not positive.
    """
    values, vectors = np.linalg.eigh(symmetric("hessian", hessian))
    if values[0] <= SYMMETRIC * abs(values[-1]):
        raise UserError(
            f"hessian has the eigenvalue {values[0]:.3g}, along which noise adds up without end; give a "
            "positive definite one, or leave that direction out"
        )
    return values, vectors


def stable_step(largest: float, step_size: Any) -> float:
    """Return a step size below 2/λmax.

    Raises:
        UserError: It is not positive, or not below the limit, which is named.
    """
    step, limit = positive("step_size", step_size), 2 / largest
    if step >= limit:
        raise UserError(
            f"step_size is {step:.6g}, but SGD on this Hessian is stable only below 2/λmax, which is "
            f"{limit:.6g}; choose a smaller one"
        )
    return step


def batch_factor(examples: int, batch_size: int, replacement: bool = False) -> float:
    """Return the covariance of a batch's mean over the covariance of examples, whose divisor is m − 1.

    1/b − 1/m without replacement, so that a batch of all has no noise; (1 − 1/m)/b with.

    Args:
        examples: m ≥ 2.
        batch_size: b ≥ 1, at most m without replacement.
        replacement: Whether an example may be drawn twice.

    Raises:
        UserError: A number is not as above.

    References:
        [Co].
    """
    m, b = count("examples", examples, 2), count("batch_size", batch_size)
    if b > m and not replacement:
        raise UserError(
            f"batch_size is {b}, but there are {m} examples; choose at most {m}, or draw with replacement"
        )
    return (1 - 1 / m) / b if replacement else 1 / b - 1 / m


def batch_covariance(gradients: Any, batch_size: int, replacement: bool = False) -> np.ndarray:
    """Return the covariance of the mean gradient over a random batch, exactly.

    Args:
        gradients: Of single examples, (m, n).
        batch_size: b.
        replacement: Whether an example may be drawn twice.

    Returns:
        Shape (n, n), in squared units of the gradient.

    Raises:
        UserError: Gradients are no matrix of finite numbers, or as for :func:`batch_factor`.

    References:
        [Co].
    """
    each = finite("gradients", gradients, axes=2)
    factor = batch_factor(len(each), batch_size, replacement)
    away = each - each.mean(axis=0)
    return factor / (len(each) - 1) * away.T @ away


def stationary_covariance(hessian: Any, noise: Any, step_size: float) -> np.ndarray:
    """Return the covariance that SGD on a quadratic keeps about its minimum.

    In the eigenbasis of H: ``S_ij = ηC_ij/(λ_i + λ_j − ηλ_iλ_j)``, for any C, commuting with H or not.

    Args:
        hessian: H, symmetric and positive definite, (n, n).
        noise: C, the covariance of an update's gradient, (n, n).
        step_size: η, below 2/λmax.

    Returns:
        Shape (n, n).

    Raises:
        UserError: H is not positive definite, C is no covariance, or the step size is not stable.

    References:
        [LZU], theorem 1; to the first order in η [MHB].
    """
    values, vectors = curvatures_of(hessian)
    step = stable_step(float(values[-1]), step_size)
    turned = vectors.T @ covariance("noise", noise, len(values)) @ vectors
    falls = values[:, None] + values[None, :] - step * np.outer(values, values)
    return np.asarray(vectors @ (step * turned / falls) @ vectors.T)


def covariance_after(hessian: Any, noise: Any, step_size: float, updates: int) -> np.ndarray:
    """Return the covariance of SGD on a quadratic after some updates from one point.

    Args:
        hessian: H, symmetric and positive definite, (n, n).
        noise: C, (n, n).
        step_size: η, below 2/λmax.
        updates: t ≥ 0.

    Returns:
        Shape (n, n); the mean is that of gradient descent.

    Raises:
        UserError: As for :func:`stationary_covariance`, or updates are no whole number.
    """
    values, vectors = curvatures_of(hessian)
    last = vectors.T @ stationary_covariance(hessian, noise, step_size) @ vectors
    left = (1 - float(step_size) * values) ** count("updates", updates, 0)
    return np.asarray(vectors @ (last * (1 - np.outer(left, left))) @ vectors.T)


class BatchNoise(NamedTuple):
    """Least squares ½ mean (xᵢᵀw − yᵢ)² at its minimum, as mini-batches see it.

    Attributes:
        hessian: XᵀX/m, (n, n).
        minimum: The least-squares solution, (n,).
        noise: Covariance of the batch gradient there, (n, n); zero where all labels are fitted.
        stationary: Covariance that SGD keeps, the noise's dependence on w included, (n, n).
        contraction: Factor an update by which deviations of the second moment fall, in the long run.
    """

    hessian: np.ndarray
    minimum: np.ndarray
    noise: np.ndarray
    stationary: np.ndarray
    contraction: float


def least_squares_noise(
    x: Any,
    y: Any,
    step_size: float,
    batch_size: int,
    replacement: bool = False,
    label_noise: float = 0.0,
) -> BatchNoise:
    """Return what mini-batches keep of variance on least squares, exactly, batches drawn independently.

    With S the second moment of e = w − w*, r the residuals at w* and φ = 1/b with replacement and
    (m − b)/(b(m − 1)) without,
    ``S ← (I − ηH)S(I − ηH) + η²φ(mean xxᵀ(xᵀSx + r²) − HSH) + η²s²H/b``,
    of which this is the fixed point: gradients of single examples are linear in w.

    Args:
        x: Design of full column rank, (m, n).
        y: Labels, (m,).
        step_size: η, on the batch's mean.
        batch_size: b.
        replacement: Whether a batch may hold an example twice.
        label_noise: s, standard deviation of what is added to every label afresh at each use.

    Raises:
        UserError: A shape does not fit, the rank is lower, there are too many features, or mini-batches
            with this step size do not converge in mean square.

    References:
        [ZLMU]; the map without residuals is that of ``minibatch.mean_square_contraction``.
    """
    design, labels = labelled(x, y)
    m, n = design.shape
    if n > LARGEST:
        raise UserError(f"the design has {n} features; choose at most {LARGEST}")
    if np.linalg.matrix_rank(design) < n:
        raise UserError(f"the design has lower rank than its {n} features; leave some out")
    spread, b = from_zero("label_noise", label_noise), count("batch_size", batch_size)
    phi = batch_factor(m, b, replacement) * m / (m - 1)
    hessian = design.T @ design / m
    step = stable_step(float(np.linalg.eigvalsh(hessian)[-1]), step_size)
    minimum = np.linalg.lstsq(design, labels, rcond=None)[0]
    squares = (labels - design @ minimum) ** 2
    outer = (design[:, :, None] * design[:, None, :]).reshape(m, n * n)
    keep = np.eye(n) - step * hessian
    move = np.kron(keep, keep) + step**2 * phi * (outer.T @ outer / m - np.kron(hessian, hessian))
    factor = float(np.abs(np.linalg.eigvalsh(move)).max())
    if factor >= 1:
        raise UserError(
            f"step_size is {step:.6g}, with which batches of {b} do not converge in mean square: an update "
            f"multiplies it by {factor:.4g} in the long run; choose a smaller one"
        )
    noise = phi * (design.T * squares) @ design / m + spread**2 / b * hessian
    stationary = np.linalg.solve(np.eye(n * n) - move, step**2 * noise.ravel()).reshape(n, n)
    return BatchNoise(hessian, minimum, noise, (stationary + stationary.T) / 2, factor)
