"""What of a user's file a thing is made of."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from implicit_bias.own_code import code_identity, from_file
from implicit_bias.plugins import load_attribute

TEXT = """
from math import sqrt
import math as other

SIZE = 3
RULE = lambda result: SIZE > 2

def helper(x):
    return sqrt(x) * SIZE

class Base:
    def __call__(self, x):
        return helper(x)

class Thing(Base):
    pass

MAKE, CLAIM = (lambda settings: Thing()), 1
"""


def _of(path: Path, text: str, attribute: str = "Thing") -> str:
    path.write_text(text)
    return code_identity(load_attribute(f"{path}:{attribute}"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("SIZE = 3", "SIZE = 4", id="constant"),
        pytest.param("sqrt(x)", "sqrt(x + 1)", id="function it calls"),
        pytest.param("return helper(x)", "return 2 * helper(x)", id="class it extends"),
        pytest.param("    pass", "    size = 3", id="its own"),
        pytest.param("import sqrt", "import cbrt as sqrt", id="what it imports"),
        pytest.param("MAKE, CLAIM", "if SIZE: SIZE = 5\nMAKE, CLAIM", id="statement of no name"),
        pytest.param("MAKE, CLAIM", "Base.size = 5\nMAKE, CLAIM", id="attribute set later"),
    ],
)
def test_an_edit_of_what_a_thing_uses_is_noticed(tmp_path: Path, before: str, after: str) -> None:
    # Breaks if numbers of a changed file are taken for those of the file as it is now.
    path = tmp_path / "own.py"
    assert before in TEXT
    for attribute in ("Thing", "MAKE"):  # the function without a name is found by its line
        first = _of(path, TEXT, attribute)
        assert first
        assert _of(path, TEXT.replace(before, after), attribute) not in ("", first)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("SIZE > 2", "SIZE > 3", id="rule of a claim"),
        pytest.param("SIZE = 3", "SIZE  =  3  # a comment\n\n", id="layout"),
        pytest.param("\nfrom math", "'''Words.'''\nfrom math", id="words"),
        pytest.param("as other", "as another", id="import it does not use"),
    ],
)
def test_an_edit_of_anything_else_is_not(tmp_path: Path, before: str, after: str) -> None:
    # Breaks if everything is computed again because a claim or a comment was changed.
    assert before in TEXT
    first = _of(tmp_path / "own.py", TEXT)
    assert _of(tmp_path / "own.py", TEXT.replace(before, after)) == first


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        pytest.param(
            "import functools\n"
            "def wrapping(function):\n"
            "    @functools.wraps(function)\n"
            "    def wrapped(x):\n"
            "        return function(x)\n"
            "    return wrapped\n"
            "thing = wrapping(lambda x: x)\n",
            ("x: x", "x: 2"),
            id="their own wrapper",
        ),
        pytest.param(
            "from contextlib import contextmanager\n@contextmanager\ndef thing():\n    yield 1\n",
            ("yield 1", "yield 2"),
            id="another's wrapper",
        ),
    ],
)
def test_an_edit_behind_a_wrapper_is_noticed(
    tmp_path: Path, text: str, edit: tuple[str, str]
) -> None:
    # Breaks if an edit is missed because a wrapper hides where a function is defined.
    first = _of(tmp_path / "own.py", text, "thing")
    assert _of(tmp_path / "own.py", text.replace(*edit), "thing") not in ("", first)


def test_only_what_is_of_the_users_counts(tmp_path: Path) -> None:
    # Breaks if results made with this package alone depend on how it is identified.
    path = tmp_path / "own.py"
    path.write_text(TEXT)
    helper = load_attribute(f"{path}:helper")
    thing = load_attribute(f"{path}:Thing")
    assert code_identity(3, len, Path, None) == ""
    assert code_identity(partial(helper, 3)) == code_identity(helper)  # type: ignore[call-overload]
    assert code_identity(thing()) == code_identity(thing)  # type: ignore[operator]
    assert from_file(thing)  # type: ignore[arg-type]
    assert not from_file(Path)


def test_the_text_is_that_which_was_loaded(tmp_path: Path) -> None:
    # Breaks if an edit that nobody has loaded, in a notebook, is taken for what ran.
    path = tmp_path / "own.py"
    path.write_text(TEXT)
    thing = load_attribute(f"{path}:Thing")
    before = code_identity(thing)
    path.write_text(TEXT.replace("SIZE = 3", "SIZE = 4"))
    assert code_identity(thing) == before
