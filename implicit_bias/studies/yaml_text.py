"""YAML as people expect it, with the line on which every key stands."""

from __future__ import annotations

import re
from typing import Any

import yaml

from implicit_bias.errors import UserError

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of a document to a value."""


def parse(text: str, source: str) -> tuple[Any, dict[KeyPath, str]]:
    """Read one YAML document.

    Plain words are read as in YAML 1.2, not 1.1: ``1e-3`` is a number, ``no`` and ``12:30`` are
    text.

    Args:
        text: The document.
        source: What it is called in messages, e.g. the file's path.

    Returns:
        Its content (None if it is empty), and for each key ``"source line N"``.

    Raises:
        UserError: The text is not YAML, is more than one document, holds a key twice, or contains
            itself.
    """
    lines: dict[KeyPath, str] = {}
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, lines
        _note_lines(node, (), source, lines)
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source} line {mark.line + 1}" if mark else source
        raise UserError(f"{where}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{source} is not YAML: {error}") from error
    except RecursionError:
        raise UserError(f"{source} is nested too deeply, or contains itself") from None
    finally:
        if loader is not None:
            loader.dispose()


def dotted(path: KeyPath) -> str:
    """Write a path as on the command line: ``model.widths[0]``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


class _Loader(yaml.SafeLoader):
    """The safe loader with YAML 1.2's rules for plain scalars."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


_DIGITS = "[0-9][0-9_]*"
_EXPONENT = "[eE][-+]?[0-9]+"
for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", "[-+]?(0|[1-9][0-9_]*)", [*"-+0123456789"]),
    (
        "float",
        rf"[-+]?({_DIGITS}\.[0-9_]*({_EXPONENT})?|{_DIGITS}{_EXPONENT}|\.{_DIGITS}({_EXPONENT})?"
        r"|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
        [*"-+.0123456789"],
    ),
    ("null", "~|null|Null|NULL|", [*"~nN", ""]),
    ("merge", "<<", ["<"]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^({_pattern})$"), _first
    )


def _note_lines(node: yaml.Node, path: KeyPath, source: str, lines: dict[KeyPath, str]) -> None:
    """Record where each key stands; refuse one that is there twice: YAML would keep the last."""
    lines.setdefault(path, f"{source} line {node.start_mark.line + 1}")
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*path, index), source, lines)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                continue
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise UserError(
                    f"{source} line {line}: {dotted((*path, name))} is given twice, first on line "
                    f"{seen[name]}; keep one"
                )
            seen[name] = line
            lines[(*path, name)] = f"{source} line {line}"
            _note_lines(value, (*path, name), source, lines)
