"""What of a user's file a thing is made of, so that an edit makes anew what it changes and nothing else."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from functools import lru_cache, partial

from implicit_bias.plugins import source_of


def code_identity(*things: object) -> str:
    """Return a hash of the statements, in files of the user's, that things are made of.

    Of a file these are a thing's own function or class, the statements that define a name that it uses,
    and so on; and all that define no name, because they may change anything. Comments, layout and what
    nothing here uses, such as the rule of a claim, do not count. A thing that cannot be found among the
    statements of its file stands for the whole file.

    Args:
        *things: Functions, classes, or instances, which stand for their class.

    Returns:
        16 hexadecimal digits; empty where no thing comes from a file of the user's.
    """
    texts = [text for thing in things for text in _texts(thing)]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16] if texts else ""


def from_file(thing: type) -> bool:
    """Say whether a class comes from a file of the user's, so that edits of it are noticed."""
    return source_of(sys.modules.get(thing.__module__)) is not None


def _texts(thing: object) -> list[str]:
    """Return the path, and the statements in the order of the file."""
    while isinstance(thing, partial):
        thing = thing.func
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    module = sys.modules.get(str(named.__module__))
    source = source_of(module)
    if module is None or source is None:
        return []
    root = _root(named, _statements(source))
    return [str(module.__file__), source if root is None else _needed(source, root)]


@lru_cache(64)
def _statements(source: str) -> list[ast.stmt]:
    return ast.parse(source).body


@lru_cache(1024)  # asked for each lane of a sweep
def _needed(source: str, root: ast.AST) -> str:
    """Return a definition and what it uses of its file, in the file's order."""
    statements = _statements(source)
    kept = [statements[at] for at in sorted(_closure(root, statements))]
    return "\n".join(ast.unparse(one) for one in (root, *kept))


def _root(named: object, statements: list[ast.stmt]) -> ast.AST | None:
    """Return the statement that defines a function or class, or the lambda itself."""
    code = getattr(named, "__code__", None)
    if code is not None:  # also one without a name of its own
        if code.co_freevars or getattr(named, "__self__", None) is not None:
            return None  # it depends on where it was made, which is not where it stands
        if code.co_filename != getattr(sys.modules[str(named.__module__)], "__file__", None):
            return None
        line = code.co_firstlineno
        for statement in statements:
            first = min(s.lineno for s in (statement, *getattr(statement, "decorator_list", ())))
            if first <= line <= (statement.end_lineno or first):
                inner = ast.walk(statement) if code.co_name == "<lambda>" else ()
                same = [one for one in inner if isinstance(one, ast.Lambda) and one.lineno == line]
                return same[0] if len(same) == 1 else statement
        return None
    name = str(getattr(named, "__qualname__", "")).partition(".")[0]
    defining = [one for one in statements if name in _defined(one)]
    return defining[-1] if defining else None


def _closure(root: ast.AST, statements: list[ast.stmt]) -> set[int]:
    """Return the places of the statements that a definition needs, and of those that define no name."""
    defined = [_defined(statement) for statement in statements]
    waiting: list[ast.AST] = [root]
    waiting += [one for one, names in zip(statements, defined, strict=True) if not names]
    kept = {place for place, names in enumerate(defined) if not names}
    while waiting:
        used = _used(waiting.pop())
        new = {place for place, names in enumerate(defined) if names & used} - kept
        kept |= new
        waiting += [statements[place] for place in new]
    return kept


def _defined(statement: ast.stmt) -> set[str]:
    """Return the names that a statement does nothing but define; none where it may do more."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        names = {(one.asname or one.name).partition(".")[0] for one in statement.names}
        return set() if "*" in names else names
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        given = [set(_names(target)) for target in targets]
        return set().union(*given) if all(given) else set()
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return {""}  # a docstring: nothing uses it
    return set()


def _names(target: ast.expr) -> Iterable[str]:
    """Return the names of a target of an assignment; none if it sets an item or an attribute too."""
    parts = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    plain = [part.id for part in parts if isinstance(part, ast.Name)]
    return plain if len(plain) == len(parts) else []


def _used(part: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(part) if isinstance(node, ast.Name)}
