"""Measuring lanes: each as if it were alone, diverged ones not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.keys import role_key
from implicit_bias.training import LaneInputs
from implicit_bias.training.lane import initial_parameters, lane_examples
from implicit_bias.training.measurement import FinishedLane, Measurer, Variable, check_returned
from implicit_bias.training.slots import make_pool
from tests.training.conftest import MODEL, make_lane, make_recipe

N = 7
DIVERGED = np.arange(N) == 4


@dataclass(frozen=True)
class Probe:
    """Uses all that a measurement is given; a loop takes as long as its lane needs."""

    cap: int = 50

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured."""
        names = ("norm", "start", "classes", "steps", "positive", "loss", "draw", "layers")
        dims = {"layers": ("layer",), "classes": ("class",)}
        return {n: Variable(dims.get(n, ()), "1", n) for n in names}

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Both layers; classes have none."""
        return {"layer": (0, 1)}

    def __call__(self, model, loss, pool, lane: FinishedLane) -> dict[str, jax.Array]:
        """Measure one lane."""

        def norm(tree):
            return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))

        def halve(carry):
            value, steps = carry
            return value / 2, steps + 1

        def large(carry):
            # A lane that is not a number would go on to the cap.
            return ~(carry[0] < 1) & (carry[1] < self.cap)

        outputs, _ = model.apply(lane.params, lane.model_state, pool.x_test, train=False)
        return {
            "norm": norm(lane.params),
            "start": norm(lane.initial),
            "classes": jnp.bincount(lane.examples.targets, length=3),
            "steps": jax.lax.while_loop(large, halve, (norm(lane.params), jnp.int32(0)))[1],
            "positive": lane.params["layer_0"]["bias"][0] > 0,
            "loss": jnp.mean(loss.per_example(outputs, pool.y_test)),
            "draw": jax.random.normal(role_key(lane.seed, "probe"), (), outputs.dtype),
            "layers": jnp.stack([norm(lane.params[f"layer_{i}"]) for i in range(2)]),
        }


@pytest.fixture(scope="module")
def lanes() -> list:
    """Lanes that differ in seed, label noise, initial scale and mask."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda key: MODEL.init(key, jnp.zeros(6))[0], jax.random.key(0))
    recipe = make_recipe(masked=True, n_valid=6)
    return [
        make_lane(
            seed,
            recipe=recipe,
            mask=jax.tree.map(lambda s: (rng.random(s.shape) < 0.7).astype(np.uint8), shapes),
            label_noise=0.1 * seed,
            init_scale=2.0**seed,
        )
        for seed in range(N)
    ]


@pytest.fixture(scope="module")
def params() -> dict:
    """Parameters of very different sizes, so that the loop's length differs; one lane diverged."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda key: MODEL.init(key, jnp.zeros(6))[0], jax.random.key(0))
    scale = 4.0 ** np.arange(N)

    def values(shape):
        leaf = rng.normal(size=(N, *shape.shape)) * scale.reshape(N, *[1] * len(shape.shape))
        leaf[DIVERGED] = np.nan
        return leaf.astype(np.float32)

    return jax.tree.map(values, shapes)


@pytest.fixture(scope="module")
def measurer(lanes, dataset: Dataset) -> Measurer:
    return Measurer(Probe(), dataset, lanes[0], devices=1, chunk=1)


@pytest.fixture(scope="module")
def reference(measurer, lanes, params) -> dict[str, np.ndarray]:
    return measurer(lanes, params, {}, DIVERGED)


def test_values_are_those_of_the_measurement_called_on_one_lane(
    reference, lanes, params, dataset: Dataset
):
    # Breaks if a lane is measured with another's parameters, seed, settings, mask or examples.
    recipe = lanes[0].recipe

    @jax.jit
    def direct(pool, inputs, own):
        examples = lane_examples(dataset, recipe.n_train, recipe.n_valid, inputs)
        initial, _ = initial_parameters(recipe.model, pool.x_train[0], inputs)
        lane = FinishedLane(inputs.seed, examples, own, {}, initial)
        return Probe()(recipe.model, recipe.loss, pool, lane)

    pool = make_pool(dataset, "float32", 1)
    for row in np.flatnonzero(~DIVERGED):
        settings = {name: np.float32(value) for name, value in lanes[row].values.items()}
        inputs = LaneInputs(np.uint32(row), settings, lanes[row].mask)
        own = jax.tree.map(lambda leaf, r=row: leaf[r], params)
        expected = direct(pool, inputs, own)
        assert set(expected) == set(reference) == set(Probe().variables)
        for name, value in expected.items():
            assert reference[name].shape == (N, *value.shape)
            assert reference[name].dtype == value.dtype
            np.testing.assert_allclose(reference[name][row], value, rtol=1e-6, err_msg=name)


def test_values_are_those_of_numpy(reference, lanes, params):
    # Breaks if what is handed to the measurement is not what was given, lane by lane.
    leaves = [leaf.astype(np.float64) for leaf in jax.tree.leaves(params)]
    norm = np.sqrt(sum((leaf.reshape(N, -1) ** 2).sum(1) for leaf in leaves))
    np.testing.assert_allclose(reference["norm"][~DIVERGED], norm[~DIVERGED], rtol=1e-5)
    halvings = np.maximum(np.floor(np.log2(norm[~DIVERGED])) + 1, 0)
    assert (reference["steps"][~DIVERGED] == halvings).all()
    assert len(set(reference["steps"])) > 4  # lanes do take different times
    positive = params["layer_0"]["bias"][:, 0] > 0
    assert reference["positive"].dtype == bool
    assert (reference["positive"] == (positive & ~DIVERGED)).all()
    # 40 examples each, redrawn and relabelled by seed.
    assert (reference["classes"].sum(1)[~DIVERGED] == 40).all()
    assert len({tuple(row) for row in reference["classes"]}) > 2
    # Initial weights are those of the seed, scaled and masked; biases start at zero.
    start, _ = jax.jit(MODEL.init)(role_key(5, "initialisation"), jnp.zeros(6, jnp.float32))
    kept = jax.tree.map(
        lambda leaf, keep: np.sum((np.asarray(leaf) * keep) ** 2), start, lanes[5].mask
    )
    expected = 32 * np.sqrt(sum(jax.tree.leaves(kept)))
    np.testing.assert_allclose(reference["start"][5], expected, rtol=1e-5)


def test_diverged_lanes_are_skipped(reference, params):
    # Breaks if a lost lane is measured as if it were a result, or costs the time of the others.
    for name, values in reference.items():
        lost = values[DIVERGED]
        if values.dtype.kind == "f":
            assert np.isnan(lost).all(), name
            assert np.isfinite(values[~DIVERGED]).all(), name
        else:
            # The loop would have run to its cap on NaN.
            assert (lost == 0).all(), name


@pytest.mark.parametrize(("devices", "chunk"), [(1, 4), (2, 3)])
def test_chunks_and_devices_change_no_bit(
    reference, lanes, params, dataset: Dataset, devices, chunk
):
    # Breaks if a lane's values depend on those it is measured with, or padding shows.
    seen: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
    measurer = Measurer(Probe(), dataset, lanes[0], devices=devices, chunk=chunk)
    values = measurer(
        lanes, params, {}, DIVERGED, on_chunk=lambda rows, part: seen.append((rows, part))
    )
    for name, value in reference.items():
        assert values[name].tobytes() == value.tobytes(), name
    # Breaks if the hook, by which results reach the disk, misses a lane or names another.
    rows = np.concatenate([rows for rows, _ in seen])
    assert rows.tolist() == list(range(N))
    assert max(len(rows) for rows, _ in seen) == devices * chunk
    for name, value in reference.items():
        part = np.concatenate([part[name] for _, part in seen])
        assert part.tobytes() == value.tobytes(), name


def test_one_program_serves_any_number_of_lanes(measurer, lanes, params, reference):
    # Breaks if a later call, with other lanes, meets the first one's leftovers, or if lanes are lost or
    # empty slots found where beginnings are drawn in fewer or more slots than it was made with.
    for rows, slots in (([6], None), ([2, 0, 5], 2), ([2, 0, 5], 8)):
        some = jax.tree.map(lambda leaf, r=rows: leaf[np.array(r)], params)
        values = measurer([lanes[r] for r in rows], some, {}, DIVERGED[rows], slots=slots)
        for name, value in reference.items():
            assert values[name].tobytes() == value[rows].tobytes(), name


@dataclass(frozen=True)
class Returning:
    """Returns what it is given, whatever its variables say."""

    variables: ClassVar = {
        "top": Variable((), "1", "a number"),
        "all": Variable(("k",), "1", "two"),
    }
    coordinates: ClassVar = {"k": (1, 2)}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (3, "Returning returns int; return a dict of its variables, top, all"),
        ({"tip": 1.0, "all": np.zeros(2)}, "returns tip, all, and its variables name top too"),
        ({"top": np.zeros(1), "all": np.zeros(2)}, "top of shape (1,), .*a single number"),
        ({"top": 1.0, "all": np.zeros(3)}, "all of shape (3,), .*the dimensions k of 2;"),
        ({"top": 1.0, "all": 2.0}, "all of shape (), .*the dimensions k of 2;"),
    ],
)
def test_what_the_variables_do_not_say_is_refused(values: object, said: str):
    # Breaks if a wrong shape or name is stored, and then stands in the way of the mended study.
    pattern = said.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(UserError, match=pattern):
        check_returned(Returning(), values)
    check_returned(Returning(), {"top": 1.0, "all": np.zeros(2), "more": 0})
