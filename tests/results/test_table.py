"""Tables: numbers with as many digits as they deserve, in columns that fit."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st

from implicit_bias.errors import UserError
from implicit_bias.results.claims import Finding, identity, to_json
from implicit_bias.results.statistics import mean_interval
from implicit_bias.results.table import (
    display_width,
    effect_text,
    format_cell,
    format_estimate,
    format_number,
    make_table,
    plain,
    published_text,
    to_html,
    to_markdown,
    to_text,
    verdict_table,
)

# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (1.6132, 1.203, 2.018, "1.61 [1.20, 2.02]"),
        (0.0312, 0.0298, 0.0326, "0.0312 [0.0298, 0.0326]"),
        (3.0, 0.15, 59.0, "3.0 [0.1, 59.0]"),  # a ratio: its lower end is not 0
        (448.2, 1.25, 916.4, "448 [1, 916]"),  # nor here, where both sides are long
        (12345, 11000, 14000, "12300 [11000, 14000]"),
        (1.61e-5, 1.2e-5, 2.02e-5, "1.61 [1.20, 2.02] × 10⁻⁵"),
        (3e7, 2.5e7, 3.6e7, "3.00 [2.50, 3.60] × 10⁷"),
        (-0.0004, -0.012, 0.011, "0.000 [-0.012, 0.011]"),  # never -0.000
        (0.0, 0.0, 0.0, "0 [0, 0]"),
        (1.0, 1.0, 1.0, "1.000 [1.000, 1.000]"),  # no width says nothing of digits
        (1.5, -math.inf, 2.0, "1.50 [-∞, 2.00]"),
        (1.5, -math.inf, math.inf, "1.500 [-∞, ∞]"),
        (5.0, math.nan, math.nan, "5 [no interval]"),
        (math.nan, math.nan, math.nan, "n/a"),
        (None, None, None, "n/a"),
    ],
)
def test_estimates(value: Any, low: Any, high: Any, text: str) -> None:
    # Breaks if the digits do not follow the interval, or the three numbers differ in form.
    assert format_estimate(value, low, high) == text


@given(
    st.floats(-1e12, 1e12),
    st.floats(1e-12, 1e12),
    st.floats(1e-3, 1e3),
)
def test_an_estimate_reads_back_within_its_digits(
    value: float, half: float, lopsided: float
) -> None:
    # Breaks if rounding moves a bound by more than a twentieth of the interval's width.
    assume(half > 1e-7 * abs(value))  # far below that, four digits of the value stand
    low, high = value - half, value + half * lopsided
    text = format_estimate(value, low, high)
    found = re.fullmatch(r"(\S+) \[(\S+), (\S+)\](?: × 10([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+))?", text)
    assert found, text
    power = int((found[4] or "0").translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")))
    tolerance = (high - low) / 20 + 1e-10 * max(abs(low), abs(high))
    for shown, true in zip(found.groups()[:3], (value, low, high), strict=True):
        assert abs(float(shown) * 10.0**power - true) <= tolerance


def test_estimates_are_taken_from_records_of_any_kind() -> None:
    # Breaks if the statistics module's record, a finding or its JSON form is not understood.
    made = mean_interval([1.0, 2.0, 3.0])
    text = "2.0 [-0.5, 4.5]"  # t interval: 2 ± 4.303 · 1/√3
    assert format_estimate(made) == text
    assert format_cell(made) == text
    assert format_cell(SimpleNamespace(effect=made.value, interval=(made.low, made.high))) == text
    assert format_cell({"value": made.value, "low": made.low, "high": made.high}) == text


def test_percent() -> None:
    # Breaks if the value is scaled and the interval is not.
    assert format_estimate(0.0312, 0.0298, 0.0326, percent=True) == "3.12 [2.98, 3.26] %"


def test_diverged() -> None:
    # Breaks if a lane that diverged reads "nan".
    assert format_estimate(None, missing="diverged") == "diverged"
    assert format_number(math.nan, missing="diverged") == "diverged"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.42131, "0.4213"),
        (2048.0, "2048"),
        (1.61e-5, "1.610 × 10⁻⁵"),
        (9.99996, "10.00"),
        (99999.96, "100000"),
        (0.99996, "1.000"),
        (123456.7, "123500"),
        (1e6, "1.000 × 10⁶"),
        (-0.0, "0"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (None, "n/a"),
    ],
)
def test_numbers(value: Any, text: str) -> None:
    # Breaks at the edges: rounding up into another power of ten, negative zero, whole numbers.
    assert format_number(value) == text


def test_cells_of_other_kinds() -> None:
    # Breaks if NumPy's or xarray's scalars, or a truth value, are written by their repr.
    assert format_cell(np.float32(0.5)) == "0.5000"
    assert format_cell(np.int64(16)) == "16"
    assert format_cell(xr.DataArray(0.25)) == "0.2500"
    assert format_cell(np.bool_(True)) == "yes"
    assert format_cell(False) == "no"
    assert format_cell(None) == "n/a"
    assert format_cell("\x1b[31mred\x07") == "[31mred"  # no text can drive the terminal


# ------------------------------------------------------------------------------------------- layout

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


def test_wide_characters_count_twice() -> None:
    # Breaks if columns are aligned by len().
    table = make_table(["数据", "n"], [["图像", 10], ["e\u0301", 5]])
    lines = to_text(table, width=40).split("\n")
    assert len({display_width(line) for line in lines}) == 1


def test_plain_spells_out_what_an_encoding_lacks() -> None:
    # Breaks if a Windows console or LANG=C turns every sign into a question mark.
    assert plain("λmax · η ≥ 2 × 10⁻⁵", "ascii") == "lambdamax * eta >= 2 x 10^-5"
    assert plain("λmax", "utf-8") == "λmax"
    assert plain("図", "ascii") == "?"


def test_row_of_wrong_length_is_refused() -> None:
    # Breaks if a missing cell shifts the others silently.
    with pytest.raises(UserError, match="row 1 of the table has 1 cells"):
        make_table(["a", "b"], [[1, 2], [3]])


def test_empty_table() -> None:
    # Breaks if a study without rows cannot be shown.
    table = make_table(["a", "b"], [])
    assert to_text(table, width=20).split("\n")[0] == "a  b"
    assert to_markdown(table).count("\n") == 1
    assert "<tbody>" in to_html(table)


def test_markdown_escapes_its_own_signs() -> None:
    # Breaks if |error| makes new columns or <b> becomes HTML.
    table = make_table(["a", "n"], [["|error| <b> *x*\nline", 3]])
    lines = to_markdown(table).split("\n")
    assert lines[1] == "|---|---:|"
    assert lines[2] == r"| \|error\| \<b\> \*x\*<br>line | 3 |"


def test_html_escapes_and_marks_headers() -> None:
    # Breaks if a data set's name can inject markup, or cells lose their headers.
    table = make_table(["<arm>", "n"], [["<script>", 3]], caption="a & b", notes=("x < y",))
    text = to_html(table)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "<caption>a &amp; b</caption>" in text
    assert '<th scope="col">&lt;arm&gt;</th>' in text
    assert '<th scope="row">' in text
    assert '<td class="number">3</td>' in text
    assert "x &lt; y" in text


# ----------------------------------------------------------------------------------------- verdicts


def test_verdict_table() -> None:
    # Breaks if a finding's fields change their meaning, or the condition is left out.
    findings = [
        Finding("conditional", 1.6, (1.2, 2.0), 10, condition="at equal epochs", id="a.b"),
        Finding("not-decided", reason="arm not run", id="a.c", kind="ill-posed"),
        dataclasses.replace(identity(0.003, 0.02, n_seeds=5), id="a.d", kind="identity"),
    ]
    table = verdict_table(findings)
    assert table.rows[0][:4] == ("a.b", "conditional: at equal epochs", "1.60 [1.20, 2.00]", "10")
    assert table.rows[1][:3] == ("a.c", "not-decided: arm not run", "–")
    assert table.rows[2][2] == "error 0.0030 (within ±0.020)"
    # The JSON form, after a round trip, reads the same.
    assert verdict_table(json.loads(json.dumps(to_json(findings)))) == table
    assert "published" in verdict_table(findings, detailed=True).columns


def test_long_conditions_are_cut_and_said_to_be() -> None:
    # Breaks if a condition over twenty arms fills the screen, or is cut in silence.
    long = Finding("conditional", 1.0, (0.5, 1.5), 5, condition="supported: " + "arm, " * 60)
    table = verdict_table([long])
    assert len(table.rows[0][1]) <= 92
    assert table.rows[0][1].endswith("arm …")
    assert table.notes
    whole = verdict_table([long], longest=None)
    assert whole.rows[0][1].count("arm") == 60
    assert not whole.notes


def test_unbounded_interval_in_json_reads_as_infinite() -> None:
    # Breaks if null, JSON's only way to say infinity here, reads as "no interval".
    finding = {"kind": "statistical", "effect": 0.3, "interval": [-0.5, None]}
    assert effect_text(finding) == "0.30 [-0.50, ∞]"


def test_controls_show_their_tolerance_only_if_they_have_one() -> None:
    # Breaks if a control's tolerance is shown as an interval of its effect, or the other way round.
    by_error = {"kind": "required-control", "effect": 0.003, "interval": [-0.02, 0.02]}
    assert effect_text(by_error) == "error 0.0030 (within ±0.020)"
    compared = {**by_error, "details": {"arms": {"a": {}}}}
    assert effect_text(compared) == "0.003 [-0.020, 0.020]"


def test_published_values() -> None:
    # Breaks if a published 11.8 reads 11.80, as if more digits had been published.
    assert published_text({"published": 11.8}) == "11.8"
    assert published_text({"published": "monotone"}) == "monotone"
    assert published_text({"published": None}) == "–"
