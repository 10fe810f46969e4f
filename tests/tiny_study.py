"""The smallest whole study, as a user would write one in a file of their own; it takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.results.claims import Claim, Finding
from implicit_bias.results.table import Table, make_table
from implicit_bias.studies import Stage, Study, StudySettings
from implicit_bias.studies.settings import DataSettings, ModelSettings, Positive
from implicit_bias.training import Budget, Lane, Recipe

if TYPE_CHECKING:
    import xarray as xr

print("a user's file may print")


class TinySettings(StudySettings):
    """A step size and its double."""

    seeds: int = 3
    data: DataSettings = DataSettings(n_train=24, n_test=20)
    model: ModelSettings = ModelSettings(widths=(4,))
    step_size: Positive = 0.05


def lanes(settings: TinySettings, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return the lanes of two step sizes."""
    n_train, n_valid = settings.data.sizes(dataset)
    recipe = Recipe(
        model=settings.model.build(dataset.n_outputs),
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get("sgd"),
        schedule=optimizers.Schedule(),
        batch_size=8,
        n_train=n_train,
        n_valid=n_valid,
        dtype=settings.dtype,
    )
    return [
        Lane(
            recipe, seed, {"step_size": factor * settings.step_size}, Budget(6), (6,), {"arm": arm}
        )
        for seed in range(settings.seeds)
        for arm, factor in (("single", 1), ("double", 2))
    ]


def faster(result: xr.Dataset) -> Finding:
    """Say whether the double step size has the lower loss, without more ado."""
    loss = result["log_train_loss"].values[:, -1]
    arms = result["arm"].values
    gain = loss[arms == "single"] - loss[arms == "double"]
    low, high = float(gain.min()), float(gain.max())
    return Finding(
        "supported" if low > 0 else "inconclusive", float(gain.mean()), (low, high), gain.size
    )


def undecided(result: xr.Dataset) -> Finding:
    """Decide nothing."""
    return Finding("not-decided", reason="it has no\nmeasurement")


def tables(result: xr.Dataset) -> Sequence[Table]:
    """Return one table."""
    loss = float(np.mean(result["log_train_loss"].values[:, -1]))
    return [make_table(["lanes", "loss"], [[result.sizes["lane"], loss]], caption="Losses with λ")]


STUDY = Study(
    name="tiny-study",
    title="A step size and its double",
    settings=TinySettings,
    stages=(Stage("arms", lanes, measured=False),),
    claims=(
        Claim("tiny.faster", "statistical", "none", "Double is faster", None, "loss falls", faster),
        Claim("tiny.open", "ill-posed", "none", "Something else", None, "none", undecided),
    ),
    tables=tables,
)
