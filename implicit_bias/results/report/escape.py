"""Text that a browser shows as it is."""

from __future__ import annotations

import html


def escaped(content: object) -> str:
    """Return anything's text with what HTML would take for markup escaped."""
    return html.escape(str(content))
