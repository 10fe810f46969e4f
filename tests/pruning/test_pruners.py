"""Scores of every pruner against NumPy, one network and many lanes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import models, pruning
from implicit_bias.errors import UserError
from implicit_bias.pruning import masks
from implicit_bias.pruning.synflow import linear
from tests.pruning import harness

IDS = [row.name for row in harness.ROWS]


def test_every_pruner_has_a_row() -> None:
    # Breaks if a pruner is added without saying what it should equal.
    assert sorted(IDS) == list(pruning.names())


@pytest.fixture(scope="module", params=harness.ROWS, ids=IDS)
def scored(request):
    """Scores of three lanes at once: other weights, masks and keys; the first mask keeps everything."""
    row = request.param
    params = [harness.parameters(seed) for seed in range(3)]
    kept = [masks.full(params[0]), harness.some_mask(1), harness.some_mask(2)]
    keys = [jax.random.key(seed) for seed in range(3)]
    lanes = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (params, kept)]

    def one(params, mask, key):
        scores = row.pruner.scores(harness.problem(), params, mask, key)
        return scores, pruning.prune(mask, scores, 9)

    found = jax.jit(jax.vmap(one))(*lanes, jnp.stack(keys))
    alone = [jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), found) for i in range(3)]
    return row, params, kept, alone


def test_scores_are_those_of_numpy(scored) -> None:
    # Breaks if a score has a wrong sign or factor, sees pruned weights, or mixes lanes.
    row, params, kept, found = scored
    for weights, mask, (scores, _) in zip(params, kept, found, strict=True):
        keep = [m > 0 for m in harness.split(mask)]
        ours = harness.split(scores)
        if row.expected is None:
            drawn = np.concatenate([leaf.ravel() for leaf in ours])
            assert len(set(drawn)) == drawn.size
            assert (drawn >= 0).all()
            assert (drawn < 1).all()
            continue
        biases = [np.asarray(weights[f"layer_{i}"]["bias"]) for i in range(2)]
        masked = harness.split(masks.apply(mask, weights))
        expected = row.expected(masked, [k.astype(float) for k in keep], biases)
        scale = max(np.abs(leaf).max() for leaf in expected)
        for own, theirs, k in zip(ours, expected, keep, strict=True):
            np.testing.assert_allclose(own[k], theirs[k], rtol=0, atol=row.tolerance * scale)


def test_the_best_of_what_is_left_are_kept(scored) -> None:
    # Breaks if a lane's mask has another number of weights, revives one, or keeps a worse one.
    _, _, kept, found = scored
    for mask, (scores, new) in zip(kept, found, strict=True):
        was = np.concatenate([m.ravel() for m in harness.split(mask)])
        now = np.concatenate([m.ravel() for m in harness.split(new)])
        value = np.concatenate([s.ravel() for s in harness.split(scores)])
        assert now.dtype == np.uint8
        assert now.sum() == 9
        assert not (now & (1 - was)).any()
        assert value[now == 1].min() >= value[(was == 1) & (now == 0)].max()
        assert all(new[layer]["bias"].all() for layer in new)


def test_synflow_conserves_the_flow_in_every_layer() -> None:
    # Breaks if biases or activations enter the flow: layers' sums would differ. Convolutional, so that a
    # weight is used at several places.
    layers = (
        models.layers.Conv(2, 2),
        models.layers.Activation("tanh"),
        models.layers.Flatten(),
        models.layers.Affine(4),
        models.layers.Activation("relu"),
        models.layers.Affine(3),
    )
    network = models.Network(layers)
    assert not any(isinstance(layer, models.layers.Activation) for layer in linear(network).layers)
    rng = np.random.default_rng(0)
    shapes, state = jax.eval_shape(
        lambda x: network.init(jax.random.key(0), x), jnp.zeros((3, 3, 1))
    )
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    problem = pruning.PruningProblem(
        network, {}, harness.problem().loss, np.zeros((1, 3, 3, 1)), None
    )
    assert not state
    scores = jax.jit(pruning.SYNFLOW.scores)(problem, params, masks.full(params), None)
    sums = [float(np.sum(leaf)) for leaf in masks.weights(scores).values()]
    # By hand: zeros surround the image below and to the right.
    taps, inner, outer = (np.abs(leaf) for leaf in masks.weights(params).values())
    ones = np.pad(np.ones((3, 3)), ((0, 1), (0, 1)))
    image = np.zeros((3, 3, 2))
    for row, column in np.ndindex(3, 3):
        image[row, column] = taps @ ones[row : row + 2, column : column + 2].ravel()
    flow = (outer @ (inner @ image.ravel())).sum()
    np.testing.assert_allclose(sums, flow, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: pruning.get("snap"), "unknown pruner 'snap'; did you mean 'snip'"),
        (lambda: pruning.get(3), "pruner 3 is int; give a name"),
        (lambda: pruning.RANDOM.scores(None, harness.parameters(0), None, None), "give a key"),
        (lambda: pruning.SNIP.scores(None, {}, {}, None), "give a PruningProblem"),
    ],
)
def test_what_a_pruner_lacks_is_said(call, told: str) -> None:
    # Breaks if the mistake is met deep inside, or not explained.
    with pytest.raises(UserError, match=told) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_a_pruner_is_found_by_record_or_place() -> None:
    # Breaks if a user's own pruner cannot be named.
    assert pruning.get(pruning.SNIP) is pruning.SNIP
    assert pruning.get("implicit_bias.pruning.grasp:GRASP") is pruning.GRASP


def test_synflow_leaves_norms_out() -> None:
    # The flow of a network with norms, a pool and a shortcut is that of its weights alone, so that it is
    # the same in every layer that all of it goes through. Breaks if a norm, here with statistics far from
    # 0 and 1, or an activation in a shortcut stays.
    layers = models.layers
    shortcut = (layers.Conv(2, 1), layers.BatchNorm(), layers.Activation("tanh"))
    block = layers.Residual((layers.Conv(2, 1), layers.BatchNorm()), 1.0, shortcut)
    chain = (layers.Conv(2, 1), layers.GroupNorm(2), block, layers.MaxPool(2), layers.Flatten())
    network = models.Network((*chain, layers.Affine(3)), bias=False)
    rng, image = np.random.default_rng(0), np.zeros((2, 2, 1))
    shapes, state = jax.eval_shape(lambda x: network.init(jax.random.key(0), x), image)
    params, state = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape) + 3, (shapes, state))
    problem = pruning.PruningProblem(network, state, harness.problem().loss, image[None], None)
    scores = jax.jit(pruning.SYNFLOW.scores)(problem, params, masks.full(params), None)
    sums = {layer: float(np.sum(leaf)) for layer, leaf in masks.weights(scores).items()}
    first, branch, beside, last = (np.abs(params[f"layer_{i}"]["weight"]) for i in range(4))
    flow = float((last @ (branch + beside) @ first).sum())  # an image of ones, 1 × 1 windows
    np.testing.assert_allclose([sums["layer_0"], sums["layer_3"]], flow, rtol=1e-12)
    np.testing.assert_allclose(sums["layer_1"] + sums["layer_2"], flow, rtol=1e-12)


def test_a_pruner_prints_as_its_name() -> None:
    # Breaks if a notebook shows addresses of functions.
    assert repr(pruning.get("magnitude")) == "Pruner('magnitude')"
