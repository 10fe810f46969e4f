"""The sharpness of Keskar et al. 2017, exactly as published.

With f the loss at parameters x of n numbers, a matrix A of shape (n, p) with independent columns
and its pseudo-inverse A⁺ (their metric 2.1):

    C_ε = { y : |y_i| ≤ ε (|(A⁺ x)_i| + 1), i = 1 … p }
    φ   = 100 · (max over y in C_ε of f(x + A y) − f(x)) / (1 + f(x))

The whole space is A = I; the published subspace has p = 100 random columns. The maximum is
approximated by 10 iterations of L-BFGS-B; ε is 1e-3 and 5e-4. This is a host function: SciPy does
the search, in float64, and calls the loss and gradient that it is given.

φ changes under rescaling of the layers of a ReLU network (the "+ 1" and the box of unscaled
weights see to that), and it depends on how large the loss is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from implicit_bias.arguments import require_function, require_key, require_numbers, require_whole
from implicit_bias.errors import UserError, unknown
from implicit_bias.finite import require_finite

Params = Any
Columns = Literal["gaussian", "orthonormal"]

PUBLISHED_EPSILONS = (1e-3, 5e-4)


@dataclass(frozen=True)
class KeskarSharpness:
    """The measure at each ε, with what the search did.

    Attributes:
        epsilons: Shape (e,).
        sharpness: φ, shape (e,): 100 times a rise relative to 1 + f, without unit. A lower bound,
            as the search stops early.
        highest: The loss that was reached, shape (e,).
        loss: f(x).
        iterations: Of L-BFGS-B, shape (e,): 0 where the gradient at x is zero, so that the search
            could not set out; fewer than asked for where no step raised the loss.
        evaluations: Losses and gradients taken, shape (e,).
        at_bound: Fraction of coordinates that ended on the box, shape (e,).
    """

    epsilons: np.ndarray
    sharpness: np.ndarray
    highest: np.ndarray
    loss: float
    iterations: np.ndarray
    evaluations: np.ndarray
    at_bound: np.ndarray


def keskar_sharpness(
    value_and_gradient: Callable[[Params], tuple[Any, Params]],
    params: Params,
    *,
    epsilons: Sequence[float] = PUBLISHED_EPSILONS,
    basis: np.ndarray | jax.Array | None = None,
    iterations: int = 10,
) -> KeskarSharpness:
    """Measure the sharpness of Keskar et al. in the whole space or a subspace.

    The search starts at y = 0, the parameters themselves, keeps 10 corrections, and ends after
    ``iterations``: its tolerances are switched off, for at a minimum they would end it at once. The
    paper does not say where the search starts.

    Args:
        value_and_gradient: ``params -> (loss, gradient like params)``, mostly
            ``jax.jit(jax.value_and_grad(loss))``.
        params: Any pytree of floating arrays, n numbers.
        epsilons: Positive.
        basis: A, shape (n, p), its rows in the order of the flattened parameters; see
            ``random_basis``. The whole space by default.
        iterations: Most iterations of L-BFGS-B.

    Returns:
        A record with one entry for each ε.

    Raises:
        UserError: If an ε is not positive, the parameters or their loss are not finite or the loss
            is -1 or less, or the basis does not fit or has dependent columns.

    References:
        Keskar, Mudigere, Nocedal, Smelyanskiy & Tang, *On large-batch training for deep learning:
        generalization gap and sharp minima* (2017), section 2.2.2, metric 2.1.
    """
    from scipy.optimize import minimize

    require_finite(params)
    require_function("value_and_gradient", value_and_gradient, ("params",), "(loss, gradient)")
    require_whole("iterations", iterations)
    if iterations < 1:
        raise UserError(f"iterations is {iterations}; choose iterations >= 1")
    require_numbers("epsilons", epsilons)
    levels = np.atleast_1d(np.asarray(epsilons, float))
    if levels.ndim != 1 or levels.size < 1:
        raise UserError(f"epsilons has shape {levels.shape}; give a list of at least one")
    for epsilon in levels[~(np.isfinite(levels) & (levels > 0))]:
        raise UserError(f"an epsilon is {epsilon}; choose finite epsilons > 0")

    flat, unravel = ravel_pytree(params)
    if not jnp.issubdtype(flat.dtype, jnp.floating):
        raise UserError(f"the parameters have type {flat.dtype}; give floating-point parameters")
    centre = np.asarray(flat, np.float64)
    matrix = None if basis is None else np.asarray(basis, np.float64)
    coordinates = centre if matrix is None else _coordinates(matrix, centre)

    def at(point: np.ndarray) -> tuple[float, np.ndarray]:
        # The rise is a small difference: on a GPU it would drown in the rounding of fast products.
        with jax.default_matmul_precision("highest"):
            found = value_and_gradient(unravel(jnp.asarray(point, flat.dtype)))
        if not isinstance(found, tuple) or len(found) != 2 or jnp.shape(found[0]) != ():
            raise UserError(
                "value_and_gradient does not return the loss and its gradient; "
                "give jax.value_and_grad(loss) of a loss that is one number"
            )
        value, gradient = found
        return float(value), np.asarray(ravel_pytree(gradient)[0], np.float64)

    def lowered(y: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = at(centre + (y if matrix is None else matrix @ y))
        return -value, -(gradient if matrix is None else matrix.T @ gradient)

    loss = at(centre)[0]
    if not np.isfinite(loss) or loss <= -1:
        raise UserError(f"the loss is {loss}; the measure needs a finite loss above -1")

    found = []
    for epsilon in levels:
        box = epsilon * (np.abs(coordinates) + 1)
        result = minimize(
            lowered,
            np.zeros_like(coordinates),
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack([-box, box], axis=1),
            options={"maxiter": iterations, "maxcor": 10, "ftol": 0.0, "gtol": 0.0},
        )
        found.append((-result.fun, result.nit, result.nfev, np.mean(np.abs(result.x) >= box)))
    highest, steps, evaluations, at_bound = (
        np.asarray(column) for column in zip(*found, strict=True)
    )
    return KeskarSharpness(
        levels, 100 * (highest - loss) / (1 + loss), highest, loss, steps, evaluations, at_bound
    )


def random_basis(
    key: jax.Array, dimension: int, size: int = 100, columns: Columns = "gaussian"
) -> jax.Array:
    """Draw a random subspace for ``keskar_sharpness``.

    The paper says that the columns are random, not by which law. It matters, since the box's
    "+ 1" is in the columns' unit: ``gaussian``, independent standard normal entries, moves each
    parameter by about 10 ε at a corner of the box (p = 100); ``orthonormal`` moves all of them
    together by about as much. Compare values of one law only.

    Args:
        key: For the draw.
        dimension: n, the number of parameters.
        size: p, at most n.
        columns: ``"gaussian"`` or ``"orthonormal"`` (the same subspace, with other coordinates).

    Returns:
        Shape (n, p), in the default floating type.

    Raises:
        UserError: If the size is not between 1 and n, or the law is unknown.
    """
    if columns not in get_args(Columns):
        raise unknown("law of columns", columns, get_args(Columns))
    require_key(key)
    require_whole("dimension", dimension)
    require_whole("size", size)
    if not 1 <= size <= dimension:
        raise UserError(
            f"the subspace has size {size}, but there are {dimension} parameters; "
            f"choose a size from 1 to {dimension}"
        )
    normal = jax.random.normal(key, (dimension, size))
    return normal if columns == "gaussian" else jnp.linalg.qr(normal)[0]


def _coordinates(matrix: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return A⁺ x."""
    if matrix.ndim != 2 or matrix.shape[0] != centre.size or not matrix.shape[1]:
        raise UserError(
            f"the basis has shape {matrix.shape}, but there are {centre.size} parameters; "
            f"give shape ({centre.size}, p)"
        )
    coordinates, _, rank, _ = np.linalg.lstsq(matrix, centre, rcond=None)
    if rank < matrix.shape[1]:
        raise UserError(
            f"the basis has {matrix.shape[1]} columns but rank {rank}; give independent columns"
        )
    return coordinates
