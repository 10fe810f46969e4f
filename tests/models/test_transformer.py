"""Transformers against a forward pass written out in NumPy, Flax's attention and finite differences."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from scipy.special import softmax

from implicit_bias import models
from implicit_bias.errors import UserError
from implicit_bias.losses import CROSS_ENTROPY
from implicit_bias.models import Transformer, parameter_count

from .harness import compiled_init

KEY = jax.random.key(3)
LANGUAGE = Transformer(5, 8, 2, 2, 2, vocabulary=5, causal=True, readout="every")
SHALLOW = Transformer(5, 4, 1, 2, 1, vocabulary=5, causal=True, readout="every")
IMAGES = Transformer(3, 8, 1, 4, 3, patch=2)
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 5, size=(3, 6)).astype(float)
PIXELS = RNG.normal(size=(3, 4, 6, 2))


def random_params(model: Transformer, example: Any) -> Any:
    """Parameters none of which is 0 or 1, so that all count."""
    params, _ = jax.eval_shape(lambda: model.init(KEY, jnp.asarray(example)))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape)), params)


def norm(p: Any, h: np.ndarray) -> np.ndarray:
    centred = h - h.mean(-1, keepdims=True)
    return centred / np.sqrt(h.var(-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


def gelu(z: np.ndarray) -> np.ndarray:
    return z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


def forward(model: Transformer, p: Any, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and attention from embedded inputs, one head and one example at a time."""
    size, maps = model.width // model.heads, []
    for block in range(model.depth):

        def at(part: str, x: np.ndarray, block: int = block) -> np.ndarray:
            layer = p[f"block_{block}_{part}"]
            return x @ layer["weight"].T + layer["bias"]

        x = norm(p[f"block_{block}_norm"], h)
        q, k, v = (at(part, x) for part in ("query", "key", "value"))
        mixed, own = np.zeros_like(h), np.zeros((len(h), model.heads, h.shape[1], h.shape[1]))
        for n in range(len(h)):
            for head in range(model.heads):
                part = slice(head * size, (head + 1) * size)
                logits = q[n, :, part] @ k[n, :, part].T / np.sqrt(size)
                if model.causal:
                    logits[np.triu_indices(len(logits), 1)] = -np.inf
                own[n, head] = softmax(logits, axis=1)
                mixed[n, :, part] = own[n, head] @ v[n, :, part]
        h = h + at("mix", mixed)
        h = h + at("down", gelu(at("up", norm(p[f"block_{block}_mlp_norm"], h))))
        maps.append(own)
    h = norm(p["readout_norm"], h)
    if model.readout == "mean":
        h = h.mean(axis=1)
    elif model.readout == "last":
        h = h[:, -1]
    outputs = h @ p["readout"]["weight"].T + p["readout"]["bias"]
    return outputs.reshape(len(h), -1), np.stack(maps)


def embedded(model: Transformer, p: Any, x: np.ndarray) -> np.ndarray:
    if model.vocabulary:
        h = p["token"]["weight"].T[x.astype(int)]
    else:
        patches = [
            x[:, i : i + 2, j : j + 2].reshape(len(x), -1)
            for i in range(0, x.shape[1], 2)
            for j in range(0, x.shape[2], 2)
        ]
        h = np.stack(patches, axis=1) @ p["patch"]["weight"].T + p["patch"]["bias"]
    return h + p["position"]["weight"].T


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (LANGUAGE, TOKENS),
        (Transformer(4, 6, 1, 3, 1, vocabulary=5, causal=True, readout="last"), TOKENS),
        (IMAGES, PIXELS),
    ],
    ids=["every", "last", "images"],
)
def test_forward_is_that_written_out(model: Transformer, x: np.ndarray):
    # Broken by a wrong scale of logits, mask, order of heads or patches, branch, or readout.
    params = random_params(model, x[0])
    plain = jax.tree.map(np.asarray, params)
    outputs, maps = forward(model, plain, embedded(model, plain, x))
    (found, state), attention = jax.jit(
        lambda params, x: (
            model.apply(params, {}, x, train=True),
            model.attention(params, {}, x),
        )
    )(params, jnp.asarray(x))
    assert state == {}
    np.testing.assert_allclose(found, outputs, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(attention, maps, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(np.asarray(attention).sum(-1), 1, rtol=1e-13)


def test_attention_is_flaxs():
    # A second opinion on one block's attention. Broken by heads that are cut out of the wrong axis.
    params = random_params(LANGUAGE, TOKENS[0])
    x = jnp.asarray(RNG.normal(size=(3, 6, 8)))
    block = linen.MultiHeadDotProductAttention(num_heads=2, param_dtype=jnp.float64)
    given = {}
    for ours, theirs in (("query", "query"), ("key", "key"), ("value", "value"), ("mix", "out")):
        layer = params[f"block_0_{ours}"]
        shapes = ((2, 4, 8), (8,)) if theirs == "out" else ((8, 2, 4), (2, 4))
        given[theirs] = {
            "kernel": layer["weight"].T.reshape(shapes[0]),
            "bias": layer["bias"].reshape(shapes[1]),
        }
    mask = linen.make_causal_mask(jnp.zeros((3, 6)))
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        expected = block.apply({"params": given}, x, mask=mask)
    found, _ = LANGUAGE._attend("block_0", params, x)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_causal_outputs_do_not_know_what_comes():
    # Broken by a mask that is shifted by one or turned over.
    params = random_params(LANGUAGE, TOKENS[0])
    changed = TOKENS.copy()
    changed[:, 4:] = (changed[:, 4:] + 1) % 5
    before, after = (
        np.asarray(LANGUAGE.apply(params, {}, jnp.asarray(x), train=False)[0]).reshape(3, 6, 5)
        for x in (TOKENS, changed)
    )
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any(axis=2).all()


@pytest.mark.parametrize(
    ("model", "x"), [(SHALLOW, TOKENS), (IMAGES, PIXELS)], ids=["every", "mean"]
)
def test_hessian_vector_products_are_differences_of_gradients(model: Transformer, x: np.ndarray):
    # Broken by a stop_gradient, or an infinite logit whose second derivative is not a number.
    params = jax.tree.map(lambda leaf: 0.5 * leaf, random_params(model, x[0]))
    several = model.readout == "every"
    targets = RNG.integers(0, model.outputs, size=x.shape[:2] if several else len(x)).astype(
        np.int32
    )
    direction = random_params(model, x[0])

    def loss(p: Any) -> jax.Array:
        outputs = model.apply(p, {}, jnp.asarray(x), train=True)[0]
        return CROSS_ENTROPY.mean(outputs, jnp.asarray(targets))

    def near(h: float) -> Any:
        return jax.grad(loss)(jax.tree.map(lambda p, d: p + h * d, params, direction))

    h = 1e-5
    product, expected = jax.jit(
        lambda: (
            jax.jvp(jax.grad(loss), (params,), (direction,))[1],
            jax.tree.map(lambda a, b: (a - b) / (2 * h), near(h), near(-h)),
        )
    )()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), product, expected
    )


def test_start_has_its_spreads_and_gain():
    # Broken by a fan-in of the wrong axis, a branch that is not scaled, or a gain that is squared.
    model = Transformer(5, 64, 2, 4, 2, vocabulary=50, causal=True, readout="every")
    example = jnp.zeros(40)
    init = jax.jit(lambda gain: model.init(KEY, example, attention_gain=gain))
    (params, state), (louder, _) = init(1.0), init(9.0)
    assert state == {}
    spreads = {
        "token": 1, "position": 1, "block_1_query": 1 / 8, "block_0_mix": 1 / 16, "block_1_up": 1 / 8,
        "block_0_down": 1 / np.sqrt(128 * 4), "readout": 1 / 8,
    }  # fmt: skip
    for name, spread in spreads.items():
        weight = np.asarray(params[name]["weight"])
        assert weight.std() == pytest.approx(spread, rel=5 / np.sqrt(2 * weight.size))
        assert np.all(np.asarray(params[name].get("bias", 0)) == 0)
    for name in params:
        factor = 3 if name.endswith(("query", "key")) else 1
        jax.tree.map(
            lambda a, b, f=factor: np.testing.assert_allclose(f * a, b), params[name], louder[name]
        )


def test_a_narrow_start_is_the_corner_of_a_wide_one():
    # Broken by a draw that depends on the shape.
    narrow, wide = (Transformer(5, w, 1, 2, 2, vocabulary=5) for w in (4, 8))
    small, large = (compiled_init(m)(KEY, jnp.zeros(6), 1.0)[0] for m in (narrow, wide))
    for name, factor in (
        ("token", 1.0),
        ("block_0_query", np.sqrt(2)),
        ("block_0_down", np.sqrt(2)),
    ):
        weight = small[name]["weight"]
        corner = large[name]["weight"][: weight.shape[0], : weight.shape[1]]
        np.testing.assert_allclose(weight, factor * corner, rtol=1e-12)


def test_counts_by_hand():
    # Broken by a forgotten layer; operations are of products of matrices alone.
    params, _ = models.abstract_init(LANGUAGE, jnp.zeros(6))
    d, m, length, v = 8, 16, 6, 5
    block = 4 * (d * d + d) + (d * m + m) + (m * d + d) + 4 * d
    assert parameter_count(params) == v * d + length * d + 2 * block + 2 * d + d * v + v
    products = 2 * (length * (4 * d * d + 2 * d * m) + 2 * length * length * d) + length * d * v
    assert LANGUAGE.operations((6,)) == 2 * products
    # Counted in the compiled function, which embeds tokens by a product with 0 and 1.
    assert models.model_cost(LANGUAGE, (6,)).flops == 2 * products + 2 * length * v * d
    assert IMAGES.operations((4, 6, 2)) == 2 * (
        6 * (8 * 8) + 6 * (4 * 64 + 2 * 8 * 24) + 2 * 36 * 8 + 3 * 8
    )


@pytest.mark.parametrize(
    ("options", "example", "says"),
    [
        ({"heads": 3}, (6,), "heads that divide the width"),
        ({"width": 0}, (6,), "width is 0"),
        ({"readout": "first"}, (6,), "unknown readout"),
        ({"vocabulary": 5}, (4, 4, 1), "with a vocabulary inputs are tokens"),
        ({"patch": 3}, (4, 4, 1), "patches of side 3"),
        ({}, (6,), "or a vocabulary for tokens"),
    ],
)
def test_what_cannot_be_built_is_refused(options: Any, example: Any, says: str):
    # Broken by a shape that fails inside a compiled program instead.
    with pytest.raises(UserError, match=says):
        Transformer(5, **{"width": 8, "heads": 2, **options}).init(KEY, jnp.zeros(example))


def test_other_lengths_are_refused():
    params, _ = jax.jit(LANGUAGE.init)(KEY, jnp.zeros(6))
    with pytest.raises(UserError, match="7 positions, but the parameters are of 6"):
        LANGUAGE.apply(params, {}, jnp.zeros((2, 7)), train=False)


def test_found_by_name():
    assert models.get("transformer", outputs=3, width=8) == Transformer(3, 8)
