"""Ridge and kernel ridge regression with one example left out or replaced: exact, without refits.

Ridge regression solves ``(XᵀX + αI) w = Xᵀy``: the penalty α stands beside the *sum* of squares, as in
:mod:`implicit_bias.theory.ridge`. Kernel ridge regression solves ``(K + αI) c = y`` and predicts
``Σ c_i k(x_i, ·)``; with a linear kernel both are the same function. One factorisation of all examples gives
every fit that lacks one of them, or has another in its place, by updates of rank one (Sherman and Morrison).

References:
    [SM] J. Sherman, W. Morrison, *Adjustment of an inverse matrix corresponding to a change in one element of
    a given matrix*, Ann. Math. Statist. 21 (1950).
    [A] D. Allen, *The relationship between variable selection and data augmentation and a method for
    prediction*, Technometrics 16 (1974): residuals of examples left out, r_i/(1 − h_i).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from implicit_bias.arguments import require_numbers
from implicit_bias.errors import UserError
from implicit_bias.theory.checks import not_negative

FREE = 1e-9
"""A leverage within this of one: the example is fitted whatever its label, and nothing is left without it."""

ASYMMETRY = 1e-8
"""Largest difference of a kernel matrix from its transpose, relative to its largest entry."""


class RidgeFit(NamedTuple):
    """A ridge regression, and what its updates need.

    Attributes:
        inputs: X, (m, n).
        labels: y, (m, k).
        inverse: (XᵀX + αI)⁻¹, (n, n).
        weights: w, (n, k).
        residuals: y − Xw, (m, k).
        leverages: h_i = x_iᵀ(XᵀX + αI)⁻¹x_i, (m,).
    """

    inputs: np.ndarray
    labels: np.ndarray
    inverse: np.ndarray
    weights: np.ndarray
    residuals: np.ndarray
    leverages: np.ndarray


class KernelFit(NamedTuple):
    """A kernel ridge regression, and what its updates need.

    Attributes:
        labels: y, (m, k).
        inverse: (K + αI)⁻¹, (m, m).
        coefficients: c, (m, k).
        penalty: α.
    """

    labels: np.ndarray
    inverse: np.ndarray
    coefficients: np.ndarray
    penalty: float


def ridge_fit(x: Any, y: Any, penalty: float) -> RidgeFit:
    """Fit ridge regression.

    Args:
        x: Inputs, (m, n).
        y: Labels, (m,) or (m, k).
        penalty: α ≥ 0, beside the sum of squares.

    Raises:
        UserError: A shape does not fit, α is negative, or α is 0 and inputs do not span all features.
    """
    inputs, labels = _examples(x, y)
    alpha = float(not_negative("penalty", penalty))
    gram = inputs.T @ inputs + alpha * np.eye(inputs.shape[1])
    inverse = _inverse(gram, alpha, "features")
    weights = inverse @ (inputs.T @ labels)
    leverages = np.einsum("ij,jk,ik->i", inputs, inverse, inputs)
    return RidgeFit(inputs, labels, inverse, weights, labels - inputs @ weights, leverages)


def left_out_residuals(fit: RidgeFit) -> np.ndarray:
    """Return each example's residual under the fit without it, r_i/(1 − h_i), (m, k).

    Raises:
        UserError: An example is fitted whatever its label, so that the others do not decide its direction.

    References:
        [A].
    """
    return fit.residuals / _left(fit)[:, None]


def left_out_weights(fit: RidgeFit) -> np.ndarray:
    """Return the weights of all fits that lack one example, ``w − (XᵀX + αI)⁻¹x_i r_i/(1 − h_i)``.

    Args:
        fit: Of all examples.

    Returns:
        Shape (m, n, k).

    Raises:
        UserError: As :func:`left_out_residuals`.

    References:
        [SM].
    """
    moves = (fit.inputs @ fit.inverse)[:, :, None] * left_out_residuals(fit)[:, None, :]
    return fit.weights[None] - moves


def replaced_weights(fit: RidgeFit, place: int, x: Any, y: Any) -> np.ndarray:
    """Return the weights of fits in which one example is replaced by another, for many others.

    Args:
        fit: Of all examples.
        place: Which example goes.
        x: Inputs that come instead, (r, n), one fit each.
        y: Their labels, (r,) or (r, k).

    Returns:
        Shape (r, n, k).

    Raises:
        UserError: There is no such example, a shape does not fit, or as :func:`left_out_residuals`.

    References:
        [SM], twice.
    """
    others, labels = _examples(x, y)
    m, n = fit.inputs.shape
    if not 0 <= place < m:
        raise UserError(f"place is {place}, but there are {m} examples; choose 0 to {m - 1}")
    if others.shape[1] != n or labels.shape[1] != fit.labels.shape[1]:
        raise UserError(
            f"an example that comes has {others.shape[1]} features and {labels.shape[1]} labels, those of "
            f"the fit {n} and {fit.labels.shape[1]}; give as many"
        )
    gone, left = fit.inverse @ fit.inputs[place], _left(fit)[place]
    weights = fit.weights - np.outer(gone, fit.residuals[place]) / left
    inverse = fit.inverse + np.outer(gone, gone) / left
    reach = others @ inverse
    factor = 1 + np.einsum("ij,ij->i", reach, others)
    surprise = (labels - others @ weights) / factor[:, None]
    return weights[None] + reach[:, :, None] * surprise[:, None, :]


def kernel_fit(kernel: Any, y: Any, penalty: float) -> KernelFit:
    """Fit kernel ridge regression.

    Args:
        kernel: K, symmetric and positive semidefinite, (m, m).
        y: Labels, (m,) or (m, k).
        penalty: α ≥ 0, beside the sum of squares.

    Raises:
        UserError: K is not a symmetric matrix, a shape does not fit, α is negative, or α is 0 and K has no
            inverse.
    """
    matrix, labels = _examples(kernel, y, "kernel")
    if matrix.shape[0] != matrix.shape[1]:
        raise UserError(
            f"kernel has shape {matrix.shape}; give a square matrix, examples by examples"
        )
    off = float(np.abs(matrix - matrix.T).max())
    if off > ASYMMETRY * float(np.abs(matrix).max()):
        raise UserError(f"kernel differs from its transpose by {off:.2g}; give a symmetric matrix")
    alpha = float(not_negative("penalty", penalty))
    inverse = _inverse(matrix + alpha * np.eye(len(matrix)), alpha, "examples")
    return KernelFit(labels, inverse, inverse @ labels, alpha)


def left_out_kernel_residuals(fit: KernelFit) -> np.ndarray:
    """Return each example's residual under the fit without it, c_i/[(K + αI)⁻¹]_ii, (m, k)."""
    return fit.coefficients / np.diagonal(fit.inverse)[:, None]


def left_out_coefficients(fit: KernelFit) -> np.ndarray:
    """Return the coefficients of all fits that lack one example, their own being 0.

    Args:
        fit: Of all examples.

    Returns:
        Shape (m, m, k): the first axis says which example is left out.
    """
    found = (
        fit.coefficients[None]
        - fit.inverse.T[:, :, None] * left_out_kernel_residuals(fit)[:, None, :]
    )
    found[np.arange(len(found)), np.arange(len(found))] = 0.0
    return found


def replaced_coefficients(fit: KernelFit, place: int, row: Any, own: float, y: Any) -> np.ndarray:
    """Return the coefficients of the fit in which one example is replaced by another.

    Args:
        fit: Of all examples.
        place: Which example goes; the other takes its place.
        row: Kernel of the other with all examples, (m,); that with the example that goes is not used.
        own: Kernel of the other with itself.
        y: Its label, a number or (k,).

    Returns:
        Shape (m, k).

    Raises:
        UserError: There is no such example, or a shape does not fit.

    References:
        [SM]; the new example is a border of the matrix.
    """
    m = len(fit.inverse)
    if not 0 <= place < m:
        raise UserError(f"place is {place}, but there are {m} examples; choose 0 to {m - 1}")
    kernels = np.array(row, np.float64)
    if kernels.shape != (m,):
        raise UserError(f"row has shape {kernels.shape}, but there are {m} examples; give ({m},)")
    kernels[place] = 0.0
    column = fit.inverse[:, place]
    kept = left_out_coefficients(fit)[place]
    without = fit.inverse - np.outer(column, column) / column[place]
    reach = without @ kernels
    label = np.atleast_1d(np.asarray(y, np.float64))
    new = (label - kernels @ kept) / (float(own) + fit.penalty - kernels @ reach)
    found = kept - np.outer(reach, new)
    found[place] = new
    return np.asarray(found)


def _left(fit: RidgeFit) -> np.ndarray:
    left = 1 - fit.leverages
    if np.any(left < FREE):
        raise UserError(
            f"example {int(np.argmin(left))} has leverage one, so that without it nothing decides its "
            "direction; choose a positive penalty"
        )
    return left


def _inverse(matrix: np.ndarray, alpha: float, what: str) -> np.ndarray:
    """Invert a matrix that α makes definite."""
    values, vectors = np.linalg.eigh(matrix)
    if values[0] <= len(values) * np.finfo(np.float64).eps * values[-1]:
        raise UserError(
            f"penalty is {alpha:g} and there are {len(values)} {what} of lower rank, so that the solution is "
            "not unique; choose a larger penalty"
        )
    return np.asarray((vectors / values) @ vectors.T)


def _examples(x: Any, y: Any, name: str = "inputs") -> tuple[np.ndarray, np.ndarray]:
    require_numbers(name, x)
    require_numbers("labels", y)
    inputs, labels = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if inputs.ndim != 2 or not inputs.size:
        raise UserError(
            f"{name} has shape {inputs.shape}; give a matrix with a row for each example"
        )
    if labels.ndim not in (1, 2) or len(labels) != len(inputs):
        raise UserError(
            f"labels have shape {labels.shape}, but there are {len(inputs)} examples; give one each"
        )
    return inputs, labels.reshape(len(labels), -1)
