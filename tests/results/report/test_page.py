"""The report: one file, well formed, safe, complete, written whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from implicit_bias.errors import UserError
from implicit_bias.results import report
from tests.results.report.pages import Page


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


def test_provenance_is_flat(page: Page) -> None:
    # Breaks if nested records are printed as Python dictionaries.
    assert "versions.jax" in page.text
    assert "12.5" in page.text
    assert "{'" not in page.text


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
