"""Words in a terminal: how wide they are, where a line may break, what an encoding cannot hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

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
    """Break text into lines of at most ``width`` columns.

    Lines break between words. An estimate keeps its interval where there is room for both, then each
    of the two stays whole; only what is longer than a line is cut.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for piece in _fitting(paragraph, width, _PARTINGS):
            if line and display_width(line + piece.rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
        lines.append(line.rstrip())
    return lines


def longest_word(cells: Iterable[str]) -> int:
    """Return the columns that the widest word of some texts takes."""
    return _widest(cells, _words)


def longest_piece(cells: Iterable[str]) -> int:
    """Return the columns that the widest word takes, an estimate with its interval being one."""
    return _widest(cells, _pieces)


def longest_estimate(cells: Iterable[str]) -> int:
    """Return the columns that the widest estimate with its interval takes, 0 where there is none."""
    pieces = [piece for text in cells for piece in _pieces(text) if _ESTIMATE.search(piece)]
    return max((display_width(piece.rstrip()) for piece in pieces), default=0)


_ESTIMATE = re.compile(r"[\d∞⁰¹²³⁴-⁹]\s\[")
_IN_BRACKETS = r"(?![^\[]*\])"
_IN_POWER = r"(?<![×x]\s)(?![×x]\s10|%)"  # 1.6 × 10⁻⁵ and 3 % stay on one line
_IN_NAMES = r"(?<=(?:[^\W\d_]|\))[.\-_/])(?=[^\W\d_])"


def _pieces(text: str) -> list[str]:
    """Pieces that are best left whole: words, and estimates with their intervals."""
    return re.split(
        rf"(?<=\s)(?=\S)(?<![\d∞⁰¹²³⁴-⁹]\s(?=\[)){_IN_POWER}{_IN_BRACKETS}|{_IN_NAMES}", text
    )


def _words(text: str) -> list[str]:
    """Pieces between which a line may break: after spaces, and inside names after ``. - _ /``.

    An interval is one, and so is a number with its power of ten.
    """
    return re.split(rf"(?<=\s)(?=\S){_IN_POWER}{_IN_BRACKETS}|{_IN_NAMES}", text)


def _ends(text: str) -> list[str]:
    """The ends of an interval, and whatever else has a space between."""
    return re.split(rf"(?<=\s)(?=\S){_IN_POWER}", text)


_PARTINGS = (_pieces, _words, _ends, list)
"""Where to break, best first; the last is between any two characters."""


def _fitting(text: str, width: int, partings: Sequence[Callable[[str], list[str]]]) -> list[str]:
    """Part a text into pieces of at most ``width`` columns, broken no further than that takes."""
    made: list[str] = []
    for piece in partings[0](text):
        if display_width(piece.rstrip()) <= width or len(partings) == 1:
            made.append(piece)
        else:
            made += _fitting(piece, width, partings[1:])
    return made


def _widest(cells: Iterable[str], parting: Callable[[str], list[str]]) -> int:
    pieces = [piece for text in cells for piece in parting(text)]
    return max((display_width(piece.rstrip()) for piece in pieces), default=1)
