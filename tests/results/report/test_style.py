"""Legible in light and dark, on a phone and on paper."""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.results import report


def contrast(one: str, other: str) -> float:
    """Contrast of two colours by WCAG 2."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_text_can_be_read_in_light_and_dark() -> None:
    # Breaks if a colour is changed to one without enough contrast (WCAG: 4.5; we keep to 7).
    for _, light, dark in report.VERDICTS.values():
        assert contrast(*light) >= 7
        assert contrast(*dark) >= 7
    for colours in (report.LIGHT, report.DARK):
        for name in ("text", "quiet", "link"):
            assert contrast(colours[name], colours["ground"]) >= 7
        assert contrast(colours["text"], colours["band"]) >= 7


def test_page_adapts_to_readers(arguments: dict[str, Any]) -> None:
    # Breaks if dark mode, the phone's layout or the print sheet is lost.
    text = report.render_report(**arguments)
    for words in (
        "prefers-color-scheme: dark",
        "@media (max-width",
        "@media print",
        'name="viewport"',
    ):
        assert words in text
