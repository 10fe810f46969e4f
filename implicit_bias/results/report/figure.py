"""Pictures in the report, inside the file."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from pathlib import Path

from implicit_bias.errors import UserError
from implicit_bias.results.report.escape import escaped


@dataclass(frozen=True)
class Figure:
    """A picture in a report.

    Attributes:
        name: Short name: heading and anchor.
        caption: What it shows, with what the bands are.
        image: PNG or SVG as bytes, or the path of a ``.png`` or ``.svg`` file.
        alt: What it shows, for those who cannot see it; by default the caption.
    """

    name: str
    caption: str
    image: bytes | str | Path
    alt: str = ""


def figure_html(number: int, figure: Figure) -> str:
    """Write a picture with its caption.

    Args:
        number: Its place among the pictures, from 1.
        figure: The picture.

    Returns:
        A ``<figure>`` with the image inside.

    Raises:
        UserError: The image is neither PNG nor SVG, or its file cannot be read.
    """
    content = _image_bytes(figure)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = "image/png"
        width, height = struct.unpack(">II", content[16:24])
        # Drawn at 150 dots an inch, shown at the screen's nominal 96: sharp, and text at its size.
        shown = round(width * 0.64), round(height * 0.64)
        # On a phone it shrinks as far as its text stays legible, and scrolls from there.
        least = f' style="min-width: {round(0.6 * shown[0])}px"'
        size = f' width="{shown[0]}" height="{shown[1]}"{least}'
    elif b"<svg" in content[:2000]:
        kind, size = "image/svg+xml", ""
    else:
        raise UserError(
            f"the image of figure {figure.name!r} is neither PNG nor SVG; save it as PNG"
        )
    data = base64.b64encode(content).decode("ascii")
    alt = escaped(figure.alt or figure.caption or figure.name)
    return (
        f'<figure id="figure-{number}">\n'
        f'<div class="sheet" tabindex="0" role="group" aria-label="{escaped(figure.name)}">'
        f'<img alt="{alt}"{size} src="data:{kind};base64,{data}"></div>\n'
        f"<figcaption><b>Figure {number}.</b> {escaped(figure.caption or figure.name)}</figcaption>\n"
        "</figure>"
    )


def _image_bytes(figure: Figure) -> bytes:
    if isinstance(figure.image, bytes):
        return figure.image
    try:
        return Path(figure.image).read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read the image {figure.image} of figure {figure.name!r} ({error.strerror}); "
            "draw it again"
        ) from error
