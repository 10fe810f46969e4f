"""One frozen record of arrays: what every other room means by a dataset."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from implicit_bias.errors import UserError, unknown

Task = Literal["classification", "regression"]

ARRAYS = ("x_train", "y_train", "x_test", "y_test", "x_valid", "y_valid")
"""The arrays of a dataset, in the order in which they enter its checksum."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training, test and, where there is one, validation arrays, with where they come from.

    Everything is checked when the record is made, and the arrays in it cannot be written to. Two
    datasets are equal when their names, tasks and checksums are.

    Attributes:
        name: Short name, as shown in tables.
        task: ``"classification"`` or ``"regression"``.
        n_outputs: Number of classes (at least 2), or the dimension of the regression target.
        x_train: Training inputs, floating point, (n, *features).
        y_train: Training targets: int32 (n,), or (n, predictions) where that is more than 1, with
            values 0 … n_outputs − 1, or floating point (n, n_outputs) of the inputs' dtype; (n,) is
            taken as (n, 1).
        x_test: Test inputs, (n_test, *features).
        y_test: Test targets, like the training ones.
        x_valid: Validation inputs, or None.
        y_valid: Validation targets, or None.
        provenance: Where the data comes from and what was done to it; only values that JSON can
            hold.
        predictions: Labels of one example: 1, or as many as a text has next tokens. The network's
            outputs are then (n, predictions · n_outputs), and losses are means over predictions.

    Raises:
        UserError: An array is empty, not finite, of the wrong type or shape, or a label is out of
            range; the message names the array.
    """

    name: str
    task: Task
    n_outputs: int
    x_train: npt.NDArray[Any]
    y_train: npt.NDArray[Any]
    x_test: npt.NDArray[Any]
    y_test: npt.NDArray[Any]
    x_valid: npt.NDArray[Any] | None = None
    y_valid: npt.NDArray[Any] | None = None
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    predictions: int = 1

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise unknown("task", self.task, get_args(Task))
        least = 2 if self.task == "classification" else 1
        if isinstance(self.n_outputs, bool) or not isinstance(self.n_outputs, int | np.integer):
            raise UserError(f"n_outputs is {self.n_outputs!r}; give a whole number >= {least}")
        if self.n_outputs < least:
            raise UserError(
                f"n_outputs is {self.n_outputs}; {self.task} needs n_outputs >= {least}"
            )
        if self.predictions != 1 and (self.task != "classification" or self.predictions < 1):
            raise UserError(
                f"predictions is {self.predictions} for {self.task}; only classification has several"
            )
        if (self.x_valid is None) != (self.y_valid is None):
            given, absent = (
                ("y_valid", "x_valid") if self.x_valid is None else ("x_valid", "y_valid")
            )
            raise UserError(f"{given} is given without {absent}; give both or neither")
        values: dict[str, Any] = {"n_outputs": int(self.n_outputs)}
        values["x_train"] = _inputs("x_train", self.x_train)
        for part in ("test", "valid"):
            if (x := getattr(self, f"x_{part}")) is not None:
                values[f"x_{part}"] = _inputs(f"x_{part}", x, like=values["x_train"])
        for part in ("train", "test", "valid"):
            if (y := getattr(self, f"y_{part}")) is not None:
                values[f"y_{part}"] = self._targets(f"y_{part}", y, values[f"x_{part}"])
        values["provenance"] = _plain(self.provenance)
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def _targets(self, name: str, given: Any, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        y = np.asarray(given)
        if y.ndim == 0 or len(y) != len(x):
            n_targets = 1 if y.ndim == 0 else len(y)
            raise UserError(
                f"{name} has {n_targets} targets, but {'x' + name[1:]} has {len(x)} examples; "
                "give one target for each example"
            )
        if self.task == "classification":
            several = (self.predictions,) if self.predictions > 1 else ()
            if y.shape[1:] != several or not np.issubdtype(y.dtype, np.integer):
                raise UserError(
                    f"{name} has shape {y.shape} and dtype {y.dtype}; class labels are whole "
                    f"numbers of shape {(len(x), *several)}: use argmax on one-hot labels, "
                    "astype('int32') on floats, or task 'regression'"
                )
            lowest, highest = int(y.min()), int(y.max())
            if lowest < 0 or highest >= self.n_outputs:
                wrong = lowest if lowest < 0 else highest
                raise UserError(
                    f"{name} contains label {wrong}; with {self.n_outputs} classes "
                    f"labels run from 0 to {self.n_outputs - 1}"
                )
            return _frozen(y, np.dtype(np.int32))
        if not np.issubdtype(y.dtype, np.number) or np.issubdtype(y.dtype, np.complexfloating):
            raise UserError(f"{name} has dtype {y.dtype}; regression targets are real numbers")
        y = y[:, None] if y.ndim == 1 else y
        if y.shape != (len(x), self.n_outputs):
            raise UserError(
                f"{name} has shape {y.shape}; with n_outputs={self.n_outputs} it must be "
                f"({len(x)}, {self.n_outputs})"
            )
        y = _frozen(y, x.dtype)
        _check_finite(name, y)
        return y

    @property
    def n_train(self) -> int:
        """Number of training examples."""
        return len(self.x_train)

    @property
    def n_test(self) -> int:
        """Number of test examples."""
        return len(self.x_test)

    @property
    def n_valid(self) -> int:
        """Number of validation examples, 0 without a validation set."""
        return 0 if self.x_valid is None else len(self.x_valid)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x_train.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The inputs' floating-point type."""
        return self.x_train.dtype

    @property
    def title(self) -> str:
        """The name to print beside a number, such as "CIFAR-10 (JPEG)"; by default ``name``."""
        return str(self.provenance.get("title", self.name))

    @functools.cached_property
    def checksum(self) -> str:
        """SHA-256 over every array's name, dtype, shape and bytes."""
        return arrays_checksum({name: getattr(self, name) for name in ARRAYS})

    def flatten(self) -> Dataset:
        """Return the same data with each input as one vector, (n, product of features)."""
        return self._map_inputs(lambda x: x.reshape(len(x), -1))

    def astype(self, dtype: npt.DTypeLike) -> Dataset:
        """Return the same data with inputs and regression targets in another floating-point type.

        Args:
            dtype: ``"float32"``, ``"float64"`` or another floating-point type.

        Raises:
            UserError: The type is not floating point, or a value overflows in it.
        """
        try:
            wanted = np.dtype(dtype)
        except TypeError as error:
            raise UserError(f"dtype is {dtype!r}; choose float32 or float64") from error
        if not np.issubdtype(wanted, np.floating):
            raise UserError(f"dtype is {wanted}; choose float32 or float64")
        with np.errstate(over="ignore"):  # an overflow is reported by the check for finite values
            return self._map_inputs(lambda x: x.astype(wanted, copy=False))

    def replace(self, **changes: Any) -> Dataset:
        """Return a copy with some fields replaced, checked again."""
        return dataclasses.replace(self, **changes)

    def describe(self) -> dict[str, Any]:
        """Return name, task, sizes, types, checksum and provenance, as JSON can hold them."""
        several = {"predictions": self.predictions} if self.predictions > 1 else {}
        return {
            "name": self.name,
            "title": self.title,
            "task": self.task,
            "n_outputs": self.n_outputs,
            **several,
            "n_train": self.n_train,
            "n_valid": self.n_valid,
            "n_test": self.n_test,
            "input_shape": list(self.input_shape),
            "dtype": str(self.dtype),
            "checksum": self.checksum,
            "provenance": dict(self.provenance),
        }

    def _map_inputs(self, change: Any) -> Dataset:
        x = {k: getattr(self, k) for k in ("x_train", "x_test", "x_valid")}
        return self.replace(**{k: None if v is None else change(v) for k, v in x.items()})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dataset):
            return NotImplemented
        return self is other or self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[str, str, int, str]:
        return self.name, self.task, self.n_outputs, self.checksum

    def __repr__(self) -> str:
        what = "classes" if self.task == "classification" else "targets"
        valid = f" + {self.n_valid} valid" if self.n_valid else ""
        shape = "x".join(map(str, self.input_shape))
        return (
            f"Dataset({self.name!r}, {self.task}, {self.n_outputs} {what}, {shape} {self.dtype}, "
            f"{self.n_train} train{valid} + {self.n_test} test)"
        )


def arrays_checksum(arrays: Mapping[str, npt.NDArray[Any] | None]) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes; absent arrays are left out.

    Args:
        arrays: Arrays by name; the order of the names matters.
    """
    digest = hashlib.sha256()
    for name, array in arrays.items():
        if array is not None:
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _inputs(name: str, given: Any, like: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
    x = np.asarray(given)
    if not np.issubdtype(x.dtype, np.floating):
        raise UserError(
            f"{name} has dtype {x.dtype}; inputs are floating point: use astype('float32'), "
            "and divide 8-bit pixels by 255"
        )
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise UserError(f"{name} has shape {x.shape}; give (examples, features…)")
    if len(x) == 0:
        raise UserError(f"{name} has no examples; give at least one")
    if like is not None and x.shape[1:] != like.shape[1:]:
        raise UserError(
            f"{name} has inputs of shape {x.shape[1:]}, but those of x_train have {like.shape[1:]}"
        )
    x = _frozen(x, x.dtype if like is None else like.dtype)
    _check_finite(name, x)
    return x


def _frozen(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the array read-only, contiguous and in native byte order, copied only if needed."""
    same = array.dtype == dtype.newbyteorder("=") and array.flags.c_contiguous
    owner = array.base is None or (
        isinstance(array.base, np.ndarray) and not array.base.flags.writeable
    )
    if not (same and owner and not array.flags.writeable):
        # A copy, so that a caller who keeps the original cannot change what the checksum is of.
        with np.errstate(over="ignore"):  # overflow becomes inf, which is refused by name
            array = np.array(array, dtype=dtype.newbyteorder("="), order="C", subok=False)
        array.flags.writeable = False
    return array


def _check_finite(name: str, array: npt.NDArray[Any]) -> None:
    finite = np.isfinite(array)
    if not finite.all():
        index = np.unravel_index(int(np.argmin(finite)), array.shape)
        place = ", ".join(str(int(i)) for i in index)
        raise UserError(
            f"{name} is not finite ({array.size - int(finite.sum())} of {array.size} values, the "
            f"first {array[index]} at [{place}]); remove or fill these values"
        )


def _plain(provenance: Mapping[str, Any]) -> dict[str, Any]:
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(provenance), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UserError(
            f"provenance cannot be written as JSON ({error}); use plain values"
        ) from error
    return copied
