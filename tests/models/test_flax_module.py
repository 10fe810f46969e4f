"""Adapted Flax networks: the same function as our own, with state and randomness made explicit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from implicit_bias.errors import UserError
from implicit_bias.models import Dense, from_flax, layer_activations, outputs_from
from implicit_bias.models.flax_module import LinenModel

from .harness import KEY, ROWS, LinenBlock, LinenDropout, NnxBlock


class Plain(linen.Module):
    widths: Any = (5,)

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.widths:
            x = linen.relu(linen.Dense(width)(x))
        return linen.Dense(2)(x)


X = np.random.default_rng(3).normal(size=(6, 5))


def row(name: str) -> Any:
    return next(row for row in ROWS if row.name == name)


def test_linen_equals_our_dense():
    # Same weights, same outputs. Broken by inputs or parameters that are changed on the way.
    model = from_flax(Plain())
    shapes, _ = jax.eval_shape(model.init, KEY, jnp.zeros(5))
    rng = np.random.default_rng(4)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes)
    layers = params["Dense_0"], params["Dense_1"]
    ours = {
        f"layer_{i}": {"weight": layer["kernel"].T, "bias": layer["bias"]}
        for i, layer in enumerate(layers)
    }
    x = jnp.asarray(X)
    found, state = model.apply(params, {}, x, train=True)
    np.testing.assert_allclose(found, Dense((5,), 2).apply(ours, {}, x)[0], rtol=1e-12)
    assert state == {}


def test_linen_normalisation_statistics():
    # Running statistics after one training step, by NumPy: 0.9·old + 0.1·batch; and the batch's own
    # in the outputs. Broken by a train argument that does not arrive or statistics that are lost.
    r = row("linen")
    model, params, state = r.ready(np.float64)
    x = np.asarray(r.inputs(8, np.float64))
    _, after = model.apply(params, state, jnp.asarray(x), train=True)
    first = {k: np.asarray(v) for k, v in params["Dense_0"].items()}
    hidden = x.reshape(8, -1) @ first["kernel"] + first["bias"]
    found = after["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(found["mean"], 0.1 * hidden.mean(0), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found["var"], 0.9 + 0.1 * hidden.var(0), rtol=1e-10)


def test_nnx_normalisation_statistics():
    # The same for NNX, whose state is the module's own until it is split off.
    r = row("nnx")
    model, params, state = r.ready(np.float64)
    x = np.asarray(r.inputs(8, np.float64))
    _, after = model.apply(params, state, jnp.asarray(x), train=True, key=KEY)
    hidden = x @ np.asarray(params["hidden"]["kernel"]) + np.asarray(params["hidden"]["bias"])
    found = after["norm"]
    np.testing.assert_allclose(found["mean"], 0.1 * hidden.mean(0), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found["var"], 0.9 + 0.1 * hidden.var(0), rtol=1e-10)


def test_nnx_equals_the_module_itself():
    # Evaluation through split and merge is the module's own call. Broken by a parameter in a wrong
    # slot.
    module = NnxBlock(nnx.Rngs(0))
    module.eval()
    _, params, _, rest = nnx.split(module, nnx.Param, nnx.RngState, ...)
    x = jnp.asarray(X, jnp.float32)
    found, _ = from_flax(NnxBlock).apply(
        nnx.to_pure_dict(params), nnx.to_pure_dict(rest), x, train=False
    )
    np.testing.assert_array_equal(found, module(x))


def test_nnx_dropout_needs_a_key():
    # Broken by a silent constant key: every step would drop the same units.
    model, params, state = row("nnx").ready()
    x = row("nnx").inputs()
    with pytest.raises(UserError, match="no key was given"):
        model.apply(params, state, x, train=True)
    model.apply(params, state, x, train=False)


@pytest.mark.parametrize(
    ("module", "argument"),
    [(LinenBlock(), "train"), (LinenDropout(), "deterministic"), (Plain(), None)],
)
def test_the_train_argument_is_found(module: Any, argument: str | None):
    # Broken by dropout that stays on in evaluation because its argument means the opposite.
    model = from_flax(module)
    assert isinstance(model, LinenModel)
    assert model.train_argument == argument


def test_names():
    # What the results call the network.
    assert from_flax(Plain()).describe()["name"] == "Plain"
    assert from_flax(Plain(), name="mine").describe()["name"] == "mine"
    assert from_flax(NnxBlock).describe()["name"] == "NnxBlock"
    assert from_flax(lambda rngs: NnxBlock(rngs=rngs), name="it").describe()["name"] == "it"


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (Plain(widths=[4]), "use tuples, not lists"),
        (NnxBlock(nnx.Rngs(0)), "already holds parameters"),
        (3, "is not a Flax network"),
        (Plain, "is not a Flax network"),
    ],
)
def test_what_is_not_a_network_is_refused(module: Any, says: str):
    # Broken by an error from inside Flax or JAX, far from the cause.
    with pytest.raises(UserError, match=says):
        from_flax(module)


class Positional(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array, train: bool, /) -> jax.Array:
        return linen.Dense(2)(x)


class TakesMore(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        return linen.Dense(2)(x * mask)


def test_a_call_that_cannot_be_made_is_refused():
    # Broken by: a network that is accepted and fails in the first update, with Flax's own page.
    for module, says in (
        (Positional(), "cannot be called as module"),
        (TakesMore(), "cannot be called as module"),
    ):
        with pytest.raises(UserError, match=says):
            from_flax(module)
    with pytest.raises(UserError, match="cannot be called as module"):
        from_flax(Plain(), train_argument="train")
    with pytest.raises(UserError, match="unknown train argument 'trian'"):
        from_flax(LinenBlock(), train_argument="trian")


def test_what_a_layer_says_is_one_line():
    # Broken by: a page of Flax or JAX around the one line that tells.
    model = from_flax(Plain())
    params, state = model.init(KEY, jnp.zeros(5))
    for given, x in ((params, X[:, :2]), ({}, X)):
        with pytest.raises(UserError, match="'Plain' failed on inputs of shape") as caught:
            model.apply(given, state, jnp.asarray(x), train=False)
        assert "\n" not in str(caught.value)


def test_activations_are_reached_by_path():
    # By hand: the first layer's sums, and the outputs where others stand in their place. Broken by
    # a replacement that reaches another layer or none.
    model = from_flax(Plain())
    params, state = model.init(KEY, jnp.zeros(5))
    x = jnp.asarray(X)
    first, second = (jax.tree.map(np.asarray, params[f"Dense_{i}"]) for i in range(2))
    found = layer_activations(model, params, state, x, "Dense_0")
    np.testing.assert_allclose(found, X @ first["kernel"] + first["bias"], rtol=1e-5, atol=1e-6)
    after = outputs_from(model, params, state, x, "Dense_0", 2 * found)
    by_hand = np.maximum(2 * np.asarray(found), 0) @ second["kernel"] + second["bias"]
    np.testing.assert_allclose(after, by_hand, rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match=r"unknown layer 'Dense_9'.*Dense_0, Dense_1"):
        layer_activations(model, params, state, x, "Dense_9")
    with pytest.raises(UserError, match="give shape"):
        outputs_from(model, params, state, x, "Dense_0", found[:2])
