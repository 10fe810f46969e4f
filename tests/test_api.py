"""A study from a notebook."""

from __future__ import annotations

from pathlib import Path

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
    assert {"run", "UserError", "ledger", "theory", "pruning"} <= set(dir(ib))
    with pytest.raises(ib.UserError, match="unknown study 'stabilty'; did you mean 'stability'"):
        ib.run("stabilty")
    with pytest.raises(AttributeError):
        _ = ib.nothing
