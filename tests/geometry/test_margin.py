"""Margins and certified radii: exact for linear classifiers, and never contradicted by an attack."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.geometry.adversarial import pgd
from implicit_bias.geometry.margin import certified_radii, output_margins
from implicit_bias.models import Dense
from tests.geometry.networks import network


def test_margins() -> None:
    # Breaks if the target's own output is among the others, or ties and signs go wrong.
    outputs = jnp.asarray([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0], [5.0, 5.0, 0.0]])
    np.testing.assert_array_equal(output_margins(outputs, jnp.asarray([1, 0, 0])), [1, -2, 0])
    single = output_margins(jnp.asarray([[2.0], [2.0], [-1.0]]), jnp.asarray([1, 0, 0]))
    np.testing.assert_array_equal(single, [2, -2, 1])
    with pytest.raises(UserError, match="class numbers"):
        output_margins(outputs, jnp.zeros((3, 3)))


def test_a_linear_classifier_s_radius_is_the_distance_to_its_boundary() -> None:
    # Breaks if the nearest class is taken by margin instead of distance, or pixel units are not heeded. The
    # distance to the hyperplane of each other class is computed with NumPy; a step just short of it, towards
    # the nearest, keeps the label, one just beyond changes it.
    rng = np.random.default_rng(0)
    model, params, x, _ = network(0, widths=(), n_in=5, outputs=4, n=40)
    scale = rng.uniform(0.3, 2, size=5)
    w, b = (np.asarray(params["layer_0"][part]) for part in ("weight", "bias"))
    outputs = np.asarray(x) @ w.T + b
    y = outputs.argmax(axis=1)
    found, norm = jax.jit(
        lambda p, y: [
            certified_radii(model, p, x, y, bound=bound, scale=jnp.asarray(scale))
            for bound in ("rows", "norm")
        ]
    )(params, jnp.asarray(y))
    for row, (own, f) in enumerate(zip(y, outputs, strict=True)):
        others = [j for j in range(4) if j != own]
        normals = (w[own] - w[others]) * scale
        distances = (f[own] - f[others]) / np.linalg.norm(normals, axis=1)
        np.testing.assert_allclose(found[row], distances.min(), rtol=1e-12)
        towards = -normals[distances.argmin()] / np.linalg.norm(normals[distances.argmin()])
        for factor, same in ((1 - 1e-9, True), (1 + 1e-9, False)):
            moved = np.asarray(x)[row] + scale * towards * factor * found[row]
            assert ((w @ moved + b).argmax() == own) == same
    # The cruder bound is a bound of it, and not far off.
    expected = np.sort(outputs, axis=1)
    expected = (expected[:, -1] - expected[:, -2]) / np.sqrt(2) / np.linalg.norm(w * scale, 2)
    np.testing.assert_allclose(norm, expected, rtol=1e-12)
    assert (norm <= found).all()


@pytest.mark.parametrize("seed", range(4))
def test_no_attack_within_the_radius_changes_the_label(seed: int) -> None:
    # Breaks if a layer, a multiplier or the factor √2 is forgotten. Untrained networks of random widths and
    # of all parameterisations; 40 steps from two starts, in a ball of the whole radius.
    rng = np.random.default_rng(seed)
    widths = tuple(int(n) for n in rng.integers(2, 9, size=rng.integers(1, 3)))
    scheme = ("standard", "ntk", "mup", "standard")[seed]
    model = Dense(widths, 3, "tanh" if seed == 3 else "relu", scheme, base_width=2)
    _, params, x, _ = network(seed, widths=widths, n_in=3, n=60)
    scale = jnp.asarray(rng.uniform(0.5, 2, size=3))

    def apply(z: jax.Array) -> jax.Array:
        return model.apply(params, {}, z)[0]

    y = jnp.argmax(apply(x), axis=1)
    radii, norm = jax.jit(
        lambda p: [certified_radii(model, p, x, y, bound=b, scale=scale) for b in ("rows", "norm")]
    )(params)
    assert (norm > 0).all()
    assert (norm <= radii * (1 + 1e-12)).all()

    @jax.jit
    def attacked(factor: jax.Array) -> jax.Array:
        options: dict[str, Any] = {"ball": "l2", "steps": 40, "n_starts": 2, "scale": scale}
        return jnp.argmax(
            apply(pgd(apply, x, y, factor * radii, jax.random.key(seed), **options)), axis=1
        )

    np.testing.assert_array_equal(attacked(jnp.asarray(1 - 1e-9)), y)
    # The attack is able to change labels at all, a little further out.
    assert np.mean(attacked(jnp.asarray(20.0)) != y) > 0.1


def test_one_output() -> None:
    # Breaks if a single output is treated as two: the distance to w·x + b = 0 is |w·x + b|/‖w‖.
    model, params, x, _ = network(1, widths=(), n_in=4, outputs=1)
    w, b = np.asarray(params["layer_0"]["weight"])[0], float(params["layer_0"]["bias"][0])
    outputs = np.asarray(x) @ w + b
    y = (outputs > 0).astype(np.int32)
    for bound in ("rows", "norm"):
        found = certified_radii(model, params, x, jnp.asarray(y), bound=bound)
        np.testing.assert_allclose(found, np.abs(outputs) / np.linalg.norm(w), rtol=1e-12)
        wrong = certified_radii(model, params, x, jnp.asarray(1 - y), bound=bound)
        np.testing.assert_array_equal(wrong, 0)


def test_padded_widths_change_nothing() -> None:
    # Breaks if the multipliers of a padded network, which are in its state, are not used.
    narrow = Dense((4,), 3, parameterisation="mup", base_width=2)
    wide = Dense((7,), 3, parameterisation="mup", base_width=2)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(10, 5)))
    key = jax.random.key(0)

    @jax.jit
    def both(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        params, state = narrow.init(key, x[0])
        padded, padded_state = wide.init(key, x[0], widths=(4,))
        y = jnp.argmax(narrow.apply(params, state, x)[0], axis=1)
        own = certified_radii(narrow, params, x, y)
        return own, certified_radii(wide, padded, x, y, state=padded_state)

    own, found = both(key)
    assert (np.asarray(own) > 0).all()
    # Both draws are compiled here, each in its own way: they agree to float32 rounding.
    np.testing.assert_allclose(found, own, rtol=1e-6)


def test_a_constant_classifier_is_certified_everywhere() -> None:
    # Breaks if 0/0 makes NaN where no change of the input matters.
    model, params, x, _ = network(2, widths=(3,))
    params["layer_1"] = {
        "weight": jnp.zeros_like(params["layer_1"]["weight"]),
        "bias": jnp.asarray([0.0, 1.0, 0.0]),
    }
    for bound in ("rows", "norm"):
        found = certified_radii(model, params, x, jnp.ones(len(x), jnp.int32), bound=bound)
        assert np.isinf(found).all()
        found = certified_radii(model, params, x, jnp.zeros(len(x), jnp.int32), bound=bound)
        np.testing.assert_array_equal(found, 0)


def test_bad_arguments_are_refused() -> None:
    # Breaks if a certificate is given that does not hold: GELU and erf have slopes above one.
    model, params, x, y = network(0)
    for kind in ("gelu", "erf"):
        with pytest.raises(UserError, match=kind):
            certified_radii(Dense((5, 4), 3, kind), params, x, y)
    for change, says in (
        ({"bound": "nrom"}, "did you mean 'norm'"),
        ({"scale": 0.0}, "scale is not positive"),
        ({"scale": jnp.ones(7)}, "scale has shape"),
        ({"model": Dense((5,), 3)}, "3 layers, but the model has 2"),
        ({"params": jax.tree.map(lambda p: p * jnp.nan, params)}, "not finite"),
        ({"targets": y.astype(jnp.float64)}, "class numbers"),
    ):
        given = {"model": model, "params": params, "inputs": x, "targets": y} | change
        with pytest.raises(UserError, match=says):
            certified_radii(**given)
