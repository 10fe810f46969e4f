"""Rows, reading and writing, putting together, and what changed between two ledgers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from implicit_bias import ledger
from implicit_bias.errors import UserError
from implicit_bias.ledger.ledger import Ledger, Row, judged
from implicit_bias.ledger.registry import Entry

ENTRY = Entry(
    id="ch11.X.1", document="chapter11", place="Chapter 11", sentence="It holds.", kind="statistical",
    published=0.5, criterion="above 0.1", smallest_effect=0.1, unit="1", study="margin",
    decided_from="laptop", configs={"smoke": "smoke", "laptop": "laptop"}, flips="if not", needs="",
    figure="", literature=(), follow_ups=("ch11.X.1.more",),
)  # fmt: skip

FOUND = {
    "ch11.X.1": {
        "verdict": "supported", "effect": 0.4, "interval": [0.2, None], "n_seeds": 5,
        "details": {"arms": {"a": {"verdict": "supported", "n": 5}, "b": {"verdict": "refuted", "n": 5}}},
    },
    "ch11.X.1.more": {"verdict": "refuted"},
}  # fmt: skip


def row(verdict: str = "supported", **fields: Any) -> Row:
    return Row(**{"id": "ch11.X.1", "document": "chapter11", "study": "margin", "config": "laptop",
                  "verdict": verdict, **fields})  # fmt: skip


def test_a_size_that_cannot_decide_gives_no_verdict() -> None:
    # Breaks if a small run's leaning is taken for a verdict.
    early = judged(ENTRY, "smoke", FOUND, "smoke", {})
    assert (early.verdict, early.reason, early.effect) == ("not-decided", "needs laptop", None)
    late = judged(ENTRY, "laptop", FOUND, "laptop", {"seeds": 5})
    assert (late.verdict, late.effect, late.interval) == ("supported", 0.4, (0.2, None))
    assert late.follow_ups == {"ch11.X.1.more": "refuted"}
    assert set(late.arms) == {"a", "b"}


def test_what_no_size_decides_says_what_would() -> None:
    entry = dataclasses.replace(ENTRY, decided_from=None, needs="ImageNet")
    assert judged(entry, "laptop", FOUND, "laptop", {}).reason == "needs ImageNet"


def test_a_row_moves_with_the_finding_it_is_made_of() -> None:
    # Breaks if a verdict is a constant of the ledger's own.
    for verdict in ("supported", "refuted", "inconclusive"):
        found = {"ch11.X.1": {**FOUND["ch11.X.1"], "verdict": verdict}}
        assert judged(ENTRY, "laptop", found, "laptop", {}).verdict == verdict
    assert judged(ENTRY, "laptop", {}, "laptop", {}).verdict == "not-decided"


def test_a_ledger_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    made = Ledger("laptop", (judged(ENTRY, "laptop", FOUND, "laptop", {"seeds": 5}),))
    folder = tmp_path / "new" / "folder"  # it is made where it is not there
    made.save(folder / "ledger.json")
    assert ledger.load(folder) == made
    assert ledger.load(folder / "ledger.json") == made
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        made.save(tmp_path / "file" / "ledger.json")
    assert made.counts() == {
        "supported": 1, "refuted": 0, "conditional": 0, "inconclusive": 0, "not-decided": 0,
    }  # fmt: skip
    assert "1 supported" in repr(made)
    with pytest.raises(KeyError):
        made["ch11.X.2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "does not exist; make a ledger with"),
        ("{", "is no ledger"),
        ("[]", "it holds no object"),
        ('{"rows": 3}', "it has no schema, scale"),
        ('{"schema": 99, "scale": "laptop", "rows": []}', "its schema is 99, not 1"),
        ('{"schema": 1, "scale": "laptop", "rows": [{"id": 1}]}', "is no ledger"),
        ('{"schema": 1, "scale": "laptop", "rows": [3]}', "is no ledger"),
    ],
)
def test_what_is_no_ledger_is_refused_in_one_line(
    tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "ledger.json").write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        ledger.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_row_of_the_designated_config_counts_whatever_it_says() -> None:
    # Breaks if rows are chosen by verdict: that would be picking results.
    own, other = row("inconclusive", n_seeds=5), row("supported", config="mnist", n_seeds=50)
    for ledgers in ([own, other], [other, own]):
        made = ledger.combine([Ledger("laptop", (one,)) for one in ledgers], [ENTRY])
        assert made["ch11.X.1"].verdict == "inconclusive"
    undecided = row("not-decided", reason="needs MNIST", config="laptop")
    made = ledger.combine([Ledger("laptop", (one,)) for one in (undecided, other)], [ENTRY])
    assert made["ch11.X.1"].config == "mnist"
    more = row("refuted", n_seeds=20)
    assert (
        ledger.combine([Ledger("laptop", (one,)) for one in (more, own)], [ENTRY])["ch11.X.1"]
        == more
    )
    empty = ledger.combine([], [ENTRY])
    assert empty["ch11.X.1"].reason == "not run: no run that judges it was given"


def test_the_larger_size_counts_whatever_its_seeds() -> None:
    """Breaks if many seeds of a size that is quicker hide what the larger one says."""
    small, large = row(config="smoke", n_seeds=100), row("refuted", n_seeds=5)
    for ledgers in ([small, large], [large, small]):
        made = ledger.combine([Ledger("smoke", (one,)) for one in ledgers], [ENTRY])
        assert made["ch11.X.1"].config == "laptop"
        assert made.scale == "laptop"


def test_a_condition_that_changed_is_a_change() -> None:
    """Breaks if a verdict passes for the same because it is the same word."""

    def changes(before: Row, after: Row) -> list[str]:
        pair = Ledger("laptop", (before,)), Ledger("laptop", (after,))
        return [change.what for change in ledger.compare(*pair)]

    given = {"effect": 1.0, "interval": (0.5, 1.5)}
    one, other = (row("conditional", condition=words, **given) for words in ("small", "large"))
    assert changes(one, other) == ["condition"]
    assert changes(one, one) == []
    arms = {"a": {"verdict": "supported"}, "b": {"verdict": "refuted"}}
    turned = {"a": {"verdict": "refuted"}, "b": {"verdict": "supported"}}
    first = row("conditional", condition="a holds, by 3", arms=arms, **given)
    assert changes(first, row("conditional", condition="by 4", arms=arms, **given)) == []
    assert changes(first, row("conditional", condition="", arms=turned, **given)) == ["condition"]


def test_explain_names_the_comparison_that_it_shows() -> None:
    """Breaks if one number of several stands there, and nobody knows of which comparison it is."""
    arms = {
        "first": {"verdict": "supported", "effect": 2.0, "interval": [1.5, None], "n": 5},
        "second": {"verdict": "refuted", "effect": 1.0, "interval": [0.5, 1.5], "n": 5},
    }
    found = row("conditional", condition="first", effect=1.0, interval=(0.5, 1.5), arms=arms)
    assert dict(ledger.explanation(ENTRY, found))["measured"] == "1.00 [0.50, 1.50] (second)"
    alone = row(effect=1.0, interval=(0.5, 1.5))
    assert dict(ledger.explanation(ENTRY, alone))["measured"] == "1.00 [0.50, 1.50]"
    assert ledger.arms_table(found).rows[1][:2] == ("second", "refuted")


def test_explain_says_of_a_config_that_it_is_no_sizes_own() -> None:
    """Breaks if a verdict on other data passes for that of the size."""
    run = {"seeds": 5}
    told = [
        dict(ledger.explanation(ENTRY, row(config=config, run=run)))["config"]
        for config in ("laptop", "cifar10", "")
    ]
    assert told == [
        "configs/margin/laptop.yaml",
        "configs/margin/cifar10.yaml, which is not that of any size",
        "none of this version: the run had settings of its own",
    ]


def test_an_end_at_the_boundary_is_written_as_it_is() -> None:
    """Breaks if the digits of a wide interval round its near end past what the verdict hangs on."""
    arm = {
        "verdict": "supported",
        "effect": 39.0,
        "interval": [1.1, 278.0],
        "n": 5,
        "boundary": 1.1,
    }
    found = judged(
        dataclasses.replace(ENTRY, unit="1"), "laptop",
        {ENTRY.id: {"verdict": "supported", "effect": 39.0, "interval": [1.1, 278.0], "n_seeds": 5,
                    "details": {"arms": {"peak": arm}}}}, "laptop", {},
    )  # fmt: skip
    told = dict(ledger.explanation(ENTRY, found))["measured"]
    assert told == "39 [1.1, 278]"
    assert ledger.arms_table(found).rows[0][2] == "39 [1.1, 278]"


def test_changes_are_those_beyond_intervals() -> None:
    first = row(effect=1.0, interval=(0.5, 1.5))
    near, far = row(effect=1.4, interval=(1.0, None)), row(effect=3.0, interval=(2.0, 4.0))
    other = row("refuted", effect=1.0, interval=(0.5, 1.5))

    def changes(before: Row, after: Row) -> list[str]:
        pair = Ledger("laptop", (before,)), Ledger("laptop", (after,))
        return [change.what for change in ledger.compare(*pair)]

    assert changes(first, first) == []
    assert changes(first, near) == []
    assert changes(first, far) == ["effect"]
    assert changes(first, other) == ["verdict"]
    assert changes(row(effect=1.0), row(effect=1.1)) == ["effect"]
    assert changes(row(), row(effect=1.0)) == ["effect"]
    assert changes(first, row(id="ch11.X.2")) == ["new", "gone"]


def test_the_table_of_changes_says_before_and_after() -> None:
    # Breaks if the sides are exchanged, or a statement of one ledger alone fails or looks judged in both.
    before = row(effect=1.0, interval=(0.5, 1.5), unit="nats"), row(id="ch11.X.2")
    after = row("refuted", effect=-2.0, interval=(-3.0, -1.0), unit="nats"), row(id="ch11.X.3")
    table = ledger.changes_table(ledger.compare(Ledger("laptop", before), Ledger("laptop", after)))
    assert table.columns == ("claim", "what", "before", "after")
    assert table.rows == (
        ("ch11.X.1", "verdict", "supported, 1.00 [0.50, 1.50] nats", "refuted, -2.0 [-3.0, -1.0] nats"),
        ("ch11.X.3", "new", "–", "supported, –"),
        ("ch11.X.2", "gone", "supported, –", "–"),
    )  # fmt: skip


def test_what_is_kept_names_no_folder(tmp_path: Path) -> None:
    run = {"scale": "laptop", "seeds": 5, "path": "../elsewhere/runs/x"}
    made = Ledger(
        "mixed", (row(run=run), row(id="ch11.X.2", config="", run=run), row(id="ch11.X.3"))
    )
    files = ledger.keep(made, tmp_path)
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "margin/results/laptop.ledger.json"
    ]
    content = json.loads(files[0].read_text())
    assert [one["id"] for one in content["rows"]] == ["ch11.X.1"]
    assert "elsewhere" not in files[0].read_text()


def test_the_folder_of_a_run_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    # Breaks if whoever compares two runs is told to put a ledger where it would hide one of them.
    (tmp_path / "results.nc").touch()
    with pytest.raises(
        UserError, match="holds no ledger; make one of it with `implicit-bias verify --merge "
    ):
        ledger.load(tmp_path)
