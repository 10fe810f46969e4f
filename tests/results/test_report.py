"""The report: one file, well formed, safe, complete and legible."""

from __future__ import annotations

import base64
import dataclasses
import enum
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.results import figures, report
from implicit_bias.results.claims import Claim, Evidence, Finding, evaluate, to_json
from implicit_bias.results.statistics import Comparison, mean_interval
from implicit_bias.results.table import make_table

EVIL = "</pre><script>alert('x')</script><img src=http://example.org/x onerror=y>"
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Reads a page strictly: every tag closed in order, every attribute kept."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"attribute given twice in {tag}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def png() -> bytes:
    figure, ax = figures.axes(3.0, 2.0)
    curve = figures.Curve.from_values([16, 64], [[1.0, 2.0], [2.0, 4.0]])
    figures.curve_by_group(
        ax, {"a": curve}, xlabel="batch size (examples)", ylabel="test error (%)"
    )
    return figures.image_bytes(figure)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Inner:
    widths: tuple[int, ...]
    rate: np.float32


@pytest.fixture(scope="module")
def arguments(png: bytes) -> dict[str, Any]:
    def arm(low: float) -> Comparison:
        values = low + np.arange(5.0)
        return Comparison(lambda level: mean_interval(values, level), 0.5, 1)

    claims = [
        Claim(
            "paper.error",
            "statistical",
            "arXiv 0000.00000, abstract",
            "Smaller batches & lower error.",
            1.61,
            "difference ≥ 0.5 points",
            lambda data: Evidence({"equal epochs": arm(9.0), "equal updates": arm(-9.0)}),
            smallest_effect=0.5,
            unit="points",
        ),
        Claim(
            "paper.vague",
            "ill-posed",
            "section 3",
            "Flat minima are better.",
            None,
            "cannot be judged as stated",
            lambda data: Finding("not-decided", reason=EVIL),
        ),
        Claim(
            "paper.method",
            "required-control",
            "section 4",
            "Two methods agree.",
            None,
            "within 2 %",
            lambda data: Finding("supported", 0.003, (-0.02, 0.02), 5),
        ),
    ]
    findings = evaluate(claims, None)  # type: ignore[arg-type]
    return {
        "title": f"Batch size {EVIL}",
        "summary": ["Three claims.", EVIL],
        "verdicts": to_json(findings, claims),
        "tables": [
            make_table([EVIL, "n"], [[EVIL, 3]], caption=EVIL),
            make_table(["arm", "λmax"], [["equal epochs", mean_interval([1.0, 2.0, 3.0])]]),
        ],
        "figures": [
            report.Figure("test_error", "Test error; bands: 95 %.", png, alt='rises "fast"'),
            report.Figure(EVIL, EVIL, png),
        ],
        "settings": {
            "model": Inner((100, 50), np.float32(0.5)),
            "batch_sizes": np.array([16, 64]),
            "colour": Colour.RED,
            "path": Path("a/b"),
            EVIL: EVIL,
        },
        "provenance": {"versions": {"jax": "0.10.2"}, "wall_s": 12.5, "evil": EVIL},
        "notes": ["Every lane is one training run.", EVIL],
    }


@pytest.fixture(scope="module")
def page(arguments: dict[str, Any]) -> Page:
    return Page(report.render_report(**arguments))


def test_page_is_well_formed(page: Page) -> None:
    # Breaks if a tag is left open, an id is used twice, or a link of the contents leads nowhere.
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    targets = [link["href"] for link in page.all("a")]
    assert len(targets) == 7
    assert {str(target).removeprefix("#") for target in targets} <= set(ids)
    assert page.all("html") == [{"lang": "en"}]
    assert [len(page.all(tag)) for tag in ("h1", "main", "nav", "title")] == [1, 1, 1, 1]


def test_page_loads_nothing_and_runs_nothing(arguments: dict[str, Any], page: Page) -> None:
    # Breaks if a reader's machine is made to fetch or run anything, by us or by a name in the data.
    assert not [
        tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object", "base")
    ]
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            if name in attributes:
                assert re.match(r"data:image/png;base64,|#", str(attributes[name]))
    text = report.render_report(**arguments)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(one["content"] for one in page.all("meta") if "http-equiv" in one)
    assert "default-src 'none'" in str(policy)


def test_evil_text_is_shown_and_not_obeyed(page: Page) -> None:
    # Breaks if any of title, summary, cells, captions, settings, provenance, notes or reasons is
    # left unescaped (a script tag would appear) or dropped (the text would not).
    assert page.text.count("<script>alert('x')</script>") >= 11


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


def test_verdicts_are_words_as_well_as_colours(page: Page) -> None:
    # Breaks if a verdict, its condition, interval, seeds, criterion or published value is missing.
    for words in (
        "paper.error",
        "Smaller batches & lower error.",
        "conditional",
        "supported: equal epochs; refuted: equal updates",
        "points",
        "1.61",
        "difference ≥ 0.5 points",
        "not decided",
        "error 0.0030 (within ±0.020)",
    ):
        assert words in page.text
    chips = [one["class"] for one in page.all("span") if "chip" in str(one.get("class"))]
    assert "chip conditional" in chips
    assert "chip not-decided" in chips
    # The control stands in its own section, not among the verdicts.
    assert page.text.index("paper.method") > page.text.index("Controls")


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


def test_provenance_is_flat(page: Page) -> None:
    # Breaks if nested records are printed as Python dictionaries.
    assert "versions.jax" in page.text
    assert "12.5" in page.text
    assert "{'" not in page.text


def test_cells_know_their_headers(page: Page) -> None:
    # Breaks if a screen reader cannot name a cell's column or row.
    assert all(one.get("scope") in ("col", "row") for one in page.all("th"))
    cards = next(one for one in page.all("table") if one.get("class") == "cards")
    assert cards["role"] == "table"


def test_empty_report_has_no_empty_sections() -> None:
    # Breaks if a study without figures or claims gets headings over nothing.
    page = Page(report.render_report(title="Nothing yet"))
    assert not page.all("section")
    assert page.text.startswith("Nothing yet")


def test_report_is_reproducible(arguments: dict[str, Any]) -> None:
    # Breaks if a date or an address gets in.
    assert report.render_report(**arguments) == report.render_report(**arguments)


def test_writing_is_whole_or_not_at_all(tmp_path: Path, arguments: dict[str, Any]) -> None:
    # Breaks if a bad image leaves half a report, or destroys the old one.
    path = tmp_path / "report.html"
    assert report.write_report(path, **arguments) == path
    before = path.read_text(encoding="utf-8")
    with pytest.raises(UserError, match="neither PNG nor SVG"):
        report.write_report(path, title="x", figures=[report.Figure("a", "b", b"GIF89a")])
    with pytest.raises(UserError, match="cannot read the image"):
        report.write_report(path, title="x", figures=[report.Figure("a", "b", tmp_path / "no.png")])
    assert path.read_text(encoding="utf-8") == before
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(UserError):
        report.write_report(tmp_path / "missing" / "report.html", title="x")


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
