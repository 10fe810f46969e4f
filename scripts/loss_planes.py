"""Time planes of the loss around two 784-100-10 networks, as they are and with the first layer moved.

python scripts/loss_planes.py [--data mnist] [--images 10000] [--points 51]
"""

from __future__ import annotations

import argparse
import time

import jax
import jax.numpy as jnp

import implicit_bias as ib
from implicit_bias import geometry

asked = argparse.ArgumentParser(description="Time planes of the loss around two networks.")
asked.add_argument("--data", default="mnist")
asked.add_argument("--images", type=int, default=10_000)
asked.add_argument("--points", type=int, default=51)
given = asked.parse_args()

ib.runtime.configure()
data = ib.data.load(given.data)
x, y = jnp.asarray(data.x_train[: given.images]), jnp.asarray(data.y_train[: given.images])
model, loss = ib.models.Dense((100,), outputs=data.n_outputs), ib.losses.get("cross_entropy")
grid = jnp.linspace(-1.0, 1.0, given.points)


def planes(short: bool, keys: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the loss over a random plane through each of two networks, shape (2, points, points)."""

    def one(key: jax.Array) -> jax.Array:
        params, _ = model.init(key, x[0])
        ways = tuple(geometry.random_direction(jax.random.fold_in(key, i), params) for i in (1, 2))
        if short:
            params, ways, outputs = geometry.skip_first_layer(model, params, ways, x)
        else:

            def outputs(params):
                return model.apply(params, {}, x)[0]

        return geometry.plane(lambda p: loss.mean(outputs(p), y), params, ways, grid, grid)

    return jax.lax.map(one, keys)


values = []
for name, short in (("every point computed anew", False), ("first layer's sums moved", True)):
    program = jax.jit(planes, static_argnums=0)
    began = time.perf_counter()
    values.append(program(short, jax.random.split(jax.random.key(0)), x, y).block_until_ready())
    print(f"{name}: {time.perf_counter() - began:.1f} s, compilation included")
print(f"largest difference: {float(jnp.max(jnp.abs(values[0] - values[1]))):.1e} nats")
