"""Tables in a terminal: columns that align and fit."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from implicit_bias.results.statistics import mean_interval
from implicit_bias.results.table import (
    display_width,
    make_table,
    plain,
    to_html,
    to_markdown,
    to_text,
)

ROWS = [
    ["equal epochs", 16, mean_interval([3.1, 3.3, 3.2])],
    ["equal updates, capped at a ratio of sixteen", 2048, None],
]

TABLE = make_table(["arm", "batch size", "test error (%)"], ROWS, caption="Outcome")


def test_columns_align_by_kind() -> None:
    # Breaks if numbers are ragged or text is pushed to the right.
    assert TABLE.align == ("left", "right", "right")
    lines = to_text(TABLE, width=100).split("\n")
    assert lines[0] == "Outcome"
    assert set(lines[2]) == {"─", " "}
    ends = {len(line) for line in (lines[1], lines[3], lines[4])}
    assert len(ends) == 1
    starts = lines[2].index("  ")
    assert lines[3][:starts].rstrip() == "equal epochs"


@pytest.mark.parametrize("width", [100, 60, 45, 30, 20])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", None])
def test_text_fits_and_loses_nothing(width: int, encoding: str | None) -> None:
    # Breaks if a line is longer than the terminal, a number is cut, or a character cannot be
    # written.
    table = make_table(
        ["claim", "effect"],
        [["johannsen.ctrl.noise-vs-compute λmax ≥ 1", mean_interval([1.0, 2.0, 4.0])]],
    )
    text = to_text(table, width=width, encoding=encoding)
    assert all(display_width(line) <= width for line in text.split("\n"))
    text.encode(encoding or "ascii")
    joined = re.sub(r"\s+", "", text)
    assert "[-1.5,6.1]" in joined  # 7/3 ± 4.303 · 0.8819
    given = plain("".join([*table.columns, *table.rows[0]]), encoding)
    assert Counter(filter(str.isalnum, joined)) == Counter(filter(str.isalnum, given))


def test_wide_tables_of_numbers_are_cut_into_blocks() -> None:
    # Breaks if many columns on a narrow terminal end in one line a cell, or a block does not say
    # whose numbers it holds.
    rows = [
        [arm, size, *(mean_interval([size + k, size + k + 1.5]) for k in range(4))]
        for arm in ("epochs", "updates")
        for size in (16, 64)
    ]
    table = make_table(["arm", "batch", *(f"quantity {k}" for k in range(4))], rows)
    lines = to_text(table, width=60).split("\n")
    assert all(display_width(line) <= 60 for line in lines)
    heads = [line for line in lines if line.startswith("arm  ")]
    assert len(heads) > 1
    assert all("batch" in head for head in heads)
    assert sum(line.startswith("updates") for line in lines) == 2 * len(heads)
    assert " ".join(heads).count("quantity") == 4


def test_wrapped_rows_keep_their_words() -> None:
    # Breaks if wrapping drops or repeats a word.
    words = [f"word{number}" for number in range(30)]
    text = to_text(make_table(["a", "b"], [[" ".join(words), "x"]]), width=40)
    assert re.findall(r"word\d+", text) == words


def test_an_interval_too_wide_for_its_place_is_parted_between_its_ends() -> None:
    # Breaks if a number is torn while there is a space to break at.
    table = make_table(["a", "b"], [["ours [−1.234567, 1.234567] is wide", "x"]])
    cells = [line.split() for line in to_text(table, width=20).split("\n")[2:]]
    assert cells == [["ours", "[−1.234567,", "x"], ["1.234567]", "is", "wide"]]


def test_wide_characters_count_twice() -> None:
    # Breaks if columns are aligned by len().
    table = make_table(["数据", "n"], [["图像", 10], ["e\u0301", 5]])
    lines = to_text(table, width=40).split("\n")
    assert len({display_width(line) for line in lines}) == 1


def test_empty_table() -> None:
    # Breaks if a study without rows cannot be shown.
    table = make_table(["a", "b"], [])
    assert to_text(table, width=20).split("\n")[0] == "a  b"
    assert to_markdown(table).count("\n") == 1
    assert "<tbody>" in to_html(table)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_estimates_stay_on_one_line(width: int) -> None:
    # Breaks if an estimate is torn from its interval while a text or a head could be wrapped, or the
    # columns be shared out over two tables; or if rows are set apart for one long cell.
    estimates = ["1.0074 [1.0006, 1.0142]", "0.80 [0.62, 1.03]", "peak 2.34 [1.94, 2.82]"]
    rows = [
        [arm, 0.5, "(2 + 2β₁)/((1 − β₁)η)" if arm == "adam" else "2/η", cell, "7.85 × 10⁻⁴", cell]
        for arm, cell in zip(("gd", "adam", "flow"), estimates, strict=True)
    ]
    heads = ["arm", "η", "threshold", "late sharpness / threshold", "train loss", "again"]
    text = to_text(make_table(heads, rows), width=width)
    assert all(display_width(line) <= width for line in text.split("\n"))
    for cell in (*estimates, "7.85 × 10⁻⁴"):
        assert any(cell in line for line in text.split("\n")), text
    tables = text.split("\n\n")
    assert all("─" in table for table in tables)  # no blank line but between tables


def test_no_number_is_broken_where_it_fits() -> None:
    # Breaks if a power of ten or a percentage starts a line of its own.
    table = make_table(["claim", "effect"], [["a.b", "error 5.3 × 10⁻¹⁵ (allowed ±1.0 × 10⁻¹⁰)"]])
    for width in range(24, 60):
        lines = to_text(table, width=width).split("\n")
        assert any("5.3 × 10⁻¹⁵" in line for line in lines)
        assert any("±1.0 × 10⁻¹⁰)" in line for line in lines)
