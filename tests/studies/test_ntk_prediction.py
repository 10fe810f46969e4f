"""The NTK-prediction study: its rules on planted results, its scripts and ends against other routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias.results.claims import NotDecidable, evaluate
from implicit_bias.studies.ntk_prediction.claims import CLAIMS
from implicit_bias.studies.ntk_prediction.exact import (
    ENDS,
    PROBLEMS,
    LinearisedEnd,
    NearestSolution,
)
from implicit_bias.studies.ntk_prediction.exercise import VARIANTS
from implicit_bias.studies.ntk_prediction.rows import by_width, last, mean
from implicit_bias.studies.ntk_prediction.scripts import (
    DIFFERENCE,
    EPOCHS,
    NORM,
    WIDTHS,
    FrozenFeatures,
    UntrainedNetwork,
)
from implicit_bias.studies.ntk_prediction.settings import NtkPredictionSettings
from implicit_bias.studies.ntk_prediction.tables import tables
from implicit_bias.training.experiment import Experiment

SEEDS, HIDDEN = 6, (64, 256, 1024)
RULES = {claim.id: claim for claim in CLAIMS}

LAWS: dict[str, Any] = {
    # Variable: value at width 64, and power of the width.
    "own": (1e-3, -2.0), "infinite": (1e-2, -1.0), "own_flow": (3e-3, 0.0),
    "own_printed": (0.05, 0.0), "own_ridge": (0.02, 0.0), "interpolant": (1e-2, -1.0),
    "interpolant_from_start": (1e-2, -1.0), "size": (1.0, 0.0), "unfinished": (1e-6, 0.0),
    "kernel_change": (0.1, -1.0), "kernel_error": (0.3, -0.5),
}  # fmt: skip


def planted(plain: dict[str, Any] | None = None, **changes: Any) -> xr.Dataset:
    """A result whose quantities are powers of the width, with a little noise."""
    rng = np.random.default_rng(0)
    rows = [(arm, seed, w) for arm in ("centred", "plain") for w in HIDDEN for seed in range(SEEDS)]
    laws = {"centred": {**LAWS, **changes},
            "plain": {**LAWS, "interpolant": (0.5, 0.0), **(plain or {})}}  # fmt: skip
    data = {}
    for name in LAWS:
        values = [laws[arm][name][0] * (w / 64) ** laws[arm][name][1] for arm, _, w in rows]
        course = np.exp(0.02 * rng.normal(size=(len(rows), 4))) * np.asarray(values)[:, None]
        data[f"log_{name}"] = (("lane", "probe"), course)
    data["diverged"] = ("lane", np.zeros(len(rows), bool))
    coords = {
        "arm": ("lane", np.array([row[0] for row in rows], object)),
        "seed": ("lane", np.array([row[1] for row in rows])),
        "hidden": ("lane", np.array([row[2] for row in rows], float)),
    }
    return xr.Dataset(data, coords)


def trials(**values: Any) -> xr.Dataset:
    """A result of trials alone: each value has the seed leading."""
    n = len(next(iter(values.values())))
    dims = {k: ("lane", *(f"{k}_{i}" for i in range(np.ndim(v) - 1))) for k, v in values.items()}
    return xr.Dataset(
        {name: (dims[name], np.asarray(value, float)) for name, value in values.items()},
        {"seed": ("lane", np.arange(n)), "arm": ("lane", np.array(["trial"] * n, object))},
    )


def assert_declared(experiment: Experiment, found: Mapping[str, Any]) -> None:
    """What an experiment leaves is what it says beforehand: names and shapes."""
    lengths = {name: len(values) for name, values in experiment.coordinates.items()}
    assert {name: np.shape(value) for name, value in found.items()} == {
        name: tuple(lengths[dim] for dim in variable.dims)
        for name, variable in experiment.variables.items()
    }


def judged(name: str, result: xr.Dataset) -> Any:
    """Judge one claim alone."""
    return evaluate([RULES[name]], result)[0]


def test_slopes_are_those_of_each_seed_and_lost_lanes_count_for_none() -> None:
    # Breaks if widths are mixed up, the base or sign is wrong, or a diverged lane enters.
    result = planted()
    grid = by_width(result, "centred", "infinite", mean)
    np.testing.assert_allclose(grid.slopes(), -1, atol=0.03)
    assert grid.widths.tolist() == list(HIDDEN)
    lost = result["diverged"].copy(data=(result["seed"] == 2) & (result["hidden"] == 64))
    slopes = by_width(result.assign(diverged=lost), "centred", "infinite", mean).slopes()
    assert np.isnan(slopes).tolist() == [False, False, True, False, False, False]
    with pytest.raises(NotDecidable, match="linearised was not run"):
        by_width(result, "linearised", "own", last)


def test_the_law_is_supported_with_its_factor_and_not_without() -> None:
    # Breaks if the printed law, or ridge regression, is judged by another yardstick than the right one.
    found = judged("dhand.thm-5.1", planted())
    assert found.verdict == "conditional"
    assert (
        "supported: K₀ → K∞; K constant; law with 1/n. Refuted: law as printed" in found.condition
    )
    assert "Refuted: law as printed; ridge regression" in found.condition
    assert found.effect == pytest.approx(-0.5, abs=0.02)
    same = {"own_printed": LAWS["own"], "own_ridge": LAWS["own"]}
    assert judged("dhand.thm-5.1", planted(**same)).verdict == "supported"
    rich = {"kernel_change": (0.5, 0.0), "kernel_error": (0.3, 0.0), "infinite": (0.5, 0.0)}
    assert judged("dhand.thm-5.1", planted(**rich)).verdict == "refuted"
    only_plain = planted().isel(lane=np.flatnonzero(planted()["arm"].values == "plain"))
    assert judged("dhand.thm-5.1", only_plain).verdict == "not-decided"


def test_the_interpolant_is_that_of_networks_that_start_at_zero() -> None:
    # Breaks if f₀ does not decide, or if a run that is too short is blamed on the theorem.
    found = judged("dhand.thm-5.2", planted())
    assert (found.verdict, found.condition) == (
        "conditional",
        "supported: f₀ = 0. Refuted: f₀ as drawn",
    )
    assert judged("dhand.thm-5.2", planted({"interpolant": (1e-4, 0.0)})).verdict == "supported"
    far = planted(interpolant=(0.3, 0.0))
    assert judged("dhand.thm-5.2", far).verdict == "refuted"
    short = judged("dhand.thm-5.2", planted(unfinished=(0.2, 0.0)))
    assert short.verdict == "not-decided"
    assert "train longer" in short.reason


@pytest.fixture(scope="module")
def ends() -> xr.Dataset:
    """Three seeds of both exact problems."""
    first, second = LinearisedEnd(), NearestSolution()
    rows = [{**first(None, seed, {}), **second(None, seed, {})} for seed in range(3)]  # type: ignore[arg-type]
    assert_declared(first, first(None, 0, {}))  # type: ignore[arg-type]
    assert_declared(second, second(None, 0, {}))  # type: ignore[arg-type]
    return trials(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def test_ends_are_those_of_the_right_formulas(ends: xr.Dataset) -> None:
    # Breaks if descent stops early, a formula is wrong, or the published one slips through.
    errors = dict(zip(ENDS, ends["end_error"].values.T, strict=True))
    assert (errors.pop("published") > 0.5).all()
    assert all((values < 1e-12).all() for values in errors.values())
    found = judged("ch11.B.4", ends)
    assert found.verdict == "refuted"
    right = ends.assign(end_error=ends["end_error"] * 1e-12)
    assert judged("ch11.B.4", right).verdict == "supported"
    lost = ends.assign(end_error=ends["end_error"] + 1e-3)
    assert judged("ch11.B.4", lost).verdict == "not-decided"


def test_descent_ends_nearest_to_its_start_unless_the_loss_is_convex_alone(
    ends: xr.Dataset,
) -> None:
    # Breaks if a projection is wrong, or the ellipse's is not seen to differ.
    found = judged("ch11.def.implicit-bias", ends)
    assert found.verdict == "conditional"
    assert found.condition.endswith(f"Refuted: {PROBLEMS[3]}")
    # From (4, 2) the flow's path is a = 4 (b/2)^(1/9); it ends where that meets the ellipse.
    from scipy.optimize import brentq, minimize_scalar

    b = brentq(lambda b: (4 * (b / 2) ** (1 / 9)) ** 2 / 9 + b * b - 1, 1e-6, 1)
    end = np.array([4 * (b / 2) ** (1 / 9), b])
    best = minimize_scalar(
        lambda t: (3 * np.cos(t) - 4) ** 2 + (np.sin(t) - 2) ** 2, bounds=(0, 1.5), method="bounded"
    )
    nearest = np.array([3 * np.cos(best.x), np.sin(best.x)])
    gap = np.linalg.norm(end - nearest) / np.linalg.norm(nearest - [4, 2])
    # Steps of descent are not the flow's: a few per cent of the gap.
    assert ends["projection_error"].values[0, 3] == pytest.approx(gap, rel=0.1)
    other = ends.assign(least_other=ends["least_other"] * 0 + 0.9)
    assert judged("ch11.def.implicit-bias", other).verdict == "refuted"
    exact = ends.assign(projection_error=ends["projection_error"] * 0)
    assert judged("ch11.def.implicit-bias", exact).verdict == "supported"


def exercise(difference: float, condition: float = 300.0, **other: float) -> xr.Dataset:
    """Planted numbers of the exercise, the same for all variants but those named."""
    rng = np.random.default_rng(1)
    names = [variant.name for variant in VARIANTS]
    values = np.array([other.get(name.split(", ")[1], difference) for name in names])
    noise = np.exp(0.02 * rng.normal(size=(SEEDS, len(names))))
    return trials(
        exercise_difference=values * noise, exercise_matched=1e-6 * noise,
        exercise_condition=condition * noise, exercise_smallest=noise / condition,
        exercise_speed=0.1 * noise,
    )  # fmt: skip


def test_the_exercise_is_judged_whatever_it_leaves_open() -> None:
    # Breaks if a variant is left out, or the condition number's range has only one end.
    assert judged("ch11.C.20", exercise(1e-3)).verdict == "supported"
    assert judged("ch11.C.20", exercise(1.0, 30.0)).verdict == "conditional"
    assert (
        "Refuted: difference, standard, He" in judged("ch11.C.20", exercise(1e-3, He=1e6)).condition
    )
    assert "at most" in judged("ch11.C.20", exercise(1e-3, 5000.0)).condition.split("Refuted")[1]


def test_the_first_script_prints_what_its_text_computes() -> None:
    # Breaks if draws come in another order than the script's, or another kernel is taken.
    np.random.seed(42)  # noqa: NPY002
    x = np.random.randn(50, 100) / np.sqrt(100)  # noqa: NPY002
    y = np.random.randn(50)  # noqa: NPY002
    gram = (x @ x.T) / 100
    alpha = np.linalg.solve(gram + 0.01 * np.eye(50), y)
    w, b = np.random.randn(100, 10000) * np.sqrt(2 / 100), np.random.randn(10000)  # noqa: NPY002
    out = np.maximum(0, x @ w + b) @ (np.random.randn(10000) * 0.01)  # noqa: NPY002
    found = UntrainedNetwork()(None, 0, {})  # type: ignore[arg-type]
    assert_declared(UntrainedNetwork(), found)
    np.testing.assert_allclose(found["script_norm"], np.linalg.norm(alpha), rtol=1e-10)
    np.testing.assert_allclose(found["script_difference"], np.mean((out - gram @ alpha) ** 2))
    result = trials(**{name: np.full(3, value) for name, value in found.items()})
    assert judged("ch11.S.16", result).verdict == "refuted"
    published = result.assign(
        script_norm=result["script_norm"] * 0 + NORM,
        script_difference=result["script_difference"] * 0 + DIFFERENCE,
    )
    assert judged("ch11.S.16", published).verdict == "supported"
    assert (
        judged("ch11.S.16", result.assign_coords(seed=result["seed"] + 1)).verdict == "not-decided"
    )


def test_the_second_script_learns_as_its_text_does() -> None:
    # Breaks if an update is taken at other weights, or the mended product is another. Draws of numbers
    # that do not matter here are passed over.
    found = FrozenFeatures()(None, 0, {})  # type: ignore[arg-type]
    assert_declared(FrozenFeatures(), found)
    assert found["script_stops"] == 1
    draw = np.random.RandomState(42)
    x = draw.randn(200, 100) / 10
    y = (x[:, 0] > 0).astype(float) * 2 - 1
    x_test = draw.randn(100, 100) / 10
    y_test = (x_test[:, 0] > 0).astype(float) * 2 - 1
    for width in WIDTHS:
        draw.randn(100, width), draw.randn(width)
    w, v = draw.randn(100, 500) * np.sqrt(2.0 / 100), draw.randn(500) * 0.01
    for _ in range(EPOCHS[1] + 1):
        h = np.maximum(0, x @ w)
        slope = 2 * (h @ v - y) / 200
        v = v - 0.01 * h.T @ slope
        back = np.outer(slope, v)
        back[x @ w <= 0] = 0
        w = w - 0.001 * x.T @ back
    loss = np.mean((np.maximum(0, x_test @ w) @ v - y_test) ** 2)
    np.testing.assert_allclose(found["learned_test_loss"][1], loss, rtol=1e-9)
    rng = np.random.default_rng(2)
    result = trials(**{n: np.stack([v * np.exp(0.01 * rng.normal()) for _ in range(SEEDS)])
                       for n, v in found.items()})  # fmt: skip
    assert judged("ch11.S.20", result).verdict == "refuted"
    widths = xr.DataArray(np.array(WIDTHS), dims="frozen_difference_0")
    good = result.assign(
        frozen_difference=result["frozen_difference"] * 0 + result["script_stops"] / widths,
        frozen_test_loss=result["frozen_test_loss"] * 0.002,
        learned_test_loss=result["learned_test_loss"] * 0.002,
    )
    assert judged("ch11.S.20", good).verdict == "supported"


def test_the_table_of_scripts_puts_their_own_numbers_beside_what_is_published() -> None:
    # Breaks if the number shown as printed is another seed's than 0, or of another width or epoch.
    seeds = np.array([2.0, 1.0, 4.0])  # of geometric mean 2
    widths, epochs = np.array([1.0, 10.0, 100.0]), np.array([1.0, 2.0, 3.0, 5.0, 7.0])
    grid = seeds[:, None, None] * widths[:, None] * epochs
    result = trials(
        script_norm=seeds, script_difference=0.1 * seeds, script_own_kernel=0.01 * seeds,
        frozen_test_loss=grid, frozen_difference=1e-3 * grid,
        learned_test_loss=seeds[:, None] * epochs,
    )  # fmt: skip
    (table,) = tables(result.assign_coords(seed=("lane", [1, 0, 2])))
    shown = [(row[1], float(row[2]), row[3], float(row[5].split()[0])) for row in table.rows]
    assert {row[4] for row in table.rows} == {"3"}
    assert shown == [
        ("‖α‖", 1.0, "0.3421", 2.0),
        ("difference from the linear kernel", 0.1, "0.008234", 0.2),
        ("difference from the network's own kernel", 0.01, "n/a", 0.02),
        ("width 100: difference at epoch 75", 0.005, "0.001234", 0.01),
        ("width 500: difference at epoch 75", 0.05, "8.900 × 10⁻⁵", 0.1),
        ("width 1000: difference at epoch 75", 0.5, "8.000 × 10⁻⁶", 1.0),
        ("width 100: last test loss, frozen", 7.0, "0.009156", 14.0),
        ("width 500: last test loss, frozen", 70.0, "0.004123", 140.0),
        ("width 1000: last test loss, frozen", 700.0, "0.002145", 1400.0),
        ("last test loss, features trained", 7.0, "0.001989", 14.0),
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"widths": (64, 32, 128)}, "increasing"),
        ({"widths": (64, 128)}, "at least 3"),
        ({"step_fraction": 1.0}, "less than 1"),
        ({"updates": 5}, "updates is 5 and probes is 12; .*as many"),
        ({"arms": ("lazy",)}, "no 'lazy'"),
        ({"model": {"activation": "tanh"}}, "relu"),
        ({"model": {"bias_std": 0.5}}, "bias_std is 0.5 and bias is "),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any], told: str) -> None:
    # Breaks if a mistake shows only after a run.
    with pytest.raises(ValueError, match=told):
        NtkPredictionSettings.model_validate(changes)
