"""What a plan says of itself: the work, the time, a faithful description."""

from __future__ import annotations

import json

import numpy as np
import pytest

from implicit_bias import losses, models
from implicit_bias.data import Dataset
from implicit_bias.training import Budget, Lane, make_plan, table
from tests.training.conftest import make_lane, make_recipe

PARAMETERS = 6 * 8 + 8 + 8 * 3 + 3
"""Of a 6-8-3 network with biases, by hand."""

LANES = [make_lane(seed, 10, recipe=make_recipe(batch_size=size))
         for seed in range(5) for size in (8, 16)]  # fmt: skip


def test_the_work_and_the_time_are_those_of_the_lanes(dataset: Dataset):
    # Breaks if the time shown beforehand counts other work than what runs.
    lanes = [make_lane(0, updates, recipe=make_recipe(batch_size=size))
             for updates, size in ((100, 8), (300, 8), (50, 16))]  # fmt: skip
    plan = make_plan(lanes, dataset)
    work = [6 * PARAMETERS * 8 * 400 / 1e9, 6 * PARAMETERS * 16 * 50 / 1e9]
    np.testing.assert_allclose([program.gflop for program in plan.programs], work)
    speed = table.choose("cpu").gflops
    np.testing.assert_allclose(plan.seconds, sum(work) / speed)


def test_describe_tells_what_would_run(dataset: Dataset):
    # Breaks if programs, lanes, chunks, devices, memory, time or reasons are missing or wrong.
    wide = make_recipe(model=models.Dense((20_000,), 3), batch_size=40)
    parameters = 6 * 20_000 + 20_000 + 20_000 * 3 + 3
    lanes = LANES + [make_lane(seed, 1_000_000, recipe=wide) for seed in range(90)]
    last = make_plan(lanes, dataset, strategy="vmap", tile=5, devices=2).programs[-1]
    memory = 21 * last.lane_bytes + 2 * last.working_bytes  # two tiles on each device
    plan = make_plan(lanes, dataset, memory=memory, strategy="vmap", tile=5, devices=2)
    text = plan.describe()
    lines = text.splitlines()
    assert lines[0].startswith(
        "100 lanes in 3 compiled program(s) on toy; training alone takes about "
    )
    assert lines[0].endswith("; compiling and measuring, not counted here, come on top")
    for word in ("lanes", "chunks", "layout", "params", "MB/chunk", "training"):
        assert word in lines[1]
    cells = [line.split() for line in lines[2:5]]
    assert [row[:4] for row in cells] == [
        ["8", "sgd", "5", "1"],
        ["16", "sgd", "5", "1"],
        ["40", "sgd", "90", "5"],
    ]
    assert "vmap of 5 × 1 device " in lines[2]  # five lanes fill one tile
    assert "vmap of 5 × 2 devices" in lines[4]
    assert str(parameters) in cells[2]
    assert f"{(memory - last.lane_bytes) / 1e6:.1f}" in cells[2]
    assert plan.programs[2].peak_bytes == memory - last.lane_bytes
    hours = 6e-9 * parameters * 40 * 1_000_000 * 90 / plan.programs[2].gflops / 3600
    assert f"about {hours:.0f} h" in lines[4]
    assert f"about {hours:.0f} h" in lines[0]
    assert lines[2].endswith(" under 1 s")  # never 0.0 s
    assert lines[5] == "- asked for"
    data = 2 * (70 * 6 * 4 + 70 * 4)  # as loaded, and once more for all devices
    assert plan.data_bytes == data
    assert lines[6].startswith(
        f"- memory at its peak: about {(plan.programs[2].peak_bytes + data) / 1e6:.3g} MB"
    )
    assert len(lines) == 7


def test_to_json_is_json_and_repeats_what_was_chosen(dataset: Dataset):
    # Breaks if plan.json cannot be written, or a resumed run could not be compared with it.
    recipe = make_recipe(gradient_noise=True)  # whose default small batch is NaN: no JSON
    lanes = [*LANES, Lane(recipe, np.int64(0), {"noise_batch_size": 4}, Budget(np.int64(3)))]
    plan = make_plan(lanes, dataset, memory=10**7, devices=1)
    content = plan.to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["dataset"] == {"name": "toy", "checksum": dataset.checksum}
    assert content["memory"] == 10**7
    assert content["peak_bytes"] == plan.peak_bytes
    assert [p["peak_bytes"] for p in content["programs"]] == [p.peak_bytes for p in plan.programs]
    assert {p["evaluator_chunk"] for p in content["programs"]} == {1000}
    assert [p["lanes"] for p in content["programs"]] == [5, 5, 1]
    assert [sum(p["chunks"]) for p in content["programs"]] == [5, 5, 1]
    assert {(p["strategy"], p["tile"], p["devices"]) for p in content["programs"]} == {
        ("map", 1, 1)
    }
    assert [p["recipe"]["batch_size"] for p in content["programs"]] == [8, 16, 16]
    assert content["programs"][1]["recipe"] != content["programs"][2]["recipe"]
    assert content["reasons"] == list(plan.reasons) != []
    assert make_plan(lanes, dataset, memory=10**7, devices=1).to_json() == content


def test_the_work_counts_each_use_of_a_weight(dataset: Dataset):
    # A convolution uses its weights at every position. Breaks if only parameters count, by which a
    # segment of a second would last minutes.
    images = dataset.replace(
        x_train=dataset.x_train.reshape(-1, 3, 2, 1), x_test=dataset.x_test.reshape(-1, 3, 2, 1)
    )
    model = models.conv_net((4,), 3, "mean", bias=False)
    (program,) = make_plan([make_lane(0, 10, recipe=make_recipe(model=model))], images).programs
    uses = 6 * 9 * 4 + 4 * 3
    assert program.multiply_adds == uses
    np.testing.assert_allclose(program.gflop, 6e-9 * uses * 16 * 10)
    lines = make_plan([make_lane(0, 10, recipe=make_recipe(model=model))], images).describe()
    header, row = (line.split() for line in lines.splitlines()[1:3])
    assert header[-4:] == ["params", "MFLOP", "MB/chunk", "training"]
    assert "48" in row  # parameters
    assert f"{2e-6 * uses:.4g}" in row


def test_time_is_a_bound_where_lanes_may_end_early(dataset: Dataset):
    # Breaks if a run that stops at a target is said to take as long as one that does not.
    fixed = make_plan([make_lane(0, 50)], dataset)
    early = make_lane(0, budget=Budget(50, target_loss=0.1, evaluate_every=10))
    assert "at most" not in fixed.describe()
    assert "training alone takes at most " in make_plan([early], dataset).describe()


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (
            [0.0, 1.0, 1.0, 2.0],
            "on mine, a regression (its targets are whole numbers; saved as an ",
        ),
        ([0.0, 1.0, 1.0, 2.5], "on mine, a regression; training alone"),
    ],
)
def test_labels_of_a_floating_point_type_are_told_to_be_a_regression(
    targets: list[float], said: str
) -> None:
    # Breaks if labels that a user saved as floats are trained on as numbers without a word.
    x, y = np.eye(4, dtype=np.float32), np.array(targets, np.float32)[:, None]
    data = Dataset("mine", "regression", 1, x, y, x, y)
    recipe = make_recipe(
        model=models.Dense((3,), 1), loss=losses.get("squared"), n_train=4, batch_size=2
    )
    assert said in make_plan([make_lane(0, 10, recipe=recipe)], data).describe()
