"""YAML as people expect it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implicit_bias.errors import UserError
from implicit_bias.studies.yaml_text import dotted, parse


# Oracle: YAML 1.2's core schema, by hand. Breaks if PyYAML's 1.1 rules come back.
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1.e2", 100.0), ("-.5e1", -5.0), ("+3", 3), ("-0", 0), ("1_000", 1000),
        (".inf", math.inf), ("-.inf", -math.inf), ("true", True), ("False", False),
        ("null", None), ("~", None), ("", None), ("no", "no"), ("on", "on"), ("12:30", "12:30"),
        ("007", "007"), ("0x1f", "0x1f"), ("1e", "1e"), ("1.2.3", "1.2.3"),
        ("2024-01-01", "2024-01-01"),
        ("'1'", "1"), ("file.py:net", "file.py:net"), ("[1, a, {b: 2}]", [1, "a", {"b": 2}]),
    ],
)  # fmt: skip
def test_plain_words(text: str, value: Any) -> None:
    read, _ = parse(f"key: {text}", "here")
    assert read == {"key": value}
    assert type(read["key"]) is type(value)


def test_nan() -> None:
    assert math.isnan(parse(".nan", "here")[0])


# Breaks if a number that Python writes is not the number that is read.
@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_survive(value: float) -> None:
    assert parse(repr(value), "here")[0] == value


# Breaks if the line of a key is that of its value's first entry, or counted from 0.
def test_lines_of_keys() -> None:
    _, lines = parse("a: 1\nb:\n  c:\n    - 1\n    - {d: 2}\n", "f.yaml")
    assert lines[("a",)] == "f.yaml line 1"
    assert lines[("b",)] == "f.yaml line 2"
    assert lines[("b", "c")] == "f.yaml line 3"
    assert lines[("b", "c", 1, "d")] == "f.yaml line 5"


# Breaks if merging counts as giving a key twice, which would forbid overriding what was merged in.
def test_merging_sections() -> None:
    read, _ = parse("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n", "here")
    assert read["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2", "a: {b: 1, b: 2}", "[{a: 1, a: 1}]", "a: [", "{a}: 1: 2", "? [1]\n: 2", "\0"],
)
def test_refusals_are_one_line_with_the_source(text: str) -> None:
    with pytest.raises(UserError, match=r"^here[^\n]*$"):
        parse(text, "here")


def test_dotted() -> None:
    assert dotted(("a", "b", 0, "c")) == "a.b[0].c"
    assert dotted(()) == ""
