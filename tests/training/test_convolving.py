"""The plan says how convolutions are computed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from implicit_bias import losses, optimizers
from implicit_bias.models import Dense, Network, Scaled
from implicit_bias.models.layers import Affine, Conv, GlobalAverage
from implicit_bias.studies.settings import ModelSettings
from implicit_bias.training import Recipe
from implicit_bias.training.convolving import convolution_reasons


def recipe(model: object) -> Recipe:
    return Recipe(
        model=model,
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get("sgd"),
        schedule=optimizers.Schedule(),
        batch_size=8,
        n_train=16,
    )


def test_what_is_chosen_for_an_update_is_said():
    # Broken if the batch, the gradients, a wrapper or a request of the network is not heeded.
    chain = (Conv(32), Conv(32), GlobalAverage(), Affine(2))
    lines = convolution_reasons(recipe(Scaled(Network(chain))), (32, 32, 3), "cpu")
    assert sorted(line.split("'")[1] for line in lines) == ["blocks", "rows", "winograd"]
    (line,) = convolution_reasons(recipe(Network(chain, convolution="rows")), (32, 32, 3), "cpu")
    assert line.startswith("convolutions by 'rows' (asked for)")
    # Nobody asks for gradients of the inputs.
    assert "images of 3 x 3, 3 to 32" not in line
    assert convolution_reasons(recipe(Dense((3,), 2)), (32, 32, 3), "cpu") == ()


@pytest.mark.parametrize(
    ("name", "options"),
    [("conv", {"channels": (4, 8)}), ("cnn5", {"width": 2}), ("vgg", {"width": 2}),
     ("resnet", {"depth": 10, "width": 2})],
)  # fmt: skip
def test_a_config_chooses_how_convolutions_are_computed(name: str, options: dict[str, Any]):
    # Broken if a family does not pass the choice on, or passes on another.
    given = json.dumps({"name": name, "options": {**options, "convolution": "rows"}})
    chosen = ModelSettings.model_validate_json(given, strict=True).build(3)
    plain = ModelSettings(name=name, options=options).build(3)
    assert chosen == dataclasses.replace(plain, convolution="rows")
    assert "convolution" not in plain.describe()
    first, *others = convolution_reasons(recipe(chosen), (32, 32, 3), "cpu")
    assert first.startswith("convolutions by 'rows' (asked for)")
    # Strips are of stride 1: only a ResNet has other strides, for which the table chooses.
    assert bool(others) == (name == "resnet")
