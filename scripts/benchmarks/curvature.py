"""``benchmark.py curvature``: Hessian eigenvalues and densities against the known tools."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.metadata
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks import machine
from benchmarks.curvature_peers import CurvlinopsEigsh, PyHessianDensity, PyHessianEigenvalues
from benchmarks.curvature_problem import CLASSES, FEATURES, Problem
from benchmarks.curvature_runners import JaxCurvature, Judge
from benchmarks.text import add_repeats, announce, interval, positive, say
from benchmarks.timing import Hosted, interleave, paired_ratios, spread, wait_for

OURS = "implicit-bias"
PARTS = ("eigenpairs", "networks", "density")
Rows = dict[str, dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``benchmark.py curvature``."""
    parser.add_argument(
        "--parts",
        type=_parts,
        default=PARTS,
        metavar="NAME,...",
        help=f"what to compare, comma-separated (default {','.join(PARTS)})",
    )
    add_repeats(parser, 5)
    parser.add_argument(
        "--networks", type=_at_least_two, default=16, help="networks at once (default 16)"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, then print a table for each part.

    Returns:
        Everything that was measured, ready for JSON.
    """
    description = machine.describe()
    description["versions"] |= _versions("scipy", "pyhessian", "curvlinops-for-pytorch")
    warning = announce(description)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.smoke:
            problem = Problem(
                folder, 100, 8, networks=2, updates=20, k=2, tol=1e-2, depth=6, drawn=True
            )
            repeats = 2
        else:
            problem = Problem(folder, networks=arguments.networks)
            repeats = arguments.repeats
        measured = _measure(problem, arguments.parts, repeats)
    return {"benchmark": "curvature", "machine": description, "warning": warning, **measured}


def _measure(problem: Problem, parts: Sequence[str], repeats: int) -> dict[str, Any]:
    """Train, measure the parts one after another, judge, and print."""
    judge = Hosted("judge", [functools.partial(Judge, problem)])
    try:
        judge.wait()
        say("training the networks ...")
        judge.setup()
        timed = {}
        for part in parts:
            say(f"measuring {part} ...")
            timed[part] = _part(_makers(problem, part), repeats)
        say("judging what was found ...")
        report = judge.report()
    finally:
        judge.close()
    judged = report["result"]
    what = {
        "data": report["notes"][0],
        "examples": problem.examples,
        "hidden": problem.hidden,
        "parameters": problem.dimension,
        "networks": problem.networks,
        "k": problem.k,
        "tol": problem.tol,
        "probes": problem.probes,
        "depth": problem.depth,
        "training_loss": judged["loss"],
        "training_error": judged["error"],
        "reference": [judged[f"reference.{i}"] for i in range(problem.k)],
    }
    for name, row in timed.get("eigenpairs", {}).items():
        for kind in ("residual", "error"):
            if "absent" not in row:
                row[kind] = [judged[f"{name}.{kind}.{i}"] for i in range(problem.k)]
    print(heading(what))
    tables = {"eigenpairs": eigenpairs_table, "networks": networks_table, "density": density_table}
    for part, rows in timed.items():
        print(tables[part](rows, what))
    print(LEGEND)
    return {"problem": what, "parts": timed}


def _makers(problem: Problem, part: str) -> dict[str, Any]:
    """Return by name what makes each runner of a part; ours is timed last in a turn."""
    if part == "networks":
        return {
            "one after another": functools.partial(JaxCurvature, problem, "in turn"),
            OURS: functools.partial(JaxCurvature, problem, "at once"),
        }
    if part == "density":
        return {
            "pyhessian": functools.partial(PyHessianDensity, problem),
            OURS: functools.partial(JaxCurvature, problem, "density"),
        }
    return {
        "pyhessian": functools.partial(PyHessianEigenvalues, problem, equal=False),
        "pyhessian equal residual": functools.partial(PyHessianEigenvalues, problem, equal=True),
        "eigsh over curvlinops": functools.partial(CurvlinopsEigsh, problem),
        OURS: functools.partial(JaxCurvature, problem, "one"),
    }


def _part(makers: dict[str, Any], repeats: int) -> Rows:
    """Time the runners of one part in turns, and return their rows."""
    started = {name: Hosted(name, [maker]) for name, maker in makers.items()}
    rows: Rows = {}
    try:
        hosts, absent = wait_for(started.values())
        rows |= {name: {"absent": reason} for name, reason in absent.items()}
        # One after another: compiling beside a running peer would slow both.
        setup = {host.name: host.setup() for host in hosts}
        timings = interleave(hosts, 1, repeats)
        ratios = paired_ratios(timings, OURS)
        for host in hosts:
            report = host.report()
            turns = timings[host.name]
            rows[host.name] = {
                "seconds": [turn.wall for turn in turns],
                "time": spread([turn.wall for turn in turns]),
                "ours_faster_by": ratios.get(host.name),
                "setup_seconds": setup[host.name],
                "cores_used": spread([turn.cpu / turn.wall for turn in turns]),
                "peak_memory_bytes": report["memory"],
                "peak_device_memory_bytes": report["device_memory"],
                "notes": report["notes"],
                **report["result"],
            }
    finally:
        for host in started.values():
            host.close()
    return {name: rows[name] for name in started}


def heading(what: dict[str, Any]) -> str:
    """Return what was measured, as text."""
    values = ", ".join(f"{value:.5g}" for value in what["reference"])
    return (
        f"\n{FEATURES}-{what['hidden']}-{CLASSES} network ({what['parameters']} parameters), mean "
        f"cross-entropy over {what['examples']} examples; data: {what['data']}.\n"
        f"Trained to loss {what['training_loss']:.3g}, error {what['training_error']:.3g}. "
        f"Largest Hessian eigenvalues (float64, residual 1e-9): {values}."
    )


def eigenpairs_table(rows: Rows, what: dict[str, Any]) -> str:
    """Return the comparison of eigenpairs as text."""
    lines = [
        "",
        f"Top {what['k']} eigenpairs of one network, residual {what['tol']:g} of the largest value",
        f"{'':<25} {'seconds':^24} {'ours is faster by':^22} {'products':>8} {'residual':>8} "
        f"{'error':>8} {'set-up':>8} {'memory':>8} {'cores':>5}",
    ]
    for name, row in rows.items():
        if "absent" in row:
            lines.append(f"{name:<25} {row['absent']}")
            continue
        error = max(row["error"], key=abs)
        lines.append(
            f"{name:<25} {interval(row['time'], 3):^24} {interval(row['ours_faster_by'], 2):^22} "
            f"{row['products']:>8.0f} {max(row['residual']):>8.1e} {error:>+8.0e} {_machine(row)}"
        )
    for name, row in rows.items():
        if "absent" not in row:
            errors = ", ".join(f"{error:+.1e}" for error in row["error"])
            lines.append(f"  {name}: {'; '.join(row['notes'])}; errors {errors}")
    return "\n".join(lines)


def networks_table(rows: Rows, what: dict[str, Any]) -> str:
    """Return the time of many networks against that of one, as text."""
    count = what["networks"]
    lines = [
        "",
        f"The same for {count} networks of other seeds: one after another on all cores, and at once",
        f"{'':<25} {'seconds':^24} {'at once, times of one':^22} {'products':>8} {'set-up':>8} "
        f"{'memory':>8} {'cores':>5}",
    ]
    for name, row in rows.items():
        faster = row["ours_faster_by"]
        # Of one network: the mean over all of them, as their products differ in number.
        of_one = faster and spread([count / faster[key] for key in ("median", "min", "max")])
        lines.append(
            f"{'at once' if name == OURS else name:<25} {interval(row['time'], 2):^24} "
            f"{interval(of_one, 2):^22} {row['products']:>8.1f} {_machine(row)}"
        )
    return "\n".join(lines)


def density_table(rows: Rows, what: dict[str, Any]) -> str:
    """Return the comparison of spectral densities as text."""
    lines = [
        "",
        f"Spectral density of one network, {what['probes']} probes of depth {what['depth']}",
        f"{'':<25} {'seconds':^24} {'ours is faster by':^22} {'products':>8} {'trace':>7} "
        f"{'largest node':>12} {'set-up':>8} {'memory':>8} {'cores':>5}",
    ]
    for name, row in rows.items():
        if "absent" in row:
            lines.append(f"{name:<25} {row['absent']}")
            continue
        lines.append(
            f"{name:<25} {interval(row['time'], 3):^24} {interval(row['ours_faster_by'], 2):^22} "
            f"{row['products']:>8.0f} {row['trace']:>7.3g} {row['largest_node']:>12.5g} "
            f"{_machine(row)}"
        )
    lines += [
        f"  {name}: {'; '.join(row['notes'])}" for name, row in rows.items() if "absent" not in row
    ]
    return "\n".join(lines)


LEGEND = (
    "\nMedian (smallest to largest) over interleaved turns; ratios are paired within a turn. Products "
    "are Hessian-vector products\n(mean over networks). Residual: the largest true |Hv - λv| of all "
    "vectors over the largest eigenvalue; error: of the worst value,\nlikewise relative, in the order "
    "the tool gives them; both judged in float64. Set-up: placing data, compiling, a first run,\nand "
    "for a peer brought to the residual the search for its tolerance. A time includes the first "
    "gradient or primal pass."
)


def _machine(row: dict[str, Any]) -> str:
    """Return the columns of set-up, memory and cores."""
    memory = row["peak_device_memory_bytes"] or row["peak_memory_bytes"]
    return (
        f"{row['setup_seconds']:>6.1f} s {memory / 2**20:>5.0f} MB "
        f"{row['cores_used']['median']:>5.2f}"
    )


def _versions(*packages: str) -> dict[str, str | None]:
    """Return the versions of installed packages, None for others."""
    versions: dict[str, str | None] = dict.fromkeys(packages)
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _parts(text: str) -> tuple[str, ...]:
    """Parse ``eigenpairs,density``."""
    parts = tuple(text.split(","))
    for part in parts:
        if part not in PARTS:
            raise argparse.ArgumentTypeError(f"part {part!r} is not one of {', '.join(PARTS)}")
    return parts


def _at_least_two(text: str) -> int:
    if positive(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 2")
    return int(text)
