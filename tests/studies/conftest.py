"""What the tests of the runner share: a small study, and runs that differ in nothing but how."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from implicit_bias import studies
from implicit_bias.results import provenance, store
from implicit_bias.studies import runner, trainer, workbench
from implicit_bias.studies.base import Study
from implicit_bias.training import Lane
from implicit_bias.training.records import Trained
from tests.haste import hasty

SMALL = f"{Path(__file__).with_name('small_study.py')}:STUDY"


@pytest.fixture(scope="session")
def small() -> Study:
    """The study of ``small_study.py``, found as a user's would be."""
    return studies.get(SMALL)


@pytest.fixture
def _same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a commit made beside the tests not make two runs differ."""
    monkeypatch.setattr(provenance, "git_state", lambda folder: {"commit": None, "dirty": None})


@pytest.fixture
def _always_save(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save after every segment, however short."""
    monkeypatch.setattr(workbench, "CHECKPOINT_SECONDS", 0.0)


@pytest.fixture(scope="session")
def whole(small: Study, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Two seeds of the small study, run in one go; as loaded from the disk."""
    out = tmp_path_factory.mktemp("whole")
    # Made before the module's fixtures are.
    with pytest.MonkeyPatch.context() as patch, hasty():
        patch.setattr(provenance, "git_state", lambda folder: {"commit": None, "dirty": None})
        runner.run(small, small.settings(), out, scale="custom")
    return store.load(out)


@dataclasses.dataclass
class Counter:
    """Which lanes were trained: one entry a chunk that was begun, with the step it began at."""

    chunks: list[tuple[Sequence[Lane], int]] = dataclasses.field(default_factory=list)

    @property
    def lanes(self) -> list[Lane]:
        """All lanes that were begun, in order."""
        return [lane for chunk, _ in self.chunks for lane in chunk]

    def clear(self) -> None:
        """Forget."""
        self.chunks.clear()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Count what the runner trains."""
    counter = Counter()
    train_chunk: Callable[..., Trained] = trainer.train_chunk

    def counting(program: Any, chunk: Sequence[Lane], *rest: Any, **options: Any) -> Trained:
        resume = options["resume"]
        counter.chunks.append((chunk, 0 if resume is None else resume.step))
        return train_chunk(program, chunk, *rest, **options)

    monkeypatch.setattr(trainer, "train_chunk", counting)
    return counter
