from __future__ import annotations

import numpy as np
import pytest

from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.training import Budget, Lane, Recipe

MODEL = models.Dense((8,), 3, "tanh")


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """50 + 20 examples of 3 classes in 6 dimensions, made with NumPy alone."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 6))
    y = np.arange(70) % 3
    x = (centres[y] + 0.7 * rng.normal(size=(70, 6))).astype(np.float32)
    return Dataset("toy", "classification", 3, x[:50], y[:50], x[50:], y[50:])


def make_recipe(**changes) -> Recipe:
    fields = {
        "model": MODEL,
        "loss": losses.get("cross_entropy"),
        "optimizer": optimizers.get("sgd"),
        "schedule": optimizers.Schedule(),
        "batch_size": 16,
        "n_train": 40,
    }
    return Recipe(**{**fields, **changes})


def make_lane(
    seed: int = 0,
    updates: int = 12,
    probes=(),
    recipe=None,
    mask=None,
    start=None,
    replicates=None,
    **settings,
) -> Lane:
    budget = settings.pop("budget", Budget(updates))
    return Lane(
        recipe or make_recipe(),
        seed,
        {"step_size": 0.1, **settings},
        budget,
        probes,
        mask=mask,
        start=start,
        replicates=replicates or {},
    )
