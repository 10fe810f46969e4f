"""Runs of a user's file that is edited between them: what an edit changes is made anew, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from implicit_bias import studies
from implicit_bias.errors import UserError
from implicit_bias.studies import finished, runner
from implicit_bias.studies.reporter import Silent
from implicit_bias.studies.runner import Run

pytestmark = pytest.mark.usefixtures("_same_code")

MODEL = """
import jax.numpy as jnp
from implicit_bias.models import Dense

class Net(Dense):
    def apply(self, params, state, x, *, train, key=None):
        return super().apply(params, state, 1.0 * x, train=train, key=key)

WIDTH = 3

def network(outputs):
    return Net((WIDTH,), outputs)
"""
SMALL = Path(__file__).with_name("small_study.py").read_text(encoding="utf-8")


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        """Keep a line."""
        self.lines.append(line)


def _run(out: Path, text: str, settings: dict[str, Any] | None = None, **how: Any) -> Run:
    """Run the small study with its file as given."""
    path = out.parent / "own.py"
    path.write_text(text, encoding="utf-8")
    study = studies.get(f"{path}:STUDY")
    given = study.settings.model_validate({"seeds": 1, **(settings or {})})
    return runner.run(study, given, out, scale="custom", **how)


# Breaks if lanes of a study's file as it was are handed out for those of the file as it is, if what
# stayed is trained again, or if nobody is told.
def test_changed_lanes_are_trained_and_no_others(tmp_path: Path, counted: Any) -> None:
    out, heard, keep = tmp_path / "out", Heard(), {"keep_params": True}
    _run(out, SMALL, keep)
    counted.clear()
    again = _run(out, SMALL.replace("0.05}", "0.06}"), keep, reporter=heard)
    assert not again.already_done
    assert [lane.tags["arm"] for lane in counted.lanes] == ["target"]
    steps = {float(step) for step in again.result["step_size"].values}
    assert min(abs(step - 0.06) for step in steps) < 1e-6
    assert min(abs(step - 0.05) for step in steps) > 1e-3
    assert any("files of your own have changed" in line for line in heard.lines)
    assert _run(out, SMALL.replace("0.05}", "0.06}"), keep).already_done


# Breaks if a measurement of the file as it was is kept.
def test_a_changed_measurement_is_made_anew(tmp_path: Path) -> None:
    keep = {"keep_params": True}
    before = _run(tmp_path / "out", SMALL, keep)
    after = _run(
        tmp_path / "out", SMALL.replace("factor: float = 1.0", "factor: float = 2.0"), keep
    )
    assert not after.already_done
    assert not before.result["moved"].identical(after.result["moved"])


# Breaks if a comment or a claim costs the training that it does not touch.
def test_what_decides_no_number_computes_nothing(tmp_path: Path, counted: Any) -> None:
    _run(tmp_path / "out", SMALL)
    counted.clear()
    changed = SMALL.replace('"There are seeds"', '"Seeds there are"') + "\n# the end\n"
    assert _run(tmp_path / "out", changed).already_done
    assert counted.lanes == []


# Breaks if the network of a file as it was is taken for that of the file as it is, in a study that comes
# with the package or another file: settings say the same.
@pytest.mark.parametrize("edit", [("1.0 * x", "2.0 * x"), ("WIDTH = 3", "WIDTH = 4")])
def test_an_edited_model_is_trained_anew(tmp_path: Path, edit: tuple[str, str]) -> None:
    model = tmp_path / "net.py"
    settings = {"model": {"name": f"{model}:network"}}
    model.write_text(MODEL)
    before = _run(tmp_path / "out", SMALL, settings)
    model.write_text(MODEL.replace(*edit))
    after = _run(tmp_path / "out", SMALL, settings)
    assert not after.already_done
    assert not before.result["log_train_loss"].identical(after.result["log_train_loss"])


# Breaks if shards of two versions of a file are put into one result.
def test_shards_of_different_files_are_refused(tmp_path: Path) -> None:
    two = {"seeds": 2}
    _run(tmp_path / "one", SMALL, two, shard=(1, 2))
    _run(tmp_path / "two", SMALL.replace("0.05}", "0.06}"), two, shard=(2, 2))
    with pytest.raises(UserError, match="different versions of your own files"):
        finished.merge([tmp_path / "one", tmp_path / "two"], tmp_path / "both")
