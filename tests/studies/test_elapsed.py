"""The time of a run, over all its sittings."""

from __future__ import annotations

from pathlib import Path

import pytest

from implicit_bias.results.provenance import Clock
from implicit_bias.studies.elapsed import FILE, Elapsed


def test_sittings_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Breaks if a resumed run counts its last sitting alone, counts what was noted twice, or forgets when
    # it began.
    monkeypatch.setattr(Clock, "seconds", lambda clock: 7.0)
    first = Elapsed(tmp_path)
    first.note()
    first.note()
    began = first.timing().attrs["started"]
    monkeypatch.setattr(Clock, "seconds", lambda clock: 5.0)
    timing = Elapsed(tmp_path).timing(training=2.5)
    assert float(timing["wall_seconds"]) == 12.0
    assert timing["wall_seconds"].attrs == {"units": "s"}
    assert float(timing["training"]) == 2.5
    assert timing.attrs == {"started": began}


@pytest.mark.parametrize("spoilt", ["", "{", "[]", '{"started": "then"}', '{"seconds": null}'])
def test_a_spoilt_file_costs_the_time_alone(tmp_path: Path, spoilt: str) -> None:
    # Breaks if a run cannot go on because of how long it took.
    (tmp_path / FILE).write_text(spoilt)
    assert 0 <= Elapsed(tmp_path).seconds() < 60
