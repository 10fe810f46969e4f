"""Tables of the exact part of the early-stopping study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from implicit_bias.results.table import Table, make_table
from implicit_bias.studies.early_stopping.notes import WAYS
from implicit_bias.studies.early_stopping.overfitting import CONDITIONS
from implicit_bias.studies.early_stopping.paths import DESIGNS
from implicit_bias.studies.early_stopping.rules_training import least_epoch, test_around
from implicit_bias.studies.early_stopping.script_drawings import PRINTED_LINEAR
from implicit_bias.studies.rows import by_seed, has
from implicit_bias.studies.seed_means import INTERVALS, geometric, mean

if TYPE_CHECKING:
    import xarray as xr


def exact_tables(result: xr.Dataset) -> list[Table]:
    """Return one table for each thing that was done."""
    made = {
        "paths": _paths,
        "validation": _validation,
        "long-training": _long,
        "linear": _linear,
        "norms": _norms,
        "notes": _kernels,
    }
    return [table(result) for stage, table in made.items() if has(result, stage)]


def _paths(result: xr.Dataset) -> Table:
    rows = []
    for design in DESIGNS:
        found = {
            name: by_seed(result, "paths", f"path_{name}", path_design=design)
            for name in ("distance", "risk_ratio", "best", "best_time")
        }
        rows.append(
            [
                design,
                geometric(found["best_time"]),
                mean(found["distance"].max(axis=1)),
                mean(found["risk_ratio"]),
                geometric(found["best"]),
            ]
        )  # fmt: skip
    return make_table(
        [
            "design", "best t·λmax", "largest distance", "risk ratio, worst t", "ratio of least risks",
        ],
        rows,
        caption=f"Gradient flow at t beside ridge at λ = 1/t; {INTERVALS}, of best times geometric",
        notes=(
            *(f"{name}: {what}" for name, what in DESIGNS.items()),
            "distance: ‖w_t − w_λ‖/‖w_λ‖, at most 0.2985 with one eigenvalue",
            "risk ratio: flow's over ridge's, at most 1.6862 at one t",
        ),
    )  # fmt: skip


def _validation(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for place, size in enumerate(result["validation_size"].values):
        found = {
            name: by_seed(result, "validation", f"stop_{name}")[:, place]
            for name in ("missed", "missed_truly", "regret", "optimism")
        }
        rows.append([int(size), *(mean(100 * values) for values in found.values())])
    infinite = by_seed(result, "validation", "stop_infinite")
    rows.append(["∞", mean(100 * infinite), "0", "0", "n/a"])
    never = by_seed(result, "validation", "stop_never")
    return make_table(
        ["validation examples", "misses test's best", "misses the truly best", "test loss lost", "optimism"],
        rows,
        caption=f"A stopping time chosen on validation data, %; {INTERVALS}",
        notes=(
            "misses: validation sets whose best of 60 times is another than a test set's, or than that of "
            "expected test loss",
            "lost: expected test loss at the chosen time above the least; never stopping loses "
            f"{mean(100 * never)}",
            "optimism: expected test loss above the validation loss, both at the chosen time, less the "
            "same at the best time, where it is 0 on average",
        ),
    )  # fmt: skip


def _long(result: xr.Dataset) -> Table:
    rows = []
    for name in CONDITIONS:
        around = [test_around(result, name, epoch) for epoch in (20, 50, None)]
        rows.append(
            [
                name,
                mean(least_epoch(result, name)),
                *(geometric(values) for values in around),
                geometric(around[-1] / around[0]),
            ]
        )
    return make_table(
        ["examples, labels", "least at epoch", "around 20", "around 50", "last", "last/around 20"],
        rows,
        caption=f"Test loss of networks in their epochs; {INTERVALS}, of losses geometric",
        notes=(
            "each loss is a mean over five epochs; labels of the test are as noisy as the others",
        ),
    )


def _linear(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for design in result["linear_design"].values:
        train, test = (
            by_seed(result, "linear", f"linear_{part}", linear_design=design)
            for part in ("train", "test")
        )
        for place, epoch in enumerate(result["linear_epoch"].values):
            at = int(epoch) + (int(epoch) == 499)
            printed = (
                [PRINTED_LINEAR[part].get(at, "n/a") for part in ("training", "test")]
                if design == "as stated"
                else ["n/a", "n/a"]
            )
            rows.append(
                [str(design), f"{int(epoch):,}", geometric(train[:, place]), printed[0],
                 geometric(test[:, place]), printed[1]]
            )  # fmt: skip
    return make_table(
        ["examples", "epoch", "training loss", "printed", "expected test loss", "printed"],
        rows,
        caption="The script of solution C.18; geometric means over seeds [95 % t-intervals of "
        "the logarithm]",
        notes=("the last line that is printed is for epoch 500, which the script does not reach",),
    )


def _norms(result: xr.Dataset) -> Table:
    rows = []
    for way in result["norm_way"].values:
        for size in result["norm_batch"].values:
            found = {
                name: by_seed(result, "norms", f"norm_{name}", norm_way=way, norm_batch=size)
                for name in ("updates", "start", "growth", "loss")
            }
            rows.append(
                [
                    str(way),
                    int(size),
                    int(found["updates"][0]),
                    mean(found["start"]),
                    geometric(found["growth"]),
                    geometric(found["loss"]),
                ]
            )
    rows += [
        ["printed", 32, "n/a", "n/a", "234.5", "0.001234"],
        ["printed", 128, "n/a", "n/a", "187.6", "0.002156"],
    ]
    return make_table(
        ["training", "B", "updates", "‖W₂‖ at the start", "growth", "last loss"],
        rows,
        caption=f"The script of solution C.17, and all layers trained; {INTERVALS}, of growth and loss "
        "geometric",
        notes=("there are 100 examples: a batch of 128 holds them all",),
    )


def _kernels(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for place, width in enumerate(result["kernel_width"].values):
        rows.append(
            [
                int(width),
                *(
                    geometric(by_seed(result, "notes", "kernel_error", kernel_way=way)[:, place])
                    for way in WAYS
                ),
            ]
        )
    return make_table(
        ["width", *WAYS],
        rows,
        caption="Mean squared difference of a wide network and its kernel on test points, "
        "targets of variance 1; geometric means over seeds [95 % t-intervals of the logarithm]",
        notes=("kernel: the infinite network's, after as many updates, or at its end",),
    )
