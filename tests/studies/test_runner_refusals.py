"""What the runner refuses, and that it then has changed nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest

import implicit_bias
from implicit_bias.errors import UserError
from implicit_bias.studies import trainer
from implicit_bias.studies.base import Stage, Study
from implicit_bias.studies.record import How
from tests.studies.runs import run_small, tree

pytestmark = pytest.mark.usefixtures("_same_code")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _other(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if name == "version":
        monkeypatch.setattr(implicit_bias, "__version__", "99.0")
    elif name == "backend":
        monkeypatch.setattr(jax, "default_backend", lambda: "abacus")


@pytest.fixture(scope="module")
def finished(small: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run; no test may change it."""
    out = tmp_path_factory.mktemp("finished")
    run_small(small, out)
    return out


# Breaks if a folder that holds something else is run into, or is changed before it is refused.
@pytest.mark.parametrize(
    ("told", "options"),
    [
        ("other settings", {"settings": {"updates": 6}}),
        ("study 'small-study'", {"study": {"name": "another"}}),
        ("version '.*'; name another folder", {"other": "version"}),
        ("other data", {"settings": {"data": {"n_train": 24, "n_valid": 8, "n_test": 21}}}),
        ("shard None", {"shard": (1, 2)}),
        ("strategy by default", {"how": How(strategy="vmap")}),
        ("strategy by default", {"how": How(strategy="map")}),
        ("was run on", {"other": "backend"}),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_another_run_is_there(
    small: Study, finished: Path, told: str, options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch, counted: Any,
) -> None:  # fmt: skip
    options = dict(options)
    study = dataclasses.replace(small, **options.pop("study", {}))
    _other(monkeypatch, options.pop("other", ""))
    before = tree(finished)
    with pytest.raises(UserError, match=told):
        run_small(study, finished, 4, **options)
    assert tree(finished) == before
    assert counted.lanes == []


# Breaks if a folder with a user's own files is filled, or a broken record is believed.
@pytest.mark.parametrize(
    ("told", "prepare", "options"),
    [
        ("no run of this program", lambda out: _write(out / "thesis.tex", ""), {}),
        ("no run of this program", lambda out: _write(out / ".hidden", ""), {}),
        ("is a file", lambda out: _write(out, ""), {}),
        ("run.json cannot be read", lambda out: _write(out / "run.json", "{"), {}),
        ("run.json cannot be read", lambda out: _write(out / "run.json", "[1]"), {}),
        ("run.json cannot be read", lambda out: _write(out / "run.json", "{}"), {}),
        ("no run to resume", lambda out: None, {"resume": True}),
        ("no run to resume", lambda out: out.mkdir(), {"resume": True}),
        ("shard is 3/2", lambda out: None, {"shard": (3, 2)}),
        ("holds no seed", lambda out: None, {"shard": (3, 3)}),
        ("batch_size is 8", lambda out: None, {"settings": {"data": {"n_train": 4}}}),
        ("choose fewer", lambda out: None, {"settings": {"data": {"n_train": 9999}}}),
        ("devices is 99", lambda out: None, {"how": How(devices=99)}),
        ("raise it", lambda out: None, {"how": How(memory=10)}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_before_anything_is_written(
    small: Study, tmp_path: Path, told: str, prepare: Callable[[Path], Any], options: Any
) -> None:
    out = tmp_path / "out"
    prepare(out)
    before = tree(tmp_path)
    with pytest.raises(UserError, match=told):
        run_small(small, out, **options)
    assert tree(tmp_path) == before


# Breaks if a study that cannot be measured, or whose arm asks for one run twice (which no result can
# hold), is found out after hours of training.
def test_a_study_that_cannot_run(small: Study, tmp_path: Path) -> None:
    def unmeasurable(settings: Any, dataset: Any) -> Any:
        raise UserError("the probe set is too large")

    search = small.stages[0].lanes
    twice = (Stage("search", lambda *given: 2 * list(search(*given))),)
    for change, told in (
        ({"measurement": unmeasurable}, "probe set is too large"),
        ({"stages": twice}, "asks for one run twice"),
    ):
        with pytest.raises(UserError, match=told):
            run_small(dataclasses.replace(small, **change), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Breaks if a resumed run mixes two layouts, whose rounding differs, or if the one it was begun with can
# not be named again.
def test_the_layout_is_repeated(
    small: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts: list[tuple[str, int]] = []

    def stop(program: Any, *rest: Any, **options: Any) -> Any:
        layouts.append((program.layout.strategy, program.layout.tile))
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "train_chunk", stop)
    for how in (How("vmap", 2), How(), How("vmap"), How(tile=2)):
        with pytest.raises(KeyboardInterrupt):
            run_small(small, tmp_path, how=how)
    assert layouts == 4 * [("vmap", 2)]
    for how, told in ((How("map"), "strategy vmap"), (How(tile=4), "tile 2")):
        with pytest.raises(UserError, match=told):
            run_small(small, tmp_path, how=how, resume=True)
