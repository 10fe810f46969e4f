"""Values of any kind as YAML and JSON know them."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Mapping
from typing import Any


def plain_values(value: Any) -> Any:
    """Turn records, NumPy values, paths and the like into what YAML and JSON know.

    Args:
        value: Anything; what is not known becomes its text.

    Returns:
        Mappings, lists, numbers, truth values, text and None.
    """
    if isinstance(value, enum.Enum):
        return plain_values(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        # Subclasses (such as NumPy's float64) are made plain, or YAML would refuse them.
        for kind in (bool, int, float, str):
            if isinstance(value, kind):
                return kind(value)
        return None
    if isinstance(value, Mapping):
        return {str(name): plain_values(inner) for name, inner in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            part.name: plain_values(getattr(value, part.name)) for part in dataclasses.fields(value)
        }
    if hasattr(value, "model_dump"):
        return plain_values(value.model_dump())
    if hasattr(value, "tolist"):
        return plain_values(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_values(inner) for inner in value]
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return str(value)
