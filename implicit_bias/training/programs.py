"""The compiled programs of a chunk of lanes: examples, start, segment, evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias.data.dataset import Dataset
from implicit_bias.losses import Loss, error
from implicit_bias.models import Model
from implicit_bias.runtime import Layout, compiled
from implicit_bias.training.lane import (
    LaneExamples,
    LaneInputs,
    LaneState,
    Params,
    Pool,
    initial_state,
    lane_examples,
    run_updates,
)
from implicit_bias.training.lanes import over_lanes, select
from implicit_bias.training.probe import Probe, ProbedLane
from implicit_bias.training.recipe import Recipe


class Evaluation(NamedTuple):
    """Mean loss and error of one lane on its training, validation and test sets.

    Errors are fractions of misclassified examples, or mean squared errors for regression. Sets that are
    empty, or were not asked for, give NaN.
    """

    train_loss: jax.Array
    train_error: jax.Array
    valid_loss: jax.Array
    valid_error: jax.Array
    test_loss: jax.Array
    test_error: jax.Array


@dataclass(frozen=True)
class Evaluator:
    """What is evaluated, and how; static.

    Attributes:
        model: Network.
        loss: Loss whose mean is reported.
        chunk_size: Examples in one forward pass.
    """

    model: Model
    loss: Loss
    chunk_size: int = 1000

    def on_set(
        self, params: Params, model_state: Any, x: jax.Array, rows: jax.Array | None, y: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Return mean loss and mean error over a set.

        Args:
            params: Parameters.
            model_state: Normalisation statistics.
            x: Inputs of a pool, shape (pool, *features).
            rows: (n,) rows of the pool that make up the set; None for all of them.
            y: (n, ...) targets of the set.
        """
        n = y.shape[0]
        dtype = jax.tree.leaves(params)[0].dtype
        if n == 0:
            missing = jnp.full((), jnp.nan, dtype)
            return missing, missing
        size = min(self.chunk_size, n)
        chunks = -(-n // size)

        def chunk(carry: tuple[jax.Array, jax.Array], start: jax.Array) -> tuple[Any, None]:
            positions = start + jnp.arange(size, dtype=jnp.int32)
            # The last chunk may run over the end; its surplus slots count for nothing.
            present = (positions < n).astype(dtype)
            positions = jnp.minimum(positions, n - 1)
            inputs = x[positions if rows is None else rows[positions]]
            outputs, _ = self.model.apply(params, model_state, inputs, train=False)
            losses = self.loss.per_example(outputs, y[positions])
            errors = error(outputs, y[positions])
            return (
                carry[0] + jnp.sum(present * losses),
                carry[1] + jnp.sum(present * errors.astype(dtype)),
            ), None

        zero = jnp.zeros((), dtype)
        starts = size * jnp.arange(chunks, dtype=jnp.int32)
        (loss, errors), _ = jax.lax.scan(chunk, (zero, zero), starts)
        return loss / n, errors / n

    def __call__(
        self,
        pool: Pool,
        examples: LaneExamples,
        params: Params,
        model_state: Any,
        *,
        train_only: jax.Array | bool = False,
    ) -> Evaluation:
        """Evaluate one lane; under ``train_only``, which may be traced, on its training set alone."""
        train = self.on_set(params, model_state, pool.x_train, examples.train, examples.targets)
        missing = jnp.full_like(train[0], jnp.nan)

        def others() -> tuple[jax.Array, ...]:
            y_valid = pool.y_train[examples.valid]
            valid = self.on_set(params, model_state, pool.x_train, examples.valid, y_valid)
            return *valid, *self.on_set(params, model_state, pool.x_test, None, pool.y_test)

        if isinstance(train_only, bool):
            rest = (missing,) * 4 if train_only else others()
        else:
            rest = jax.lax.cond(train_only, lambda: (missing,) * 4, others)
        return Evaluation(*train, *rest)


@dataclass(frozen=True)
class Subject:
    """The static half of what is measured: the parts of a recipe that matter then."""

    model: Model
    loss: Loss


class Sizes(NamedTuple):
    """Examples of a lane; static."""

    n_train: int
    n_valid: int


def _examples(
    sizes: Sizes, dataset: Dataset, layout: Layout, inputs: LaneInputs, present: jax.Array
) -> LaneExamples:
    def one(_: None, lane: tuple[LaneInputs, jax.Array]) -> LaneExamples:
        inputs, present = lane
        return _where_present(present, lambda: lane_examples(dataset, *sizes, inputs))

    return over_lanes(one, layout)(None, (inputs, present))


def _start(
    recipe: Recipe, layout: Layout, pool: Pool, inputs: LaneInputs, present: jax.Array
) -> LaneState:
    def one(pool: Pool, lane: tuple[LaneInputs, jax.Array]) -> LaneState:
        inputs, present = lane
        return _where_present(present, lambda: initial_state(recipe, pool.x_train[0], inputs))

    return over_lanes(one, layout)(pool, (inputs, present))


def _where_present(present: jax.Array, draw: Callable[[], Any]) -> Any:
    """Draw for a lane; an empty slot gets zeros, and costs no drawing where slots run one by one."""
    shapes = jax.eval_shape(draw)
    return jax.lax.cond(
        present,
        draw,
        lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes),
    )


def _segment(
    recipe: Recipe,
    layout: Layout,
    pool: Pool,
    inputs: LaneInputs,
    examples: LaneExamples,
    state: LaneState,
    active: jax.Array,
    start: jax.Array,
    stop: jax.Array,
) -> tuple[LaneState, jax.Array, jax.Array]:
    def one(pool: Pool, lane: Any, start: jax.Array, stop: jax.Array) -> Any:
        inputs, examples, state, active = lane
        if layout.strategy == "map":
            # A finished lane runs no updates at all.
            end = jnp.where(active, stop, start)
            new, total = run_updates(recipe, pool, inputs, examples, state, start, end)
        else:
            # Lanes of a tile run in step; a finished one keeps what it had.
            new, total = run_updates(recipe, pool, inputs, examples, state, start, stop)
            new = select(active, new, state)
        finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(new.params)])
        return new, total / jnp.maximum(stop - start, 1).astype(total.dtype), jnp.all(finite)

    return over_lanes(one, layout)(pool, (inputs, examples, state, active), start, stop)


def _evaluate(
    evaluator: Evaluator,
    layout: Layout,
    pool: Pool,
    examples: LaneExamples,
    params: Params,
    model_state: Any,
    active: jax.Array,
    train_only: jax.Array,
) -> Evaluation:
    def one(pool: Pool, lane: Any, train_only: jax.Array) -> Evaluation:
        examples, params, model_state, active = lane

        def run() -> Evaluation:
            return evaluator(pool, examples, params, model_state, train_only=train_only)

        def skip() -> Evaluation:
            shapes = jax.eval_shape(run)
            return jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes)

        return jax.lax.cond(active, run, skip)

    # Whatever the strategy of training, lanes that are not asked for cost nothing here.
    plain = Layout("map", 1, layout.devices)
    return over_lanes(one, plain)(pool, (examples, params, model_state, active), train_only)


def _probe(
    probe: Probe,
    subject: Subject,
    layout: Layout,
    pool: Pool,
    lanes: ProbedLane,
    carried: Any,
    due: jax.Array,
) -> tuple[dict[str, jax.Array], Any]:
    def one(pool: Pool, given: Any) -> tuple[dict[str, jax.Array], Any]:
        lane, carried, due = given

        def run() -> tuple[dict[str, jax.Array], Any]:
            return probe(subject.model, subject.loss, pool, lane, carried)

        def skip() -> tuple[dict[str, jax.Array], Any]:
            values, _ = jax.eval_shape(run)
            return {
                name: jnp.full(value.shape, jnp.nan, value.dtype) for name, value in values.items()
            }, carried

        return jax.lax.cond(due, run, skip)

    # Iterative measurements take as long as each lane needs: never under vmap.
    plain = Layout("map", 1, layout.devices)
    return over_lanes(one, plain)(pool, (lanes, carried, due))


def _start_probes(probe: Probe, layout: Layout, params: Params) -> Any:
    def one(_: None, params: Params) -> Any:
        return probe.start(params)

    return over_lanes(one, Layout("map", 1, layout.devices))(None, params)


draw_examples = compiled(_examples, static=("sizes", "dataset", "layout"))
"""Compiled drawing of examples: ``(sizes, dataset, layout, inputs, present) -> examples``, lanes leading.
Of the settings it needs ``label_noise`` alone."""

start_lanes = compiled(_start, static=("recipe", "layout"))
"""Compiled start: ``(recipe, layout, pool, inputs, present) -> state``, lanes leading."""


def drawing(
    recipe: Recipe, layout: Layout, dataset: Dataset, inputs: LaneInputs, present: Any
) -> dict[str, Any]:
    """Return the arguments of :func:`draw_examples`: no more than it needs, so that recipes share it."""
    return {
        "sizes": Sizes(recipe.n_train, recipe.n_valid),
        "dataset": dataset,
        "layout": layout,
        "inputs": LaneInputs(inputs.seed, {"label_noise": inputs.settings["label_noise"]}),
        "present": present,
    }


def beginning(
    recipe: Recipe, layout: Layout, pool: Pool, inputs: LaneInputs, present: Any
) -> dict[str, Any]:
    """Return the arguments of :func:`start_lanes`: no more than it needs, so that recipes share it."""
    shared = recipe.beginning
    settings = {name: inputs.settings[name] for name in shared.setting_defaults()}
    return {
        "recipe": shared,
        "layout": layout,
        "pool": pool,
        "inputs": inputs._replace(settings=settings),
        "present": present,
    }


run_segment = compiled(_segment, static=("recipe", "layout"), donate=("state",))
"""Compiled segment: ``(recipe, layout, pool, inputs, examples, state, active, start, stop)`` to
``(state, mean batch loss, finite)``. ``state`` is donated."""

evaluate_lanes = compiled(_evaluate, static=("evaluator", "layout"))
"""Compiled evaluation: ``(evaluator, layout, pool, examples, params, model_state, active, train_only)`` to
an :class:`Evaluation` with lanes leading; NaN for lanes that are not active."""

start_probes = compiled(_start_probes, static=("probe", "layout"))
"""Compiled start of a probe: ``(probe, layout, params)`` to what lanes carry, lanes leading."""

probe_lanes = compiled(_probe, static=("probe", "subject", "layout"), donate=("carried",))
"""Compiled probing: ``(probe, subject, layout, pool, lanes, carried, due)`` to values and what is carried,
lanes leading; lanes that are not due give NaN and keep what they carry. ``carried`` is donated."""
