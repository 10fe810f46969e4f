"""Pictures are inside the page, whole and described."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib.image

from implicit_bias.results import report
from tests.results.report.pages import Page


def test_images_are_inside_and_whole(page: Page, png: bytes) -> None:
    # Breaks if an image is corrupted on the way, or nobody can tell what it shows.
    images = page.all("img")
    assert len(images) == 2
    for image in images:
        content = base64.b64decode(str(image["src"]).partition(",")[2], validate=True)
        assert content == png
        assert matplotlib.image.imread(io.BytesIO(content)).std() > 0
        assert image["alt"]
        assert int(str(image["width"])) == round(450 * 0.64)  # 3 inches at 150 dots, shown at 96
    assert images[0]["alt"] == 'rises "fast"'
    assert len(page.all("figcaption")) == 2


def test_figures_may_come_from_files(tmp_path: Path, png: bytes) -> None:
    # Breaks if an SVG is declared a PNG.
    (tmp_path / "a.png").write_bytes(png)
    (tmp_path / "b.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>', encoding="utf-8")
    pictures = [report.Figure(name, "", tmp_path / name) for name in ("a.png", "b.svg")]
    sources = [
        str(image["src"])
        for image in Page(report.render_report(title="x", figures=pictures)).all("img")
    ]
    assert sources[0].startswith("data:image/png;base64,")
    assert sources[1].startswith("data:image/svg+xml;base64,")
