"""Networks of the early-stopping study: the sine against derivatives, rules on planted results, one run."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from implicit_bias import losses, studies
from implicit_bias.data import Dataset, load
from implicit_bias.errors import UserError
from implicit_bias.models import Dense
from implicit_bias.results.claims import Finding, evaluate
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

SEEDS = 6
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


# ---------------------------------------------------------------------------------------------------
# Rules on planted results

AS_PUBLISHED: dict[str, Any] = {
    "data": "mnist",
    "decay": {0.0: (0.35, 100, 96.5, 45), 1e-4: (0.28, 99, 97.5, 30), 1e-2: (0.45, 88, 95.8, 8)},
    "gaps": {(32, 0.0): 0.1, (128, 0.0): 0.05, (256, 0.0): 0.04, (256, 0.01): 0.02},
    "early": 0.02, "overfit": (0.35, 0.55, 0.01, 0.30, 60),
}  # fmt: skip


def planted(**changes: Any) -> xr.Dataset:
    """A result of lanes at epochs 0, 50, 200, with a little noise over seeds."""
    given, rng = {**AS_PUBLISHED, **changes}, np.random.default_rng(0)
    rows: list[dict[str, Any]] = []

    def add(arm: str, batch: int, penalty: float, data: str, **logs: list[float]) -> None:
        for seed in range(SEEDS):
            noisy = {k: np.asarray(v) + 1e-3 * rng.standard_normal(3) for k, v in logs.items()}
            rows.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "batch": batch,
                    "penalty": penalty,
                    "data": data,
                    **noisy,
                }
            )

    def share(per_cent: float) -> list[float]:
        return [0.9, 1 - per_cent / 100, 1 - per_cent / 100]

    for penalty, (loss, train, test, norm) in given["decay"].items():
        add("decay", 32, penalty, given["data"], train_loss=[2, 0.1, 0.1], test_loss=[2, loss, loss],
            train_error=share(train), test_error=share(test), weight_norm=[5, norm, norm])  # fmt: skip
    for (batch, penalty), gap in given["gaps"].items():
        # At the training loss with which large batches end, .1, the small batch has the early gap.
        small = batch == 32
        train = [2, 0.1, 0.01] if small else [2, 0.5, 0.1]
        gaps = [0, given["early"] if small else gap, gap]
        add("gap", batch, penalty, given["data"], train_loss=train,
            test_loss=[t + g for t, g in zip(train, gaps, strict=True)], train_error=share(100),
            test_error=share(97), weight_norm=[5, 5, 5])  # fmt: skip
    add("gap", 128, 0.01, given["data"], train_loss=[2, 1, 1], test_loss=[2, 1, 1], train_error=share(90),
        test_error=share(90), weight_norm=[5, 5, 5])  # fmt: skip
    add("gap", 32, 0.01, given["data"], train_loss=[2, 1, 1], test_loss=[2, 1, 1], train_error=share(90),
        test_error=share(90), weight_norm=[5, 5, 5])  # fmt: skip
    least, last, middle, end, accuracy = given["overfit"]
    add("overfit", 32, 0.0, given.get("images", "cifar10"), train_loss=[2.3, least - middle, last - end],
        test_loss=[2.3, least, last], train_error=share(99), test_error=share(accuracy),
        weight_norm=[5, 5, 5])  # fmt: skip
    names = ("train_loss", "test_loss", "train_error", "test_error", "weight_norm")
    table = {
        f"log_{name}": (("lane", "probe"), np.stack([row[name] for row in rows])) for name in names
    }
    steps = np.tile([0.0, 500.0, 2000.0], (len(rows), 1))
    empty = np.full_like(steps, np.nan)

    def column(name: str) -> tuple[str, list[Any]]:
        return "lane", [row[name] for row in rows]

    return xr.Dataset(
        {
            **table, "log_step": (("lane", "probe"), steps), "log_valid_loss": (("lane", "probe"), empty),
            "log_valid_error": (("lane", "probe"), empty), "diverged": ("lane", np.zeros(len(rows), bool)),
        },
        {
            "arm": column("arm"), "seed": column("seed"), "batch_size": column("batch"),
            "penalty": column("penalty"), "data_name": column("data"),
            "epoch_updates": ("lane", np.full(len(rows), 10.0)),
            "tests": ("lane", np.full(len(rows), 10_000.0)),
            "inputs": ("lane", np.full(len(rows), 3072.0)),
        },
    )  # fmt: skip


def judged(result: xr.Dataset, *ids: str) -> dict[str, Finding]:
    """Findings of the claims about lanes, by the end of their id."""
    chosen = [claim for claim in NETWORK_CLAIMS if claim.id.removeprefix("ch11.") in ids]
    return {one.id.removeprefix("ch11."): one for one in evaluate(chosen, result)}


LANES = ("C.9", "W.10", "W.10.same-loss", "C.10", "C.10.bound")


def arms(finding: Finding) -> dict[str, str]:
    return {name: one["verdict"] for name, one in finding.details["arms"].items()}


def test_what_is_published_is_supported_where_it_is_found() -> None:
    # Breaks if a rule reads another lane, a boundary or a direction turns, or the gap has the other sign.
    found = judged(planted(), *LANES)
    assert found["C.9"].verdict == "supported"
    assert found["W.10"].verdict == "supported"
    assert found["W.10.same-loss"].verdict == "refuted"
    assert found["C.10"].verdict == "supported"
    assert found["C.10.bound"].verdict == "supported"


def test_other_curves_are_refuted() -> None:
    flat = dict.fromkeys((0.0, 0.0001, 0.01), (1.0, 100, 94.0, 20))
    same = dict.fromkeys(AS_PUBLISHED["gaps"], 0.3)
    found = judged(
        planted(decay=flat, gaps=same, early=0.3, overfit=(1.8, 4.0, 0.8, 3.9, 32)), *LANES
    )
    assert found["C.9"].verdict == "refuted"
    assert found["W.10"].verdict == "refuted"
    overfit = arms(found["C.10"])
    assert overfit.pop("rise of test loss after its least") == "supported"
    assert overfit.pop("epoch of the least test loss") == "supported"
    assert set(overfit.values()) == {"refuted"}
    assert judged(planted(early=0.3), "W.10.same-loss")["W.10.same-loss"].verdict == "supported"


def test_a_loss_too_small_for_its_error_breaks_the_bound() -> None:
    found = judged(planted(overfit=(0.35, 0.55, 0.01, 0.3, 30)), "C.10.bound")
    assert found["C.10.bound"].verdict == "refuted"
    assert found["C.10.bound"].effect == pytest.approx(0.7 * np.log(2) - 0.35, abs=5e-3)


def test_on_other_data_published_numbers_are_not_asked() -> None:
    found = judged(planted(data="digits", images="digits"), *LANES)
    assert "test accuracy at λ = 1e-4" not in arms(found["C.9"])
    assert "mnist.yaml" in found["C.9"].reason
    assert found["C.10"].verdict == "not-decided"
    assert "cifar10.yaml" in found["C.10"].reason
    missing = judged(
        planted(decay={0.0: (1, 1, 1, 1), 1e-3: (1, 1, 1, 1), 1e-2: (1, 1, 1, 1)}), "C.9"
    )
    assert missing["C.9"].verdict == "not-decided"
    assert "0.0001" in missing["C.9"].reason


@pytest.mark.parametrize("arm", ["decay", "gap", "overfit"])
def test_one_arm_alone_leaves_the_others_undecided(arm: str) -> None:
    # Breaks if a rule takes the rows of an arm that was not run for granted.
    whole = planted()
    found = judged(whole.isel(lane=whole["arm"].values == arm), *LANES)
    own = {"decay": {"C.9"}, "gap": {"W.10", "W.10.same-loss"}, "overfit": {"C.10"}}
    for others in own.keys() - {arm}:
        assert {found[name].verdict for name in own[others]} == {"not-decided"}
    assert "not-decided" not in {found[name].verdict for name in own[arm]}


def test_the_study_is_judged_without_its_trials() -> None:
    # Breaks if a rule, a table or a figure takes what ``exact: false`` leaves out for granted.
    whole, result = studies.get("early-stopping"), planted()
    decided = {one.id for one in evaluate(whole.claims, result) if one.verdict != "not-decided"}
    assert decided == {f"ch11.{name}" for name in LANES}
    drawn = {drawing.name for drawing in whole.drawings if drawing.when(result)}
    assert drawn == {"decay", "gaps", "overfit", "classes"}
    assert len(whole.tables(result)) == len(network_tables(result))
    assert {stage.name for stage in whole.wanted(whole.settings(exact=False))} == {"networks"}


def sines(
    stated: dict[str, float], longer: float, rise: float, end: float, few: float
) -> xr.Dataset:
    """A result of the sine's experiments."""
    rng = np.random.default_rng(0)
    n = 2 * SEEDS
    first, second = slice(None, SEEDS), slice(SEEDS, None)

    def noisy(values: Any, rows: slice) -> np.ndarray:
        values = np.asarray(values, float)
        whole = np.full((n, *values.shape), np.nan)
        whole[rows] = values * (1 + 1e-3 * rng.standard_normal((SEEDS, *[1] * values.ndim)))
        return whole

    logs = len(FRACTIONS)
    table = {
        name: np.stack(
            [
                np.full(logs, stated[name]), np.full(logs, stated[f"{name}_penalised"]),
                np.full(logs, np.nan),
                np.full(logs, longer if name == "train" else stated[name]),
            ]
        )
        for name in ("train", "test", "inner", "outer")
    }  # fmt: skip
    table["time"] = np.tile([[10.0], [10.0], [10.0], [1000.0]], (1, logs))
    epochs = np.full((1, 1, 201, 3), 0.018)
    epochs[..., 1] += np.abs(np.arange(201) - 60) * 1e-4
    epochs[0, 0, 200] = [end - 0.015, 0.04, end]
    epochs[0, 0, 60, 2] = end - rise
    return xr.Dataset(
        {
            **{f"sine_{k}": (("lane", "sine_run", "sine_log"), noisy(v, first)) for k, v in table.items()},
            "sine_fitted": ("lane", noisy(1e-29, first)), "sine_printed": ("lane", noisy(2.0, first)),
            "curve_loss": (
                ("lane", "curve_batch", "curve_step", "curve_epoch", "curve_part"), noisy(epochs, second)
            ),
            "few_loss": (("lane", "few_update", "curve_part"), noisy(np.ones((2, 3)), second)),
            "few_rise": ("lane", noisy(few, second)), "few_best": ("lane", noisy(50.0, second)),
            "curve_ceiling": ("lane", noisy(0.0025, second)), "diverged": ("lane", np.zeros(n, bool)),
        },
        {
            "arm": ("lane", ["sine"] * SEEDS + ["validated"] * SEEDS), "seed": ("lane", [*range(SEEDS)] * 2),
            "sine_run": list(RUNS), "sine_log": list(FRACTIONS), "curve_batch": [32], "curve_step": [0.1],
            "curve_epoch": list(range(201)), "curve_part": ["train", "valid", "test"], "few_update": [0, 9],
        },
    )  # fmt: skip


def test_sines_are_judged_in_both_directions() -> None:
    # Breaks if one quantity off its range is outvoted by others, or a penalty's ratio is upside down.
    names = ("C.4", "C.4.longer", "C.4.capacity", "C.4.gradients", "C.8", "C.8.few")
    stated = {"train": 0.0065, "test": 0.0125, "inner": 2.5, "outer": 0.4}
    less = {"train": 0.0065, "test": 0.0105, "inner": 2.0, "outer": 0.3}
    right = {**stated, **{f"{name}_penalised": value for name, value in less.items()}}
    found = judged(sines(right, 0.005, 0.017, 0.035, 1.9), *names)
    verdicts = {name: one.verdict for name, one in found.items()}
    assert verdicts == {
        "C.4": "supported", "C.4.longer": "supported", "C.4.capacity": "refuted", "C.4.gradients": "refuted",
        "C.8": "supported", "C.8.few": "supported",
    }  # fmt: skip
    off = {**right, "outer": 0.7, "inner_penalised": 2.5, "test_penalised": 0.0125}
    wrong = judged(sines(off, 0.08, 0.0, 0.018, 1.0), *names)
    assert wrong["C.4"].verdict == "refuted"
    curve = arms(wrong["C.8"])
    assert curve.pop("batch 32, step size 0.1: test − training loss at the end") == "supported"
    assert set(curve.values()) == {"refuted"}
    assert wrong["C.4.longer"].verdict == wrong["C.8.few"].verdict == "refuted"
    diverging = sines(right, 0.005, 0.017, 0.035, 1.9)
    diverging["curve_loss"][SEEDS : SEEDS + 4] = np.nan
    undecided = judged(diverging, "C.8")["C.8"]
    assert undecided.verdict == "not-decided"
    assert "step_sizes" in undecided.reason


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
