"""Oracles: the explicit Jacobian and Hessian, models that are their own expansion, NumPy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from implicit_bias import models
from implicit_bias.errors import UserError
from implicit_bias.models import Dense, Linearised, Model, Scaled, from_flax, taylor
from implicit_bias.models.layers import ChainModel

from .harness import KEY, LinenBlock, LinenDropout, assert_close, assert_equal
from .trajectories import descent_by_hand, flat_start, lane, recipe, regression, trained

NET = Dense((4,), 2, "tanh", bias_std=0.5)
X = np.random.default_rng(0).normal(size=(5, 3))


def elsewhere(params: Any, distance: float = 0.7) -> Any:
    """Parameters away from the given ones."""
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda p: jnp.asarray(np.asarray(p) + distance * rng.normal(size=p.shape), p.dtype), params
    )


def begun(model: Model, dtype: Any = np.float64, **options: Any) -> tuple[Any, Any]:
    """Initial parameters and state."""
    return jax.jit(lambda key, example: model.init(key, example, **options))(
        KEY, jnp.asarray(X[0], dtype)
    )


def outputs_of(model: Model, params: Any, state: Any, train: bool = False) -> Any:
    """Outputs and new state on X, compiled in one go."""
    x = X.astype(jax.tree.leaves(params)[0].dtype)
    key = KEY if train else None
    return jax.jit(lambda p, s, x: model.apply(p, s, x, train=train, key=key))(params, state, x)


def test_equals_the_explicit_derivatives():
    # Broken by a term that is missing, twice, or without its half, by derivatives where the parameters
    # are and not at the origin, and by a gradient that flows through the origin.
    params, state = begun(NET)
    flat, unravel = ravel_pytree(params)
    away = elsewhere(params)
    step = np.asarray(ravel_pytree(away)[0] - flat)

    def outputs(vector: jax.Array, model: Model = NET, kept: Any = state) -> jax.Array:
        return model.apply(unravel(vector), kept, jnp.asarray(X), train=False)[0]

    @jax.jit
    def everything(flat: jax.Array, there: jax.Array) -> Any:
        found = []
        for order in (1, 2):
            model = Linearised(NET, order)
            kept = model.around(unravel(flat), state)

            def expanded(vector: jax.Array, model: Model = model, kept: Any = kept) -> jax.Array:
                return outputs(vector, model, kept)

            found.append((expanded(there), jax.jacrev(expanded)(there)))
        explicit = (outputs, jax.jacfwd(outputs), jax.jacfwd(jax.jacrev(outputs)))
        return found, [derivative(flat) for derivative in explicit]

    (by_one, by_two), (value, first, second) = everything(flat, flat + step)
    assert_close(by_one, (value + first @ step, first), 1e-12)
    curved = value + first @ step + second @ step @ step / 2
    assert_close(by_two, (curved, first + second @ step), 1e-12)
    model = Linearised(NET, 2)
    single = jax.tree.map(lambda a: a.astype(np.float32), (away, model.around(params, state)))
    in_single, _ = outputs_of(model, *single)
    assert in_single.dtype == np.float32
    assert_close(in_single, curved, 2e-5)


@pytest.mark.parametrize(
    ("inner", "order", "exact"),
    [
        (Dense((), 2), 1, True),
        (Dense((4,), 2, "identity", bias=False), 1, False),
        (Dense((4,), 2, "identity", bias=False), 2, True),
        (Dense((4, 3), 2, "identity", bias=False), 2, False),
    ],
    ids=["linear", "quadratic by one", "quadratic by two", "cubic by two"],
)
def test_is_exact_for_polynomials_of_its_order_and_no_other(inner: Any, order: int, exact: bool):
    # Broken by a wrong order: a network of L linear layers is a polynomial of degree L.
    model = Linearised(inner, order)
    params, state = begun(model)
    away = elsewhere(params)
    apart = np.abs(outputs_of(model, away, state)[0] - outputs_of(inner, away, {})[0]).max()
    assert (apart < 1e-12) == exact
    assert exact or apart > 1e-2


def test_touches_the_model_at_the_origin():
    # Broken by an expansion about another place; ReLU here, at inputs off its kinks.
    inner, x = Dense((8,), 3, bias_std=0.3), jnp.asarray(X)

    @jax.jit
    def all_three(key: jax.Array) -> Any:
        found = []
        for model in (inner, Linearised(inner), Linearised(inner, 2)):
            params, state = model.init(key, x[0], scale=2.0)

            def size(p: Any, model: Model = model, state: Any = state) -> jax.Array:
                return jnp.sum(model.apply(p, state, x, train=False)[0] ** 2)

            found.append((params, *jax.value_and_grad(size)(params)))
        return found

    plain, by_one, by_two = all_three(KEY)
    assert_close(by_one, plain, 1e-13)
    assert_close(by_two, plain, 1e-13)


@pytest.mark.parametrize("inner", [from_flax(LinenBlock()), from_flax(LinenDropout())], ids=repr)
def test_training_mode_is_evaluation_mode(inner: Any):
    # Broken by statistics of the batch or dropout in what should be one fixed function.
    model = Linearised(inner)
    params, state = begun(model)
    away = elsewhere(params)
    training, after = outputs_of(model, away, state, train=True)
    assert_equal(training, outputs_of(model, away, state)[0])
    assert_equal(after, state)
    expected = outputs_of(inner, params, state["state"])[0]
    assert_close(outputs_of(model, params, state, train=True)[0], expected, 1e-13)


def test_expands_about_other_parameters_and_as_a_plain_function():
    # Broken by an origin that is always the initial one.
    params, empty = begun(NET)
    there = elsewhere(params)
    model = Linearised(NET)
    state = model.around(there, empty)
    assert_close(outputs_of(model, there, state)[0], outputs_of(NET, there, empty)[0], 1e-14)
    plain = jax.jit(taylor(lambda p, x: NET.apply(p, empty, x)[0], there))(params, X)
    assert_close(plain, outputs_of(model, params, state)[0], 1e-14)
    # By hand, with a second argument and several results: sin(a·t) and t² about t = 0.5.
    for order, half in ((1, 0.0), (2, 0.5)):
        sine, square = taylor(lambda t, a: (jnp.sin(a * t), t**2), 0.5, order)(0.8, 2.0)
        hand = np.sin(1.0) + 0.3 * 2 * np.cos(1.0) - half * 0.09 * 4 * np.sin(1.0)
        np.testing.assert_allclose(sine, hand, rtol=1e-6)
        np.testing.assert_allclose(square, 0.25 + 0.3 + half * 0.09 * 2, rtol=1e-6)


def test_what_it_says_of_itself():
    # Broken by wrappers that look alike around different models, so that finished lanes are mistaken.
    different = [
        NET,
        Linearised(NET),
        Linearised(NET, 2),
        Linearised(Dense((5,), 2, "tanh", bias_std=0.5)),
        Scaled(NET),
        Scaled(NET, centred=False),
        Scaled(Linearised(NET)),
        Linearised(Scaled(NET)),
    ]
    assert len({lane(recipe(model)).identity("data") for model in different}) == len(different)
    assert len(set(different)) == len(different)
    assert models.get("linearised", model="dense", widths=[4], outputs=2, order=2) == Linearised(
        Dense((4,), 2), 2
    )
    assert models.get("linearised", model=Scaled(NET)) == Linearised(Scaled(NET))
    assert models.get("scaled", model=NET, centred=False) == Scaled(NET, centred=False)
    assert not isinstance(Linearised(NET), ChainModel)
    assert not isinstance(Scaled(NET), ChainModel)
    assert Linearised(from_flax(LinenBlock())).output_axis == -1
    assert Linearised(NET).traced == ()
    assert [setting.name for setting in Linearised(Scaled(NET)).traced] == ["alpha"]


def test_bad_requests():
    # Broken by a traceback from deep inside, or by an expansion about nothing.
    for order in (0, 3, 1.5, "two", True):
        with pytest.raises(UserError, match=r"choose 1 \(linear\) or 2"):
            Linearised(NET, order)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="choose 1"):
        taylor(jnp.sin, 0.5, 3)
    for inner in (Dense, LinenBlock(), "dense"):
        with pytest.raises(UserError, match="not a model"):
            Linearised(inner)  # type: ignore[arg-type]
    params, empty = begun(NET)
    model = Linearised(NET)
    with pytest.raises(UserError, match="lacks origin or state"):
        model.apply(params, empty, jnp.asarray(X))
    with pytest.raises(UserError, match="layer_0 has a weight of shape"):
        models.base.evaluate(model, params, model.around(params, empty), jnp.asarray(X[:, :2]))
    with pytest.raises(UserError, match="cannot take options"):
        models.get("linearised", model="dense", width=[4], outputs=2)


def test_the_engine_descends_on_the_linear_model():
    # Broken by an origin that drifts with the parameters, is lost between segments, or is another
    # lane's; by a state that a snapshot does not bring back. Without momentum heavy ball is descent.
    data, chosen = regression(), ((0, 0.0), (3, 0.8))
    made = recipe(Linearised(NET), "heavy_ball")
    lanes = [lane(made, seed, momentum=momentum) for seed, momentum in chosen]
    snapshots = []
    found = trained(
        lanes, data, segment_updates=9, on_segment=lambda p: snapshots.append(p.snapshot())
    )
    for row, (seed, momentum) in enumerate(chosen):
        expected = descent_by_hand(NET, seed, data, momentum)
        for part in ("train", "test"):
            np.testing.assert_allclose(
                found.probed[part][row], expected[part], rtol=1e-9, atol=1e-9
            )
        losses = ((expected["train"] - data.y_train) ** 2).sum(axis=2).mean(axis=1) / 2
        np.testing.assert_allclose(found.logs["train_loss"][row], losses, rtol=1e-9)
    (middle,) = (snapshot for snapshot in snapshots if snapshot.step == 16)
    again = trained(lanes, data, resume=middle)
    for part in ("params", "model_state", "probed"):
        assert_equal(getattr(again, part), getattr(found, part))
    # The network that is not linearised goes elsewhere: what was compared can tell them apart.
    outputs, flat = flat_start(NET, 0, data.x_train)

    def loss(vector: jax.Array) -> jax.Array:
        return jnp.sum((outputs(vector) - data.y_train) ** 2) / 12

    descend = jax.jit(
        lambda v: jax.lax.fori_loop(0, 30, lambda _, v: v - 0.3 * jax.grad(loss)(v), v)
    )
    assert np.abs(outputs(descend(flat)) - found.probed["train"][0, -1]).max() > 1e-2
