"""Planted results of the step-size study: lanes as the study makes them, with ends that a test names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from implicit_bias.data import load
from implicit_bias.results.claims import Finding, evaluate
from implicit_bias.studies.step_size.arms import measured_lanes, other_lanes
from implicit_bias.studies.step_size.claims import CLAIMS
from implicit_bias.studies.step_size.settings import ARMS, StepSizeSettings
from implicit_bias.training import Lane

SEEDS, TESTS = 6, 10_000

SMALL: dict[str, Any] = {
    "seeds": SEEDS, "arms": list(ARMS), "data": {"n_train": 600, "n_valid": 100}, "probes": 4,
    "model": {"widths": [3]}, "optimisers": {"widths": [3], "epochs": 40, "factors": [0.1, 1, 10]},
    "tuning": {"batch_sizes": [100, 500], "epochs": 4}, "variants": {"epochs": 4}, "decay": {"epochs": 4},
    "steps": {"epochs": 4}, "long": {"probes": 50},
}  # fmt: skip
"""All arms."""

End = Mapping[str, Any]
World = Callable[[Lane], End]
"""From a lane to what its end is like: accuracies in per cent, losses, norms; and curves, from epoch to a
number, where they matter."""

USUAL: dict[str, Any] = {
    "train": 100.0, "test": 95.0, "valid": 95.0, "train_loss": 0.01, "test_loss": 0.2, "valid_loss": 0.2,
    "weight_norm": 35.0, "parameter_norm": 40.0, "lambda_max": 5.0, "reached": True, "diverged": False,
}  # fmt: skip


def planted(
    world: World, data: str = "cifar10", settings: dict[str, Any] | None = None
) -> xr.Dataset:
    """Return a result whose lanes end as the world says, with a little noise over seeds."""
    made = StepSizeSettings.model_validate({**SMALL, **(settings or {})})
    digits = load("digits")
    lanes = [*measured_lanes(made, digits, None), *other_lanes(made, digits, None)]
    length = max(len(lane.probes) for lane in lanes)
    logs = {name: np.full((len(lanes), length), np.nan) for name in (
        "step", "train_loss", "test_loss", "valid_loss", "train_error", "test_error", "valid_error",
        "weight_norm", "parameter_norm",
    )}  # fmt: skip
    ends: dict[str, list[Any]] = {
        name: [] for name in ("lambda_max", "test_error", "train_error", "train_loss", "reached", "diverged")
    }  # fmt: skip
    wrong = np.zeros((len(lanes), TESTS))
    for row, lane in enumerate(lanes):
        end = {**USUAL, **world(lane)}
        noise = 1 + 1e-3 * np.random.default_rng(lane.seed).standard_normal()
        count = len(lane.probes)
        epochs = np.asarray(lane.probes) / float(lane.tags["epoch_updates"])
        logs["step"][row, :count] = lane.probes
        for name in logs:
            if name == "step":
                continue
            key = name.removesuffix("_error")
            value = end[key]
            curve = np.asarray([value(epoch) for epoch in epochs]) if callable(value) else None
            if curve is None:
                curve = np.full(count, float(value))
                curve[:1] = 10.0 if name.endswith("_error") else 2.3 if "loss" in name else value
            logs[name][row, :count] = 1 - curve / 100 if name.endswith("_error") else curve * noise
        mistakes = round(TESTS * logs["test_error"][row, count - 1])
        # Mistakes of all lanes are of the same examples, but for a few of each seed's own.
        wrong[row, lane.seed : lane.seed + mistakes] = 1
        ends["lambda_max"].append(end["lambda_max"] * noise)
        ends["reached"].append(end["reached"])
        ends["diverged"].append(end["diverged"])
        for name in ("test_error", "train_error", "train_loss"):
            ends[name].append(logs[name][row, count - 1])
    tags = {name: [lane.tags[name] for lane in lanes] for name in lanes[0].tags}
    tags["data_name"], tags["tests"] = [data] * len(lanes), [TESTS] * len(lanes)
    names = sorted({name for lane in lanes for name in lane.values})
    return xr.Dataset(
        {
            **{f"log_{name}": (("lane", "probe"), values) for name, values in logs.items()},
            **{name: ("lane", np.asarray(ends[name])) for name in ("lambda_max", "test_error",
                                                                  "train_error", "train_loss")},
            "reached_target": ("lane", np.asarray(ends["reached"], bool)),
            "diverged": ("lane", np.asarray(ends["diverged"], bool)),
            "test_wrong": (("lane", "test_example"), wrong),
            "parameters": ("lane", np.full(len(lanes), 1000)),
            "target_loss": ("lane", np.asarray([lane.budget.target_loss or np.nan for lane in lanes])),
        },
        {
            "seed": ("lane", [lane.seed for lane in lanes]),
            "stage": ("lane", ["lanes"] * len(lanes)),
            "batch_size": ("lane", [lane.recipe.batch_size for lane in lanes]),
            **{name: ("lane", np.asarray(values, object if isinstance(values[0], str) else None))
               for name, values in tags.items()},
            **{name: ("lane", [lane.values.get(name, np.nan) for lane in lanes]) for name in names},
        },
    )  # fmt: skip


def judged(result: xr.Dataset, *ids: str) -> dict[str, Finding]:
    """Return the findings of some claims, by id."""
    wanted = [claim for claim in CLAIMS if claim.id in ids]
    assert len(wanted) == len(ids)
    return {finding.id: finding for finding in evaluate(wanted, result)}


def arms_of(finding: Finding) -> dict[str, str]:
    """Return the verdict of each of a finding's comparisons."""
    return {name: arm["verdict"] for name, arm in finding.details["arms"].items()}
