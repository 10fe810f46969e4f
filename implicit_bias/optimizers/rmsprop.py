"""RMSProp (Tieleman and Hinton 2012, lecture 6.5): v ← decay·v + (1 − decay)·g², d = g/(√v + eps).

No bias correction, no momentum, not centred. As in PyTorch (``alpha`` is our ``decay``), ``eps``
stands outside the root; Optax puts it inside unless told otherwise.
"""

from __future__ import annotations

import optax

from implicit_bias.optimizers.adam import ADAPTIVE_STEP_SIZE, EPS
from implicit_bias.optimizers.base import Optimizer, Settings
from implicit_bias.ranges import Setting

DECAY = Setting("decay", 0.9, minimum=0.0, maximum=1.0, includes_maximum=False)


def _direction(settings: Settings) -> optax.GradientTransformation:
    return optax.scale_by_rms(settings["decay"], settings["eps"], eps_in_sqrt=False)


RMSPROP = Optimizer("rmsprop", _direction, (DECAY, EPS), ADAPTIVE_STEP_SIZE)
