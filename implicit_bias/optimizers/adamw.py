"""AdamW (Loshchilov and Hutter 2019): Adam with decoupled weight decay on by default, 0.01.

The decay is multiplied by the step size, as in PyTorch and Optax; the paper's λ is step_size times
ours.
"""

from __future__ import annotations

from implicit_bias.optimizers.adam import ADAPTIVE_STEP_SIZE, B1, B2, EPS, direction
from implicit_bias.optimizers.base import Optimizer
from implicit_bias.ranges import Setting

ADAMW = Optimizer(
    "adamw",
    direction,
    (B1, B2, EPS),
    ADAPTIVE_STEP_SIZE,
    Setting("decoupled_weight_decay", 0.01, minimum=0.0),
)
