"""Work that several threads are given and one of them does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future


class Once:
    """A call that whichever thread reaches it first makes; to the others it is nothing.

    Given to two queues, it is done by the one that has time for it.

    Args:
        call: What is to be done.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._taken = threading.Lock()
        self._done: Future[None] = Future()

    def __call__(self) -> None:
        """Make the call, unless another thread has made it or is making it."""
        if not self._taken.acquire(blocking=False):
            return
        try:
            self._call()
        except BaseException as error:  # it is for whoever waits
            self._done.set_exception(error)
        else:
            self._done.set_result(None)

    def wait(self) -> None:
        """Wait until the call is made; raise what it raised."""
        self._done.result()
