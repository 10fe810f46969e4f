"""``benchmark.py engine``: the training engine against what PyTorch users do."""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import machine
from benchmarks.engine_runner import EngineRunner
from benchmarks.matrix_products import MatrixProductRunner
from benchmarks.text import add_precision, add_repeats, announce, interval, positive, say, usage
from benchmarks.timing import Hosted, interleave, paired_ratios, spread, take_turns, wait_for
from benchmarks.torch_runners import PyTorchRunner, TorchFuncRunner
from benchmarks.work import CLASSES, FEATURES, Work, halves

OURS = "engine"
SHAPES = "8x100x32,16x100x128,16x512x128"
PRODUCT_SIZES = (512, 1024, 2048)
CALIBRATION_UPDATES = 20


@dataclass(frozen=True)
class Settings:
    """What one call of the benchmark measures.

    Attributes:
        works: Shapes.
        repeats: Turns of the interleaved runs.
        seconds: Aim for the length of the slowest runner's run.
        updates: Updates in a run, instead of the aim in seconds.
        product_sizes: Sides of the matrix products that give the ceiling.
    """

    works: tuple[Work, ...]
    repeats: int
    seconds: float
    updates: int | None
    product_sizes: tuple[int, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``benchmark.py engine``."""
    parser.add_argument(
        "--shapes",
        type=_shapes,
        default=_shapes(SHAPES),
        metavar="LxHxB,...",
        help=f"lanes x hidden units x batch size, comma-separated (default {SHAPES})",
    )
    add_repeats(parser, 5)
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=12.0,
        help="aim for the slowest runner's run; decides the number of updates (default 12: starting a run "
        "is then a small part of it)",
    )
    parser.add_argument("--updates", type=positive, help="updates in a run, instead of --seconds")
    add_precision(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, then print a table for each shape.

    Returns:
        Everything that was measured, ready for JSON.
    """
    if arguments.smoke:
        settings = Settings((Work(2, 8, 16, examples=64),), 2, 0.0, 3, (256,))
    else:
        works = tuple(
            Work(lanes, hidden, batch, precision=arguments.precision)
            for lanes, hidden, batch in arguments.shapes
        )
        settings = Settings(
            works, arguments.repeats, arguments.seconds, arguments.updates, PRODUCT_SIZES
        )
    description = machine.describe()
    warning = announce(description)

    say("measuring matrix products ...")
    ceiling = _Ceiling(settings)
    ceiling.measure()
    shapes = []
    for work in settings.works:
        say(f"measuring {work.lanes} x {work.hidden} x {work.batch} ...")
        shapes.append(_measure(work, settings))
    # Once more at the end: the best of both ends is the ceiling.
    ceiling.measure()
    peaks = ceiling.close()
    peak = max(max(sizes.values()) for sizes in peaks.values())
    for shape in shapes:
        for row in shape["runners"].values():
            if "gflops" in row:
                row["fraction_of_peak"] = row["true_gflops"]["median"] / peak
        print(table(shape))
    print(ceiling_text(peaks))
    return {
        "benchmark": "engine",
        "machine": description,
        "warning": warning,
        "matrix_products_gflops": peaks,
        "peak_gflops": peak,
        "shapes": shapes,
    }


class _Ceiling:
    """The fastest matrix product of either library, measured at both ends of the benchmark."""

    def __init__(self, settings: Settings) -> None:
        sizes, work = settings.product_sizes, settings.works[0]
        makers = {
            library: functools.partial(MatrixProductRunner, library, sizes, work)
            for library in ("jax", "torch")
        }
        self._started = [Hosted(name, [maker]) for name, maker in makers.items()]
        self._hosts, _ = wait_for(self._started)
        for host in self._hosts:
            host.setup()

    def measure(self) -> None:
        for host in self._hosts:
            host.run(1)

    def close(self) -> dict[str, dict[str, float]]:
        peaks = {host.name: host.report()["result"] for host in self._hosts}
        for host in self._started:
            host.close()
        return peaks


def _makers(work: Work) -> dict[str, list[Any]]:
    """Return by name the processes each runner consists of; ours is timed last in a turn."""
    return {
        "pytorch": [functools.partial(PyTorchRunner, work)],
        "pytorch_one_thread": [functools.partial(PyTorchRunner, work, threads=1)],
        "pytorch_two_processes": [
            functools.partial(PyTorchRunner, half, threads=1) for half in halves(work)
        ],
        "torch_func_vmap": [functools.partial(TorchFuncRunner, work)],
        OURS: [functools.partial(EngineRunner, work)],
    }


def _measure(work: Work, settings: Settings) -> dict[str, Any]:
    """Measure all runners on one shape."""
    started = {name: Hosted(name, makers) for name, makers in _makers(work).items()}
    turns = take_turns(
        started,
        lambda hosts: settings.updates or _calibrated(hosts, settings.seconds),
        settings.repeats,
    )
    updates, ratios = turns.updates, paired_ratios(turns.timings, OURS)
    rows: dict[str, dict[str, Any]] = {}
    for name in started:
        if name in turns.absent:
            rows[name] = {"absent": turns.absent[name]}
            continue
        walls = turns.walls(name)
        rows[name] = {
            "seconds": walls,
            "gflops": spread([1e-9 * updates * work.nominal_flops() / wall for wall in walls]),
            "true_gflops": spread([1e-9 * updates * work.true_flops() / wall for wall in walls]),
            "engine_speedup": ratios.get(name),
            "loss": turns.reports[name]["result"]["loss"],
            **turns.use(name),
        }
    xla_flops = turns.reports[OURS]["result"]["xla_flops"]
    return {
        "lanes": work.lanes,
        "hidden": work.hidden,
        "batch": work.batch,
        "updates": updates,
        "flops_per_update": {
            "nominal": work.nominal_flops(),
            "true": work.true_flops(),
            "xla": xla_flops,
            "xla_over_true": xla_flops / work.true_flops(),
        },
        "runners": rows,
    }


def _calibrated(hosts: Sequence[Hosted], seconds: float) -> int:
    """Return the number of updates that takes the slowest runner about ``seconds``."""
    trials = interleave(hosts, CALIBRATION_UPDATES, 2)
    # The faster of two trials: a hiccup must not shorten every run after it.
    slowest = max(min(trial.wall for trial in pair) for pair in trials.values())
    return max(CALIBRATION_UPDATES, 10 * math.ceil(CALIBRATION_UPDATES * seconds / slowest / 10))


def table(shape: dict[str, Any]) -> str:
    """Return the table of one shape as text."""
    flops = shape["flops_per_update"]
    lines = [
        "",
        f"{shape['lanes']} lanes x {FEATURES}-{shape['hidden']}-{CLASSES} x batch "
        f"{shape['batch']}, {shape['updates']} updates a run",
        f"operations of an update of all lanes: nominal {flops['nominal']:.4g}, "
        f"true {flops['true']:.4g}, by XLA {flops['xla']:.4g} "
        f"({100 * (flops['xla_over_true'] - 1):+.1f} % of true: element-wise work)",
        f"{'':<22} {'GFLOP/s nominal':^22} {'true':>6} {'of peak':>7} {'engine is faster by':^22} "
        f"{'set-up':>7} {'memory':>8} {'cores':>5} {'loss':>6}",
    ]
    for name, row in shape["runners"].items():
        if "absent" in row:
            lines.append(f"{name:<22} {row['absent']}")
            continue
        lines.append(
            f"{name:<22} {interval(row['gflops'], 1):^22} {row['true_gflops']['median']:>6.1f} "
            f"{row['fraction_of_peak']:>7.1%} {interval(row['engine_speedup'], 2):^22} "
            f"{usage(row)}"
        )
    for name, row in shape["runners"].items():
        if row.get("notes"):
            lines.append(f"  {name}: {'; '.join(row['notes'])}")
    return "\n".join(lines)


def ceiling_text(peaks: dict[str, dict[str, float]]) -> str:
    """Return the matrix products' speeds, and what the columns mean, as text."""
    names = {"jax": "jnp.dot", "torch": "torch.mm"}
    products = "; ".join(
        f"{names[library]} " + ", ".join(f"{size}²: {speed:.0f}" for size, speed in sizes.items())
        for library, sizes in peaks.items()
    )
    best, library = max((max(sizes.values()), library) for library, sizes in peaks.items())
    return (
        f"\nMatrix products on all cores, best GFLOP/s: {products}. Peak: {best:.0f} "
        f"({names[library]}).\n"
        "Median (smallest to largest) over interleaved turns; speed-ups are paired within a turn. "
        "'of peak' is true GFLOP/s over the peak.\nSet-up: placing data, compiling and a first "
        "run. Memory: largest resident size of the runner's own process(es), "
        "or of its device. Cores: processor time over wall time.\nLoss: mean training loss after "
        "a run, as a check that all runners do the same work."
    )


def _shapes(text: str) -> tuple[tuple[int, int, int], ...]:
    """Parse ``8x100x32,16x100x128``."""
    shapes = []
    for part in text.split(","):
        try:
            lanes, hidden, batch = (positive(number) for number in part.split("x"))
        except (ValueError, argparse.ArgumentTypeError):
            raise argparse.ArgumentTypeError(
                f"shape {part!r} is not LANESxHIDDENxBATCH; write for example 8x100x32"
            ) from None
        if batch > Work(1, 1, 1).examples:
            raise argparse.ArgumentTypeError(
                f"the batch size in {part!r} is above the {Work(1, 1, 1).examples} examples"
            )
        shapes.append((lanes, hidden, batch))
    return tuple(shapes)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value
