"""The command ``implicit-bias``.

Only this room prints. What a person reads goes to standard output, or to standard error when
``--json`` has standard output to itself; progress and errors always go to standard error.
"""

from __future__ import annotations

from implicit_bias.cli.main import command as command
from implicit_bias.cli.main import main as main

__all__ = ["command", "main"]
