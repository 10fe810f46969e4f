"""Compiling the programs of a chunk before its lanes are there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.data.dataset import Dataset
from implicit_bias.runtime import abstract_spread
from implicit_bias.training.lane import Pool
from implicit_bias.training.plan import Program
from implicit_bias.training.probe import Probe, ProbedLane
from implicit_bias.training.programs import (
    Evaluator,
    Subject,
    beginning,
    draw_examples,
    drawing,
    evaluate_lanes,
    probe_lanes,
    run_segment,
    start_lanes,
    start_probes,
)
from implicit_bias.training.slots import stack_inputs


def compile_chunks(
    program: Program,
    dataset: Dataset,
    pool: Pool,
    *,
    probe: Probe | None = None,
    evaluator_chunk: int | None = None,
) -> None:
    """Compile all that the chunks of a program need: the parts of :func:`compilations`, in turn."""
    for part in compilations(program, dataset, pool, probe=probe, evaluator_chunk=evaluator_chunk):
        part()


def compilations(
    program: Program,
    dataset: Dataset,
    pool: Pool,
    *,
    probe: Probe | None = None,
    evaluator_chunk: int | None = None,
) -> tuple[Callable[[], None], ...]:
    """Return what compiles the parts of a program, so that :func:`train_chunk` finds them ready.

    Compiling needs no lane that is finished, and while it lasts others can train: call the parts in threads,
    in any order or at once.

    Args:
        program: What will be trained.
        dataset: What it is trained on.
        pool: The dataset on the devices, as it will be given to :func:`train_chunk`.
        probe: As for :func:`train_chunk`.
        evaluator_chunk: As for :func:`train_chunk`.

    Returns:
        Calls that compile how a chunk begins, its updates, and its evaluation and probe.
    """
    recipe, layout = program.recipe, program.layout
    count = layout.devices * program.slots

    def slots_of(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype)

    one = (stack_inputs(program.chunks[0][:1]), np.zeros(1, bool), np.zeros(1, np.int32))
    inputs, mask, steps = abstract_spread(jax.tree.map(slots_of, one), layout.devices)
    drawn = drawing(recipe, layout, dataset, inputs, mask)
    begun = beginning(recipe, layout, pool, inputs, mask)

    @functools.cache
    def shapes() -> tuple[Any, Any]:
        """Return shapes and places of a chunk's examples and state."""
        found = draw_examples.eval_shape(**drawn), start_lanes.eval_shape(**begun)  # type: ignore[attr-defined]
        placed: tuple[Any, Any] = abstract_spread(found, layout.devices)
        return placed

    def begin() -> None:
        _compile(draw_examples, **drawn)
        _compile(start_lanes, **begun)

    def update() -> None:
        examples, state = shapes()
        zero = jnp.int32(0)
        _compile(
            run_segment, recipe=recipe, layout=layout, pool=pool, inputs=inputs, examples=examples,
            state=state, active=mask, start=zero, stop=zero,
        )  # fmt: skip

    def evaluate() -> None:
        examples, state = shapes()
        _compile(
            evaluate_lanes,
            evaluator=Evaluator(
                recipe.model, recipe.loss, evaluator_chunk or program.evaluator_chunk
            ),
            layout=layout,
            pool=pool,
            examples=examples,
            params=state.params,
            model_state=state.model_state,
            active=mask,
            train_only=jnp.bool_(False),
        )
        if probe is None:
            return
        _compile(
            probe_lanes,
            probe=probe,
            subject=Subject(recipe.model, recipe.loss),
            layout=layout,
            pool=pool,
            lanes=ProbedLane(inputs.seed, steps, inputs.settings, examples, *state),
            carried=_compile(start_probes, probe=probe, layout=layout, params=state.params),
            due=mask,
        )

    return begin, update, evaluate


def _compile(function: Any, **arguments: Any) -> Any:
    """Compile for arguments, or what has their shapes; return shapes and places of what comes out."""
    done = function.lower(**arguments).compile()
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        done.out_info,
        done.output_shardings,
    )
