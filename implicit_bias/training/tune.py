"""Measuring, on request, how lanes of a plan run fastest on the machine at hand."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

from implicit_bias.runtime import Layout
from implicit_bias.training.plan import Plan, Program
from implicit_bias.training.planner import make_plan
from implicit_bias.training.slots import make_pool
from implicit_bias.training.train import train_chunk

TILES = (4, 16, 64)
"""Tiles tried under ``"vmap"``, as far as there are lanes to fill them."""

SECONDS = 1.0
"""Aim for the length of one measurement."""


@dataclass(frozen=True)
class Row:
    """One way to run one program, measured.

    Attributes:
        program: Index of the program in the plan.
        batch_size: Its batch size.
        lanes: Lanes that were run.
        strategy: ``"map"`` or ``"vmap"``.
        tile: Lanes of one batched computation.
        devices: Devices used.
        gflops: Nominal speed, 10⁹ operations a second.
        fastest: Whether no other layout of this program was faster.
    """

    program: int
    batch_size: int
    lanes: int
    strategy: str
    tile: int
    devices: int
    gflops: float
    fastest: bool = False


def tune(plan: Plan, *, on_row: Callable[[Row], None] | None = None) -> list[Row]:
    """Time every layout on every program of a plan; nothing is stored.

    Each layout runs the first chunk of the program for a few updates to compile, then for about a
    second. The machine should be idle.

    Args:
        plan: What would run.
        on_row: Called after each measurement.

    Returns:
        A row for each program and layout; the fastest of each program is marked.
    """
    rows: list[Row] = []
    for index, program in enumerate(plan.programs):
        chunk = program.chunks[0]
        devices = program.layout.devices
        layouts = [Layout("map", 1, devices)]
        layouts += [Layout("vmap", t, devices) for t in TILES if t * devices <= 2 * len(chunk)]
        measured = []
        for layout in layouts:
            arranged = _laid_out(plan, program, layout)
            row = Row(
                index,
                program.recipe.batch_size,
                len(chunk),
                arranged.layout.strategy,
                arranged.layout.tile,
                arranged.layout.devices,  # fewer than asked for where large tiles take all lanes
                _speed(plan, arranged),
            )
            measured.append(row)
            if on_row is not None:
                on_row(row)
        best = max(measured, key=lambda row: row.gflops)
        rows += [dataclasses.replace(row, fastest=row is best) for row in measured]
    return rows


def _laid_out(plan: Plan, program: Program, layout: Layout) -> Program:
    """Return the first chunk of a program in another layout."""
    (other,) = make_plan(
        program.chunks[0],
        plan.dataset,
        memory=2 * plan.memory,  # a tile may need a little more than the plan's own layout
        strategy=layout.strategy,
        tile=layout.tile,
        devices=layout.devices,
    ).programs
    return other


def _speed(plan: Plan, program: Program) -> float:
    pool = make_pool(plan.dataset, program.recipe.dtype, program.layout.devices)

    def run(updates: int) -> float:
        lanes = [
            dataclasses.replace(
                lane, budget=dataclasses.replace(lane.budget, updates=updates,
                                                 target_loss=None, evaluate_every=None), probes=(),
            )
            for lane in program.chunks[0]
        ]  # fmt: skip
        began = time.perf_counter()
        train_chunk(program, lanes, plan.dataset, pool=pool, segment_updates=updates)
        return time.perf_counter() - began

    run(1)  # compiles
    updates = 1
    while (seconds := run(updates)) < SECONDS / 4:
        updates *= 4
    updates = max(1, round(updates * SECONDS / seconds))
    # The start of a chunk costs time that training does not: measured with no more than one update.
    seconds = max(run(updates) - run(1), 1e-9)
    return _work(program, updates - 1) / seconds if updates > 1 else _work(program, 1) / seconds


def _work(program: Program, updates: int) -> float:
    """Return the work of so many updates of each lane of the first chunk, as the plan counts it."""
    return program.work(updates * len(program.chunks[0]))
