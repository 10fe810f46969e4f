"""The registry has every statement of the inventory, whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from implicit_bias import ledger
from implicit_bias.errors import UserError
from implicit_bias.ledger.registry import SCALES, document_of

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
    from implicit_bias import studies

    for entry in ledger.registry().values():
        drawn = {drawing.name for drawing in studies.get(entry.study).drawings}
        assert not entry.figure or entry.figure in drawn, f"{entry.id}: {entry.figure}"


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
        ({"studies": ["margins"]}, "unknown study 'margins'; did you mean 'margin'"),
    ],
)
def test_unknown_names_are_one_line(asked: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")) as caught:
        ledger.select(**asked)
    assert "\n" not in str(caught.value)
