"""The plan says how convolutions are computed."""

from __future__ import annotations

from implicit_bias import losses, optimizers
from implicit_bias.models import Dense, Network, Scaled
from implicit_bias.models.layers import Affine, Conv, GlobalAverage
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
