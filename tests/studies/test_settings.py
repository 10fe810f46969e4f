"""Settings that every study has."""

from __future__ import annotations

from pathlib import Path

import pytest

from implicit_bias import models
from implicit_bias.errors import UserError
from implicit_bias.studies.settings import ModelSettings

FILE = """
from implicit_bias.models import Dense

def network(outputs):
    return Dense((5,), outputs)

def fixed():
    return Dense((6,), 2)

READY = Dense((7,), 2)

def wrong(outputs):
    return outputs
"""


@pytest.mark.parametrize(
    ("name", "outputs", "width"), [("network", 3, 5), ("fixed", 2, 6), ("READY", 2, 7)]
)
def test_a_user_s_model_is_a_network_or_a_function(
    tmp_path: Path, name: str, outputs: int, width: int
) -> None:
    # Breaks if one of the documented ways to name a model is not understood.
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    built = ModelSettings(name=f"{file}:{name}").build(outputs)
    assert built == models.Dense((width,), outputs)


def test_a_function_that_gives_no_model_is_refused(tmp_path: Path) -> None:
    # Breaks if what is no model gets as far as training.
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    with pytest.raises(UserError, match="lacks init"):
        ModelSettings(name=f"{file}:wrong").build(3)


def test_the_named_network_has_the_widths_of_the_settings() -> None:
    # Breaks if a setting is dropped on the way to the network.
    built = ModelSettings(widths=(3, 4), activation="erf", init="glorot", bias=False).build(2)
    assert built == models.Dense((3, 4), 2, "erf", "standard", "glorot", bias=False)
