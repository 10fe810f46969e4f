"""Training in the engine with the outputs at every logged step, and the same by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.keys import role_key
from implicit_bias.models import Model
from implicit_bias.training import Budget, Lane, Recipe, make_plan, train_chunk
from implicit_bias.training.probe import ProbedLane, Variable

STEPS = (0, 1, 2, 7, 30)


@dataclass(frozen=True)
class Outputs:
    """Outputs on the training set and on the test set."""

    variables: ClassVar = {
        "train": Variable(("example", "output"), "1", "outputs on the training set"),
        "test": Variable(("point", "output"), "1", "outputs on the test set"),
    }
    coordinates: ClassVar[dict[str, Any]] = {}

    def start(self, params: Any) -> Any:
        return ()

    def __call__(self, model: Any, loss: Any, pool: Any, lane: ProbedLane, carried: Any) -> Any:
        def outputs(x: Any) -> jax.Array:
            return model.apply(lane.params, lane.model_state, x, train=False)[0]

        return {"train": outputs(pool.x_train), "test": outputs(pool.x_test)}, carried


def regression(shrunk: float = 1.0) -> Dataset:
    """6 + 4 examples in 3 dimensions with 2 targets, made with NumPy alone.

    Args:
        shrunk: What the targets are divided by.
    """
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 2)) / shrunk
    return Dataset("toy", "regression", 2, x[:6], y[:6], x[6:], y[6:])


def recipe(model: Model, optimizer: str = "sgd", dtype: Any = "float64") -> Recipe:
    """Full-batch training on the squared loss."""
    return Recipe(
        model,
        losses.get("squared"),
        optimizers.get(optimizer),
        optimizers.Schedule(),
        batch_size=6,
        n_train=6,
        dtype=dtype,
    )


def lane(recipe: Recipe, seed: int = 0, **settings: float) -> Lane:
    """A lane that is logged at ``STEPS``."""
    return Lane(recipe, seed, {"step_size": 0.3, **settings}, Budget(STEPS[-1]), STEPS)


def trained(lanes: list[Lane], dataset: Dataset, **options: Any) -> Any:
    """Train lanes that share one program."""
    (program,) = make_plan(lanes, dataset, devices=1).programs
    return train_chunk(program, lanes, dataset, probe=Outputs(), **options)


def flat_start(model: Model, seed: int, x: np.ndarray) -> tuple[Any, np.ndarray]:
    """A model's outputs at the origin of a lane, as a function of one flat vector, and that vector.

    Args:
        model: Model without a wrapper.
        seed: The lane's.
        x: Inputs.
    """
    key = role_key(seed, "initialisation")
    params, state = jax.jit(model.init)(key, jnp.asarray(x[0]))
    flat, unravel = ravel_pytree(params)

    def outputs(vector: jax.Array) -> jax.Array:
        return model.apply(unravel(vector), state, jnp.asarray(x), train=False)[0]

    return outputs, flat


def descent_by_hand(
    model: Model, seed: int, dataset: Dataset, momentum: float = 0.0, step_size: float = 0.3
) -> dict[str, np.ndarray]:
    """Descend on the linear model of the dense Jacobian with NumPy; outputs at ``STEPS``."""
    x = np.concatenate([dataset.x_train, dataset.x_test])
    outputs, flat = flat_start(model, seed, x)
    both = jax.jit(lambda v: (outputs(v), jax.jacfwd(outputs)(v)))
    start, jacobian = (np.asarray(part) for part in both(flat))
    n = dataset.n_train
    moved, velocity, found = np.zeros(flat.size), np.zeros(flat.size), []
    for step in range(STEPS[-1] + 1):
        now = start + jacobian @ moved
        if step in STEPS:
            found.append(now)
        residual = (now[:n] - dataset.y_train) / n
        velocity = momentum * velocity + np.einsum("ik,ikp->p", residual, jacobian[:n])
        moved = moved - step_size * velocity
    together = np.stack(found)
    return {"train": together[:, :n], "test": together[:, n:]}
