"""Verdicts are complete, in words, and have headers."""

from __future__ import annotations

from tests.results.report.pages import Page


def test_verdicts_are_words_as_well_as_colours(page: Page) -> None:
    # Breaks if a verdict, its condition, interval, seeds, criterion or published value is missing.
    for words in (
        "paper.error",
        "Smaller batches & lower error.",
        "conditional",
        "supported: equal epochs. Refuted: equal updates",
        "points",
        "1.61",
        "difference ≥ 0.5 points",
        "not decided",
        "error 0.0030 (allowed ±0.020)",
    ):
        assert words in page.text
    chips = [one["class"] for one in page.all("span") if "chip" in str(one.get("class"))]
    assert "chip conditional" in chips
    assert "chip not-decided" in chips
    # The control stands in its own section, not among the verdicts.
    assert page.text.index("paper.method") > page.text.index("Controls")


def test_cells_know_their_headers(page: Page) -> None:
    # Breaks if a screen reader cannot name a cell's column or row.
    assert all(one.get("scope") in ("col", "row") for one in page.all("th"))
    cards = next(one for one in page.all("table") if one.get("class") == "cards")
    assert cards["role"] == "table"
