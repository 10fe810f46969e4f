"""The engine's own optimisers on one problem: who stays in the row space, and momentum on a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from implicit_bias import optimizers
from implicit_bias.keys import role_key
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

OPTIMISERS: dict[str, str] = {
    "sgd": "gradient descent",
    "heavy_ball": "momentum",
    "nesterov": "Nesterov's momentum",
    "fixed metric": "gradient descent preconditioned by a fixed diagonal",
    "rmsprop": "RMSProp, step size falling to zero",
    "adam": "Adam, step size falling to zero",
    "sign": "the gradient's sign, step size falling to zero",
}
"""What minimises squared errors, from zero, on all examples."""

STAY = ("sgd", "heavy_ball", "nesterov")
"""Those that stay in the row space."""

NETWORKS: dict[str, str] = {
    "no momentum": "mini-batches, β = 0",
    "equal product": "the same batches, momentum, step size times 1 − β",
    "equal step size": "the same batches and step size, momentum",
    "other order": "β = 0, batches in another order",
}
"""Trainings of one network from one start."""

WHICH = (0, 0, 0, 1)
"""Which of two orders of batches each training has."""

WEIGHTS = ("first", "second")


@dataclass(frozen=True)
class Adaptive(Experiment):
    """Endpoints of optimisers.

    Attributes:
        examples: Examples m of the linear problem.
        inputs: Its features n, more.
        updates: Updates of all optimisers.
        momentum: β.
        adaptive_step_size: Initial step size of those that scale coordinates.
        networks: Networks of a seed, of which medians are kept: now and then one diverges.
        width: Hidden units of the network, tanh, one output, 3 inputs.
        points: Its training examples.
        network_updates: Its updates, on batches of a quarter as many, drawn with replacement.
        network_step_size: Its step size without momentum.
    """

    examples: int
    inputs: int
    updates: int
    momentum: float
    adaptive_step_size: float
    networks: int
    width: int
    points: int
    network_updates: int
    network_step_size: float
    compiled: ClassVar[bool] = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        linear, network = ("optimiser",), ("network",)
        return {
            "optimiser_error": Variable(linear, "1", "‖w − X⁺y‖/‖X⁺y‖ at the end"),
            "optimiser_outside": Variable(linear, "1", "‖P_null w‖/‖w‖ at the end"),
            "optimiser_norm": Variable(linear, "1", "‖w‖/‖X⁺y‖ at the end"),
            "optimiser_misfit": Variable(linear, "1", "‖Xw − y‖/‖y‖ at the end"),
            "metric_error": Variable((), "1", "distance of the fixed metric's end from its closed "
                "form, relative"),
            "network_apart": Variable(
                network, "1", "distance of the end from that without momentum, over the latter's way"
            ),
            "network_norm": Variable(network, "1", "norm of the weights over that without momentum"),
            "network_loss": Variable(network, "1", "training loss over that of the prediction 0"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Optimisers and trainings."""
        return {"optimiser": tuple(OPTIMISERS), "network": tuple(NETWORKS)}

    def __call__(
        self, pool: Pool, seed: Any, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Minimise for one seed."""
        del lanes
        key = jax.random.fold_in(role_key(seed, "data"), 1)
        dtype = pool.x_train.dtype
        order = role_key(seed, "data_order")
        numbers = jnp.arange(self.networks, dtype=jnp.uint32)

        def trained(number: jax.Array) -> dict[str, jax.Array]:
            return self._networks(
                jax.random.fold_in(key, 2 + number), jax.random.fold_in(order, number), dtype
            )

        networks = {
            name: jnp.median(values, axis=0) for name, values in jax.vmap(trained)(numbers).items()
        }
        return {**self._linear(key, dtype), **networks}

    def _linear(self, key: jax.Array, dtype: Any) -> dict[str, jax.Array]:
        m, n = self.examples, self.inputs
        x_key, y_key = jax.random.split(key)
        x, y = jax.random.normal(x_key, (m, n), dtype), jax.random.normal(y_key, (m,), dtype)
        # At least the largest eigenvalue, and quicker to compile.
        top = jnp.max(jnp.sum(jnp.abs(x @ x.T), axis=1))
        metric = jnp.geomspace(0.1, 1.0, n, dtype=dtype)
        steps = dict.fromkeys((*STAY, "fixed metric"), 1 / top)
        makers = {}
        for name in OPTIMISERS:
            engine = "sgd" if name in ("fixed metric", "sign") else name
            falling = name not in steps
            given: dict[str, Any] = {
                "step_size": steps.get(name, jnp.asarray(self.adaptive_step_size, dtype)),
                "momentum": self.momentum,
                "decay_steps": float(self.updates),
                "final_fraction": 0.0,
            }
            chosen = optimizers.get(engine)
            schedule = optimizers.Schedule("cosine" if falling else "constant")
            settings = {
                key: given.get(key, default) for key, default in chosen.settings(schedule).items()
            }
            makers[name] = chosen.build(schedule, settings)

        def step(state: Any, _: Any) -> tuple[Any, None]:
            after = {}
            for name, (w, memory) in state.items():
                slope = x.T @ (x @ w - y)
                if name == "fixed metric":
                    slope = metric * slope
                elif name == "sign":
                    slope = jnp.sign(slope)
                change, memory = makers[name].update(slope, memory, w)
                after[name] = (w + change, memory)
            return after, None

        zero = jnp.zeros(n, dtype)
        begin = {name: (zero, maker.init(zero)) for name, maker in makers.items()}
        ends, _ = jax.lax.scan(step, begin, length=self.updates)
        w = jnp.stack([ends[name][0] for name in OPTIMISERS])
        inverse = jnp.linalg.inv(x @ x.T)
        goal = x.T @ (inverse @ y)
        outside = w - (w @ x.T) @ inverse @ x
        known = metric * (x.T @ jnp.linalg.solve((x * metric[None, :]) @ x.T, y))
        size = jnp.linalg.norm(goal)
        norms = jnp.linalg.norm(w, axis=1)
        place = list(OPTIMISERS).index("fixed metric")
        return {
            "optimiser_error": jnp.linalg.norm(w - goal[None, :], axis=1) / size,
            "optimiser_outside": jnp.linalg.norm(outside, axis=1) / norms,
            "optimiser_norm": norms / size,
            "optimiser_misfit": jnp.linalg.norm(w @ x.T - y[None, :], axis=1) / jnp.linalg.norm(y),
            "metric_error": jnp.linalg.norm(w[place] - known) / jnp.linalg.norm(known),
        }

    def _networks(self, key: jax.Array, order: jax.Array, dtype: Any) -> dict[str, jax.Array]:
        points, batch = self.points, max(1, self.points // 4)
        a_key, b_key, x_key, y_key = jax.random.split(key, 4)
        x = jax.random.normal(x_key, (points, 3), dtype)
        y = jax.random.normal(y_key, (points,), dtype)
        start = {
            "first": jax.random.normal(a_key, (self.width, 3), dtype) / 3**0.5,
            "second": jax.random.normal(b_key, (self.width,), dtype) / self.width**0.5,
        }

        def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
            found = jnp.tanh(x @ params["first"].T) @ params["second"]
            return jnp.mean(jnp.square(found - y)) / 2

        # Batches in one order, but for the last training.
        beta = self.momentum
        momenta = jnp.asarray([0, beta, beta, 0], dtype)
        steps = self.network_step_size * jnp.asarray([1, 1 - beta, 1, 1], dtype)

        drawn = jax.random.randint(order, (self.network_updates, 2, batch), 0, points)

        def step(state: Any, rows: jax.Array) -> tuple[Any, None]:
            def one(params: Any, running: Any, eta: Any, beta: Any, rows: jax.Array) -> Any:
                slope = jax.grad(loss)(params, x[rows], y[rows])
                running = jax.tree.map(lambda r, g: beta * r + g, running, slope)
                return jax.tree.map(lambda p, r: p - eta * r, params, running), running

            params, running = state
            return jax.vmap(one)(params, running, steps, momenta, rows[jnp.asarray(WHICH)]), None

        four = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (4, *leaf.shape)), start)
        (ends, _), _ = jax.lax.scan(step, (four, jax.tree.map(jnp.zeros_like, four)), drawn)
        flat = jnp.concatenate([ends[name].reshape(4, -1) for name in WEIGHTS], axis=1)
        begun = jnp.concatenate([start[name].ravel() for name in WEIGHTS])
        way = jnp.linalg.norm(flat[0] - begun)
        last = jax.vmap(lambda params: loss(params, x, y))(ends)
        return {
            "network_apart": jnp.linalg.norm(flat - flat[:1], axis=1) / way,
            "network_norm": jnp.linalg.norm(flat, axis=1) / jnp.linalg.norm(flat[0]),
            "network_loss": last / jnp.mean(jnp.square(y)) * 2,
        }
