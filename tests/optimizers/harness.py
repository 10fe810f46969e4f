"""One row per optimiser: what it should equal, and where it should converge. A new optimiser adds a
row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from implicit_bias.optimizers import Optimizer, Schedule, get

CONSTANT = Schedule()


@dataclass(frozen=True)
class Row:
    """One optimiser.

    Attributes:
        name: Registered name.
        settings: Its own settings for the comparisons, away from the defaults.
        alias: The same optimiser straight from Optax, given settings and a step size.
        torch: Name of the PyTorch optimiser and its arguments, given settings.
        step_size: A step size that converges on the quadratic in ``steps`` steps.
        tolerance: How near it comes: adaptive methods keep hopping around the minimum.
        state_copies: Copies of the parameters in its state.
    """

    name: str
    settings: Mapping[str, float]
    alias: Callable[..., optax.GradientTransformation]
    torch: Callable[[Mapping[str, float]], tuple[str, dict[str, Any]]]
    step_size: float
    tolerance: float
    state_copies: int
    state_counters: int = 0
    steps: int = 3000
    decoupled_in_torch: bool = field(default=False)

    @property
    def optimizer(self) -> Optimizer:
        return get(self.name)

    def full(self, **changes: Any) -> dict[str, Any]:
        """All settings of a constant schedule, without decay unless asked for."""
        base = self.optimizer.settings() | {"decoupled_weight_decay": 0.0}
        return base | dict(self.settings) | changes

    def decayed(self, s: Mapping[str, Any]) -> optax.GradientTransformation:
        """The optimiser straight from Optax, with both traced decays at their places."""
        if self.name == "adamw":  # its alias carries the decoupled decay itself
            tail = (self.alias(s, s["step_size"]),)
        else:
            tail = (
                self.alias(s, None),  # without its step size
                optax.add_decayed_weights(s["decoupled_weight_decay"]),
                optax.scale_by_learning_rate(s["step_size"]),
            )
        return optax.chain(optax.add_decayed_weights(s["weight_decay"]), *tail)


ROWS = [
    Row(
        "sgd",
        {},
        lambda s, step: optax.sgd(step),
        lambda s: ("SGD", {}),
        step_size=0.2,
        tolerance=1e-5,
        state_copies=0,
    ),
    Row(
        "heavy_ball",
        {"momentum": 0.8},
        lambda s, step: optax.sgd(step, momentum=s["momentum"]),
        lambda s: ("SGD", {"momentum": s["momentum"]}),
        step_size=0.05,
        tolerance=1e-5,
        state_copies=1,
    ),
    Row(
        "nesterov",
        {"momentum": 0.7},
        lambda s, step: optax.sgd(step, momentum=s["momentum"], nesterov=True),
        lambda s: ("SGD", {"momentum": s["momentum"], "nesterov": True}),
        step_size=0.05,
        tolerance=1e-5,
        state_copies=1,
    ),
    Row(
        "adam",
        {"b1": 0.8, "b2": 0.95, "eps": 1e-6},
        lambda s, step: optax.adam(step, s["b1"], s["b2"], s["eps"]),
        lambda s: ("Adam", {"betas": (s["b1"], s["b2"]), "eps": s["eps"]}),
        step_size=0.01,
        tolerance=1e-3,
        state_copies=2,
        state_counters=1,
    ),
    Row(
        "adamw",
        {"b1": 0.85, "b2": 0.99, "eps": 1e-5},
        lambda s, step: optax.adamw(
            step, s["b1"], s["b2"], s["eps"], weight_decay=s["decoupled_weight_decay"]
        ),
        lambda s: (
            "AdamW",
            {
                "betas": (s["b1"], s["b2"]),
                "eps": s["eps"],
                "weight_decay": s["decoupled_weight_decay"],
            },
        ),
        step_size=0.005,
        tolerance=1e-3,
        state_copies=2,
        state_counters=1,
        decoupled_in_torch=True,
    ),
    Row(
        "rmsprop",
        {"decay": 0.95, "eps": 1e-5},
        lambda s, step: optax.rmsprop(step, s["decay"], s["eps"], eps_in_sqrt=False),
        lambda s: ("RMSprop", {"alpha": s["decay"], "eps": s["eps"]}),
        step_size=0.003,
        tolerance=1e-2,
        state_copies=1,
    ),
]


@dataclass(frozen=True)
class Geometry:
    """An optimiser that neither Optax nor PyTorch has: steps in another geometry, or along coordinates.

    Attributes:
        name: Registered name.
        update: What one update makes of weights, by the textbook: from weights, gradient with coupled decay,
            step size and number of the update, all flat NumPy arrays, to weights.
        settings: Its own settings.
        domain: Where it lives: ``"signed"``, ``"positive"`` or ``"simplex"``.
        mirrors: Whether decoupled decay is the same thing as coupled decay, part of the gradient.
        state_copies: Copies of the parameters in its state.
        state_counters: Counters in its state.
    """

    name: str
    update: Callable[[np.ndarray, np.ndarray, float, int], np.ndarray]
    settings: Mapping[str, float] = field(default_factory=dict)
    domain: str = "signed"
    mirrors: bool = False
    state_copies: int = 0
    state_counters: int = 0

    @property
    def optimizer(self) -> Optimizer:
        return get(self.name)

    def start(self, dtype: Any = np.float32) -> dict[str, jax.Array]:
        """The shared problem's parameters, moved into the domain."""
        params, _ = problem(dtype)
        if self.domain == "signed":
            return params
        params = {name: jnp.abs(leaf) + jnp.asarray(0.1, dtype) for name, leaf in params.items()}
        total = sum(float(leaf.sum()) for leaf in params.values())
        divide = jnp.asarray(total if self.domain == "simplex" else 1.0, dtype)
        return {name: leaf / divide for name, leaf in params.items()}


def _p_norm(w: np.ndarray, g: np.ndarray, eta: float, number: int) -> np.ndarray:
    z = np.sign(w) * np.abs(w) ** 0.3 - eta * g
    return np.asarray(np.sign(z) * np.abs(z) ** (1 / 0.3))


def _simplex(w: np.ndarray, g: np.ndarray, eta: float, number: int) -> np.ndarray:
    w = w * np.exp(-eta * g)
    return np.asarray(w / w.sum())


def _along(chosen: int, by: float, size: int) -> np.ndarray:
    step = np.zeros(size)
    step[chosen] = by
    return step


def _greedy(w: np.ndarray, g: np.ndarray, eta: float, number: int) -> np.ndarray:
    best = max(range(g.size), key=lambda j: abs(g[j]))
    return w - _along(best, eta * g[best], g.size)


def _epsilon(w: np.ndarray, g: np.ndarray, eta: float, number: int) -> np.ndarray:
    best = max(range(g.size), key=lambda j: abs(g[j]))
    return w - _along(best, eta if g[best] > 0 else -eta, g.size)


def _cyclic(w: np.ndarray, g: np.ndarray, eta: float, number: int) -> np.ndarray:
    return w - _along(number % g.size, eta * g[number % g.size], g.size)


GEOMETRIES = [
    Geometry("p_norm_descent", _p_norm, {"p": 1.3}, mirrors=True, state_copies=1),
    Geometry(
        "exponentiated_gradient",
        lambda w, g, eta, number: w * np.exp(-eta * g),
        domain="positive",
        mirrors=True,
        state_copies=1,
    ),
    Geometry("simplex_descent", _simplex, domain="simplex", mirrors=True, state_copies=1),
    Geometry("sign_descent", lambda w, g, eta, number: w - eta * np.sign(g)),
    Geometry("greedy_coordinate", _greedy),
    Geometry("cyclic_coordinate", _cyclic, state_counters=1),
    Geometry("epsilon_coordinate", _epsilon),
]


def problem(dtype: Any = np.float32) -> tuple[dict[str, jax.Array], Callable[[Any], jax.Array]]:
    """A small regression: parameters of two shapes, and their loss (a convex quadratic)."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(12, 4)), dtype)
    y = jnp.asarray(rng.normal(size=(12, 3)), dtype)
    params = {
        "kernel": jnp.asarray(rng.normal(size=(4, 3)), dtype),
        "bias": jnp.asarray(rng.normal(size=(3,)), dtype),
    }

    def loss(p: Any) -> jax.Array:
        return jnp.mean(jnp.square(x @ p["kernel"] + p["bias"][None, :] - y))

    return params, loss


def minimiser() -> dict[str, np.ndarray]:
    """The quadratic's minimiser, from NumPy's least squares."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 4)), rng.normal(size=(12, 3))
    solution = np.linalg.lstsq(np.hstack([x, np.ones((12, 1))]), y, rcond=None)[0]
    return {"kernel": solution[:4], "bias": solution[4]}


def plain_update(
    transform: optax.GradientTransformation, gradient: Any, state: Any, params: Any
) -> tuple[Any, Any]:
    """Update as Optax does for everyone else: its Adam does not pass under strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        return transform.update(gradient, state, params)


def loop(
    transform: optax.GradientTransformation,
    params: Any,
    gradient: Callable[[Any], Any],
    steps: int,
) -> Any:
    """A plain training loop, to be compiled by the caller."""

    def step(carry: Any, _: None) -> tuple[Any, None]:
        p, state = carry
        updates, state = plain_update(transform, gradient(p), state, p)
        return (optax.apply_updates(p, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, transform.init(params)), None, length=steps)
    return params


def trajectory(
    optimizer: Optimizer,
    settings: Mapping[str, float],
    params: Any,
    gradient: Callable[[Any], Any],
    steps: int,
    *,
    schedule: Schedule = CONSTANT,
) -> Any:
    """Train as the engine does: gradient, rule, update; compiled, settings of the parameters' dtype."""

    @jax.jit
    def run(params: Any, settings: Any) -> Any:
        transform = optimizer.build(schedule, settings)

        def step(carry: Any, number: jax.Array) -> tuple[Any, None]:
            params, state = carry
            key = jax.random.fold_in(jax.random.key(5), number)
            found = optimizer.update_gradient(
                schedule, settings, number, gradient(params), gradient, params, key
            )
            updates, state = plain_update(transform, found, state, params)
            return (optax.apply_updates(params, updates), state), None

        numbers = jnp.arange(steps, dtype=jnp.int32)
        return jax.lax.scan(step, (params, transform.init(params)), numbers)[0][0]

    dtype = jax.tree.leaves(params)[0].dtype
    return run(params, {name: jnp.asarray(value, dtype) for name, value in settings.items()})


def assert_equal(a: Any, b: Any) -> None:
    jax.tree.map(lambda u, v: np.testing.assert_array_equal(np.asarray(u), np.asarray(v)), a, b)


def assert_close(a: Any, b: Any, tolerance: float) -> None:
    jax.tree.map(
        lambda u, v: np.testing.assert_allclose(
            np.asarray(u), np.asarray(v), rtol=tolerance, atol=tolerance
        ),
        a,
        b,
    )
