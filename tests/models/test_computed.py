"""Precision of a model's own: what is rounded, and what is not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import losses
from implicit_bias.curvature import hessian
from implicit_bias.errors import UserError
from implicit_bias.models import Dense, Linearised, Scaled
from implicit_bias.models.computed import PRECISIONS, Computed
from implicit_bias.ranges import Setting
from implicit_bias.training.weighted import weighted_loss

NET = Dense((8,), 3, "tanh")
X = jax.random.normal(jax.random.key(1), (20, 5), jnp.float32)
Y = jnp.arange(20, dtype=jnp.int32) % 3
PARAMS, STATE = jax.jit(NET.init)(jax.random.key(0), X[0])


def outputs(precision: str) -> jax.Array:
    return Computed(NET, precision).apply(PARAMS, STATE, X)[0]


# Breaks if a CPU, which has neither TF32 nor a faster product than float32's, computes otherwise.
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_float32_is_what_it_always_was_on_a_cpu(precision):
    np.testing.assert_array_equal(outputs(precision), NET.apply(PARAMS, STATE, X)[0])


# Breaks if parameters or inputs are not rounded, more is rounded than the passes, or outputs and gradients
# come back in bfloat16. bfloat16 has 8 significant bits: each of two layers errs by some 2⁻⁸.
def test_bf16_rounds_the_passes_and_nothing_else():
    exact = np.asarray(NET.apply(PARAMS, STATE, X)[0])
    found = outputs("bf16")
    assert found.dtype == jnp.float32
    error = np.abs(found - exact).max() / np.abs(exact).max()
    assert 2**-12 < error < 4 * 2**-8
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (PARAMS, X))
    np.testing.assert_array_equal(found, NET.apply(low[0], STATE, low[1])[0].astype(jnp.float32))

    def loss(params):
        return jnp.sum(Computed(NET, "bf16").apply(params, STATE, X)[0] ** 2)

    gradient = jax.grad(loss)(PARAMS)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
    wanted = jax.grad(lambda params: jnp.sum(NET.apply(params, STATE, X)[0] ** 2))(PARAMS)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(wanted), strict=True):
        assert np.abs(a - b).max() < 0.05 * np.abs(b).max()


# Breaks if the Hessian, which asks for the highest precision, silences that of the model, so that its effect
# on curvature could not be measured; or the other way round, if it does not ask for the highest itself.
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (NET, {"HIGHEST"}),
        (Computed(NET, "float32"), {"HIGHEST"}),
        (Computed(NET, "tf32"), {"HIGH"}),
    ],
    ids=["plain", "float32", "tf32"],
)
def test_products_say_their_precision(model, expected):
    operator, _ = hessian(weighted_loss(model, losses.get("cross_entropy"), STATE), PARAMS, (X, Y))
    jaxpr = str(jax.make_jaxpr(operator.product)(jnp.ones(operator.dimension, jnp.float32)))
    named = {name for name in ("HIGHEST", "HIGH", "DEFAULT") if f"Precision.{name}," in jaxpr}
    assert named == expected


# Breaks if the largest eigenvalue under bfloat16 is that of float32, so that nothing was rounded, or so far
# off that the product is not that of the same Hessian. Oracle: the dense Hessian in float64.
def test_curvature_feels_bf16_by_its_rounding():
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), PARAMS)

    def largest(model, params, x):
        loss = weighted_loss(model, losses.get("cross_entropy"), STATE)

        @jax.jit
        def dense(params, x):
            operator, _ = hessian(loss, params, (x, Y))
            return jax.lax.map(operator.product, jnp.eye(operator.dimension, dtype=operator.dtype))

        matrix = np.asarray(dense(params, x), float)
        return np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]

    reference = largest(NET, wide, X.astype(jnp.float64))
    changes = {p: abs(largest(Computed(NET, p), PARAMS, X) / reference - 1) for p in PRECISIONS}
    assert changes["float32"] < 1e-5
    assert changes["tf32"] == changes["float32"]
    assert 1e-5 < changes["bf16"] < 3e-2


# Breaks if precision enters where parameters are drawn, or what trains or prunes a model reads is lost.
def test_all_but_the_passes_is_the_inner_model():
    class Traced(Dense):
        """A network with an axis of its own and a setting."""

        output_axis = 1
        traced = (Setting("tilt", 0.0, 1.0),)
        batch_statistics = True

    inner = Traced((8,), 3, "tanh")
    for precision in PRECISIONS:
        whole = Computed(inner, precision)
        assert (whole.output_axis, whole.traced, whole.batch_statistics) == (1, inner.traced, True)
        assert not Computed(NET, precision).batch_statistics
        assert Computed(NET, precision).traced == ()
        params, state = Computed(NET, precision).init(jax.random.key(5), X[0], scale=0.5)
        wanted, wanted_state = NET.init(jax.random.key(5), X[0], scale=0.5)
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), params, wanted))
        assert jax.tree.structure(state) == jax.tree.structure(wanted_state)
    assert Computed(Linearised(NET), "tf32").keeps_origin
    assert not Computed(NET, "tf32").keeps_origin


def test_refusals():
    # Breaks if an unknown precision, or differences that bfloat16 rounds away, get through.
    with pytest.raises(UserError, match="fp8"):
        Computed(NET, "fp8")  # type: ignore[arg-type]
    for model in (Linearised(NET), Scaled(NET)):
        Computed(model, "tf32")
        with pytest.raises(UserError, match=r"'bf16', but .* differences from where"):
            Computed(model, "bf16")
    assert Computed(NET, "bf16").describe() == {
        "architecture": "computed", "precision": "bf16", "model": NET.describe(),
    }  # fmt: skip
    assert Computed(NET, "bf16") == Computed(Dense((8,), 3, "tanh"), "bf16")
