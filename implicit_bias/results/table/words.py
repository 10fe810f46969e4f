"""Words in a terminal: how wide they are, where a line may break, what an encoding cannot hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_PLAIN = {
    "λ": "lambda",
    "η": "eta",
    "ρ": "rho",
    "σ": "sigma",
    "θ": "theta",
    "μ": "mu",
    "Δ": "delta ",
    "√": "sqrt ",
    "∝": "~",
    "\N{MINUS SIGN}": "-",
    "–": "-",
    "—": "-",
    "‖": "||",
    "─": "-",
    "×": "x",
    "·": "*",
    "≥": ">=",
    "≤": "<=",
    "≈": "~",
    "±": "+/-",
    "…": "...",
    "∞": "inf",
    "→": "->",
    "\N{NO-BREAK SPACE}": " ",
}


def display_width(text: str) -> int:
    """Count the terminal columns that one line of text takes (wide and combining characters)."""
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


def plain(text: str, encoding: str | None = "utf-8") -> str:
    """Replace the characters that an output's encoding cannot hold.

    Args:
        text: Any text.
        encoding: The output's encoding, such as ``sys.stderr.encoding``; None means ASCII.

    Returns:
        The text itself where it fits; otherwise with Greek letters spelled out, mathematical signs
        in their ASCII form, and anything else as ``?``.
    """
    encoding = encoding or "ascii"
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        pass
    text = re.sub(
        "[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda power: "^" + unicodedata.normalize("NFKC", power[0]), text
    )
    text = "".join(_PLAIN.get(character, character) for character in text)
    return text.encode(encoding, "replace").decode(encoding)


def wrap(text: str, width: int) -> list[str]:
    """Break text into lines of at most ``width`` columns; only a word longer than that is cut."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in _words(paragraph):
            if line and display_width(line + word.rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            while display_width(word.rstrip()) > width:
                cut = next(
                    size for size in range(len(word), 0, -1) if display_width(word[:size]) <= width
                )
                lines.append(word[:cut])
                word = word[cut:]
            line += word
        lines.append(line.rstrip())
    return lines


def _words(text: str) -> list[str]:
    """Pieces between which a line may break: after spaces, and inside names after ``. - _ /``."""
    outside_brackets = r"(?![^\[]*\])"  # an interval stays on one line, and so does a power of ten
    return re.split(
        rf"(?<=\s)(?<!×\s)(?=\S){outside_brackets}|(?<=(?:[^\W\d_]|\))[.\-_/])(?=[^\W\d_])", text
    )


def longest_word(cells: Iterable[str]) -> int:
    """Return the columns that the widest word of some texts takes."""
    words = [word for text in cells for word in _words(text)]
    return max((display_width(word.rstrip()) for word in words), default=1)
