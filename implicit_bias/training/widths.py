"""The plan of widths: which of them share a program by padding, and which have one of their own.

A program takes seconds to compile, and padding takes arithmetic. The widths of a sweep, sorted, are
cut into buckets of neighbours; the lanes of a bucket run in one program at its largest width
(``models.Padded``). Which cut is best is decided from a committed table (``table.COSTS``), by
dynamic programming over the number of buckets and the first width of each: exact for the prediction
below. It depends on its arguments and that table alone, so that a run that is resumed or sharded
cuts as before.

The prediction. Programs are trained from the widest to the narrowest, while a thread compiles those
to come. Let c be the seconds of a compilation, T_1 … T_n those of training (on the device that has
the most to do), and s the part of a second that either loses for each second that both run, as they
share cores. Training takes less and less time, so that one of two waits for the other throughout,

    seconds = max(c + ΣT + s·(n − 1)·c,  n·c + T_n + s·(ΣT − T_n)):

training is never without a program after the first, or compiling never pauses and the narrowest
program is trained at its end. Without sharing (s = 0) that is exact; s = 1 is compiling and training
in turn, as ``training.train`` does.

Padding may waste half of a bucket's arithmetic and no more: of the matrix products' operations in all
updates of the bucket's lanes at its width, at least half are those of the lanes' true networks.
"""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import jax

from implicit_bias.arguments import whole_number
from implicit_bias.errors import UserError
from implicit_bias.models.base import Model
from implicit_bias.models.dense import Dense
from implicit_bias.models.width import WIDTH, Padded
from implicit_bias.training import table
from implicit_bias.training.recipe import Lane, Recipe

LARGEST_WASTE = 0.5
"""Part of a bucket's arithmetic that padding may take."""

Bucket = tuple[int, ...]
"""Neighbouring widths, increasing, that run at the last of them."""


@dataclass(frozen=True)
class Load:
    """What is trained at every width.

    Attributes:
        dense: A network of the sweep, of any widths.
        inputs: Features of one input.
        batch_size: Examples in an update.
        gradients: Gradients in an update (``Optimizer.gradients``).
        updates: By width, the updates of each of its lanes.
    """

    dense: Dense
    inputs: int
    batch_size: int
    gradients: float
    updates: Mapping[int, tuple[int, ...]]

    def parameters(self, width: int) -> int:
        """Return the number of parameters of the network of a width."""
        sizes = (self.inputs, *(width for _ in self.dense.widths), self.dense.outputs)
        biases = sum(sizes[1:]) if self.dense.bias else 0
        return sum(a * b for a, b in itertools.pairwise(sizes)) + biases

    def operations(self, width: int) -> float:
        """Return the operations of matrix products in one gradient, for each example.

        Six for each weight: two each for the outputs, the weights' gradient and the inputs' gradient,
        of which the first layer needs none.
        """
        biases = len(self.dense.widths) * width + self.dense.outputs if self.dense.bias else 0
        return 6.0 * (self.parameters(width) - biases) - 2.0 * self.inputs * width

    def true_gflop(self, bucket: Bucket) -> float:
        """Return the 10⁹ operations of a bucket's lanes at their own widths."""
        return sum(self._gflop(width, width) for width in bucket)

    def padded_gflop(self, bucket: Bucket) -> float:
        """Return the 10⁹ operations of a bucket's lanes at the bucket's width."""
        return sum(self._gflop(width, bucket[-1]) for width in bucket)

    def _gflop(self, width: int, at: int) -> float:
        updates = sum(self.updates[width])
        return 1e-9 * self.operations(at) * self.batch_size * self.gradients * updates

    def wasted(self, bucket: Bucket) -> float:
        """Return the part of a bucket's arithmetic that padding takes, 0 to 1."""
        return 1 - self.true_gflop(bucket) / self.padded_gflop(bucket)

    def seconds(self, bucket: Bucket, costs: table.Costs) -> float:
        """Return the expected time of training a bucket's lanes, without compiling."""
        lanes = sorted((n for width in bucket for n in self.updates[width]), reverse=True)
        mine = lanes[:: costs.devices]  # lanes are dealt to devices in turn, the longest first
        parameters = self.parameters(bucket[-1])
        update = self.gradients * costs.update_seconds(
            parameters, self.operations(bucket[-1]), self.batch_size
        )
        return sum(mine) * update + len(mine) * costs.lane_seconds(parameters)


@dataclass(frozen=True)
class WidthPlan:
    """Widths cut into programs, with what that costs.

    Attributes:
        load: What is trained.
        costs: The table by which it was decided.
        buckets: The cut, from the narrowest to the widest.
        seconds: Predicted time of compiling and training.
        seconds_apart: The same with a program for each width.
    """

    load: Load
    costs: table.Costs
    buckets: tuple[Bucket, ...]
    seconds: float
    seconds_apart: float

    @property
    def true_gflop(self) -> float:
        """10⁹ operations of the true networks."""
        return sum(map(self.load.true_gflop, self.buckets))

    @property
    def padded_gflop(self) -> float:
        """10⁹ operations that are carried out."""
        return sum(map(self.load.padded_gflop, self.buckets))

    @property
    def wasted(self) -> float:
        """Part of all arithmetic that padding takes, 0 to 1; in no bucket above a half."""
        return 1 - self.true_gflop / self.padded_gflop

    def bucket(self, width: int) -> Bucket:
        """Return the widths that share a program with this one.

        Raises:
            UserError: When the width is not in the plan.
        """
        for bucket in self.buckets:
            if width in bucket:
                return bucket
        raise UserError(f"width {width!r} is not in the plan; it has {_listed(self.load.updates)}")

    def model(self, width: int) -> Model:
        """Return the network for the recipe of this width's lanes: padded, or plain where alone."""
        bucket = self.bucket(width)
        dense = self.load.dense
        widest = replace(dense, widths=(bucket[-1],) * len(dense.widths))
        return widest if len(bucket) == 1 else Padded(widest)

    def settings(self, width: int) -> dict[str, float]:
        """Return the traced settings that ``model(width)`` needs in a lane, none for a plain one."""
        return {WIDTH: width} if len(self.bucket(width)) > 1 else {}

    def describe(self) -> str:
        """Return one line: the programs, what padding wastes, and why."""
        shared = [bucket for bucket in self.buckets if len(bucket) > 1]
        widths, programs = len(self.load.updates), len(self.buckets)
        each = f"{self.costs.compile_seconds:.1f} s to compile each"
        if not shared:
            why = (
                "padding would cost more than it saves"
                if self._could_share()
                else "no two of these widths may share one"
            )
            return (
                f"{widths} widths, each in a program of its own ({each}, "
                f"about {self.seconds:.0f} s in all): {why}"
            )
        rooms = "; ".join(f"{_listed(bucket)} at {bucket[-1]}" for bucket in shared)
        return (
            f"{widths} widths in {programs} program{'s' if programs > 1 else ''}, padded: {rooms}; "
            f"{100 * self.wasted:.0f} % of {self.padded_gflop:.3g} GFLOP is padding; about "
            f"{self.seconds:.0f} s in all, {self.seconds_apart:.0f} s with a program for each width "
            f"({each}{'' if self.costs.sharing >= 1 else ', beside training'})"
        )

    def _could_share(self) -> bool:
        return any(self.load.wasted(pair) <= LARGEST_WASTE
                   for pair in itertools.pairwise(sorted(self.load.updates)))  # fmt: skip


def bucketed(
    dense: Dense,
    widths: Sequence[int],
    *,
    inputs: int,
    lanes: int | Mapping[int, int],
    updates: int | Mapping[int, int],
    batch_size: int,
    gradients: float = 1,
    costs: table.Costs | None = None,
) -> WidthPlan:
    """Decide which widths share a compiled program.

    A study puts ``plan.model(width)`` into the recipe of each width's lanes and adds
    ``plan.settings(width)`` to their settings. A padded lane and a plain one are different lanes to
    the store of finished work, although they compute the same.

    Args:
        dense: The network: everything but its widths, of which only the number counts.
        widths: Widths of all hidden layers, in any order.
        inputs: Features of one input.
        lanes: Lanes of each width.
        updates: Updates of each lane.
        batch_size: Examples in an update.
        gradients: Gradients in an update (``Optimizer.gradients``).
        costs: What things cost; by default the committed table's row for this backend. Change
            ``compile_seconds`` where programs that measure are compiled too, or to 0 where all are in
            the compilation cache; then keep it, as the cut decides which lanes there are.

    Returns:
        The cut of least predicted time; of equals, one with fewer programs.

    Raises:
        UserError: For widths that repeat or are no whole numbers, another network than a dense one
            with hidden layers, numbers below 1, or costs that are none.
    """
    if not isinstance(dense, Dense):
        raise UserError(
            f"the network is of type {type(dense).__name__}, but only dense ones are padded; give a "
            "Dense"
        )
    if not isinstance(widths, Iterable):
        raise UserError(f"widths is {widths!r}; give a list of whole numbers")
    if costs is not None and not isinstance(costs, table.Costs):
        raise UserError(
            f"costs is of type {type(costs).__name__}; give training.table.Costs, or None for this "
            "backend's"
        )
    number = isinstance(gradients, numbers.Real) and not isinstance(gradients, bool)
    if not number or not 0 < gradients < math.inf:
        raise UserError(f"gradients is {gradients!r}; choose a finite number > 0")
    widths = sorted(whole_number("a width", width, 1) for width in widths)
    if not widths or len(set(widths)) < len(widths):
        raise UserError(f"widths are {_listed(widths) or 'none'}; give at least one, each once")
    if not dense.widths:
        raise UserError("the network has no hidden layers, so no width; give one that has some")
    each = {
        width: (whole_number("updates", _of(updates, width), 1),)
        * whole_number("lanes", _of(lanes, width), 1)
        for width in widths
    }
    inputs = whole_number("inputs", inputs, 1)
    batch_size = whole_number("batch_size", batch_size, 1)
    load = Load(dense, inputs, batch_size, gradients, each)
    return planned(load, table.costs(jax.default_backend()) if costs is None else costs)


def planned(load: Load, costs: table.Costs, programs: int | None = None) -> WidthPlan:
    """Return the cut of least predicted time.

    Args:
        load: What is trained.
        costs: What things cost.
        programs: Number of programs, instead of the best; where that few cannot be, as few as can.
    """
    widths = tuple(sorted(load.updates))
    buckets = _best_cut(
        widths,
        lambda bucket: load.seconds(bucket, costs),
        lambda bucket: load.wasted(bucket) <= LARGEST_WASTE,
        costs,
        programs,
    )
    apart = tuple((width,) for width in widths)
    return WidthPlan(
        load, costs, buckets, predicted(load, buckets, costs), predicted(load, apart, costs)
    )


def predicted(load: Load, buckets: Sequence[Bucket], costs: table.Costs) -> float:
    """Return the predicted seconds of a cut, from the narrowest bucket to the widest."""
    training = [load.seconds(bucket, costs) for bucket in buckets]
    return _makespan(len(training), training[0], sum(training[1:]), costs)


def padding_reasons(groups: Mapping[Recipe, Sequence[Lane]], inputs: int) -> tuple[str, ...]:
    """Say of each program with padded lanes what padding wastes there, one line each.

    Args:
        groups: The lanes of each program.
        inputs: Features of one input.
    """
    lines = []
    for recipe, lanes in groups.items():
        if not isinstance(recipe.model, Padded):
            continue
        updates: dict[int, tuple[int, ...]] = {}
        for lane in lanes:
            width = int(lane.values[WIDTH])
            updates[width] = (*updates.get(width, ()), lane.updates)
        full = recipe.model.width
        load = Load(recipe.model.dense, inputs, recipe.batch_size, recipe.optimizer.gradients,
                    {full: (), **updates})  # fmt: skip
        costs, bucket = table.costs(jax.default_backend()), tuple(sorted(load.updates))
        apart = [(width,) for width in sorted(updates)]
        lines.append(
            f"padding: {'width' if len(apart) == 1 else 'widths'} {_listed(sorted(updates))} in one "
            f"program at {full}: {100 * load.wasted(bucket):.0f} % of its arithmetic is padding; "
            f"with compiling about {predicted(load, (bucket,), costs):.0f} s, "
            f"{predicted(load, apart, costs):.0f} s in "
            + ("its own program" if len(apart) == 1 else f"{len(apart)} programs")
        )
    return tuple(lines)


def _makespan(n: int, narrowest: float, others: float, costs: table.Costs) -> float:
    compiling, share = costs.compile_seconds, costs.sharing
    trained = compiling + others + narrowest + share * (n - 1) * compiling
    compiled = n * compiling + narrowest + share * others
    return max(trained, compiled)


def _best_cut(
    widths: Bucket,
    seconds: Callable[[Bucket], float],
    allowed: Callable[[Bucket], bool],
    costs: table.Costs,
    programs: int | None,
) -> tuple[Bucket, ...]:
    """Return the cut of least makespan.

    For a number n of buckets the makespan grows with the training time of all but the narrowest, given
    that one: of these, the least is found from the widest down, one bucket after another.
    """
    end = len(widths)
    # least[n][i]: least training time of widths[i:] in n buckets, and those buckets.
    least: list[dict[int, tuple[float, tuple[Bucket, ...]]]] = [{end: (0.0, ())}]
    found: list[tuple[float, int, tuple[Bucket, ...]]] = []
    for n in range(1, end + 1):
        level: dict[int, tuple[float, tuple[Bucket, ...]]] = {}
        for start in range(end - n, -1, -1):
            for stop in range(start + 1, end + 1):
                bucket = widths[start:stop]
                if stop not in least[-1] or not allowed(bucket):
                    continue
                rest, cut = least[-1][stop]
                mine = seconds(bucket)
                if start == 0:
                    found.append((_makespan(n, mine, rest, costs), n, (bucket, *cut)))
                if start not in level or mine + rest < level[start][0]:
                    level[start] = (mine + rest, (bucket, *cut))
        least.append(level)
    if programs is not None:
        enough = [entry for entry in found if entry[1] >= programs]
        fewest = min(entry[1] for entry in enough)
        found = [entry for entry in enough if entry[1] == fewest]
    return min(found, key=lambda entry: entry[:2])[2]


def _of(given: int | Mapping[int, int], width: int) -> object:
    if not isinstance(given, Mapping):
        return given
    if width not in given:
        raise UserError(f"width {width} has no entry among {_listed(given)}; give one")
    return given[width]


def _listed(widths: object) -> str:
    return ", ".join(map(str, widths))  # type: ignore[call-overload]
