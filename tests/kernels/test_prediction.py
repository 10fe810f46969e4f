"""Kernel gradient descent in closed form against a linearised network that the engine trains."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.kernels import gradient_descent
from implicit_bias.models import Dense, Linearised, Scaled
from tests.models.trajectories import STEPS, flat_start, lane, recipe, regression, trained

NET = Dense((5,), 2, "erf", "ntk", bias_std=1.0)
SEED, STEP_SIZE = 1, 0.3


def predicted(dtype: Any, momentum: float, alpha: float | None) -> tuple[Any, Any]:
    """Outputs at ``STEPS`` by the network's own initial kernel, (n, k, n, k)."""
    data = regression()
    # In the dtype that the engine draws in, so that origins agree.
    outputs, flat = flat_start(NET, SEED, np.concatenate([data.x_train, data.x_test]).astype(dtype))
    start, jacobian = jax.jit(lambda v: (outputs(v), jax.jacrev(outputs)(v)))(flat)
    factor = 1.0 if alpha is None else alpha
    kernel = factor**2 * jnp.einsum("akp,blp->akbl", jacobian, jacobian[:6], precision="highest")
    start = start if alpha is None else jnp.zeros_like(start)
    return gradient_descent(
        kernel[:6],
        jnp.asarray(data.y_train, dtype),
        jnp.asarray(STEPS),
        STEP_SIZE / factor**2,
        momentum=momentum,
        k_test_train=kernel[6:],
        f0_train=start[:6],
        f0_test=start[6:],
    )


@pytest.mark.parametrize(
    ("model", "dtype", "alpha", "tolerance"),
    [
        (Linearised(Scaled(NET)), "float64", 3.0, 1e-9),
        (Linearised(NET), "float32", None, 1e-5),
    ],
    ids=["float64, centred", "float32"],
)
def test_closed_form_equals_the_engine_at_every_logged_step(model, dtype, alpha, tolerance):
    # Broken by the 1/n of the mean loss or the ½ of the squared loss, by initial outputs that are
    # forgotten, by outputs of a kernel that are exchanged, and by a kernel that moves in training.
    chosen = (0.0, 0.8)
    settings = {} if alpha is None else {"alpha": alpha}
    rate = STEP_SIZE / (1.0 if alpha is None else alpha**2)
    lanes = [
        lane(recipe(model, "heavy_ball", dtype), SEED, momentum=m, step_size=rate, **settings)
        for m in chosen
    ]
    found = trained(lanes, regression())
    for row, momentum in enumerate(chosen):
        expected = predicted(dtype, momentum, alpha)
        size = float(jnp.max(jnp.abs(expected.test)))
        for part in ("train", "test"):
            apart = found.probed[part][row] - getattr(expected, part)
            assert np.abs(apart).max() <= tolerance * max(size, 1.0)
        moved = found.probed["test"][row, -1] - found.probed["test"][row, 0]
        assert np.abs(moved).max() > 0.1
