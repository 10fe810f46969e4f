"""Text from the data is shown and not obeyed."""

from __future__ import annotations

from tests.results.report.pages import Page


def test_evil_text_is_shown_and_not_obeyed(page: Page) -> None:
    # Breaks if any of title, summary, cells, captions, settings, provenance, notes or reasons is
    # left unescaped (a script tag would appear) or dropped (the text would not).
    assert page.text.count("<script>alert('x')</script>") >= 11
