"""Tables of the step-size study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.statistics import NOT_NEGATIVE, PERCENT
from implicit_bias.results.table import Table, make_table
from implicit_bias.studies.rows import along, has, values_of
from implicit_bias.studies.rows import by_seed as trial
from implicit_bias.studies.seed_means import INTERVALS, geometric, mean, percent
from implicit_bias.studies.step_size.arms import ADAMW
from implicit_bias.studies.step_size.rows import accuracy, by_seed, ended, of_variant, variants
from implicit_bias.studies.step_size.rules_optimisers import NAMES, speed
from implicit_bias.studies.step_size.scripts import LABELS, OPTIMISERS, WAYS

if TYPE_CHECKING:
    import xarray as xr

ENDS = ("training loss", "test loss", "training, %", "test, %", "‖θ‖")


def tables(result: xr.Dataset) -> list[Table]:
    """Return one table for each thing that was done."""
    made = {
        "optimisers": _optimisers, "steps": _steps, "tuning": _tuning, "variants": _variants,
        "script": _script, "memory": _memory,
    }  # fmt: skip
    found = [table(result) for arm, table in made.items() if has(result, arm) and arm != "variants"]
    if any(has(result, arm) for arm in ("variants", "decay", "long")):
        found.insert(
            sum(has(result, arm) for arm in ("optimisers", "steps", "tuning")), _variants(result)
        )
    return found


def _mean(values: np.ndarray) -> str:
    return mean(values, NOT_NEGATIVE)


def _ends(result: xr.Dataset, arm: str, variant: str, **at: Any) -> list[str]:
    losses = [ended(result, arm, variant, f"{part}_loss", **at) for part in ("train", "test")]
    right = [accuracy(result, arm, variant, part, **at) for part in ("train", "test")]
    norm = ended(result, arm, variant, "parameter_norm", **at)
    return [*map(_mean, losses), *(mean(one, PERCENT) for one in right), _mean(norm)]


def _lost(result: xr.Dataset, *arms: str) -> str:
    lost = int((result["diverged"].values & np.isin(result["arm"].values, arms)).sum())
    return f"networks that diverged, left out: {lost}"


def _optimisers(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for name in NAMES:
        for factor in values_of(of_variant(result, "optimisers", name), "optimisers", "factor"):
            at = {"factor": float(factor)}
            step, length = (
                np.nanmax(by_seed(result, "optimisers", name, what, **at))
                for what in ("step_size", "planned_epochs")
            )
            rows.append([
                name, float(step), int(length), *_ends(result, "optimisers", name, **at)[1:4],
                _mean(ended(result, "optimisers", name, "weight_norm", **at)),
                _mean(speed(result, name, float(factor))),
                geometric(by_seed(result, "optimisers", name, "lambda_max", **at)),
            ])  # fmt: skip
    return make_table(
        ["optimiser", "step size", "epochs", "test loss", "training, %", "test, %", "‖W‖", "epochs to 95 %",
         "λmax"],
        rows,
        caption=f"SGD, momentum and Adam after the last epoch; {INTERVALS}, of λmax geometric means",
        notes=(
            "epochs to 95 % test accuracy: one more than were trained where it is not reached",
            _lost(result, "optimisers"),
        ),
    )  # fmt: skip


def _steps(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for step in values_of(result, "steps", "step_size"):

        def column(name: str, arm: str = "steps", step: float = float(step)) -> np.ndarray:
            found: np.ndarray = along(result, arm, name, "step_size", np.asarray([step]))[:, 0]
            return found

        sharp = column("lambda_max")
        matched = "n/a"
        if has(result, "matched"):
            there = np.where(
                column("reached_target", "matched") == 1, column("lambda_max", "matched"), np.nan
            )
            matched = geometric(there) if np.isfinite(there).any() else "not reached"
        rows.append([
            float(step), _mean(column("train_loss")), percent(column("train_error")),
            percent(column("test_error")), geometric(sharp),
            geometric(step * sharp), matched,
        ])  # fmt: skip
    return make_table(
        ["step size η", "training loss", "training error, %", "test error, %", "λmax", "η λmax",
         "λmax at one training loss"],
        rows,
        caption=f"Plain SGD at step sizes far apart; {INTERVALS}, of λmax geometric means",
        notes=(_lost(result, "steps", "matched"),),
    )  # fmt: skip


def _tuning(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for name in variants(result, "tuning"):
        own = of_variant(result, "tuning", name)
        decays = [
            {"decoupled_weight_decay": decay}
            for decay in values_of(own, "tuning", "decoupled_weight_decay")
        ]
        for at in decays if name == ADAMW else [{}]:
            for size in values_of(own, "tuning", "batch_size"):
                for factor in values_of(own, "tuning", "factor"):
                    place = {"batch_size": float(size), "factor": float(factor), **at}
                    rows.append([
                        name, at.get("decoupled_weight_decay", 0.0), int(size), float(factor),
                        *_ends(result, "tuning", name, **place),
                        mean(accuracy(result, "tuning", name, "valid", **place), PERCENT),
                    ])  # fmt: skip
    return make_table(
        ["optimiser", "decay", "batch", "step / stated", *ENDS, "validation, %"], rows,
        caption=f"Optimisers in two batch sizes; {INTERVALS}", notes=(_lost(result, "tuning"),),
    )  # fmt: skip


def _variants(result: xr.Dataset) -> Table:
    arms = [arm for arm in ("variants", "decay", "long") if has(result, arm)]
    rows = [
        [arm, name, int(values_of(of_variant(result, arm, name), arm, "batch_size")[0]),
         int(values_of(of_variant(result, arm, name), arm, "planned_epochs")[0]),
         int(by_seed(result, arm, name, "parameters")[0]), *_ends(result, arm, name)]
        for arm in arms
        for name in variants(result, arm)
    ]  # fmt: skip
    return make_table(
        ["arm", "what", "batch", "epochs", "parameters", *ENDS], rows,
        caption=f"Variants of one protocol after their last epoch; {INTERVALS}",
        notes=(_lost(result, *arms),),
    )  # fmt: skip


def _script(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for way in WAYS:
        for name in OPTIMISERS:
            at = {"script_way": way, "script_optimiser": name}
            rows.append([
                way, name, percent(trial(result, "script", "script_converged", **at)),
                percent(trial(result, "script", "script_train", **at)[:, -1]),
                percent(trial(result, "script", "script_test", **at)),
                _mean(trial(result, "script", "script_norm", **at)),
            ])  # fmt: skip
    return make_table(
        ["trained", "optimiser", "draws that reach 95 %", "training, %", "test, %", "‖W₂‖"], rows,
        caption=f"The script on optimisers, random inputs and labels; {INTERVALS}",
        notes=("printed: all reach 95 %, 89–90 % on the test set, norms of 7.9 to 8.3",),
    )  # fmt: skip


def _memory(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for labels in LABELS:
        at = {"memory_labels": labels}
        train = trial(result, "memory", "memory_train", **at)
        rows.append([
            labels, percent(train[:, 0]), percent(train[:, -1]),
            percent(trial(result, "memory", "memory_test", **at)),
            percent(trial(result, "memory", "memory_trained_train", **at)),
            percent(trial(result, "memory", "memory_trained_test", **at)),
        ])  # fmt: skip
    return make_table(
        ["labels", "first print, %", "last print, %", "test, %", "trained: training, %", "trained: test, %"],
        rows,
        caption=f"The script on random and true labels, which trains nothing; {INTERVALS}",
        notes=("printed: 8 and 10 %, then 98 and 100 %; 9 and 76 % on the test set",),
    )  # fmt: skip
