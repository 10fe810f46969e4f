"""The ledger's page: whole, and what it does in a browser."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from implicit_bias import ledger
from implicit_bias.ledger.ledger import VERDICTS, Ledger, Row
from implicit_bias.ledger.page import anchor
from implicit_bias.ledger.registry import Entry
from implicit_bias.results import report

from . import browser as chromium


def rows_of(entries: Sequence[Entry]) -> list[Row]:
    """Give entries rows of all verdicts in turn; the first names a run with a figure."""
    made = [
        Row(
            entry.id, entry.document, entry.study, "laptop", VERDICTS[place % len(VERDICTS)],
            effect=0.1 * place, interval=(-1.0, None), n_seeds=5, condition="where <b>it</b> holds",
            reason=f"needs laptop, and {'a_word_without_end' * 9}",
            run={"scale": "laptop", "seeds": 5, "path": "runs/one"},
        )
        for place, entry in enumerate(entries)
    ]  # fmt: skip
    arms = {"a & b": {"verdict": "supported", "effect": 1.0, "interval": [0.5, 2.0], "n": 5}}
    made[0] = dataclasses.replace(made[0], arms={**arms, "other": arms["a & b"]})
    other = {**made[1].run, "seeds": 7}  # the same study and config, and another run
    made[1] = dataclasses.replace(made[1], run=other, study=made[0].study)
    return made


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from matplotlib.figure import Figure

    out = tmp_path_factory.mktemp("page")
    drawn = out / "runs" / "one" / "figures" / "verdicts.png"
    drawn.parent.mkdir(parents=True)
    Figure(figsize=(3, 2)).savefig(drawn)
    entries = ledger.select(documents=["dhand"])
    return ledger.write_page(Ledger("laptop", tuple(rows_of(entries))), entries, out)


def test_the_page_is_whole_and_asks_for_nothing(page: Path) -> None:
    # Breaks if it loads anything, or a text of a run is taken for markup.
    text = page.read_text()
    assert page.stat().st_size < 25e6
    assert "<b>it</b>" not in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"', text):
        assert target in ids
    for entry in ledger.select(documents=["dhand"]):
        assert f'id="{anchor(entry.id)}"' in text


def test_the_same_ledger_gives_the_same_page(page: Path) -> None:
    entries = ledger.select(documents=["dhand"])
    before = page.read_bytes()
    again = ledger.write_page(Ledger("laptop", tuple(rows_of(entries))), entries, page.parent)
    assert again.read_bytes() == before


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    if chromium.CHROMIUM is None or chromium.DRIVER is None:
        pytest.skip("no Chromium here (Debian packages chromium and chromium-driver)")
    with chromium.browser(tmp_path_factory.mktemp("browser")) as session:
        yield session


def test_a_report_fits_a_phone(opened: chromium.Browser, tmp_path: Path) -> None:
    """Breaks if an interval with a long unit, or a long word, makes a report wider than the screen."""
    arm = {"verdict": "supported", "effect": 4.5e-16, "interval": [3.8e-16, 0.01], "n": 5}
    found = {
        "id": "ch11.X.1", "kind": "statistical", "verdict": "supported", "effect": 0.0103,
        "interval": [0.0061, 0.0487902], "n_seeds": 5, "unit": "percentage points of the test set",
        "criterion": "above", "condition": "", "reason": "a_word_without_end" * 9, "sentence": "It holds.",
        "details": {"arms": {"attention alone": arm, "other": arm}, "headline": "attention alone"},
    }  # fmt: skip
    file = tmp_path / "report.html"
    report.write_report(
        file, title="A study", summary="1 claim", verdicts=[found], tables=[], figures=[], settings={},
        provenance={}, notes=[],
    )  # fmt: skip
    opened.resize(360, 740)
    opened.open(file)
    assert opened.run("return document.documentElement.scrollWidth") <= 360


@pytest.fixture(scope="module")
def shown(page: Path, opened: chromium.Browser) -> chromium.Browser:
    opened.open(page)
    return opened


VISIBLE = "return [...document.querySelectorAll('#rows tr')].filter(r => r.offsetParent).map(r => r.dataset)"


def choose(name: str, value: str) -> str:
    return (
        f"var f = document.getElementById('filters'); f.elements['{name}'].value = '{value}';"
        "f.dispatchEvent(new Event('input', {bubbles: true}));"
    )


def test_filters_leave_the_rows_that_fit(shown: chromium.Browser) -> None:
    everything = shown.run(VISIBLE)
    assert len(everything) == len(ledger.select(documents=["dhand"]))
    shown.run(choose("verdict", "refuted"))
    left = shown.run(VISIBLE)
    assert left
    assert {row["verdict"] for row in left} == {"refuted"}
    said = shown.run("return document.getElementById('count').textContent")
    assert said == f"{len(left)} of {len(everything)} claims"
    shown.run(choose("topic", "minimum-norm"))
    assert {(row["verdict"], row["topic"]) for row in shown.run(VISIBLE)} == {
        ("refuted", "minimum-norm")
    }
    shown.run("document.getElementById('filters').reset()")
    shown.run(choose("text", "THM-3.1"))
    assert len(shown.run(VISIBLE)) == 1
    shown.run(choose("text", ""))
    assert len(shown.run(VISIBLE)) == len(everything)


def test_figures_are_there_and_the_console_is_silent(shown: chromium.Browser) -> None:
    images = shown.run("return [...document.images].map(i => i.complete && i.naturalWidth)")
    assert images
    assert all(images)
    assert shown.messages() == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_phones_and_desks_in_light_and_dark(
    shown: chromium.Browser, width: int, dark: bool
) -> None:
    """Breaks if a long word in a reason, a name of a file say, makes the page wider than a phone."""
    shown.resize(width, 800, dark=dark)
    assert shown.run("return document.documentElement.scrollWidth") <= width
    ground = shown.run("return getComputedStyle(document.body).backgroundColor")
    lightness = sum(int(part) for part in re.findall(r"\d+", ground)[:3]) / 3
    assert (lightness < 100) == dark
