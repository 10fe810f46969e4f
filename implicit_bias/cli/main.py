"""From the arguments of the command to its exit status."""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from implicit_bias.cli.arguments import parse
from implicit_bias.cli.shared import Stopped
from implicit_bias.errors import UserError
from implicit_bias.plugins import blamed

OK, BAD_INPUT, STOPPED = 0, 2, 130
"""Exit statuses; 130 is what a shell reports for a program that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: As on the command line, without the program's name; by default the process's.

    Returns:
        The exit status: 0 if all went well, 2 for something the user can mend (one line on standard
        error), 130 after Ctrl-C or a request to terminate.

    Raises:
        SystemExit: After ``--help`` and ``--version``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _terminated_like_interrupted(), _no_interrupt_is_lost():
            asked = parse(given)
            asked.call(asked)
            # Here and not at exit, where a reader that has gone would cause a traceback.
            if sys.stdout is not None:
                sys.stdout.flush()
        return OK
    except UserError as error:
        return _complain("error", str(error), BAD_INPUT)
    except KeyboardInterrupt as error:
        said = str(error) if isinstance(error, Stopped) else "nothing is left half-written"
        return _complain("stopped", said, STOPPED)
    except BrokenPipeError:
        # The reader (head, less) has seen enough. What is still buffered must not be tried again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        return _complain("error", f"{place}{error.strerror}; see to it and run again", BAD_INPUT)
    except Exception as error:
        if not _is_out_of_memory(error):
            said_of_file = blamed(error)
            if said_of_file is None:
                raise
            advice = "mend it there; run from Python, `implicit_bias.run` shows the whole traceback"
            return _complain("error", f"{said_of_file}; {advice}", BAD_INPUT)
        advice = "the device's memory is used up; lower --memory or --tile, or use a smaller model"
        return _complain("error", advice, BAD_INPUT)


def command() -> NoReturn:
    """Run the command and end the process.

    Stopped, it does not wait for threads that compile, or for a device that computes what nobody will read:
    all that was to be saved is.
    """
    status = main()
    if status == STOPPED:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _complain(what: str, message: str, status: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        if sys.stdout is not None:
            sys.stdout.flush()
        print(f"implicit-bias: {what}: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return status


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED")


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let a request to terminate (a cluster's time limit) do what Ctrl-C does at that moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(signum: int, frame: FrameType | None) -> None:
        # Who is running may have put its own handler in place of Ctrl-C's.
        current = signal.getsignal(signal.SIGINT)
        if callable(current):
            current(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _no_interrupt_is_lost() -> Iterator[None]:
    """Send Ctrl-C again where Python drops it.

    An exception raised within a callback of the garbage collector, of which JAX has one, goes nowhere: the
    program would run on as if nobody had pressed anything.
    """
    before = sys.unraisablehook

    def hook(lost: Any) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            # Not at once: here an exception would be dropped again.
            threading.Timer(0.05, _interrupt_main_thread).start()
        else:
            before(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt_main_thread() -> None:
    if hasattr(signal, "pthread_kill"):
        # A real signal, which also ends a wait.
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]
    else:
        _thread.interrupt_main()
