"""What a lane is: bad values are refused at once, and its identity is all that decides its numbers."""

from __future__ import annotations

import dataclasses
import functools
import math
import types

import numpy as np
import pytest

from implicit_bias import losses, models, optimizers
from implicit_bias.data.augmentation import Augmentation
from implicit_bias.errors import UserError
from implicit_bias.ranges import Setting
from implicit_bias.training import Budget, Lane, Recipe, epochs
from tests.training.conftest import make_recipe

MASK = {"layer_0": {"bias": np.array([0, 1, 1]), "weight": np.array([[1, 0], [1, 1]])}}
NOISY = make_recipe(gradient_noise=True)
MASKED = make_recipe(masked=True)
SCALED = make_recipe(model=models.Scaled(models.Dense((2,), 2)))


class SameName(models.Linearised):
    """A model with a traced setting that is called like one of the engine's."""

    traced = (Setting("init_scale", 1.0),)


def lane(recipe: Recipe | None = None, seed: int = 0, budget: Budget | None = None, **fields):
    """A lane of 20 updates, its settings and other fields given."""
    settings = fields.pop("settings", {})
    return Lane(recipe or make_recipe(), seed, settings, budget or Budget(20), **fields)


# Refusals


def _text(value):
    return value if isinstance(value, str) else None


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n_train": 0}, "n_train is 0 and n_valid is 0; choose n_train of at least 1"),
        ({"n_train": -3}, "n_train is -3"),
        ({"n_train": 40.0}, "n_train is 40.0; give a whole number"),
        ({"n_train": "40"}, "n_train is '40'; give a whole number"),
        ({"n_valid": -1}, "n_valid is -1; choose n_train of at least 1 and n_valid of at least 0"),
        ({"n_valid": 0.5}, "n_valid is 0.5; give a whole number"),
        ({"batch_size": 0}, "batch_size is 0, but a lane trains on 40 examples; choose 1 to 40"),
        ({"batch_size": 41}, "batch_size is 41, but a lane trains on 40 examples; choose 1 to 40"),
        ({"batch_size": 16.0}, "batch_size is 16.0; give a whole number"),
        ({"batch_size": True}, "batch_size is True; give a whole number"),
        ({"batch_size": None}, "batch_size is None; give a whole number"),
        ({"micro_batch": 0}, "micro_batch is 0; choose 1 to the batch size 16"),
        ({"micro_batch": 17}, "micro_batch is 17; choose 1 to the batch size 16"),
        ({"micro_batch": 2.5}, "micro_batch is 2.5; give a whole number"),
        ({"sampling": "random"}, "sampling is 'random'; choose 'epoch' or 'replacement'"),
        ({"dtype": "float16"}, "dtype is 'float16'; choose 'float32' or 'float64'"),
        ({"gradient_noise": True, "batch_size": 1}, "gradient noise needs a batch_size of at least"),
        ({"masked": True, "model": models.Linearised(models.Dense((2,), 2))}, "has the model Linearised"),
        ({"model": SameName(models.Dense((2,), 2))}, "traced settings are init_scale, some of them"),
    ],
    ids=_text,
)  # fmt: skip
def test_a_recipe_refuses_bad_values(fields, told):
    # Breaks if a mistake reaches the compiler, or a float passes for a count.
    with pytest.raises(UserError, match=told):
        make_recipe(**fields)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"seed": -1}, "seed is -1; choose 0 to 4294967295"),
        ({"seed": 2**32}, "seed is 4294967296; choose 0 to 4294967295"),
        ({"seed": 1.5}, "seed is 1.5; give a whole number"),
        ({"seed": "0"}, "seed is '0'; give a whole number"),
        ({"settings": {"step_sise": 0.1}}, "setting 'step_sise' is unknown to optimiser 'sgd' and "),
        ({"recipe": SCALED, "settings": {"alpha": 0.0}}, "alpha is 0.0; choose a finite number > 0"),
        ({"settings": {"momentum": 0.9}}, "setting 'momentum' is unknown to optimiser 'sgd'"),
        ({"settings": {"noise_batch_size": 4}}, "setting 'noise_batch_size' is unknown"),
        ({"settings": {"warmup_steps": 4}}, "setting 'warmup_steps' is unknown"),
        ({"settings": {"step_size": -0.1}}, "step_size is -0.1; choose a finite number > 0"),
        ({"settings": {"step_size": 0}}, "step_size is 0; choose a finite number > 0"),
        ({"settings": {"step_size": math.nan}}, "step_size is nan; choose a finite number > 0"),
        ({"settings": {"step_size": None}}, "step_size is None; choose a finite number > 0"),
        ({"settings": {"weight_decay": -1}}, "weight_decay is -1; choose a finite number >= 0"),
        ({"settings": {"label_noise": 1.0}}, "label_noise is 1.0; choose a finite number >= 0 and < 1"),
        ({"settings": {"label_noise": -0.1}}, "label_noise is -0.1"),
        ({"settings": {"label_noise": math.nan}}, "label_noise is nan"),
        ({"settings": {"label_noise": "much"}}, "label_noise is 'much'"),
        ({"settings": {"init_scale": 0.0}}, "init_scale is 0.0; choose a finite number > 0"),
        ({"settings": {"init_scale": -1}}, "init_scale is -1"),
        ({"settings": {"init_scale": math.inf}}, "init_scale is inf"),
        ({"recipe": NOISY}, "noise_batch_size is nan; choose a finite number >= 1 and <= 16"),
        ({"recipe": NOISY, "settings": {"noise_batch_size": 0}}, "noise_batch_size is 0"),
        ({"recipe": NOISY, "settings": {"noise_batch_size": 17}}, "noise_batch_size is 17"),
        ({"recipe": MASKED}, "a masked recipe needs a mask on every lane, and only a masked recipe"),
        ({"mask": MASK}, "a masked recipe needs a mask on every lane, and only a masked recipe"),
        ({"recipe": MASKED, "mask": {"w": np.array([0.5])}}, "other numbers than 0 and 1"),
        ({"recipe": MASKED, "mask": {"w": np.array([np.nan])}}, "other numbers than 0 and 1"),
        ({"probes": (3, 3)}, r"probes are \(3, 3\); give increasing updates from 0"),
        ({"probes": (5, 3)}, r"probes are \(5, 3\); give increasing updates from 0"),
        ({"probes": (-1, 3)}, r"probes are \(-1, 3\); give increasing updates from 0"),
        ({"probes": (0.5,)}, "a probe is 0.5; give a whole number"),
    ],
    ids=_text,
)  # fmt: skip
def test_a_lane_refuses_bad_values(fields, told):
    # Breaks if a run starts with a number that means nothing, or a setting nobody reads.
    with pytest.raises(UserError, match=told):
        lane(**fields)


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_edges_of_what_is_allowed_are_allowed(seed):
    # Breaks if a range leaves out its own end.
    make_recipe(batch_size=40, micro_batch=40, n_valid=0)
    make_recipe(batch_size=1, micro_batch=1, n_train=1)
    lane(NOISY, seed, Budget(1), settings={"noise_batch_size": 16, "label_noise": 0}, probes=(0,))
    lane(NOISY, seed, settings={"noise_batch_size": 1, "weight_decay": 0})
    lane(MASKED, seed, mask=MASK)


# Counts


@pytest.mark.parametrize(
    ("n_train", "batch_size", "expected"), [(40, 16, 3), (48, 16, 3), (7, 7, 1)]
)
def test_an_epoch_has_a_last_smaller_batch(n_train, batch_size, expected):
    # Breaks if the last batch is dropped.
    assert make_recipe(n_train=n_train, batch_size=batch_size).updates_per_epoch == expected


@pytest.mark.parametrize(("count", "expected"), [(1, 3), (10, 30), (1 / 3, 1), (0.01, 1), (2.4, 7)])
def test_epochs_count_updates(count, expected):
    # Breaks if fractions of an epoch are lost, or a short budget becomes no budget.
    assert epochs(count, make_recipe()) == expected


def test_numpy_numbers_become_plain_ones():
    # Breaks if a sweep written with np.arange makes lanes that cannot be stored as JSON.
    recipe = make_recipe(batch_size=np.int64(16), n_train=np.int32(40))
    numpy = lane(recipe, np.uint32(3), Budget(np.int64(20), np.float32(0.5), np.int8(5)),
                 settings={"step_size": np.float64(0.25)}, probes=np.arange(3))  # fmt: skip
    plain = lane(seed=3, budget=Budget(20, 0.5, 5), settings={"step_size": 0.25}, probes=(0, 1, 2))
    assert numpy == plain
    assert recipe == make_recipe()
    assert hash(recipe) == hash(make_recipe())
    assert numpy.identity("d") == plain.identity("d")


def test_values_fill_in_the_defaults():
    # Breaks if a lane trains with another number than it says.
    recipe = make_recipe(
        optimizer=optimizers.get("heavy_ball"), schedule=optimizers.Schedule("cosine", warmup=True)
    )
    assert lane(recipe, settings={"momentum": 0.5, "decay_steps": 90}).values == {
        "init_scale": 1.0,
        "label_noise": 0.0,
        "step_size": 0.1,
        "momentum": 0.5,
        "weight_decay": 0.0,
        "decoupled_weight_decay": 0.0,
        "decay_steps": 90.0,
        "final_fraction": 0.0,
        "warmup_steps": 0.0,
    }


# Identity

RECIPE_CHANGES = {
    "model": models.Dense((8,), 3, "relu"),
    "loss": losses.get("squared"),
    "optimizer": optimizers.get("rmsprop"),
    "schedule": optimizers.Schedule("inverse_sqrt"),
    "batch_size": 8,
    "n_train": 39,
    "n_valid": 5,
    "sampling": "replacement",
    "micro_batch": 4,
    "gradient_noise": True,
    "masked": True,
    "started": True,
    "first_update": 3,
    "dtype": "float64",
    "augmentation": Augmentation(),
    "precision": "bf16",
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Recipe)])
def test_every_field_of_the_recipe_changes_the_identity(field):
    # Breaks if a finished lane of another recipe would be taken for this one; a new field of Recipe
    # has to be added above.
    recipe = make_recipe(**{field: RECIPE_CHANGES[field]})
    changed = lane(
        recipe,
        settings={"noise_batch_size": 4} if recipe.gradient_noise else {},
        mask=MASK if recipe.masked else None,
        start=MASK if recipe.started else None,
    )
    assert changed.identity("d") != lane().identity("d")
    assert recipe.describe() != make_recipe().describe()


def test_a_schedule_with_warmup_is_another():
    # Breaks if the warm-up is forgotten because the schedule's kind is the same.
    warm = make_recipe(schedule=optimizers.Schedule(warmup=True))
    short, long = (lane(warm, settings={"warmup_steps": n}) for n in (2, 5))
    assert len({one.identity("d") for one in (short, long, lane())}) == 3


BASE = {
    "seed": 1,
    "budget": Budget(20, 0.5, 5),
    "settings": {"step_size": 0.2, "noise_batch_size": 4},
    "probes": (0, 5),
}
LANE_CHANGES = [
    {"seed": 2},
    {"budget": Budget(21, 0.5, 5)},
    {"budget": Budget(20, 0.25, 5)},
    {"budget": Budget(20, 0.5, 4)},
    {"budget": Budget(20)},
    {"probes": ()},
    {"probes": (0, 6)},
    {"probes": (0, 5, 6)},
    {"replicates": {"data_order": 1}},
    *({"settings": BASE["settings"] | {name: value}}
      for name, value in {"step_size": 0.21, "weight_decay": 1e-4, "decoupled_weight_decay": 1e-4,
                          "label_noise": 0.1, "init_scale": 1.5, "noise_batch_size": 5}.items()),
]  # fmt: skip


@pytest.mark.parametrize("change", LANE_CHANGES, ids=str)
def test_every_field_of_the_lane_changes_the_identity(change):
    # Breaks if changing a setting finds the old setting's numbers on the disk.
    assert lane(NOISY, **{**BASE, **change}).identity("d") != lane(NOISY, **BASE).identity("d")


def test_every_setting_and_field_is_among_the_changes():
    # Breaks if a setting or a field is added without asking whether it changes the identity.
    changed = {name for change in LANE_CHANGES for name in change.get("settings", {})}
    assert changed == set(NOISY.setting_defaults())
    fields = {field.name for field in dataclasses.fields(Lane)} - {
        "recipe",
        "mask",
        "start",
        "tags",
    }
    assert fields == {name for change in LANE_CHANGES for name in change}


def test_other_data_makes_another_lane():
    # Breaks if results of one dataset are taken for those of another.
    assert lane().identity("a") != lane().identity("b")


def test_names_and_ways_of_writing_change_nothing():
    # Breaks if two arms that ask for the same run do not share it.
    same = lane(settings={"step_size": 0.1, "label_noise": 0})
    assert same.identity("d") == lane(settings={"label_noise": 0.0}).identity("d")
    assert same.identity("d") == dataclasses.replace(same, tags={"arm": "b"}).identity("d")
    turned = {"label_noise": 0, "step_size": 0.1}
    assert dataclasses.replace(same, settings=turned).identity("d") == same.identity("d")
    assert len(same.identity("d")) == 16


def test_each_entry_of_the_mask_enters():
    # Breaks if two pruned networks share a result, or the mask's dtype matters.
    identities = {lane(MASKED, mask=MASK).identity("d")}
    for name in ("bias", "weight"):
        for index in np.ndindex(MASK["layer_0"][name].shape):
            layer = {key: value.copy() for key, value in MASK["layer_0"].items()}
            layer[name][index] = 1 - layer[name][index]
            identities.add(lane(MASKED, mask={"layer_0": layer}).identity("d"))
    assert len(identities) == 1 + 3 + 4
    floats = {"layer_0": {name: leaf.astype(float) for name, leaf in MASK["layer_0"].items()}}
    assert lane(MASKED, mask=floats).identity("d") in identities


def function_of(module: str, name: str = "mine"):
    """A loss as it comes from a user's file, loaded under a module name that tells files apart."""
    made = types.FunctionType(losses.squared.__code__, losses.squared.__globals__, name)
    made.__module__, made.__qualname__ = module, name
    return made


def test_users_parts_of_the_same_name_are_told_apart():
    # Breaks if two losses called alike, from two files or two versions of one, share results.
    builtin = lane().identity("d")
    first, second, again = (
        lane(make_recipe(loss=losses.get(function_of(module)))).identity("d")
        for module in ("user_file_1", "user_file_2", "user_file_1")
    )
    assert first == again
    assert len({builtin, first, second}) == 3
    sgd = optimizers.get("sgd")
    other = dataclasses.replace(sgd, direction=function_of("user_file_1"))
    assert lane(make_recipe(optimizer=other)).identity("d") != builtin
    partial = dataclasses.replace(sgd, direction=functools.partial(sgd.direction))
    assert lane(make_recipe(optimizer=partial)).identity("d") != builtin
    own = type("Dense", (models.Dense,), {"__module__": "user_file_1"})((8,), 3, "tanh")
    assert own.describe() == make_recipe().model.describe()
    assert lane(make_recipe(model=own)).identity("d") != builtin
