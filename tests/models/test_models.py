"""What every model must do, and the registry."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import models
from implicit_bias.errors import UserError
from implicit_bias.models import Dense, Model, parameter_count

from .harness import KEY, ROWS, LinenBlock, NnxBlock, Row, assert_close, assert_equal, compiled_init

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


@every_row
def test_contract(row: Row):
    # Models are static arguments of compiled programs, and their description goes into results.
    model = row.build()
    assert isinstance(model, Model)
    assert model == row.build()
    assert hash(model) == hash(row.build())
    assert json.loads(json.dumps(model.describe()))["architecture"]


@every_row
def test_output_axis_counts_units(row: Row):
    # A layer has one bias per unit. Broken by an axis that counts inputs.
    model = row.build()
    params, _ = models.abstract_init(model, row.example())
    assert any(leaf.ndim > 1 for leaf in jax.tree.leaves(params))
    for layer in params.values():
        for leaf in layer.values():
            if leaf.ndim > 1 and "bias" in layer:
                assert leaf.shape[model.output_axis] == layer["bias"].size


@every_row
def test_init_is_a_pure_function_of_the_key(row: Row):
    # Broken by hidden randomness, by looking at the example's values, by state shared between keys,
    # and by a scale that recompiles, reaches biases, or promotes: here it is float64 in a float32
    # network.
    model, first, state = row.ready()
    example = row.example()
    init = compiled_init(model)
    assert_equal(init(KEY, example + 1, jnp.float64(1))[0], first)
    assert_equal(init(KEY, example, jnp.float64(1)), init(KEY, example, jnp.float64(1)))
    other, _ = init(jax.random.key(8), example, jnp.float64(1))
    tripled, _ = init(KEY, example, jnp.float64(3))

    def check(*leaves: jax.Array) -> None:
        a, b, c = (np.asarray(leaf) for leaf in leaves)
        assert a.dtype == b.dtype == c.dtype == example.dtype
        np.testing.assert_allclose((3.0 if a.ndim > 1 else 1.0) * a, c, rtol=1e-6)
        assert a.ndim == 1 or (a != b).all() or (row.zeros and not (a.any() or b.any()))

    jax.tree.map(check, first, other, tripled)
    shapes, state_shapes = models.abstract_init(model, example)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, first)
    assert jax.tree.structure(state_shapes) == jax.tree.structure(state)
    assert parameter_count(shapes) == parameter_count(first)


@every_row
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_follows_the_example(row: Row, dtype: Any):
    # Broken by a constant in the default dtype anywhere in the network.
    model, x = row.build(), row.inputs(dtype=dtype)
    params, state = models.abstract_init(model, row.example(dtype))

    def train(p: Any, s: Any) -> Any:
        return model.apply(p, s, x, train=True, key=KEY)

    outputs, new = jax.eval_shape(train, params, state)
    floating = [
        leaf.dtype
        for leaf in jax.tree.leaves((params, state, outputs, new))
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    assert set(floating) == {np.dtype(dtype)}
    assert outputs.ndim == 2
    assert outputs.shape[0] == 4
    # scan needs the state to keep its structure and types
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), new) == jax.tree.map(
        lambda a: (a.shape, a.dtype), state
    )


@every_row
def test_derivatives(row: Row):
    # Gradient against central differences, and reverse mode against forward mode, in float64.
    # Broken by a wrong custom rule or a stop_gradient.
    (model, params, state), x = row.ready(np.float64), row.inputs(dtype=np.float64)
    rng = np.random.default_rng(2)
    direction = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape)), params)

    def outputs(p: Any) -> jax.Array:
        return model.apply(p, state, x, train=False)[0]

    cotangent = jnp.asarray(rng.normal(size=jax.eval_shape(outputs, params).shape))
    h = 1e-6 if row.smooth else 1e-8  # so near that no unit of these inputs crosses its kink

    @jax.jit  # everything at once: compiling costs more than computing
    def both(p: Any) -> tuple[jax.Array, ...]:
        _, forward = jax.jvp(outputs, (p,), (direction,))
        (backward,) = jax.vjp(outputs, p)[1](cotangent)
        paired = jax.tree.map(lambda a, b: jnp.sum(a * b), backward, direction)
        near = [jax.tree.map(lambda q, d, s=s: q + s * d, p, direction) for s in (h, -h)]
        difference = (outputs(near[0]) - outputs(near[1])) / (2 * h)
        return sum(jax.tree.leaves(paired)), jnp.sum(cotangent * forward), forward, difference

    paired, expected, forward, difference = both(params)
    np.testing.assert_allclose(paired, expected, rtol=1e-10)
    np.testing.assert_allclose(forward, difference, rtol=2e-6, atol=2e-6)


@every_row
def test_evaluation_is_per_example_and_keeps_the_state(row: Row):
    # Broken by statistics of the batch, or randomness, that leak into evaluation.
    (model, params, state), x = row.ready(np.float64), row.inputs(6, np.float64)

    @jax.jit
    def both() -> tuple[jax.Array, Any, jax.Array]:
        return *model.apply(params, state, x, train=False), model.apply(
            params, state, x[2:4], train=False
        )[0]

    together, after, apart = both()
    np.testing.assert_allclose(together[2:4], apart, rtol=1e-12, atol=1e-12)
    assert_equal(after, state)


@every_row
def test_training_changes_the_state_only_where_there_is_one(row: Row):
    # Broken by state that is dropped, or that appears from nowhere.
    (model, params, state), x = row.ready(), row.inputs()
    after = jax.jit(lambda: model.apply(params, state, x, train=True, key=KEY)[1])()
    changed = [
        bool((np.asarray(a) != np.asarray(b)).any())
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True)
    ]
    assert any(changed) == row.has_state


@every_row
def test_randomness_in_training_comes_from_the_key(row: Row):
    # Broken by dropout that ignores the key, or draws the same mask for every key.
    (model, params, state), x = row.ready(), row.inputs(16)

    @jax.jit
    def outputs(seed: int) -> jax.Array:
        return model.apply(params, state, x, train=True, key=jax.random.key(seed))[0]

    assert_equal(outputs(1), outputs(1))
    assert np.any(np.asarray(outputs(1)) != np.asarray(outputs(2))) == row.needs_key


@pytest.mark.parametrize("name", ["relu", "linen", "nnx"])
def test_lanes_equal_single_runs(name: str):
    # Lanes are mapped over keys: under lax.map each must be the run that it would be alone.
    row = next(row for row in ROWS if row.name == name)
    model, x = row.build(), row.inputs()

    def lane(seed: jax.Array) -> jax.Array:
        params, state = model.init(jax.random.key(seed), row.example())
        return model.apply(params, state, x, train=False)[0]

    seeds = jnp.arange(3, dtype=jnp.uint32)
    mapped = jax.jit(lambda s: jax.lax.map(lane, s))(seeds)
    one = jax.jit(lane)
    assert_close(mapped, jnp.stack([one(seed) for seed in seeds]), 1e-6)


def test_integer_inputs_are_refused():
    # Broken by images left as bytes: parameters would become integers.
    for row in ROWS:
        with pytest.raises(UserError, match="convert inputs to float32"):
            row.build().init(KEY, row.example(np.uint8))


def test_parameter_count():
    # Against the count by hand. Broken by biases left out.
    params, _ = models.abstract_init(Dense((100,), 10), jnp.zeros(784, np.float32))
    assert parameter_count(params) == 784 * 100 + 100 + 100 * 10 + 10


def test_get_by_name():
    # Broken by a list of widths, as configs give it, that makes the model unhashable.
    assert "dense" in models.names()
    found = models.get("dense", widths=[8, 4], outputs=2, activation="tanh")
    assert found == Dense((8, 4), 2, "tanh")
    assert hash(found) == hash(Dense((8, 4), 2, "tanh"))
    assert models.get(found) is found
    with pytest.raises(UserError, match="did you mean 'dense'"):
        models.get("dens")
    with pytest.raises(UserError, match="cannot take options"):
        models.get("dense", width=[8], outputs=2)
    with pytest.raises(UserError, match="already built"):
        models.get(found, outputs=3)


def test_get_a_users_own(tmp_path: Any):
    # Broken by a hook that takes only one of the ways to bring a network.
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "import jax.numpy as jnp\n"
        "from flax import linen\n"
        "from implicit_bias.models import Dense\n"
        "@dataclass(frozen=True)\n"
        "class Constant:\n"
        "    outputs: int = 2\n"
        "    output_axis = 0\n"
        "    def init(self, key, example, *, scale=1.0):\n"
        "        return {'c': jnp.ones(self.outputs, example.dtype)}, {}\n"
        "    def apply(self, params, state, x, *, train, key=None):\n"
        "        return jnp.tile(params['c'][None, :], (x.shape[0], 1)), state\n"
        "    def describe(self):\n"
        "        return {'architecture': 'constant'}\n"
        "ready = Dense((3,), 2)\n"
        "def build(depth):\n"
        "    return Dense((3,) * depth, 2)\n"
        "class Net(linen.Module):\n"
        "    width: int = 4\n"
        "    @linen.compact\n"
        "    def __call__(self, x):\n"
        "        return linen.Dense(self.width)(x)\n"
        "net = Net()\n"
        "number = 3\n"
        "class Half:\n"
        "    init = apply = None\n"
    )
    example, x = jnp.zeros(3, np.float32), jnp.zeros((2, 3), np.float32)
    constant = models.get(f"{file}:Constant", outputs=5)
    params, state = constant.init(KEY, example)
    assert constant.apply(params, state, x, train=False)[0].shape == (2, 5)
    assert models.get(f"{file}:ready") == Dense((3,), 2)
    assert models.get(f"{file}:build", depth=2) == Dense((3, 3), 2)
    for spec, width in ((f"{file}:Net", 7), (f"{file}:net", 4)):
        model = models.get(spec, **({"width": 7} if width == 7 else {}))
        params, state = model.init(KEY, example)
        assert model.apply(params, state, x, train=True)[0].shape == (2, width)
    with pytest.raises(UserError, match=r"py:build is made with options: .*'depth'"):
        models.get(f"{file}:build")
    with pytest.raises(UserError, match="gave int"):
        models.get(f"{file}:number")
    with pytest.raises(UserError, match="gave Half, which lacks describe, output_axis; see"):
        models.get(f"{file}:Half")
    with pytest.raises(UserError, match="cannot take options"):
        models.get(f"{file}:build", width=2)
    with pytest.raises(UserError, match="gave"):
        models.get(lambda: 3)


def test_get_takes_flax_networks():
    # Broken by a user's network that must be wrapped by hand first.
    assert models.get(LinenBlock()) == models.from_flax(LinenBlock())
    assert models.get(NnxBlock) == models.from_flax(NnxBlock)
