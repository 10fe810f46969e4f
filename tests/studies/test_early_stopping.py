"""Exact experiments of the early-stopping study against scikit-learn, derivatives and closed forms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError
from scipy import linalg
from sklearn.linear_model import LinearRegression, Ridge

from implicit_bias import kernels, models, theory
from implicit_bias.studies.early_stopping import STUDY
from implicit_bias.studies.early_stopping.notes import Notes, tangent_kernel, wide_network
from implicit_bias.studies.early_stopping.overfitting import LongTraining
from implicit_bias.studies.early_stopping.paths import DESIGNS, STEPS, UPDATES, Paths, draw
from implicit_bias.studies.early_stopping.scripts import (
    LINEAR_EPOCHS,
    LinearScript,
    NormScript,
    PatienceScript,
    expected_loss,
)
from implicit_bias.studies.early_stopping.settings import EarlyStoppingSettings
from implicit_bias.studies.early_stopping.two_layer import TwoLayer, batches
from implicit_bias.studies.early_stopping.validation import TIMES, ValidationChoice
from implicit_bias.studies.early_stopping.worked import Worked
from implicit_bias.training import Pool

NOTHING = Pool(np.zeros((1, 2), np.float32), None, None, None)


def test_paths_are_those_of_solutions_that_are_solved_for() -> None:
    # Breaks if λ is not 1/t, the loss not half a sum of squares, or a distance the wrong way round.
    made = Paths(20, 0.5, 6, 10)
    found = made(NOTHING, 4, {})
    rng = np.random.default_rng([4, 8, 2])
    problem = draw("decaying", 20, rng)
    y = problem.x @ problem.theta + (0.5 * rng.standard_normal((20, 10)))[:, 0]
    times = np.array(made.coordinates["path_time"]) / problem.values.max()
    row, gram = list(DESIGNS).index("decaying"), problem.x.T @ problem.x
    for place, time in enumerate(times[:4]):
        left = linalg.expm(-time * gram)
        w = (np.eye(20) - left) @ np.linalg.solve(gram, problem.x.T @ y)
        ridge = Ridge(alpha=1 / time, fit_intercept=False, solver="svd").fit(problem.x, y).coef_
        expected = np.linalg.norm(w - ridge) / np.linalg.norm(ridge)
        assert found["path_distance"][row, place] == pytest.approx(expected, rel=1e-5)
    assert np.sum((problem.x @ problem.theta) ** 2) == pytest.approx(20)
    assert found["path_iterated"].max() < 1e-9
    np.testing.assert_allclose(found["path_rank"], [1, 0.5, 1, 0.5], atol=0.15)


def test_the_matched_penalty_is_a_minimum_and_never_above_one_over_t() -> None:
    made = Paths(20, 0.5, 12, 10)
    found = made(NOTHING, 0, {})
    assert found["path_matched"].max() <= 1
    problem = draw("few features", 20, rng := np.random.default_rng([0, 8, 0]))
    y = problem.x @ problem.theta + (0.5 * rng.standard_normal((20, 10)))[:, 0]
    ends = problem.least_squares(y)
    time = made.coordinates["path_time"][4] / problem.values.max()
    flow = theory.flow_shrinkage(problem.values, time) * ends

    def off(scaled: float) -> float:
        return float(
            np.linalg.norm(theory.ridge_shrinkage(problem.values, scaled / time) * ends - flow)
        )

    best = found["path_matched"][0, 4]
    assert off(best) < min(off(best * 0.98), off(best * 1.02))


def test_ratios_meet_their_bounds_and_large_steps_pass_them() -> None:
    found = Paths(20, 0.5, 30, 10)(NOTHING, 1, {})
    assert found["path_shrinkage_ratio"].max() <= theory.SHRINKAGE_RATIO
    assert found["path_risk_ratio"].max() <= theory.RISK_RATIO
    assert found["spot_shrinkage"] == pytest.approx(1.29843, abs=1e-4)
    assert found["spot_risk"] == pytest.approx(1.68591, abs=1e-4)
    assert found["spot_tuned"] == pytest.approx(1.21466, abs=1e-4)
    assert 1 <= found["path_averaged"].min() <= found["path_averaged"].max() <= theory.TUNED_RATIO
    assert np.abs(found["path_drawn"]).max() < 0.8  # ten draws
    steps = found["path_step_distance"]
    assert steps.shape == (len(DESIGNS), len(STEPS), len(UPDATES))
    assert steps[:, 2, 0].min() > 0.33 > steps[:, 0].max()


def test_validation_chooses_as_another_programme_would() -> None:
    # Expected losses against a test set of a million; regret falls with the validation set.
    choice = ValidationChoice(20, 8, 1.0, (10, 4000), 500, 30)
    found = choice(NOTHING, 3, {})
    rng = np.random.default_rng([3, 8])
    x, theta = rng.standard_normal((20, 8)), rng.standard_normal(8)
    theta /= np.linalg.norm(theta)
    y = x @ theta + rng.standard_normal(20)
    values, vectors = np.linalg.eigh(x.T @ x / 20)
    w = vectors @ ((1 - np.exp(-values * TIMES[30])) * (vectors.T @ np.linalg.pinv(x) @ y))
    assert found["stop_train"][30] == pytest.approx(np.mean((x @ w - y) ** 2))
    fresh = np.random.default_rng(0).standard_normal((300_000, 9))
    tested = np.mean((fresh[:, :8] @ (w - theta) + fresh[:, 8]) ** 2)
    assert found["stop_risk"][30] == pytest.approx(tested, rel=0.02)
    assert found["stop_example"][1, 30] == pytest.approx(tested, rel=0.1)
    assert found["stop_regret"][0] > found["stop_regret"][1] >= 0
    assert found["stop_optimism"][0] > found["stop_optimism"][1] >= 0
    assert found["stop_missed_truly"][0] > 0.5


def test_updates_are_those_of_automatic_derivatives() -> None:
    # Breaks if a layer's gradient is off, or several networks at once mix.
    rng = np.random.default_rng(0)
    networks = TwoLayer.usual(rng, 3, 5, 2)
    x, y = rng.standard_normal((2, 7, 3)), rng.standard_normal((2, 7))
    start = {name: part[1].copy() for name, part in vars(networks).items()}

    def loss(parts: dict[str, Any]) -> Any:
        hidden = jnp.maximum(x[1] @ parts["first"] + parts["first_bias"][None], 0)
        return jnp.mean((hidden @ parts["second"] + parts["second_bias"] - y[1]) ** 2)

    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(loss)(start)
    assert networks.loss(x, y)[1] == pytest.approx(float(value))
    scripted = networks.copy()
    networks.update(x, y, 0.3)
    scripted.update_output(x, y, 0.3)
    for name, ours in vars(networks).items():
        np.testing.assert_allclose(ours[1], start[name] - 0.3 * gradient[name], rtol=1e-10)
    np.testing.assert_allclose(scripted.second[1], start["second"] - 0.3 * gradient["second"])
    # The script's bias moves by a further 1/examples.
    np.testing.assert_allclose(scripted.second_bias[1], -0.3 * gradient["second_bias"] / 7)
    np.testing.assert_array_equal(scripted.first[1], start["first"])
    parts_of = batches(np.random.default_rng(0), 10, 4)
    assert [len(batch) for batch in parts_of] == [4, 4, 2]
    assert sorted(np.concatenate(parts_of)) == list(range(10))


def test_scripts_learn_next_to_nothing_as_stated() -> None:
    found = PatienceScript()(NOTHING, 0, {})
    train, _, test = found["patience_losses"]
    # sin²(x) has mean (1 − e⁻²)/2 = 0.432 under N(0, 1), and the noise 0.01.
    assert train[0, 0] == pytest.approx(0.442, abs=0.12)
    assert train[0, -1] > 0.9 * train[0, 0]
    assert train[1, -1] < 0.01
    assert abs(found["patience_improvement"][0]) < 1
    assert test[1, -1] == pytest.approx(found["patience_final"][1])
    assert found["patience_stopped"][1] < found["patience_final"][1]

    norms = NormScript()(NOTHING, 0, {})
    assert norms["norm_start"][0] == pytest.approx(0.01 * np.sqrt(50), rel=0.2)
    np.testing.assert_array_equal(norms["norm_updates"], [[100, 100], [400, 100], [100, 100]])
    np.testing.assert_array_equal(norms["norm_start"][1:, 0], norms["norm_start"][1:, 1])
    assert norms["norm_growth"][0].max() < 1.2
    assert norms["norm_growth"][1, 0] > norms["norm_growth"][2, 0]


def test_the_linear_script_follows_least_squares() -> None:
    found = LinearScript()(NOTHING, 1, {})
    assert found["linear_iterated"].max() < 1e-9
    last = LINEAR_EPOCHS.index(1_000_000)
    np.testing.assert_allclose(found["linear_train"][0, last], found["linear_floor"][0], rtol=1e-6)
    # σ²(1 − n/m) and σ²(1 + n/(m − n − 1)), for the linear part of the sine.
    assert found["linear_floor"][0] == pytest.approx(0.01 * 0.95, rel=0.1)
    assert found["linear_test"][0, last] == pytest.approx(0.01 * (1 + 50 / 949), rel=0.05)
    assert found["linear_test"][1, last] > 1.3 * found["linear_test_least"][1]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200_000, 50)) / np.sqrt(50)
    w = rng.standard_normal(50)
    y = np.sin(x[:, 0]) + 0.1 * rng.standard_normal(200_000)
    assert expected_loss(w) == pytest.approx(np.mean((x @ w - y) ** 2), rel=0.02)
    fitted = LinearRegression(fit_intercept=False).fit(x, y).coef_
    assert expected_loss(fitted) == pytest.approx(0.01, rel=0.01)


def test_long_training_overfits_noise() -> None:
    found = LongTraining(30, 300, 30, 0.05, 10, 60)(NOTHING, 0, {})
    few, clean, many = found["long_test"]
    assert found["long_train"].shape == (3, 31)
    assert few[-1] > 1.1 * few.min()
    assert many[-1] < clean[-1] < few[-1]
    # Targets have variance 1, and noise 0.25 where there is any.
    assert found["long_test"][:, 0].min() > 0.9


def test_probes_know_average_curvature_alone() -> None:
    found = Worked(50, 400, 4000)(NOTHING, 0, {})
    # E δᵀHδ/‖δ‖² = tr H/d for directions uniform on the sphere; A's λmax is d/2 times that.
    np.testing.assert_allclose(found["probe_curvature"][:2], 1, atol=0.15)
    assert found["probe_largest"][1, 0] == pytest.approx(2 * (50 - 1) / 50**2, rel=0.2)
    assert found["probe_doubled"][0] < 1e-9 < found["probe_doubled"][2]
    np.testing.assert_allclose(found["noise_power"], found["noise_exact"], rtol=0.06)
    fresh, finite = found["noise_exact"]
    assert fresh[0] / fresh[2] == pytest.approx(8)
    assert finite[0] / finite[2] == pytest.approx(8 * (1000 - 64) / (1000 - 512))


def test_the_tangent_kernel_is_that_of_the_library_and_of_a_wide_network() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 3))
    model = models.Dense((8,), 1, "relu", "ntk", "he", bias=False)
    ours = tangent_kernel(x, x)
    theirs = kernels.infinite_kernel(model, (3,))(x.astype(np.float32), x.astype(np.float32))
    # The library's inputs are divided by their number, as by its first layer.
    ratio = np.asarray(theirs.ntk) / ours
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    # One small step moves outputs by −η Θ (f − y)/m.
    y, step = rng.standard_normal(4), 1e-4
    before, after = wide_network(x, y, 200_000, step, 1, rng)
    moved = step * ours[:, :4] @ (y - before[:4]) / 4
    np.testing.assert_allclose(after - before, moved, rtol=0.05, atol=2e-6)


def test_what_is_held_equal_decides_and_width_narrows() -> None:
    found = Notes((64, 1024), 40, 3)(NOTHING, 0, {})
    np.testing.assert_array_equal(found["fair_updates"], [[384, 24], [384, 384]])
    (small, large), (same, more) = found["fair_risk"]
    assert small == same
    assert small < large > more
    assert found["kernel_error"][0, 1] < 0.5 * found["kernel_error"][0, 0]
    assert found["kernel_error"][1].min() > 0.05


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"overfitting": {"batch_size": 200}}, "batch_size is 200"),
        ({"overfitting": {"many": 50}}, "many is 50"),
        ({"validation": {"sizes": [100, 20]}}, "increasing"),
        ({"paths": {"noise": 0}}, "greater than 0"),
        ({"notes": {"widths": [128]}}, "at least 2 items"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        EarlyStoppingSettings.model_validate(changed)


def test_the_study_names_everything_once() -> None:
    ids = [claim.id for claim in STUDY.claims]
    assert len(set(ids)) == len(ids)
    wanted = {
        "B.12",
        "A.13",
        "ml.1.ranking",
        "ml.4.deviation",
        "mot.earlystop",
        "S.4",
        "S.17",
        "S.18",
        "notes",
    }
    wanted |= {"C.4", "C.8", "C.9", "C.10", "W.10"}
    assert {f"ch11.{name}" for name in wanted} <= set(ids)
    assert len({drawing.name for drawing in STUDY.drawings}) == len(STUDY.drawings)
