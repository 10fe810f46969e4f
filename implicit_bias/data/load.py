"""Datasets by name: the one function that the rest of the program and most users call."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from implicit_bias.data import cache, sources, tokens
from implicit_bias.data.dataset import Dataset
from implicit_bias.data.digits import digits
from implicit_bias.data.prepare import PUBLIC
from implicit_bias.data.raw import RawData
from implicit_bias.data.synthetic import GENERATORS as NUMBERS
from implicit_bias.data.transforms import Standardisation, select_classes
from implicit_bias.data.transforms import standardise as standardised
from implicit_bias.errors import UserError, unknown
from implicit_bias.plugins import is_plugin, load_attribute, one_line

GENERATORS: dict[str, Callable[..., Dataset]] = {**NUMBERS, **tokens.GENERATORS}
"""All that is drawn: vectors and sequences of tokens."""

TEXT = "text:"
"""What a name begins with that is a text file's."""


def load(
    name: str,
    *,
    standardise: Standardisation | None = None,
    min_std: float = 0.0,
    flatten: bool = True,
    n_train: int | None = None,
    n_test: int | None = None,
    classes: Sequence[int] | None = None,
    subset_seed: int = 0,
    dtype: npt.DTypeLike = "float32",
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Dataset:
    """Load a dataset.

    ===================================== ==========================================================
    name                                  what it is
    ===================================== ==========================================================
    ``digits``                            embedded; 1297 training and 500 test images, 8×8
    ``gaussian-classes`` …                drawn; see :mod:`implicit_bias.data.synthetic` and
                                          :mod:`implicit_bias.data.tokens`
    ``text:PATH``, ``file.txt``           characters of a text; see :func:`tokens.text`
    ``mnist``, ``fashion_mnist``,         prepared once with ``implicit-bias data prepare``
    ``cifar10``, names of one's own
    ``file.npz``                          an array file, read where it is
    ``package.module:attribute``,         a :class:`Dataset`, or a function that returns one
    ``file.py:attribute``
    ===================================== ==========================================================

    Args:
        name: One of the above.
        standardise: ``"pixel"``, ``"global"`` or ``"none"``, with statistics of the training set
            (after ``n_train``); None means ``"pixel"`` for digits, prepared data and array files,
            and ``"none"`` for what is drawn or a user's own code returns.
        min_std: Smallest divisor of the standardisation.
        flatten: Make each input a vector; False keeps the shape (images: height, width, channels).
        n_train: Keep so many training examples, drawn at random with the classes in proportion; for
            what is drawn, how many to draw. None takes all (or the generator's default).
        n_test: The same for test examples.
        classes: Keep the examples of these classes alone, renumbered 0, 1, … in this order; before
            examples are drawn and standardised.
        subset_seed: Seed of these draws (not of a lane's: lanes draw theirs from what is kept).
        dtype: Floating-point type of inputs and regression targets.
        cache_dir: Where prepared datasets are; see :func:`implicit_bias.data.cache.directory`.
        **options: Arguments of the generator or of the user's function.

    Raises:
        UserError: There is no such dataset, it is not prepared, its file is damaged, or an option
            is wrong.

    Example:
        >>> from implicit_bias import data
        >>> data.load("digits")
        Dataset('digits', classification, 10 classes, 64 float32, 1297 train + 500 test)
    """
    if not isinstance(name, str) or not name:
        raise UserError(f"the dataset is {name!r}; give a name, a file or module:attribute")
    sizes = {"n_train": n_train, "n_test": n_test}
    given = {key: value for key, value in sizes.items() if value is not None}
    if name.startswith(TEXT) or name.endswith(".txt"):
        options = {"path": name.removeprefix(TEXT), **options, **given, "dtype": dtype}
        characters: Dataset = _call(tokens.text, name, options)
        kept = characters if classes is None else select_classes(characters, classes)
        return standardised(kept, standardise or "none", min_std=min_std)
    if classes is not None:
        whole = load(
            name, standardise="none", flatten=flatten, dtype=dtype, cache_dir=cache_dir, **options
        )
        kept = _subset(select_classes(whole, classes), sizes, subset_seed)
        drawn = name in GENERATORS or (not name.endswith(".npz") and is_plugin(name))
        return standardised(kept, standardise or ("none" if drawn else "pixel"), min_std=min_std)
    default: Standardisation = "pixel"
    if name in GENERATORS:
        default = "none"
        dataset = _call(GENERATORS[name], name, {**given, **options, "dtype": dtype})
    elif not name.endswith(".npz") and is_plugin(name):
        default = "none"
        dataset = _subset(_plugin(name, options), sizes, subset_seed)
    else:
        if options:
            raise UserError(
                f"dataset {name!r} has no option {', '.join(sorted(options))}; only generators "
                f"({', '.join(GENERATORS)}) and module:attribute take options of their own"
            )
        if name == "digits":
            dataset = _subset(digits(), sizes, subset_seed)
        else:
            raw = _raw(name, cache_dir)
            dataset = raw.to_dataset(n_train=n_train, n_test=n_test, subset_seed=subset_seed)
    if flatten:
        dataset = dataset.flatten()
    dataset = standardised(
        dataset.astype(dtype), default if standardise is None else standardise, min_std=min_std
    )
    return dataset


@dataclasses.dataclass(frozen=True)
class Listing:
    """One line of ``implicit-bias data list``.

    Attributes:
        name: Name to load it by.
        status: ``"embedded"``, ``"drawn"``, ``"prepared"``, ``"not prepared"`` or ``"damaged"``.
        task: ``"classification"``, ``"regression"`` or ``""`` where it is not known yet.
        n_train: Training examples; None where it is a choice or not known yet.
        n_test: Test examples, likewise.
        input_shape: Shape of one input, likewise.
        detail: How to get it, or where it comes from.
    """

    name: str
    status: Literal["embedded", "drawn", "prepared", "not prepared", "damaged"]
    task: str
    n_train: int | None
    n_test: int | None
    input_shape: tuple[int, ...] | None
    detail: str


def available(cache_dir: str | os.PathLike[str] | None = None) -> list[Listing]:
    """List every dataset that has a name, with what it takes to use it; arrays are not read.

    Args:
        cache_dir: See :func:`implicit_bias.data.cache.directory`.
    """
    listings = [
        Listing(
            "digits", "embedded", "classification", 1297, 500, (8, 8, 1), "comes with scikit-learn"
        )
    ]
    for name in GENERATORS:
        classes = name == "gaussian-classes" or name in tokens.GENERATORS
        task = "classification" if classes else "regression"
        listings.append(Listing(name, "drawn", task, None, None, None, "sizes are options"))
    stored = cache.names(cache_dir)
    for name in [*PUBLIC, *(name for name in stored if name not in PUBLIC)]:
        if name in stored:
            listings.append(_stored_listing(name, cache_dir))
        else:
            sizes = (50000 if name == "cifar10" else 60000, 10000, sources.IMAGE_SHAPES[name])
            how = f"implicit-bias data prepare {name} [--from DIR]"
            listings.append(Listing(name, "not prepared", "classification", *sizes, how))
    return listings


def _stored_listing(name: str, cache_dir: str | os.PathLike[str] | None) -> Listing:
    try:
        header = cache.read_header(name, cache_dir)
        train, test = header["arrays"]["x_train"]["shape"], header["arrays"]["x_test"]["shape"]
        source = header["source"]
        detail = ", ".join(str(source[key]) for key in ("source", "route") if key in source)
        return Listing(
            name, "prepared", header["task"], train[0], test[0], tuple(train[1:]), detail
        )
    except UserError as error:
        return Listing(name, "damaged", "", None, None, None, str(error))


def _raw(name: str, cache_dir: str | os.PathLike[str] | None) -> RawData:
    if name.endswith(".npz"):
        return sources.read_user(Path(name).stem, Path(name).expanduser())
    stored = cache.names(cache_dir)
    public = name.lower().replace("-", "_")
    key = public if public in PUBLIC and name not in stored else name
    if key in stored:
        return cache.load(key, cache_dir)
    if key in PUBLIC:
        raise UserError(
            f"dataset {key} is not prepared in {cache.directory(cache_dir)}; run "
            f"`implicit-bias data prepare {key}`, with `--from DIR` for files that are already here"
        )
    names = dict.fromkeys(["digits", *GENERATORS, *PUBLIC, *stored])
    raise unknown("dataset", name, names, own="a path ending in .npz or .txt, file.py:NAME")


def _plugin(spec: str, options: dict[str, Any]) -> Dataset:
    found = load_attribute(spec, kind="dataset")
    if isinstance(found, Dataset):
        if options:
            raise UserError(
                f"dataset {spec!r} is not a function; remove {', '.join(sorted(options))}"
            )
        return found
    if not callable(found):
        raise UserError(
            f"dataset {spec!r} is a {type(found).__name__}; it must be a Dataset or a function "
            "that returns one"
        )
    made = _call(found, spec, options)
    if not isinstance(made, Dataset):
        raise UserError(
            f"dataset {spec!r} returned a {type(made).__name__}; it must return an "
            "implicit_bias.data.Dataset"
        )
    return made


def _call(function: Callable[..., Any], name: str, options: dict[str, Any]) -> Any:
    """Call with the user's options; a wrong name among them is the user's mistake, not ours."""
    import inspect

    try:
        inspect.signature(function).bind(**options)
    except TypeError as error:
        raise UserError(f"dataset {name!r}: {error}; see its arguments") from error
    except ValueError:  # a callable without a signature
        pass
    try:
        return function(**options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"dataset {name!r}: {one_line(error, None)}") from error


def _subset(dataset: Dataset, sizes: dict[str, int | None], seed: int) -> Dataset:
    if all(size is None for size in sizes.values()):
        return dataset
    if dataset.predictions > 1:  # no example has one class, in proportion to which others are taken
        first = {
            f"{a}_{part}": getattr(dataset, f"{a}_{part}")[: sizes[f"n_{part}"]]
            for part in ("train", "test")
            for a in "xy"
        }
        return dataset.replace(**first)
    names = [f"{a}_{part}" for part in ("train", "test", "valid") for a in "xy"]
    arrays = {n: getattr(dataset, n) for n in names if getattr(dataset, n) is not None}
    raw = RawData(dataset.name, dataset.title, dataset.task, dataset.n_outputs, arrays, {})
    kept = raw.to_dataset(**sizes, subset_seed=seed)
    said = {k: v for k, v in kept.provenance.items() if k in ("n_train", "n_test")}
    return kept.astype(dataset.dtype).replace(provenance={**dataset.provenance, **said})
