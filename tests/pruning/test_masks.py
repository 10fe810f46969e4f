"""Masks: which leaves may hold zeros, counts, and what does not fit."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from implicit_bias import models
from implicit_bias.errors import UserError
from implicit_bias.pruning import masks

SHAPES = {
    "block": {"conv": {"kernel": (2, 3, 4), "bias": (4,)}, "norm": {"scale": (4,)}},
    "layer_0": {"weight": (2, 3), "bias": (2,)},
    "gain": {"weight": (5,)},
}
PARAMS = jax.tree.map(
    lambda shape: np.ones(shape, np.float32), SHAPES, is_leaf=lambda leaf: isinstance(leaf, tuple)
)


def edited(path: tuple[str, ...], leaf) -> dict:
    mask = masks.full(PARAMS)
    part = mask
    for name in path[:-1]:
        part = part[name]
    if leaf is None:
        del part[path[-1]]
    else:
        part[path[-1]] = leaf
    return mask


def test_only_weights_of_two_axes_are_pruned_and_counted() -> None:
    # Breaks if biases, scales or vectors count as prunable, or nested layers lose their names.
    assert masks.prunable(PARAMS) == ("block/conv", "layer_0")
    mask = edited(("layer_0", "weight"), np.asarray([[1, 0, 0], [1, 0, 1]], np.uint8))
    assert masks.count(mask) == 27
    assert masks.remaining(mask) == 27 / 30
    assert masks.layer_remaining(mask) == {"block/conv": 1.0, "layer_0": 0.5}
    assert masks.sizes(mask) == {"block/conv": 24, "layer_0": 6}
    masks.check(mask, PARAMS)
    held = masks.apply(mask, PARAMS)
    assert held["layer_0"]["weight"].tolist() == [[1, 0, 0], [1, 0, 1]]
    assert held["layer_0"]["weight"].dtype == np.float32
    # Shapes alone are enough, as before anything is computed.
    shapes = jax.eval_shape(lambda: jax.tree.map(jax.numpy.asarray, PARAMS))
    jax.tree.map(np.testing.assert_array_equal, masks.full(shapes), masks.full(PARAMS))


def test_pruned_weights_are_zero_whatever_they_were() -> None:
    # Breaks if they are multiplied by the mask: NaN and infinity times 0 are NaN.
    weight = np.asarray([[np.nan, np.inf, -2], [1, np.nan, 3]], np.float32)
    mask = {"layer": {"weight": np.asarray([[0, 0, 0], [1, 1, 0]], np.uint8)}}
    held = masks.apply(mask, {"layer": {"weight": weight}})["layer"]["weight"]
    np.testing.assert_array_equal(held, np.asarray([[0, 0, 0], [1, np.nan, 0]], np.float32))
    assert held.dtype == np.float32


def test_counts_map_over_lanes() -> None:
    # Breaks if a count looks at numbers, which traced arrays have not.
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, 0 * leaf]), masks.full(PARAMS))
    assert jax.vmap(masks.count)(stacked).tolist() == [30, 0]
    assert jax.vmap(masks.layer_remaining)(stacked)["layer_0"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (edited(("layer_0", "weight"), np.ones((3, 2), np.uint8)),
         r"mask of layer_0/weight has shape \(3, 2\), but the parameters have \(2, 3\)"),
        (edited(("layer_0", "bias"), None), "mask have no leaf layer_0/bias"),
        (edited(("layer_0", "more"), np.ones(1, np.uint8)), "parameters have no leaf layer_0/more"),
        (edited(("layer_0", "weight"), np.full((2, 3), 2)), "layer_0/weight holds other numbers"),
        (edited(("layer_0", "bias"), np.zeros(2)), "layer_0/bias holds zeros, but only weights"),
    ],
)  # fmt: skip
def test_a_mask_that_does_not_fit_is_refused(mask, told: str) -> None:
    # Breaks if such a mask reaches training, where it would fail late or hold biases at zero.
    with pytest.raises(UserError, match=told):
        masks.check(mask, PARAMS)


def test_nothing_to_prune_is_said() -> None:
    # Breaks if counting divides by zero instead.
    with pytest.raises(UserError, match="nothing to prune"):
        masks.remaining({"layer_0": {"bias": np.ones(3)}})


def test_norms_and_scalars_are_never_pruned() -> None:
    # Their vectors have one axis. Breaks if a scale, which silences a whole channel, counts as a weight.
    for model in (models.normalised_dense((4,), 2), models.resnet(10, 1, 2, norm="none")):
        example = jax.ShapeDtypeStruct((8, 8, 1), np.float32)
        params, _ = models.abstract_init(model, example)
        assert set(masks.prunable(params)) == {name for name in params if name.startswith("layer")}
        mask = masks.full(params)
        name = next(name for name in params if not name.startswith("layer"))
        mask[name] = jax.tree.map(np.zeros_like, mask[name])
        with pytest.raises(UserError, match="only weights of two or more axes are pruned"):
            masks.check(mask, params)
