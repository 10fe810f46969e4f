"""Settings that every study has."""

from __future__ import annotations

from pathlib import Path

import pytest

from implicit_bias import models
from implicit_bias.data.augmentation import Augmentation
from implicit_bias.errors import UserError
from implicit_bias.studies.images import ImageSettings
from implicit_bias.studies.settings import ModelSettings, StudySettings

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


def test_registered_models_are_chosen_by_name_and_options(tmp_path: Path) -> None:
    # As YAML gives them. Breaks if options are dropped, or change the hash of runs without them.
    given = '{"model": {"name": "resnet", "options": {"depth": 10, "width": 4, "norm": "group"}}}'
    settings = StudySettings.model_validate_json(given, strict=True)
    assert settings.model.build(3) == models.resnet(10, 4, 3, "group")
    given = '{"model": {"name": "cnn5", "options": {"width": 2, "pools": [1, 2, 2, 7]}}}'
    settings = StudySettings.model_validate_json(given, strict=True)
    assert settings.model.build(3) == models.cnn5(2, 3, pools=(1, 2, 2, 7))
    assert settings.digest() != StudySettings(model=ModelSettings(name="cnn5")).digest()
    own = tmp_path / "own.py"
    own.write_text("from flax import linen\nclass Net(linen.Module):\n    width: int\n")
    for model, says in (
        (ModelSettings(name="resnet", options={"dept": 10}), "cannot take options"),
        (ModelSettings(name=f"{own}:Net"), r"model \S*own\.py:Net is made with options"),
        (ModelSettings(name="reznet"), "did you mean 'resnet'"),
        (ModelSettings(options={"width": 3}), "dense is described by model.widths"),
    ):
        with pytest.raises(UserError, match=says):
            model.build(3)


def test_a_user_s_function_takes_options(tmp_path: Path) -> None:
    # Breaks if they do not reach it, or a wrong one ends in a traceback.
    file = tmp_path / "net.py"
    text = "from implicit_bias.models import Dense\ndef net(k, width):\n    return Dense((width,), k)\n"
    file.write_text(text)
    name = f"{file}:net"
    assert ModelSettings(name=name, options={"width": 5}).build(3) == models.Dense((5,), 3)
    with pytest.raises(UserError, match=r"cannot take 3 outputs and model.options \['wide'\]"):
        ModelSettings(name=name, options={"wide": 5}).build(3)


def test_augmentation_is_named_in_a_config_and_part_of_its_hash() -> None:
    # Breaks if a name means another augmentation, or two augmented runs share a folder.
    class Images(StudySettings):
        data: ImageSettings = ImageSettings()

    named = {
        "none": None,
        "flip": Augmentation(0, True),
        "crop-flip": Augmentation(4, True, "zeros"),
        "crop-flip-reflect": Augmentation(4, True, "reflect"),
    }
    made = [Images.model_validate({"data": {"augmentation": name}}) for name in named]
    assert [settings.data.augmented() for settings in made] == list(named.values())
    assert len({settings.digest() for settings in made}) == 4
