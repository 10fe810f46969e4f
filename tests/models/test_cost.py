"""Parameters and arithmetic of networks: against XLA, hand counts, and what is published."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.models import (
    Dense,
    Linearised,
    Padded,
    Scaled,
    Transformer,
    abstract_init,
    cnn5,
    conv_net,
    from_flax,
    model_cost,
    resnet,
)

from .harness import LinenBlock


@pytest.mark.parametrize(
    ("model", "parameters", "multiply_adds"),
    [
        # ResNet-18 on 32 × 32: 1,769,472 for the stem, 4 · 37,748,736 for the first stage, then
        # (0.5 + 3) · 37,748,736 and 2,097,152 for the shortcut of each other, and 5,120 at the end.
        (resnet(18), 11_173_962, 555_422_720),
        # Four convolutions at 32, 32, 16 and 8 pixels a side.
        (cnn5(64), 1_558_026, 1_769_472 + 75_497_472 * 2 + 75_497_472 + 5_120),
    ],
    ids=["resnet-18", "cnn-5"],
)
def test_counts_by_hand(model, parameters, multiply_adds):
    # Broken by positions counted before the stride, or a shortcut left out.
    assert model_cost(model, (32, 32, 3)) == (parameters, multiply_adds)
    assert model_cost(model, (32, 32, 3)).flops == 2 * multiply_adds


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Dense((5, 4), 3), (2, 3)),
        (Padded(Dense((4,), 3)), (5,)),
        (conv_net((3, 4), 2, stride=2, padding="VALID", bias=False), (9, 8, 2)),
        (cnn5(1, 2, "none", (2, 2, 1, 1)), (8, 8, 3)),
    ],
    ids=["dense", "padded", "conv", "cnn5"],
)
def test_counts_against_xla(model, shape):
    # XLA counts the products' operations of the compiled program and what else there is; the rest is
    # a few operations for each number on the way. Broken by a factor 2, or another fan-in.
    cost = model_cost(model, shape)
    x = jax.ShapeDtypeStruct((4, *shape), np.float32)
    params, state = abstract_init(model, jax.ShapeDtypeStruct(shape, np.float32))
    run = jax.jit(lambda p, s, x: model.apply(p, s, x)[0]).lower(params, state, x).compile()
    counted = run.cost_analysis()["flops"] / 4
    assert cost.flops <= counted <= 1.6 * cost.flops + 50
    assert cost.parameters == sum(np.size(leaf) for leaf in jax.tree.leaves(params))


def test_networks_without_a_chain():
    # From what JAX would run: two affine layers of a Flax network; a chain in a wrapper; twice the
    # dense network's for its expansion; a transformer's products with what depends on the example.
    assert model_cost(from_flax(LinenBlock()), (2, 3)) == (6 * 6 + 6 + 12 + 6 * 3 + 3, 36 + 18)
    conv = conv_net((3,), 2, stride=2)
    assert model_cost(Scaled(conv, centred=False), (5, 4, 2)) == model_cost(conv, (5, 4, 2))
    dense = Dense((4,), 3)
    expanded = model_cost(Linearised(dense), (5,))
    assert expanded.parameters == model_cost(dense, (5,)).parameters
    assert expanded.multiply_adds > 2 * model_cost(dense, (5,)).multiply_adds
    positions, width = 4, 4
    blocks = positions * (4 * width**2 + 2 * 2 * width**2) + 2 * positions**2 * width
    ends = positions * 4 * width + 3 * width
    assert model_cost(Transformer(3, 4, 1, 2, 2), (4, 4, 1)).multiply_adds == blocks + ends


def test_a_shape_that_does_not_fit_is_refused():
    # Broken by a count of what cannot run.
    with pytest.raises(UserError, match="needs images"):
        model_cost(conv_net((3,), 2), (5,))
