"""Sign descent: d = sign(g), an update of the same size for every weight.

It is what Adam and RMSProp are without their averages (Bernstein et al. 2018, signSGD). Steepest
descent in the maximum norm is the same direction times ‖g‖₁, which a step size cannot supply here:
with a constant step size sign descent does not come to rest, but hops about within a step of the
minimum; let a schedule make it smaller. Carries no state.
"""

from __future__ import annotations

import optax

from implicit_bias.optimizers.base import Optimizer, Settings


def _direction(settings: Settings) -> optax.GradientTransformation:
    del settings
    return optax.scale_by_sign()


SIGN_DESCENT = Optimizer("sign_descent", _direction)
