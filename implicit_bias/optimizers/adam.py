"""Adam (Kingma and Ba 2015, algorithm 1), with bias correction and ``eps`` outside the root.

m ← b1·m + (1 − b1)·g, v ← b2·v + (1 − b2)·g², d = m̂/(√v̂ + eps), m̂ = m/(1 − b1ᵗ), v̂ = v/(1 − b2ᵗ).
"""

from __future__ import annotations

import optax

from implicit_bias.optimizers.base import STEP_SIZE, Optimizer, Settings
from implicit_bias.ranges import Setting

B1 = Setting("b1", 0.9, minimum=0.0, maximum=1.0, includes_maximum=False)
B2 = Setting("b2", 0.999, minimum=0.0, maximum=1.0, includes_maximum=False)
EPS = Setting("eps", 1e-8, minimum=0.0, includes_minimum=False)
ADAPTIVE_STEP_SIZE = Setting(
    "step_size", 1e-3, minimum=STEP_SIZE.minimum, includes_minimum=STEP_SIZE.includes_minimum
)


def direction(settings: Settings) -> optax.GradientTransformation:
    """Build Adam's direction from ``b1``, ``b2`` and ``eps``."""
    return optax.scale_by_adam(settings["b1"], settings["b2"], settings["eps"])


ADAM = Optimizer("adam", direction, (B1, B2, EPS), ADAPTIVE_STEP_SIZE)
