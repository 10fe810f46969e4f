"""``benchmark.py conv``: convolutional networks trained in lanes, against PyTorch and ``vmap``."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import re
from collections.abc import Sequence
from typing import Any

from benchmarks import machine
from benchmarks.conv_runners import ConvEngineRunner, VmapRunner
from benchmarks.conv_torch import ConvTorchRunner
from benchmarks.conv_work import Convs
from benchmarks.matrix_products import MatrixProductRunner
from benchmarks.text import add_precision, add_repeats, announce, interval, positive, say, usage
from benchmarks.timing import Hosted, interleave, paired_ratios, spread, take_turns, wait_for

OURS, PYTORCH, LAST = "engine", "pytorch", "pytorch, channels last"
FAST, VMAP = "pytorch, compiled bfloat16", "vmap of lax.conv"
GOALS = {"cnn5": {PYTORCH: 0.8, VMAP: 3.0}, "resnet18": {PYTORCH: 0.3}}
"""How many times faster than these the engine should be, on two idle cores."""

SHAPES = "cnn5:4x8x32,cnn5:4x16x32,cnn5:4x32x32,cnn5:4x16x128,resnet18:2x16x32,resnet18:2x64x32"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``benchmark.py conv``."""
    parser.add_argument(
        "--shapes",
        type=_shapes,
        default=_shapes(SHAPES),
        metavar="NETWORK:LxKxB,...",
        help=f"network, lanes x first channels x batch size (default {SHAPES})",
    )
    add_repeats(parser, 3)
    parser.add_argument("--updates", type=positive, help="updates in a run, instead of --seconds")
    parser.add_argument(
        "--seconds",
        type=positive,
        default=6,
        help="aim for the slowest runner's run; decides the number of updates (default 6)",
    )
    add_precision(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, then print a table for each shape.

    Returns:
        Everything that was measured, ready for JSON.
    """
    if arguments.smoke:
        works = [Convs("cnn5", 2, 2, 4, 8), Convs("resnet18", 1, 1, 2, 4)]
        updates, repeats, sizes = 2, 2, (256,)
    else:
        works = [Convs(*shape, precision=arguments.precision) for shape in arguments.shapes]
        updates, repeats, sizes = arguments.updates, arguments.repeats, (1024, 2048)
    description = machine.describe()
    warning = announce(description)
    say("measuring matrix products ...")
    peak = max(_peak(works[0], sizes).values())
    measured = []
    for work in works:
        say(f"measuring {work.network}, {work.lanes} x {work.width} x {work.batch} ...")
        found = _measure(work, updates, arguments.seconds, repeats, peak)
        print(table(found))
        measured.append(found)
    print(
        f"\nMatrix products on all cores, best: {peak:.0f} GFLOP/s. Median (smallest to largest) over "
        "interleaved turns; ratios are formed within a turn.\nGFLOP/s: operations of products as they are "
        "defined; 'of peak' may be above what it seems where an algorithm saves some."
    )
    return {
        "benchmark": "conv",
        "machine": description,
        "warning": warning,
        "peak_gflops": peak,
        "shapes": measured,
    }


def _peak(work: Convs, sizes: tuple[int, ...]) -> dict[str, float]:
    """Return the fastest matrix products of each library, in GFLOP/s."""
    given: Any = work  # of which the runner reads the precision
    started = [
        Hosted(library, [functools.partial(MatrixProductRunner, library, sizes, given)])
        for library in ("jax", "torch")
    ]
    try:
        hosts, _ = wait_for(started)
        peaks = {}
        for host in hosts:
            host.setup()
            host.run(1)
            peaks[host.name] = max(host.report()["result"].values())
    finally:
        for host in started:
            host.close()
    return peaks


def _makers(work: Convs) -> dict[str, list[Any]]:
    """Return by name the processes each runner consists of; ours is timed last in a turn."""
    return {
        PYTORCH: [functools.partial(ConvTorchRunner, work)],
        LAST: [functools.partial(ConvTorchRunner, work, channels_last=True)],
        FAST: [functools.partial(ConvTorchRunner, work, channels_last=True, fast=True)],
        VMAP: [functools.partial(VmapRunner, work)],
        OURS: [functools.partial(ConvEngineRunner, work)],
    }


def _measure(
    work: Convs, updates: int | None, seconds: float, repeats: int, peak: float
) -> dict[str, Any]:
    started = {name: Hosted(name, makers) for name, makers in _makers(work).items()}

    def count(hosts: Sequence[Hosted]) -> int:
        if updates:
            return updates
        slowest = max(trials[0].wall for trials in interleave(hosts, 2, 1).values())
        return max(2, math.floor(2 * seconds / slowest))

    turns = take_turns(started, count, repeats)
    ratios = paired_ratios(turns.timings, OURS)
    flops = turns.reports[OURS]["result"]["flops"]
    images = work.lanes * work.batch * turns.updates
    rows: dict[str, dict[str, Any]] = {}
    for name in started:
        if name in turns.absent:
            rows[name] = {"absent": turns.absent[name]}
            continue
        walls = turns.walls(name)
        speeds = spread([1e-9 * turns.updates * flops / wall for wall in walls])
        rows[name] = {
            "seconds": walls,
            "images_per_second": spread([images / wall for wall in walls]),
            "gflops": speeds,
            "fraction_of_peak": speeds["median"] / peak,
            "engine_faster_by": ratios.get(name),
            "goal": GOALS[work.network].get(name),
            "loss": turns.reports[name]["result"]["loss"],
            **turns.use(name),
        }
    return {
        "work": dataclasses.asdict(work),
        "updates": turns.updates,
        "flops_per_update": flops,
        "runners": rows,
    }


def table(found: dict[str, Any]) -> str:
    """Return the table of one shape as text."""
    work = found["work"]
    lines = [
        "",
        f"{work['lanes']} lanes of {work['network']} with {work['width']} channels x batch {work['batch']}, "
        f"{found['updates']} updates a run",
        f"{'':<27} {'images/s':^22} {'GFLOP/s':>7} {'of peak':>7} {'engine is faster by':^22} {'set-up':>7} "
        f"{'memory':>8} {'cores':>5} {'loss':>6}",
    ]
    for name, row in found["runners"].items():
        if "absent" in row:
            lines.append(f"{name:<27} {row['absent']}")
            continue
        lines.append(
            f"{name:<27} {interval(row['images_per_second'], 0):^22} {row['gflops']['median']:>7.1f} "
            f"{row['fraction_of_peak']:>7.1%} {interval(row['engine_faster_by'], 2):^22} {usage(row)}"
        )
    for name, row in found["runners"].items():
        if row.get("goal"):
            ratio = row["engine_faster_by"]["median"]
            verdict = "reached" if ratio >= row["goal"] else "NOT reached"
            lines.append(f"  {ratio:.2f} times as fast as {name}: {row['goal']:g} is {verdict}")
        if row.get("notes"):
            lines.append(f"  {name}: {'; '.join(row['notes'])}")
    return "\n".join(lines)


def _shapes(text: str) -> tuple[tuple[Any, ...], ...]:
    """Parse ``cnn5:4x8x32,resnet18:2x64x32``."""
    shapes = []
    for part in text.split(","):
        found = re.fullmatch(r"(cnn5|resnet18):(\d+)x(\d+)x(\d+)", part)
        numbers = [int(number) for number in found.groups()[1:]] if found else [0]
        if not found or min(numbers) < 1 or numbers[2] > Convs("cnn5", 1, 1, 1).examples:
            raise argparse.ArgumentTypeError(
                f"shape {part!r} is not NETWORK:LANESxCHANNELSxBATCH; write for example cnn5:4x8x32, with at "
                f"most {Convs('cnn5', 1, 1, 1).examples} examples in a batch"
            )
        shapes.append((found.group(1), *numbers))
    return tuple(shapes)
