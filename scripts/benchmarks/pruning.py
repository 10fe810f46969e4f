"""``benchmark.py pruning``: a round of lottery tickets as one batch of lanes, one by one, and in PyTorch."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
from typing import Any

from benchmarks import machine
from benchmarks.pruning_runners import ARMS, MaskedPyTorchRunner, TicketRunner, Tickets
from benchmarks.text import add_precision, add_repeats, announce, interval, positive, say, usage
from benchmarks.timing import Hosted, paired_ratios, spread, take_turns
from benchmarks.work import CLASSES, FEATURES

OURS, SEQUENTIAL, PYTORCH = "engine, all lanes", "engine, lane by lane", "pytorch"
PROCESSES = "pytorch, two processes"
GOALS = {SEQUENTIAL: 1.0, PYTORCH: 2.5}
"""How many times faster than these a round in one batch should be."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``benchmark.py pruning``."""
    parser.add_argument(
        "--seeds", type=positive, default=5, help="networks of each arm (default 5)"
    )
    parser.add_argument(
        "--arms", type=positive, default=len(ARMS),
        help=f"masks of each seed, of the levels {', '.join(f'{arm:g}' for arm in ARMS)}, and again from the "
        f"first (default {len(ARMS)})",
    )  # fmt: skip
    parser.add_argument(
        "--updates",
        type=positive,
        default=300,
        help="updates of each network in a run (default 300)",
    )
    add_repeats(parser, 5)
    add_precision(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, then print a table.

    Returns:
        Everything that was measured, ready for JSON.
    """
    updates, repeats = arguments.updates, arguments.repeats
    arms = tuple(ARMS[i % len(ARMS)] for i in range(arguments.arms))
    tickets = Tickets(arguments.seeds, arms, precision=arguments.precision)
    if arguments.smoke:
        tickets, updates, repeats = Tickets(1, (1.0, 0.21), (8, 4), 8, examples=32), 3, 2
    description = machine.describe()
    warning = announce(description)
    lanes = tickets.seeds * len(tickets.arms)
    say(f"measuring {lanes} networks x {updates} updates ...")
    started = {name: Hosted(name, makers) for name, makers in _makers(tickets).items()}
    turns = take_turns(started, lambda hosts: updates, repeats)
    ratios = paired_ratios(turns.timings, OURS)
    rows: dict[str, dict[str, Any]] = {}
    for name in started:
        if name in turns.absent:
            rows[name] = {"absent": turns.absent[name]}
            continue
        walls = turns.walls(name)
        rows[name] = {
            "seconds": walls,
            "time": spread(walls),
            "true_gflops": spread([1e-9 * updates * tickets.true_flops() / w for w in walls]),
            "all_lanes_faster_by": ratios.get(name),
            "goal": GOALS.get(name),
            **turns.reports[name]["result"],
            **turns.use(name),
        }
    found = {
        "benchmark": "pruning",
        "machine": description,
        "warning": warning,
        "tickets": dataclasses.asdict(tickets),
        "updates": updates,
        "runners": rows,
    }
    print(table(tickets, found))
    return found


def _makers(tickets: Tickets) -> dict[str, list[Any]]:
    """Return by name the processes each runner consists of; all lanes at once are timed last in a turn."""
    lanes = tickets.seeds * len(tickets.arms)
    middle = math.ceil(lanes / 2)
    parts = [
        dataclasses.replace(tickets, lanes=part)
        for part in ((0, middle), (middle, lanes))
        if part[1] > part[0]
    ]
    return {
        PYTORCH: [functools.partial(MaskedPyTorchRunner, tickets)],
        PROCESSES: [functools.partial(MaskedPyTorchRunner, part, threads=1) for part in parts],
        SEQUENTIAL: [functools.partial(TicketRunner, tickets, at_once=False, cpu_devices=1)],
        OURS: [functools.partial(TicketRunner, tickets)],
    }


def table(tickets: Tickets, found: dict[str, Any]) -> str:
    """Return the table as text."""
    widths = "-".join(map(str, (FEATURES, *tickets.hidden, CLASSES)))
    lines = [
        "",
        f"{tickets.seeds} seeds x {len(tickets.arms)} masks of {widths}, Adam, batch {tickets.batch}, "
        f"{found['updates']} updates a run",
        f"{'':<24} {'seconds':^24} {'GFLOP/s':>8} {'all lanes are faster by':^24} {'set-up':>7} "
        f"{'memory':>8} {'cores':>5} {'loss':>6}",
    ]
    for name, row in found["runners"].items():
        if "absent" in row:
            lines.append(f"{name:<24} {row['absent']}")
            continue
        lines.append(
            f"{name:<24} {interval(row['time'], 2):^24} {row['true_gflops']['median']:>8.1f} "
            f"{interval(row['all_lanes_faster_by'], 2):^24} {usage(row)}"
        )
    for name, row in found["runners"].items():
        if row.get("goal"):
            ratio = row["all_lanes_faster_by"]["median"]
            verdict = "reached" if ratio >= row["goal"] else "NOT reached"
            lines.append(f"  {ratio:.2f} times faster than {name}: {row['goal']:g} is {verdict}")
        if row.get("notes"):
            lines.append(f"  {name}: {'; '.join(row['notes'])}")
    alive = max(row.get("alive", 0.0) for row in found["runners"].values())
    lines.append(
        "Median (smallest to largest) over interleaved turns; ratios are formed within a turn. GFLOP/s of "
        "the dense products.\nLane by lane: one compiled program, every lane a run of its own, all cores for "
        "its products. PyTorch: masks applied after each step.\n"
        f"Largest pruned weight of any network: {alive:g}."
    )
    return "\n".join(lines)
