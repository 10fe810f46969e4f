"""The host loop: segments between events, progress, snapshots, frozen lanes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.data.dataset import Dataset
from implicit_bias.runtime import replicate, spread
from implicit_bias.training.lane import LaneInputs, LaneState, Pool
from implicit_bias.training.plan import Plan, Program
from implicit_bias.training.probe import Probe, ProbedLane
from implicit_bias.training.programs import (
    Evaluation,
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
from implicit_bias.training.recipe import Lane, Recipe

LOGGED = Evaluation._fields
"""Names of the quantities logged at probes."""

SEGMENT_SECONDS = 1.0
"""Aim for the length of a segment; it decides how often progress is shown, never a result."""


@dataclass(frozen=True)
class Snapshot:
    """A chunk between two segments: enough to continue it bit for bit.

    Attributes:
        step: Updates done.
        state: State of every slot (lanes and padding), stacked on the host.
        finished: (slots,) lanes that will run no more.
        diverged: (slots,) lanes whose parameters stopped being finite.
        reached: (slots,) lanes that met their target loss.
        updates: (slots,) updates each lane ran.
        stop_loss: (slots,) training loss at the evaluation that met the target, else NaN.
        logs: (slots, probes, quantities) values logged so far; NaN where not reached.
        probed: Values of the probe so far, by name, (slots, probes, ...); NaN where not reached.
        carried: What the probe carries, of every slot.
    """

    step: int
    state: Any
    finished: np.ndarray
    diverged: np.ndarray
    reached: np.ndarray
    updates: np.ndarray
    stop_loss: np.ndarray
    logs: np.ndarray
    probed: Mapping[str, np.ndarray] = field(default_factory=dict)
    carried: Any = ()


@dataclass(frozen=True)
class Progress:
    """What the host loop tells its hook after each segment.

    Attributes:
        done: Updates done, summed over the lanes of the chunk.
        total: Updates at most to do, summed over the lanes of the chunk.
        active: Lanes still running.
        batch_loss: Mean batch loss of the segment over active lanes.
        snapshot: Call it to copy the chunk to the host; costs a transfer.
    """

    done: int
    total: int
    active: int
    batch_loss: float
    snapshot: Callable[[], Snapshot]


@dataclass(frozen=True)
class Trained:
    """Finished lanes, in the order they were given.

    Attributes:
        lanes: The lanes.
        params: Final parameters; every leaf has the lane as leading axis. NaN for a diverged lane.
        model_state: Final normalisation statistics, likewise.
        updates: (lanes,) updates run.
        diverged: (lanes,) whether the parameters stopped being finite.
        reached: (lanes,) whether the target loss was met.
        stop_loss: (lanes,) training loss at the evaluation that met the target, else NaN.
        log_steps: (lanes, probes) updates at which logs were taken, −1 where there is none.
        logs: By quantity, (lanes, probes) values; NaN where not reached.
        probed: By quantity of the probe, (lanes, probes, ...) values; NaN where not reached.
    """

    lanes: tuple[Lane, ...]
    params: Any
    model_state: Any
    updates: np.ndarray
    diverged: np.ndarray
    reached: np.ndarray
    stop_loss: np.ndarray
    log_steps: np.ndarray
    logs: Mapping[str, np.ndarray]
    probed: Mapping[str, np.ndarray] = field(default_factory=dict)


Hook = Callable[[Progress], None]


def make_pool(dataset: Dataset, dtype: str, devices: int) -> Pool:
    """Copy a dataset to every device, floating-point arrays in the given dtype."""

    def cast(array: np.ndarray) -> np.ndarray:
        return array.astype(dtype) if np.issubdtype(array.dtype, np.floating) else array

    pool = Pool(*map(cast, (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)))
    placed: Pool = replicate(pool, devices)
    return placed


def stack_inputs(lanes: Sequence[Lane]) -> LaneInputs:
    """Stack the traced halves of lanes of one recipe, lane leading."""
    recipe = lanes[0].recipe
    values = [lane.values for lane in lanes]
    settings = {
        name: np.asarray([value[name] for value in values], recipe.dtype) for name in values[0]
    }
    mask = None
    if recipe.masked:
        mask = jax.tree.map(lambda *leaves: np.stack(leaves), *[lane.mask for lane in lanes])
    return LaneInputs(np.asarray([lane.seed for lane in lanes], np.uint32), settings, mask)


def train(
    plan: Plan, *, on_segment: Hook | None = None, evaluator_chunk: int = 1000
) -> tuple[Trained, ...]:
    """Train every lane of a plan, chunk after chunk.

    Args:
        plan: What to run, from :func:`make_plan`.
        on_segment: Called after each segment.
        evaluator_chunk: Examples in one forward pass of an evaluation.

    Returns:
        One record a chunk, in the plan's order.
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
    evaluator_chunk: int = 1000,
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
        evaluator_chunk: Examples in one forward pass of an evaluation.
        segment_updates: Largest number of updates in a segment, instead of the aim in seconds.

    Returns:
        The finished lanes.
    """
    recipe, layout = program.recipe, program.layout
    if pool is None:
        pool = make_pool(dataset, recipe.dtype, layout.devices)
    slots = _deal(lanes, layout.devices, program.slots)
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
    loop = _Loop(recipe, lanes, slots, resume)
    evaluator = Evaluator(recipe.model, recipe.loss, evaluator_chunk)

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


def _deal(lanes: Sequence[Lane], devices: int, share: int) -> np.ndarray:
    """Deal lanes to devices, each of which has ``share`` slots, so that all carry about the same work.

    Returns:
        (devices × share,) index of the lane in each slot, −1 for padding; the shard of a device is
        contiguous.
    """
    order = sorted(range(len(lanes)), key=lambda index: -lanes[index].budget.updates)
    slots = np.full((devices, share), -1)
    for place, index in enumerate(order):
        slots[place % devices, place // devices] = index
    return slots.reshape(-1)


def _first_guess(program: Program, n_lanes: int) -> int:
    """Return a number of updates that should take a fraction of a segment's time."""
    return max(1, int(SEGMENT_SECONDS / 4 * program.gflops / program.work(n_lanes)))


def _adapted(longest: int, done: int, elapsed: float) -> int:
    """Return the largest number of updates of the next segment."""
    if done < longest:
        return longest
    # Grow by at most 8: the first call includes compilation, and a guess must not freeze the display.
    return max(1, min(8 * longest, int(done * SEGMENT_SECONDS / max(elapsed, 1e-6))))


class _Loop:
    """Host-side bookkeeping of one chunk: which lanes run, what they logged."""

    def __init__(
        self,
        recipe: Recipe,
        lanes: Sequence[Lane],
        slots: np.ndarray,
        resume: Snapshot | None,
    ) -> None:
        self.recipe, self.lanes, self.slots = recipe, tuple(lanes), slots
        n_probes = max((len(lane.probes) for lane in lanes), default=0)
        self.present = slots >= 0
        chosen = [lanes[max(slot, 0)] for slot in slots]
        self.stops = np.asarray([lane.budget.updates for lane in chosen])
        self.targets = np.asarray(
            [
                np.nan if lane.budget.target_loss is None else lane.budget.target_loss
                for lane in chosen
            ]
        )
        # A lane without a target is never evaluated against one.
        never = np.iinfo(np.int64).max
        self.every = np.asarray([lane.budget.evaluate_every or never for lane in chosen])
        self.probes = np.full((len(slots), n_probes), -1)
        for slot, lane in enumerate(chosen):
            self.probes[slot, : len(lane.probes)] = lane.probes
        if resume is None:
            self.step = 0
            self.finished = ~self.present
            self.diverged = np.zeros(len(slots), bool)
            self.reached = np.zeros(len(slots), bool)
            self.updates = np.zeros(len(slots), np.int64)
            self.stop_loss = np.full(len(slots), np.nan)
            self.logs = np.full((len(slots), n_probes, len(LOGGED)), np.nan)
            self.probed: dict[str, np.ndarray] = {}
        else:
            self.step = resume.step
            self.finished = resume.finished.copy()
            self.diverged = resume.diverged.copy()
            self.reached = resume.reached.copy()
            self.updates = resume.updates.copy()
            self.stop_loss = resume.stop_loss.copy()
            self.logs = resume.logs.copy()
            self.probed = {name: values.copy() for name, values in resume.probed.items()}

    def next_event(self) -> int:
        """Return the next update after which some running lane must be looked at."""
        active = ~self.finished
        events = [self.stops[active].min()]
        probes = self.probes[active]
        later = probes[probes > self.step]
        if later.size:
            events.append(later.min())
        # Lanes may evaluate at different intervals: the nearest multiple of any of them.
        intervals = np.unique(self.every[active])
        events.append(((self.step // intervals + 1) * intervals).min())
        return int(min(events))

    def advance(self, step: int, finite: np.ndarray) -> None:
        active = ~self.finished
        self.step = step
        self.updates[active] = step
        lost = active & ~finite
        self.diverged |= lost
        self.finished |= lost

    def due(self) -> np.ndarray:
        """Return, slot by slot, whether a running lane has a probe at this update."""
        due: np.ndarray = ((self.probes == self.step) & (~self.finished)[:, None]).any(axis=1)
        return due

    def record(self, values: np.ndarray, probed: Mapping[str, np.ndarray]) -> None:
        """Keep what was logged and probed of the slots that are due."""
        slot, probe = np.nonzero((self.probes == self.step) & (~self.finished)[:, None])
        self.logs[slot, probe] = values[slot]
        for name, found in probed.items():
            if name not in self.probed:
                shape = (*self.probes.shape, *found.shape[1:])
                self.probed[name] = np.full(shape, np.nan, found.dtype)
            self.probed[name][slot, probe] = found[slot]

    def check_targets(self, evaluate: Callable[[np.ndarray, bool], np.ndarray]) -> None:
        due = (self.step % self.every == 0) | (self.step == self.stops)
        due &= ~self.finished & ~np.isnan(self.targets)
        if due.any():
            loss = evaluate(due, True)[:, 0]
            met = due & (loss <= self.targets)
            self.reached |= met
            self.stop_loss[met] = loss[met]
            self.finished |= met

    def stop_at_budget(self) -> None:
        self.finished |= self.step >= self.stops

    def done(self) -> int:
        return int(np.where(self.finished, self.stops, self.updates)[self.present].sum())

    def total(self) -> int:
        return int(self.stops[self.present].sum())

    def snapshot(self, state: LaneState, carried: Any) -> Snapshot:
        return Snapshot(
            step=self.step,
            state=jax.tree.map(np.array, state),
            finished=self.finished.copy(),
            diverged=self.diverged.copy(),
            reached=self.reached.copy(),
            updates=self.updates.copy(),
            stop_loss=self.stop_loss.copy(),
            logs=self.logs.copy(),
            probed={name: values.copy() for name, values in self.probed.items()},
            carried=jax.tree.map(np.array, carried),
        )

    def trained(self, state: LaneState) -> Trained:
        # The slot of each lane, in the order the lanes were given.
        slot_of = np.empty(len(self.lanes), np.int64)
        slot_of[self.slots[self.present]] = np.flatnonzero(self.present)
        diverged = self.diverged[slot_of]

        def gather(leaf: jax.Array) -> np.ndarray:
            rows = np.array(np.asarray(leaf)[slot_of])
            if np.issubdtype(rows.dtype, np.floating):
                # Where exactly a lost lane was stopped depends on the segments; its values must not.
                rows[diverged] = np.nan
            return rows

        return Trained(
            lanes=self.lanes,
            params=jax.tree.map(gather, state.params),
            model_state=jax.tree.map(gather, state.model_state),
            updates=np.where(diverged, 0, self.updates[slot_of]),
            diverged=diverged,
            reached=self.reached[slot_of],
            stop_loss=self.stop_loss[slot_of],
            log_steps=self.probes[slot_of],
            logs={name: self.logs[slot_of, :, i] for i, name in enumerate(LOGGED)},
            probed={name: values[slot_of] for name, values in self.probed.items()},
        )
