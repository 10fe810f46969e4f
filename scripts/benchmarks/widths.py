"""``benchmark.py widths``: networks of many widths, in shared programs by padding or in one each."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
from dataclasses import dataclass
from typing import Any

from benchmarks import machine
from benchmarks.text import add_repeats, announce, interval, positive, say
from benchmarks.timing import Hosted, spread
from benchmarks.width_runner import Sweep, WidthRunner

WIDTHS = "32,64,128,256,512,1024,2048,4096"
BUDGETS = "10,150,800"
APART, FEWEST, CHOSEN = "a program for each width", "fewest programs", "the plan's choice"
LARGEST_LOSS = 0.1
"""How much slower than the better way the plan's choice may be."""


@dataclass(frozen=True)
class Way:
    """One way to train the sweep.

    Attributes:
        names: What it is called; two, where the plan chooses an extreme.
        buckets: Widths that share a program.
        seconds: Predicted.
        wasted: Part of the arithmetic that is padding.
    """

    names: tuple[str, ...]
    buckets: tuple[tuple[int, ...], ...]
    seconds: float
    wasted: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``benchmark.py widths``."""
    parser.add_argument(
        "--widths", type=_numbers, default=_numbers(WIDTHS), metavar="W,...",
        help=f"widths of the 784-W-10 networks (default {WIDTHS})",
    )  # fmt: skip
    parser.add_argument(
        "--budgets", type=_numbers, default=_numbers(BUDGETS), metavar="N,...",
        help=f"updates of each network, from where compiling takes longest to where training does "
        f"(default {BUDGETS})",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=positive, default=4, help="networks of each width (default 4)"
    )
    parser.add_argument("--batch", type=_batch, default=128, help="batch size (default 128)")
    add_repeats(parser, 3)
    parser.add_argument(
        "--measure", action="store_true",
        help="measure instead what the committed table holds: seconds of an update and of compiling by "
        "width, beside what the table says",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, then print a table for each budget.

    Returns:
        Everything that was measured, ready for JSON.
    """
    widths, budgets, repeats = arguments.widths, arguments.budgets, arguments.repeats
    sweep = Sweep(widths, arguments.seeds, arguments.batch)
    if arguments.smoke:
        sweep, budgets, repeats = Sweep((4, 8), 1, 8, examples=32), (2,), 1
    description = machine.describe()
    warning = announce(description)
    found: dict[str, Any] = {"benchmark": "widths", "machine": description, "warning": warning,
                             "sweep": dataclasses.asdict(sweep)}  # fmt: skip
    host = Hosted("engine", [functools.partial(WidthRunner, sweep)])
    try:
        host.wait()
        host.setup()
        if arguments.measure:
            return found | {"measured": _measure(sweep, repeats, host)}
        found["budgets"] = [_compare(sweep, updates, repeats, host) for updates in budgets]
    finally:
        host.close()
    print(f"\n{_legend(repeats)}")
    return found


def ways(sweep: Sweep, updates: int) -> list[Way]:
    """Return the different ways to train a sweep; the plan's choice is last."""
    from implicit_bias.training.widths import planned

    chosen = sweep.plan(updates)
    fewest = planned(chosen.load, chosen.costs, programs=1)
    apart = planned(chosen.load, chosen.costs, programs=len(sweep.widths))
    named: dict[Any, list[str]] = {}
    plans = {APART: apart, FEWEST: fewest, CHOSEN: chosen}
    for name, plan in plans.items():
        named.setdefault(plan.buckets, []).append(name)
    return [
        Way(tuple(names), plans[names[0]].buckets, plans[names[0]].seconds, plans[names[0]].wasted)
        for names in named.values()
    ]


def _compare(sweep: Sweep, updates: int, repeats: int, host: Hosted) -> dict[str, Any]:
    """Time every way once a turn; each run compiles anew all that it needs."""
    say(f"measuring {len(sweep.widths)} widths x {sweep.seeds} seeds x {updates} updates ...")
    found = ways(sweep, updates)
    rows: list[dict[str, Any]] = [
        {**dataclasses.asdict(way), "walls": [], "cpu": []} for way in found
    ]
    for turn in range(repeats):
        # Ways take turns in going first, so that a slow stretch does not always meet the same one.
        for index in range(len(rows)):
            row = rows[(index + turn) % len(rows)]
            timing = host.run((updates, row["buckets"]))
            row["walls"].append(timing.wall)
            row["cpu"].append(timing.cpu)
            if turn == 0:
                row["square"] = host.report()["result"]["square"]
    for row in rows:
        row["wall"] = spread(row["walls"])
    (chosen,) = [row for row in rows if CHOSEN in row["names"]]
    # Ratios within a turn, to the better of the others; where the choice is itself the best, below 1.
    others = [row for row in rows if row is not chosen]
    ratios = [
        mine / min(row["walls"][turn] for row in others)
        for turn, mine in enumerate(chosen["walls"])
    ]
    result = {
        "updates": updates,
        "plan": sweep.plan(updates).describe(),
        "ways": rows,
        "choice_over_better": spread(ratios),
        "within": statistics.median(ratios) <= 1 + LARGEST_LOSS,
    }
    print(table(sweep, result))
    return result


def table(sweep: Sweep, result: dict[str, Any]) -> str:
    """Return the table of one budget as text."""
    lines = [
        "",
        f"{len(sweep.widths)} widths x {sweep.seeds} seeds x {result['updates']} updates, batch "
        f"{sweep.batch}",
        f"{'':<44} {'programs':>8} {'padding':>8} {'seconds':^22} {'predicted':>9} {'cores':>5}",
    ]
    for row in result["ways"]:
        cores = statistics.median(c / w for c, w in zip(row["cpu"], row["walls"], strict=True))
        lines.append(
            f"{' = '.join(row['names']):<44} {len(row['buckets']):>8} {row['wasted']:>8.0%} "
            f"{interval(row['wall'], 1):^22} {row['seconds']:>9.1f} {cores:>5.2f}"
        )
    verdict = "within" if result["within"] else "NOT within"
    lines += [
        f"the choice took {interval(result['choice_over_better'], 2)} times the better of the others: "
        f"{verdict} {LARGEST_LOSS:.0%}",
        f"plan: {result['plan']}",
    ]
    return "\n".join(lines)


def _legend(repeats: int) -> str:
    return (
        f"Median (smallest to largest) over {repeats} interleaved turns, in one process. Every run "
        "compiles all its programs anew, without the compilation cache,\nin a thread beside training "
        "as studies do. Padding: its part of the arithmetic of all matrix products. Ratios are formed "
        "within a turn."
    )


def _measure(sweep: Sweep, repeats: int, host: Hosted) -> list[dict[str, Any]]:
    """Print what the table should hold, width by width."""
    rows = []
    print(f"\n{'width':>6} {'update':>10} {'by table':>10} {'GFLOP/s':>8} {'compiling':>10}")
    for width in sweep.widths:
        parts = {}
        plan = dataclasses.replace(sweep, widths=(width,)).plan(1)
        update = plan.costs.update_seconds(
            plan.load.parameters(width), plan.load.operations(width), sweep.batch
        )
        many = max(2, round(1.0 / update))
        for updates in (1, many):
            timings = [host.run((updates, ((width,),), turn == 0)) for turn in range(repeats + 1)]
            parts[updates] = timings
        # Processor time: a machine that others use takes longer, but not more of it.
        ran = {n: min(t.cpu for t in timings[1:]) for n, timings in parts.items()}
        lanes = sweep.seeds
        seconds = (ran[many] - ran[1]) / (many - 1) / lanes
        row = {
            "width": width,
            "update_seconds": seconds,
            "update_seconds_by_table": update,
            "gflops": 1e-9 * plan.load.operations(width) * sweep.batch / seconds,
            "compile_seconds": min(t[0].cpu - min(s.cpu for s in t[1:]) for t in parts.values()),
        }
        rows.append(row)
        print(
            f"{width:>6} {1e6 * seconds:>7.0f} µs {1e6 * update:>7.0f} µs {row['gflops']:>8.0f} "
            f"{row['compile_seconds']:>8.1f} s"
        )
    print("Processor seconds of one core; the least of several runs. GFLOP/s of one core.")
    return rows


def _batch(text: str) -> int:
    number, most = positive(text), Sweep((), 1, 1).examples
    if number > most:
        raise argparse.ArgumentTypeError(f"{number} is above the {most} examples")
    return number


def _numbers(text: str) -> tuple[int, ...]:
    """Parse ``32,64``; increasing, each once."""
    try:
        numbers = tuple(positive(part) for part in text.split(","))
    except (ValueError, argparse.ArgumentTypeError):
        numbers = ()
    if not numbers or sorted(set(numbers)) != list(numbers):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of increasing whole numbers; write for example 32,64,128"
        )
    return numbers
