"""The registry has every statement of the inventory, whole."""

from __future__ import annotations

import re
import unicodedata
from importlib import resources
from pathlib import Path

import pytest
import yaml

from implicit_bias import ledger
from implicit_bias.errors import UserError
from implicit_bias.ledger.registry import SCALES, document_of
from implicit_bias.ledger.shipped import SUFFIX
from implicit_bias.studies.config import config_root

IDS = (Path(__file__).parent / "inventory_ids.txt").read_text().split()
"""The ids of the inventory of the three documents, as it was written before the studies."""


def test_ids_are_those_of_the_inventory() -> None:
    # Breaks if a claim is dropped, added without need, or renamed.
    assert list(ledger.registry()) == IDS


@pytest.mark.parametrize("entry", ledger.registry().values(), ids=lambda entry: entry.id)
def test_an_entry_lacks_nothing(entry: ledger.Entry) -> None:
    for name in ("place", "sentence", "criterion", "study", "flips"):
        assert getattr(entry, name).strip(), f"{entry.id} has no {name}"
    assert entry.document == document_of(entry.id)
    assert entry.configs, f"{entry.id} is tested by no config"
    assert entry.literature, f"{entry.id} names no literature"
    if entry.decided_from is None:
        assert entry.needs
    else:
        assert entry.decided_from in SCALES
        assert not entry.needs
    if entry.kind == "statistical" and entry.smallest_effect is None:
        # The smallest effect then stands in the criterion: a number, or the sign.
        words = entry.criterion
        assert any(letter.isdigit() for letter in words) or "positive" in words, words


def test_figures_named_are_drawn_by_their_study() -> None:
    """Breaks if a figure is renamed in its study, not said by ``explain``, or no claim has one."""
    from implicit_bias import studies

    for entry in ledger.registry().values():
        drawn = {drawing.name for drawing in studies.get(entry.study).drawings}
        assert not entry.figure or entry.figure in drawn, f"{entry.id}: {entry.figure}"
        told = dict(ledger.explanation(entry, None))
        assert told.get("figure", "").startswith(entry.figure)
        assert not entry.figure or ledger.caption(entry.study, entry.figure) in told["figure"]
    named = {(entry.study, entry.figure) for entry in ledger.registry().values() if entry.figure}
    assert {study for study, _ in named} == {entry.study for entry in ledger.registry().values()}


def test_the_config_named_for_a_size_runs_what_its_claim_needs() -> None:
    """Breaks if a claim is said to be decided by a config whose arms leave it out.

    Held against the runs that come with the package.
    """
    known = ledger.registry()
    files = sorted(config_root().glob(f"*/results/*{SUFFIX}"))
    named = [
        row
        for file in files
        for row in ledger.load(file).rows
        if row.config == known[row.id].configs.get("laptop")
        and known[row.id].decided_from in ("smoke", "laptop")
    ]
    assert len(named) > 100
    assert [row.id for row in named if "which was not run" in row.reason] == []


def test_claims_that_wait_for_a_larger_size_say_so_in_the_ledger_that_is_shipped() -> None:
    """Breaks if they are left out of it, or named after the runs that could not decide them."""
    waiting = {e.id: e for e in ledger.registry().values() if e.decided_from == "full"}
    rows = {row.id: row for row in ledger.shipped().rows if row.id in waiting}
    assert waiting
    assert set(rows) == set(waiting)
    assert {(row.verdict, row.reason, row.config) for row in rows.values()} == {
        ("not-decided", "needs full", "")
    }


def test_selection_by_document_id_and_study() -> None:
    known = ledger.select()
    assert {entry.document for entry in ledger.select(["dhand"])} == {"dhand"}
    assert {entry.study for entry in ledger.select(studies=["margin"])} == {"margin"}
    assert [entry.id for entry in ledger.select(ids=["ch11.C.8.few"])] == ["ch11.C.8"]
    assert sum(len(ledger.select([name])) for name in ledger.DOCUMENTS) == len(known)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"documents": ["chapter"]}, "unknown source 'chapter'; did you mean 'chapter11'"),
        ({"ids": ["ch11.C.88"]}, "unknown claim 'ch11.C.88'; did you mean ch11.C.8"),
        ({"ids": ["ch11.C.8.fewer"]}, "unknown claim 'ch11.C.8.fewer'; did you mean ch11.C.8"),
        ({"ids": ["ch11.a.14"]}, "unknown claim 'ch11.a.14'; did you mean ch11.A.14"),
        (
            {"ids": ["momentum.flat"]},
            "a claim of a study of your own is told by `implicit-bias list",
        ),
        ({"studies": ["margins"]}, "unknown study 'margins'; did you mean 'margin'"),
    ],
)
def test_unknown_names_are_one_line(asked: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")) as caught:
        ledger.select(**asked)
    assert "\n" not in str(caught.value)


REFERENCE = re.compile(
    r"(?P<authors>\S.+) \((?P<year>\d{4})\), (?P<title>[^.?]+[.?]) (?P<place>\S.+)"
)
"""Authors, year, title, and where it appeared."""

VENUE = re.compile(r"arXiv (\d{4}\.\d{4,5}|[a-z-]+/\d{7})|[A-Z].+")


def references() -> dict[str, str]:
    content = yaml.safe_load(
        resources.files("implicit_bias.ledger").joinpath("registry.yaml").read_text("utf-8")
    )
    found: dict[str, str] = content["references"]
    return found


@pytest.mark.parametrize(("key", "text"), references().items())
def test_a_reference_has_authors_year_title_and_place(key: str, text: str) -> None:
    """Breaks if a reader could not find the paper, or its key is not that of author and year."""
    parts = REFERENCE.fullmatch(text)
    assert parts is not None, text
    assert VENUE.fullmatch(parts["place"]), parts["place"]
    surnames = [
        unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().lower()
        for word in re.findall(r"[^\W\d_-]+", parts["authors"])
    ]
    short = re.fullmatch(rf"([a-z]+){parts['year']}[a-z]*", key)
    assert short is not None, f"{key}: {parts['year']}"
    assert short[1] in {"".join(surnames[at:to]) for at in range(len(surnames))
                        for to in range(at + 1, len(surnames) + 1)} | LISTS, surnames  # fmt: skip


LISTS = {"lioymak"}
"""Keys made of two authors', where one surname is in several."""


def test_references_are_each_one_paper_and_cited() -> None:
    """Breaks if one paper is written twice, in two spellings, or is there for nothing."""
    known = references()
    parts = {key: REFERENCE.fullmatch(text) for key, text in known.items()}
    for what in ("title", "place"):
        said = [
            found[what].lower()
            for found in parts.values()
            if found is not None and (what == "title" or found[what].startswith("arXiv"))
        ]
        assert len(set(said)) == len(said), what
    cited = {text for entry in ledger.registry().values() for text in entry.literature}
    assert cited == set(known.values())
    assert list(known) == sorted(known)
