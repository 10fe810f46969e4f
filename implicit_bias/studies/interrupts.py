"""Ctrl-C that waits for a safe point, but where there is nothing that a wait would save."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from implicit_bias.studies.reporter import Reporter


class Interrupts(threading.Event):
    """A flag that says that the run is to end, set by Ctrl-C."""

    def __init__(self) -> None:
        super().__init__()
        self.now = False

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let Ctrl-C end what runs in this context, which leaves nothing half done behind.

        Raises:
            KeyboardInterrupt: It came within, or before.
        """
        self.now = True
        try:
            # One that came just before has found nobody to raise for.
            if self.is_set():
                raise KeyboardInterrupt
            yield
        finally:
            self.now = False


@contextlib.contextmanager
def interrupts_between_segments(reporter: Reporter) -> Iterator[Interrupts]:
    """Turn the first Ctrl-C into a flag that is heeded at the next safe point; the second is at once."""
    flag = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = signal.getsignal(signal.SIGINT)

    def handler(signum: int, frame: FrameType | None) -> None:
        if flag.is_set() or flag.now:
            flag.set()
            raise KeyboardInterrupt
        flag.set()
        reporter.say("stopping after this segment; once more to stop at once")

    signal.signal(signal.SIGINT, handler)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
