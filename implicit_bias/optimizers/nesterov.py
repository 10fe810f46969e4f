"""SGD with Nesterov momentum: m ← momentum·m + g, d = g + momentum·m.

The form of Sutskever et al. 2013 (eqs. 3 and 4) in the variables at which gradients are taken, as
in Optax and PyTorch.
"""

from __future__ import annotations

import optax

from implicit_bias.optimizers.base import Optimizer, Settings
from implicit_bias.optimizers.heavy_ball import MOMENTUM


def _direction(settings: Settings) -> optax.GradientTransformation:
    return optax.trace(settings["momentum"], nesterov=True)


NESTEROV = Optimizer("nesterov", _direction, (MOMENTUM,))
