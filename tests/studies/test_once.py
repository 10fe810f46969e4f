"""Work that several threads are given and one of them does."""

import threading
import time

import pytest

from implicit_bias.studies.once import Once


def test_one_of_many_threads_makes_the_call():
    # Breaks if two threads that reach it together both make the call, or waiting ends before it does.
    made: list[int] = []
    barrier = threading.Barrier(8)

    def call() -> None:
        time.sleep(0.05)
        made.append(1)

    once = Once(call)

    def give() -> None:
        barrier.wait()
        once()

    threads = [threading.Thread(target=give) for _ in range(8)]
    for thread in threads:
        thread.start()
    once.wait()
    assert made == [1]
    for thread in threads:
        thread.join()
    once()
    assert made == [1]


def test_who_waits_is_told_what_went_wrong():
    # Breaks if a failure ends the thread's queue or is lost.
    def call() -> None:
        raise ValueError("no room")

    once = Once(call)
    once()
    with pytest.raises(ValueError, match="no room"):
        once.wait()
