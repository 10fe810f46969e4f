"""Checks of what a caller hands to a library function, each one line where JAX would give a page.

They look at static things only (types, signatures, shapes), so that they cost nothing once a program
is compiled.
"""

from __future__ import annotations

import inspect
import numbers
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])


def require_key(key: Any, name: str = "key") -> None:
    """Refuse what is not one random key; typed keys and the older pairs of integers are.

    Raises:
        UserError: If it is something else, such as a seed, or an array of keys.
    """
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        if shape != ():
            raise UserError(
                f"{name} is an array of keys of shape {shape}; give one key, or map over them"
            )
        return
    # An older key is two or four integers, by the generator; one more axis is an array of such.
    if dtype is None or dtype != jnp.uint32 or shape not in ((2,), (4,)):
        given = _described(key)
        raise UserError(f"{name} is {given}; give a random key, such as jax.random.key(0)")


def whole_number(name: str, value: Any, least: int | None = None) -> int:
    """Return what is given as a Python integer, such as a size or a count.

    Args:
        name: What the caller knows it by.
        value: What was given.
        least: The smallest that is allowed; None for any.

    Raises:
        UserError: If it is a fraction, a word, a truth value or something else, or too small.
    """
    advice = "give a whole number" + ("" if least is None else f" >= {least}")
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        whole = operator.index(value)
    except TypeError:  # of JAX's tracers too, which have no value yet
        raise UserError(f"{name} is {_described(value)}; {advice}") from None
    if least is not None and whole < least:
        raise UserError(f"{name} is {whole}; {advice}")
    return whole


def require_whole(name: str, value: Any) -> None:
    """Refuse what is not a whole number, as sizes and counts must be.

    Raises:
        UserError: As ``whole_number``.
    """
    whole_number(name, value)


def make_whole(record: Any, *names: str, optional: str | None = None) -> None:
    """Make fields of a frozen record Python integers, as what describes it is written as JSON.

    Args:
        record: A dataclass; called from its ``__post_init__``.
        *names: Fields.
        optional: A field that may be None.

    Raises:
        UserError: As ``whole_number``.
    """
    if optional is not None and getattr(record, optional) is not None:
        names += (optional,)
    for name in names:
        object.__setattr__(record, name, whole_number(name, getattr(record, name)))


def require_number(name: str, value: Any) -> None:
    """Refuse what is not a real number, traced or not.

    Raises:
        UserError: If it is a word, a list, or an array with axes.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return
    if getattr(value, "shape", None) != ():
        raise UserError(f"{name} is {_described(value)}; give a number")


def require_numbers(name: str, values: Any) -> None:
    """Refuse what is neither a number nor an array or a list of them.

    Raises:
        UserError: If it is something else.
    """
    if isinstance(values, jax.Array):
        return
    try:
        kind = np.asarray(values).dtype.kind
    except (TypeError, ValueError):  # lists of unequal length, or of traced numbers
        leaves = jax.tree.leaves(values)
        kind = "f" if leaves and all(isinstance(leaf, jax.Array) for leaf in leaves) else "O"
    if kind not in "fiuV":  # V: JAX's short floating types
        given = repr(values)
        raise UserError(f"{name} is {given:.40}; give numbers")


def as_numbers(name: str, values: Any) -> jax.Array:
    """Return numbers, or a list of them, as an array.

    Raises:
        UserError: If they are none.
    """
    require_numbers(name, values)
    return jnp.asarray(values)


def require_function(name: str, function: Any, arguments: Sequence[str], returns: str) -> None:
    """Refuse what cannot be called with the arguments that it will be called with.

    Args:
        name: What the caller knows it by.
        function: What was given.
        arguments: Names of the positional arguments, for the message and their number.
        returns: What it should return, in words.

    Raises:
        UserError: If it is no function, or takes others.
    """
    wanted = f"give a function {name}({', '.join(arguments)}) that returns {returns}"
    if not callable(function):
        raise UserError(f"{name} is {_described(function)}; {wanted}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a callable that does not tell
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise UserError(
            f"{name} takes {signature}, but is called with {len(arguments)} "
            f"argument{'s' if len(arguments) > 1 else ''}; {wanted}"
        ) from None


def scalar_valued(name: str, function: F, arguments: Sequence[str], advice: str) -> F:
    """Return a function that is held to returning one floating number.

    Args:
        name: What the caller knows it by.
        function: What was given.
        arguments: As in ``require_function``.
        advice: What to do where it returns something else.

    Returns:
        The same function, which raises ``UserError`` where its value is not a floating scalar.

    Raises:
        UserError: As ``require_function``.
    """
    require_function(name, function, arguments, "a scalar")

    def checked(*given: Any) -> Any:
        value = function(*given)
        if isinstance(value, float):
            return value
        floating = hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)
        if getattr(value, "shape", None) != () or not floating:
            raise UserError(f"{name} returns {_described(value)}; {advice}")
        return value

    return checked  # type: ignore[return-value]


def _described(value: Any) -> str:
    """Say in a few words what was given."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        kind = f"{type(value).__name__} " if not isinstance(value, jax.Array) else ""
        return f"{kind or 'an array '}of shape {tuple(value.shape)} and type {value.dtype}"
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    return f"of type {type(value).__name__}"
