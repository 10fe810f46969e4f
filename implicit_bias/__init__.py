"""What does training prefer, among all the networks that fit? Measured, with intervals.

Rooms are imported when first used: ``implicit_bias.training``, ``implicit_bias.curvature`` and so on.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

ROOMS = (
    "curvature",
    "data",
    "errors",
    "geometry",
    "kernels",
    "keys",
    "losses",
    "models",
    "optimizers",
    "results",
    "runtime",
    "studies",
    "training",
)
"""Public modules."""


def __getattr__(name: str) -> Any:
    if name in ROOMS:
        return importlib.import_module(f"implicit_bias.{name}")
    raise AttributeError(f"module 'implicit_bias' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*ROOMS, "__version__"])
