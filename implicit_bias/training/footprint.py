"""Memory of one lane while it is trained and evaluated, beside its state.

It is predicted from shapes alone (``training.memory``) as long as it is small. From ``ASKED_FROM`` on the
compiler is asked, about the gradient of one lane and a forward pass of its evaluation: that is worth the
seconds it compiles, which are spent once for networks, batches and types alike, and where compiled programs
are kept, once on a machine.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.data.dataset import Dataset
from implicit_bias.optimizers import Schedule
from implicit_bias.optimizers import get as get_optimizer
from implicit_bias.runtime import compiled
from implicit_bias.training.lane import (
    LaneExamples,
    LaneInputs,
    LaneState,
    Pool,
    batch_gradient,
    initial_state,
    run_updates,
)
from implicit_bias.training.memory import COPIES, largest_operands, peak_bytes
from implicit_bias.training.recipe import Recipe

EVALUATED = 1000
"""Examples of one forward pass of an evaluation, where they fit in ``EVALUATION_MEMORY``."""

EVALUATION_MEMORY = 2**27
"""Bytes that one forward pass of an evaluation may take, as predicted from shapes alone. It is no setting,
and neither the compiler, nor devices, nor the budget enter: the number of examples in a pass decides how sums
are rounded."""

ASKED_FROM = 2**25
"""Predicted bytes from which the compiler is asked."""

ASKED_TO = 2**40
"""Predicted bytes from which it is not: they fit nowhere, and it may end the process over them."""


@dataclass(frozen=True)
class Footprint:
    """Memory of one lane, predicted.

    Attributes:
        update_bytes: Memory that an update takes beside the lane's state, its gradient included.
        evaluation_bytes: Memory that an evaluation takes.
        evaluator_chunk: Examples in one forward pass of an evaluation.
    """

    update_bytes: int
    evaluation_bytes: int
    evaluator_chunk: int


def footprint(recipe: Recipe, dataset: Dataset) -> Footprint:
    """Say what a lane takes; nothing is computed, and little compiled."""
    alike = replace(recipe, n_valid=0, first_update=0, masked=False)
    if recipe.optimizer.rule is None and not recipe.started:
        # Optimisers without a rule make no difference to the gradient.
        alike = replace(alike, optimizer=get_optimizer("sgd"), schedule=Schedule())
    targets = dataset.y_train.shape[1:], dataset.y_train.dtype.name
    sizes = dataset.n_train, dataset.n_test
    return _footprint(alike, dataset.input_shape, targets, sizes, jax.default_backend())


@functools.lru_cache(maxsize=4096)
def _footprint(
    recipe: Recipe,
    inputs: tuple[int, ...],
    targets: tuple[tuple[int, ...], str],
    sizes: tuple[int, int],
    backend: str,
) -> Footprint:
    dtype = jnp.dtype(recipe.dtype)
    y_shape, y_type = targets
    # Regression targets take the type of the recipe.
    y_dtype = jnp.dtype(y_type) if np.issubdtype(y_type, np.integer) else dtype

    def array(shape: tuple[int, ...], of: Any = dtype) -> Any:
        return jax.ShapeDtypeStruct(shape, of)

    n, n_test = sizes
    pool = Pool(
        array((n, *inputs)), array((n, *y_shape), y_dtype),
        array((n_test, *inputs)), array((n_test, *y_shape), y_dtype),
    )  # fmt: skip
    whole = recipe.batch_size == recipe.n_train and recipe.micro_batch is None
    examples = LaneExamples(
        array((recipe.n_train,), jnp.dtype(np.int32)),
        array((recipe.n_valid,), jnp.dtype(np.int32)),
        array((recipe.n_train, *y_shape), y_dtype),
        array((recipe.n_train, *inputs)) if whole else None,
    )
    lane = LaneInputs(
        array((), jnp.dtype(np.uint32)), {name: array(()) for name in recipe.setting_defaults()}
    )
    example = array(inputs)
    state: LaneState = jax.eval_shape(lambda e, i: initial_state(recipe, e, i), example, lane)
    step = array((), jnp.dtype(np.int32))
    indices = None if whole else array((recipe.batch_size,), jnp.dtype(np.int32))
    weights = array((recipe.batch_size,))
    # A rule may take gradients of its own, or derivatives of them; the optimiser's own arrays are counted
    # with the state.
    plain = recipe.optimizer.rule is None
    arguments: tuple[Any, ...] = (
        (pool, lane, examples, state, step, indices, weights)
        if plain
        else (pool, lane, examples._replace(inputs=None), state, step, step)
    )
    update = functools.partial(batch_gradient if plain else run_updates, recipe)
    taken = _taken(update, arguments, backend)
    if plain and whole and recipe.n_train != n:
        taken += recipe.n_train * math.prod(inputs) * dtype.itemsize

    def forward(params: Any, model_state: Any, x: jax.Array, rows: jax.Array, y: Any) -> Any:
        outputs, _ = recipe.model.apply(params, model_state, x[rows], train=False)
        return recipe.loss.per_example(outputs, y)

    def evaluation(chunk: int) -> tuple[Any, ...]:
        rows, y = array((chunk,), jnp.dtype(np.int32)), array((chunk, *y_shape), y_dtype)
        return state.params, state.model_state, pool.x_train, rows, y

    chunk = EVALUATED
    # The table of convolutions is that of CPUs wherever it runs: the choice must not depend on it.
    while peak_bytes(forward, *evaluation(chunk)) > EVALUATION_MEMORY and chunk > 1:
        chunk //= 2
    return Footprint(taken, _taken(forward, evaluation(chunk), backend), chunk)


def _taken(function: Callable[..., Any], arguments: tuple[Any, ...], backend: str) -> int:
    """Return what a function takes beside its arguments: predicted, or from a size on as compiled."""
    predicted = peak_bytes(function, *arguments, backend=backend)
    if not ASKED_FROM <= predicted < ASKED_TO:
        return predicted
    told = compiled(function).lower(*arguments).compile().memory_analysis()  # type: ignore[attr-defined]
    if told is None:
        return predicted
    copied = COPIES * largest_operands(function, *arguments) if backend == "cpu" else 0
    return int(told.temp_size_in_bytes + told.output_size_in_bytes) + copied
