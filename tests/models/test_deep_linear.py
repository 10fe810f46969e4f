"""Starts of deep linear networks: balance, identity, orthogonality, spread, and refusals."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import models
from implicit_bias.errors import UserError
from implicit_bias.models import DeepLinear, Dense
from tests.decompositions import decompositions

KEY = jax.random.key(3)


def weights(model: DeepLinear, inputs: int = 5, **options: Any) -> list[np.ndarray]:
    example = jnp.zeros(inputs, np.float64)
    params, state = jax.jit(lambda: model.init(KEY, example, **options))()
    assert state == {}
    return [np.asarray(params[f"layer_{index}"]["weight"]) for index in range(model.depth)]


def test_balanced() -> None:
    # Breaks if a layer's root is of another depth, or hidden frames do not meet. Wide and square
    # hidden layers.
    layers = weights(DeepLinear((4, 6, 3), 3, alpha=0.5))
    for before, after in itertools.pairwise(layers):
        np.testing.assert_allclose(after.T @ after, before @ before.T, atol=1e-12)
    product = layers[3] @ layers[2] @ layers[1] @ layers[0]
    # The product is α^L times what one layer starts from, whatever the depth.
    alone = weights(DeepLinear((), 3))[0]
    assert alone.shape == (3, 5)
    s = np.linalg.svd(product, compute_uv=False)
    assert s[0] > 0
    assert np.linalg.norm(product) / 0.5**4 < 10


def test_product_of_parameters_is_the_network() -> None:
    model = DeepLinear((4,), 2, alpha=0.3)
    params, state = jax.jit(model.init)(KEY, jnp.zeros((5, 1), np.float64))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((7, 5, 1)))
    outputs, _ = model.apply(params, state, x)
    np.testing.assert_allclose(outputs, x.reshape(7, 5) @ model.product(params).T, rtol=1e-12)


def test_other_starts() -> None:
    assert [w.tolist() for w in weights(DeepLinear((2,), 2, "identity", 0.5), 2)] == [
        [[0.5, 0.0], [0.0, 0.5]]
    ] * 2
    wide, narrow = weights(DeepLinear((8,), 3, "orthogonal", 2.0))
    np.testing.assert_allclose(wide.T @ wide, 4 * np.eye(5), atol=1e-12)
    np.testing.assert_allclose(narrow @ narrow.T, 4 * np.eye(3), atol=1e-12)
    # 4·400 entries: the standard error of their mean square is 3.5 %.
    gaussian = weights(DeepLinear((400,), 4, "gaussian", 0.1))[1]
    assert np.mean(gaussian**2) * 400 == pytest.approx(0.01, rel=0.15)
    traced = jax.jit(
        lambda scale: DeepLinear((2,), 2, "identity").init(KEY, jnp.zeros(2), scale=scale)
    )
    assert traced(jnp.float32(3))[0]["layer_1"]["weight"][0, 0] == 3


@pytest.mark.parametrize("start", ["balanced", "orthogonal"])
def test_lanes_that_start_together_are_decomposed_one_after_another(start: Any) -> None:
    # Breaks if a batch of lanes decomposes a batch of matrices, or starts elsewhere than a lane alone.
    model = DeepLinear((4, 6), 3, start)
    keys = jax.random.split(KEY, 3)

    def begin(key: jax.Array) -> Any:
        return model.init(key, jnp.zeros(5, np.float64))[0]

    found = decompositions(jax.vmap(begin), keys)
    assert found
    assert all(len(shape) == 2 for shape in found)
    together = jax.jit(jax.vmap(begin))(keys)
    for lane, key in enumerate(keys):
        jax.tree.map(
            lambda one, all_, lane=lane: np.testing.assert_allclose(all_[lane], one, atol=1e-12),
            begin(key), together,
        )  # fmt: skip


def test_registry_and_description() -> None:
    model = models.get("deep-linear", widths=[4, 4], outputs=2, start="identity", alpha=0.1)
    assert model == DeepLinear((4, 4), 2, "identity", 0.1)
    assert model.describe() == {
        "architecture": "deep linear", "depth": 3, "widths": [4, 4], "outputs": 2, "start": "identity",
        "alpha": 0.1,
    }  # fmt: skip
    assert models.parameter_count(models.abstract_init(model, jnp.zeros(3))[0]) == 12 + 16 + 8
    assert isinstance(Dense((4,), 2, "identity", bias=False), models.Model)


def test_refusals() -> None:
    for alpha in (0.0, -1, np.inf, "small"):
        with pytest.raises(UserError, match="choose a scale of layers above 0"):
            DeepLinear((2,), 2, alpha=alpha)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown start 'balance'; did you mean 'balanced'"):
        DeepLinear((2,), 2, "balance")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="narrower than the 3 singular values"):
        DeepLinear((2,), 3).init(KEY, jnp.zeros(5))
