"""What every prediction from a kernel begins with: shapes checked, and the kernel decomposed.

A kernel is one number for each pair of examples, shape (n, n), shared by all outputs (an infinitely
wide network's), or one for each pair of outputs of examples, shape (n, k, n, k) (a finite network's).
Both become one symmetric matrix here, so that each method is written once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.arguments import as_numbers, require_number
from implicit_bias.errors import UserError


class Eigensystem(NamedTuple):
    """A kernel as eigenvalues and eigenvectors.

    Attributes:
        values: Shape (N,), descending; what is negative by rounding is zero.
        vectors: Shape (N, N), in columns.
        smallest: Eigenvalues up to this one are not told from zero, a scalar.
    """

    values: jax.Array
    vectors: jax.Array
    smallest: jax.Array


class Outputs(NamedTuple):
    """Outputs in the course of training.

    Attributes:
        train: Shape (T, n, k).
        test: Shape (T, m, k); None where there is no test set.
    """

    train: jax.Array
    test: jax.Array | None


class Problem(NamedTuple):
    """Training data as a kernel sees it; N is n for a shared kernel and n·k for a full one.

    Attributes:
        train: Kernel of the training set, shape (N, N).
        cross: Kernel of test against training set, shape (M, N); the training set's where none was
            given.
        residual: Targets less ``start_train``, shape (N, c): an output a column for a shared kernel,
            one column for a full one.
        start_train: Initial outputs, shape (n, k).
        start_test: Those on the test set, shape (m, k).
    """

    train: jax.Array
    cross: jax.Array
    residual: jax.Array
    start_train: jax.Array
    start_test: jax.Array

    def examples(self) -> int:
        """Return the number n of training examples."""
        return self.start_train.shape[0]

    def on_train(self, coefficients: jax.Array) -> jax.Array:
        """Return the outputs (..., n, k) for coefficients (..., N, c) of the kernel."""
        return _combined(self.start_train, self.train, coefficients)

    def on_test(self, coefficients: jax.Array) -> jax.Array:
        """Return the outputs (..., m, k) for coefficients (..., N, c) of the kernel."""
        return _combined(self.start_test, self.cross, coefficients)


def problem(
    k_train: Any,
    targets: Any,
    k_test_train: Any = None,
    f0_train: Any = None,
    f0_test: Any = None,
) -> Problem:
    """Check that kernels, targets and initial outputs fit each other, and bring them together.

    Args:
        k_train: Shape (n, n) or (n, k, n, k).
        targets: Shape (n, k), floating.
        k_test_train: Shape (m, n) or (m, k, n, k); by default ``k_train``.
        f0_train: Shape (n, k); by default zero.
        f0_test: Shape (m, k); by default zero. To be given together with ``f0_train``.

    Returns:
        All of it in the kernel's dtype.

    Raises:
        UserError: If shapes do not fit, one initial output is given without the other, or values
            are not real numbers or are known not to be finite.
    """
    train, full = flat_kernel(k_train)
    dtype, n = train.dtype, jnp.shape(k_train)[0]
    y = real_numbers("targets", targets)
    if jnp.issubdtype(y.dtype, jnp.integer) and y.ndim == 1:
        raise UserError(
            f"targets are class numbers of shape {y.shape}; give vectors (n, outputs), "
            "such as jax.nn.one_hot(targets, outputs)"
        )
    k = jnp.shape(k_train)[1] if full else (y.shape[1] if y.ndim == 2 else 0)
    _require_shape("targets", y, (n, k), f"(n, outputs) for n = {n} examples" if not k else "")
    start_train = _outputs("f0_train", f0_train, (n, k), dtype)
    cross, start_test = train, start_train
    if k_test_train is not None:
        if (f0_train is None) != (f0_test is None):
            given, missing = ("f0_train", "f0_test") if f0_test is None else ("f0_test", "f0_train")
            raise UserError(
                f"{given} is given without {missing}; give the initial outputs on both sets, or on "
                "neither for a network that starts at zero"
            )
        cross = flat_cross(k_test_train, k_train).astype(dtype)
        m = jnp.shape(k_test_train)[0]
        start_test = _outputs("f0_test", f0_test, (m, k), dtype)
    elif f0_test is not None:
        raise UserError("f0_test is given without k_test_train; give both or neither")
    residual = y.astype(dtype) - start_train
    return Problem(train, cross, residual.reshape(train.shape[0], -1), start_train, start_test)


def real_numbers(name: str, values: Any, *, finite: bool = True) -> jax.Array:
    """Return real numbers as an array.

    Args:
        name: What the caller knows them by.
        values: An array, or lists of numbers.
        finite: Whether they must be finite, where they are known.

    Raises:
        UserError: If they are something else, such as truth values or complex numbers.
    """
    array = as_numbers(name, values)
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    if not floating and not jnp.issubdtype(array.dtype, jnp.integer):
        raise UserError(f"{name} has type {array.dtype}; give real numbers")
    known = finite and not isinstance(array, jax.core.Tracer)
    if known and not np.all(np.isfinite(np.asarray(array))):
        raise UserError(f"{name} has values that are not finite; leave out what diverged")
    return array


def flat_kernel(kernel: Any, name: str = "the kernel") -> tuple[jax.Array, bool]:
    """Return a kernel as a square matrix (N, N), and whether it tells outputs apart.

    Raises:
        UserError: If it is neither (n, n) nor (n, k, n, k), is empty or holds no floating numbers.
    """
    array = as_numbers(name, kernel)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise UserError(f"{name} has type {array.dtype}; give floating numbers")
    shape = array.shape
    half = array.ndim // 2
    if array.ndim not in (2, 4) or shape[:half] != shape[half:] or not array.size:
        raise UserError(
            f"{name} has shape {shape}; give a square one, (n, n), or (n, k, n, k) for k outputs"
        )
    size = shape[0] if half == 1 else shape[0] * shape[1]
    return array.reshape(size, size), half == 2


def flat_cross(cross: Any, kernel: Any) -> jax.Array:
    """Return a kernel of other examples against those of ``kernel`` as a matrix (M, N).

    Raises:
        UserError: If it does not fit, or is known not to be finite.
    """
    array, shape = real_numbers("k_test_train", cross), jnp.shape(kernel)
    half = len(shape) // 2
    # A full kernel has the outputs on both sides: (m, k, n, k).
    fits = array.ndim == 2 * half and array.shape[1:] == (*shape[1:half], *shape[half:])
    if not fits:
        wanted = "(m, n)" if half == 1 else "(m, k, n, k)"
        raise UserError(
            f"the kernel of test and training set has shape {array.shape}, but the training set's "
            f"{shape}; give {wanted} with the same training set and outputs"
        )
    columns = shape[0] if half == 1 else shape[0] * shape[1]
    return array.reshape(-1, columns)


def eigensystem(matrix: jax.Array, cutoff: float | jax.Array | None = None) -> Eigensystem:
    """Decompose a symmetric, positive semidefinite matrix.

    Args:
        matrix: Shape (N, N).
        cutoff: Eigenvalues at most this fraction of the largest are taken for zero, and negative
            ones down to minus it for rounding. By default N times the dtype's epsilon, as in
            NumPy's ``matrix_rank``.

    Returns:
        Its eigenvalues and vectors, in its dtype.

    Raises:
        UserError: If its values are known (not traced) and it is not finite, symmetric or positive
            semidefinite, beyond rounding; or if the cutoff is not a number from 0 to 1.
    """
    fraction = relative_cutoff(cutoff, matrix)
    known = not isinstance(matrix, jax.core.Tracer)
    if known:
        require_symmetric(np.asarray(matrix), fraction)
    with jax.default_matmul_precision("highest"):
        values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=True)
    values, vectors = values[::-1], vectors[:, ::-1]
    smallest = jnp.asarray(fraction, matrix.dtype) * jnp.maximum(values[0], 0)
    if known and not isinstance(smallest, jax.core.Tracer):
        _require_positive(float(values[-1]), float(values[0]), float(smallest))
    return Eigensystem(jnp.maximum(values, 0), vectors, smallest)


def relative_cutoff(
    cutoff: float | jax.Array | None, array: jax.Array, size: int | None = None
) -> float | jax.Array:
    """Return the fraction of the largest eigenvalue that counts as zero; see ``eigensystem``.

    Raises:
        UserError: If it is not a number from 0 to 1.
    """
    if cutoff is None:
        return float((size or array.shape[0]) * jnp.finfo(array.dtype).eps)
    _require_real("cutoff", cutoff)
    if not isinstance(cutoff, jax.core.Tracer) and not 0 <= cutoff < 1:
        raise UserError(f"cutoff is {cutoff}; choose 0 <= cutoff < 1")
    return cutoff


def not_negative(name: str, value: Any, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Return a number in a dtype.

    Raises:
        UserError: If it is none, or is known and negative or not finite.
    """
    _require_real(name, value)
    if not isinstance(value, jax.core.Tracer) and not (value >= 0 and np.isfinite(value)):
        raise UserError(f"{name} is {value}; choose a finite {name} >= 0")
    return jnp.asarray(value).astype(dtype)


def require_centred(f0: Any, tolerance: float = 0.0) -> None:
    """Refuse initial outputs that are not zero, where a theorem is about networks that start there.

    Args:
        f0: Initial outputs, of any shape.
        tolerance: Largest absolute value allowed.

    Raises:
        UserError: If one is known to be larger, or not finite; or the tolerance is not a finite
            number >= 0.
    """
    outputs = real_numbers("f0", f0, finite=False)
    not_negative("tolerance", tolerance, jnp.result_type(float))
    if isinstance(outputs, jax.core.Tracer) or isinstance(tolerance, jax.core.Tracer):
        return
    largest = float(np.max(np.abs(np.asarray(outputs)), initial=0.0))
    if not largest <= tolerance:
        raise UserError(
            f"the initial outputs reach {largest:.3g} in absolute value, but must be zero (up to "
            f"{tolerance:.3g}); subtract them from the outputs, or give f0_train and f0_test"
        )


def require_kernel(matrix: jax.Array, cutoff: float | jax.Array | None = None) -> None:
    """Refuse what is no kernel, at the cost of a decomposition; traced values pass.

    Args:
        matrix: Shape (N, N).
        cutoff: As in ``eigensystem``.

    Raises:
        UserError: As ``eigensystem``.
    """
    if not isinstance(matrix, jax.core.Tracer):
        eigensystem(matrix, cutoff)


def _combined(start: jax.Array, kernel: jax.Array, coefficients: jax.Array) -> jax.Array:
    change = jnp.matmul(kernel, coefficients, precision=jax.lax.Precision.HIGHEST)
    shape = (*coefficients.shape[:-2], *start.shape)
    return jnp.broadcast_to(start, shape) + change.reshape(shape)


def require_symmetric(
    matrix: np.ndarray, fraction: float | jax.Array, name: str = "the kernel"
) -> None:
    """Refuse a matrix (N, N) that is not finite, or not symmetric beyond a fraction of its largest.

    Raises:
        UserError: If it is not.
    """
    if not np.all(np.isfinite(matrix)):
        raise UserError(f"{name} has values that are not finite; leave out what diverged")
    if isinstance(fraction, jax.core.Tracer):
        return
    apart, largest = float(np.max(np.abs(matrix - matrix.T))), float(np.max(np.abs(matrix)))
    # A float32 kernel of rank one may already differ by an epsilon or two in an entry.
    allowed = max(float(fraction), 8 * float(np.finfo(matrix.dtype).eps)) * largest
    if apart > allowed:
        raise UserError(
            f"{name} is not symmetric: entries differ by {apart:.3g} from their mirror images, "
            f"where rounding allows {allowed:.3g}; give K or (K + K.T) / 2"
        )


def _require_positive(lowest: float, highest: float, allowed: float) -> None:
    if lowest < -allowed:
        raise UserError(
            f"the kernel is not positive semidefinite: its smallest eigenvalue is {lowest:.3g}, "
            f"where rounding allows {-allowed:.3g} (its largest is {highest:.3g}); give another "
            "kernel, or a larger cutoff if it was computed in lower precision"
        )


def _outputs(
    name: str, values: Any, shape: tuple[int, int], dtype: jax.typing.DTypeLike
) -> jax.Array:
    if values is None:
        return jnp.zeros(shape, dtype)
    array = real_numbers(name, values)
    _require_shape(name, array, shape)
    return array.astype(dtype)


def _require_real(name: str, value: Any) -> None:
    require_number(name, value)
    if hasattr(value, "dtype"):
        real_numbers(name, value, finite=False)


def _require_shape(name: str, array: jax.Array, shape: tuple[int, int], wanted: str = "") -> None:
    if array.shape != shape or not array.size:
        raise UserError(f"{name} has shape {array.shape}; give {wanted or shape}")
