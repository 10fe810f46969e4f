"""Probes: what they see, what they carry, and that nothing of it depends on how a run is cut."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import optimizers
from implicit_bias.data import Dataset
from implicit_bias.training import Budget, Snapshot, make_plan, train_chunk
from implicit_bias.training.probe import ProbedLane, Variable
from tests.training.conftest import make_lane, make_recipe


@dataclass(frozen=True)
class Wander:
    """How far a lane is from where it was at the last probe; carries the parameters of that probe."""

    variables: ClassVar = {
        "moved": Variable(("layer",), "parameter", "distance since the last probe, layer by layer"),
        "probes": Variable((), "probes", "probes before this one"),
        "facts": Variable(("fact",), "1", "seed, step, step size, first momentum, batch loss"),
    }
    coordinates: ClassVar = {
        "layer": ("first", "second"),
        "fact": ("seed", "step", "η", "momentum", "loss"),
    }

    def start(self, params: Any) -> Any:
        return {"count": jnp.zeros((), jnp.float32), "last": params}

    def __call__(self, model: Any, loss: Any, pool: Any, lane: ProbedLane, carried: Any) -> Any:
        def distance(name: str) -> jax.Array:
            pairs = zip(
                jax.tree.leaves(lane.params[name]), jax.tree.leaves(carried["last"][name]),
                strict=True,
            )  # fmt: skip
            return jnp.sqrt(sum(jnp.sum(jnp.square(a - b)) for a, b in pairs))

        outputs, _ = model.apply(lane.params, lane.model_state, pool.x_train, train=False)
        mean = jnp.mean(loss.per_example(outputs[lane.examples.train], lane.examples.targets))
        momentum = jax.tree.leaves(lane.optimizer_state)[0].ravel()[0]
        facts = [lane.seed, lane.step, lane.settings["step_size"], momentum, mean]
        values = {
            "moved": jnp.stack([distance("layer_0"), distance("layer_1")]),
            "probes": carried["count"],
            "facts": jnp.stack([jnp.asarray(fact).astype(jnp.float32) for fact in facts]),
        }
        return values, {"count": carried["count"] + 1, "last": lane.params}


RECIPE = make_recipe(optimizer=optimizers.get("heavy_ball"))
STEPS = (0, 3, 4, 9)


@pytest.fixture(scope="module")
def lanes() -> list:
    """Four lanes with different probes; the third diverges after its first."""
    return [
        make_lane(0, 9, STEPS, RECIPE),
        make_lane(1, 9, (4,), RECIPE, step_size=0.02),
        make_lane(2, 9, (0, 9), RECIPE, weight_decay=1e30),
        make_lane(3, 5, (3, 5), RECIPE),
    ]


def run(lanes: list, dataset: Dataset, devices: int = 2, **options: Any) -> Any:
    (program,) = make_plan(lanes, dataset, devices=devices).programs
    return train_chunk(program, lanes, dataset, probe=Wander(), **options)


@pytest.fixture(scope="module")
def reference(lanes: list, dataset: Dataset) -> Any:
    return run(lanes, dataset)


def test_values_are_those_of_the_iterate_they_name(
    reference: Any, lanes: list, dataset: Dataset
) -> None:
    # Breaks if a probe sees the parameters of another update, or another lane's.
    stops = [  # the first lane's iterates, by runs that end there
        dataclasses.replace(lanes[0], budget=Budget(steps), probes=(steps,)) for steps in STEPS[1:]
    ]
    (program,) = make_plan(stops, dataset, devices=2).programs
    ended = train_chunk(program, stops, dataset)
    start = train_chunk(
        dataclasses.replace(program, slots=2),
        [dataclasses.replace(lanes[0], budget=Budget(1), settings={"step_size": 1e-30})], dataset,
    )  # fmt: skip
    iterates = [jax.tree.map(lambda leaf: leaf[0], start.params)]
    iterates += [jax.tree.map(lambda leaf, i=i: leaf[i], ended.params) for i in range(3)]
    moved = reference.probed["moved"][0]
    assert (moved[0] == 0).all()
    for row in (1, 2, 3):
        for layer in (0, 1):
            pairs = zip(
                jax.tree.leaves(iterates[row][f"layer_{layer}"]),
                jax.tree.leaves(iterates[row - 1][f"layer_{layer}"]), strict=True,
            )  # fmt: skip
            expected = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs))
            np.testing.assert_allclose(moved[row, layer], expected, rtol=1e-4)
    facts = reference.probed["facts"][0]
    assert facts[:, 0].tolist() == [0, 0, 0, 0]
    assert facts[:, 1].tolist() == list(STEPS)
    np.testing.assert_allclose(facts[:, 2], 0.1)
    assert facts[0, 3] == 0  # no momentum yet
    assert facts[3, 3] != 0
    np.testing.assert_allclose(facts[:, 4], reference.logs["train_loss"][0], rtol=1e-6)


def test_what_is_carried_is_each_lane_s_own(reference: Any) -> None:
    # Breaks if a lane that is not due counts, or a shorter list of probes shifts another's.
    counts = reference.probed["probes"]
    assert counts[0].tolist() == [0, 1, 2, 3]
    assert counts[1][0] == 0
    assert np.isnan(counts[1][1:]).all()
    assert counts[2][0] == 0
    assert np.isnan(counts[2][1:]).all()  # diverged
    assert counts[3][:2].tolist() == [0, 1]
    assert reference.diverged.tolist() == [False, False, True, False]


@pytest.mark.parametrize("options", [{"devices": 1}, {"segment_updates": 1}], ids=str)
def test_nothing_depends_on_devices_or_segments(
    reference: Any, lanes: list, dataset: Dataset, options: dict
) -> None:
    # Breaks if what is carried goes to another slot's lane.
    found = run(lanes, dataset, **options)
    for name, values in reference.probed.items():
        assert found.probed[name].tobytes() == values.tobytes(), name


def test_a_resumed_chunk_probes_as_if_it_had_never_stopped(
    reference: Any, lanes: list, dataset: Dataset
) -> None:
    # Breaks if what is carried, or what was probed already, is not part of a snapshot.
    snapshots: list[Snapshot] = []
    run(
        lanes, dataset, segment_updates=1,
        on_segment=lambda progress: snapshots.append(progress.snapshot()),
    )  # fmt: skip
    for snapshot in (snapshots[2], snapshots[5]):
        found = run(lanes, dataset, resume=snapshot)
        for name, values in reference.probed.items():
            assert found.probed[name].tobytes() == values.tobytes(), (snapshot.step, name)
        assert jax.tree.all(
            jax.tree.map(lambda a, b: a.tobytes() == b.tobytes(), found.params, reference.params)
        )
