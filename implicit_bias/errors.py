"""The one exception a user can cause."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave cannot be used.

    The message is one line and says what was given, what is allowed and how to mend it. The command
    prints it and exits with status 2; a library caller may catch it as a ``ValueError``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def unknown(kind: str, given: object, known: Iterable[str], *, own: str = "") -> UserError:
    """Build the error for a name that is not in a list, suggesting the nearest one.

    Args:
        kind: What the name stands for, e.g. ``"optimiser"``.
        given: The name that was given.
        known: The names that exist.
        own: What may be given in place of a name, e.g. ``"file.py:NAME"``.

    Returns:
        An error ready to be raised.
    """
    names = sorted(known)
    close = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    also = f"; of your own: {own}" if own else ""
    return UserError(f"unknown {kind} {given!r}{hint} (known: {', '.join(names)}{also})")
