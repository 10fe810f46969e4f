"""What a schema allows, in words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter

from implicit_bias.studies.schema_words import allowed, keys, locate, show


class Inner(BaseModel):
    size: int


class Other(BaseModel):
    length: float


class Outer(BaseModel):
    inner: Inner | Other | None
    many: dict[str, Inner]
    pair: tuple[int, str]


# Oracle: pydantic writes the schema, the words are by hand. Breaks if a bound is turned or lost.
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "a whole number"),
        (Annotated[float, Field(gt=0, le=1)], "a number > 0 and <= 1"),
        (Annotated[int, Field(ge=2, lt=9)], "a whole number >= 2 and < 9"),
        (Annotated[float, Field(gt=0)] | None, "a number > 0, or null"),
        (Literal["a", "b"], "one of a, b"),
        (Literal["a"], "'a'"),
        (bool, "true or false"),
        (str, "text"),
        (tuple[int, ...], "a list, each a whole number"),
        (tuple[float, float], "a list of 2, each a number"),
        (Annotated[list[str], Field(min_length=1)], "a list of at least 1, each text"),
        (
            Annotated[list[str], Field(min_length=1), AfterValidator(list), Field(min_length=4)],
            "a list of at least 4, each text",
        ),
        (Inner, "a section with keys size"),
        (dict[str, int], "a section"),
        (Any, ""),
    ],
)
def test_words(kind: Any, words: str) -> None:
    schema = TypeAdapter(kind).json_schema()
    assert allowed(schema, schema) == words


# Breaks if the names of union branches, which no one has written, stay in the key that is shown.
def test_locate() -> None:
    schema = Outer.model_json_schema()
    path, node = locate(("inner", "Inner", "size"), schema, keep_last=False)
    assert path == ("inner", "size")
    assert node["type"] == "integer"
    assert locate(("inner", "Inner", "siez"), schema, keep_last=True)[0] == ("inner", "siez")
    assert locate(("many", "any name", "size"), schema, keep_last=False)[0] == (
        "many", "any name", "size",
    )  # fmt: skip
    assert locate(("pair", 1), schema, keep_last=False)[1]["type"] == "string"
    # Without a schema everything is kept.
    assert locate(("a", "b"), {}, keep_last=False)[0] == ("a", "b")


def test_keys_go_into_sections() -> None:
    schema = Outer.model_json_schema()
    found = {path: section for path, _, section in keys(schema, schema)}
    assert found[("inner",)] is True
    assert found[("inner", "size")] is False
    assert found[("inner", "length")] is False
    assert found[("pair",)] is False


def test_show_is_as_in_yaml_and_short() -> None:
    assert show(None) == "null"
    assert show(True) == "true"
    assert show("a") == "'a'"
    assert len(show([0] * 1000)) <= 60
