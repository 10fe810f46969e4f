"""What a person at the keyboard sees: lines, tables, progress."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any, TextIO

from implicit_bias.results.table import Table, plain, to_text

LINE_SECONDS = 15.0
"""Where there is no terminal, progress is a line at most this often, so that logs stay short."""


class Screen:
    """Where lines and tables for a person go.

    Args:
        stream: Where to write; None says nothing.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.first: list[str] = []

    def say_first(self, text: str) -> None:
        """Keep lines until there is something to head: bad input is to be one line and no more."""
        self.first.append(text)

    def say(self, text: str = "") -> None:
        """Write lines, in letters that the stream can show."""
        lines, self.first = [*self.first, text], []
        if self.stream is not None:
            # At once: in a log it stands between lines of progress from another stream.
            shown = plain("\n".join(lines), self.stream.encoding)
            print(shown, file=self.stream, flush=True)

    def show(self, table: Table) -> None:
        """Write a table, and an empty line after it."""
        if self.stream is not None:
            # A log is read with a pager: it need not be squeezed into 80 columns.
            fallback = 80 if self.stream.isatty() else 120
            width = shutil.get_terminal_size((fallback, 24)).columns
            self.say(to_text(table, width=width, encoding=self.stream.encoding) + "\n")


class Progress:
    """Progress on standard error: a bar on a terminal, else a line now and then.

    Both show the rate and the time left. It is a reporter as the runner asks for one.

    Args:
        screen: Where lines other than progress go.
        stream: Where progress goes; standard error by default.
    """

    def __init__(self, screen: Screen, stream: TextIO | None = None) -> None:
        self.screen = screen
        self.stream = sys.stderr if stream is None else stream
        self.bar: Any = None
        self.label, self.unit = "", ""
        self.total = self.began = self.shown = 0.0
        self.first: tuple[float, float] | None = None

    def begin(self, label: str, total: float, unit: str) -> None:
        """Start a bar."""
        self.end(finished=False)
        self.label, self.total, self.unit = label, total, unit
        self.began = self.shown = time.monotonic()
        self.first = None
        if self.stream.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=total,
                # tqdm's own rate starts with the compilation, and turns round below one a second.
                bar_format=label.replace("{", "{{").replace("}", "}}")
                + " {percentage:3.0f} %|{bar}| {desc}",
                desc=self._state(0.0, self.began, ""),
                dynamic_ncols=True,
                file=self.stream,
                leave=False,
            )

    def advance(self, done: float, note: str = "") -> None:
        """Set the bar to ``done`` of its total."""
        now = time.monotonic()
        if self.first is None:
            # What a resumed run brings along, and the first compilation, say nothing of the rate.
            self.first = (done, now)
        if self.bar is not None:
            self.bar.set_description_str(self._state(done, now, note), refresh=False)
            self.bar.update(done - self.bar.n)
        elif now - self.shown >= LINE_SECONDS and self.total > 0:
            self.shown = now
            self._line(f"{100 * done / self.total:.0f} %, {self._state(done, now, note)}")

    def end(self, *, finished: bool = True) -> None:
        """Finish the bar; a line says how long it took."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        if finished and self.label:
            seconds = duration(time.monotonic() - self.began)
            self._line(f"{self._amount(self.total)} in {seconds}")
        self.label = ""

    def say(self, line: str) -> None:
        """Show a line above the bar."""
        if self.bar is not None:
            self.bar.clear()
        self.screen.say(line)

    def _state(self, done: float, now: float, note: str) -> str:
        """Write how far it is, the rate and the time left."""
        parts = [f"{_number(done)} of {self._amount(self.total)}"]
        ahead, seconds = (done - self.first[0], now - self.first[1]) if self.first else (0.0, 0.0)
        if ahead > 0 and seconds > 0:
            left = duration((self.total - done) * seconds / ahead)
            parts += [f"{self._amount(ahead / seconds)}/s", f"{left} left"]
        return ", ".join([*parts, note] if note else parts)

    def _amount(self, value: float) -> str:
        """Write a number of units; words have a plural, GFLOP has none."""
        plural = "s" if self.unit.islower() and value != 1 else ""
        return f"{_number(value)} {self.unit}{plural}"

    def _line(self, text: str) -> None:
        line = plain(f"{self.label}: {text}", self.stream.encoding)
        print(line, file=self.stream, flush=True)


def duration(seconds: float) -> str:
    """Write a duration: ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _number(value: float) -> str:
    if value >= 1000 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.3g}"
