"""A row says what its kind and verdict demand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from implicit_bias import ledger
from implicit_bias.ledger.demands import NOT_RUN, lacking, shortfalls
from implicit_bias.ledger.ledger import Ledger, Row

BY_KIND = {
    kind: next(entry for entry in ledger.select() if entry.kind == kind)
    for kind in ("statistical", "identity", "definition", "required-control")
}
WHOLE: dict[str, Any] = {"effect": 0.1, "interval": (None, 0.2), "n_seeds": 3}


def row(kind: str, verdict: str = "supported", **fields: Any) -> Row:
    entry = BY_KIND[kind]
    return Row(entry.id, entry.document, entry.study, "smoke", verdict, **{**WHOLE, **fields})


@pytest.mark.parametrize("kind", BY_KIND)
def test_a_whole_row_lacks_nothing(kind: str) -> None:
    assert lacking(BY_KIND[kind], row(kind)) == ()
    assert lacking(BY_KIND[kind], row(kind, "not-decided", effect=None, reason="needs MNIST")) == ()


@pytest.mark.parametrize(
    ("kind", "verdict", "fields", "said"),
    [
        ("statistical", "supported", {"effect": None}, "the effect"),
        ("statistical", "refuted", {"effect": float("nan")}, "the effect"),
        ("statistical", "inconclusive", {"interval": None}, "the interval"),
        ("statistical", "supported", {"interval": (None, None)}, "the interval"),
        ("statistical", "supported", {"n_seeds": 0}, "the number of seeds"),
        ("required-control", "supported", {"interval": None}, "the interval"),
        ("identity", "supported", {"effect": None}, "the measured error"),
        ("definition", "refuted", {"interval": None}, "the tolerance"),
        ("statistical", "conditional", {}, "the condition"),
        ("identity", "not-decided", {}, "the reason why it is not decided"),
    ],
)
def test_what_is_missing_is_named(
    kind: str, verdict: str, fields: dict[str, Any], said: str
) -> None:
    """Breaks if a verdict passes without the numbers, or the words, that it stands on."""
    assert lacking(BY_KIND[kind], row(kind, verdict, **fields)) == (said,)


def test_an_error_needs_no_seeds() -> None:
    assert lacking(BY_KIND["identity"], row("identity", n_seeds=0)) == ()


def test_shortfalls_name_studies_once() -> None:
    """Breaks if a study that was not run is counted as decided, or said once a claim."""
    entries = ledger.select(studies=["stability"])
    rows = [
        Row(
            entry.id,
            entry.document,
            entry.study,
            "smoke",
            "not-decided",
            reason=f"{NOT_RUN}no data",
        )
        for entry in entries
    ]
    said = shortfalls(Ledger("smoke", tuple(rows)), entries)
    assert said == (
        f"stability was not run, which leaves {len(entries)} claims not decided: no data",
    )
    other = dataclasses.replace(rows[0], id="dhand.mirror", study="mirror-descent")
    two = shortfalls(Ledger("smoke", (rows[0], other)), [entries[0], ledger.get("dhand.mirror")])
    assert two == (
        "stability, mirror-descent were not run, which leaves 2 claims not decided: no data",
    )
    early = dataclasses.replace(rows[0], reason="needs laptop")
    assert shortfalls(Ledger("smoke", (early,)), entries[:1]) == ()
    assert shortfalls(Ledger("smoke", ()), entries[:1]) == (f"{entries[0].id} has no row",)
