"""The benign-overfitting study: its experiments against NumPy and closed forms, and one run of all of it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestNeighbors

from implicit_bias.data import Dataset, synthetic
from implicit_bias.data.batches import epoch_order
from implicit_bias.data.transforms import symmetric_label_noise
from implicit_bias.errors import UserError
from implicit_bias.keys import ROLES, role_key
from implicit_bias.models import Dense
from implicit_bias.results import claims as claims_module
from implicit_bias.studies import runner
from implicit_bias.studies.benign_overfitting import STUDY
from implicit_bias.studies.benign_overfitting.arms import lanes
from implicit_bias.studies.benign_overfitting.isotropic import FewExamples
from implicit_bias.studies.benign_overfitting.memorisers import closest
from implicit_bias.studies.benign_overfitting.norms import InterpolatorNorms
from implicit_bias.studies.benign_overfitting.plane import starting_points
from implicit_bias.studies.benign_overfitting.ranks import EffectiveRanks, effective_rank, fit
from implicit_bias.studies.benign_overfitting.relabelled import Relabelled
from implicit_bias.studies.benign_overfitting.rows import accuracy, last_epochs
from implicit_bias.studies.benign_overfitting.settings import BenignSettings
from implicit_bias.studies.benign_overfitting.spiked import Spectrum, risks, wishart
from implicit_bias.studies.benign_overfitting.tails import SpikedTails
from implicit_bias.studies.rows import by_seed
from implicit_bias.training import Pool

NOTHING = Pool(np.zeros((1, 2), np.float32), None, None, None)

SMALL: dict[str, Any] = {
    "seeds": 2, "dtype": "float64", "arms": ["given", "random", "all-given"],
    "data": {"n_train": 40, "n_test": 60, "classes": [0, 1, 2]}, "model": {"widths": [32]},
    "step_size": 0.1, "batch_size": 10, "stated_epochs": 2, "epochs": 60, "probe_every": 10,
    "tails": {"spikes": 2, "draws": 4, "examples": 10, "tails": [12, 40], "growth": [5, 10, 20]},
    "norms": {"examples": 8, "inputs": 12, "rank": 2, "conditions": [1, 100], "draws": 2},
    "ranks": {"examples": 20, "inputs": 30, "ranks": [2, 8], "sweep": [2, 25], "tests": 20, "draws": 1},
    "few": {"examples": 5, "inputs": 60, "draws": 20}, "relabel": {"points": 12, "tests": 50, "draws": 40},
    "plane": {"points": 8, "tests": 30, "widths": [6, 5], "batch_size": 5, "epochs": 4, "longer_epochs": 8,
              "grid": 5},
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> runner.Run:
    """Run the study, small."""
    settings = BenignSettings.model_validate(SMALL)
    return runner.run(STUDY, settings, tmp_path_factory.mktemp("benign") / "out", scale="custom")


def test_risks_are_those_of_interpolators_on_drawn_inputs() -> None:
    # Breaks if a part of the risk is missing, or the tail's Gram matrix has another law or scale.
    spectrum = Spectrum(np.array([2.0, 1.0]), np.array([0.5, 1.0]), 12, 0.25, 0.7)
    found = risks(np.random.default_rng(0), spectrum, 6, 20_000)
    rng = np.random.default_rng(1)
    values = np.concatenate([spectrum.spikes, np.full(12, 0.25)])
    theta = np.concatenate([spectrum.signal, np.zeros(12)])
    direct = []
    for _ in range(5000):
        x = rng.standard_normal((6, 14)) * np.sqrt(values)
        inverse = np.linalg.pinv(x)
        bias = theta - inverse @ (x @ theta)
        weights = inverse @ (x @ theta + 0.7 * rng.standard_normal(6))
        variance = 0.49 * np.sum((np.sqrt(values)[:, None] * inverse) ** 2)
        direct.append([np.sum(values * bias**2), variance, np.sum(weights**2)])
    expected, error = np.mean(direct, axis=0), np.std(direct, axis=0) / np.sqrt(len(direct))
    ours = [found.bias, found.variance, found.norm**2]
    for values_, mean, spread in zip(ours, expected, error, strict=True):
        own = np.std(values_) / np.sqrt(len(values_))
        assert abs(values_.mean() - mean) < 5 * np.hypot(own, spread)
    assert found.training.max() < 1e-18


def test_a_wishart_matrix_has_the_mean_and_the_spread_of_a_gram_matrix() -> None:
    # Breaks if the degrees of freedom along the diagonal run the wrong way.
    found = wishart(np.random.default_rng(0), 20_000, 3, 7)
    np.testing.assert_allclose(found.mean(axis=0), 7 * np.eye(3), atol=0.1)
    # Variances: 2ν on the diagonal, ν off it.
    np.testing.assert_allclose(found.var(axis=0), 7 * (1 + np.eye(3)), rtol=0.05)
    assert np.linalg.det(found).mean() == pytest.approx(7 * 6 * 5, rel=0.03)
    with pytest.raises(ValueError, match="singular"):
        wishart(np.random.default_rng(0), 1, 3, 2)


def test_without_a_tail_least_squares_fits_no_noise() -> None:
    # σ²k/(m − k − 1) and σ²(1 − k/m), exact for Gaussian inputs of any covariance.
    spectrum = Spectrum(np.array([3.0, 1.0]), np.ones(2), 0, 0.0, 2.0)
    found = risks(np.random.default_rng(0), spectrum, 12, 20_000)
    assert found.variance.mean() == pytest.approx(4 * 2 / 9, rel=0.03)
    assert found.training.mean() == pytest.approx(4 * (1 - 2 / 12), rel=0.03)
    assert found.bias.max() == 0


def test_designs_of_one_effective_rank_differ_by_their_tail() -> None:
    # Breaks if the tail's energy depends on its length, or a theory's number is that of another design.
    tails = SpikedTails(3, 2.0, 0.5, 1.0, 3, 10, (20, 400), (8, 10, 12))
    found = tails(NOTHING, 0, {})
    np.testing.assert_allclose(found["tail_r0"], 3 + 0.25)
    np.testing.assert_allclose(found["tail_head"], 3)
    np.testing.assert_allclose(found["tail_R"], [20, 400])
    np.testing.assert_allclose(found["tail_order"], [0.3 + 10 / 20, 0.3 + 10 / 400])
    long, short, none, isotropic = found["growth_r0"]
    np.testing.assert_allclose([long, short], 3.25)
    np.testing.assert_allclose(none, 3)
    np.testing.assert_allclose(isotropic, [64, 100, 144])
    assert np.isnan(found["growth_head"][2]).all()
    assert found["tail_variance"][0] > 3 * found["tail_variance"][1]


def test_norms_of_interpolators_on_spectra_that_are_known() -> None:
    # y along a singular vector: ‖X⁺y‖ = ‖y‖/σ_i exactly.
    norms = InterpolatorNorms(8, 12, 2, (1.0, 50.0), 2)
    found = norms(NOTHING, 3, {})
    geometric, low = found["norm_ratio_full"][..., 1]
    for ratio in (geometric, low):
        assert ratio[0] == pytest.approx(1 / 50, rel=1e-9)
        assert ratio[1] == pytest.approx(1, rel=1e-9)
        assert 1 / 50 < ratio[2] < 1
    # The two large values hold 90 % of the energy, so that σ_r is 1 and the weakest direction costs κ.
    np.testing.assert_allclose(found["norm_ratio"][1, :2, 1], [1, 50], rtol=1e-9)
    np.testing.assert_allclose(found["norm_ratio"][..., 0], 1, rtol=1e-9)
    assert found["norm_bound"] < 1e-10
    assert found["norm_unfitted"] < 1e-10


def test_effective_rank_counts_singular_values() -> None:
    assert effective_rank(np.array([3.0, 1.0, 1.0])) == 2  # 9/11, then 10/11
    assert effective_rank(np.ones(10)) == 9
    assert effective_rank(np.array([1.0, 0.0])) == 1


@pytest.mark.parametrize("ridge", [0.3, 0.0])
def test_fits_are_those_of_other_solvers(ridge: float) -> None:
    rng = np.random.default_rng(0)
    x, y, asked, truth = (rng.standard_normal(shape) for shape in ((6, 9), 6, (20, 9), 20))
    if ridge:
        weights = Ridge(alpha=ridge, fit_intercept=False).fit(x, y).coef_
    else:
        weights = np.linalg.lstsq(x, y, rcond=None)[0]
    found = fit(x, y, asked, truth, ridge)
    assert found.error == pytest.approx(np.mean((asked @ weights - truth) ** 2), rel=1e-6)
    assert found.variance == pytest.approx(np.var(truth))
    assert found.condition == pytest.approx(np.linalg.cond(x))


def test_readings_of_the_exercise_differ_by_what_dominates() -> None:
    # Gaussian factors are larger than the noise and keep the rank low; orthonormal ones drown in it.
    ranks = EffectiveRanks(60, 120, (2, 20), (2, 100), 100, 20, 0.1, 1)
    found = ranks(NOTHING, 0, {})
    gaussian, orthonormal = found["rank_effective"]
    assert gaussian[0] == 2
    assert gaussian[1] < 20
    assert orthonormal.min() > 30
    assert found["rank_relative"][1].min() > 0.9
    assert found["sweep_effective"][1] <= 60
    # Columns of 20 test inputs of norm 1: about ‖w‖² (1 − m/n)/20 whatever the rank.
    expected = 1e-4 * 120 * (1 - 60 / 120) / 20
    np.testing.assert_allclose(found["sweep_error"][0], expected, rtol=0.6)


def test_few_examples_of_many_features_follow_the_law() -> None:
    few = FewExamples(10, 200, 0.5, 2, 0.1, 400)
    found = few(NOTHING, 0, {})
    law = 1 - 10 / 200 + 0.25 * 10 / 189
    assert found["few_law"] == pytest.approx(law)
    assert found["few_excess"][0] == pytest.approx(law, rel=0.02)
    # A random vector of the null space as long as the truth adds 1 on average.
    assert found["few_excess"][1] == pytest.approx(law + 1, rel=0.05)
    assert found["few_excess"][2] == pytest.approx(1)
    assert found["few_unfitted"] < 1e-12
    assert found["few_spiked"] < 0.5


def test_labels_drawn_many_times_average_to_chance_and_scatter() -> None:
    # Breaks if labels are shared between draws, or the nearest point is another.
    found = Relabelled(50, 400, (2, 10), 4000, 0.1)(NOTHING, 1, {})
    np.testing.assert_allclose(found["relabelled_accuracy"], [0.5, 0.1], atol=0.01)
    rng = np.random.default_rng([1, ROLES["label_noise"]])
    x, tests = rng.uniform(-1, 1, (50, 2)), rng.uniform(-1, 1, (400, 2))
    own = NearestNeighbors(n_neighbors=1).fit(x).kneighbors(tests)[1][:, 0]
    # Given the points, the accuracy is Σ_i of independent coins weighted by what each point decides.
    upper = np.bincount(own[tests[:, 0] > 0], minlength=50) / 400
    lower = np.bincount(own[tests[:, 0] <= 0], minlength=50) / 400
    coins = np.random.default_rng(5).integers(0, 2, (20_000, 50))
    accuracies = coins @ upper + (1 - coins) @ lower
    assert found["relabelled_good"][0] == pytest.approx(np.mean(accuracies > 0.6), abs=0.02)


def test_nearest_rows_are_those_of_another_search() -> None:
    rng = np.random.default_rng(0)
    stored, asked = rng.standard_normal((30, 4)), rng.standard_normal((1500, 4))
    expected = NearestNeighbors(n_neighbors=1).fit(stored).kneighbors(asked)[1][:, 0]
    np.testing.assert_array_equal(closest(stored, asked), expected)


def test_networks_on_the_plane_are_those_written_out(done: runner.Run) -> None:
    # Breaks if momentum, the falling step size, the last small batch, an order or a start is another.
    result = done.result
    drawn = {name: by_seed(result, "plane", f"plane_{name}")[0] for name in
             ("points", "labels_drawn", "epoch", "train", "confidence")}  # fmt: skip
    x, labels = drawn["points"], drawn["labels_drawn"].astype(int)
    np.testing.assert_array_equal(labels[0], x[:, 0] > 0)
    with jax.enable_x64(True):
        key = role_key(0, "initialisation")
        starts = jax.tree.map(np.asarray, starting_points(Dense((6, 5), 2), key, np.zeros(2)))
        orders = [
            np.asarray(epoch_order(role_key(0, "data_order"), epoch, 8)) for epoch in range(8)
        ]
    ticks = np.linspace(-1, 1, 5)
    grid = np.stack([part.ravel() for part in np.meshgrid(ticks, ticks)], axis=1)
    # Start, step size, momentum, epochs, and whether the step size falls.
    schedules = [(0, 0.01, 0, 4, 0), (1, 0.01, 0, 4, 0), (1, 0.02, 0.9, 8, 1)]
    for row, (start, step_size, momentum, epochs, falls) in enumerate(schedules):
        assert drawn["epoch"][row, -1] == epochs
        for kind, own in enumerate(labels):
            params = [
                starts[start][f"layer_{i}"][part] for i in range(3) for part in ("weight", "bias")
            ]
            velocity = [np.zeros_like(leaf) for leaf in params]
            for epoch in range(epochs):
                step = step_size * (1 - falls * epoch / epochs)
                for rows in np.split(orders[epoch], [5]):
                    slopes = gradient(params, x[rows], own[rows])
                    velocity = [momentum * v + g for v, g in zip(velocity, slopes, strict=True)]
                    params = [p - step * v for p, v in zip(params, velocity, strict=True)]
            expected = probabilities(params, grid)[-1][:, 1].reshape(5, 5)
            np.testing.assert_allclose(drawn["confidence"][row, kind], expected, atol=1e-6)
            fitted = np.mean(np.argmax(probabilities(params, x)[-1], axis=1) == own)
            assert drawn["train"][row, kind, -1] == pytest.approx(fitted)
    bounds = [np.abs(starts[0]["layer_1"][part]).max() for part in ("weight", "bias")]
    assert 0 < min(bounds) <= max(bounds) <= 1 / np.sqrt(6)  # 1/√fan-in


def probabilities(params: list[np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    """Activations of a ReLU network, the inputs first, its softmax last."""
    layers = [x]
    for place in range(0, len(params), 2):
        sums = layers[-1] @ params[place].T + params[place + 1]
        layers.append(np.maximum(sums, 0))
    raised = np.exp(sums)
    return [*layers[:-1], raised / raised.sum(axis=1, keepdims=True)]


def gradient(params: list[np.ndarray], x: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Gradient of its mean cross-entropy."""
    layers = probabilities(params, x)
    delta = (layers[-1] - np.eye(2)[labels]) / len(x)
    found: list[np.ndarray] = []
    for place in range(len(params) - 2, -1, -2):
        inputs = layers[place // 2]
        found = [delta.T @ inputs, delta.sum(axis=0), *found]
        delta = (delta @ params[place]) * (inputs > 0)
    return found


def test_label_noise_of_the_random_arm_is_uniform() -> None:
    # At (K − 1)/K a label is any class with probability 1/K, whatever it was.
    settings = BenignSettings.model_validate(SMALL)
    dataset = settings.data.load()
    noise = {
        lane.tags["arm"]: lane.values["label_noise"] for lane in lanes(settings, dataset, None)
    }
    assert noise == pytest.approx({"given": 0, "random": 2 / 3, "all-given": 0})
    drawn = symmetric_label_noise(
        role_key(0, "label_noise"), np.zeros(30_000, np.int32), np.float32(2 / 3), 3
    )
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 30_000, 1 / 3, atol=0.01)


def test_a_run_memorises_and_reports(done: runner.Run) -> None:
    # Breaks if an arm does not train what it says, or a table, figure or claim meets what it cannot read.
    result = done.result
    for arm in ("given", "random"):
        np.testing.assert_allclose(accuracy(result, arm, "train"), 100)
    assert (last_epochs(result, "random") > last_epochs(result, "given")).all()
    share = by_seed(result, "memorisers", "relabelled_share")
    assert 0.4 < share.mean() < 0.9  # 2/3 of 80 labels expected
    known = by_seed(result, "memorisers", "stored_known")
    table = by_seed(result, "memorisers", "stored_accuracy", memoriser="lookup table")
    np.testing.assert_allclose(table[:, 0], known + (1 - known) / 3)
    verdicts = {one.id: one.verdict for one in done.presented.findings}
    assert set(verdicts) == {claim.id for claim in STUDY.claims}
    assert "not-decided" not in verdicts.values()
    assert verdicts["ch11.B.16.bound"] == "supported"
    assert len(done.presented.tables) == 8
    assert {path.stem for path in (done.out / "figures").glob("*.png")} >= {
        one.name for one in STUDY.drawings
    }
    assert claims_module.to_json(done.presented.findings, STUDY.claims)


def test_settings_and_data_that_make_no_sense_are_refused() -> None:
    bad: dict[str, dict[str, Any]] = {
        "at least as many directions": {"tails": {"tails": [50, 200]}},
        "more examples than spikes": {"tails": {"growth": [6, 50, 100]}},
        "whose eigenvalues are all kept": {"tails": {"tails": [110, 10**9]}},
        "draws times the most examples squared": {"tails": {"growth": [25, 50, 10**5]}},
        "up to the inputs": {"ranks": {"sweep": [5, 501]}},
        "rank below": {"norms": {"rank": 50}},
        "at least 1": {"norms": {"conditions": [0.5, 10.0]}},
        "orthonormal": {"ranks": {"ranks": [5, 200]}},
        "many more inputs": {"few": {"inputs": 51}},
        "at most all points": {"plane": {"batch_size": 51}},
        "add 'given' and 'random'": {"arms": ["given"]},
        "as many epochs": {"epochs": 5},
    }
    for message, settings in bad.items():
        with pytest.raises(ValidationError, match=message):
            BenignSettings.model_validate(settings)
    regression: Dataset = synthetic.linear_regression()
    with pytest.raises(UserError, match="choose data with classes"):
        lanes(BenignSettings(), regression, None)
