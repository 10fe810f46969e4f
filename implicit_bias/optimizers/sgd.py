"""Gradient descent, stochastic when its gradients are: d = g. Carries no state."""

from __future__ import annotations

import optax

from implicit_bias.optimizers.base import Optimizer, Settings


def _direction(settings: Settings) -> optax.GradientTransformation:
    del settings
    return optax.identity()


SGD = Optimizer("sgd", _direction)
