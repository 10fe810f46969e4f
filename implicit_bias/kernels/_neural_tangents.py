"""The one place that knows what ``neural_tangents`` needs in order to run on current JAX.

Version 0.6.5, the last one, names a few things where JAX no longer keeps them, and imports
TensorFlow for a part that is not needed here. ``load`` supplies the names while the package is
imported, and takes them away again, so that nobody else's mistake is hidden by them.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import jax
import jax.extend.core
from jax.interpreters import ad

from implicit_bias.errors import UserError

_NAME = "neural_tangents"
_EXPERIMENTAL = f"{_NAME}.experimental"
_CORE_NAMES = ("Jaxpr", "JaxprEqn", "Literal", "Primitive", "Var")


def load() -> ModuleType:
    """Import ``neural_tangents``, without TensorFlow.

    Returns:
        The package; its attribute ``stax`` holds the layers.

    Raises:
        UserError: If it is not installed, or this JAX lacks something else that it needs.
    """
    present = sys.modules.get(_NAME)
    if present is not None and hasattr(present, "stax"):
        return present
    try:
        with _older_jax(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(_NAME)
    except ImportError as error:
        if error.name == _NAME:
            raise UserError(
                "this kernel needs neural_tangents, which is not installed; "
                "run pip install 'implicit-bias[ntk]'"
            ) from error
        _forget()
        raise _refused(error) from error
    except Exception as error:  # whatever a later JAX makes of it
        _forget()
        raise _refused(error) from error


@contextlib.contextmanager
def calling() -> Iterator[None]:
    """Let its code run: it mixes ranks and dtypes, which a caller may have forbidden, and warns."""
    with (
        warnings.catch_warnings(),
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
        jax.default_matmul_precision("highest"),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _older_jax() -> Iterator[None]:
    """Supply what JAX used to have, where it no longer has it, and take it away again."""
    attributes: list[tuple[ModuleType, str]] = []
    modules: list[str] = []

    def supply(module: ModuleType, name: str, value: Any) -> None:
        if not _has(module, name):
            setattr(module, name, value)
            attributes.append((module, name))

    def supply_module(name: str, **values: Any) -> None:
        if name not in sys.modules:
            sys.modules[name] = ModuleType(name)
            sys.modules[name].__dict__.update(values)
            modules.append(name)

    try:
        for name in _CORE_NAMES:
            supply(jax.core, name, getattr(jax.extend.core, name, None))
        # A key of a table that is not used here.
        supply(ad, "zeros_like_p", jax.extend.core.Primitive("zeros_like"))
        if not _importable("jax.util"):
            supply_module("jax.util", safe_map=_safe_map, safe_zip=_safe_zip)
        # The real one imports TensorFlow and tf2jax.
        supply_module(_EXPERIMENTAL)
        yield
    finally:
        for module, name in attributes:
            delattr(module, name)
        for name in modules:
            sys.modules.pop(name, None)


def _safe_map(function: Callable[..., Any], *lists: Iterable[Any]) -> list[Any]:
    return [function(*each) for each in zip(*lists, strict=True)]


def _safe_zip(*lists: Iterable[Any]) -> list[tuple[Any, ...]]:
    return list(zip(*lists, strict=True))


def _has(module: ModuleType, name: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name may be on its way out
        return hasattr(module, name)


def _importable(name: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    except ImportError:
        return False
    return True


def _forget() -> None:
    """Drop what a failed import has left behind."""
    for name in [name for name in sys.modules if name == _NAME or name.startswith(f"{_NAME}.")]:
        del sys.modules[name]


def _refused(error: Exception) -> UserError:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(
        f"neural_tangents cannot be imported with JAX {jax.__version__} ({said}); "
        "choose engine='closed form' where there is one, or another version of JAX"
    )
