"""Things that a user brings: an attribute of a module or of a single Python file.

``module:attribute`` is the one notation for a model, loss, dataset or study that lives outside this
package, in the API, in configs and on the command line alike.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
import types
from pathlib import Path

from implicit_bias.errors import UserError, unknown

_PREFIX = "implicit_bias_user_"
"""Modules made of single files are called this and a hash of path and content."""

_SOURCE = "__source__"
"""Where such a module keeps its text: the file may change after it is loaded."""


def is_plugin(spec: object) -> bool:
    """Say whether a name is written as ``module:attribute`` or ``file.py:attribute``.

    Args:
        spec: Anything; only a string can be a plug-in.

    Returns:
        Whether :func:`load_attribute` should be asked for it.
    """
    if not isinstance(spec, str):
        return False
    place, colon, attribute = spec.rpartition(":")
    return bool(colon and place and attribute) and "\\" not in attribute and "/" not in attribute


def load_attribute(spec: str, kind: str = "attribute") -> object:
    """Load an attribute of a module, or of a Python file that belongs to no package.

    A file is run once for each content: asked for again, the same module is handed out, so that
    classes defined in it stay the same classes. It is run on its own, with its folder not on the
    import path.

    Args:
        spec: ``"package.module:attribute"`` or ``"path/to/file.py:attribute"``; the attribute may
            be dotted (``"module:Class.method"``).
        kind: What it stands for (``"dataset"``, ``"model"`` …), for the messages.

    Returns:
        The attribute as it is; what may be done with it is for the caller to check.

    Raises:
        UserError: The notation is wrong, the file or module is missing or fails when it is run, or
            it has no such attribute.
    """
    if not is_plugin(spec):
        raise UserError(
            f"{kind} {spec!r} is not of the form module:attribute; "
            "write package.module:attribute or path/to/file.py:attribute"
        )
    place, _, attribute = spec.rpartition(":")
    module = _from_file(place, spec, kind) if _is_file(place) else _from_name(place, spec, kind)
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [name for name in vars(module) if not name.startswith("_")]
            raise unknown(f"attribute of {place}", attribute, public)
        found = getattr(found, part)
    return found


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or "\\" in place


def _from_file(place: str, spec: str, kind: str) -> types.ModuleType:
    path = Path(place).expanduser()
    if not path.is_file():
        raise UserError(
            f"{kind} {spec!r}: there is no file {place}; give a path that exists from the current "
            "folder"
        )
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(f"{kind} {spec!r}: cannot read {place} ({error.strerror})") from error
    identity = hashlib.sha256(str(path.resolve()).encode() + b"\0" + source).hexdigest()[:16]
    name = f"{_PREFIX}{identity}"
    if name in sys.modules:
        return sys.modules[name]
    module = types.ModuleType(name)
    module.__file__ = str(path.resolve())
    vars(module)[_SOURCE] = source.decode("utf-8", "replace")
    # Registered first: dataclasses and pickle look their module up there.
    sys.modules[name] = module
    try:
        # Compiled here and not through the import system, which would leave __pycache__ beside it.
        exec(compile(source, module.__file__, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"{kind} {spec!r}: {one_line(error, module.__file__)}") from error
    return module


def _from_name(place: str, spec: str, kind: str) -> types.ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        # A module that exists but misses one of its own imports is another mistake.
        absent = error.name is not None and (
            place == error.name or place.startswith(error.name + ".")
        )
        if not absent:
            raise UserError(f"{kind} {spec!r}: importing {place} failed: {error}") from error
        beside = Path(place.replace(".", "/") + ".py")
        hint = (
            f"write {beside.as_posix()}:{spec.rpartition(':')[2]} to load the file of that name "
            "here"
            if beside.is_file()
            else "install it, put it on PYTHONPATH, or write path/to/file.py:attribute"
        )
        raise UserError(f"{kind} {spec!r}: there is no module {error.name!r}; {hint}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{kind} {spec!r}: {one_line(error, None)}") from error


def one_line(error: BaseException, file: str | None) -> str:
    """Say what went wrong and, where it is known, on which line of the user's file."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    if isinstance(error, SyntaxError) and error.lineno is not None:
        lines = [error.lineno]
    where = f" (line {lines[-1]})" if lines else ""
    text = str(error.msg if isinstance(error, SyntaxError) else error).strip()
    first = text.splitlines()[0] if text else "no message"
    return f"running it failed{where}: {type(error).__name__}: {first}"


def source_of(module: types.ModuleType | None) -> str | None:
    """Return the text of a user's file as it was loaded; None for any other module."""
    found = vars(module).get(_SOURCE) if module is not None else None
    return found if isinstance(found, str) else None


def blamed(error: BaseException) -> str | None:
    """Say in one line where a user's file failed, if an error came by way of one.

    Args:
        error: Anything that was raised.

    Returns:
        File, line, function, and the error's first line; None where no file of a user was running.
    """
    files = {
        module.__file__ for name, module in list(sys.modules.items()) if name.startswith(_PREFIX)
    }
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in files]
    if not frames:
        return None
    text = str(error).strip()
    said = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    last = frames[-1]
    # Python calls comprehensions and lambdas <listcomp> and the like, which helps nobody.
    function = "" if last.name.startswith("<") else f", in {last.name}"
    return f"{Path(last.filename).name} line {last.lineno}{function}: {said}"
