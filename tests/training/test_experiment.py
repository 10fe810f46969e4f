"""Experiments: what they see of lanes, compiled or in Python, on any number of devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.training import make_plan, train_chunk
from implicit_bias.training.experiment import Experimenter, Partner
from implicit_bias.training.measurement import FinishedLane
from implicit_bias.training.probe import Variable
from tests.training.conftest import make_lane

SEEDS = (3, 0, 5)
STEP_SIZES = {"slow": 0.05, "fast": 0.2}


@dataclass(frozen=True)
class Gap:
    """Distance of two lanes, what they began with, and the targets they share."""

    compiled: bool
    variables: ClassVar = {
        "gap": Variable(("layer",), "parameter", "distance of layers"),
        "began": Variable((), "parameter", "distance of the beginnings"),
        "targets": Variable((), "1", "sum of the targets, each with its input's first feature"),
        "seed_of": Variable((), "1", "seed"),
    }
    coordinates: ClassVar = {"layer": ("first", "second")}

    def partners(self, lanes: Any) -> Any:
        return {name: lane for lane in lanes for name in [str(lane.tags["arm"])]}

    def __call__(self, pool: Any, seed: Any, lanes: Mapping[str, FinishedLane]) -> Any:
        one, other = lanes["slow"], lanes["fast"]

        def apart(a: Any, b: Any) -> Any:
            leaves = jax.tree.leaves(jax.tree.map(jnp.subtract, a, b))
            return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in leaves))

        layers = [apart(one.params[name], other.params[name]) for name in ("layer_0", "layer_1")]
        x = jnp.asarray(pool.x_train)[one.examples.train, 0]
        kind = layers[0].dtype
        return {
            "gap": jnp.stack(layers),
            "began": apart(one.initial, other.initial),
            "targets": jnp.sum(x * jnp.asarray(one.examples.targets).astype(x.dtype)),
            "seed_of": jnp.asarray(seed).astype(kind),
        }


@pytest.fixture(scope="module")
def lanes() -> dict[int, dict[str, Any]]:
    """Two step sizes of three seeds."""
    return {
        seed: {name: make_lane(seed, 6, step_size=step) for name, step in STEP_SIZES.items()}
        for seed in SEEDS
    }


@pytest.fixture(scope="module")
def finished(lanes: Any, dataset: Dataset) -> dict[int, dict[str, Partner]]:
    """The same, trained."""
    every = [lane for own in lanes.values() for lane in own.values()]
    (program,) = make_plan(every, dataset, devices=1).programs
    trained = train_chunk(program, every, dataset)
    place = {id(lane): row for row, lane in enumerate(every)}

    def row(lane: Any) -> Partner:
        at = place[id(lane)]
        take = jax.tree.map(lambda leaf: leaf[at], (trained.params, trained.model_state))
        return Partner(lane, *take)

    return {seed: {name: row(lane) for name, lane in own.items()} for seed, own in lanes.items()}


def run(
    finished: Any,
    dataset: Dataset,
    compiled: bool,
    devices: int,
    usable: Any = None,
    slots: int = 0,
) -> dict[str, np.ndarray]:
    """All seeds, as many at once as the experiment takes."""
    example = {name: partner.lane for name, partner in finished[SEEDS[0]].items()}
    places = {lane.recipe: slots for lane in example.values()} if slots else None
    experimenter = Experimenter(Gap(compiled), dataset, example, devices=devices, slots=places)
    parts = []
    for first in range(0, len(SEEDS), experimenter.at_once):
        some = SEEDS[first : first + experimenter.at_once]
        good = [usable is None or usable[seed] for seed in some]
        parts.append(experimenter(some, [finished[seed] for seed in some], good))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize(
    ("compiled", "devices", "slots"), [(True, 1, 0), (True, 2, 0), (True, 2, 6), (False, 2, 0)]
)
def test_an_experiment_sees_what_was_trained(
    finished: Any, dataset: Dataset, compiled: bool, devices: int, slots: int
) -> None:
    # Breaks if seeds or partners are mixed up, the odd seed of the last call is lost or doubled, lanes are
    # not begun again as training began them, or the number of devices or of empty slots matters.
    found = run(finished, dataset, compiled, devices, slots=slots)
    assert found["gap"].shape == (3, 2)
    assert found["seed_of"].tolist() == list(SEEDS)
    assert (found["began"] == 0).all()
    for place, seed in enumerate(SEEDS):
        one, other = (finished[seed][name].params for name in STEP_SIZES)
        for column, layer in enumerate(("layer_0", "layer_1")):
            squares = [np.sum((one[layer][k] - other[layer][k]) ** 2) for k in one[layer]]
            np.testing.assert_allclose(
                found["gap"][place, column], np.sqrt(sum(squares)), rtol=1e-5
            )
    # Seeds draw their own examples.
    assert len(set(np.round(found["targets"], 5))) == 3


def test_a_python_experiment_computes_in_double_precision(finished: Any, dataset: Dataset) -> None:
    # Breaks if references are rounded to what the lanes are trained in.
    example = {name: partner.lane for name, partner in finished[SEEDS[0]].items()}

    class Third(Gap):
        variables: ClassVar = {"third": Variable((), "1", "one third")}
        coordinates: ClassVar = {}

        def __call__(self, pool: Any, seed: Any, lanes: Any) -> Any:
            assert isinstance(seed, int)
            return {"third": jnp.ones(()) / 3}

    # As in a float32 run: these tests allow float64 everywhere.
    with jax.enable_x64(False):
        values = Experimenter(Third(False), dataset, example, devices=1)([1], [finished[3]], [True])
        assert jnp.ones(()).dtype == jnp.float32
    assert values["third"].dtype == np.float64
    assert values["third"].tolist() == [1 / 3]


@pytest.mark.parametrize("compiled", [True, False])
def test_seeds_with_a_lost_lane_are_nothing(
    finished: Any, dataset: Dataset, compiled: bool
) -> None:
    # Breaks if a diverged partner gives numbers, or spoils the other seeds of its call.
    whole = run(finished, dataset, compiled, 2)
    some = run(finished, dataset, compiled, 2, {seed: seed != 0 for seed in SEEDS})
    for name, values in some.items():
        assert np.isnan(values[1]).all()
        np.testing.assert_array_equal(values[[0, 2]], whole[name][[0, 2]])


def test_what_is_returned_is_what_is_declared(finished: Any, dataset: Dataset) -> None:
    # Breaks if a misspelt variable becomes a column of NaN.
    class Wrong(Gap):
        def __call__(self, pool: Any, seed: Any, lanes: Any) -> Any:
            return {"gapp": np.zeros(2)}

    example = {name: partner.lane for name, partner in finished[3].items()}
    with pytest.raises(UserError, match="Wrong returns gapp, and its variables name"):
        Experimenter(Wrong(False), dataset, example, devices=1)([3], [finished[3]], [True])
