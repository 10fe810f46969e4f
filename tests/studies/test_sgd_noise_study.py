"""The study of SGD's noise: experiments against enumeration and quadrature, rules both ways, refusals."""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from implicit_bias import studies, theory
from implicit_bias.errors import UserError
from implicit_bias.results.claims import Finding, NotDecidable, evaluate, to_json
from implicit_bias.results.table import to_text
from implicit_bias.results.trials import Trial, add_trials
from implicit_bias.studies.sgd_noise import STUDY, TRIALS
from implicit_bias.studies.sgd_noise.chance import Sampled, reach, sampled, sampled_identity
from implicit_bias.studies.sgd_noise.corrupted import FITS, STEPS, Corrupted, train
from implicit_bias.studies.sgd_noise.endpoints import FORMULAS, fitted_penalty, formula_values
from implicit_bias.studies.sgd_noise.given import GivenData, check_given, prepared
from implicit_bias.studies.sgd_noise.rules_stationary import white_error
from implicit_bias.studies.sgd_noise.settings import SgdNoiseSettings
from implicit_bias.studies.sgd_noise.stationary import CASES, Case, set_up, simulate
from implicit_bias.studies.sgd_noise.wells import WELLS, Ground, wells_law

SMALL: dict[str, Any] = {
    "seeds": 3, "stationary": {"chains": 100, "lengths": 1.0}, "moments": {"dimension": 3},
    "wells": {"chains": 100, "updates": 1000}, "endpoints": {"runs": 400, "updates": 8},
    "labels": {"runs": 200, "updates": 50},
    "corrupted": {"examples": 20, "inputs": 10, "epochs": 8, "width": 4, "tests": 50, "draws": 1},
    "given": {"features": 2, "chains": 100, "lengths": 1.0, "batches": 500, "batch": 4},
}  # fmt: skip
SETTINGS = SgdNoiseSettings.model_validate(SMALL)


def data() -> Any:
    """Images of two pixels more than components, and classes."""
    rng = np.random.default_rng(1)
    return SimpleNamespace(
        name="made", x_train=rng.standard_normal((30, 4)), y_train=np.arange(30) % 3, n_train=30,
        input_shape=(4,),
    )  # fmt: skip


@functools.cache
def drawn() -> xr.Dataset:
    """What the experiments of three seeds leave, as a run stores it."""
    rows = []
    for stage in TRIALS:
        experiment = stage.experiment(SETTINGS, data())
        for seed in range(3):
            values = {
                name: np.asarray(value) for name, value in experiment(data(), seed, {}).items()
            }
            assert set(values) == set(experiment.variables)
            values["diverged"] = np.asarray(False)
            rows.append(Trial(seed, stage.name, f"{seed}", values, experiment))
    variables: dict[str, Any] = {"diverged": ("lane", np.zeros(0, bool))}
    coords: dict[str, Any] = {
        name: ("lane", np.zeros(0, kind))
        for name, kind in (("lane_id", object), ("seed", int), ("stage", object), ("arm", object))
    }
    add_trials(variables, coords, {}, 0, rows)
    return xr.Dataset(variables, coords)


def planted(values: xr.DataArray, wanted: Any) -> xr.DataArray:
    """Put numbers where there were some, with differences between seeds of a part in a million."""
    jitter = 1 + 1e-6 * np.random.default_rng(0).standard_normal(values.shape)
    return (values * 0 + wanted) * jitter


def found(**plants: Any) -> dict[str, Finding]:
    """Judge, with variables replaced: by a number, or by a function of what is there."""
    result = drawn().copy()
    for name, value in plants.items():
        old = result[name].copy(deep=True)
        result[name] = value(old) if callable(value) else planted(old, value)
    return {one.id: one for one in evaluate(STUDY.claims, result)}


def by(dim: str, wanted: dict[Any, float], rest: float) -> Any:
    """Plant a number for each label of a dimension."""

    def plant(values: xr.DataArray) -> xr.DataArray:
        made = xr.DataArray(
            [wanted.get(label, rest) for label in drawn()[dim].values.tolist()], dims=dim
        )
        return planted(values, made).transpose(*values.dims)

    return plant


def eye(scale: float) -> Any:
    """Plant covariances that are their law's, up to a factor."""
    one = xr.DataArray(np.eye(4), dims=("row", "column"))
    return lambda values: (planted(values, 0) + scale * one).transpose(*values.dims)


def like(coordinate: str, power: int) -> Any:
    """Plant a power of a coordinate."""
    return lambda values: planted(values, drawn()[coordinate] ** power).transpose(*values.dims)


def orders(*powers: int) -> Any:
    """Plant errors of equations that fall with powers of the step size."""
    steps = 1 / drawn()["moment_updates"]
    names = drawn()["equation"].values
    each = xr.concat([steps**power for power in powers], xr.IndexVariable("equation", names))
    return lambda values: planted(values, each).transpose(*values.dims)


def arms(one: Finding) -> dict[str, str]:
    return {name: arm["verdict"] for name, arm in one.details["arms"].items()}


@pytest.mark.parametrize("name", ["C not commuting, large steps", "three examples, not replaced"])
def test_simulations_come_to_their_law_and_a_wrong_law_shows(name: str) -> None:
    # Whole simulations against the law at 2 % in the norm it makes. Breaks if updates or averages are wrong:
    # the same with a tenth more noise is further off than that.
    setup = set_up(CASES[name])
    seen = simulate(setup, np.random.default_rng(3), 4000, 40.0)
    values, vectors = np.linalg.eigh(setup.law)
    whiten = (vectors / np.sqrt(values)) @ vectors.T
    for scale, right in ((1.0, True), (1.1, False)):
        away = np.linalg.norm(whiten @ seen @ whiten / scale - np.eye(4)) / 2
        assert (away < 0.02) == right, away


@pytest.mark.parametrize("kind", ["identity", "other", "replaced", "unreplaced", "labels"])
def test_an_update_is_that_of_sgd(kind: str) -> None:
    # Mean and covariance of one update from one point, against least squares' batches or the noise asked for.
    setup = set_up(Case(kind, 2, 0.4))
    away = np.tile([0.3, -0.2, 0.1, 0.4], (40_000, 1))
    moved = setup.advance(np.random.default_rng(0), away)
    expected = away[0] * (1 - setup.step * setup.curvatures)
    spread = np.sqrt(np.trace(np.cov(moved.T)) / len(away))
    assert np.linalg.norm(moved.mean(axis=0) - expected) < 5 * spread
    begun = setup.advance(np.random.default_rng(1), 0 * away)
    np.testing.assert_allclose(
        np.cov(begun.T), setup.step**2 * setup.noise, atol=0.03 * setup.step**2 * np.trace(setup.noise)
    )  # fmt: skip


def test_shares_of_wells_are_an_integrals() -> None:
    # Twice as wide is twice as long at equal depths; deeper by the quadrature of exp(−L/temperature).
    assert wells_law(WELLS["equal depths"], 0.02) == pytest.approx(2 / 3, abs=1e-4)
    x = np.linspace(0, 20, 40_001)
    flat = np.trapezoid(np.exp(-(((x / 2 - 1) ** 2) - 1) / 0.6), x)
    deep = np.trapezoid(np.exp(-1.9 * ((x - 1) ** 2 - 1) / 0.6), x)
    assert wells_law(Ground(1.5, 1.0), 0.02) == pytest.approx(flat / (flat + deep), abs=1e-3)
    # Twice the noise in the sharp well: p·c continuous, so the share falls by more than the temperature's.
    sharp = np.trapezoid(np.exp(-((x - 1) ** 2 - 1) / 1.2), x) / 2
    assert wells_law(Ground(0.0, 2.0), 0.02) == pytest.approx(flat / (flat + sharp), abs=1e-3)


def test_penalties_are_found_again() -> None:
    # A ridge solution's own penalty. Breaks if λ is over m, or the search is too coarse.
    curvatures, way = np.asarray([0.2, 1.0, 3.0]), np.asarray([1.0, -2.0, 0.5])
    for penalty in (0.01, 0.7, 40.0):
        moved = curvatures / (curvatures + penalty) * way
        assert fitted_penalty(curvatures, way, moved) == pytest.approx(penalty, rel=1e-4)
    values = formula_values(0.5, 0.1, 20, 4)
    assert list(values) == list(FORMULAS)
    assert values["B.15"] == pytest.approx(0.25)
    assert values["definition"] == pytest.approx(0.00125)
    assert values["noise-induced"] == pytest.approx(2.5)
    assert values["early stopping"] == pytest.approx(0.5)


@pytest.mark.parametrize("fit", FITS)
def test_training_is_descent_on_its_loss(fit: str) -> None:
    # One full batch against finite differences of the loss, by the change of outputs. Breaks if a gradient's
    # factor, a sign or the order is wrong.
    rng = np.random.default_rng(2)
    x, start = rng.standard_normal((10, 3)), rng.standard_normal((4, 2))
    y = np.sign(rng.standard_normal(10))
    step = STEPS[fit]
    found_outputs, base = train(fit, x, y[None], np.arange(10)[None], x, start)
    np.testing.assert_allclose(found_outputs[0, 0], base[0])
    w = np.zeros(3)
    network = fit.startswith("network")
    if network:
        w = np.concatenate([(start[:3] / np.sqrt(3)).ravel(), start[3] / np.sqrt(2)])
    begun = w

    def outputs(w: np.ndarray) -> np.ndarray:
        if not network:
            return np.asarray(x @ w)
        return np.asarray(np.tanh(x @ w[:6].reshape(3, 2)) @ w[6:])

    def loss(w: np.ndarray) -> float:
        f = outputs(w) - (outputs(begun) if network else 0)
        each = np.log1p(np.exp(-y * f)) if fit == "logistic" else (f - y) ** 2 / 2
        return float(np.mean(each))

    pushes = 1e-6 * np.eye(len(w))
    slope = np.asarray([(loss(w + push) - loss(w - push)) / 2e-6 for push in pushes])
    expected = outputs(w - step * slope) - outputs(begun)
    np.testing.assert_allclose(found_outputs[0, 0], expected, atol=1e-8)


def test_linear_effects_are_linear_and_the_networks_are_not() -> None:
    # Breaks if labels change anything but what they are in least squares.
    seen = Corrupted(20, 8, 0.2, 10, 4, 50, 1).of_seed(3)
    apart = dict(zip(FITS, seen["counts_apart"], strict=True))
    assert apart["least squares"] < 1e-13
    assert apart["network"] > 1e-5
    assert np.all(seen["stop_epoch"] >= 1)


def test_components_of_data_are_those_of_its_covariance() -> None:
    x, y = prepared(data().x_train, data().y_train, np.arange(20), 2)
    values = np.linalg.eigvalsh(np.cov(data().x_train[:20].T))
    np.testing.assert_allclose(
        np.linalg.eigvalsh(x.T @ x)[0] / np.linalg.eigvalsh(x.T @ x)[1], values[-2] / values[-1]
    )
    assert np.mean(np.sum(x**2, axis=1)) == pytest.approx(1)
    assert abs(y.mean()) < 1e-12
    assert len(np.unique(y)) == 2
    # Fits into what the law allows: all steps below 2/max‖x‖² are stable.
    assert (
        theory.least_squares_noise(x, y, 0.99 * theory.safe_batch_step(x), 1, True).contraction < 1
    )


def test_what_exact_parts_say_and_that_findings_are_json() -> None:
    # A tiny run: only what does not depend on how much is simulated.
    one = found()
    left = {name for name, finding in one.items() if finding.verdict == "not-decided"}
    assert left <= {
        "ch11.B.8.lyapunov", "ch11.thm-1.5.density", "ch11.def.noise-reg.label-noise",
        "ch11.def.noise-reg.variance", "ch11.def.noise-reg.data",
    }  # fmt: skip
    assert one["dhand.prop-8.3.linear"].verdict == "supported"
    assert one["ch11.B.15.mean"].verdict == "supported"
    made = one["ch11.def.implicit-reg.modified-loss"].details["arms"]
    assert max(order["effect"] for order in made.values()) < 0.1
    assert one["ch11.def.implicit-reg.formulas"].verdict == "refuted"
    assert arms(one["ch11.def.noise-reg"]) == {
        "labels drawn afresh": "refuted", "shuffled batches": "refuted",
    }  # fmt: skip
    json.dumps(to_json(list(one.values()), STUDY.claims), allow_nan=False)


def test_rules_on_covariances_both_ways() -> None:
    # Breaks if a criterion cannot fail, or reads another variable.
    good = found(white=eye(1.0))
    assert good["ch11.B.8.lyapunov"].verdict == "supported"
    assert found(white=eye(1.03))["ch11.B.8.lyapunov"].verdict == "refuted"
    result = drawn().copy()
    result["white"] = eye(1.03)(result["white"])
    assert white_error(result, "C = I")[0] == pytest.approx(0.03)
    assert found(written_error=0.01, moment_covariance=0.01)["dhand.sde-8.1"].verdict == "supported"
    assert found(written_error=0.5, moment_covariance=0.5)["dhand.sde-8.1"].verdict == "refuted"
    first, second = orders(1, 1, 2), orders(1, 1, 1)
    root = "dhand.sde-8.1.root"
    right = found(root_error=0.01, moment_covariance=0.01, moment_mean=first)
    assert right[root].verdict == "supported"
    wrong = found(root_error=0.5, moment_covariance=0.5, moment_mean=second)
    assert wrong[root].verdict == "conditional"
    assert arms(wrong[root])["order 2 in η of the mean"] == "refuted"
    split = found(gibbs_error=by("noise_case", {"C = I": 0.02}, 0.9))["dhand.thm-8.1"]
    assert split.verdict == "conditional"
    assert split.condition.startswith("supported: C = I. ")
    assert found(gibbs_error=0.01)["dhand.thm-8.1"].verdict == "supported"
    inverse = by("noise_case", {"C = I": -0.97}, 0.02)
    theorem = found(variance_exponent=inverse, given_exponent=0.05)["ch11.thm-1.5"]
    assert theorem.verdict == "conditional"
    assert found(variance_exponent=-1.0, given_exponent=-1.0)["ch11.thm-1.5"].verdict == "supported"
    assert found(variance_exponent=1.0, given_exponent=1.0)["ch11.thm-1.5"].verdict == "refuted"
    assert found(solution_ratio=1.0, validation_ratio=1.02)["ch11.B.8"].verdict == "supported"
    assert found(solution_ratio=8.0, validation_ratio=2.0)["ch11.B.8"].verdict == "refuted"


def test_two_seeds_refute_nothing_by_chance() -> None:
    # An exact identity of two seeds whose spread is four times the tolerance: the mean is beyond it in most
    # draws. Breaks if that is a verdict, if one far beyond chance is none, or if the seeds named do not do.
    rng = np.random.default_rng(0)
    for _ in range(20):
        noisy = sampled(0.08 * rng.standard_normal((2, 3)))
        with pytest.raises(NotDecidable, match="seeds would do"):
            sampled_identity(noisy, 0.02, reason="")
    with pytest.raises(NotDecidable, match="run at least 2"):
        sampled_identity(sampled(np.zeros((1, 3))), 0.02, reason="")
    far = sampled(5 + 0.001 * rng.standard_normal((2, 3)))
    assert sampled_identity(far, 0.02, reason="").verdict == "refuted"
    part = Sampled(0.0, 0.1, 2)
    # Student's t, two-sided, of 7 degrees of freedom at 0.05: 2.3646.
    assert reach(part, 8, 1) == pytest.approx(0.1 * np.sqrt(2 / 8) * 2.3646, rel=1e-4)
    with pytest.raises(NotDecidable) as caught:
        sampled_identity([part], 0.02, reason="")
    wanted = int(str(caught.value).split("about ")[1].split()[0])
    assert reach(part, wanted, 1) <= 0.02 < reach(part, wanted - 1, 1)


def test_exact_identities_are_rarely_refuted() -> None:
    # Breaks if the factor is too small: of a thousand exact ones chance refutes 5 % at most, by its level.
    rng = np.random.default_rng(1)
    refuted = 0
    for _ in range(1000):
        try:
            one = sampled_identity(sampled(0.02 * rng.standard_normal((4, 5))), 0.05, reason="")
        except NotDecidable:
            continue
        refuted += one.verdict == "refuted"
    assert refuted <= 50


def test_rules_on_a_line_both_ways() -> None:
    # Breaks if the flat well is taken for the sharp one, or the ring's noisy half for the quiet one.
    share = {"equal depths": 0.67, "sharp well noisier": 0.85, "sharp well deeper": 0.37,
             "sharp well quieter": 0.33, "flat ring": 0.2}  # fmt: skip
    seen = found(mass=by("ground", share, 0.5), mass_law=by("ground", share, 0.5))
    assert seen["ch11.thm-1.5.basins"].verdict == "conditional"
    assert seen["ch11.thm-1.5.density"].verdict == "supported"
    assert seen["dhand.thm-8.1.low-variance"].verdict == "supported"
    other = {**share, "sharp well quieter": 0.8, "sharp well noisier": 0.5, "flat ring": 0.8}
    seen = found(mass=by("ground", other, 0.5))
    assert seen["dhand.thm-8.1.low-variance"].verdict == "refuted"
    assert seen["ch11.thm-1.5.density"].verdict == "refuted"
    assert found(mass=0.9)["ch11.thm-1.5.basins"].verdict == "supported"


def test_rules_on_penalties_both_ways() -> None:
    # Penalties that are as the formulas have them, and as early stopping has them.
    noise = {"σ² = 1/4": 0.25, "σ² = 4": 4.0, "batches of 1": 4.0, "batches of 4": 1.0}
    stated = found(end_penalty=by("ending", noise, 1.0))
    assert stated["ch11.B.15"].verdict == "supported"
    assert stated["ch11.def.implicit-reg"].verdict == "conditional"
    whole = by("ending", {**noise, "σ² = 0": 1e-6, "α/2": 0.5, "2α": 2.0}, 1.0)
    assert found(end_penalty=whole)["ch11.def.implicit-reg"].verdict == "supported"
    halved = by("ending", {"α/2": 2.0, "2α": 0.5}, 1.0)
    flat = found(end_penalty=halved, end_step=0.1, end_updates=10.0)
    assert flat["ch11.B.15"].verdict == "refuted"
    assert flat["ch11.def.implicit-reg"].verdict == "refuted"
    assert found(end_apart=lambda v: v + 0.5)["ch11.B.15.mean"].verdict == "refuted"
    assert found(end_formula=2.0)["ch11.def.implicit-reg.formulas"].verdict == "supported"
    stated = found(drift=like("label_step", -1), epoch_strength=like("epoch_fraction", -1))
    assert stated["ch11.def.noise-reg"].verdict == "supported"
    assert found(drift=lambda v: 1.0 * drawn()["drift_law"])[
        "ch11.def.noise-reg.label-noise"
    ].verdict == "supported"  # fmt: skip
    assert found(drift=lambda v: 1.1 * drawn()["drift_law"])[
        "ch11.def.noise-reg.label-noise"
    ].verdict == "refuted"  # fmt: skip
    wrong = found(epoch_apart=like("epoch_fraction", 2))
    assert wrong["ch11.def.implicit-reg.modified-loss"].verdict != "supported"


@pytest.mark.parametrize(
    ("claim", "name", "law"),
    [
        ("ch11.def.noise-reg.variance", "given_noise", "given_noise_law"),
        ("ch11.def.noise-reg.data", "given_variance", "given_variance_law"),
    ],
)
def test_rules_on_the_data_both_ways(claim: str, name: str, law: str) -> None:
    # Breaks if three per cent pass: the finite population's factor of a batch of 8 of 100 is seven.
    for factor, verdict in ((1.0, "supported"), (1.03, "refuted")):
        plant = {name: lambda v, factor=factor: factor * drawn()[law]}
        assert found(**plant)[claim].verdict == verdict


def test_rules_on_wrong_labels_both_ways() -> None:
    # Breaks if it is right labels that are asked for, or the stopped error that must be larger.
    assert found(counts_corrupted=0.5, counts_clean=1.0)["dhand.prop-8.3"].verdict == "supported"
    assert found(counts_corrupted=1.0, counts_clean=1.0)["dhand.prop-8.3"].verdict == "refuted"
    assert found(counts_apart=1e-3)["dhand.prop-8.3.linear"].verdict == "refuted"
    assert found(error_end=30.0, error_stopped=20.0)["dhand.prop-8.3.robust"].verdict == "supported"
    assert found(error_end=20.0, error_stopped=20.0)["dhand.prop-8.3.robust"].verdict == "refuted"


def test_tables_and_figures_hold_what_was_run() -> None:
    # Breaks if a label is misspelt: every label of every dimension is asked for.
    text = "\n".join(to_text(table) for table in STUDY.tables(drawn()))
    for name in (*CASES, *WELLS, *FITS, *FORMULAS):
        assert name in text
    for drawing in STUDY.drawings:
        assert drawing.when(drawn())
        assert drawing.draw(drawn()).axes
    nothing = drawn().isel(lane=drawn()["arm"].values == "moments")
    assert len(STUDY.tables(nothing)) == 1
    assert [drawing.name for drawing in STUDY.drawings if drawing.when(nothing)] == ["moments"]
    assert {one.verdict for one in evaluate(STUDY.claims, nothing)} == {"not-decided"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"endpoints": {"inputs": 40}}, "choose fewer inputs than examples"),
        ({"epochs": {"inputs": 13}}, "at most four times as many inputs"),
        ({"corrupted": {"examples": 25}}, "choose a multiple of 10"),
        ({"corrupted": {"examples": 20, "flipped": 0.05}}, "fewer than two are wrong"),
        ({"corrupted": {"flipped": 0.5}}, "less than 0.5"),
        ({"given": {"fraction": 1.0}}, "less than 1"),
        ({"wells": {"step_size": 0.5}}, "less than or equal to 0.1"),
        ({"dtype": "float32"}, "choose float64"),
    ],
)
def test_settings_that_ask_nothing_are_refused(given: dict[str, Any], says: str) -> None:
    # Breaks if an unstable step, or a problem without an answer, is run.
    with pytest.raises((ValidationError, ValueError)) as caught:
        SgdNoiseSettings.model_validate(given)
    assert says in str(caught.value)


def test_data_that_cannot_be_measured_are_refused() -> None:
    # Breaks if a batch of all examples, or more components than there are, is run.
    with pytest.raises(UserError, match="at most 4 principal components"):
        check_given(data(), 30, 5, 8)
    with pytest.raises(UserError, match="choose fewer than that"):
        check_given(data(), 30, 2, 30)
    chosen = TRIALS[-1].experiment(SETTINGS, data())
    assert isinstance(chosen, GivenData)
    assert chosen.examples == 30


def test_it_is_found_by_its_name() -> None:
    # Breaks if the command does not know it.
    assert studies.get("sgd-noise").title == STUDY.title
