"""Arrays as they are stored: pixels still bytes, before anything is done to them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from implicit_bias.data.dataset import Dataset, Task, arrays_checksum
from implicit_bias.data.transforms import stratified_prefix
from implicit_bias.errors import UserError
from implicit_bias.keys import role_generator

REQUIRED = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("x_valid", "y_valid")


@dataclasses.dataclass(frozen=True, eq=False)
class RawData:
    """What the cache holds of one dataset.

    Attributes:
        name: Short name of the data, e.g. ``"mnist"``.
        title: Name to print beside numbers, e.g. ``"CIFAR-10 (JPEG)"``.
        task: ``"classification"`` or ``"regression"``.
        n_outputs: Number of classes, or target dimension.
        arrays: Inputs and targets by name; 8-bit inputs are pixels, which become value/255.
        source: Where the arrays come from; plain values.
        classes: Names of the classes in the order of their labels, where they have names.
    """

    name: str
    title: str
    task: Task
    n_outputs: int
    arrays: Mapping[str, npt.NDArray[Any]]
    source: Mapping[str, Any]
    classes: tuple[str, ...] | None = None

    def to_dataset(
        self, *, n_train: int | None = None, n_test: int | None = None, subset_seed: int = 0
    ) -> Dataset:
        """Turn the stored arrays into a float32 dataset.

        Args:
            n_train: Keep so many training examples, drawn at random (stratified for classes); None
                keeps all in their stored order.
            n_test: The same for test examples.
            subset_seed: Seed of these draws, which are the same for every run that does not change
                it.

        Raises:
            UserError: More examples are asked for than there are, or the arrays are unusable.
        """
        arrays = dict(self.arrays)
        provenance: dict[str, Any] = {
            "title": self.title,
            **self.source,
            "raw_checksum": arrays_checksum(arrays),
        }
        if self.classes is not None:
            provenance["classes"] = list(self.classes)
        for part, wanted, number in (("train", n_train, 0), ("test", n_test, 1)):
            if wanted is None:
                continue
            there = len(arrays[f"y_{part}"])
            if not isinstance(wanted, int | np.integer) or not 1 <= wanted <= there:
                raise UserError(
                    f"n_{part} is {wanted!r}, but {self.name} has {there} {part} examples; "
                    f"choose a whole number from 1 to {there}"
                )
            keep = _subset(self.task, arrays[f"y_{part}"], wanted, subset_seed, number)
            provenance[f"n_{part}"] = f"{wanted} of {there}, seed {subset_seed}"
            for name in (f"x_{part}", f"y_{part}"):
                arrays[name] = arrays[name][keep]
        parts: dict[str, Any] = {
            k: as_inputs(v) if k.startswith("x_") else v
            for k, v in arrays.items()
            if k.startswith(("x_", "y_"))
        }
        return Dataset(
            name=self.name,
            task=self.task,
            n_outputs=self.n_outputs,
            provenance=provenance,
            **parts,
        )


def from_arrays(
    name: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    place: str,
    source: Mapping[str, Any],
    title: str | None = None,
    n_classes: int | None = None,
    classes: tuple[str, ...] | None = None,
) -> RawData:
    """Check arrays that somebody brings, and find out what task they are for.

    Integer targets are class labels, with as many classes as the highest label says; floating-point
    targets are a regression. 8-bit inputs are pixels (three-dimensional ones get a channel axis);
    other inputs are kept as numbers in float32.

    Args:
        name: Short name of the data.
        arrays: ``x_train``, ``y_train``, ``x_test``, ``y_test``, and perhaps ``x_valid`` and
            ``y_valid``.
        place: The file or folder, for messages.
        source: What to record of where they come from.
        title: Name to print beside numbers; ``name`` if not given.
        n_classes: Number of classes where it is known.
        classes: Names of the classes where they are known.

    Raises:
        UserError: Arrays are missing, empty, not finite or do not fit together.
    """
    known = REQUIRED + OPTIONAL
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise UserError(
            f"{place} has no array {', '.join(missing)} (it has {', '.join(arrays) or 'none'}); "
            f"it must hold {', '.join(REQUIRED)}"
        )
    kept: dict[str, npt.NDArray[Any]] = {}
    for key in known:
        if key not in arrays:
            continue
        value = np.asarray(arrays[key])
        if not (np.issubdtype(value.dtype, np.number) or value.dtype == np.bool_):
            how = "; number the classes from 0, as np.unique(y, return_inverse=True)[1] does"
            raise UserError(
                f"{place}: {key} has dtype {value.dtype}; it must hold real numbers"
                f"{how if key.startswith('y_') and value.dtype.kind in 'USO' else ''}"
            )
        if np.issubdtype(value.dtype, np.complexfloating):
            raise UserError(f"{place}: {key} is complex; it must hold real numbers")
        kept[key] = _stored_inputs(value) if key.startswith("x_") else _stored_targets(value)
    targets = kept["y_train"]
    if np.issubdtype(targets.dtype, np.integer):
        task: Task = "classification"
        highest = max((int(kept[k].max()) for k in kept if k[0] == "y" and kept[k].size), default=0)
        if n_classes is None and highest >= sum(v.shape[0] for k, v in kept.items() if k[0] == "y"):
            raise UserError(
                f"{place}: the targets are whole numbers up to {highest}, more than there are "
                "examples; save them as floating point for a regression, or number the classes "
                "from 0"
            )
        n_outputs = n_classes if n_classes is not None else max(highest + 1, 2)
    else:
        task = "regression"
        n_outputs = targets.shape[1] if targets.ndim == 2 else 1
    raw = RawData(name, title or name, task, n_outputs, kept, dict(source), classes)
    try:
        raw.to_dataset()
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    return raw


def as_inputs(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return inputs as float32: pixels divided by 255, everything else as it is.

    Args:
        stored: Inputs as stored, (n, *features).
    """
    if stored.dtype == np.uint8:
        x = stored.astype(np.float32)
        x /= np.float32(255)
    else:
        with np.errstate(over="ignore"):  # overflow becomes inf, which the dataset refuses by name
            x = stored.astype(np.float32)
    x.flags.writeable = False
    return x


def canonical_order(raw: RawData) -> RawData:
    """Sort each part by the SHA-256 of its examples.

    A public dataset then has the same bytes and checksum whichever way it was fetched, and any
    stretch of it is an arbitrary sample rather than one class.

    Args:
        raw: Data whose original order means nothing.
    """
    arrays = dict(raw.arrays)
    for part in ("train", "test", "valid"):
        if f"x_{part}" in arrays:
            x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
            hashes = [
                hashlib.sha256(np.ascontiguousarray(image).tobytes() + bytes([int(label)])).digest()
                for image, label in zip(x, y, strict=True)
            ]
            order = sorted(range(len(x)), key=hashes.__getitem__)
            arrays[f"x_{part}"], arrays[f"y_{part}"] = x[order], y[order]
    return dataclasses.replace(raw, arrays=arrays)


def _stored_inputs(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if x.dtype == np.uint8:
        return x[..., None] if x.ndim == 3 else x
    if x.ndim == 1:  # one feature, in the way in which many people write it
        x = x[:, None]
    with np.errstate(over="ignore"):
        return x.astype(np.float32)


def _stored_targets(y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if np.issubdtype(y.dtype, np.floating):
        with np.errstate(over="ignore"):
            return y.astype(np.float32)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    return y.astype(np.int64)


def _subset(
    task: Task, targets: npt.NDArray[Any], wanted: int, seed: int, number: int
) -> npt.NDArray[np.intp]:
    # NumPy and not JAX: loading data must not start JAX before its devices have been chosen.
    rng = role_generator(seed, "data", number)
    order = rng.permutation(len(targets))
    if task == "regression":
        return order[:wanted]
    return order[stratified_prefix(order, targets, wanted)]
