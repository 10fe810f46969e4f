"""Gradient rules inside the engine: masks, micro-batches, keys, and what they must not change."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import losses, models, optimizers
from implicit_bias.errors import UserError
from implicit_bias.keys import ROLES, role_key
from implicit_bias.optimizers import GradientRule, Optimizer, Setting, with_rule
from implicit_bias.training import Recipe
from implicit_bias.training.lane import (
    LaneExamples,
    LaneInputs,
    LaneState,
    Pool,
    run_updates,
)
from tests.optimizers.harness import GEOMETRIES, ROWS

N, STEPS = 20, 4


def train(optimizer: str | Optimizer, **given: Any) -> Any:
    """Run a few updates of one lane of a tanh network and return its parameters."""
    return states(optimizer, **given)[-1].params


def states(
    optimizer: str | Optimizer,
    *,
    width: int = 6,
    dtype: str = "float64",
    mask: Any = None,
    start: Any = None,
    micro_batch: int | None = None,
    seed: int = 3,
    cuts: tuple[int, ...] = (STEPS,),
    **settings: float,
) -> list[LaneState]:
    """Run a few updates of one lane of a tanh network and return its states at the cuts."""
    recipe = Recipe(
        models.Dense((width,), 3, "tanh"),
        losses.get("cross_entropy"),
        optimizers.get(optimizer),
        optimizers.Schedule(),
        8,
        N,
        sampling="replacement",  # shuffling epochs takes longer to compile
        micro_batch=micro_batch,
        masked=mask is not None,
        started=optimizers.get(optimizer).domain is not None,
        dtype=dtype,  # type: ignore[arg-type]
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N, 4)).astype(dtype), (np.arange(N) % 3).astype(np.int32)
    full = recipe.setting_defaults() | {"step_size": 0.3} | settings
    lane = LaneInputs(np.uint32(seed), {k: np.asarray(v, dtype) for k, v in full.items()}, mask)
    x, y = jnp.asarray(x), jnp.asarray(y)
    examples = LaneExamples(jnp.arange(N, dtype=jnp.int32), jnp.zeros(0, jnp.int32), y)

    start = network(width, dtype) if start is None else start
    if mask is not None:
        start = jax.tree.map(lambda leaf, keep: leaf * keep.astype(leaf.dtype), start, mask)

    # The settings are traced, as in the engine: a strength known to be zero would be compiled away.
    @jax.jit
    def run(lane: LaneInputs, state: LaneState, first: jax.Array, stop: jax.Array) -> LaneState:
        return run_updates(recipe, Pool(x, y, x, y), lane, examples, state, first, stop)[0]

    state = LaneState(start, {}, recipe.optimizer.build(recipe.schedule, lane.settings).init(start))
    found = []
    for first, stop in itertools.pairwise((0, *cuts)):
        state = run(lane, state, jnp.int32(first), jnp.int32(stop))
        found.append(state)
    return found


def network(width: int, dtype: str = "float64") -> Any:
    """Parameters drawn with NumPy: initialising compiles longer than an update."""
    rng = np.random.default_rng(width)
    return {
        f"layer_{index}": {
            "weight": jnp.asarray(rng.normal(size=(n_out, n_in)), dtype),
            "bias": jnp.asarray(rng.normal(size=n_out), dtype),
        }
        for index, (n_in, n_out) in enumerate(((4, width), (width, 3)))
    }


def assert_close(a: Any, b: Any, tolerance: float = 1e-10) -> None:
    jax.tree.map(
        lambda u, v: np.testing.assert_allclose(u, v, rtol=tolerance, atol=tolerance), a, b
    )


def assert_same(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def unit_mask(width: int, kept: int) -> Any:
    """The mask of a network of which only the first hidden units are left."""
    model = models.Dense((width,), 3, "tanh")
    return jax.tree.map(
        lambda leaf: np.asarray(leaf, np.uint8), model.width_mask(jnp.zeros(4), (kept,))
    )


@pytest.mark.parametrize("name", ["top_penalty", "gradient_flow"])
def test_micro_batches_change_nothing_but_rounding(name: str) -> None:
    # Breaks if a gradient inside the rule is that of a part, or derivatives do not pass through the sum.
    assert_close(train(name, micro_batch=3), train(name))


@pytest.mark.parametrize("name", ["gradient_flow", "top_penalty"])
def test_a_masked_network_is_the_small_one(name: str) -> None:
    # Breaks if a gradient in the rule is not masked: a stage of the flow or the eigenvector
    # would then see the removed units. The eigenvector's random start differs: 400 products forget it.
    mask = unit_mask(6, 4)
    small = network(4)
    padded = {
        "layer_0": {
            "weight": jnp.pad(small["layer_0"]["weight"], ((0, 2), (0, 0))),
            "bias": jnp.pad(small["layer_0"]["bias"], (0, 2)),
        },
        "layer_1": {
            "weight": jnp.pad(small["layer_1"]["weight"], ((0, 0), (0, 2))),
            "bias": small["layer_1"]["bias"],
        },
    }
    more = {"hessian_products": 400.0, "gamma": 0.1} if name == "top_penalty" else {}
    found = train(name, mask=mask, start=padded, cuts=(2,), **more)
    own = train(name, width=4, start=small, cuts=(2,), **more)
    expected = {
        "layer_0": {
            "weight": np.pad(own["layer_0"]["weight"], ((0, 2), (0, 0))),
            "bias": np.pad(own["layer_0"]["bias"], (0, 2)),
        },
        "layer_1": {
            "weight": np.pad(own["layer_1"]["weight"], ((0, 0), (0, 2))),
            "bias": own["layer_1"]["bias"],
        },
    }
    assert_close(found, expected, 1e-7 if name == "top_penalty" else 1e-12)


def test_the_gradient_function_is_that_of_the_parameters_left() -> None:
    # Breaks if a probe's entries at held parameters enter a Hessian product: the trace would then be that
    # of another block. Every entry is held with probability one half.
    rng = np.random.default_rng(1)
    mask = jax.tree.map(lambda leaf: rng.integers(0, 2, leaf.shape, np.uint8), unit_mask(6, 6))

    def along(vector: Any) -> Optimizer:
        def evaluate(settings: Any, step: Any, gradient: Any, gradient_of: Any, p: Any, key: Any):
            return jax.jvp(gradient_of, (p,), (vector(p),))[1]

        return with_rule(optimizers.SGD, GradientRule("along", 2, evaluate))

    everywhere = along(lambda p: jax.tree.map(jnp.ones_like, p))
    kept = along(lambda p: jax.tree.map(lambda leaf, m: m.astype(leaf.dtype), p, mask))
    found = train(everywhere, mask=mask)
    assert_same(found, train(kept, mask=mask))
    jax.tree.map(lambda leaf, m: np.testing.assert_array_equal(leaf[m == 0], 0), found, mask)


@pytest.mark.parametrize(
    "name",
    [
        # One coordinate at a time leaves kept ones at rest, and some domains have no zeros: below.
        *sorted(set(optimizers.names()) - {row.name for row in GEOMETRIES}),
        "p_norm_descent",
        "sign_descent",
        "sam(adam)",
        "trace_penalty",
    ],
)
def test_pruned_weights_and_their_moments_are_zero_after_any_number_of_steps(name: str) -> None:
    # Breaks if a decay, a moment, an eps or a rule's own step moves a pruned weight, even by one rounding:
    # after the first update, the second, and many. Half of all weights are pruned, and one whole unit.
    rng = np.random.default_rng(2)
    mask = jax.tree.map(
        lambda leaf: rng.integers(0, 2, leaf.shape, np.uint8) if leaf.ndim > 1 else leaf,
        unit_mask(6, 5),
    )
    mask["layer_0"]["weight"][5] = mask["layer_1"]["weight"][:, 5] = 0
    given = {"weight_decay": 0.1, "decoupled_weight_decay": 0.1, "step_size": 0.03}
    found = states(name, dtype="float32", mask=mask, cuts=(1, 2, 40), **given)
    like = jax.tree.structure(mask)
    own = {row.name: row.state_copies for row in (*ROWS, *GEOMETRIES)} | {"sam(adam)": 2}
    for state in found:
        parts = jax.tree.leaves(
            state.optimizer_state, is_leaf=lambda tree: jax.tree.structure(tree) == like
        )
        moments = [part for part in parts if jax.tree.structure(part) == like]
        assert len(moments) == own.get(name, 0)
        for tree in (state.params, *moments):
            jax.tree.map(lambda leaf, m: np.testing.assert_array_equal(leaf[m == 0], 0), tree, mask)
    # What is kept moves at every step: the zeros are not those of a network at rest.
    for one, later in itertools.pairwise([network(6, "float32"), *(s.params for s in found)]):
        jax.tree.map(lambda u, v, m: np.testing.assert_array_less(0, np.abs(u - v)[m > 0]),
                     one, later, mask)  # fmt: skip


@pytest.mark.parametrize("name", ["simplex_descent", "epsilon_coordinate"])
def test_pruned_weights_are_zero_where_zeros_are_special(name: str) -> None:
    # Breaks if the logarithm of a pruned weight makes NaN, the sum of the simplex counts pruned weights, or a
    # pruned coordinate is chosen.
    mask = jax.tree.map(
        lambda leaf: np.random.default_rng(2).integers(0, 2, leaf.shape, np.uint8), unit_mask(6, 6)
    )
    start = jax.tree.map(lambda leaf, m: jnp.abs(leaf) * m.astype(leaf.dtype), network(6), mask)
    total = sum(float(leaf.sum()) for leaf in jax.tree.leaves(start))
    start = jax.tree.map(lambda leaf: leaf / total, start)
    found = train(name, mask=mask, start=start, cuts=(1, 30), step_size=0.05)
    jax.tree.map(lambda leaf, m: np.testing.assert_array_equal(leaf[m == 0], 0), found, mask)
    assert any(np.any(leaf != before) for leaf, before in
               zip(jax.tree.leaves(found), jax.tree.leaves(start), strict=True))  # fmt: skip
    if name == "simplex_descent":
        leaves = jax.tree.leaves(found)
        assert sum(float(leaf.sum()) for leaf in leaves) == pytest.approx(1, abs=1e-12)
        jax.tree.map(lambda leaf, m: np.testing.assert_array_less(0, leaf[m > 0]), found, mask)


@pytest.mark.parametrize("small", [False, True])
def test_a_rule_of_strength_zero_is_the_base_optimiser_bit_for_bit(small: bool) -> None:
    # Breaks if the control of a comparison differs in the last bit, which training then amplifies; both
    # plainly, and with a mask and micro-batches.
    given: dict[str, Any] = {"dtype": "float32"}
    if small:
        given |= {"micro_batch": 3, "mask": unit_mask(6, 4)}
    base = train("heavy_ball", **given)
    for name in ("sam", "top_penalty") if small else ("asam", "trace_penalty", "top_penalty"):
        strength = "rho" if name.endswith("sam") else "gamma"
        assert_same(train(f"{name}(heavy_ball)", **given, **{strength: 0.0}), base)


def test_keys_are_the_update_s_own() -> None:
    # Breaks if updates or seeds share a key, if it depends on how a run is cut, or comes from another role.
    def evaluate(
        settings: Any, step: Any, gradient: Any, gradient_of: Any, p: Any, key: Any
    ) -> Any:
        draw = jax.random.normal(key, (), jnp.float64)
        return jax.tree.map(lambda leaf: jnp.full_like(leaf, draw), gradient)

    random = with_rule(optimizers.SGD, GradientRule("random", 1, evaluate))
    whole = train(random, step_size=1.0)
    assert_same(whole, train(random, step_size=1.0, cuts=(1, 3, STEPS)))
    before = network(6)
    drawn = sum(
        jax.random.normal(jax.random.fold_in(role_key(3, "gradient_rule"), number), (), jnp.float64)
        for number in range(STEPS)
    )
    assert_close(whole, jax.tree.map(lambda leaf: leaf - drawn, before), 1e-12)


def test_without_a_rule_no_key_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    # Breaks if optimisers without a rule pay for it.
    monkeypatch.delitem(ROLES, "gradient_rule")
    train("sgd", cuts=(1,))
    with pytest.raises(KeyError, match="gradient_rule"):
        train("sam", cuts=(1,))


def test_a_rule_sees_its_settings_and_step_size_in_the_parameters_dtype() -> None:
    # Breaks if a float64 setting promotes a float32 network, or a rule sees settings not its own.
    seen: dict[str, Any] = {}

    def evaluate(
        settings: Any, step: Any, gradient: Any, gradient_of: Any, p: Any, key: Any
    ) -> Any:
        seen.update(settings, step=step)
        return gradient

    rule = GradientRule("look", 1, evaluate, (Setting("tilt", 0.5),))
    optimizer = with_rule(optimizers.HEAVY_BALL, rule)
    assert "tilt" in optimizer.settings()
    assert hash(optimizer) == hash(with_rule(optimizers.HEAVY_BALL, rule))
    params = {"w": jnp.ones(2, jnp.float32)}
    settings = {name: np.float64(value) for name, value in optimizer.settings().items()}
    found = optimizer.update_gradient(
        optimizers.Schedule("exponential"),
        settings | {"step_size": 1.0, "decay_rate": 0.5, "decay_every": 1.0},
        jnp.int32(2),
        params,
        lambda p: p,
        params,
        jax.random.key(0),
    )
    assert_same(found, params)
    assert {name: float(value) for name, value in seen.items()} == {"tilt": 0.5, "step": 0.25}
    assert {value.dtype for value in seen.values()} == {np.dtype(np.float32)}


def test_a_second_rule_or_a_setting_of_the_same_name_is_refused() -> None:
    # Breaks if one of two rules silently disappears, or two settings share one number.
    with pytest.raises(UserError, match="has the gradient rule 'sam' already"):
        optimizers.get("trace_penalty(sam)")
    clash = GradientRule("clash", 1, lambda s, h, g, f, p, k: g, (Setting("momentum", 0.5),))
    with pytest.raises(UserError, match="both have a setting 'momentum'"):
        with_rule(optimizers.HEAVY_BALL, clash)
    assert dataclasses.replace(optimizers.SGD, rule=clash).gradients == 1


def test_an_optimiser_prints_as_its_name_and_settings() -> None:
    # Breaks if a notebook shows addresses of functions and every range.
    assert repr(optimizers.get("adam")) == "Optimizer('adam', b1=0.9, b2=0.999, eps=1e-08)"
    assert repr(optimizers.get("sgd")) == "Optimizer('sgd')"
