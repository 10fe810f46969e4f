"""Data drawn from known distributions, on which an answer can be computed on paper.

Everything comes from one seed through NumPy generators, one for each ingredient (inputs, noise,
teacher, means; training and test apart), so that changing one ingredient's size leaves the others
as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from implicit_bias.data.dataset import Dataset
from implicit_bias.errors import UserError, unknown
from implicit_bias.keys import role_generator

_STREAMS = {
    "teacher": 0,
    "x_train": 1,
    "x_test": 2,
    "noise_train": 3,
    "noise_test": 4,
    "labels_train": 5,
    "labels_test": 6,
}
"""Numbers of the ingredients' generators. Append only: renumbering changes every draw."""


def linear_regression(
    n_train: int = 100,
    n_test: int = 1000,
    dim: int = 20,
    *,
    noise: float = 0.1,
    n_outputs: int = 1,
    sparsity: int | None = None,
    teacher: npt.ArrayLike | None = None,
    seed: int = 0,
    dtype: npt.DTypeLike = np.float32,
) -> Dataset:
    """Gaussian inputs and a linear teacher: y = x·W + noise·ε with x, ε standard normal.

    Args:
        n_train: Training examples.
        n_test: Test examples.
        dim: Input dimension.
        noise: Standard deviation of the noise on each target, in training and test set alike.
        n_outputs: Target dimension.
        sparsity: Number of non-zero rows of W; None for a dense teacher.
        teacher: W itself, (dim,) or (dim, n_outputs); None draws :func:`linear_teacher`.
        seed: Seed of everything drawn.
        dtype: Floating-point type of the arrays.

    Returns:
        A regression dataset with inputs (n, dim) and targets (n, n_outputs).

    Raises:
        UserError: A size or the noise is out of range, or the teacher has the wrong shape.

    Example:
        >>> linear_regression(n_train=50, dim=200)
        Dataset('linear-regression', regression, 1 targets, 200 float32, 50 train + 1000 test)
    """
    _sizes(n_train=n_train, n_test=n_test, dim=dim, n_outputs=n_outputs)
    _at_least_zero(noise=noise)
    if teacher is None:
        weights = linear_teacher(dim, n_outputs=n_outputs, sparsity=sparsity, seed=seed)
    else:
        weights = np.asarray(teacher, np.float64)
        weights = weights[:, None] if weights.ndim == 1 else weights
        if weights.shape != (dim, n_outputs):
            raise UserError(
                f"the teacher has shape {weights.shape}; with dim={dim} and n_outputs={n_outputs} "
                f"it must be ({dim}, {n_outputs})"
            )
    arrays = {}
    for part, n in (("train", n_train), ("test", n_test)):
        x = _stream(seed, f"x_{part}").standard_normal((n, dim))
        error = _stream(seed, f"noise_{part}").standard_normal((n, n_outputs))
        arrays[f"x_{part}"], arrays[f"y_{part}"] = x, x @ weights + noise * error
    settings: dict[str, Any] = {"dim": dim, "noise": noise, "sparsity": sparsity, "seed": seed}
    settings["teacher"] = "drawn" if teacher is None else "given"
    return _dataset("linear-regression", "regression", n_outputs, arrays, settings, dtype)


def linear_teacher(
    dim: int, *, n_outputs: int = 1, sparsity: int | None = None, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Draw the teacher of :func:`linear_regression`: Gaussian, each column of norm 1.

    Args:
        dim: Input dimension.
        n_outputs: Target dimension.
        sparsity: Number of non-zero rows, at random places; None for all.
        seed: The dataset's seed.

    Returns:
        Weights (dim, n_outputs).

    Raises:
        UserError: ``sparsity`` is not between 1 and ``dim``.
    """
    _sizes(dim=dim, n_outputs=n_outputs)
    if sparsity is not None and not 1 <= sparsity <= dim:
        raise UserError(f"sparsity is {sparsity}, but dim is {dim}; choose 1 <= sparsity <= {dim}")
    rng = _stream(seed, "teacher")
    weights = rng.standard_normal((dim, n_outputs))
    if sparsity is not None:
        weights[rng.permutation(dim)[sparsity:]] = 0
    return weights / np.linalg.norm(weights, axis=0)


def gaussian_classes(
    n_train: int = 100,
    n_test: int = 1000,
    dim: int = 20,
    n_classes: int = 2,
    *,
    separation: float = 3.0,
    seed: int = 0,
    dtype: npt.DTypeLike = np.float32,
) -> Dataset:
    """Draw unit Gaussian clouds whose centres form a regular simplex.

    Every two centres are ``separation`` apart and their mean is the origin; classes are equally
    frequent up to one example. With two classes, the best possible error is Φ(−separation / 2).

    Args:
        n_train: Training examples.
        n_test: Test examples.
        dim: Input dimension, at least ``n_classes − 1``.
        n_classes: Number of classes, at least 2.
        separation: Distance of any two centres, in standard deviations.
        seed: Seed of everything drawn.
        dtype: Floating-point type of the arrays.

    Returns:
        A classification dataset with inputs (n, dim).

    Raises:
        UserError: A size or the separation is out of range.
    """
    _sizes(n_train=n_train, n_test=n_test, dim=dim, n_classes=n_classes)
    _at_least_zero(separation=separation)
    if n_classes < 2 or dim < n_classes - 1:
        raise UserError(
            f"n_classes is {n_classes} with dim {dim}; choose 2 <= n_classes <= dim + 1, "
            "so that all centres can be equally far apart"
        )
    rng = _stream(seed, "teacher")
    corners = np.eye(n_classes) - 1 / n_classes
    # An orthonormal basis of the corners' span, then a random rotation into the input space.
    plane = np.linalg.svd(corners)[0][:, : n_classes - 1]
    basis = np.linalg.qr(rng.standard_normal((dim, n_classes - 1)))[0]
    centres = separation / np.sqrt(2) * corners @ plane @ basis.T
    arrays: dict[str, npt.NDArray[Any]] = {}
    for part, n in (("train", n_train), ("test", n_test)):
        y = _stream(seed, f"labels_{part}").permutation(np.arange(n) % n_classes)
        arrays[f"y_{part}"] = y
        arrays[f"x_{part}"] = centres[y] + _stream(seed, f"x_{part}").standard_normal((n, dim))
    settings = {"dim": dim, "separation": separation, "seed": seed}
    return _dataset("gaussian-classes", "classification", n_classes, arrays, settings, dtype)


def teacher_student(
    n_train: int = 100,
    n_test: int = 1000,
    dim: int = 20,
    *,
    width: int = 10,
    n_outputs: int = 1,
    activation: Literal["relu", "tanh"] = "relu",
    noise: float = 0.0,
    seed: int = 0,
    dtype: npt.DTypeLike = np.float32,
) -> Dataset:
    """Gaussian inputs and a teacher network with one hidden layer: y = φ(x·A)·B + noise·ε.

    A (dim, width) has entries of variance 1/dim and B (width, n_outputs) of variance 1/width, so
    that targets are of order one at every size.

    Args:
        n_train: Training examples.
        n_test: Test examples.
        dim: Input dimension.
        width: Hidden units of the teacher.
        n_outputs: Target dimension.
        activation: The teacher's non-linearity φ.
        noise: Standard deviation of the noise on each target.
        seed: Seed of everything drawn.
        dtype: Floating-point type of the arrays.

    Returns:
        A regression dataset with inputs (n, dim) and targets (n, n_outputs).

    Raises:
        UserError: A size or the noise is out of range, or the activation is unknown.
    """
    _sizes(n_train=n_train, n_test=n_test, dim=dim, width=width, n_outputs=n_outputs)
    _at_least_zero(noise=noise)
    functions: dict[str, Callable[[Any], Any]] = {
        "relu": lambda z: np.maximum(z, 0),
        "tanh": np.tanh,
    }
    if activation not in functions:
        raise unknown("activation of the teacher", activation, functions)
    rng = _stream(seed, "teacher")
    inner = rng.standard_normal((dim, width)) / np.sqrt(dim)
    outer = rng.standard_normal((width, n_outputs)) / np.sqrt(width)
    arrays = {}
    for part, n in (("train", n_train), ("test", n_test)):
        x = _stream(seed, f"x_{part}").standard_normal((n, dim))
        error = _stream(seed, f"noise_{part}").standard_normal((n, n_outputs))
        arrays[f"x_{part}"] = x
        arrays[f"y_{part}"] = functions[activation](x @ inner) @ outer + noise * error
    settings = {"dim": dim, "width": width, "activation": activation, "noise": noise, "seed": seed}
    return _dataset("teacher-student", "regression", n_outputs, arrays, settings, dtype)


GENERATORS: dict[str, Callable[..., Dataset]] = {
    "gaussian-classes": gaussian_classes,
    "linear-regression": linear_regression,
    "teacher-student": teacher_student,
}
"""The generators by the name that :func:`implicit_bias.data.load` knows them by."""


def _stream(seed: int, ingredient: str) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise UserError(f"seed is {seed!r}; give a whole number >= 0")
    return role_generator(seed, "data", _STREAMS[ingredient])


def _dataset(
    name: str,
    task: Literal["classification", "regression"],
    n_outputs: int,
    arrays: dict[str, Any],
    settings: dict[str, Any],
    dtype: npt.DTypeLike,
) -> Dataset:
    provenance = {"source": f"drawn: {name}", "settings": settings, "numpy": np.__version__}
    made = Dataset(name=name, task=task, n_outputs=n_outputs, provenance=provenance, **arrays)
    return made.astype(dtype)


def _sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise UserError(f"{name} is {size!r}; give a whole number >= 1")


def _at_least_zero(**values: float) -> None:
    for name, value in values.items():
        if not (np.isreal(value) and np.isfinite(value) and value >= 0):
            raise UserError(f"{name} is {value!r}; give a number >= 0")
