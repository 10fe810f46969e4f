"""What all commands share."""

from __future__ import annotations

from typing import Any

import pytest

from implicit_bias import runtime
from implicit_bias.cli import shared
from implicit_bias.studies.config import load_config


@pytest.mark.parametrize(("scale", "quickly"), [("smoke", True), ("laptop", False)])
def test_runs_of_seconds_are_compiled_quickly(
    scale: str, quickly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Breaks if what computes for minutes is compiled less well, or what computes for seconds as well.
    given: dict[str, Any] = {}

    def configure(**more: Any) -> str:
        given.update(more)
        return "set"

    monkeypatch.setattr(runtime, "configure", configure)
    _, settings, label = load_config("margin", scale)
    assert shared.prepare_jax(settings, label, None) == "set"
    assert given == {"float64": False, "compilation_cache": None, "compile_quickly": quickly}
