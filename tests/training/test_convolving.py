"""The plan says how convolutions are computed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from implicit_bias import losses, optimizers
from implicit_bias.models import Dense, Network, Scaled
from implicit_bias.models.layers import Affine, Conv, Flatten, GlobalAverage
from implicit_bias.studies.settings import ModelSettings
from implicit_bias.training import Recipe
from implicit_bias.training.convolving import convolutions_of, listed, summarised


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
    found = convolutions_of(recipe(Scaled(Network(chain))), (32, 32, 3), "cpu")
    assert {choice.method for choice, _ in found} == {"blocks", "rows", "winograd"}
    found = convolutions_of(recipe(Network(chain, convolution="rows")), (32, 32, 3), "cpu")
    assert {(choice.method, choice.reason) for choice, _ in found} == {("rows", "asked for")}
    # Nobody asks for gradients of the inputs.
    assert len(found) == 5
    assert not [one for _, one in found if str(one).startswith("images of 3 x 3, 3 to 32")]
    assert convolutions_of(recipe(Dense((3,), 2)), (32, 32, 3), "cpu") == ()
    assert summarised(()) == ()


def test_a_line_says_of_each_method_what_it_computes():
    # Broken if a method has several lines, a shape is left out of a range, or the details are lost.
    small, large = ((Conv(width), Flatten(), Affine(2)) for width in (4, 8))
    found = [
        row
        for chain, side in ((small, 6), (large, 32), (small, 6))
        for row in convolutions_of(recipe(Network(chain)), (side, side, 3), "cpu")
    ]
    lines = summarised(found)
    fit, few, rest = (
        "the patches of a batch fit in a cache",
        "few channels",
        "a few examples at a time",
    )
    for line, method, reason, said in zip(
        lines, ("patches", "rows", "blocks"), (fit, few, rest), (
            "2 products, sums, gradients of weights; patches of 3 x 3, 3 to 4 channels, images of 6 x 6",
            "1 product, sums; patches of 3 x 3, 3 to 8 channels, images of 32 x 32",
            "1 product, gradients of weights; patches of 3 x 3, 3 to 8 channels, images of 32 x 32",
        ), strict=True,
    ):  # fmt: skip
        assert line.startswith(f"convolutions by '{method}' (cpu: {reason}")
        assert line.endswith(f"): {said}")
    assert [row["method"] for row in listed(found)] == ["patches", "rows", "blocks"]
    assert listed(found)[0]["products"] == [
        f"{made} of 3 x 3, 3 to 4 channels, 6 x 6" for made in ("sums", "weight")
    ]
    both = summarised([*found, *convolutions_of(recipe(Network(small)), (32, 32, 3), "cpu")])
    assert len(both) == 3
    assert "2 products, sums; patches of 3 x 3, 3 to 8 channels" in both[1]


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
    first, *others = summarised(convolutions_of(recipe(chosen), (32, 32, 3), "cpu"))
    assert first.startswith("convolutions by 'rows' (asked for)")
    # Strips are of stride 1: only a ResNet has other strides, for which the table chooses.
    assert bool(others) == (name == "resnet")
