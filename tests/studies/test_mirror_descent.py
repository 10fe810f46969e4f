"""The mirror-descent study: its runs against NumPy, its rules on planted results, and what it refuses."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from implicit_bias import studies, theory
from implicit_bias.results.claims import Finding, evaluate, to_json
from implicit_bias.results.table import to_text
from implicit_bias.results.trials import Trial, add_trials
from implicit_bias.studies.mirror_descent import STUDY, TRIALS
from implicit_bias.studies.mirror_descent.coordinates import DESIGNS, METHODS, Coordinates, _at
from implicit_bias.studies.mirror_descent.descend import descend
from implicit_bias.studies.mirror_descent.exercise import SOLVERS, TRUTHS
from implicit_bias.studies.mirror_descent.limits import POWERS, STARTS, drawn_problem
from implicit_bias.studies.mirror_descent.rules import weakest_part
from implicit_bias.studies.mirror_descent.script import PRINTED
from implicit_bias.studies.mirror_descent.settings import MirrorSettings

SETTINGS = MirrorSettings.model_validate(
    {
        "seeds": 3,
        "limits": {"examples": 4, "features": 12, "updates": 20_000, "every": 1000},
        "coordinates": {
            "examples": 12, "features": 24, "draws": 2, "epsilons": [0.02, 0.01], "updates": 3000,
        },
        "exercise": {"draws": 1, "updates": 8000},
    }
)  # fmt: skip


@functools.cache
def drawn() -> xr.Dataset:
    """What the experiments of three seeds leave, as a run stores it."""
    import jax

    rows = []
    with jax.enable_x64(True):
        for stage in TRIALS:
            experiment = stage.experiment(SETTINGS, None)  # type: ignore[arg-type]
            for seed in range(3):
                values = dict(experiment(None, seed, {}))  # type: ignore[arg-type]
                assert set(values) == set(experiment.variables)
                values = {name: np.asarray(value) for name, value in values.items()}
                values["diverged"] = np.asarray(False)
                rows.append(Trial(seed, stage.name, f"{seed}", values, experiment))
    variables: dict[str, Any] = {"diverged": ("lane", np.zeros(0, bool))}
    coords: dict[str, Any] = {
        name: ("lane", np.zeros(0, kind))
        for name, kind in (("lane_id", object), ("seed", int), ("stage", object), ("arm", object))
    }
    add_trials(variables, coords, {}, 0, rows)
    return xr.Dataset(variables, coords)


def found(**planted: Any) -> dict[str, Finding]:
    """Judge, with variables replaced: by a number, or by a function of what is there."""
    result = drawn().copy()
    for name, value in planted.items():
        result[name] = (
            value(result[name].copy(deep=True)) if callable(value) else result[name] * 0 + value
        )
    return {one.id: one for one in evaluate(STUDY.claims, result)}


def arms(one: Finding) -> dict[str, str]:
    return {name: arm["verdict"] for name, arm in one.details["arms"].items()}


def of(name: str, arm: str, **at: Any) -> np.ndarray:
    rows = drawn().isel(lane=drawn()["arm"].values == arm)
    return np.asarray(rows[name].sel(**at).values)


def test_descent_is_the_textbooks() -> None:
    # Breaks if the experiment's problem, start or step is not what it says: exponentiated gradient from 1,
    # written out, ends where the run of that start did, and p = 2 at the pseudo-inverse.
    problem = drawn_problem(1, 4, 12)
    x, y = problem.x[:-1], problem.y[:-1]
    w = np.ones(12)
    for _ in range(40_000):
        w = w * np.exp(-0.05 * x.T @ (x @ w - y))
    expected = theory.bregman_projection(x, y, 1.0, theory.entropy_potential()).weights
    np.testing.assert_allclose(w, expected, atol=1e-8)
    row = of("start_l1", "limits", start="orthant from 1")[1]
    least = theory.least_l1(x, y, nonnegative=True).norm
    assert row == pytest.approx(w.sum() / least, rel=1e-6)
    flat = np.linalg.pinv(x) @ y
    assert of("power_linf", "limits", power=2.0)[1] == pytest.approx(
        np.abs(flat).max() / theory.least_linf(x, y)[1], rel=1e-6
    )
    assert (of("power_l1", "limits", power=POWERS[0]) >= 1 - 1e-9).all()


def test_coordinate_descent_is_the_textbooks() -> None:
    # Breaks if a method is another one: Gauss–Seidel and matching pursuit on one data set, written out.
    x, y = Coordinates(12, 24, 1, (0.02, 0.01), 0.1, 1e-4, 3000).drawn(
        np.random.default_rng(3), "dense"
    )
    import jax

    for name in ("cyclic_coordinate", "greedy_coordinate"):
        w = np.zeros(24)
        for number in range(60):
            g = x.T @ (x @ w - y)
            j = number % 24 if name.startswith("cyclic") else int(np.argmax(np.abs(g)))
            w[j] -= g[j]
        with jax.enable_x64(True):
            run = descend(
                name, x[None], y[None], np.zeros((1, 24)), {"step_size": 1.0}, blocks=1, every=60
            )
        np.testing.assert_allclose(run.weights[0], w, atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(x, axis=0), 1)
    assert theory.least_l1(x, y).norm == pytest.approx(1)


def test_paths_are_met_at_equal_norms() -> None:
    # Breaks if a path is read before or after it has the norm.
    path = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, -0.5], [0.4, -0.5], [0.6, -0.6]])
    np.testing.assert_allclose(_at(path, np.array([0.25, 0.75])), [[0.25, 0], [0.5, -0.25]])


def test_what_the_data_say() -> None:
    # Breaks if an exact law fails, or a rule reads the wrong variable: a tiny run, so only what is exact.
    one = found()
    assert one["dhand.mirror.projection"].verdict == "supported", one["dhand.mirror.projection"]
    mirror = arms(one["dhand.mirror"])
    assert one["dhand.mirror"].verdict == "conditional"
    right = {
        "simplex from equal weights",
        "orthant from 1/e",
        "known sum from 1",
        "known sum from 1e-4",
    }
    for name, verdict in mirror.items():
        assert (verdict == "supported") == (name in right), name
    assert one["ch11.S.11"].verdict == "refuted"
    assert of("script_sum", "script").max() < 1e-12
    assert of("script_apart", "script", script_run="two-sided").max() < 1e-6
    assert one["ch11.C.15"].verdict != "supported"
    norms = of("method_norm", "coordinates", norm="2-norm", algorithm="gradient")
    np.testing.assert_allclose(norms, 1, atol=1e-3)
    ended = of("method_residual", "coordinates") < 1e-3
    assert of("method_norm", "coordinates")[ended].min() > 0.99
    json.dumps(to_json(list(one.values()), STUDY.claims), allow_nan=False)


def test_the_script_is_the_printed_one() -> None:
    # Breaks if its drawing order or its update is another: repeated here in its own words.
    draw = np.random.RandomState(42)
    x = draw.randn(80, 30) / np.sqrt(30)
    y = x @ (draw.randn(30) * 0.1) + 0.05 * draw.randn(80)
    w = np.ones(30) / 30
    for _ in range(5000):
        w *= np.exp(-0.1 * (x.T @ (x @ w - y)) / 2.0)
        w /= np.sum(w)
    assert of("script_l2", "script", script_run="normalised")[0] == pytest.approx(np.linalg.norm(w))
    # What is said to be printed is impossible: a 1-norm above √30 times the 2-norm.
    assert PRINTED["l1"][0] > np.sqrt(30) * PRINTED["l2"][0]


def test_mirror_rules_both_ways() -> None:
    # Breaks if a criterion cannot fail, or runs that have not ended decide.
    assert found(start_entropy_distance=1e-5)["dhand.mirror"].verdict == "supported"
    assert found(start_entropy_distance=0.5)["dhand.mirror"].verdict == "refuted"
    assert found(power_distance=1e-3)["dhand.mirror.projection"].verdict == "refuted"
    open_runs = found(power_distance=1e-3, power_residual=1e-2)["dhand.mirror.projection"]
    assert open_runs.verdict == "supported"
    assert f"{3 * len(POWERS)} more were not at their end" in open_runs.reason
    none = found(start_residual=1.0, power_residual=1.0, descended_residual=1.0)
    assert none["dhand.mirror.projection"].verdict == "not-decided"
    assert (
        found(scale_exponent=lambda v: v * 0 + drawn()["least_cost"], scale_excess=1e-9)[
            "dhand.mirror.small-start"
        ].verdict
        == "supported"
    )
    twice = found(scale_exponent=lambda v: v * 0 + 2 * drawn()["least_cost"], scale_excess=0.1)
    assert twice["dhand.mirror.small-start"].verdict == "refuted"


def alternating(fall: xr.DataArray) -> xr.DataArray:
    """Let the first design's paths be monotone and no others."""
    return fall.where(
        fall.isnull(), np.where(np.arange(len(DESIGNS)) == 0, 0.0, 0.2)[None, :, None]
    )


def test_coordinate_rules_both_ways() -> None:
    # Breaks if the condition is not looked at, or the wrong side of it.
    def norms(monotone: float, other: float) -> Any:
        def plant(values: xr.DataArray) -> xr.DataArray:
            first = (np.arange(len(DESIGNS)) == 0)[None, :, None, None, None]
            return values.where(values.isnull(), np.where(first, monotone, other))

        return plant

    split = found(path_fall=alternating, method_norm=norms(1.0, 1.2))["dhand.coord"]
    assert split.verdict == "conditional"
    assert {name.endswith("not") for name, said in arms(split).items() if said == "refuted"} == {
        True
    }
    same = found(path_fall=alternating, method_norm=norms(1.0, 1.0))["dhand.coord"]
    assert same.verdict == "supported"
    assert (
        found(path_fall=alternating, method_norm=norms(2.0, 2.0))["dhand.coord"].verdict
        == "refuted"
    )
    assert found(path_fall=0.3)["dhand.coord"].verdict == "not-decided"

    def distances(exponent: float) -> Any:
        epsilon = np.asarray(drawn()["epsilon"].values)
        return lambda values: values * 0 + epsilon**exponent

    follows = found(path_fall=alternating, path_distance=distances(1.0))["dhand.coord.path"]
    assert arms(follows)["exponent in ε of the distance where monotone"] == "supported"
    stays = found(path_fall=alternating, path_distance=distances(0.2))["dhand.coord.path"]
    assert arms(stays)["exponent in ε of the distance where monotone"] == "refuted"
    assert arms(stays)["distance at the smallest ε where not monotone"] == "supported"


def test_sparser_at_the_same_loss_needs_all_of_it() -> None:
    # Breaks if one part makes up for another: two weights fewer, a norm 1/1.21, a loss 1.1 times as large.
    def score(fewer: float, ratio: float, loss: float) -> float:
        one = np.ones(1)
        return float(weakest_part(one * fewer, one * ratio, one, one, one * loss)[0])

    assert score(2, 1.1**2, 1.1) == pytest.approx(1, abs=1e-6)
    assert score(2, 1.1**2, 1.0) == pytest.approx(2, abs=1e-6)
    assert score(0, 9, 1) == 0
    assert score(9, 1, 1) == 0
    assert score(9, 9, 100) == -5

    def planted(solvers: dict[str, float]) -> Any:
        wanted = [solvers.get(name, 1.0) for name in SOLVERS]
        return lambda values: values * 0 + np.asarray(wanted)[None, None, :, None]

    sparser = {name: 0.5 for name in SOLVERS if name != "projected"}
    one = found(
        exercise_l1=planted(sparser),
        exercise_loss=planted({}),
        exercise_count=planted({"projected": 8.0}),
    )
    assert one["ch11.C.15"].verdict == "supported"
    assert one["ch11.C.15.few-examples"].verdict == "supported"
    costly = found(
        exercise_l1=planted(sparser), exercise_loss=planted(dict.fromkeys(sparser, 3.0)),
        exercise_count=planted({"projected": 8.0}),
    )  # fmt: skip
    assert costly["ch11.C.15"].verdict == "refuted"
    assert found(exercise_distance=1e-2)["ch11.C.15.same-limit"].verdict == "refuted"
    assert found(exercise_distance=1e-5)["ch11.C.15.same-limit"].verdict == "supported"
    assert (
        found(script_l1=lambda v: v * 0 + np.asarray([5.0, 3.0, 3.0, 3.0]), script_loss=1e-3)[
            "ch11.S.11"
        ].verdict
        == "supported"
    )


def test_tables_and_figures_hold_what_was_run() -> None:
    # Breaks if a label is misspelt somewhere: every label of every dimension is asked for.
    text = "\n".join(to_text(table) for table in STUDY.tables(drawn()))
    for name in (*STARTS, *METHODS, *DESIGNS, *TRUTHS, *SOLVERS):
        assert name in text
    for drawing in STUDY.drawings:
        assert drawing.when(drawn())
        assert drawing.draw(drawn()).axes
    nothing = drawn().isel(lane=drawn()["arm"].values == "script")
    assert len(STUDY.tables(nothing)) == 1
    assert not any(drawing.when(nothing) for drawing in STUDY.drawings)
    assert {one.verdict for one in evaluate(STUDY.claims, nothing)} == {"not-decided", "refuted"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"limits": {"examples": 10, "features": 11}}, "choose at least 12 features"),
        ({"coordinates": {"examples": 30, "features": 30}}, "choose more features than examples"),
        ({"coordinates": {"epsilons": [1e-3, 1e-2]}}, "from the largest to the smallest"),
        ({"coordinates": {"epsilons": [1e-2, 0.0]}}, "greater than or equal to 0.00001"),
        ({"coordinates": {"small": 1.0}}, "less than 1"),
        ({"exercise": {"draws": 0}}, "greater than or equal to 1"),
    ],
)
def test_settings_that_ask_nothing_are_refused(given: dict[str, Any], says: str) -> None:
    # Breaks if a problem with one solution, or a step size of zero, is run.
    with pytest.raises((ValidationError, ValueError)) as caught:
        MirrorSettings.model_validate(given)
    assert says in str(caught.value)


def test_it_is_found_by_its_name() -> None:
    # Breaks if the command does not know it.
    assert studies.get("mirror-descent").title == STUDY.title
