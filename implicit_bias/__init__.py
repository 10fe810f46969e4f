"""What does training prefer, among all the networks that fit? Measured, with intervals.

Rooms are imported when first used: ``implicit_bias.training``, ``implicit_bias.curvature`` and so on.
``implicit_bias.run`` runs a study and returns its dataset.
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
    "ledger",
    "losses",
    "models",
    "optimizers",
    "pruning",
    "results",
    "runtime",
    "studies",
    "theory",
    "training",
)
"""Public modules."""

NAMES = {"UserError": "implicit_bias.errors", "run": "implicit_bias.api"}
"""Names of this module that live in others, imported when first used like these."""


def __getattr__(name: str) -> Any:
    if name in ROOMS:
        return importlib.import_module(f"implicit_bias.{name}")
    if name in NAMES:
        return getattr(importlib.import_module(NAMES[name]), name)
    raise AttributeError(f"module 'implicit_bias' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*ROOMS, *NAMES, "__version__"])
