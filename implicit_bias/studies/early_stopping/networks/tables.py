"""Tables of the networks' part of the early-stopping study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.statistics import NOT_NEGATIVE, PERCENT
from implicit_bias.results.table import Table, make_table
from implicit_bias.studies.early_stopping.networks.rows import (
    accuracies,
    batches,
    ended,
    loss_gap,
    penalties,
)
from implicit_bias.studies.early_stopping.networks.rules_sine import at_epoch, stopped
from implicit_bias.studies.early_stopping.networks.settings import ARMS
from implicit_bias.studies.early_stopping.networks.sine import FRACTIONS, RUNS
from implicit_bias.studies.early_stopping.networks.validated import PARTS
from implicit_bias.studies.rows import by_seed, epochs_of, has
from implicit_bias.studies.seed_means import INTERVALS, mean

if TYPE_CHECKING:
    import xarray as xr


def network_tables(result: xr.Dataset) -> list[Table]:
    """Return one table for each thing that was done."""
    made = []
    if any(has(result, arm) for arm in ARMS):
        made.append(_networks(result))
    if has(result, "overfit"):
        made.append(_gaps(result))
    if has(result, "sine"):
        made.append(_sine(result))
    if has(result, "validated"):
        made.append(_validated(result))
    return made


def _networks(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for arm in ARMS:
        if not has(result, arm):
            continue
        for batch in batches(result, arm):
            for penalty in penalties(result, arm):
                at = {"batch_size": batch, "penalty": penalty}
                found = [ended(result, arm, name, **at) for name in ("train_loss", "test_loss")]
                rows.append(
                    [
                        arm,
                        batch,
                        penalty,
                        int(epochs_of(result, arm, **at)[-1]),
                        *(mean(one, NOT_NEGATIVE) for one in found),
                        *(
                            mean(accuracies(result, arm, part, **at)[:, -1], PERCENT)
                            for part in ("train", "test")
                        ),
                        mean(ended(result, arm, "weight_norm", **at), NOT_NEGATIVE),
                    ]
                )  # fmt: skip
    lost = int((result["diverged"].values & np.isin(result["arm"].values, list(ARMS))).sum())
    return make_table(
        ["arm", "batch", "λ", "epochs", "training loss", "test loss", "training, %", "test, %", "‖W‖"],
        rows,
        caption=f"Networks after their last epoch; {INTERVALS}",
        notes=(
            *(f"{arm}: {what}" for arm, what in ARMS.items() if has(result, arm)),
            f"networks that diverged, left out: {lost}",
        ),
    )  # fmt: skip


def _gaps(result: xr.Dataset) -> Table:
    at, gap = epochs_of(result, "overfit"), loss_gap(result, "overfit")
    published = {10: 0.10, 50: 0.01, 100: 0.10, 150: 0.20, 200: 0.30}
    rows = [
        [
            int(epoch),
            mean(gap[:, place]),
            mean(accuracies(result, "overfit", "train")[:, place], PERCENT),
            mean(accuracies(result, "overfit", "test")[:, place], PERCENT),
            published.get(int(epoch), "n/a"),
        ]
        for place, epoch in enumerate(at)
        if int(epoch) in (*published, int(at[-1]))
    ]
    return make_table(
        ["epoch", "test − training loss", "training, %", "test, %", "published gap"],
        rows,
        caption=f"Few examples, many epochs; {INTERVALS}",
        notes=("the published gap is of CIFAR-10, and of the sign reported, not that defined",),
    )


def _sine(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for run in RUNS:
        where = {"sine_run": run, "sine_log": FRACTIONS[-1]}
        found = [
            by_seed(result, "sine", f"sine_{name}", **where)
            for name in ("time", "train", "test", "inner", "outer")
        ]
        # What climbs ends in no numbers.
        rows.append(
            [
                run,
                float(found[0][0]),
                *(mean(values) for values in found[1:]),
            ]
        )
    rows.append(["published", 10.0, ".005–.008", ".010–.015", "2.5", ".4"])
    return make_table(
        ["run", "step × iterations", "training loss", "test loss", "‖W₁‖", "‖W₂‖"],
        rows,
        caption=f"A ReLU network on few points of a sine, halves of mean squares; {INTERVALS}",
        notes=tuple(f"{run}: {what}" for run, what in RUNS.items()),
    )


def _validated(result: xr.Dataset) -> Table:
    loss = by_seed(result, "validated", "curve_loss")
    rows: list[list[Any]] = []
    for row, batch in enumerate(result["curve_batch"].values):
        for column, step in enumerate(result["curve_step"].values):
            rows.append([int(batch), float(step), *_turn(loss[:, row, column])])
    rise, when = (by_seed(result, "validated", f"few_{name}") for name in ("rise", "best"))
    few = by_seed(result, "validated", "few_loss")
    end = few[:, -1, PARTS.index("test")]
    rows.append(
        [
            "few points",
            "all at once",
            f"{int(np.isfinite(rise).sum())} of {rise.size}",
            float(np.nanmedian(when)),
            *(
                mean(one, NOT_NEGATIVE)
                for one in (end / rise, end, few[:, -1, PARTS.index("train")])
            ),
        ]
    )
    return make_table(
        ["batch", "step size", "seeds", "optimum", "test loss there", "test loss, end", "training loss, end"],
        rows,
        caption="A ReLU network on a noisy sine, mean squares; seeds: those that converge; "
        f"optimum: epoch of the least validation loss, of few points update; {INTERVALS}, "
        "of the optimum medians",
    )  # fmt: skip


def _turn(curves: np.ndarray) -> list[Any]:
    """Return converged seeds, optimum, test loss there, test and training loss at the end."""
    chosen = stopped(curves)
    best = at_epoch(curves, chosen)[:, PARTS.index("test")]
    usable = np.isfinite(chosen)
    last = np.where(usable[:, None], curves[:, -1], np.nan)
    return [
        f"{int(usable.sum())} of {usable.size}",
        float(np.median(chosen[usable])) if usable.any() else "n/a",
        *(
            mean(one, NOT_NEGATIVE)
            for one in (best, last[:, PARTS.index("test")], last[:, PARTS.index("train")])
        ),
    ]
