"""The rules of the sharpness study on results made by hand, with known verdicts for every branch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias.results.claims import Finding, NotDecidable, evaluate
from implicit_bias.studies.sharpness import rules_exact, rules_lanes
from implicit_bias.studies.sharpness.claims import CLAIMS
from implicit_bias.studies.sharpness.measure import SWEEPS
from implicit_bias.studies.sharpness.minimum import PROBLEMS, RADII
from implicit_bias.studies.sharpness.points import FOUND, make_points
from implicit_bias.studies.sharpness.quadratics import Quadratics
from implicit_bias.studies.sharpness.regression import SCALES, SCRIPTS
from implicit_bias.studies.sharpness.select import MEASURES
from implicit_bias.studies.sharpness.settings import ARMS
from implicit_bias.studies.sharpness.tables import rescaling_table

SEEDS, N_TEST = 6, 200
POINTS = [point.label for point in make_points((10.0,), (2.0, 10.0), 2.0)]
LAYERS, DOUBLE, TENFOLD, STRETCHED = POINTS[1:]
BY_ID = {claim.id: claim for claim in CLAIMS}
SCALARS = ("at_loss", "at_norm", "at_lambda_max", "at_trace", "at_lambda_over_loss", "at_lambda_norm",
           "at_fisher_rao", "at_relative_flatness", "at_converged")  # fmt: skip


def planted(
    sharpness: dict[tuple[str, int], float] | None = None,
    wrong: dict[tuple[str, int], int] | None = None,
    moves: dict[str, dict[str, float]] | None = None,
    spread: float = 0.02,
    output_error: float = 1e-12,
) -> xr.Dataset:
    """Lanes with given λmax and errors by arm and batch size, and given ratios by variable and point."""
    rng = np.random.default_rng(0)
    rows = [(arm, size, seed) for arm in ARMS for size in (10, 100) for seed in range(SEEDS)]
    n = len(rows)
    base = np.array([(sharpness or {}).get((arm, size), 1.0) for arm, size, _ in rows])
    base = base * np.exp(spread * rng.normal(size=n))
    missed = np.zeros((n, N_TEST), bool)
    for row, (arm, size, seed) in enumerate(rows):
        missed[row, seed : seed + (wrong or {}).get((arm, size), 20)] = True
    variables: dict[str, Any] = {}
    radii = {f"{sweep.name}_radius": [0.1] for sweep in SWEEPS}
    for name in (*SCALARS, *(sweep.name for sweep in SWEEPS)):
        factor = np.array([(moves or {}).get(name, {}).get(label, 1.0) for label in POINTS])
        values = base[:, None] * factor[None, :]
        if name == "at_converged":
            values = np.ones_like(values)
        if name in radii or f"{name}_radius" in radii:
            variables[name] = (
                ("lane", "point", f"{name}_radius"),
                values[:, :, None],
                {"units": "1"},
            )
        else:
            variables[name] = (("lane", "point"), values, {"units": "1"})
    variables["at_output_error"] = (("lane", "point"), np.full((n, len(POINTS)), output_error))
    variables["eigenvalues"] = (("lane", "rank"), np.stack([base, base / 2], axis=1))
    variables["eigenvalue_residuals"] = (("lane", "rank"), np.full((n, 2), 1e-6))
    variables["test_wrong"] = (("lane", "test_example"), missed)
    for name, values in {
        "test_error": missed.mean(axis=1), "gradient_norm": np.full(n, 0.1), "asymmetry": np.full(n, 1e-14),
        "negative_share": np.full(n, 0.05), "lambda_min": np.full(n, -0.1),
        "drawn_point": rng.integers(0, 2, n),
        "diverged": np.zeros(n, bool), "reached_target": np.ones(n, bool),
        "target_loss": np.array([0.05 if arm.startswith("matched") else np.nan for arm, _, _ in rows]),
    }.items():  # fmt: skip
        variables[name] = ("lane", values)
    return xr.Dataset(
        variables,
        {
            "stage": ("lane", np.full(n, "arms", object)),
            "arm": ("lane", np.array([row[0] for row in rows], object)),
            "batch_size": ("lane", np.array([row[1] for row in rows])),
            "seed": ("lane", np.array([row[2] for row in rows])),
            "point": POINTS,
            **radii,
        },
    )


def with_trial(lanes: xr.Dataset, stage: str, values: dict[str, Any], **coords: Any) -> xr.Dataset:
    """Append an experiment's rows, one a seed, to lanes."""
    variables = {
        name: (("lane", *dims), np.repeat(np.asarray(array, float)[None], SEEDS, axis=0), {"long_name": name})
        for name, (dims, array) in values.items()
    }  # fmt: skip
    rows = xr.Dataset(
        {**variables, "diverged": ("lane", np.zeros(SEEDS, bool))},
        {
            "stage": ("lane", np.full(SEEDS, stage, object)),
            "arm": ("lane", np.full(SEEDS, stage, object)),
            "batch_size": ("lane", np.zeros(SEEDS, int)),
            "seed": ("lane", np.arange(SEEDS)),
            **coords,
        },
    )
    total = lanes.sizes["lane"] + SEEDS
    merged: dict[str, Any] = {}
    for name in {*lanes.data_vars, *rows.data_vars, "stage", "arm", "batch_size", "seed"}:
        some = lanes[name] if name in lanes.variables else None
        own = rows[name] if name in rows.variables else None
        like = some if some is not None else own
        assert like is not None
        empty: Any = {"f": np.nan, "O": "", "b": False}.get(like.dtype.kind, 0)
        whole = np.full((total, *like.shape[1:]), empty, like.dtype)
        if some is not None:
            whole[: lanes.sizes["lane"]] = some.values
        if own is not None:
            whole[lanes.sizes["lane"] :] = own.values
        merged[str(name)] = (like.dims, whole, like.attrs)
    others = {k: v for k, v in {**lanes.coords, **rows.coords}.items() if "lane" not in v.dims}
    return xr.Dataset(merged, others).set_coords(["stage", "arm", "batch_size", "seed"])


def judged(name: str, result: xr.Dataset) -> Finding:
    """The verdict on one claim alone."""
    (found,) = evaluate([BY_ID[name]], result)
    return found


def exact(**changes: float) -> xr.Dataset:
    """Lanes and the quadratics' trial, computed and then changed."""
    found: dict[str, Any] = dict(Quadratics(dimension=20, draws=400)(None, 0, {}))  # type: ignore[arg-type]
    del found["spectra_loss"]
    found.update(changes)
    return with_trial(planted(), "exact", {name: ((), value) for name, value in found.items()})


def minima(slope: float = 2.0, rest: float = 3.0, ratio: float = 1.0, **lanes: Any) -> xr.Dataset:
    """Lanes and the minima's trial."""
    one, both = ("problem",), ("problem", "rho")
    shape = len(PROBLEMS), len(RADII)
    values = {
        "minimum_gradient": (one, np.full(3, 1e-13)), "minimum_loss": (one, np.ones(3)),
        "minimum_condition": (one, [5.0, 1e3, np.inf]), "minimum_slope": (one, np.full(3, slope)),
        "minimum_rest_slope": (one, np.full(3, rest)), "minimum_ratio": (both, np.full(shape, ratio)),
        "model_slope": (one, np.full(3, rest)), "model_error": (both, np.ones(shape)),
    }  # fmt: skip
    return with_trial(planted(**lanes), "minimum", values, problem=list(PROBLEMS), rho=list(RADII))


# Claims that networks decide


def test_a_measure_that_rescaling_moves_is_not_reliable() -> None:
    # Breaks if a change is judged by its direction, or another point than the farthest counts.
    for factor, verdict in (
        (50.0, "refuted"),
        (0.02, "refuted"),
        (1.05, "supported"),
        (1.25, "inconclusive"),
    ):
        spread = {"at_lambda_max": {LAYERS: factor}}
        result = planted(moves=spread)
        if verdict == "inconclusive":
            values = result["at_lambda_max"].values
            values[:, 1] *= np.exp(0.1 * np.sin(7.0 * result["seed"].values))
        assert judged("johannsen.ledger", result).verdict == verdict


def test_rescaling_that_changes_outputs_decides_nothing() -> None:
    # Breaks if the identity of the function is taken for granted.
    for name in ("johannsen.ledger", "ch11.A.5", "ch11.A.15"):
        found = judged(name, planted(output_error=1e-3))
        assert found.verdict == "not-decided"
        assert "not one function" in found.reason


def test_guarantees_fall_by_one_function_at_two_sharpnesses() -> None:
    # Breaks if the smallest change over lanes is not what counts.
    sure = planted(moves={"at_lambda_max": {LAYERS: 60.0}})
    found = judged("ch11.A.5", sure)
    assert (found.verdict, found.effect) == ("supported", pytest.approx(60))
    assert judged("ch11.A.5", planted()).verdict == "refuted"
    assert (
        judged("ch11.A.5", planted(moves={"at_lambda_max": {LAYERS: 1.5}})).verdict
        == "inconclusive"
    )


def test_reversed_pairs_are_counted_within_seeds() -> None:
    # Breaks if pairs mix seeds, or rewriting is applied to the worse network.
    wrong = {("matched-small-step", 10): 10}
    sharper = {("matched-small-step", 10): 2.0}
    found = judged("ch11.A.5", planted(sharper, wrong, {"at_lambda_max": {LAYERS: 0.1}}))
    counts = [value for name, value in found.details.items() if "change" not in name]
    # One network differs in test error from three others: three pairs a seed; the better is sharper in all.
    assert counts == [3 * SEEDS, 3 * SEEDS, 0]


def test_eigenvalue_measures_are_invalid_only_if_all_change() -> None:
    # Breaks if trace or stretched coordinates are left out.
    moved = {LAYERS: 30.0, STRETCHED: 0.25}
    both = {"at_lambda_max": moved, "at_trace": moved}
    assert judged("ch11.A.15", planted(moves=both)).verdict == "supported"
    one = {"at_lambda_max": moved, "at_trace": {LAYERS: 30.0}}
    assert judged("ch11.A.15", planted(moves=one)).verdict == "refuted"


def test_scaling_laws_are_judged_by_the_law_and_not_by_change() -> None:
    # Breaks if W.11 and C.11 are given each other's law.
    half = planted(moves={"at_lambda_max": {DOUBLE: 0.5}})
    assert judged("ch11.W.11", half).verdict == "supported"
    assert judged("ch11.C.11", half).verdict == "conditional"
    quarter = planted(moves={"at_lambda_max": {DOUBLE: 0.25}})
    assert judged("ch11.W.11", quarter).verdict == "refuted"
    assert judged("ch11.C.11", quarter).verdict == "supported"
    neither = {"at_lambda_max": {DOUBLE: 0.01}, "at_lambda_over_loss": {DOUBLE: 9.0}}
    assert judged("ch11.C.11", planted(moves=neither)).verdict == "refuted"
    lone = planted().sel(point=[FOUND, LAYERS, STRETCHED])
    assert judged("ch11.W.11", lone).verdict == "not-decided"


def everywhere(value: float, size: int) -> dict[tuple[str, int], float]:
    """One λmax in all arms at a batch size."""
    return {(arm, size): value for arm in ARMS}


def test_flat_minima_need_batch_step_error_and_equal_loss() -> None:
    # Breaks if a comparison is reversed, or ten times the parameters count as the same loss.
    wrong = {("epochs-large-step", 100): 60}
    sharp = everywhere(3.0, 100) | {(arm, 10): 2.0 for arm in ARMS if arm.endswith("large-step")}
    sharp |= {(arm, 100): 9.0 for arm in ARMS if arm.endswith("large-step")}
    found = judged("ch11.def.flat", planted(sharp, wrong))
    assert found.verdict == "supported"
    found = judged("ch11.def.flat", planted(sharp, wrong, {"at_loss": {TENFOLD: 30.0}}))
    assert found.verdict == "conditional"
    assert "Refuted: equal loss at 10 θ" in found.condition
    found = judged(
        "ch11.def.flat", planted(everywhere(0.3, 100), None, {"at_loss": {TENFOLD: 30.0}})
    )
    assert found.verdict == "refuted"
    assert found.details["arms"]["batch, matched-large-step"]["verdict"] == "refuted"


def test_sharp_minima_take_batch_and_step_apart() -> None:
    # Breaks if a change alone is compared with the wrong cell.
    only_batch = everywhere(3.0, 100)
    wrong = {(arm, 100): 60 for arm in ARMS if arm.endswith("large-step")}
    found = judged("ch11.def.sharp", planted(only_batch, wrong))
    verdicts = {name: arm["verdict"] for name, arm in found.details["arms"].items()}
    assert found.verdict == "conditional"
    for budget in ("epochs", "matched"):
        assert verdicts[f"λmax, both, {budget}"] == "supported"
        assert verdicts[f"λmax, batch alone, {budget}"] == "supported"
        assert verdicts[f"λmax, step alone, {budget}"] == "refuted"
        assert verdicts[f"test error, both, {budget}"] == "supported"


def test_lanes_that_missed_the_target_do_not_count() -> None:
    # Breaks if equal loss is claimed of lanes that did not get there.
    result = planted(everywhere(3.0, 100))
    missed = result["reached_target"].values
    missed[(result["arm"].values == "matched-large-step") & (result["seed"].values == 0)] = False
    found = judged("ch11.def.sharp", result)
    assert "2 lanes missed the target loss" in found.reason
    assert found.details["arms"]["λmax, both, matched"]["n"] == SEEDS - 1


def test_another_program_finds_the_same_eigenvalue_or_the_definition_fails() -> None:
    # Breaks if the lane compared is another one.
    result = planted(spread=0.0)
    for value, verdict in ((1.0 + 1e-6, "supported"), (1.01, "refuted")):
        found = judged(
            "dhand.def-6.1", with_trial(result, "arpack", {"arpack_lambda_max": ((), value)})
        )
        assert found.verdict == verdict
    assert judged("dhand.def-6.1", result).verdict == "not-decided"


def test_only_an_asymmetric_hessian_saves_the_remark() -> None:
    # Breaks if the verdict is turned round.
    found = judged("ch11.def.spectrum", exact())
    assert found.verdict == "conditional"
    assert found.condition == (
        "supported: condition number of the example. Refuted: networks' Hessians are not symmetric"
    )
    assert judged("ch11.def.spectrum", exact(spectrum_example_error=1.0)).verdict == "refuted"
    result = exact()
    result["asymmetry"].values[3] = 0.1
    assert judged("ch11.def.spectrum", result).verdict == "supported"


# Claims that arithmetic decides


def test_exact_claims_hold_and_fall_with_their_numbers() -> None:
    # Breaks if a rule reads another number, or its tolerance hides a wrong constant.
    right = exact()
    for name, verdict in {
        "ch11.ml.1": "conditional", "ch11.ml.2": "supported", "ch11.def.curvature": "supported",
        "ch11.B.17": "supported", "ch11.W.3": "conditional", "ch11.A.18": "supported",
    }.items():  # fmt: skip
        assert judged(name, right).verdict == verdict
    for name, changes, verdict in (
        ("ch11.ml.1", {"probe_arithmetic_error": 1.0}, "refuted"),
        ("ch11.ml.1", {"probe_over_mean": 1.5}, "refuted"),
        ("ch11.ml.1", {"probe_over_lambda_max": 0.9}, "supported"),
        ("ch11.ml.2", {"ascent_norm_error": 0.05}, "refuted"),
        ("ch11.ml.2", {"ascent_factor_error": 0.01}, "refuted"),
        ("ch11.def.curvature", {"directional_error": 1e-3}, "refuted"),
        ("ch11.B.17", {"flattening_quadratic": 1e-3}, "refuted"),
        ("ch11.A.18", {"spectra_largest_ratio": 1.0}, "refuted"),
        ("ch11.A.18", {"spectra_condition_error": 1.0}, "not-decided"),
        ("ch11.W.3", {"basin_flat_loss_factor": 1.0, "basin_sharp_axis": 1.0, "basin_steps_sharp": 5.0},
         "supported"),
    ):  # fmt: skip
        assert judged(name, exact(**changes)).verdict == verdict, (name, changes)
    condition = judged("ch11.W.3", right).condition
    assert "Wrong: 0.99²ᵗ" in condition
    assert "the sharp direction is the first" in condition.split("Wrong:")[1]


def test_the_expansion_is_judged_by_all_three_numbers() -> None:
    # Breaks if a slope or the ratio is not looked at.
    for name in ("ch11.thm-1.3", "ch11.B.11"):
        for changes in ({"slope": 2.05}, {"rest": 3.5}, {"ratio": 1.05}):
            assert judged(name, minima(**changes)).verdict == "refuted"
    assert judged("ch11.thm-1.3", minima()).verdict == "supported"
    assert judged("ch11.thm-1.2", minima()).verdict == "supported"
    assert judged("ch11.thm-1.2", minima(rest=2.0)).verdict == "refuted"


def test_b_11_names_what_does_not_take_out_the_scale() -> None:
    # Breaks if a normalisation that fails is not named, or one that works is.
    assert judged("ch11.B.11", minima()).verdict == "supported"
    found = judged(
        "ch11.B.11", minima(moves={"at_lambda_over_loss": {LAYERS: 60.0, STRETCHED: 0.25}})
    )
    assert found.verdict == "conditional"
    assert "loss" in found.condition
    assert "radius" not in found.condition
    found = judged("ch11.B.11", minima(moves={"at_lambda_norm": {LAYERS: 60.0}}))
    assert "radius" in found.condition


def test_relative_sharpness_of_a_regression_is_judged_by_its_worst_ratio() -> None:
    # Breaks if scripts or scales are mixed, or the mean hides a seed.
    one, both = ("script",), ("script", "script_scale")
    for ratio, verdict in ((1.0, "supported"), (0.25, "refuted")):
        values = {
            "script_relative_ratio": (both, [[1.0, ratio], [1.0, 1.0]]),
            "script_lambda_ratio": (both, np.ones((2, 2))),
            "script_closed_form_error": (("script_scale",), np.zeros(2)),
            "script_published_lambda": (one, np.ones(2)), "script_published_loss": (one, np.ones(2)),
            "script_published_ratio": (both, np.ones((2, 2))),
        }  # fmt: skip
        result = with_trial(
            planted(), "regression", values, script=list(SCRIPTS), script_scale=list(SCALES)
        )
        assert judged("ch11.S.7", result).verdict == verdict
        assert judged("ch11.S.19", result).verdict == "supported"


# Tables


def test_the_rescaling_table_calls_invariant_what_no_lane_changes() -> None:
    # Breaks if one lane of many is averaged away.
    result = planted(moves={"at_lambda_max": {LAYERS: 60.0}})
    result["at_trace"].values[5, 1] *= 1.002
    rows = {row[0]: row for row in rescaling_table(result).rows}
    assert rows["λmax"][-1] == "no"
    assert rows["λmax"][1].startswith("60")
    assert rows["trace"][-1] == "no"
    assert rows["Fisher–Rao norm"][-1] == "yes"
    assert len(rows) == len(MEASURES)


def test_nothing_to_judge_is_said() -> None:
    # Breaks if an empty or diverged result is an error.
    result = planted()
    result["diverged"].values[:] = True
    for claim in CLAIMS:
        assert judged(claim.id, result).verdict == "not-decided"
    with pytest.raises(NotDecidable, match="diverged"):
        rules_lanes.lanes(result)
    assert rules_exact.RATIO < 0.02


def test_the_study_owns_its_claims() -> None:
    # Breaks if a claim is lost or owned twice.
    assert len(CLAIMS) == len(BY_ID) == 20
