"""What a person sees while a study runs: lines, tables and progress."""

from __future__ import annotations

import io

import pytest

from implicit_bias.cli import terminal
from implicit_bias.cli.terminal import Progress, Screen, duration
from implicit_bias.results.table import make_table


class _Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class _Log(io.StringIO):
    encoding = "ascii"


def test_screen_heads_what_follows_and_spells_what_cannot_be_shown() -> None:
    log = _Log()
    screen = Screen(log)
    screen.say_first("first")
    screen.say_first("second")
    assert log.getvalue() == ""
    screen.say("λmax")
    assert log.getvalue() == "first\nsecond\nlambdamax\n"
    screen.show(make_table(["λ"], [[1.0]], caption="Table"))
    assert "Table\nlambda" in log.getvalue()
    Screen(None).say("nothing")


# Breaks if a log fills with lines, or has none, or the rate counts what a resumed run brought.
def test_progress_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    log = _Log()
    progress = Progress(Screen(None), log)
    progress.begin("training", 1000.0, "update")
    for second in range(1, 101):
        clock[0] = float(second)
        progress.advance(500.0 + 5 * second, "note")
    progress.end()
    lines = log.getvalue().splitlines()
    assert len(lines) == 100 // terminal.LINE_SECONDS + 1
    assert lines[0] == "training: 58 %, 575 of 1,000 updates, 5 updates/s, 1 min 25 s left, note"
    assert lines[-1] == "training: 1,000 updates in 1 min 40 s"


def test_progress_on_a_terminal() -> None:
    stream = _Terminal()
    progress = Progress(Screen(stream), stream)
    progress.begin("training", 10.0, "GFLOP")
    progress.advance(2.5)
    progress.advance(5.0, "batch loss 0.3")
    progress.bar.refresh()
    progress.say("a line")
    progress.end()
    shown = stream.getvalue()
    assert "training  50 %|" in shown
    assert "5 of 10 GFLOP, " in shown
    assert " GFLOP/s, " in shown
    assert "batch loss 0.3" in shown
    assert "a line\n" in shown
    assert shown.endswith(" s\n")


# Breaks if a run that is stopped leaves its bar behind, or claims to have finished.
def test_progress_that_is_stopped() -> None:
    log = _Log()
    progress = Progress(Screen(None), log)
    progress.begin("training", 0.0, "update")
    progress.advance(0.0)
    progress.end(finished=False)
    assert log.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (7265, "2 h 1 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
