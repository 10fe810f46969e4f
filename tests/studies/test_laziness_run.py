"""The laziness study: its arms and small problems against NumPy, and one run of all of it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from implicit_bias import losses
from implicit_bias.data import Dataset, synthetic
from implicit_bias.errors import UserError
from implicit_bias.keys import ROLES
from implicit_bias.models import Dense, Scaled
from implicit_bias.results import claims as claims_module
from implicit_bias.studies import runner
from implicit_bias.studies.laziness import STUDY
from implicit_bias.studies.laziness.arms import lanes, measurement, times
from implicit_bias.studies.laziness.chosen import best_time, derive
from implicit_bias.studies.laziness.measure import Regime
from implicit_bias.studies.laziness.modes import LinearModes
from implicit_bias.studies.laziness.multi_index import MultiIndexTarget
from implicit_bias.studies.laziness.rows import of_arm, predicted, swept
from implicit_bias.studies.laziness.settings import LazinessSettings
from implicit_bias.training import Pool
from implicit_bias.training.lane import (
    LaneExamples,
    LaneInputs,
    initial_parameters,
    lane_examples,
)
from implicit_bias.training.measurement import FinishedLane

SMALL: dict[str, Any] = {
    "seeds": 2, "dtype": "float64", "arms": ["alpha", "init-scale", "linearised", "width"],
    "data": {"n_train": 30, "n_valid": 20, "n_test": 40, "classes": [0, 1, 2]},
    "model": {"widths": [8], "parameterisation": "ntk", "bias": False},
    "alphas": [0.5, 1, 4], "init_scales": [1, 1.5, 2], "widths": [4, 8], "step_fraction": 0.25,
    "updates": 40, "probes": 6, "probe_set": 12,
    "modes": {"strengths": [2, 1], "inputs": 3, "hidden": 6},
    "multi_index": {"examples": 40, "tests": 30, "inputs": 4, "hidden": 6, "updates": 20},
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> runner.Run:
    """Run the study, small and in double precision."""
    settings = LazinessSettings.model_validate(SMALL)
    return runner.run(STUDY, settings, tmp_path_factory.mktemp("laziness") / "out", scale="custom")


def features_and_gates(weights: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hidden activations of the network in its NTK parameterisation, He spreads, and where they are on."""
    sums = x @ weights.T * np.sqrt(2 / x.shape[1])
    return np.maximum(sums, 0), (sums > 0).astype(float)


def outputs(params: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """The network's outputs, (n, k)."""
    hidden, _ = features_and_gates(params[0], x)
    return hidden @ params[1].T * np.sqrt(2 / len(params[0]))


def gradient(params: list[np.ndarray], x: np.ndarray, delta: np.ndarray) -> list[np.ndarray]:
    """Jᵀ delta for derivatives delta of the loss with respect to the outputs."""
    hidden, on = features_and_gates(params[0], x)
    last = np.sqrt(2 / len(params[0]))
    back = last * (delta @ params[1]) * on
    return [np.sqrt(2 / x.shape[1]) * back.T @ x, last * delta.T @ hidden]


def descend(
    start: list[np.ndarray], x: np.ndarray, y: np.ndarray, alpha: float, step: float, updates: int
) -> list[np.ndarray]:
    """Full-batch descent of the centred, scaled network, written out."""
    params, began = [leaf.copy() for leaf in start], outputs(start, x)
    for _ in range(updates):
        delta = alpha * (alpha * (outputs(params, x) - began) - y) / len(x)
        params = [now - step * g for now, g in zip(params, gradient(params, x, delta), strict=True)]
    return params


def lane_of(settings: LazinessSettings, dataset: Dataset, alpha: float) -> Any:
    """The lane of seed 0, the examples it draws and the weights it begins with."""
    lane = next(
        lane for lane in lanes(settings, dataset, None)
        if lane.tags["arm"] == "alpha" and lane.values["alpha"] == alpha and lane.seed == 0
    )  # fmt: skip
    inputs = LaneInputs(np.uint32(0), lane.values)
    example = dataset.x_train[0].astype(float)
    examples, (params, _) = jax.jit(
        lambda: (
            lane_examples(dataset, 30, 20, inputs),
            initial_parameters(lane.recipe.model, example, inputs),
        )
    )()
    return lane, examples, [np.asarray(params[f"layer_{i}"]["weight"]) for i in range(2)]


def test_networks_linearisation_and_kernels_are_those_written_out(done: runner.Run) -> None:
    # Breaks if a factor, the centring, the step size of α, the chosen examples or a measure is wrong.
    settings = LazinessSettings.model_validate(SMALL)
    dataset = settings.data.load()
    lane, examples, start = lane_of(settings, dataset, 4.0)
    x, x_test = (
        np.asarray(part, float) for part in (dataset.x_train[examples.train], dataset.x_test)
    )
    y = np.eye(3)[np.asarray(examples.targets)]
    result, wrong = done.result, dataset.y_test

    step = lane.values["step_size"]
    ended = descend(start, x, y, 4.0, step, 40)
    moved = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(ended, start, strict=True)))
    size = np.sqrt(sum(np.sum(leaf**2) for leaf in start))
    row = {name: of_arm(result, "alpha", name, 4.0)[0] for name in
           ("absolute_movement", "relative_movement", "flips", "feature_change", "kernel_change",
            "end_test_error", "linearisation_error")}  # fmt: skip
    assert row["absolute_movement"] == pytest.approx(moved, rel=1e-6)
    assert row["relative_movement"] == pytest.approx(moved / size, rel=1e-6)
    before, after = (features_and_gates(params[0], x)[1] for params in (start, ended))
    assert row["flips"] == pytest.approx(np.mean(before != after), abs=1e-12)
    probes = x_test[:12]
    first, last = (features_and_gates(params[0], probes)[0] for params in (start, ended))
    assert row["feature_change"] == pytest.approx(
        np.linalg.norm(last - first) / np.linalg.norm(first), rel=1e-6
    )
    kernels = [kernel(params, probes, probes) for params in (start, ended)]
    assert row["kernel_change"] == pytest.approx(
        np.linalg.norm(kernels[1] - kernels[0]) / np.linalg.norm(kernels[0]), rel=1e-6
    )
    step_taken = np.concatenate([(a - b).ravel() for a, b in zip(ended, start, strict=True)])
    rise = (outputs(ended, probes) - outputs(start, probes)).ravel()
    apart = np.linalg.norm(rise - jacobian_of(start, probes) @ step_taken) / np.linalg.norm(rise)
    assert row["linearisation_error"] == pytest.approx(apart, rel=1e-6)
    function = outputs(ended, x_test) - outputs(start, x_test)
    assert row["end_test_error"] == pytest.approx(np.mean(function.argmax(axis=1) != wrong))

    # The linearised network: descent with the whole Jacobian.
    jacobian, of_test = (jacobian_of(start, part) for part in (x, x_test))
    change = np.zeros(jacobian.shape[1])
    for _ in range(40):
        residual = jacobian @ change - y.ravel()
        change -= 16 * step * jacobian.T @ residual / len(x)
    assert of_arm(result, "linearised", "absolute_movement")[0] == pytest.approx(
        np.linalg.norm(change), rel=1e-6
    )
    predictions = (of_test @ change).reshape(-1, 3).argmax(axis=1)
    error = of_arm(result, "linearised", "end_test_error")[0]
    assert error == pytest.approx(np.mean(predictions != wrong))

    # Descent with the kernel of the start averaged over outputs, and with the last layer's part.
    hidden, hidden_test = (features_and_gates(start[0], part)[0] for part in (x, x_test))
    for name, (k, k_test) in {
        "own kernel": (kernel(start, x, x), kernel(start, x_test, x)),
        "last layer": (hidden @ hidden.T / 4, hidden_test @ hidden.T / 4),
    }.items():
        f, f_test = np.zeros_like(y), np.zeros((len(x_test), 3))
        for _ in range(40):
            residual = (f - y) / len(x)
            f, f_test = f - 16 * step * k @ residual, f_test - 16 * step * k_test @ residual
        found = predicted(result, "kernel_end_wrong", name)[0]
        np.testing.assert_array_equal(found, f_test.argmax(axis=1) != wrong)
        ridgeless = k_test @ np.linalg.pinv(k, rcond=1e-12) @ y
        error = np.mean(ridgeless.argmax(axis=1) != wrong)
        assert predicted(result, "kernel_limit_error", name)[0] == pytest.approx(error, abs=0.05)


def jacobian_of(params: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Derivatives of all outputs, (n·k, p), one backward pass each."""
    k, rows = len(params[1]), []
    for example in x:
        for unit in np.eye(k):
            parts = gradient(params, example[None], unit[None])
            rows.append(np.concatenate([part.ravel() for part in parts]))
    return np.stack(rows)


def kernel(params: list[np.ndarray], one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Tangent kernel, its mean over outputs."""
    first, second = (jacobian_of(params, x).reshape(len(x), 3, -1) for x in (one, other))
    return np.einsum("acp,bcp->ab", first, second) / 3


def test_layers_are_aligned_with_labels_each_by_itself() -> None:
    # Breaks if layers are swapped, the start is taken for the end, or padding counts.
    rng = np.random.default_rng(0)
    model = Scaled(Dense((5, 4), 3, "relu", "ntk", "he", False))
    x, labels = rng.normal(size=(9, 2)), np.arange(9) % 3
    weights = [[rng.normal(size=shape) for shape in ((5, 2), (4, 5), (3, 4))] for _ in range(2)]
    begun, ended = ({f"layer_{i}": {"weight": w} for i, w in enumerate(each)} for each in weights)
    state = model.around(begun, {})
    lane = FinishedLane(0, LaneExamples(np.arange(9), np.arange(0), labels), ended, state, begun)
    regime, pool = Regime(3, 9), Pool(x, labels, x, labels)
    measured = jax.jit(lambda *given: regime(model, losses.get("squared"), *given))(pool, lane)
    same = (labels[:, None] == labels[None, :]).astype(float)
    centring = np.eye(9) - 1 / 9
    target = centring @ same @ centring
    for name, each in zip(("before", "after"), weights, strict=True):
        hidden, expected = x, []
        for weight in each[:2]:
            hidden = np.maximum(hidden @ weight.T * np.sqrt(2 / hidden.shape[1]), 0)
            own = centring @ hidden @ hidden.T @ centring
            expected.append(np.sum(own * target) / np.linalg.norm(own) / np.linalg.norm(target))
        found = np.asarray(measured[f"layer_alignment_{name}"])
        np.testing.assert_allclose(found, [*expected, np.nan], rtol=1e-9)


def test_an_initial_scale_without_biases_is_a_factor_of_its_square(done: runner.Run) -> None:
    # Breaks if the step size of the scales does not grow as their kernel.
    for name in ("relative_movement", "kernel_change", "end_test_error"):
        scaled = of_arm(done.result, "init-scale", name, 2.0)
        np.testing.assert_allclose(scaled, of_arm(done.result, "alpha", name, 4.0), rtol=1e-6)


def test_arms_that_are_the_same_network_are_trained_once(done: runner.Run) -> None:
    # Breaks if α = 1, scale 1 and the width of the sweeps are different lanes.
    settings = LazinessSettings.model_validate(SMALL)
    made = lanes(settings, settings.data.load(), None)
    assert len(made) == 2 * (3 + 3 + 1 + 2)
    checksum = settings.data.load().checksum
    assert len({lane.identity(checksum) for lane in made}) == len(made) - 2 * 2
    assert times(settings)[0] == 0
    assert times(settings)[-1] == 40


def test_a_run_leaves_tables_verdicts_and_figures(done: runner.Run) -> None:
    # Breaks if the study's parts do not fit together.
    entries = claims_module.to_json(done.presented.findings, STUDY.claims)
    assert [entry["id"] for entry in entries] == [
        "dhand.E3", "dhand.E3.same-width", "dhand.sec-5.3", "dhand.sec-6.1-claims", "ch11.A.17",
        "laziness.ctrl.alpha",
    ]  # fmt: skip
    by_id = {entry["id"]: entry for entry in entries}
    assert by_id["dhand.E3"]["verdict"] == "not-decided"  # 4 is not a tenth of 8
    assert by_id["dhand.sec-5.3"]["verdict"] != "not-decided"
    assert "deep, which was not run" in by_id["dhand.sec-6.1-claims"]["reason"]
    for name in ("movement", "error", "widths", "modes"):
        assert (done.out / "figures" / f"{name}.png").is_file()
    assert [len(table.rows) for table in done.presented.tables] == [9, 6, 12, 2, 4]
    assert "log_test_wrong" not in done.result
    best, wrong = (done.result[name].values for name in ("best_test_error", "best_wrong"))
    np.testing.assert_allclose(best, wrong.mean(axis=1))
    assert swept(done.result, "alpha", "best_update").max() <= 40


def test_the_time_is_that_of_least_validation_error_then_loss() -> None:
    # Breaks if test data choose, or ties go to the last.
    nan = np.nan
    assert best_time(np.array([0.3, 0.1, 0.1, 0.2]), np.array([1, 0.5, 0.4, 0.1])) == 2
    assert best_time(np.array([0.3, 0.1, 0.1, nan]), np.array([1, 0.5, 0.5, nan])) == 1
    assert best_time(np.full(2, nan), np.full(2, nan)) == -1
    log = ("lane", "probe")
    result = xr.Dataset(
        {
            "log_valid_error": (log, [[0.5, 0.2, 0.3], [0.5, 0.2, 0.3], [0.5, 0.4, nan]]),
            "log_valid_loss": (log, [[1.0, 1.0, 1.0]] * 2 + [[1.0, 1.0, nan]]),
            "log_test_error": (log, [[0.9, 0.5, 0.0]] * 3),
            "log_train_loss": (log, [[3.0, 2.0, 1.0]] * 3),
            "log_step": (log, [[0.0, 1.0, 2.0]] * 3),
            "log_test_wrong": (
                (*log, "test_example"),
                np.tile([[1.0, 1], [1, 0], [0, 0]], (3, 1, 1)),
            ),
            "diverged": ("lane", [False, True, False]),
        }
    )
    found = derive(result)
    np.testing.assert_array_equal(found["best_test_error"], [0.5, nan, 0.5])
    np.testing.assert_array_equal(found["end_test_error"], [0.0, nan, 0.5])
    np.testing.assert_array_equal(found["best_wrong"][0], [1, 0])
    np.testing.assert_array_equal(found["end_wrong"][0], [0, 0])


def test_mode_times_are_those_of_the_gradient_flow() -> None:
    # Breaks if the gradient, the interpolation, the unit of time or a start is wrong.
    experiment = LinearModes((2.0, 1.0), inputs=3, hidden=5, small=0.05, large=4.0)
    found = experiment(None, 3, {})["mode_time"]  # type: ignore[arg-type]
    rng = np.random.default_rng([3, ROLES["data"]])
    left, right = (np.linalg.qr(rng.standard_normal((3, 3)))[0][:, :2] for _ in range(2))
    first, last = rng.standard_normal((5, 3)) / np.sqrt(3), rng.standard_normal((3, 5)) / np.sqrt(5)
    for row, scale in enumerate((0.05, 4.0)):
        w1, w2 = scale * first, scale * last
        goal = left @ np.diag([2.0, 1.0]) @ right.T + w2 @ w1

        def slope(_: float, flat: np.ndarray, goal: np.ndarray = goal) -> np.ndarray:
            one, two = flat[:15].reshape(5, 3), flat[15:].reshape(3, 5)
            error = two @ one - goal
            return -np.concatenate([(two.T @ error).ravel(), (error @ one.T).ravel()])

        at = np.linspace(0, 1.2 * found[row].max(), 3000)
        flow = solve_ivp(
            slope, (0, at[-1]), np.concatenate([w1.ravel(), w2.ravel()]), t_eval=at, rtol=1e-8, atol=1e-10
        ).y  # fmt: skip
        change = np.stack(
            [f[15:].reshape(3, 5) @ f[:15].reshape(5, 3) for f in flow.T]
        ) - w2 @ w1  # fmt: skip
        along = np.einsum("ok,toi,ik->tk", left, change, right) / np.array([2.0, 1.0])
        expected = [at[np.argmax(along[:, mode] >= 0.5)] for mode in range(2)]
        np.testing.assert_allclose(found[row], expected, rtol=0.05)


def test_both_kinds_of_features_are_trained_as_descent_trains_them() -> None:
    # Breaks if an update, the filter of the last layer, the ridge or the relative error is wrong.
    experiment = MultiIndexTarget(examples=30, tests=40, inputs=4, hidden=7, updates=30)
    found = experiment(None, 2, {})  # type: ignore[arg-type]
    data = synthetic.teacher_student(36, 40, 4, width=2, seed=2, dtype=np.float64)
    x, y = np.asarray(data.x_train[:30]), np.asarray(data.y_train[:30, 0])
    mean = y.mean()
    weights = np.random.default_rng([2, ROLES["initialisation"]]).standard_normal((7, 4))

    def hidden(first: np.ndarray, part: np.ndarray) -> np.ndarray:
        return np.maximum(part @ first.T * np.sqrt(2 / 4), 0) / np.sqrt(7)

    given = hidden(weights, x)
    step = 0.25 * 2 * 30 / np.linalg.eigvalsh(given @ given.T)[-1]
    first, last = weights.copy(), np.zeros(7)
    for _ in range(30):
        given = hidden(first, x)
        delta = (given @ last - (y - mean)) / 30
        back = np.outer(delta, last) * (given > 0) * np.sqrt(2 / 28)
        last, first = last - step * delta @ given, first - step * back.T @ x
    test = np.asarray(data.y_test)[:, 0]
    error = np.mean((hidden(first, data.x_test) @ last + mean - test) ** 2) / test.var()
    assert found["target_end_error"] == pytest.approx(error, rel=1e-8)
    # With seven features the best ridge errs no more than least squares or the mean do.
    given, asked = hidden(weights, x), hidden(weights, np.asarray(data.x_test))
    fitted = asked @ np.linalg.lstsq(given, y - mean, rcond=None)[0]
    least = np.mean((fitted + mean - test) ** 2) / test.var()
    random, ridge = found["target_error"][1:]
    assert ridge <= least * (1 + 1e-6)
    assert ridge <= random * (1 + 1e-6) or random >= 0.9 * ridge
    # Random features at a chosen time: descent written out meets it somewhere.
    a, course = np.zeros(7), []
    for _ in range(3000):
        a = a - step * given.T @ (given @ a - (y - mean)) / 30
        course.append(np.mean((asked @ a + mean - test) ** 2) / test.var())
    assert min(course) * 0.98 <= random <= max(*course, least) * 1.02


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arms": ["width"]}, "add 'alpha'"),
        ({"arms": ["alpha", "rich"]}, "no 'rich'"),
        ({"alphas": [0.5, 2, 8]}, "add 1"),
        ({"alphas": [0.5, 1, 2]}, "at least 4"),
        ({"widths": [10, 1000]}, "width of the other arms"),
        ({"model": {"widths": [100], "parameterisation": "standard"}}, "choose ntk"),
        ({"model": {"widths": [8, 8], "parameterisation": "ntk"}}, "one hidden layer"),
        ({"data": {"n_valid": 0}}, "hold some out"),
        ({"updates": 10, "probes": 20}, "as many updates as probes"),
        ({"modes": {"strengths": [1, 2]}}, "decreasing"),
        ({"modes": {"strengths": [3, 2, 1], "inputs": 2}}, "a mode for each input"),
        ({"modes": {"small": 2, "large": 1}}, "larger large one"),
        ({"multi_index": {"directions": 30}}, "no more than there are"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any], told: str) -> None:
    # Breaks if a mistake shows only after a run.
    with pytest.raises(ValueError, match=told):
        LazinessSettings.model_validate(changes)


def test_what_does_not_go_with_the_data_is_refused() -> None:
    # Breaks if data or network are held against the settings only after training.
    regression = synthetic.linear_regression(40, 20, 3)
    with pytest.raises(UserError, match=r"regression, but errors are compared"):
        lanes(LazinessSettings(), regression, None)
    classes = synthetic.gaussian_classes(40, 20, 3)
    with pytest.raises(UserError, match="20 test examples"):
        measurement(LazinessSettings(), classes)
    gelu = LazinessSettings.model_validate(
        {"model": {**SMALL["model"], "activation": "gelu"}, "arms": ["alpha"],
         "data": {"n_train": 20, "n_valid": 10}}
    )  # fmt: skip
    with pytest.raises(UserError, match="gelu"):
        lanes(gelu, classes, None)
