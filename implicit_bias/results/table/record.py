"""Reading estimates and findings, whatever kind of record holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def field(record: Any, name: str, default: Any = None) -> Any:
    """Read a field of a record or a key of a mapping.

    Args:
        record: Any object with attributes, or a mapping (such as a record read back from JSON).
        name: The field.
        default: What to return where the record has no such field.

    Returns:
        The field's value, or ``default``.
    """
    if isinstance(record, Mapping):
        return record.get(name, default)
    return getattr(record, name, default)


def value_and_interval(record: Any) -> tuple[float | None, float | None, float | None]:
    """Value and interval ends of an estimate-like or finding-like record."""
    value = field(record, "value", field(record, "effect"))
    interval = field(record, "interval")
    if interval is None:
        interval = (field(record, "low"), field(record, "high"))
    return value, interval[0], interval[1]
