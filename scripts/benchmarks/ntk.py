"""``benchmark.py ntk``: tangent kernels of finite networks against the known tools."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.metadata
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.matrix_products import MatrixProductRunner
from benchmarks.ntk_problem import Problem
from benchmarks.ntk_runners import JaxNtk, NeuralTangents, OldNeuralTangents, TorchFuncNtk
from benchmarks.text import add_repeats, announce, interval, positive, say
from benchmarks.timing import Hosted, interleave, paired_ratios, spread, wait_for
from benchmarks.work import Work

OURS = "implicit-bias"
OLD = "neural_tangents 3, old JAX"
CEILING = "matrix products"
Rows = dict[str, dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``benchmark.py ntk``."""
    parser.add_argument("--lanes", type=positive, default=16, help="networks (default 16)")
    parser.add_argument("--images", type=positive, default=512, help="inputs (default 512)")
    parser.add_argument(
        "--rows",
        type=positive,
        default=64,
        help="rows that the others are timed on, in square blocks; divides the images (default 64)",
    )
    add_repeats(parser, 3)
    parser.add_argument(
        "--megabytes", type=positive, default=256, help="memory for a kernel of ours (default 256)"
    )
    parser.add_argument(
        "--old-python",
        metavar="PATH",
        help="a Python with an old JAX, such as 0.4.23, that runs neural_tangents' structured mode",
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, then print the table.

    Returns:
        Everything that was measured, ready for JSON.
    """
    description = machine.describe()
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        version = importlib.metadata.version("neural-tangents")
        description["versions"]["neural-tangents"] = version
    warning = announce(description)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.smoke:
            problem = Problem(
                folder, lanes=2, images=6, hidden=8, rows=3, batch=3, memory=2**20, drawn=True
            )
            repeats = 2
        else:
            rows = math.gcd(arguments.rows, arguments.images)
            problem = Problem(
                folder, arguments.lanes, arguments.images, rows=rows, batch=rows,
                memory=arguments.megabytes * 10**6,
            )  # fmt: skip
            repeats = arguments.repeats
        what = problem.make()
        rows_measured = _measure(problem, arguments.old_python, repeats)
        compared = _compare(problem, rows_measured)
    measured = {
        "data": what,
        "lanes": problem.lanes,
        "images": problem.images,
        "sizes": list(problem.sizes),
        "parameters": problem.parameters,
        "rows": problem.rows,
        "batch": problem.batch,
        "compared_images": compared,
    }
    print(table(rows_measured, measured))
    return {
        "benchmark": "ntk",
        "machine": description,
        "warning": warning,
        "problem": measured,
        "runners": rows_measured,
    }


def _measure(problem: Problem, old_python: str | None, repeats: int) -> Rows:
    """Time all runners in turns, and return their rows; seconds are those of a lane."""
    work = Work(lanes=1, hidden=1, batch=1)
    side = 256 if problem.hidden < 256 else 2048
    makers: dict[str, Any] = {
        CEILING: functools.partial(MatrixProductRunner, "jax", (side,), work),
        "neural_tangents 1": functools.partial(NeuralTangents, problem, 1),
        "neural_tangents 2": functools.partial(NeuralTangents, problem, 2),
        "torch.func": functools.partial(TorchFuncNtk, problem),
    }
    if old_python is not None:
        makers[OLD] = functools.partial(OldNeuralTangents, problem, old_python)
    makers[OURS] = functools.partial(JaxNtk, problem)
    started = {name: Hosted(name, [maker]) for name, maker in makers.items()}
    rows: Rows = {}
    try:
        hosts, absent = wait_for(started.values())
        rows |= {name: {"absent": reason} for name, reason in absent.items()}
        setup = {}
        for host in hosts:  # one after another: compiling beside a running peer would slow both
            say(f"setting up {host.name} ...")
            setup[host.name] = host.setup()
        say("measuring ...")
        timings = interleave(hosts, 1, repeats)
        ratios = paired_ratios(timings, OURS)
        # A run of ours is all lanes, one of the old JAX one lane, one of the others some rows of one.
        strip = problem.images / problem.rows
        for host in hosts:
            report = host.report()
            walls = [turn.wall for turn in timings[host.name]]
            if host.name == CEILING:
                rows[CEILING] = {"gflops": max(report["result"].values())}
                continue
            share = {OURS: 1 / problem.lanes, OLD: 1.0}.get(host.name, strip)
            ratio = ratios.get(host.name)
            rows[host.name] = {
                "timed_seconds": walls,
                "time": spread([share * wall for wall in walls]),
                "ours_faster_by": ratio
                and {key: value * share * problem.lanes for key, value in ratio.items()},
                "setup_seconds": setup[host.name],
                "cores_used": spread([turn.cpu / turn.wall for turn in timings[host.name]]),
                "peak_memory_bytes": report["memory"],
                "peak_device_memory_bytes": report["device_memory"],
                "notes": report["notes"],
                **report["result"],
            }
        own = rows[OURS]
        own["gflops"] = spread([own["flops"] / wall / 1e9 for wall in own["timed_seconds"]])
    finally:
        for host in started.values():
            host.close()
    return {name: rows[name] for name in started}


def _compare(problem: Problem, rows: Rows) -> int:
    """Add to each row its error, relative to the largest entry; return how many images count."""
    exact, clear = problem.exact()
    for name, row in rows.items():
        if (Path(problem.folder) / f"found-{name}.npz").exists():
            apart = np.abs(problem.read(f"found-{name}")["kernel"][: problem.rows] - exact)
            counted = apart[clear[: problem.rows]][:, clear]
            row["error"] = float(np.max(counted, initial=0) / np.max(np.abs(exact)))
    return int(np.sum(clear))


def table(rows: Rows, what: dict[str, Any]) -> str:
    """Return the comparison as text."""
    sizes = "-".join(map(str, what["sizes"]))
    lines = [
        f"\nTangent kernels, mean over outputs, of {what['lanes']} {sizes} ReLU networks "
        f"({what['parameters']} parameters) on {what['images']} images; data: {what['data']}.",
        f"{'':<27} {'seconds for a lane':^28} {'ours is faster by':^26} {'error':>8} "
        f"{'set-up':>8} {'memory':>8} {'cores':>5}",
    ]
    for name, row in rows.items():
        if "absent" in row:
            lines.append(f"{name:<27} {row['absent']}")
        elif name != CEILING:
            memory = row["peak_device_memory_bytes"] or row["peak_memory_bytes"]
            error = f"{row['error']:.1e}" if "error" in row else "-"
            lines.append(
                f"{name:<27} {interval(row['time'], 4):^28} "
                f"{interval(row['ours_faster_by'], 0):^26} {error:>8} "
                f"{row['setup_seconds']:>6.1f} s {memory / 2**20:>5.0f} MB "
                f"{row['cores_used']['median']:>5.2f}"
            )
    lines += [f"  {name}: {'; '.join(row['notes'])}" for name, row in rows.items()
              if row.get("notes")]  # fmt: skip
    own = rows[OURS]
    if "absent" not in own:
        ceiling = rows.get(CEILING, {}).get("gflops")
        lines.append(
            f"  {OURS}: {interval(own['gflops'], 0)} GFLOP/s"
            + (f" of {ceiling:.0f} in large matrix products" if ceiling else "")
            + f"; its process grew by {own['grown'] / 1e6:.0f} MB, compiler included, where "
            f"{own['budget'] / 1e6:.0f} MB are allowed for arrays ({own['temporary'] / 1e6:.0f} MB "
            "a device by XLA's own account)"
        )
    lines.append(
        f"\nMedian (smallest to largest) over interleaved turns; ratios are paired within a turn. Ours "
        f"ran all {what['lanes']} lanes at once; the\nold JAX ran one. Of the others, {what['rows']} of the "
        f"{what['images']} rows of one lane's kernel were timed, in blocks of {what['batch']} columns,\n"
        f"and their seconds multiplied by {what['images'] / what['rows']:g}. Error: the largest of "
        "\nthose entries against float64, relative to the largest entry, without the "
        f"{what['images'] - what['compared_images']} images that float32 puts on a kink.\n"
        "Memory: the process's largest, libraries included."
    )
    return "\n".join(lines)
