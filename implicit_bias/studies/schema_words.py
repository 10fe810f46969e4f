"""What a JSON schema allows, in words that fit into an error message."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from implicit_bias.studies.yaml_text import KeyPath

Schema = dict[str, Any]


def allowed(node: Schema, root: Schema) -> str:
    """Say what a part of a schema allows.

    Args:
        node: The part.
        root: The whole schema, which holds the definitions.

    Returns:
        Such as ``"a whole number >= 1, or null"``; empty where the schema does not tell.
    """
    words = dict.fromkeys(filter(None, (_one_kind(b, root) for b in branches(node, root))))
    return ", or ".join(words)


def locate(location: Sequence[str | int], root: Schema, keep_last: bool) -> tuple[KeyPath, Schema]:
    """Follow the location of a validation error.

    Args:
        location: Keys, positions and, within unions, names of branches, which no one has written.
        root: The whole schema.
        keep_last: Keep the last part although it is not in the schema: it is an unknown key.

    Returns:
        The location without names of branches, and the part of the schema there.
    """
    path: list[str | int] = []
    node = root
    for depth, part in enumerate(location):
        inner = _child(node, part, root)
        if inner is not None:
            path.append(part)
            node = inner
        elif not root or (keep_last and depth == len(location) - 1):
            path.append(part)
    return tuple(path), node


def keys(node: Schema, root: Schema, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Schema, bool]]:
    """Yield every key below a part: its path, its schema, and whether it is a section."""
    for branch in branches(node, root):
        for name, inner in branch.get("properties", {}).items():
            section = any("properties" in deeper for deeper in branches(inner, root))
            yield (*path, name), inner, section
            yield from keys(inner, root, (*path, name))


def branches(node: Schema, root: Schema) -> Iterator[Schema]:
    """Yield the alternatives of a part, references followed."""
    if "$ref" in node:
        yield from branches(root["$defs"][node["$ref"].rpartition("/")[2]], root)
    elif "anyOf" in node or "oneOf" in node:
        for branch in node.get("anyOf") or node["oneOf"]:
            yield from branches(branch, root)
    else:
        yield node


def show(value: Any) -> str:
    """Write a value as a config has it, whole numbers without a point, shortened to fit into a line."""
    text = repr(value) if isinstance(value, str) else json.dumps(_plain(value), default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if whole else value


def _child(node: Schema, part: str | int, root: Schema) -> Schema | None:
    for branch in branches(node, root):
        if isinstance(part, int):
            prefix = branch.get("prefixItems", [])
            found = prefix[part] if part < len(prefix) else branch.get("items")
        else:
            found = branch.get("properties", {}).get(part, branch.get("additionalProperties"))
        if isinstance(found, dict):
            return found
    return None


_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "a section",
}
_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def _one_kind(node: Schema, root: Schema) -> str:
    if "const" in node:
        return show(node["const"])
    if "enum" in node:
        return "one of " + ", ".join(map(str, node["enum"]))
    kind = node.get("type", "")
    if kind == "array":
        # A list of fixed length names the kinds of its items one by one; ours are all of one kind.
        inner = allowed(node.get("items") or (node.get("prefixItems") or [{}])[0], root)
        # Pydantic writes a list's length as a text's where a check of ours comes before it.
        least = max(node.get("minItems", 0), node.get("minLength", 0))
        most = min((node[key] for key in ("maxItems", "maxLength") if key in node), default=None)
        count = f" of {least}" if least == most else f" of at least {least}" if least else ""
        return f"a list{count}" + (f", each {inner}" if inner else "")
    if node.get("properties"):
        return f"a section with keys {', '.join(node['properties'])}"
    bounds = [f"{sign} {node[name]:g}" for name, sign in _BOUNDS.items() if name in node]
    return f"{_WORDS.get(kind, '')} {' and '.join(bounds)}".strip()
