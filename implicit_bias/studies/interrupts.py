"""Ctrl-C that waits for a safe point."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from implicit_bias.studies.reporter import Reporter


@contextlib.contextmanager
def interrupts_between_segments(reporter: Reporter) -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a flag that is heeded at the next safe point; the second is at once."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = signal.getsignal(signal.SIGINT)

    def handler(signum: int, frame: FrameType | None) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()
        reporter.say("stopping after this segment; once more to stop at once")

    signal.signal(signal.SIGINT, handler)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
