"""Oracles: the flat vector of all parameters, and lists of paths written by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from implicit_bias.curvature.blocks import parameter_paths, select
from implicit_bias.errors import UserError
from implicit_bias.geometry import layerwise_norms

TREE = {
    "layer_0": {"weight": np.arange(6.0).reshape(2, 3), "bias": np.array([6.0, 7.0])},
    "layer_1": {"kernel": np.array([[8.0]]), "bias": np.array([9.0])},
    "layer_10": {"weight": np.array([10.0, 11.0]), "scale": np.array(12.0)},
    "head": [{"weights": np.array([13.0])}, {"biases": np.array([14.0])}],
}
HEAD = ["head/0/weights", "head/1/biases"]
FIRST = ["layer_0/bias", "layer_0/weight"]
SECOND = ["layer_1/bias", "layer_1/kernel"]
LAST = ["layer_10/scale", "layer_10/weight"]


@pytest.mark.parametrize(
    ("block", "paths"),
    [
        (None, [*HEAD, *FIRST, *SECOND, *LAST]),
        ("layer_0", FIRST),
        ("layer_1", SECOND),  # and not layer_10
        ("layer_10/scale", ["layer_10/scale"]),
        ("head/1", ["head/1/biases"]),
        ("weights", ["head/0/weights", "layer_0/weight", "layer_1/kernel", "layer_10/weight"]),
        ("biases", ["head/1/biases", "layer_0/bias", "layer_1/bias"]),
        (["layer_1", "head"], [*HEAD, *SECOND]),
        (("layer_0", "weights"), ["head/0/weights", *FIRST, "layer_1/kernel", "layer_10/weight"]),
        (lambda path: path.endswith("scale"), ["layer_10/scale"]),
    ],
)
def test_which_arrays_belong(block, paths):
    # Broken by: a prefix cut within a name, a union in the order given, a kind of name forgotten.
    assert list(select(TREE, block).paths) == paths


def test_paths_are_those_of_other_results():
    # Broken by: another separator than the layer-wise norms have, in which a user reads the names.
    assert list(parameter_paths(TREE)) == list(layerwise_norms(TREE))


@settings(max_examples=10, deadline=None)
@given(taken=st.sets(st.sampled_from(parameter_paths(TREE)), min_size=1))
def test_ways_between_the_block_and_the_whole(taken):
    # Broken by: an order other than the whole vector's, a neighbour moved along with the block, or
    # a direction that is not zero outside it.
    whole, unravel_whole = ravel_pytree(TREE)
    block = select(TREE, lambda path: path in taken)
    assert set(block.paths) == taken
    np.testing.assert_array_equal(block.flat, whole[block.indices])
    assert np.all(np.diff(block.indices) > 0)
    expected = np.asarray(whole).copy()
    expected[block.indices] = -1 - np.arange(len(block.indices))
    new = jnp.asarray(expected[block.indices])
    rebuilt, direction = block.rebuild(new), block.unravel(new)
    jax.tree.map(np.testing.assert_array_equal, rebuilt, unravel_whole(jnp.asarray(expected)))
    outside = np.setdiff1d(np.arange(len(whole)), block.indices)
    expected[outside] = 0
    jax.tree.map(np.testing.assert_array_equal, direction, unravel_whole(jnp.asarray(expected)))


def test_under_transformations():
    # Broken by: positions that depend on traced numbers, or an unravel that cannot be mapped over
    # the rows of a record of eigenvectors.
    @jax.jit
    def use(tree):
        block = select(tree, "biases")
        assert isinstance(block.indices, np.ndarray)
        return jax.vmap(block.unravel)(jnp.eye(4)), jax.grad(
            lambda flat: jnp.sum(ravel_pytree(block.rebuild(flat))[0] ** 2)
        )(block.flat)

    stacked, gradient = use(TREE)
    np.testing.assert_array_equal(stacked["layer_0"]["bias"], np.eye(4)[:, 1:3])
    assert not np.any(stacked["layer_0"]["weight"])
    np.testing.assert_array_equal(gradient, 2 * np.array([14.0, 6, 7, 9]))


def test_other_parameters_may_be_anything():
    # Broken by: a block that asks the rest for the same type: a counter, weights in half precision.
    tree = {"a": np.ones(2, np.float32), "b": np.ones(3, np.float64), "count": np.int32(7)}
    block = select(tree, "a")
    assert block.flat.dtype == np.float32
    rebuilt = block.rebuild(block.flat + 1)
    assert rebuilt["count"] == 7
    assert rebuilt["b"].dtype == np.float64
    assert block.unravel(block.flat)["count"] == 0


def test_a_bare_array_is_one_block():
    # Broken by: a path of nothing that breaks the search.
    block = select(jnp.arange(3.0))
    np.testing.assert_array_equal(block.indices, np.arange(3))
    assert block.paths == ("",)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("layer_2", "unknown block 'layer_2'; did you mean"),
        ("layer", "layer_0/weight"),  # the message lists what there is
        (["layer_0", "nothing"], "unknown block 'nothing'"),
        ((), "the block () is empty; the paths are head/0/weights, "),
        (lambda path: False, "the block given by a function is empty"),
    ],
)
def test_bad_blocks(block, message):
    # Broken by: a misspelt name that silently selects nothing, or everything.
    with pytest.raises(UserError) as caught:
        select(TREE, block)
    assert message in str(caught.value)


def test_blocks_without_numbers():
    # Broken by: "biases" of a network without any, an array without entries, or integers, met later
    # by an error of JAX.
    tree = {"weight": np.ones((2, 2)), "nothing": np.ones((0, 3)), "count": np.int32(1)}
    for block, message in (
        ("biases", "the block 'biases' is empty"),
        ("nothing", "the block 'nothing' is empty"),
        ("count", "the parameters 'count' have type int32"),
        (("count", "weight"), "have type int32; give floating-point"),
        (None, "have type int32; give floating-point"),
    ):
        with pytest.raises(UserError, match=message):
            select(tree, block)
