"""Rules on attacks and margins, and the published script of an attack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.results.statistics import Comparison, paired_difference, rank_correlation
from implicit_bias.studies import paired_cells
from implicit_bias.studies.comparisons import ends
from implicit_bias.studies.flat_minima.rules import (
    SMALLEST_GAP,
    cells,
    compared,
    folded,
    ratio,
)
from implicit_bias.studies.flat_minima.script import PRINTED

if TYPE_CHECKING:
    import xarray as xr

ALIKE = 0.05
"""Robustness ratios that differ by less are alike."""
SMALLEST_CORRELATION = 0.3
"""A rank correlation matters from here on."""


def two_classes_under_attack(result: xr.Dataset) -> Evidence:
    """Hold small against large batches on two classes: curvature, and errors clean and attacked."""
    outputs = _outputs(result)
    if outputs != {2}:
        raise NotDecidable(
            f"the source has two classes, and this run {sorted(outputs)}: set data.classes"
        )
    comparisons: dict[str, Comparison] = {}
    details: dict[str, Any] = {"accuracy of chance": 0.5}
    for arm in [arm for arm in ("fixed", "sgd") if arm in paired_cells.arms(result)]:
        small, large = cells(result, (arm, 0), (arm, -1))
        difference = _robustness_difference(small, large)
        comparisons |= {
            f"λmax, large / small B, {arm}": ratio(large, small, "lambda_max"),
            f"clean error, large − small B, {arm}": paired_cells.error_gap(
                large, small, SMALLEST_GAP
            ),
            f"error under FGSM, large − small B, {arm}": paired_cells.error_gap(
                _attacked(large), _attacked(small), SMALLEST_GAP
            ),
            f"robustness alike, {arm}": difference,
        }
        for name, lanes in (("small B", small), ("large B", large)):
            good = paired_cells.usable(lanes).values
            details[f"{arm}, {name}"] = {
                "λmax": float(np.nanmean(lanes["lambda_max"].values[good])),
                "clean accuracy (%)": 100 * float(np.mean(lanes["clean_accuracy"].values[good])),
                "accuracy under FGSM (%)": 100 * float(np.mean(_fgsm(lanes).values[good])),
                "accuracy under PGD (%)": 100
                - 100 * float(np.mean(lanes["pgd_wrong"].values[good])),
                "robustness": float(np.mean(robustness(lanes).values[good])),
            }
    if not comparisons:
        raise NotDecidable("needs one of the arms fixed, sgd")
    return Evidence(comparisons, details=details)


def _fgsm(lanes: xr.Dataset) -> xr.DataArray:
    """Return the accuracy under FGSM at the published radius, from the record of each example."""
    return 1 - lanes["fgsm_wrong"].astype(float).mean("attacked_example")


def robustness(lanes: xr.Dataset) -> xr.DataArray:
    """Return accuracy under FGSM over clean accuracy; NaN where a lane does not count."""
    return (_fgsm(lanes) / lanes["clean_accuracy"]).where(paired_cells.usable(lanes))


def _attacked(lanes: xr.Dataset) -> xr.Dataset:
    """Return lanes whose record of test examples is that after FGSM at the published radius."""
    names = {"fgsm_wrong": "test_wrong", "attacked_example": "test_example"}
    return lanes.drop_dims("test_example").rename(names)


def _robustness_difference(small: xr.Dataset, large: xr.Dataset) -> Comparison:
    first, second = robustness(small), robustness(large)
    return Comparison(lambda level: folded(paired_difference(first, second, level)), 0.0, -1, ALIKE)


def _outputs(result: xr.Dataset) -> set[int]:
    settings = json.loads(result.attrs["settings"])
    return {int(json.loads(model)["outputs"]) for model in settings["models"]}


def norm_and_margin(result: xr.Dataset) -> Evidence:
    """Correlate the norm of the weights with margins and radii, and hold weight decay against none."""
    lanes = compared(result)
    # Other labels or sets have other margins, and an arm that fails to train has none.
    other = ("-noisy", "-few", "-large-rho")
    same = np.array([not arm.endswith(other) for arm in lanes["arm"].values], bool)
    lanes = lanes.isel(lane=np.flatnonzero(same & paired_cells.usable(lanes).values))
    seeds = lanes["seed"].values
    if len(np.unique(seeds)) < 2:
        raise NotDecidable("a correlation over seeds needs at least 2 seeds")
    norm = lanes["parameter_norm"].values
    arms = np.zeros(norm.shape, int)
    comparisons = {
        f"‖θ‖ with {what}, over arms": Comparison(
            rank_correlation(norm, lanes[name].values, arms, clusters=seeds),
            SMALLEST_CORRELATION, -1,
        )
        for name, what in (("output_margin", "the margin"), ("certified_radius", "the radius"))
    }  # fmt: skip
    if "decay" in paired_cells.arms(result):
        strongest = float(result["strength"].values[result["arm"].values == "decay"].max())
        chosen = (result["arm"].values == "decay") & (result["strength"].values == strongest)
        whole = result.isel(lane=np.flatnonzero(chosen))
        decayed = paired_cells.cell(whole, "decay", paired_cells.batch_sizes(whole, "decay")[0])
        (plain,) = cells(result, ("sgd", 0))
        comparisons |= {
            "margin, weight decay / none": ratio(decayed, plain, "output_margin"),
            "radius, weight decay / none": ratio(decayed, plain, "certified_radius"),
        }
        shrunk = ratio(decayed, plain, "parameter_norm").estimate(0.95)
        details = {"weight decay": strongest, "‖θ‖, weight decay / none": ends(shrunk)}
    else:
        details = {}
    return Evidence(comparisons, n_seeds=len(np.unique(seeds)), details=details)


def script_repeated(result: xr.Dataset) -> Finding:
    """Hold the repeated script against its printed accuracies."""
    stage = (result["stage"].values == "mock-attack") & (result["seed"].values == 0)
    if not stage.any() or "script_mock_accuracy" not in result:
        raise NotDecidable("the script was not repeated with its own seed, the study's seed 0")
    own = result.isel(lane=np.flatnonzero(stage)[0])
    mock = own["script_mock_accuracy"].transpose("script_radius", "script_model").values
    every = result.isel(lane=np.flatnonzero(result["stage"].values == "mock-attack"))
    means = {
        name: every[f"script_{name}_accuracy"].mean("lane").values.round(3).tolist()
        for name in ("mock", "fgsm")
    }
    return identity(
        mock - PRINTED, 0.005, n_seeds=every.sizes["lane"],
        reason="labels drawn at random, no training and a random direction give about one half at every "
        f"radius: {mock[0, 0]:.2f} without attack and {mock[-1, 0]:.2f} at the largest; FGSM on the same "
        f"networks leaves {float(own['script_fgsm_accuracy'].values[-1, 0]):.2f}",
        script=mock.tolist(), printed=PRINTED.tolist(),
        mean_over_seeds_mock=means["mock"], mean_over_seeds_fgsm=means["fgsm"],
    )  # fmt: skip
