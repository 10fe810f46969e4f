"""What does training prefer, among all the networks that fit? Measured, with intervals.

Rooms are imported when first used: ``implicit_bias.training``, ``implicit_bias.curvature`` and so on.
``implicit_bias.run`` runs a study and returns its dataset.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from implicit_bias import curvature as curvature
    from implicit_bias import data as data
    from implicit_bias import errors as errors
    from implicit_bias import geometry as geometry
    from implicit_bias import kernels as kernels
    from implicit_bias import keys as keys
    from implicit_bias import ledger as ledger
    from implicit_bias import losses as losses
    from implicit_bias import models as models
    from implicit_bias import optimizers as optimizers
    from implicit_bias import pruning as pruning
    from implicit_bias import results as results
    from implicit_bias import runtime as runtime
    from implicit_bias import studies as studies
    from implicit_bias import theory as theory
    from implicit_bias import training as training
    from implicit_bias.api import run as run
    from implicit_bias.errors import UserError as UserError

__version__ = "0.1.0"

__all__ = [
    "UserError",
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
    "run",
    "runtime",
    "studies",
    "theory",
    "training",
]

NAMES = {"UserError": "implicit_bias.errors", "run": "implicit_bias.api"}
"""Names of this module that live in others."""

ROOMS = tuple(name for name in __all__ if name not in NAMES)
"""Public modules."""


def __getattr__(name: str) -> Any:
    """Import a room, or a name of one, when it is first used."""
    if name in NAMES:
        return getattr(importlib.import_module(NAMES[name]), name)
    if name in ROOMS:
        return importlib.import_module(f"implicit_bias.{name}")
    raise AttributeError(f"module 'implicit_bias' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
