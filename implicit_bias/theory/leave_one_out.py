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

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import count, finite, from_zero

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
    alpha = from_zero("penalty", penalty)
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
    place = _place(place, m)
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
        UserError: K is not symmetric or not positive semidefinite, a shape does not fit, α is negative, or α
            is 0 and K has no inverse.
    """
    matrix, labels = _examples(kernel, y, "kernel")
    if matrix.shape[0] != matrix.shape[1]:
        raise UserError(
            f"kernel has shape {matrix.shape}; give a square matrix, examples by examples"
        )
    off, size = float(np.abs(matrix - matrix.T).max()), float(np.abs(matrix).max())
    if off > ASYMMETRY * size:
        raise UserError(f"kernel differs from its transpose by {off:.2g}; give a symmetric matrix")
    alpha = from_zero("penalty", penalty)
    least = float(np.linalg.eigvalsh(matrix)[0])
    if least < -ASYMMETRY * len(matrix) * size:
        raise UserError(
            f"kernel has the eigenvalue {least:.3g}; give a positive semidefinite matrix, with none below 0"
        )
    inverse = _inverse(matrix + alpha * np.eye(len(matrix)), alpha, "examples")
    return KernelFit(labels, inverse, inverse @ labels, alpha)


def left_out_kernel_residuals(fit: KernelFit) -> np.ndarray:
    """Return each example's residual under the fit without it, c_i/[(K + αI)⁻¹]_ii, (m, k)."""
    return fit.coefficients / np.diagonal(fit.inverse)[:, None]


def left_out_coefficients(fit: KernelFit) -> np.ndarray:
    """Return the coefficients of all fits that lack one example, their own being 0.

    Their relative error is about 10⁻¹⁶ times the condition number of K + αI: with the Gaussian kernel on
    points close together and α of 10⁻¹⁰ of K's largest eigenvalue, six digits.

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
        UserError: There is no such example, a shape does not fit, or with the other the kernel is not
            positive semidefinite.

    References:
        [SM]; the new example is a border of the matrix.
    """
    m = len(fit.inverse)
    place, kernels = _place(place, m), finite("row", row, shape=(m,)).copy()
    itself, label = from_zero("own", own), np.atleast_1d(finite("label", y, axes=(0, 1)))
    if label.shape != fit.labels.shape[1:]:
        raise UserError(
            f"label has shape {label.shape}, but those of the fit {fit.labels.shape[1:]}; give as many"
        )
    kernels[place] = 0.0
    column = fit.inverse[:, place]
    kept = left_out_coefficients(fit)[place]
    without = fit.inverse - np.outer(column, column) / column[place]
    reach = without @ kernels
    left = itself + fit.penalty - float(kernels @ reach)
    if left <= 0:
        raise UserError(
            f"own is {itself:g}, but the kernel with the other examples needs more to be positive "
            "semidefinite; give the kernel of the other with itself"
        )
    new = (label - kernels @ kept) / left
    found = kept - np.outer(reach, new)
    found[place] = new
    return np.asarray(found)


def _place(place: Any, examples: int) -> int:
    """Return which of the examples is meant."""
    found = count("place", place, 0)
    if found >= examples:
        raise UserError(
            f"place is {found}, but there are {examples} examples; choose 0 to {examples - 1}"
        )
    return found


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
    inputs, labels = finite(name, x, axes=2), finite("labels", y)
    if labels.ndim not in (1, 2) or len(labels) != len(inputs):
        raise UserError(
            f"labels have shape {labels.shape}, but there are {len(inputs)} examples; give one each"
        )
    return inputs, labels.reshape(len(labels), -1)
