"""The minimum-norm study: experiments against other routes, one run of it, rules on planted results."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError
from scipy import optimize
from sklearn.linear_model import Ridge

from implicit_bias import theory
from implicit_bias.data import Dataset, synthetic
from implicit_bias.errors import UserError
from implicit_bias.keys import ROLES, role_key
from implicit_bias.results.claims import Finding, evaluate, to_json
from implicit_bias.studies import runner
from implicit_bias.studies.minimum_norm import STUDY
from implicit_bias.studies.minimum_norm.arms import TRIALS, images, worked
from implicit_bias.studies.minimum_norm.batches import Batches
from implicit_bias.studies.minimum_norm.claims import CLAIMS
from implicit_bias.studies.minimum_norm.definitions import example_solution
from implicit_bias.studies.minimum_norm.diagonal import DiagonalNetwork
from implicit_bias.studies.minimum_norm.flows import ellipse_end, ellipse_nearest
from implicit_bias.studies.minimum_norm.judging import seen
from implicit_bias.studies.minimum_norm.presentation import DRAWINGS
from implicit_bias.studies.minimum_norm.risks import Risks
from implicit_bias.studies.minimum_norm.settings import MinimumNormSettings
from implicit_bias.studies.minimum_norm.shifts import shortest_l1
from implicit_bias.studies.minimum_norm.tables import tables
from implicit_bias.studies.minimum_norm.worked import worked_problem
from implicit_bias.training import Pool

NOTHING = Pool(np.zeros((1, 2)), None, None, None)

SMALL: dict[str, Any] = {
    "seeds": 3, "data": {"n_test": 10},
    "descents": {"examples": 4, "inputs": 12}, "experiment_1": {"examples": 5, "inputs": 100, "draws": 2},
    "validation": {"examples": 6, "inputs": 24, "sparse": 3, "updates": 1000},
    "risks": {"examples": 10, "inputs": [20, 60], "draws": 20, "fresh": 50},
    "gaps": {"examples": 6, "draws": 10, "tests": 20},
    "shifts": {"examples": 12, "inputs": 24, "sparse": 2, "draws": 2},
    "batches": {"examples": 4, "inputs": 40, "sizes": [1, 2, 4], "updates": 800},
    "diagonal": {"examples": 12, "inputs": 24, "sparse": 2, "updates": 400},
    "flows": {"examples": 3, "inputs": 5, "condition": 20, "dimension": 4},
    "definitions": {"examples": 6, "inputs": 14},
    "worked": {"examples": 10, "inputs": 50, "step_size": 0.005, "updates": 3000, "draws": 1},
    "optimisers": {"examples": 3, "inputs": 7, "updates": 6, "networks": 2, "width": 4,
                   "points": 4, "network_updates": 3},
    "images": {"examples": 8},
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> runner.Run:
    """Run the study, small, without the scripts, which are tested by themselves."""
    study = dataclasses.replace(
        STUDY, stages=TRIALS, claims=CLAIMS, tables=tables, drawings=DRAWINGS
    )
    settings = MinimumNormSettings.model_validate(SMALL)
    return runner.run(study, settings, tmp_path_factory.mktemp("norm") / "out", scale="custom")


def test_the_flow_meets_the_ellipse_where_descent_does() -> None:
    # Breaks if the exponent of its path is another, or the nearest point is that of another ellipse.
    for start in (np.array([4.0, 2.0]), np.array([1.5, 2.5])):
        w = start.copy()
        while (beyond := w[0] ** 2 / 9 + w[1] ** 2 - 1) > 1e-9:
            slope = np.array([w[0] / 9, w[1]])
            # No step beyond the ellipse: descent with a step that falls with the distance.
            w = w - min(1e-3, beyond / 4) * slope / np.linalg.norm(slope)
        np.testing.assert_allclose(ellipse_end(start), w, atol=2e-3)
        angle = optimize.minimize_scalar(
            lambda t, s=start: np.sum((np.array([3 * np.cos(t), np.sin(t)]) - s) ** 2),
            bounds=(0, np.pi / 2), method="bounded", options={"xatol": 1e-10},
        ).x  # fmt: skip
        np.testing.assert_allclose(
            ellipse_nearest(start), [3 * np.cos(angle), np.sin(angle)], atol=1e-7
        )


def test_descent_on_products_is_that_of_automatic_gradients() -> None:
    # Breaks if a factor of 2, the mean, or which parameters move is wrong.
    network = DiagonalNetwork(5, 8, 2, 0.3, 0.05, 7)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 8)), rng.standard_normal(5)
    found = network._end(x, y, None), network._end(x, y, np.random.default_rng(3))
    rows = np.random.default_rng(3).integers(0, 5, 7)
    with jax.enable_x64(True):

        def loss(both: jax.Array, x: Any, y: Any) -> jax.Array:
            return jnp.mean((x @ (both[0] ** 2 - both[1] ** 2) - y) ** 2) / 2

        for single, end in zip((False, True), found, strict=True):
            both = jnp.full((2, 8), 0.3)
            for row in rows:
                some = slice(row, row + 1) if single else slice(None)
                both = both - 0.05 * jax.grad(loss)(both, x[some], y[some])
            np.testing.assert_allclose(end, both[0] ** 2 - both[1] ** 2, atol=1e-12)


def test_batches_are_those_written_out() -> None:
    # Breaks if momentum, the batch's mean, or the order of batches is another.
    batches = Batches(4, 9, (1, 2, 4), 0.5, 0.5, 30)
    rng = np.random.default_rng(0)
    x, y, start = rng.standard_normal((4, 9)), rng.standard_normal(4), rng.standard_normal((1, 9))
    steps = np.array([0.02, 0.05, 0.1])
    ends = batches._run(np.random.default_rng(1), x, y, start, steps)[0]
    for place, size in enumerate((1, 2, 4)):
        for column, beta in enumerate((0.0, 0.5)):
            order, w, running = np.random.default_rng(1), start[0], np.zeros(9)
            for _ in range(30):
                # A random order, of which a batch takes the first so many: batches of one size share it.
                rows = np.flatnonzero(np.argsort(order.random(4)) < size)
                slope = x[rows].T @ (x[rows] @ w - y[rows]) / size
                running = beta * running + slope
                w = w - steps[place] * (1 - beta) * running
            np.testing.assert_allclose(ends[0, place, column], w, atol=1e-12)


def test_the_shortest_solution_in_the_other_norm_finds_sparse_truths() -> None:
    # Breaks if the linear program minimises something else than the sum of absolute weights.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 20))
    truth = np.zeros(20)
    truth[[3, 11]] = 1.0, -2.0
    found = shortest_l1(x, x @ truth)
    np.testing.assert_allclose(found, truth, atol=1e-9)
    assert np.abs(shortest_l1(x, x[:, 0])).sum() <= 1 + 1e-9


def test_risks_average_to_their_law() -> None:
    # Breaks if the bound or the risk is scaled by another power of the sizes.
    found = Risks(10, (30, 60), (0.0, 4.0), 1500, 50)(NOTHING, 0, {})
    np.testing.assert_allclose(found["bounded_risk"], found["risk_law"], rtol=0.03)
    np.testing.assert_allclose(found["fresh_risk"], found["true_risk"], rtol=0.03)
    # E tr((XXᵀ)⁻¹) = n/(p − n − 1).
    np.testing.assert_allclose(found["bound"][1], 1 + 4 * np.array([30 / 19, 60 / 49]), rtol=0.02)
    np.testing.assert_array_equal(found["bound"][0], 1)


def test_worked_solutions_are_those_of_other_solvers(done: runner.Run) -> None:
    # Breaks if a penalty is scaled otherwise than the example says, or errors are on other labels.
    x, clean, unit, y, theta = worked_problem(1, 10, 50, 0.01)
    expected = {
        "X⁺y": np.linalg.pinv(x) @ y,
        "descent": np.linalg.pinv(x) @ y,
        "conjugate gradients": np.linalg.pinv(x) @ y,
        "ridge 0.001": Ridge(alpha=0.001, fit_intercept=False).fit(x, y).coef_,
        "ridge 0.1": Ridge(alpha=0.2, fit_intercept=False).fit(x, y).coef_,
        "noise 1": np.linalg.pinv(x) @ (clean + unit),
        "truth": theta,
    }
    for name, weights in expected.items():
        norm, test = (
            seen(done.result, "worked", f"worked_{key}", worked_solution=name)[1]
            for key in ("norm", "test")
        )
        assert norm == pytest.approx(np.linalg.norm(weights), rel=1e-6)
        noise = 1.0 if name == "noise 1" else 1e-4
        assert test == pytest.approx(np.sum((weights - theta) ** 2) + noise, rel=1e-5)
    limit = 2 / np.linalg.eigvalsh(x @ x.T)[-1]
    assert seen(done.result, "worked", "worked_limit")[1] == pytest.approx(limit)


def test_the_engines_optimisers_are_those_written_out(done: runner.Run) -> None:
    # Breaks if a schedule, a default, or what is scaled by coordinates is another.
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.fold_in(role_key(2, "data"), 1))
        x, y = (
            np.asarray(jax.random.normal(keys[0], (3, 7))),
            np.asarray(jax.random.normal(keys[1], (3,))),
        )
    ends = {}
    for name in ("adam", "rmsprop", "sign"):
        w, first, second = np.zeros(7), np.zeros(7), np.zeros(7)
        for t in range(6):
            slope = x.T @ (x @ w - y)
            rate = 0.05 * (1 + np.cos(np.pi * t / 6)) / 2
            if name == "adam":
                first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
                direction = (first / (1 - 0.9 ** (t + 1))) / (
                    np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8
                )
            elif name == "rmsprop":
                second = 0.9 * second + 0.1 * slope**2
                direction = slope / (np.sqrt(second) + 1e-8)
            else:
                direction = np.sign(slope)
            w = w - rate * direction
        ends[name] = w
    goal = np.linalg.pinv(x) @ y
    null = np.eye(7) - np.linalg.pinv(x) @ x
    for name, w in ends.items():
        expected = {
            "error": np.linalg.norm(w - goal) / np.linalg.norm(goal),
            "outside": np.linalg.norm(null @ w) / np.linalg.norm(w),
            "norm": np.linalg.norm(w) / np.linalg.norm(goal),
            "misfit": np.linalg.norm(x @ w - y) / np.linalg.norm(y),
        }
        for key, value in expected.items():
            found = seen(done.result, "optimisers", f"optimiser_{key}", optimiser=name)[2]
            assert found == pytest.approx(value, rel=1e-8), (name, key)


def test_images_are_descended_on_as_updates_would(done: runner.Run) -> None:
    # Breaks if labels, the drawn examples, or the step size in closed form are others.
    data = STUDY.settings.model_validate(SMALL).data.load()
    rows = np.random.default_rng([0, ROLES["data"]]).permutation(data.n_train)[:8]
    x = data.x_train[rows].reshape(8, -1).astype(float)
    y = np.eye(10)[data.y_train[rows]]
    w = np.zeros((x.shape[1], 10))
    goal = np.linalg.pinv(x) @ y
    step = 1 / np.linalg.eigvalsh(x @ x.T)[-1]
    for _ in range(1000):
        w = w - step * x.T @ (x @ w - y)
    left = seen(done.result, "images", "image_left", image_update=1000)[0]
    assert left == pytest.approx(np.linalg.norm(w - goal) / np.linalg.norm(goal), rel=1e-4)


def test_the_examples_solution_in_fractions() -> None:
    expected = np.linalg.lstsq(
        np.array([[1, 0, 1, 0, 0], [0, 1, 0, 1, 0], [1, 1, 0, 0, 1]]), np.array([1, 1, 2]), rcond=None
    )[0]  # fmt: skip
    np.testing.assert_allclose([float(value) for value in example_solution()], expected, atol=1e-12)


def test_a_run_measures_and_reports(done: runner.Run) -> None:
    # Breaks if a rule, a table or a figure meets what it cannot read, or a law does not hold.
    verdicts = {one.id: one.verdict for one in done.presented.findings}
    assert set(verdicts) == {claim.id for claim in CLAIMS}
    assert "not-decided" not in verdicts.values()
    exact = {
        "dhand.def-2.1": "supported", "ch11.def.min-norm": "supported", "dhand.thm-3.1": "supported",
        "ch11.thm-1.1": "supported", "ch11.B.1": "supported", "dhand.E1": "supported",
        "ch11.A.9": "supported",
        "dhand.cor-3.2": "supported", "ch11.A.4": "supported", "ch11.B.7": "refuted", "ch11.W.2": "refuted",
        "dhand.thm-7.2": "refuted", "ch11.def.min-norm.rank": "refuted", "ch11.A.4.negative": "refuted",
    }  # fmt: skip
    assert {name: verdicts[name] for name in exact} == exact
    assert len(done.presented.tables) == 11
    assert {path.stem for path in (done.out / "figures").glob("*.png")} >= {
        one.name for one in DRAWINGS
    }
    assert to_json(done.presented.findings, CLAIMS)
    ids = {claim.id for claim in STUDY.claims}
    assert ids > {claim.id for claim in CLAIMS}


def planted(result: xr.Dataset, **values: Any) -> dict[str, Finding]:
    """Judge a result with variables replaced, where they were measured, by values that broadcast."""
    changed = {}
    rng = np.random.default_rng(0)
    for name, value in values.items():
        old = result[name]
        noise = np.exp(1e-6 * rng.standard_normal(old.shape))
        changed[name] = old.copy(data=np.where(np.isfinite(old.values), value * noise, np.nan))
    return {one.id: one for one in evaluate(CLAIMS, result.assign(changed))}


def test_rules_follow_what_is_measured(done: runner.Run) -> None:
    # Breaks if a rule asserts instead of judging: each turns with the numbers.
    result = done.result
    far = np.float64(0.2)
    found = planted(
        result, descent_error=far, validation_error=far, trial_error=far, case_residual=far,
        example_error=far, ridge_slope=2.0, fresh_risk=10.0, gap_largest=far, gap_negative=far,
        penrose_error=far, stretched_norm=2.0, beyond_growth=1.0,
    )  # fmt: skip
    for name in (
        "dhand.thm-3.1", "ch11.thm-1.1", "ch11.B.1", "dhand.E1", "ch11.A.9", "dhand.def-2.1",
        "ch11.def.min-norm", "dhand.cor-3.2", "dhand.def-2.2", "ch11.A.4", "ch11.B.6",
    ):  # fmt: skip
        assert found[name].verdict == "refuted", name
    for name in ("ch11.A.4.negative", "ch11.def.min-norm.rank"):
        assert found[name].verdict == "supported", name
    assert found["ch11.A.1"].verdict == "refuted"

    stated = result["rate_stated"].values
    way = np.linspace(1, 0.9, result.sizes["rule"])[:, None]
    turned = planted(
        result, flow_apart=1e-9, projected_apart=1e-9, beyond_orthogonal=1.0, right_loss=1e-20,
        optimiser_error=1e-9, image_left=1e-12, descent_way=way,
        bounded_risk=1.0, bound=2.0, label_norm=np.array([1.0, 5.0]),
        network_apart=np.array([0.0, 1.0, 1.0, 0.1]), batch_error_elsewhere=0.5,
        diagonal_length=np.array([1.2, 1.0]),
        batch_norm=np.array([1.0, 1.1, 1.2])[:, None], noisy_square=np.array([1.0, 1.1, 1.2])[:, None],
    )  # fmt: skip
    for name in (
        "ch11.thm-1.7", "ch11.B.3", "ch11.def.interp", "ch11.B.1.optimisers", "ch11.W.2.descent",
        "dhand.thm-7.2", "dhand.thm-3.3", "ch11.B.6.labels", "dhand.sgd-extra",
    ):  # fmt: skip
        assert turned[name].verdict == "supported", name
    rates = {
        one.id: one
        for one in evaluate(CLAIMS, result.assign(rate=result["rate"].copy(data=stated)))
    }
    assert rates["ch11.B.7"].verdict == "supported"
    norms = np.ones(result.sizes["worked_solution"])
    names = [str(name) for name in result["worked_solution"].values]
    norms[names.index("ridge 0.001")] = 1.05
    assert planted(result, worked_norm=norms)["ch11.W.2"].verdict == "supported"
    good = planted(result, worked_norm=6.0, worked_test=1e-4)
    assert good["ch11.W.1"].verdict == "supported"
    dense = planted(result, shifted_error=1.0)
    assert dense["ch11.A.12"].verdict == "refuted"


def test_the_bounds_threshold_is_where_the_law_says(done: runner.Run) -> None:
    # With means for designs, both are linear in ‖θ‖²: the bound holds from n/(n + 1 + n(p − n − 1)/p) on.
    ratios = result_ratios = done.result["signal_ratio"].values.astype(float)
    sizes = done.result["risk_inputs"].values.astype(float)
    law = np.array([theory.isotropic_risk(10, sizes.astype(int), 1.0, r).total for r in ratios])
    bound = 1 + result_ratios[:, None] * sizes / (sizes - 11)
    finding = planted(done.result, bounded_risk=law, bound=bound)["dhand.thm-3.3"]
    p = sizes[-1]
    expected = 10 / (11 + 10 * (p - 11) / p)
    assert finding.details["threshold of ‖θ‖²/σ² at the largest p"] == pytest.approx(
        expected, rel=1e-3
    )
    assert finding.verdict == "conditional"
    assert "Refuted: ‖θ‖² = 0 σ²" in finding.condition


def test_bad_settings_and_data_get_one_line() -> None:
    bad: dict[str, dict[str, Any]] = {
        "only below 2/λmax": {"descents": {"fractions": [0.5, 1.0]}},
        "converges only": {"validation": {"fraction": 1.5}},
        "greater than 0": {"ridge": {"penalties": [-1.0, 1e-5, 1.0]}},
        "begin with two": {"ridge": {"penalties": [0.1, 1.0, 10.0]}},
        "more inputs than examples": {"worked": {"inputs": 50}},
        "all examples": {"batches": {"sizes": [1, 4]}},
        "each smaller": {"shifts": {"sparse": 40}},
        "no variance": {"risks": {"inputs": [100, 1000]}},
        "choose float64": {"dtype": "float32"},
    }
    for message, settings in bad.items():
        with pytest.raises(ValidationError, match=message):
            MinimumNormSettings.model_validate(settings)
    small = MinimumNormSettings.model_validate({**SMALL, "worked": {"step_size": 0.1}})
    with pytest.raises(
        UserError, match=r"worked.step_size is 0.1, but .* 2/λmax\(XᵀX\), which is 0.00"
    ):
        worked(small, synthetic.linear_regression())
    data: Dataset = synthetic.linear_regression()
    with pytest.raises(UserError, match="choose fewer"):
        images(MinimumNormSettings.model_validate({"images": {"examples": 10**6}}), data)
    empty = dataclasses.replace(data, x_train=np.zeros_like(data.x_train))
    with pytest.raises(UserError, match="inputs are all zero"):
        images(MinimumNormSettings.model_validate({"images": {"examples": 2}}), empty)
