"""Runs in processes of their own, interleaved, and what their times say.

Every runner lives in its own process, so that thread pools, device settings and peak memory are
its own. The processes stay alive between runs: starting one, importing and compiling are never part
of a run. The driver asks one runner at a time, in turn, so that a slow stretch of the machine falls
on all of them alike, and ratios are formed within a turn.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol

from benchmarks.machine import peak_memory


class Runner(Protocol):
    """Something to be timed.

    A runner is made in its own process, and imports what it needs when it is made.
    """

    notes: list[str]

    def setup(self) -> None:
        """Make data and programs ready and run each program once."""

    def run(self, updates: int) -> None:
        """Do the work, and return when it is done, on a device too."""

    def result(self) -> dict[str, float]:
        """Return what the last run computed, for comparison between runners; not timed."""

    def device_memory(self) -> int | None:
        """Return the peak memory on an accelerator in bytes, or None."""


class Absent(Exception):
    """A runner cannot be made here; the message says why."""


@dataclass(frozen=True)
class Timing:
    """One run.

    Attributes:
        wall: Seconds from the request to the answer.
        cpu: Processor seconds used meanwhile by the runner's processes.
    """

    wall: float
    cpu: float


class Hosted:
    """A runner in one or several processes that run at the same time, each doing its part."""

    def __init__(self, name: str, makers: Sequence[Callable[[], Runner]]) -> None:
        """Start the processes; each makes its runner at once.

        Args:
            name: What the runner is called in tables.
            makers: One picklable function for each process, which makes its runner there.
        """
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._members: list[tuple[Any, Connection]] = []
        for maker in makers:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(maker, there), daemon=True)
            process.start()
            there.close()
            self._members.append((process, here))

    def wait(self) -> None:
        """Wait until the processes have made their runners.

        Raises:
            Absent: If the runner cannot be made here.
        """
        self._answers()

    def setup(self) -> float:
        """Set every process up, and return the seconds it took."""
        return max(self._ask("setup"))

    def run(self, updates: int) -> Timing:
        """Do one timed run."""
        began = time.perf_counter()
        cpu = self._ask("run", updates)
        return Timing(time.perf_counter() - began, sum(cpu))

    def report(self) -> dict[str, Any]:
        """Return results averaged, memory summed over the processes, and notes."""
        parts = self._ask("report")
        results = [part["result"] for part in parts]
        device = [part["device_memory"] for part in parts if part["device_memory"] is not None]
        return {
            "result": {
                key: statistics.fmean(result[key] for result in results) for key in results[0]
            },
            "memory": sum(part["memory"] for part in parts),
            "device_memory": sum(device) if device else None,
            "notes": list(dict.fromkeys(note for part in parts for note in part["notes"])),
        }

    def close(self) -> None:
        """End the processes."""
        for process, connection in self._members:
            connection.close()
            process.join(timeout=10)
            if process.is_alive():
                process.terminate()

    def _ask(self, *request: Any) -> list[Any]:
        for _, connection in self._members:
            connection.send(request)
        return self._answers()

    def _answers(self) -> list[Any]:
        replies = []
        for process, connection in self._members:
            try:
                replies.append(connection.recv())
            except EOFError:
                process.join(timeout=10)
                raise RuntimeError(
                    f"{self.name}: its process ended with status {process.exitcode}"
                ) from None
        for kind, value in replies:
            if kind == "absent":
                raise Absent(value)
            if kind == "failed":
                raise RuntimeError(f"{self.name} failed:\n{value}")
        return [value for _, value in replies]


def _serve(maker: Callable[[], Runner], connection: Connection) -> None:
    """Make a runner, then answer requests until the driver hangs up."""
    try:
        runner = maker()
        connection.send(("done", None))
        while True:
            try:
                request, *arguments = connection.recv()
            except EOFError:
                return
            connection.send(("done", _answer(runner, request, *arguments)))
    except Absent as reason:
        connection.send(("absent", str(reason)))
    except KeyboardInterrupt:
        return
    except Exception:
        connection.send(("failed", traceback.format_exc()))


def _answer(runner: Runner, request: str, *arguments: Any) -> Any:
    if request == "setup":
        began = time.perf_counter()
        runner.setup()
        return time.perf_counter() - began
    if request == "run":
        began = time.process_time()
        runner.run(*arguments)
        return time.process_time() - began
    return {
        "result": runner.result(),
        "memory": peak_memory(),
        "device_memory": runner.device_memory(),
        "notes": runner.notes,
    }


def wait_for(hosts: Iterable[Hosted]) -> tuple[list[Hosted], dict[str, str]]:
    """Wait until runners are made; return those that are, and by name why others cannot be."""
    present, absent = [], {}
    for host in hosts:
        try:
            host.wait()
            present.append(host)
        except Absent as reason:
            absent[host.name] = str(reason)
    return present, absent


def interleave(runners: Sequence[Hosted], updates: int, repeats: int) -> dict[str, list[Timing]]:
    """Run every runner once a turn, for ``repeats`` turns.

    Args:
        runners: Set up already.
        updates: Updates in a run.
        repeats: Turns.

    Returns:
        Timings by the runner's name, in order of turns.
    """
    timings: dict[str, list[Timing]] = {runner.name: [] for runner in runners}
    for _ in range(repeats):
        for runner in runners:
            timings[runner.name].append(runner.run(updates))
    return timings


class Turns(NamedTuple):
    """What runners that took turns left, by name.

    Attributes:
        updates: In a run.
        timings: In order of turns.
        setup: Seconds of setting up.
        reports: What each said at its end.
        absent: Why the others could not be made.
    """

    updates: int
    timings: dict[str, list[Timing]]
    setup: dict[str, float]
    reports: dict[str, dict[str, Any]]
    absent: dict[str, str]

    def walls(self, name: str) -> list[float]:
        """Return the seconds of a runner's runs."""
        return [timing.wall for timing in self.timings[name]]

    def use(self, name: str) -> dict[str, Any]:
        """Return what a runner used, as reports have it: time to set up, cores, memory; and its notes."""
        report = self.reports[name]
        return {
            "setup_seconds": self.setup[name],
            "cores_used": spread([timing.cpu / timing.wall for timing in self.timings[name]]),
            "peak_memory_bytes": report["memory"],
            "peak_device_memory_bytes": report["device_memory"],
            "notes": report["notes"],
        }


def take_turns(
    started: Mapping[str, Hosted], updates: Callable[[Sequence[Hosted]], int], repeats: int
) -> Turns:
    """Set up the runners that can be made, run them in turns, and end all.

    Args:
        started: By name, in the order of a turn.
        updates: From the runners, once they are set up, to the updates in a run.
        repeats: Turns.
    """
    try:
        hosts, absent = wait_for(started.values())
        setup = {host.name: host.setup() for host in hosts}
        count = updates(hosts)
        timings = interleave(hosts, count, repeats)
        reports = {host.name: host.report() for host in hosts}
    finally:
        for host in started.values():
            host.close()
    return Turns(count, timings, setup, reports, absent)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, smallest and largest value."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def paired_ratios(
    timings: Mapping[str, Sequence[Timing]], ours: str
) -> dict[str, dict[str, float]]:
    """Return how many times faster ``ours`` was than each other runner.

    Ratios are formed within a turn, between runs that were neighbours in time.

    Args:
        timings: As returned by :func:`interleave`.
        ours: Name of the runner in the numerator.

    Returns:
        By the other's name, median, smallest and largest ratio over the turns.
    """
    return {
        name: spread(
            [peer.wall / own.wall for peer, own in zip(theirs, timings[ours], strict=True)]
        )
        for name, theirs in timings.items()
        if name != ours
    }
