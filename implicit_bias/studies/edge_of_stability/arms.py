"""What the edge-of-stability study trains: full-batch arms over step sizes, and one of small batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.studies.edge_of_stability.probe import Sharpness
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    ModelSettings,
    Positive,
    Section,
    StudySettings,
)
from implicit_bias.training import Budget, Lane, Recipe

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Arm:
    """An optimiser, and the sharpness that it is stable at on a quadratic.

    Attributes:
        optimizer: Its name.
        what: One line, for the report.
        formula: The threshold as people write it.
    """

    optimizer: str
    what: str
    formula: str


ARMS: dict[str, Arm] = {
    "gd": Arm("sgd", "gradient descent, whole training set", "2/η"),
    "heavy-ball": Arm("heavy_ball", "heavy ball, whole training set", "2(1 + β)/η"),
    "adam": Arm("adam", "Adam, whole training set; preconditioned sharpness",
                "(2 + 2β₁)/((1 − β₁)η)"),
    "sgd": Arm("sgd", "stochastic gradient descent, small batches", "2/η"),
}  # fmt: skip


class GradientDescent(Section):
    """The arm of gradient descent."""

    step_sizes: tuple[Positive, ...] = Field((0.4, 0.5, 0.6), min_length=1)


class HeavyBall(Section):
    """The arm with momentum."""

    step_sizes: tuple[Positive, ...] = Field((0.2, 0.3), min_length=1)
    momentum: float = Field(0.9, ge=0, lt=1)


class AdamArm(Section):
    """The arm of Adam."""

    step_sizes: tuple[Positive, ...] = Field((0.006, 0.012), min_length=1)
    b1: float = Field(0.9, ge=0, lt=1)
    b2: float = Field(0.999, ge=0, lt=1)
    eps: Positive = 1e-7


class SmallBatches(Section):
    """The arm of stochastic gradients."""

    step_sizes: tuple[Positive, ...] = Field((0.4,), min_length=1)
    batch_size: Count = 16


class EdgeOfStabilitySettings(StudySettings):
    """Settings of the edge-of-stability study."""

    arms: tuple[str, ...] = Field(tuple(ARMS), min_length=1)
    data: DataSettings = DataSettings(n_train=300)
    model: ModelSettings = ModelSettings(widths=(32, 32), activation="tanh", init="lecun")
    loss: Literal["squared", "cross_entropy"] = "squared"
    gd: GradientDescent = GradientDescent()
    heavy_ball: HeavyBall = HeavyBall()
    adam: AdamArm = AdamArm()
    sgd: SmallBatches = SmallBatches()
    updates: Count = Field(1000, description="updates of every arm")
    probes: int = Field(50, ge=10, description="measurements of the sharpness, evenly spaced")
    tol: Positive = Field(1e-3, description="residual of the sharpness, relative to it, at most")
    max_products: Count = Field(60, description="Hessian-vector products at a probe, at most")

    @model_validator(mode="after")
    def _known_arms(self) -> EdgeOfStabilitySettings:
        for arm in self.arms:
            if arm not in ARMS:
                raise ValueError(f"arms names {arm!r}; choose among {', '.join(ARMS)}")
        if len(set(self.arms)) < len(self.arms):
            raise ValueError("arms names one twice; name each once")
        return self


def probe(settings: EdgeOfStabilitySettings, dataset: Dataset) -> Sharpness:
    """Return what is measured while lanes train."""
    loss = losses.get(settings.loss)
    return Sharpness(settings.tol, settings.max_products, loss_unit=loss.unit)


def lanes(
    settings: EdgeOfStabilitySettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return all lanes: arms × step sizes × seeds."""
    n_train, n_valid = settings.data.sizes(dataset)
    steps = np.linspace(0, settings.updates, settings.probes + 1).round().astype(int)
    probes = tuple(sorted({int(step) for step in steps}))
    model, loss = settings.model.build(dataset.n_outputs), losses.get(settings.loss)
    made: list[Lane] = []
    for name in settings.arms:
        own = {"gd": settings.gd, "heavy-ball": settings.heavy_ball, "adam": settings.adam,
               "sgd": settings.sgd}[name]  # fmt: skip
        numbers = own.model_dump()
        step_sizes = numbers.pop("step_sizes")
        recipe = Recipe(
            model=model,
            loss=loss,
            optimizer=optimizers.get(ARMS[name].optimizer),
            schedule=optimizers.Schedule(),
            batch_size=numbers.pop("batch_size", n_train),
            n_train=n_train,
            n_valid=n_valid,
            dtype=settings.dtype,
        )
        budget = Budget(settings.updates)
        made += [
            Lane(recipe, seed, {"step_size": step, **numbers}, budget, probes, {"arm": name})
            for step in step_sizes
            for seed in range(settings.seeds)
        ]
    return made


def derive(result: xr.Dataset) -> xr.Dataset:
    """Add each lane's threshold, its sharpness relative to it, and whether it came there.

    ``threshold`` is the sharpness above which the lane's optimiser is unstable on a quadratic (Cohen et al.
    2021, section 2; 2022, eq. 2). ``log_relative_sharpness`` is the sharpness, for Adam the preconditioned
    one, divided by it. ``reached`` says whether that was at least 1 at some probe after the first, in the
    first four fifths of the run; ``late_relative_sharpness`` is its median over the last fifth.
    """
    arm, step = result["arm"], result["step_size"]
    absent: Any = 0.0
    momentum = result["momentum"].fillna(0.0) if "momentum" in result.coords else absent
    b1 = result["b1"].fillna(0.0) if "b1" in result.coords else absent
    threshold = 2 * (1 + momentum) / step
    threshold = threshold.where(arm != "adam", (2 + 2 * b1) / ((1 - b1) * step))
    sharpness = result["log_sharpness"].where(arm != "adam", result["log_preconditioned_sharpness"])
    relative = sharpness / threshold
    after = result["log_step"] / result["updates_budget"]
    late = relative.where(after > 0.8)
    early = relative.where((after > 0) & (after <= 0.8))
    added = {
        "threshold": threshold,
        "log_relative_sharpness": relative,
        "reached": (early >= 1).any("probe"),
        "late_relative_sharpness": late.median("probe", skipna=True).where(~result["diverged"]),
    }
    for name, values in added.items():
        values.attrs = {"units": "1"}
        values.name = name
    threshold.attrs = {"units": result["log_sharpness"].attrs["units"]}
    return result.assign(added)
