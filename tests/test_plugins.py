"""Attributes of users' modules and files, and every way in which they can fail to load."""

from __future__ import annotations

import dataclasses
import pickle
import re
from pathlib import Path

import pytest

from implicit_bias.errors import UserError
from implicit_bias.plugins import blamed, is_plugin, load_attribute

SOURCE = """
import dataclasses

@dataclasses.dataclass(frozen=True)
class Thing:
    width: int = 3

    @classmethod
    def wide(cls):
        return cls(100)

thing = Thing()
runs = []
runs.append(1)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "things.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("package.module:name", True),
        ("path/to/file.py:name", True),
        ("digits", False),
        ("file.npz", False),
        ("C:\\data\\file.npz", False),
        (":name", False),
        ("module:", False),
        (None, False),
    ],
)
def test_notation(spec: object, expected: bool) -> None:
    # Broken by taking a plain name or a Windows path for a plug-in.
    assert is_plugin(spec) is expected


def test_modules_and_dotted_attributes() -> None:
    # Broken by loading a copy, or by stopping at the first dot.
    assert load_attribute("pathlib:Path.cwd")() == Path.cwd()
    assert load_attribute("pathlib:Path") is Path


def test_files(file: Path) -> None:
    # Broken by running a file again: its classes would no longer equal themselves.
    thing = load_attribute(f"{file}:thing", kind="model")
    again = load_attribute(f"{file}:Thing")
    assert isinstance(thing, again)
    assert load_attribute(f"{file}:Thing.wide")().width == 100
    assert load_attribute(f"{file}:runs") == [1]
    assert pickle.loads(pickle.dumps(thing)) == thing
    assert dataclasses.replace(thing, width=4).width == 4


def test_files_leave_nothing_behind_and_follow_changes(file: Path) -> None:
    # Broken by stale byte code: a change within the clock's resolution must be seen.
    assert load_attribute(f"{file}:thing").width == 3
    file.write_text(SOURCE.replace("width: int = 3", "width: int = 4"))
    assert load_attribute(f"{file}:thing").width == 4
    assert [p.name for p in file.parent.iterdir()] == ["things.py"]


def test_relative_paths_start_from_the_current_folder(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by resolving against the package.
    monkeypatch.chdir(file.parent)
    assert load_attribute("things.py:thing").width == 3
    assert load_attribute("./things.py:thing").width == 3


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def broken(:\n    pass\n", r"line 1\): SyntaxError"),
        ("x = 1\n\ny = x / 0\n", r"line 3\): ZeroDivisionError: division by zero"),
        ("import no_such_thing_here\n", "line 1.*No module named 'no_such_thing_here'"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("raise ValueError('two\\nlines')\n", "ValueError: two$"),
        ("raise ValueError\n", "ValueError: no message"),
        ("other = 1\n", "unknown attribute of .*'thing'.*known: other"),
        ("nul = '\0'\n", "running it failed"),
    ],
)
def test_failing_files_give_one_line(tmp_path: Path, source: str, words: str) -> None:
    # Broken by a traceback through this package, or by a failed module that stays loaded.
    path = tmp_path / "bad.py"
    path.write_text(source)
    for _ in range(2):
        with pytest.raises(UserError, match=words) as caught:
            load_attribute(f"{path}:thing", kind="loss")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nothing", "not of the form module:attribute"),
        ("absent.py:thing", "model 'absent.py:thing': there is no file absent.py"),
        ("no_such_module_xyz:thing", "there is no module 'no_such_module_xyz'"),
        ("json.no_such_part:thing", "there is no module 'json.no_such_part'"),
        ("json:dmups", "unknown attribute of json 'dmups'; did you mean 'dumps'"),
        ("json:dumps.nothing", "unknown attribute of json 'dumps.nothing'"),
        ("..relative:thing", "model '..relative:thing'"),
    ],
)
def test_missing_modules_give_one_line(spec: str, words: str) -> None:
    # Broken by an ImportError.
    with pytest.raises(UserError, match=words):
        load_attribute(spec, kind="model")


def test_a_module_that_lies_in_the_current_folder_is_pointed_out(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by leaving the user to find out that the current folder is not on the import path.
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr("sys.path", [p for p in __import__("sys").path if p])
    with pytest.raises(UserError, match=r"write things\.py:thing"):
        load_attribute("things:thing", kind="model")


def test_a_module_with_a_missing_import_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by blaming the module for what it imports.
    (tmp_path / "half_a_module.py").write_text("import no_such_thing_here\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"importing half_a_module failed.*no_such_thing_here"):
        load_attribute("half_a_module:thing", kind="model")


def test_an_error_within_a_users_file_is_told_by_its_line(tmp_path: Path) -> None:
    # Breaks if an error of this package is blamed on the user, or one of theirs is not.
    path = tmp_path / "own.py"
    path.write_text("def work(values):\n    return [one + other for one in values]\n")
    work = load_attribute(f"{path}:work")
    with pytest.raises(NameError) as caught:
        work([1])  # type: ignore[operator]
    # From Python 3.12 on a comprehension is no function of its own.
    assert re.fullmatch(
        r"own\.py line 2(, in work)?: NameError: name 'other' is not defined.*",
        blamed(caught.value) or "",
    )
    with pytest.raises(ZeroDivisionError) as ours:
        _ = 1 / 0
    assert blamed(ours.value) is None
