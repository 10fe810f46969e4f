"""What is done to data before training: standardisation, subsets, splits and label noise.

Subsets, splits and noise are pure functions of a key, so that each seed can redraw them inside
compiled code. Labels come to the stratified functions as host arrays: how many examples a class has
fixes the shapes of the result, and is the same for every seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from implicit_bias.arguments import whole_number
from implicit_bias.data.dataset import Dataset
from implicit_bias.errors import UserError, unknown

Standardisation = Literal["pixel", "global", "none"]

_ROWS = 4096  # examples per block of the float64 sums, which bounds their memory


def standardise(
    dataset: Dataset, kind: Standardisation = "pixel", *, min_std: float = 0.0
) -> Dataset:
    """Subtract a mean and divide by a standard deviation, both of the training set.

    Validation and test inputs are transformed with the same numbers. Statistics are accumulated in
    float64 and divide by n. A feature that is constant over the training set is only centred, not
    divided.

    Args:
        dataset: The data.
        kind: ``"pixel"``: each feature with its own statistics; ``"global"``: all with one mean and
            one standard deviation; ``"none"``: left as it is.
        min_std: Smallest divisor. A feature that is almost always the same (a corner pixel set in
            one image of ten thousand) has a tiny standard deviation, and a test input may then
            become huge; 0 is the textbook definition.

    Returns:
        A new dataset, with ``provenance["standardisation"]`` saying what was done.

    Raises:
        UserError: Unknown ``kind``, negative ``min_std``, or the inputs are tokens.
    """
    if kind not in get_args(Standardisation):
        raise unknown("standardisation", kind, get_args(Standardisation))
    if not min_std >= 0:
        raise UserError(f"min_std is {min_std!r}; give a number >= 0")
    if kind != "none" and "vocabulary" in dataset.provenance:
        raise UserError(
            f"standardise is {kind!r}, but {dataset.name} holds numbers of tokens, which have no scale; "
            "choose 'none'"
        )
    if kind == "none":
        return dataset.replace(provenance={**dataset.provenance, "standardisation": {"kind": kind}})
    x = dataset.x_train
    mean, std = _moments(x, per_feature=kind == "pixel")
    # Decided by comparison, not by a small variance, which rounding alone can make.
    axes = 0 if kind == "pixel" else None
    constant = np.max(x, axis=axes) == np.min(x, axis=axes)
    divisor = np.where(constant, 1.0, np.maximum(std, min_std))

    def apply(values: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
        if values is None:
            return None
        out = np.empty_like(values)
        for start in range(0, len(values), _ROWS):
            block = slice(start, start + _ROWS)
            # Computed in float64 and rounded once.
            out[block] = (values[block] - mean) / divisor
        out.flags.writeable = False
        return out

    done = {
        "kind": kind,
        "statistics": f"training set, n = {dataset.n_train}",
        "constant_features": int(np.sum(constant)),
        "min_std": float(min_std),
    }
    return dataset.replace(
        x_train=apply(x),
        x_test=apply(dataset.x_test),
        x_valid=apply(dataset.x_valid),
        provenance={**dataset.provenance, "standardisation": done},
    )


def select_classes(dataset: Dataset, classes: Sequence[int]) -> Dataset:
    """Keep the examples of some classes, renumbered 0, 1, … in the order given.

    Args:
        dataset: A classification dataset.
        classes: At least two different labels.

    Returns:
        A new dataset, with ``provenance["classes"]`` saying what was kept.

    Raises:
        UserError: The task is not classification, fewer than two classes are named, one is named twice or
            is not there, or a part of the data has none of their examples.
    """
    if dataset.task != "classification" or dataset.predictions > 1:
        what = "of many predictions" if dataset.predictions > 1 else dataset.task
        raise UserError(
            f"classes are {list(classes)}, but {dataset.name} is {what}; leave them out"
        )
    if not all(isinstance(label, int | np.integer) for label in classes):
        raise UserError(f"classes are {classes!r}; give whole numbers, such as (0, 1)")
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise UserError(f"classes are {list(classes)}; name at least two different ones")
    for label in classes:
        if not 0 <= label < dataset.n_outputs:
            raise UserError(
                f"classes name {label}; {dataset.name} has labels 0 to {dataset.n_outputs - 1}"
            )
    changes: dict[str, Any] = {}
    for part in ("train", "test", "valid"):
        x, y = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
        if y is None:
            continue
        kept = np.isin(y, classes)
        if not kept.any():
            raise UserError(f"{dataset.name} has no {part} example of classes {list(classes)}")
        places = np.zeros(dataset.n_outputs, np.int32)
        places[list(classes)] = np.arange(len(classes), dtype=np.int32)
        changes |= {f"x_{part}": x[kept], f"y_{part}": places[y[kept]]}
    said = {"classes": [int(label) for label in classes]}
    return dataset.replace(
        n_outputs=len(classes), provenance={**dataset.provenance, **said}, **changes
    )


def _moments(
    x: npt.NDArray[Any], *, per_feature: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and standard deviation in float64, by two passes over blocks of examples."""
    axes = 0 if per_feature else None
    count = len(x) if per_feature else x.size
    mean = np.asarray(np.sum(x, axis=axes, dtype=np.float64) / count)
    squares = np.zeros_like(mean)
    for start in range(0, len(x), _ROWS):
        squares = squares + np.sum(np.square(x[start : start + _ROWS] - mean), axis=axes)
    return mean, np.sqrt(squares / count)


def class_quotas(labels: npt.ArrayLike, sizes: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return how many examples of each class each part of a stratified split gets.

    Largest remainders: a part of size n gets the whole number below n times the class's share, and
    what is missing goes to the classes with the largest fractions (among equals, the smaller
    label). Parts are served one after another, each in proportion to what the earlier ones have
    left, so a class is never asked for more than it has. A rare class may get none.

    Args:
        labels: Class labels (n,), on the host.
        sizes: Size of each part, 0 for an empty one.

    Returns:
        Counts (parts, classes), classes in the order of their labels; row sums are ``sizes``.

    Raises:
        UserError: A size is negative or not a whole number, or there are too few examples for all
            parts.
    """
    counts = np.unique(_host_labels(labels), return_counts=True)[1].astype(np.int64)
    left = counts.copy()
    quotas = []
    for size in _checked_sizes(sizes, int(counts.sum())):
        # Whole-number arithmetic: exact ties are ties, whatever the sizes.
        quota, remainder = np.divmod(size * left, max(1, left.sum()))
        missing = size - int(quota.sum())
        quota[np.argsort(-remainder, kind="stable")[:missing]] += 1
        left -= quota
        quotas.append(quota)
    return np.stack(quotas)


def stratified_prefix(
    order: npt.NDArray[np.intp], labels: npt.ArrayLike, size: int
) -> npt.NDArray[np.bool_]:
    """Mark, in a given order, the first examples of each class, with the classes in proportion.

    The host's counterpart of :func:`stratified_subset`, for splits that are made once.

    Args:
        order: A permutation of the examples, (n,).
        labels: Class labels of the examples, (n,).
        size: How many to mark.

    Returns:
        Which entries of ``order`` are chosen, (n,).

    Raises:
        UserError: As for :func:`class_quotas`.
    """
    labels = _host_labels(labels)
    (quota,) = class_quotas(labels, (size,))
    chosen = np.zeros(len(labels), bool)
    for label, wanted in zip(np.unique(labels), quota, strict=True):
        chosen[np.flatnonzero(labels[order] == label)[:wanted]] = True
    return chosen


def stratified_split(
    key: jax.Array, labels: npt.ArrayLike, sizes: Sequence[int]
) -> tuple[jax.Array, ...]:
    """Draw disjoint parts at random, each with the classes in proportion.

    One uniform number is drawn per example; within each class, the parts take examples in the order
    of these numbers; each part is then put in random order, so that any slice of it is a random
    sample of it. The first part does not depend on the sizes of the others.

    Args:
        key: Random key, possibly traced.
        labels: Class labels (n,), on the host: a NumPy array, not traced.
        sizes: Size of each part, static, 0 for an empty one; together at most n.

    Returns:
        One array of indices into ``labels`` for each part, int32 (size,).

    Raises:
        UserError: As for :func:`class_quotas`; or the labels are traced.
    """
    labels = _host_labels(labels)
    quotas = class_quotas(labels, sizes)
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    draws = jax.random.bits(jax.random.fold_in(key, 0), labels.shape, jnp.uint32)
    everyone = jnp.arange(len(labels), dtype=jnp.int32)
    # Sorted by class and, within a class, by the draw: a class's members in random order.
    order = jax.lax.sort((jnp.asarray(codes, jnp.int32), draws, everyone), num_keys=2)[2]
    starts = np.cumsum(counts) - counts
    parts = []
    for number, quota in enumerate(quotas):
        ranges = [np.arange(s, s + q) for s, q in zip(starts, quota, strict=True)]
        chosen = order[np.concatenate(ranges).astype(np.int32)]
        parts.append(jax.random.permutation(jax.random.fold_in(key, 1 + number), chosen))
        starts = starts + quota
    return tuple(parts)


def stratified_subset(key: jax.Array, labels: npt.ArrayLike, n: int) -> jax.Array:
    """Draw ``n`` examples without replacement, with the classes in proportion, in random order.

    The same as the first part of :func:`stratified_split`.

    Args:
        key: Random key, possibly traced.
        labels: Class labels, on the host.
        n: How many, static.

    Returns:
        Indices into ``labels``, int32 (n,).

    Raises:
        UserError: As for :func:`stratified_split`.
    """
    return stratified_split(key, labels, (n,))[0]


def random_split(key: jax.Array, n_examples: int, sizes: Sequence[int]) -> tuple[jax.Array, ...]:
    """Draw disjoint parts at random, without regard to classes: for regression.

    Args:
        key: Random key, possibly traced.
        n_examples: How many examples there are, static.
        sizes: Size of each part, static; together at most ``n_examples``.

    Returns:
        One array of indices for each part, int32 (size,). The first part does not depend on the
        sizes of the others.

    Raises:
        UserError: A size is negative or not a whole number, or there are too few examples for all
            parts.

    Example:
        >>> import jax
        >>> from implicit_bias import data
        >>> train, rest = data.random_split(jax.random.key(0), 10, (7, 3))
        >>> sorted([*train.tolist(), *rest.tolist()]) == list(range(10))
        True
    """
    ends = np.cumsum(_checked_sizes(sizes, n_examples)).tolist()
    order = jax.random.permutation(key, jnp.arange(n_examples, dtype=jnp.int32))
    return tuple(order[start:end] for start, end in zip([0, *ends], ends, strict=False))


def split_indices(key: jax.Array, dataset: Dataset, sizes: Sequence[int]) -> tuple[jax.Array, ...]:
    """Draw disjoint parts of the training set: stratified where each example has one class.

    Args:
        key: Random key, possibly traced.
        dataset: The data; static.
        sizes: Size of each part, static; together at most ``dataset.n_train``.

    Returns:
        One array of indices into the training set for each part, int32 (size,).

    Raises:
        UserError: As for :func:`stratified_split` and :func:`random_split`.
    """
    if dataset.task == "classification" and dataset.predictions == 1:
        return stratified_split(key, dataset.y_train, sizes)
    return random_split(key, dataset.n_train, sizes)


def symmetric_label_noise(
    key: jax.Array, labels: npt.ArrayLike | jax.Array, rate: float | jax.Array, n_classes: int
) -> jax.Array:
    """Replace each label, with probability ``rate``, by one of the *other* classes, all as likely.

    So ``rate`` is the expected fraction of wrong labels, and labels carry no information at
    (n_classes − 1) / n_classes. Where a source draws the new label among *all* classes with
    probability p, use rate = p · (n_classes − 1) / n_classes. With one key, the labels flipped at a
    rate are flipped, to the same values, at every higher rate.

    Args:
        key: The seed's own key of role ``"label_noise"``, possibly traced.
        labels: Class labels, integer, any shape; may be traced.
        rate: Probability in [0, 1]; may be traced (a traced value is not checked).
        n_classes: Number of classes, static, at least 2.

    Returns:
        Noisy labels, of the shape and type of ``labels``.

    Raises:
        UserError: ``n_classes`` is below 2 or a concrete ``rate`` is outside [0, 1].

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from implicit_bias import data
        >>> labels = jnp.zeros(1000, int)
        >>> wrong = data.symmetric_label_noise(jax.random.key(0), labels, 0.2, 10) != labels
        >>> 150 < int(wrong.sum()) < 250
        True
    """
    if n_classes < 2:
        raise UserError(f"n_classes is {n_classes}; label noise needs at least 2 classes")
    if not isinstance(rate, jax.core.Tracer) and not np.all(
        (np.asarray(rate) >= 0) & (np.asarray(rate) <= 1)
    ):
        raise UserError(f"the label-noise rate is {rate}; choose a value from 0 to 1")
    labels = jnp.asarray(labels)
    flip_key, class_key = jax.random.split(key)
    # Always drawn in float32, so that the type in which the rate is given cannot change who is
    # flipped.
    draws = jax.random.uniform(flip_key, labels.shape, jnp.float32)
    shift = jax.random.randint(class_key, labels.shape, 1, n_classes, dtype=jnp.int32)
    moved = ((labels.astype(jnp.int32) + shift) % n_classes).astype(labels.dtype)
    return jnp.where(draws < jnp.asarray(rate).astype(jnp.float32), moved, labels)


def _host_labels(labels: npt.ArrayLike) -> npt.NDArray[Any]:
    if isinstance(labels, jax.core.Tracer):
        raise UserError(
            "labels are traced; stratified draws need them on the host, as a NumPy array"
        )
    host = np.asarray(labels)
    if host.ndim != 1 or host.size == 0 or not np.issubdtype(host.dtype, np.integer):
        raise UserError(
            f"labels have shape {host.shape} and dtype {host.dtype}; give one whole number per "
            "example"
        )
    return host


def _checked_sizes(sizes: Sequence[int], available: int) -> list[int]:
    checked = [whole_number("a subset's size", size, 0) for size in sizes]
    if not any(checked):
        raise UserError(f"the subsets' sizes are {tuple(checked)}; give at least one that is >= 1")
    if sum(checked) > available:
        asked = " + ".join(map(str, checked))
        raise UserError(f"{asked} examples are asked for, but there are {available}; choose fewer")
    return checked
