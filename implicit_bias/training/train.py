"""The host loop: segments between events, progress, snapshots, frozen lanes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.data.dataset import Dataset
from implicit_bias.errors import unknown
from implicit_bias.runtime import spread
from implicit_bias.training.lane import Pool
from implicit_bias.training.loop import LOGGED, Loop
from implicit_bias.training.plan import Plan, Program
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
from implicit_bias.training.recipe import Lane
from implicit_bias.training.records import Hook, Progress, Snapshot, Trained
from implicit_bias.training.slots import deal, make_pool, stack_inputs

SEGMENT_SECONDS = 1.0
"""Aim for the length of a segment; it decides how often progress is shown, never a result."""


def train(
    plan: Plan, *, on_segment: Hook | None = None, evaluator_chunk: int | None = None
) -> tuple[Trained, ...]:
    """Train every lane of a plan, chunk after chunk.

    Args:
        plan: What to run, from :func:`make_plan`.
        on_segment: Called after each segment.
        evaluator_chunk: Examples in one forward pass of an evaluation; by default the plan's.

    Returns:
        One record a chunk, in the plan's order.

    Example:
        >>> from implicit_bias import data, losses, models, optimizers, training
        >>> recipe = training.Recipe(
        ...     models.get("dense", widths=(8,), outputs=10), losses.get("cross_entropy"),
        ...     optimizers.get("sgd"), optimizers.Schedule(), batch_size=32, n_train=200, n_valid=100,
        ... )
        >>> lanes = [  # two seeds at three step sizes, one compiled program
        ...     training.Lane(recipe, seed, {"step_size": step}, training.Budget(updates=20))
        ...     for seed in range(2) for step in (0.01, 0.1, 1.0)
        ... ]
        >>> trained = training.train(training.make_plan(lanes, data.load("digits")))
        >>> [(chunk.updates.tolist(), bool(chunk.diverged.any())) for chunk in trained]
        [([20, 20, 20, 20, 20, 20], False)]
    """
    return tuple(
        train_chunk(
            program, chunk, plan.dataset, on_segment=on_segment, evaluator_chunk=evaluator_chunk
        )
        for program in plan.programs
        for chunk in program.chunks
    )


def train_chunk(
    program: Program,
    lanes: Sequence[Lane],
    dataset: Dataset,
    *,
    pool: Pool | None = None,
    probe: Probe | None = None,
    resume: Snapshot | None = None,
    on_segment: Hook | None = None,
    evaluator_chunk: int | None = None,
    segment_updates: int | None = None,
) -> Trained:
    """Train the lanes of one chunk to their ends.

    Segments end where any lane has a probe, an evaluation or its stop, and otherwise after about
    ``SEGMENT_SECONDS``; no result depends on where they end.

    Args:
        program: The compiled program the lanes share.
        lanes: The lanes of the chunk.
        dataset: What they train on.
        pool: The dataset on the devices, to share it between chunks; made here if not given.
        probe: Measured at the lanes' probes, beside their losses.
        resume: Continue from this snapshot of the same chunk.
        on_segment: Called after each segment; an exception it raises ends the training.
        evaluator_chunk: Examples in one forward pass of an evaluation; by default the plan's.
        segment_updates: Largest number of updates in a segment, instead of the aim in seconds.

    Returns:
        The finished lanes.

    Raises:
        UserError: A lane is to stop at something that is neither logged nor a scalar of the probe.
    """
    recipe, layout = program.recipe, program.layout
    _check_stops(lanes, probe)
    if pool is None:
        pool = make_pool(dataset, recipe.dtype, layout.devices)
    slots = deal(lanes, layout.devices, program.slots)
    inputs = spread(stack_inputs([lanes[max(slot, 0)] for slot in slots]), layout.devices)
    present = spread(slots >= 0, layout.devices)
    examples = draw_examples(**drawing(recipe, layout, dataset, inputs, present))
    starting = beginning(recipe, layout, pool, inputs, present)
    if resume is None:
        state = start_lanes(**starting)
    else:
        structure = jax.tree.structure(jax.eval_shape(lambda: start_lanes(**starting)))
        leaves = jax.tree.leaves(resume.state)
        state = spread(jax.tree.unflatten(structure, leaves), layout.devices)
    carried: Any = ()
    if probe is not None:
        if resume is None:
            carried = start_probes(probe=probe, layout=layout, params=state.params)
        else:
            structure = jax.tree.structure(jax.eval_shape(jax.vmap(probe.start), state.params))
            leaves = jax.tree.leaves(resume.carried)
            carried = spread(jax.tree.unflatten(structure, leaves), layout.devices)
    loop = Loop(recipe, lanes, slots, resume)
    evaluator = Evaluator(recipe.model, recipe.loss, evaluator_chunk or program.evaluator_chunk)

    def evaluate(mask: np.ndarray, train_only: bool) -> np.ndarray:
        values = evaluate_lanes(
            evaluator=evaluator,
            layout=layout,
            pool=pool,
            examples=examples,
            params=state.params,
            model_state=state.model_state,
            active=spread(mask, layout.devices),
            train_only=jnp.bool_(train_only),
        )
        return np.stack([np.asarray(value) for value in values], axis=-1)

    def measure(due: np.ndarray) -> Mapping[str, np.ndarray]:
        nonlocal carried
        assert probe is not None
        steps = np.full(len(slots), loop.step, np.int32)
        lanes = ProbedLane(
            inputs.seed, spread(steps, layout.devices), inputs.settings, examples, *state
        )
        values, carried = probe_lanes(
            probe=probe,
            subject=Subject(recipe.model, recipe.loss),
            layout=layout,
            pool=pool,
            lanes=lanes,
            carried=carried,
            due=spread(due, layout.devices),
        )
        return {name: np.asarray(value) for name, value in values.items()}

    def log() -> None:
        due = loop.due()
        if due.any():
            loop.record(evaluate(due, False), measure(due) if probe is not None else {})

    longest = segment_updates or _first_guess(program, len(lanes))
    if resume is None:
        log()
    while not loop.finished.all():
        target = loop.next_event()
        stop = min(target, loop.step + longest)
        began = time.perf_counter()
        active = ~loop.finished
        state, batch_loss, finite = run_segment(
            recipe=recipe,
            layout=layout,
            pool=pool,
            inputs=inputs,
            examples=examples,
            state=state,
            active=spread(active, layout.devices),
            start=jnp.int32(loop.step),
            stop=jnp.int32(stop),
        )
        finite = np.asarray(finite)
        elapsed = time.perf_counter() - began
        if segment_updates is None:
            longest = _adapted(longest, stop - loop.step, elapsed)
        loop.advance(stop, finite)
        if stop == target:
            log()
            loop.check_targets(evaluate)
        loop.stop_at_budget()
        if on_segment is not None:
            current, kept = state, carried
            on_segment(
                Progress(
                    done=loop.done(),
                    total=loop.total(),
                    active=int((~loop.finished).sum()),
                    batch_loss=float(np.mean(np.asarray(batch_loss)[active])),
                    snapshot=lambda current=current, kept=kept: loop.snapshot(  # type: ignore[misc]
                        current, kept
                    ),
                )
            )
    return loop.trained(state)


def _check_stops(lanes: Sequence[Lane], probe: Probe | None) -> None:
    """Refuse to stop at what nobody looks at."""
    variables = {} if probe is None else probe.variables
    known = [*LOGGED, *(name for name, variable in variables.items() if not variable.dims)]
    for stop in {stop for lane in lanes for stop in lane.budget.until}:
        if stop.quantity not in known:
            raise unknown("quantity to stop at", stop.quantity, known)


def _first_guess(program: Program, n_lanes: int) -> int:
    """Return a number of updates that should take a fraction of a segment's time."""
    return max(1, int(SEGMENT_SECONDS / 4 * program.gflops / program.work(n_lanes)))


def _adapted(longest: int, done: int, elapsed: float) -> int:
    """Return the largest number of updates of the next segment."""
    if done < longest:
        return longest
    # Grow by at most 8: the first call includes compilation, and a guess must not freeze the display.
    return max(1, min(8 * longest, int(done * SEGMENT_SECONDS / max(elapsed, 1e-6))))
