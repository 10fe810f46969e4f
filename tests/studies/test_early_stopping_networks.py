"""Networks of the early-stopping study: the sine against derivatives, lanes, one run."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from implicit_bias import losses
from implicit_bias.data import Dataset, load
from implicit_bias.errors import UserError
from implicit_bias.models import Dense
from implicit_bias.studies import runner
from implicit_bias.studies.base import Study
from implicit_bias.studies.early_stopping.networks import (
    NETWORK_CLAIMS,
    NETWORK_DRAWINGS,
    NETWORK_STAGES,
    network_probe,
    network_tables,
)
from implicit_bias.studies.early_stopping.networks.arms import lanes, probed_epochs
from implicit_bias.studies.early_stopping.networks.rules_lanes import _gap_at
from implicit_bias.studies.early_stopping.networks.rules_sine import distance, farthest, stopped
from implicit_bias.studies.early_stopping.networks.settings import NetworkSettings
from implicit_bias.studies.early_stopping.networks.shallow import (
    Shallow,
    descend,
    half_squares,
    interpolator,
    outputs,
    small_start,
    uniform_start,
)
from implicit_bias.studies.early_stopping.networks.sine import (
    FRACTIONS,
    RUNS,
    SmallStart,
    numerical_gradient,
    printed_gradient,
)
from implicit_bias.studies.early_stopping.networks.validated import ValidatedSine
from implicit_bias.studies.settings import StudySettings
from implicit_bias.training.lane import LaneExamples, Pool
from implicit_bias.training.probe import ProbedLane

SINE = {"examples": 6, "tests": 20, "width": 10, "iterations": 40, "longer_iterations": 100}
VALIDATED = {
    "examples": 20, "valid": 10, "tests": 10, "width": 5, "batch_sizes": [8, 20], "epochs": 4,
    "few_examples": 4, "few_draws": 2, "few_updates": 20,
}  # fmt: skip


class Settings(StudySettings):
    """Settings of a study that has the networks alone."""

    networks: NetworkSettings = NetworkSettings()


STUDY = Study(
    "networks-alone", "Networks alone", Settings, NETWORK_STAGES, NETWORK_CLAIMS, probe=network_probe,
    tables=network_tables, drawings=NETWORK_DRAWINGS,
)  # fmt: skip


def _settings(**networks: Any) -> Settings:
    small = {"sine": SINE, "validated": VALIDATED, "valid": 20, "probe_every": 2}
    return Settings.model_validate({"seeds": 2, "networks": {**small, **networks}})


@pytest.fixture(scope="module")
def points() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, 9)
    return x, np.sin(x)


@pytest.mark.parametrize("penalty", [0.0, 0.03])
def test_descent_is_that_of_automatic_derivatives(
    points: tuple[np.ndarray, np.ndarray], penalty: float
) -> None:
    # Breaks if a gradient lacks a factor, a bias is penalised, or batches are taken from other rows.
    x, y = points
    net = small_start(np.random.default_rng(1), 7, 0.5)
    orders = np.array([[0, 3, 5], [1, 2, 8], [4, 6, 7]])
    found = descend(net, x, y, 0.2, 3, penalty=penalty, orders=orders)

    def loss(params: dict[str, Any], rows: np.ndarray) -> Any:
        hidden = jnp.maximum(jnp.outer(x[rows], params["weight"]) + params["bias"][None], 0)
        said = hidden @ params["outer"] + params["offset"]
        squares = jnp.sum(params["weight"] ** 2) + jnp.sum(params["outer"] ** 2)
        return 0.5 * jnp.mean((said - y[rows]) ** 2) + penalty * squares

    with jax.enable_x64(True):
        params = {
            "weight": jnp.asarray(net.inner[:, 0]), "bias": jnp.asarray(net.inner[:, 1]),
            "outer": jnp.asarray(net.outer), "offset": jnp.asarray(net.offset),
        }  # fmt: skip
        for rows in orders:
            gradient = jax.grad(loss)(params, rows)
            params = {name: part - 0.2 * gradient[name] for name, part in params.items()}
        ended = float(loss(params, np.arange(9)) - penalty * sum(
            jnp.sum(params[name] ** 2) for name in ("weight", "outer")
        ))  # fmt: skip
    np.testing.assert_allclose(found.inner[:, 0], params["weight"], rtol=1e-10)
    np.testing.assert_allclose(found.inner[:, 1], params["bias"], rtol=1e-10)
    np.testing.assert_allclose(found.outer, params["outer"], rtol=1e-10)
    assert found.offset == pytest.approx(float(params["offset"]), rel=1e-10)
    assert half_squares(found, x, y) == pytest.approx(ended)


def test_networks_side_by_side_are_networks_alone() -> None:
    # Breaks if networks of a stack mix.
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (3, 6)), rng.standard_normal((3, 6))
    nets = [uniform_start(rng, 4) for _ in range(3)]
    stack = descend(Shallow(*map(np.stack, zip(*nets, strict=True))), x, y, 0.1, 5)
    for row, net in enumerate(nets):
        alone = descend(net, x[row], y[row], 0.1, 5)
        for ours, theirs in zip(stack, alone, strict=True):
            np.testing.assert_allclose(ours[row], theirs, rtol=1e-12)


def test_constructed_networks_go_through_all_points(points: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = points
    net = interpolator(x, y, 12)
    between = np.linspace(x.min(), x.max(), 50)
    order = np.argsort(x)
    np.testing.assert_allclose(
        outputs(net, between), np.interp(between, x[order], y[order]), atol=1e-12
    )
    assert half_squares(net, x, y) < 1e-28


def test_printed_gradients_have_the_other_sign(points: tuple[np.ndarray, np.ndarray]) -> None:
    net = small_start(np.random.default_rng(2), 5, 0.7)
    true = numerical_gradient(net, *points)
    np.testing.assert_allclose(printed_gradient(net, *points), -true, atol=1e-8)
    # The numerical gradient is that which descent follows.
    step = descend(net, *points, 1e-3, 1)
    moved = np.concatenate([step.inner.T.ravel(), step.outer, [step.offset]])
    before = np.concatenate([net.inner.T.ravel(), net.outer, [net.offset]])
    np.testing.assert_allclose((before - moved) / 1e-3, true, atol=1e-7)


def test_runs_of_the_sine_are_one_path_and_its_sizes() -> None:
    # Breaks if the longer run has another start, or a larger step is no shorter way along the path.
    settings = NetworkSettings(sine={**SINE, "longer_iterations": 80, "longer_step_size": 0.02})  # type: ignore[arg-type]
    found = SmallStart(**settings.sine.model_dump())(None, 0, {})  # type: ignore[arg-type]
    half = FRACTIONS.index(0.5), FRACTIONS.index(1.0)
    stated, longer = list(RUNS).index("stated"), list(RUNS).index("longer")
    assert found["sine_time"][longer, -1] == pytest.approx(1.6)
    assert found["sine_train"][stated, half[1]] < found["sine_train"][stated, 0]
    np.testing.assert_allclose(found["sine_train"][longer, 0], found["sine_train"][stated, 0])
    assert found["sine_train"][longer, -1] < found["sine_train"][stated, -1]
    assert found["sine_printed"] == pytest.approx(2, abs=1e-6)


def test_designs_that_diverge_leave_no_losses() -> None:
    settings = NetworkSettings(validated={**VALIDATED, "step_sizes": [0.01, 1e6]})  # type: ignore[arg-type]
    found = ValidatedSine(**settings.validated.model_dump())(None, 0, {})  # type: ignore[arg-type]
    assert np.isfinite(found["curve_loss"][:, 0]).all()
    assert np.isnan(found["curve_loss"][:, 1]).all()
    assert found["curve_ceiling"] == pytest.approx(0.01 * 16 / 20)
    assert found["few_loss"].shape[1] == 3


def test_losses_of_points_average_to_those_of_the_test_set() -> None:
    # Breaks if losses are kept of another design, other epochs or another set than they say.
    settings = NetworkSettings(validated=VALIDATED)  # type: ignore[arg-type]
    study = ValidatedSine(**settings.validated.model_dump())
    found, epochs = study(None, 0, {}), list(study.coordinates["point_epoch"])  # type: ignore[arg-type]
    assert epochs[0] == 0
    assert epochs[-1] == study.epochs
    np.testing.assert_allclose(
        found["point_loss"].mean(axis=1), found["curve_loss"][0, 0, epochs, -1], rtol=1e-12
    )
    assert (np.diff(found["point_place"], axis=1) >= 0).all()
    alone = ValidatedSine(**{**settings.validated.model_dump(), "few_draws": 1})
    one = alone(None, 0, {})  # type: ignore[arg-type]
    np.testing.assert_allclose(
        one["few_point_loss"].mean(axis=1), one["few_loss"][:, -1], rtol=1e-12
    )


def test_optima_and_distances_are_those_by_hand() -> None:
    curves = np.zeros((2, 4, 3))
    curves[0, :, 1] = [3, 1, 2, 4]
    curves[1, 2, 0] = np.nan
    np.testing.assert_array_equal(stopped(curves), [1, np.nan])
    np.testing.assert_allclose(distance(np.array([60.0, 75.0]), 50, 70), [0, 1.5])
    np.testing.assert_allclose(farthest([np.array([1.0, 0.0]), np.array([0.5, 2.0])]), [1, 2])
    train, gap = np.array([3.0, 2.0, 1.0]), np.array([0.0, 0.1, 0.3])
    assert _gap_at(train, gap, 1.5) == pytest.approx(0.2)
    assert np.isnan(_gap_at(train, gap, 0.5))


def test_weights_and_class_accuracies_are_those_of_numpy() -> None:
    # Breaks if biases enter the norm, or a class is counted by what is predicted instead of what is true.
    rng = np.random.default_rng(0)
    params = {
        f"layer_{number}": {
            "weight": rng.standard_normal(shape).astype(np.float32),
            "bias": rng.standard_normal(shape[0]).astype(np.float32),
        }
        for number, shape in enumerate([(6, 3), (4, 6)])
    }
    x = rng.standard_normal((30, 3)).astype(np.float32)
    y = rng.integers(0, 3, 30).astype(np.int32)
    pool = Pool(x, y, x[20:], y[20:])
    rows = np.arange(5, 17)
    examples = LaneExamples(jnp.asarray(rows), jnp.zeros(0, jnp.int32), jnp.asarray(y[rows]))
    lane = ProbedLane(jnp.uint32(0), jnp.int32(0), {}, examples, params, {}, ())
    probe = network_probe(_settings(class_examples=10), load("digits"))
    found, _ = type(probe)(4, 10)(
        Dense((6,), 4), losses.get("cross_entropy"), Pool(*map(jnp.asarray, pool)), lane, ()
    )
    first, second = params["layer_0"], params["layer_1"]
    hidden = np.maximum(x @ first["weight"].T + first["bias"], 0)
    right = (hidden @ second["weight"].T + second["bias"]).argmax(axis=1) == y
    norm = np.sqrt(np.sum(first["weight"] ** 2) + np.sum(second["weight"] ** 2))
    assert float(found["weight_norm"]) == pytest.approx(float(norm), rel=1e-5)
    for part, these in enumerate((rows[:10], np.arange(20, 30))):
        for label in range(4):
            mine = right[these][y[these] == label]
            expected = mine.mean() if mine.size else np.nan
            np.testing.assert_allclose(found["class_accuracy"][part, label], expected, rtol=1e-6)


def test_lanes_are_what_the_exercises_state() -> None:
    # Breaks if λ is taken for the decay instead of half of it, or momentum reaches arms that have none.
    settings = _settings(gap={"batch_sizes": [32, 64, 256]})
    made = lanes(settings, load("digits"), None)
    values = {
        (lane.tags["arm"], lane.recipe.batch_size, lane.tags["penalty"]): lane for lane in made
    }
    assert len(made) == 2 * (5 + 6 + 1)
    assert values["decay", 32, 0.01].values["weight_decay"] == pytest.approx(0.02)
    assert values["decay", 32, 0.01].values["momentum"] == 0.9
    assert values["gap", 64, 0.01].values["momentum"] == 0
    assert values["gap", 256, 0.0].budget.updates == 100 * 3
    assert [key[1:] for key, lane in values.items() if key[0] == "gap" and lane.tags["stated"]] == [
        (32, 0.0), (64, 0.0), (256, 0.01)
    ]  # fmt: skip
    assert len({lane.recipe for lane in made}) == 3  # one program a batch size
    assert probed_epochs(60, 25) == [0, 1, 10, 25, 50, 60]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"networks": {"decay": {"penalties": [0.1, 0.2, 0.3]}}}, "penalties"),
        ({"networks": {"arms": ["decoy"]}}, "did you mean decay"),
        ({"networks": {"sine": {"longer_iterations": 20}}}, "longer_iterations"),
        ({"networks": {"sine": {"width": 5}}}, "width"),
        ({"networks": {"validated": {"batch_sizes": [32, 700]}}}, "batch_sizes"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Settings.model_validate(changed)


def test_data_that_do_not_go_with_the_arms_are_refused() -> None:
    digits = load("digits")
    for settings, named in (
        (_settings(overfit={"examples": 1290}), "networks.overfit.examples"),
        (_settings(gap={"batch_sizes": [32, 800]}), "networks.gap.batch_sizes"),
        (_settings(valid=5000), "networks.valid"),
        (Settings.model_validate({"data": {"n_train": 100}}), "data.n_train"),
        (Settings.model_validate({"model": {"widths": [3]}}), "model is given"),
    ):
        with pytest.raises(UserError, match=named) as caught:
            lanes(settings, digits, None)
        assert "\n" not in str(caught.value)
    regression = Dataset(
        name="line", task="regression", n_outputs=1, x_train=np.zeros((9, 1), np.float32),
        y_train=np.zeros((9, 1), np.float32), x_test=np.zeros((9, 1), np.float32),
        y_test=np.zeros((9, 1), np.float32), provenance={},
    )  # fmt: skip
    with pytest.raises(UserError, match="classes"):
        lanes(_settings(), regression, None)


def test_a_run_leaves_what_rules_tables_and_figures_read(tmp_path: Any) -> None:
    # Breaks if a name of a tag, a log or a dimension differs between what is made and what is read.
    settings = _settings(
        decay={"widths": [6], "examples": 60, "batch_size": 60, "epochs": 4, "step_size": 0.05},
        gap={"widths": [6], "examples": 60, "batch_sizes": [30, 60], "epochs": 4},
        overfit={"widths": [6], "examples": 60, "batch_size": 60, "epochs": 5},
    )
    run = runner.run(STUDY, settings, tmp_path / "out", scale="custom")
    result = run.result
    verdicts = {one.id: one.verdict for one in run.presented.findings}
    assert verdicts["ch11.C.10"] == "not-decided"
    assert verdicts["ch11.C.10.bound"] == "supported"
    assert len(run.presented.tables) == 4
    assert len(list((tmp_path / "out" / "figures").glob("*.png"))) >= 6
    # Full batches without momentum and penalty: two arms with different epochs share their beginning.
    arms_ = result["arm"].values
    full = (result["batch_size"].values == 60) & (result["penalty"].values == 0)
    gap, overfit = (
        result["log_train_loss"].values[full & (arms_ == arm)][:, :3] for arm in ("gap", "overfit")
    )
    np.testing.assert_allclose(gap, overfit, rtol=1e-6)
    # A penalty shrinks weights: by (1 − 2ηλ) an update where nothing else acts, so less than without.
    norms = {
        penalty: result["log_weight_norm"].values[
            (arms_ == "decay") & (result["penalty"].values == penalty)
        ]
        for penalty in (0.0, 0.01)
    }
    assert (norms[0.01][:, 3] < norms[0.0][:, 3]).all()
    np.testing.assert_array_equal(norms[0.01][:, 0], norms[0.0][:, 0])
