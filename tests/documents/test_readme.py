"""What the README and the studies' READMEs say is what is there: links, tables, counts, numbers."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import implicit_bias as ib
from implicit_bias import ledger, studies
from implicit_bias.ledger import Ledger, Row
from tests.documents.markdown import FILES, README, ROOT, blocks, links, spoken

TEXT = README.read_text(encoding="utf-8")
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))


@pytest.fixture
def script() -> ModuleType:
    """``scripts/readme.py``."""
    found = importlib.util.spec_from_file_location("readme", ROOT / "scripts/readme.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@every_file
def test_links_lead_somewhere(file: Path) -> None:
    # Breaks if a file or a figure is moved.
    for target in links(file):
        assert target.startswith("https://") or (file.parent / target).exists(), target


@every_file
def test_names_are_those_of_the_package(file: Path) -> None:
    # Breaks if a function that the text names is renamed.
    rooms = "|".join(ib.ROOMS)
    for code in spoken(file):
        dotted = re.match(rf"(?:ib\.)?((?:{rooms})\.[\w.]+)(?:\(|$)", code)
        if dotted is None or dotted[1].endswith((".py", ".nc", ".json", ".html")):
            continue
        room, *names = dotted[1].split(".")
        found = importlib.import_module(f"implicit_bias.{room}")
        for name in names:
            if not hasattr(found, name):
                importlib.import_module(f"{found.__name__}.{name}")
            found = getattr(found, name)


def test_the_table_of_studies_is_whole() -> None:
    # Breaks if a study, a claim or the results' page of a study is added and not told of.
    rows = re.findall(
        r"^\| \[`([\w-]+)`\]\(configs/(\w+)/README.md\) \| .+ \| (\d+) \|$", TEXT, re.M
    )
    assert {name for name, _, _ in rows} == set(studies.names())
    for name, folder, claims in rows:
        assert folder == name.replace("-", "_")
        assert int(claims) == len(studies.get(name).claims), name


def test_the_table_of_verdicts_is_that_of_the_ledger_files(script: ModuleType) -> None:
    # Breaks if ledger files change and nobody runs `python scripts/readme.py`.
    assert script.updated(TEXT, ledger.shipped()) == TEXT


def test_a_summary_counts_what_a_ledger_has(script: ModuleType) -> None:
    # Breaks if a verdict is counted elsewhere than in its source's row, or a run's time once for each of
    # its rows.
    about = {"machine": "a processor", "seconds": 3600}
    first, second = {**about, "date": "2026-02-03"}, {**about, "date": "2026-02-04"}
    coord = Row("dhand.coord", "dhand", "mirror-descent", "laptop", "conditional", condition="x")
    rows = [replace(coord, run=first)]
    rows += [
        Row(id, "chapter11", "margin", "laptop", "refuted", run=second)
        for id in ("ch11.A.6", "ch11.B.9")
    ]
    text = script.summary(Ledger("laptop", tuple(rows)))
    assert text.startswith(
        "Verdicts of 2 runs of laptop size that come with the package, 2 h 0 min in all"
    )
    assert "begun between 2026-02-03 and 2026-02-04; a processor." in text
    assert "another config" not in text
    cnn = Row("ch11.A.7", "chapter11", "double-descent", "cnn", "refuted", run=second)
    told = script.summary(Ledger("laptop", (*rows, cnn)))
    assert "judged by another config than that of their size: double-descent (cnn)." in told
    lines = text.splitlines()
    table = [line.split("|")[1:-1] for line in lines if line.startswith("|")]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in table}
    assert cells["dhand"] == ["1", "0", "0", "1", "0", "0"]
    assert cells["chapter11"] == ["2", "0", "2", "0", "0", "0"]
    assert cells["all"] == ["3", "0", "2", "1", "0", "0"]
    with pytest.raises(ValueError, match="lacks"):
        script.updated("no marks", Ledger("laptop", ()))


def test_counts_in_the_text() -> None:
    # Breaks if claims or lines are added and the text still has the old number.
    assert f"which of {len(ledger.registry())} published claims" in TEXT
    assert f"for each of {len(studies.get('batch-size').claims)} claims" in TEXT
    for name in ("sweep_seeds", "ntk_vs_finite"):
        count = len((ROOT / f"scripts/{name}.py").read_text().splitlines())
        said = re.search(
            rf"`{name}.py` \|.*in (\d+) lines", (ROOT / "scripts/README.md").read_text()
        )
        assert said is not None
        assert int(said[1]) == count, name
    assert len(blocks(README, "python")[0].text.splitlines()) < 60


def captions() -> list[tuple[str, str]]:
    """Return each paragraph before a figure that begins in bold, and the folder of the figure's study."""
    parts = TEXT.split("\n\n")
    found = re.compile(r"!\[.+\]\(configs/(\w+)/results/.+\.png\)")
    pairs = [(words, found.fullmatch(figure)) for words, figure in itertools.pairwise(parts)]
    return [(words, figure[1]) for words, figure in pairs if figure and words.startswith("**")]


CAPTIONS = captions()


@pytest.mark.parametrize(("words", "folder"), CAPTIONS, ids=lambda value: value[:20])
def test_numbers_beside_figures_are_those_of_the_study(words: str, folder: str) -> None:
    # Breaks if a study is run anew, and the README keeps the old numbers.
    told = (ROOT / "configs" / folder / "README.md").read_text()
    for number in re.findall(r"[−-]?\d+(?:\.\d+)?", words):
        assert number in told, number


def test_there_is_a_figure_for_each_pillar() -> None:
    assert len(CAPTIONS) >= 6
