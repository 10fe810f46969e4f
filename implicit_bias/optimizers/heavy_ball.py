"""SGD with heavy-ball momentum (Polyak 1964): m ← momentum·m + g, d = m.

The step size multiplies the running sum, as in Optax and PyTorch (without dampening): for constant
gradients the effective step size is step_size/(1 − momentum).
"""

from __future__ import annotations

import optax

from implicit_bias.optimizers.base import Optimizer, Settings
from implicit_bias.ranges import Setting

MOMENTUM = Setting("momentum", 0.9, minimum=0.0, maximum=1.0, includes_maximum=False)


def _direction(settings: Settings) -> optax.GradientTransformation:
    return optax.trace(settings["momentum"])


HEAVY_BALL = Optimizer("heavy_ball", _direction, (MOMENTUM,))
