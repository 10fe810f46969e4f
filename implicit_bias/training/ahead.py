"""Compiling the programs of a chunk before its lanes are there."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.data.dataset import Dataset
from implicit_bias.runtime import spread
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
    evaluator_chunk: int = 1000,
) -> None:
    """Compile all that the chunks of a program need, so that :func:`train_chunk` finds it ready.

    Compiling needs no lane that is finished, and while it lasts others can train: call it in a thread.

    Args:
        program: What will be trained.
        dataset: What it is trained on.
        pool: The dataset on the devices, as it will be given to :func:`train_chunk`.
        probe: As for :func:`train_chunk`.
        evaluator_chunk: As for :func:`train_chunk`.
    """
    recipe, layout = program.recipe, program.layout
    count = layout.devices * program.slots
    inputs = spread(stack_inputs([program.chunks[0][0]] * count), layout.devices)
    mask = spread(np.zeros(count, bool), layout.devices)
    examples = _compile(draw_examples, **drawing(recipe, layout, dataset, inputs, mask))
    state = _compile(start_lanes, **beginning(recipe, layout, pool, inputs, mask))
    common = {"layout": layout, "pool": pool, "examples": examples, "active": mask}
    zero = jnp.int32(0)
    _compile(
        run_segment, recipe=recipe, inputs=inputs, state=state, start=zero, stop=zero, **common
    )
    _compile(
        evaluate_lanes,
        evaluator=Evaluator(recipe.model, recipe.loss, evaluator_chunk),
        params=state.params,
        model_state=state.model_state,
        train_only=jnp.bool_(False),
        **common,
    )
    if probe is not None:
        steps = spread(np.zeros(count, np.int32), layout.devices)
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


def _compile(function: Any, **arguments: Any) -> Any:
    """Compile for arguments, or what has their shapes; return shapes and places of what comes out."""
    done = function.lower(**arguments).compile()
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        done.out_info,
        done.output_shardings,
    )
