"""The plan of widths: the best cut, what it says, and padded lanes in the engine."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.models import Dense, Padded
from implicit_bias.training import Budget, Lane, bucketed, make_plan, table, train
from implicit_bias.training.widths import LARGEST_WASTE, predicted
from tests.training.conftest import make_recipe

COSTS = dataclasses.replace(table.CPU_COSTS, start_seconds=0.0)


def weights(width: int, hidden: int, inputs: int, outputs: int) -> tuple[int, int]:
    """Weights of the first layer and of the others, by hand."""
    return inputs * width, (hidden - 1) * width**2 + width * outputs


def all_cuts(widths: tuple[int, ...]) -> Any:
    """Every way to cut sorted widths into neighbours."""
    for inner in itertools.product([False, True], repeat=len(widths) - 1):
        places = [0, *(i + 1 for i, cut in enumerate(inner) if cut), len(widths)]
        yield [widths[a:b] for a, b in itertools.pairwise(places)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    widths=st.lists(st.integers(1, 600), min_size=1, max_size=7, unique=True),
    hidden=st.integers(1, 3),
    lanes=st.integers(1, 5),
    updates=st.integers(1, 20000),
    compile_seconds=st.floats(0.0, 10.0),
    sharing=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_the_cut_is_the_best_of_all(
    widths: list[int], hidden: int, lanes: int, updates: int, compile_seconds: float, sharing: float
) -> None:
    # Against all cuts, with times and waste computed anew. Broken by a cut that is not the best, that
    # wastes more than half of a bucket, or a prediction that differs from what the text says.
    costs = dataclasses.replace(COSTS, compile_seconds=compile_seconds, sharing=sharing)
    dense = Dense((1,) * hidden, 3)
    plan = bucketed(
        dense, widths, inputs=50, lanes=lanes, updates=updates, batch_size=32, costs=costs
    )

    def training(bucket: tuple[int, ...]) -> float:
        first, rest = weights(bucket[-1], hidden, 50, 3)
        parameters = first + rest + hidden * bucket[-1] + 3
        update = 32 * costs.per_example + parameters * costs.per_parameter
        update += 32 * (4 * first + 6 * rest) * 1e-9 / costs.gflops
        on_one_device = math.ceil(lanes * len(bucket) / costs.devices)
        return on_one_device * (updates * update + parameters * costs.start_per_parameter)

    def wasted(bucket: tuple[int, ...]) -> float:
        each = [np.dot((4, 6), weights(width, hidden, 50, 3)) for width in bucket]
        return 1 - sum(each) / (len(each) * each[-1])

    def seconds(cut: list[tuple[int, ...]]) -> float:
        times = [training(bucket) for bucket in cut]
        n, c = len(cut), compile_seconds
        return max(
            c + sum(times) + sharing * (n - 1) * c, n * c + times[0] + sharing * sum(times[1:])
        )

    ordered = tuple(sorted(widths))
    allowed = [
        cut
        for cut in all_cuts(ordered)
        if all(len(bucket) == 1 or wasted(bucket) <= LARGEST_WASTE + 1e-12 for bucket in cut)
    ]
    best = min(map(seconds, allowed))
    assert list(itertools.chain.from_iterable(plan.buckets)) == list(ordered)
    assert list(plan.buckets) in allowed
    assert plan.seconds == pytest.approx(best, rel=1e-9)
    assert seconds(list(plan.buckets)) == pytest.approx(best, rel=1e-9)
    assert plan.seconds_apart == pytest.approx(seconds([(width,) for width in ordered]), rel=1e-9)
    padded = sum(len(b) * np.dot((4, 6), weights(b[-1], hidden, 50, 3)) for b in plan.buckets)
    true = sum(np.dot((4, 6), weights(width, hidden, 50, 3)) for width in ordered)
    assert plan.wasted == pytest.approx(1 - true / padded, abs=1e-9)
    assert plan.padded_gflop == pytest.approx(32e-9 * lanes * updates * padded, rel=1e-9)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    widths=st.lists(st.integers(1, 4000), min_size=1, max_size=8, unique=True),
    updates=st.integers(1, 2000),
    compile_seconds=st.floats(0.0, 10.0),
)
def test_the_prediction_is_that_of_an_assembly_line(
    widths: list[int], updates: int, compile_seconds: float
) -> None:
    # Compiling and training that do not disturb each other, followed program by program; and in turn.
    # Broken if training could begin before its program is there, or the formula forgets a wait.
    costs = dataclasses.replace(COSTS, compile_seconds=compile_seconds, sharing=0.0)
    load = bucketed(
        Dense((1,), 10), widths, inputs=20, lanes=2, updates=updates, batch_size=64, costs=costs
    ).load
    apart = [(width,) for width in sorted(widths)]
    compiled = trained = 0.0
    for bucket in reversed(apart):
        compiled += compile_seconds
        trained = max(compiled, trained) + load.seconds(bucket, costs)
    assert predicted(load, apart, costs) == pytest.approx(trained, rel=1e-9)
    in_turn = dataclasses.replace(costs, sharing=1.0)
    total = sum(compile_seconds + load.seconds(bucket, costs) for bucket in apart)
    assert predicted(load, apart, in_turn) == pytest.approx(total, rel=1e-9)


def powers(**changes: Any) -> Any:
    options = {
        "inputs": 784,
        "lanes": 5,
        "updates": 100,
        "batch_size": 128,
        "costs": table.CPU_COSTS,
    }
    return bucketed(Dense((1,), 10), [2**k for k in range(12, 4, -1)], **{**options, **changes})


def test_short_runs_share_programs_and_long_ones_do_not() -> None:
    # Broken if compiling is weighed against the wrong thing, or the text tells another story.
    short, long = powers(updates=3), powers(updates=10**6)
    assert len(short.buckets) == 3
    assert short.seconds < 0.7 * short.seconds_apart
    assert len(long.buckets) == 8
    assert long.seconds == long.seconds_apart
    assert long.wasted == 0
    assert all(short.load.wasted(bucket) <= 0.5 for bucket in short.buckets)
    text = short.describe()
    for part in ("8 widths in 3 programs", f"{100 * short.wasted:.0f} % of", "2048, 4096 at 4096",
                 f"{short.seconds:.0f} s in all, {short.seconds_apart:.0f} s with"):  # fmt: skip
        assert part in text
    assert "\n" not in text
    assert "padding would cost more than it saves" in long.describe()
    # Two lanes cannot waste more than half of their arithmetic, but three can.
    pair = {"inputs": 9, "updates": 1, "batch_size": 1, "costs": table.CPU_COSTS}
    assert bucketed(Dense((1,), 1), [4, 400], lanes=1, **pair).buckets == ((4, 400),)
    far = bucketed(Dense((1,), 1), [4, 400], lanes={4: 2, 400: 1}, **pair)
    assert far.describe().endswith("no two of these widths may share one")
    # In the compilation cache: nothing to save.
    warm = powers(updates=3, costs=dataclasses.replace(table.CPU_COSTS, compile_seconds=0.0))
    assert warm.seconds <= warm.seconds_apart
    # Few lanes of the widest make sharing its width dear for many narrow ones.
    lanes = {2**k: 40 if k < 12 else 1 for k in range(5, 13)}
    assert len(powers(lanes=lanes, updates=300).bucket(4096)) == 1


def test_models_and_settings_of_lanes() -> None:
    # Broken if a lane's network has another width than its label, or is padded for nothing.
    few = {40: 1, 8: 3, 6: 3}  # too few of width 40 for the others to join them
    plan = bucketed(
        Dense((7, 9), 3, "tanh", "mup"), (40, 8, 6), inputs=6, lanes=few, updates=5, batch_size=16
    )
    assert plan.buckets == ((6, 8), (40,))
    padded = Padded(Dense((8, 8), 3, "tanh", "mup"))
    assert [plan.model(width) for width in (6, 8)] == [padded, padded]
    assert [plan.settings(width) for width in (6, 8)] == [{"width": 6}, {"width": 8}]
    assert plan.model(40) == Dense((40, 40), 3, "tanh", "mup")
    assert plan.settings(40) == {}
    with pytest.raises(UserError, match="width 7 is not in the plan; it has 6, 8, 40"):
        plan.model(7)


def test_padded_lanes_train_as_unpadded_ones(dataset: Dataset) -> None:
    # The engine itself: lanes of two widths in one program, in float64, against a program for each.
    # Broken if a lane's width does not reach its parameters, its updates or its evaluation.
    plan = bucketed(
        Dense((1,), 3, "gelu", "ntk"), (5, 8), inputs=6, lanes=2, updates=9, batch_size=40
    )
    assert plan.buckets == ((5, 8),)

    def lanes(model: Any, width: int, extra: Any) -> list[Lane]:
        recipe = make_recipe(model=model, dtype="float64", batch_size=40)  # all: quick to compile
        return [Lane(recipe, seed, {"step_size": 0.2, "weight_decay": 0.01, **extra}, Budget(9), (0, 9),
                     tags={"width": width}) for seed in (0, 1)]  # fmt: skip

    together = [lane for w in (5, 8) for lane in lanes(plan.model(w), w, plan.settings(w))]
    made = make_plan(together, dataset)
    model = plan.model(5)
    assert isinstance(model, Padded)
    narrow = lanes(model.narrow(5), 5, {})
    # Not in a hurry: XLA then computes a draw's last digit otherwise, depending on the shape.
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        (padded,), (alone,) = train(made), train(make_plan(narrow, dataset))
    finally:
        jax.config.update("jax_disable_most_optimizations", True)
    cut = model.unpadded(jax.tree.map(lambda leaf: leaf[:2], padded.params), 5)
    for name, layer in alone.params.items():
        for part, expected in layer.items():
            np.testing.assert_allclose(cut[name][part], expected, rtol=1e-11, atol=1e-13)
    for name, values in alone.logs.items():
        np.testing.assert_allclose(padded.logs[name][:2], values, rtol=1e-11)
    # The plan says what padding wastes: parameters are few here, so by hand, 6-5-3 against 6-8-3.
    (line,) = [reason for reason in made.reasons if reason.startswith("padding")]
    waste = 1 - (5 + 8) / (2 * 8)
    assert f"widths 5, 8 in one program at 8: {100 * waste:.0f} % of its arithmetic" in line
    assert line in made.describe()
    assert line in made.to_json()["reasons"]
    assert not [reason for reason in make_plan(narrow, dataset).reasons if "padding" in reason]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"widths": ()}, "widths are none; give at least one"),
        ({"widths": (4, 4)}, "widths are 4, 4; give at least one, each once"),
        ({"widths": (4, 2.5)}, "a width is 2.5; give a whole number >= 1"),
        ({"widths": (0,)}, "a width is 0"),
        ({"lanes": 0}, "lanes is 0"),
        ({"updates": {4: 3}}, "width 8 has no entry among 4; give one"),
        ({"batch_size": True}, "batch_size is True"),
        ({"inputs": -1}, "inputs is -1"),
        ({"dense": Dense((), 2)}, "no hidden layers, so no width"),
        ({"dense": None}, "the network is of type NoneType, but only dense ones are padded"),
        ({"widths": 8}, "widths is 8; give a list"),
        ({"gradients": math.nan}, "gradients is nan; choose a finite number > 0"),
        ({"gradients": "2"}, "gradients is '2'"),
        ({"gradients": -1}, "gradients is -1"),
        ({"costs": 3}, "costs is of type int; give training.table.Costs"),
    ],
)
def test_bad_numbers_are_refused(changes: dict[str, Any], told: str) -> None:
    # Broken if a wrong number gives a plan.
    options: dict[str, Any] = {
        "dense": Dense((1,), 2), "widths": (4, 8), "inputs": 3, "lanes": 1, "updates": 1,
        "batch_size": 1, **changes,
    }  # fmt: skip
    with pytest.raises(UserError, match=told):
        bucketed(options.pop("dense"), options.pop("widths"), **options)


def test_a_width_above_the_bucket_is_refused() -> None:
    # Broken if a lane wider than its arrays is trained.
    recipe = make_recipe(model=Padded(Dense((8,), 3)))
    with pytest.raises(UserError, match="width is 9; choose a whole number from 1 to 8"):
        Lane(recipe, 0, {"step_size": 0.1, "width": 9}, Budget(1))
