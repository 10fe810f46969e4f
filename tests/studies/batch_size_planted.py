"""Planted results of the batch-size study.

Made from the study's own lanes, put together as the runner does, with numbers that nobody trained.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from implicit_bias.data import Dataset
from implicit_bias.results.assemble import Row, assemble
from implicit_bias.results.claims import Finding, evaluate
from implicit_bias.studies.batch_size import STUDY, arms
from implicit_bias.studies.batch_size.settings import TUNING, BatchSizeSettings
from implicit_bias.studies.images import ImageSettings
from implicit_bias.studies.settings import ModelSettings
from implicit_bias.training import Lane
from implicit_bias.training.loop import LOGGED

N_TEST, SEEDS = 1000, 5
SIZES = (16, 64, 256)
CLAIMS = {claim.id: claim for claim in STUDY.claims}


def _dataset() -> Dataset:
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(size=(n, 6)).astype(np.float32), rng.integers(0, 3, n).astype(np.int32)

    return Dataset("planted", "classification", 3, *draw(400), *draw(N_TEST))


DATASET = _dataset()


def make_settings(**changes: Any) -> BatchSizeSettings:
    values = {
        "seeds": SEEDS,
        "data": ImageSettings(n_train=300, n_valid=50),
        "model": ModelSettings(widths=(7, 5)),
        "batch_sizes": SIZES,
        "anchor_batch_size": 64,
        "anchor_step_size": 0.2,
        "epochs": 4,
        "updates": {"batch_sizes": SIZES, "epochs": 3},
        "momentum": {"batch_sizes": SIZES, "step_size": 0.05, "momentum": 0.8, "epochs": 2},
        "matched": {"target_loss": 0.5, "max_epochs": 10, "evaluations_per_epoch": 2},
        "tuning_step_sizes": (0.1, 0.5, 2.0),
        "label_noise": 0.3,
        "probes": 4,
        "curvature": {"directions": 2, "noise_batches": (16, 256)},
    }
    return BatchSizeSettings.model_validate({**values, **changes})


SETTINGS = make_settings()


def lanes_by_arm(settings: BatchSizeSettings, tuned: float = 0.5) -> dict[str, list[Lane]]:
    """Return every arm's lanes, with one tuned step size throughout."""
    grid = arms.tuning_lanes(settings, DATASET, None)
    earlier = put_together(settings, [tuning_row(lane, tuned) for lane in grid]) if grid else None
    found: dict[str, list[Lane]] = {TUNING: grid} if grid else {}
    for lane in arms.arm_lanes(settings, DATASET, earlier):
        found.setdefault(str(lane.tags["arm"]), []).append(lane)
    return found


def tuning_row(lane: Lane, best: float) -> Row:
    error = abs(math.log(lane.values["step_size"] / best)) / 10
    return make_row(lane, TUNING, valid_error=error, valid_loss=error)


def make_row(
    lane: Lane, stage: str, measured: Mapping[str, Any] | None = None, **logs: float
) -> Row:
    """Return a lane as the runner stores it, trained to the end of its budget."""
    stopped = lane.budget.target_loss is not None
    updates = lane.budget.evaluate_every if stopped else lane.budget.updates
    sizes = [6, *lane.recipe.model.widths, 3]
    trained = {
        "updates": updates,
        "diverged": False,
        "reached": stopped,
        "stop_loss": 0.4 if stopped else math.nan,
        "parameters": sum((a + 1) * b for a, b in itertools.pairwise(sizes)),
        "log_steps": np.array(lane.probes),
        **{f"log_{name}": np.full(len(lane.probes), logs.get(name, 0.5)) for name in LOGGED},
    }
    trained = {name: np.asarray(value) for name, value in trained.items()}
    return Row(lane, stage, lane.identity(DATASET.checksum), trained, measured)


def put_together(settings: BatchSizeSettings, rows: Sequence[Row]) -> xr.Dataset:
    described = {json.dumps(row.lane.recipe.model.describe(), sort_keys=True) for row in rows}
    result = assemble(
        rows,
        arms.endpoint(settings, DATASET),
        logged=LOGGED,
        study=STUDY.name,
        settings={
            **settings.to_json(), "dataset": DATASET.describe(), "models": sorted(described),
        },
        provenance={},
    )  # fmt: skip
    return STUDY.derive(result)


World = Callable[[Lane, np.random.Generator], dict[str, float]]


def _slope(lane: Lane) -> float:
    """0 for the smallest batch, 1 for sixteen times as much; as if noise were its batch size."""
    batch = lane.values.get("noise_batch_size", lane.recipe.batch_size)
    return math.log(batch / 16) / math.log(16)


def better(lane: Lane, rng: np.random.Generator) -> dict[str, float]:
    """Small batches are clearly flatter and better, in the rich regime."""
    slope = _slope(lane)
    return {"sharpness": math.exp(2 * slope + 0.05 * rng.normal()), "error": 0.05 + 0.1 * slope,
            "norm": 1 + slope, "kernel": 0.6 + 0.02 * rng.normal()}  # fmt: skip


def worse(lane: Lane, rng: np.random.Generator) -> dict[str, float]:
    """Small batches are clearly sharper and worse, in the lazy regime."""
    slope = _slope(lane)
    return {"sharpness": math.exp(-2 * slope + 0.05 * rng.normal()), "error": 0.15 - 0.1 * slope,
            "norm": 3 - slope, "kernel": 0.1 + 0.02 * rng.normal()}  # fmt: skip


def equal(lane: Lane, rng: np.random.Generator) -> dict[str, float]:
    """It makes no difference."""
    return {"sharpness": math.exp(0.01 * rng.normal()), "error": 0.1, "norm": 1.0, "kernel": 0.29}


def noisy(lane: Lane, rng: np.random.Generator) -> dict[str, float]:
    """Seeds differ more than batch sizes may."""
    return {"sharpness": math.exp(2 * rng.normal()), "error": 0.2 * rng.random(),
            "norm": math.exp(rng.normal()), "kernel": 0.3 + 0.2 * rng.normal()}  # fmt: skip


def opposite(lane: Lane, rng: np.random.Generator) -> dict[str, float]:
    """Sharper minima err less."""
    return {**better(lane, rng), "error": 0.15 - 0.1 * _slope(lane)}


def tuning_undoes_it(lane: Lane, rng: np.random.Generator) -> dict[str, float]:
    """Small batches are better until the step size is tuned or the training loss equal."""
    undone = "tuned" in str(lane.tags["arm"]) or "matched" in str(lane.tags["arm"])
    return worse(lane, rng) if undone else better(lane, rng)


def _measured(lane: Lane, world: World, settings: BatchSizeSettings) -> dict[str, np.ndarray]:
    """Return what the measurement of a lane would be in a world."""
    rng = np.random.default_rng(
        [lane.seed, lane.recipe.batch_size, *str(lane.tags["arm"]).encode()]
    )
    said = world(lane, rng)
    sharpness, radii = said["sharpness"], np.array(settings.curvature.filter_radii)
    # Nested sets of examples, so that equal error rates mean equal examples.
    wrong = np.arange(N_TEST) < round(said["error"] * N_TEST)
    count = int(make_row(lane, "arms").trained["parameters"])
    trace = 3 * count * sharpness
    absolute = 0.5 * np.array(settings.curvature.radii) ** 2 * trace / count
    values: dict[str, Any] = {
        "train_loss": 0.4, "train_error": 0.05, "valid_loss": 0.5, "valid_error": 0.1,
        "test_loss": 0.5, "test_error": wrong.mean(), "loss_gap": 0.0, "error_gap": 0.0,
        "lambda_max": sharpness, "lambda_max_residual": 1e-4, "lambda_max_products": 20,
        "lambda_max_converged": True, "lambda_max_power": 1.001 * sharpness,
        "lambda_max_power_converged": True, "trace": trace, "trace_standard_error": 0.1,
        "gradient_norm": 0.1, "parameter_norm": said["norm"], "relative_movement": 0.5,
        "kernel_change": said["kernel"],
        "loss_change": np.stack([absolute, absolute]),
        "loss_change_filter": np.stack([radii**2 * sharpness] * 2),
        "batch_covariance_trace": sharpness / np.array(settings.curvature.noise_batches),
        "test_wrong": wrong,
    }  # fmt: skip
    floats = {n: np.asarray(v) for n, v in values.items()}
    return {n: v.astype(np.float32) if v.dtype.kind == "f" else v for n, v in floats.items()}


def planted(world: World = better, settings: BatchSizeSettings = SETTINGS) -> xr.Dataset:
    """Return a result of a world; every tuned step size is 0.5."""
    rows = [
        tuning_row(lane, 0.5)
        if arm == TUNING
        else make_row(lane, "arms", _measured(lane, world, settings))
        for arm, lanes in lanes_by_arm(settings).items()
        for lane in lanes
    ]
    return put_together(settings, rows)


def leave_out(result: xr.Dataset, *names: str) -> xr.Dataset:
    return result.isel(lane=np.flatnonzero(~np.isin(result["arm"].values, names)))


def keep_only(result: xr.Dataset, *names: str) -> xr.Dataset:
    return result.isel(lane=np.flatnonzero(np.isin(result["arm"].values, names)))


def findings_of(result: xr.Dataset, *ids: str) -> dict[str, Finding]:
    """Judge some claims, or all."""
    chosen = [CLAIMS[name] for name in ids] if ids else STUDY.claims
    return {finding.id: finding for finding in evaluate(chosen, result)}
