"""Settings of any kind read as YAML."""

from __future__ import annotations

from typing import Any

from implicit_bias.results import report
from tests.results.report.pages import EVIL


def test_settings_read_as_yaml(arguments: dict[str, Any]) -> None:
    # Breaks if a record, an array or an enumeration is written by its repr.
    import html

    import yaml

    text = report.render_report(**arguments)
    listing = text[text.index("<pre") : text.index("</pre>")].partition("<code>")[2]
    read = yaml.safe_load(html.unescape(listing.removesuffix("</code>")))
    assert read == {
        "model": {"widths": [100, 50], "rate": 0.5},
        "batch_sizes": [16, 64],
        "colour": "red",
        "path": "a/b",
        EVIL: EVIL,
    }
