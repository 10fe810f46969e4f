"""What all commands share: the screen, JSON, layout and the cache of compiled programs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from implicit_bias.cli.terminal import Screen

if TYPE_CHECKING:
    from implicit_bias.studies import StudySettings
    from implicit_bias.studies.record import How

COMPILATION_CACHE = "IMPLICIT_BIAS_COMPILATION_CACHE"
"""Environment variable: folder of the persistent compilation cache, or ``off``."""

QUICK_SCALE: Final = "smoke"
"""The size of runs that compile for longer than they compute."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C, with one line on what is saved and how to go on."""


@contextlib.contextmanager
def output(asked: Namespace) -> Iterator[Screen]:
    """Give the screen for a person; with ``--json``, standard output is kept for the JSON."""
    if getattr(asked, "quiet", False):
        screen = Screen(None)
    else:
        screen = Screen(sys.stderr if asked.json else sys.stdout)
    asked.stdout = sys.stdout
    if not asked.json:
        yield screen
        return
    # A user's own study or model may print.
    with contextlib.redirect_stdout(sys.stderr):
        yield screen


def print_json(asked: Namespace, content: dict[str, Any]) -> None:
    """Print a JSON object where ``--json`` asks for it."""
    if asked.json:
        print(json.dumps(content, indent=1, allow_nan=False), file=asked.stdout)


def compilation_cache(screen: Screen) -> Path | None:
    """Return the folder of compiled programs, or None for none."""
    from implicit_bias.data import cache

    asked = os.environ.get(COMPILATION_CACHE)
    if asked is not None:
        return None if asked.strip().lower() in ("", "0", "off", "no", "none") else Path(asked)
    folder = cache.directory() / "xla" / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        screen.say_first(f"compiling without a cache: {folder} cannot be made ({error.strerror})")
        return None
    return folder


def prepare_jax(settings: StudySettings, scale: str, cache: Path | None) -> str:
    """Prepare JAX for a study, before its first array is made; return one line saying what was set."""
    from implicit_bias import runtime

    return runtime.configure(
        float64=settings.dtype == "float64",
        compilation_cache=cache,
        compile_quickly=scale == QUICK_SCALE,
    )


def _processor() -> str:
    """Name this kind of processor: where homes are shared, programs of another may not run."""
    import hashlib
    import platform

    flags = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()}-{hashlib.sha256(flags.encode()).hexdigest()[:8]}"


def layout(asked: Namespace) -> How:
    """Return layout and memory as they were asked for."""
    from implicit_bias.studies.record import How

    names = [field.name for field in dataclasses.fields(How)]
    return How(**{n: getattr(asked, n) for n in names if getattr(asked, n) is not None})
