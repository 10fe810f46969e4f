"""A study from a notebook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import implicit_bias as ib


def test_a_run_returns_its_dataset_and_names_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Breaks if settings do not arrive, the folder is not the command's, or a second call runs anew.
    monkeypatch.chdir(tmp_path)
    result = ib.run("stability", seeds=2, settings={"regularised.draws": 2})
    folder = Path(result.attrs["folder"])
    assert folder.parent == Path("runs")
    assert (folder / "report.html").is_file()
    assert set(result["seed"].values.tolist()) == {0, 1}
    written = (folder / "results.nc").stat().st_mtime_ns
    again = ib.run("stability", seeds=2, settings={"regularised.draws": 2})
    assert again.identical(result)
    assert (folder / "results.nc").stat().st_mtime_ns == written


def test_names_are_listed_and_wrong_ones_refused() -> None:
    assert dir(ib.results) == sorted(ib.results.MODULES)
    assert {"statistics", "store"} <= set(dir(ib.results))
    assert {"run", "UserError", "ledger", "theory", "pruning"} <= set(dir(ib))
    with pytest.raises(ib.UserError, match="unknown study 'stabilty'; did you mean 'stability'"):
        ib.run("stabilty")
    with pytest.raises(AttributeError):
        _ = ib.nothing


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"study": "stabilty"}, "did you mean 'stability'"),
        ({"study": "stability", "scale": "huge"}, "no size 'huge'"),
        ({"study": "stability", "seeds": 0}, "seeds"),
        ({"study": "stability", "seeds": "many"}, "seeds"),
        ({"study": "stability", "settings": {"updats": 3}}, "updats"),
        ({"study": "stability", "settings": {"regularised.draws": "few"}}, "regularised.draws"),
        ({"study": "stability", "settings": {"regularised.penalties": {1, 2}}}, "give numbers, texts"),
        ({"study": "stability", "settings": ["updates"]}, "settings is a list; give a mapping"),
        ({"study": "stability", "out": "file"}, "file"),
        ({"study": "nowhere.yaml"}, "nowhere.yaml"),
        ({"study": Path("nowhere.yaml")}, "nowhere.yaml"),
        ({"study": object()}, "study is of type object; give a study's name"),
        ({"study": "stability", "out": 3}, "out is of type int; give the path of a folder"),
        ({"study": "stability", "reporter": print}, "give an object with begin"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_said_in_one_line(
    given: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks if it is found out after minutes, or told as a traceback of the library's insides."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    with pytest.raises(ib.UserError, match=re.escape(said)) as caught:
        ib.run(given.pop("study"), **given)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in Path().iterdir()) == ["file"]
