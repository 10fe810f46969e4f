"""What TF32 and bfloat16 do to curvature: the largest Hessian eigenvalue of one trained network, four ways.

python scripts/precision.py [--data digits] [--images 1000] [--epochs 10] [--width 100]
"""

from __future__ import annotations

import argparse
import functools

import jax
import jax.numpy as jnp

import implicit_bias as ib
from implicit_bias.curvature import hessian, lanczos
from implicit_bias.models.computed import Computed
from implicit_bias.training import Budget, Lane, Recipe, make_plan, train
from implicit_bias.training.recipe import epochs
from implicit_bias.training.weighted import weighted_loss

asked = argparse.ArgumentParser(description="What precision does to the largest eigenvalue.")
asked.add_argument("--data", default="digits")
asked.add_argument("--images", type=int, default=1000)
asked.add_argument("--epochs", type=float, default=10)
asked.add_argument("--width", type=int, default=100)
given = asked.parse_args()

ib.runtime.configure(float64=True)  # for the reference alone
data = ib.data.load(given.data)
model, loss = ib.models.Dense((given.width,), data.n_outputs), ib.losses.get("cross_entropy")
recipe = Recipe(
    model, loss, ib.optimizers.get("heavy_ball"), ib.optimizers.Schedule(), 32, given.images
)
lane = Lane(recipe, 0, {"step_size": 0.05, "momentum": 0.9}, Budget(epochs(given.epochs, recipe)))
(trained,) = train(make_plan([lane], data))
params = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), trained.params)
x, y = jnp.asarray(data.x_train[: given.images]), jnp.asarray(data.y_train[: given.images])


@functools.partial(jax.jit, static_argnums=0)
def largest(precision: str | None, params: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the largest eigenvalue and its residual, as a share of it."""
    computed = model if precision is None else Computed(model, precision)
    operator, _ = hessian(weighted_loss(computed, loss, {}), params, (x, y))
    pairs = lanczos(operator, jax.random.key(0), tol=1e-4, max_products=60)
    return pairs.values[0], pairs.residuals[0] / pairs.values[0]


doubled = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, x))
reference = float(largest(None, *doubled)[0])
print(f"{jax.default_backend()}, {given.data}, {given.images} images; float64: {reference:.6g}")
print(f"{'computed in':<12} {'eigenvalue':>12} {'relative change':>16} {'residual':>9}")
for precision in ("float32", "tf32", "bf16"):
    value, residual = map(float, largest(precision, params, x))
    change = value / reference - 1
    print(f"{precision:<12} {value:>12.6g} {change:>+16.1e} {residual:>9.0e}")
if jax.default_backend() == "cpu":
    print("a CPU has no TF32: that row is float32")
