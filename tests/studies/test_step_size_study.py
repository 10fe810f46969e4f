"""The step-size study: scripts and measures against other libraries, lanes as stated, one small run."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from pydantic import ValidationError

from implicit_bias import losses, models
from implicit_bias.data import Dataset, load
from implicit_bias.errors import UserError
from implicit_bias.keys import role_key
from implicit_bias.models import Dense, parameter_count
from implicit_bias.studies import runner
from implicit_bias.studies.step_size import STUDY
from implicit_bias.studies.step_size.arms import (
    ADAM,
    ADAMW,
    CONNECTED,
    CONSTANT,
    DECAYED,
    DEEP,
    FALLING,
    LARGE,
    MOMENTUM,
    NOISY,
    PENALISED,
    SGD,
    SMALL_STEPS,
    STATED,
    connected,
    dense_epochs,
    measured_lanes,
    measurement,
    other_lanes,
    spread_epochs,
)
from implicit_bias.studies.step_size.measure import Ending
from implicit_bias.studies.step_size.probe import Norms
from implicit_bias.studies.step_size.scripts import (
    MemoryScript,
    OptimiserScript,
    _Moving,
    drawn_layers,
    forward,
    gradients,
    structured,
)
from implicit_bias.studies.step_size.settings import ARMS, StepSizeSettings
from implicit_bias.studies.step_size.start import FullStart
from implicit_bias.training import Pool
from implicit_bias.training.lane import LaneExamples
from implicit_bias.training.measurement import FinishedLane
from implicit_bias.training.probe import ProbedLane

SMALL: dict[str, Any] = {
    "seeds": 2, "arms": list(ARMS), "data": {"n_train": 60, "n_valid": 20, "n_test": 40}, "probes": 2,
    "model": {"widths": [3]}, "optimisers": {"widths": [3], "epochs": 3, "factors": [0.1, 1, 10],
                                             "batch_size": 30},
    "steps": {"batch_size": 30, "epochs": 2, "target_loss": 2.2, "max_epochs": 3,
              "step_sizes": [0.01, 0.1, 0.5]},
    "tuning": {"batch_sizes": [30, 60], "epochs": 2, "factors": [1, 3]},
    "variants": {"epochs": 2, "decay_every": 1, "batch_size": 30},
    "decay": {"batch_sizes": [30, 60], "epochs": 2, "decay_every": 1},
    "long": {"epochs": 10, "probes": 10, "decay_every": 5, "batch_size": 30},
    "measure": {"max_products": 10},
    "scripts": {"draws": 1, "trained_epochs": 2, "trained_width": 4, "full_start": False},
}  # fmt: skip


def _settings(**changes: Any) -> StepSizeSettings:
    return StepSizeSettings.model_validate({**SMALL, **changes})


# ---------------------------------------------------------------------------------------------------
# Scripts


def test_gradients_of_a_script_are_automatic_ones() -> None:
    # Breaks if a layer's ReLU is that of another, or a bias's gradient is a mean.
    rng = np.random.default_rng(0)
    layers = drawn_layers(rng, (5, 7, 6, 3), None)
    layers = [(w, b + 0.1 * rng.standard_normal(b.shape)) for w, b in layers]
    x, wanted = rng.standard_normal((4, 5)), np.eye(3)[[0, 2, 1, 1]]
    found, said = gradients(layers, x, lambda said: 2 * (said - wanted) / 4)
    np.testing.assert_array_equal(said, forward(layers, x)[-1])

    def loss(layers: Any) -> Any:
        hidden = jnp.asarray(x)
        for place, (weight, bias) in enumerate(layers):
            hidden = hidden @ weight + bias[None]
            hidden = hidden if place == 2 else jnp.maximum(hidden, 0)
        return jnp.sum((hidden - wanted) ** 2) / 4

    with jax.enable_x64(True):
        expected = jax.grad(loss)([(jnp.asarray(w), jnp.asarray(b)) for w, b in layers])
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-10, atol=1e-14)
            np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("SGD", optax.sgd(0.1)),
        ("Momentum", optax.sgd(0.1, momentum=0.9)),
        ("Adam", optax.adam(0.001)),
    ],
)
def test_a_scripts_optimisers_are_optaxs(name: str, theirs: Any) -> None:
    rng = np.random.default_rng(1)
    layers = drawn_layers(rng, (3, 4, 2), 1.0)
    ours, moving = layers, _Moving(name)
    # Optax raises its counters to floating numbers.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        params: Any = [(jnp.asarray(w), jnp.asarray(b)) for w, b in layers]
        state = theirs.init(params)
        for _ in range(4):
            step = [(rng.standard_normal(w.shape), rng.standard_normal(b.shape)) for w, b in layers]
            ours = moving.step(ours, step)
            change, state = theirs.update(
                [(jnp.asarray(w), jnp.asarray(b)) for w, b in step], state
            )
            params = optax.apply_updates(params, change)
        for mine, other in zip(ours, params, strict=True):
            np.testing.assert_allclose(mine[0], other[0], rtol=1e-10)
            np.testing.assert_allclose(mine[1], other[1], rtol=1e-10)


def test_the_script_on_optimisers_learns_nothing_of_random_labels() -> None:
    # Breaks if labels or inputs leak into one another, or the first layer moves as written.
    found = OptimiserScript(draws=1, trained_epochs=40).of_seed(0)
    assert found["script_train"].shape == (2, 3, 11)
    assert (found["script_train"][0] < 0.5).all()
    np.testing.assert_allclose(found["script_test"], 0.1, atol=0.05)
    adam = found["script_train"][1, 2]
    assert adam[-1] == 1  # a network whose layers are all trained memorises 200 examples
    assert found["script_converged"][1, 2] == 1
    assert found["script_converged"][0].sum() == 0
    # Before anything moves, networks are the same whatever the optimiser.
    assert len(set(found["script_train"][0, :, 0])) == 1


def test_the_script_without_training_prints_one_number() -> None:
    found = MemoryScript(draws=1, trained_epochs=60, trained_width=40).of_seed(0)
    train = found["memory_train"]
    np.testing.assert_array_equal(train, np.broadcast_to(train[:, :1], train.shape))
    np.testing.assert_allclose(found["memory_trained_train"], 1)
    assert found["memory_trained_test"][0] == pytest.approx(0.1, abs=0.05)
    assert 0.3 < found["memory_trained_test"][1] < 0.7
    x = np.array([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]])
    np.testing.assert_array_equal(structured(x), [6, 5, 1, 0])


# ---------------------------------------------------------------------------------------------------
# Measures


def test_norms_and_ends_are_those_of_dense_computations() -> None:
    # Breaks if biases enter ‖W‖, the Hessian is of other examples, or mistakes are counted as hits.
    rng = np.random.default_rng(0)
    model = Dense((4,), 3)
    x = jnp.asarray(rng.standard_normal((30, 5)), jnp.float32)
    y = jnp.asarray(rng.integers(0, 3, 30), jnp.int32)
    params, state = jax.jit(model.init)(jax.random.key(0), x[0])
    pool = Pool(x, y, x[20:], y[20:])
    rows = jnp.arange(3, 15)
    examples = LaneExamples(rows, jnp.zeros(0, jnp.int32), y[rows])
    lane = FinishedLane(jnp.uint32(0), examples, params, state, params)
    found = Ending(10, examples=8, tol=1e-5, max_products=25)(
        model, losses.get("cross_entropy"), pool, lane
    )
    flat, unravel = ravel_pytree(params)

    def loss(flat: Any) -> Any:
        outputs, _ = model.apply(unravel(flat), state, x[rows[:8]], train=False)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, y[rows[:8]]))

    top = np.linalg.eigvalsh(np.asarray(jax.hessian(loss)(flat), np.float64))[-1]
    assert float(found["lambda_max"]) == pytest.approx(top, rel=1e-3)
    outputs, _ = model.apply(params, state, x[20:], train=False)
    np.testing.assert_array_equal(
        np.asarray(found["test_wrong"]), np.asarray(outputs).argmax(axis=1) != np.asarray(y)[20:]
    )
    probed = ProbedLane(jnp.uint32(0), jnp.int32(0), {}, examples, params, state, ())
    norms, _ = Norms()(model, losses.get("cross_entropy"), pool, probed, ())
    weights = [np.asarray(leaf) for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    assert float(norms["weight_norm"]) == pytest.approx(
        np.sqrt(sum((w.astype(float) ** 2).sum() for w in weights)), rel=1e-5
    )
    assert float(norms["parameter_norm"]) == pytest.approx(
        float(jnp.linalg.norm(flat.astype(jnp.float32))), rel=1e-5
    )


def test_the_full_start_is_a_resnet_18() -> None:
    # 11,173,962 is PyTorch's count of the usual ResNet-18 for CIFAR-10.
    model = models.resnet(18, 64, 10)
    params, _ = jax.eval_shape(
        model.init, jax.random.key(0), jax.ShapeDtypeStruct((32, 32, 3), np.dtype("float32"))
    )
    assert parameter_count(params) == 11_173_962
    small = FullStart(depth=10, width=2)
    pool = Pool(jnp.zeros((1, 2), jnp.float32), *[jnp.zeros(1, jnp.int32)] * 3)
    found = jax.jit(lambda seed: small(pool, seed, {}))(jnp.uint32(3))
    drawn, _ = jax.jit(models.resnet(10, 2, 10).init)(
        role_key(3, "initialisation"), jnp.zeros((32, 32, 3), jnp.float32)
    )
    # What an engine asks of it before it compiles it.
    assert (set(found), small.coordinates, small.compiled) == (set(small.variables), {}, True)
    assert {variable.dims for variable in small.variables.values()} == {()}
    squares = sum(float(np.sum(np.asarray(leaf) ** 2)) for leaf in jax.tree.leaves(drawn))
    assert float(found["start_norm"]) == pytest.approx(np.sqrt(squares), rel=1e-5)
    assert float(found["start_parameters"]) == parameter_count(drawn)
    assert float(found["start_weight_norm"]) < float(found["start_norm"])


# ---------------------------------------------------------------------------------------------------
# Lanes


def test_lanes_are_what_the_documents_state() -> None:
    # Breaks if a step size, a decay or an epoch goes to another optimiser or arm.
    settings = StepSizeSettings.model_validate(
        {"seeds": 1, "arms": list(ARMS), "data": {"n_train": 1024, "n_valid": 100}}
    )
    digits = load("digits")
    made = [*measured_lanes(settings, digits, None), *other_lanes(settings, digits, None)]

    def of(arm: str, variant: str, **at: Any) -> Any:
        found = [
            lane
            for lane in made
            if lane.tags["arm"] == arm
            and lane.tags["variant"] == variant
            and all(
                {**lane.values, **lane.tags, "batch_size": lane.recipe.batch_size}[key] == value
                for key, value in at.items()
            )
        ]
        assert len(found) == 1, (arm, variant, at, len(found))
        return found[0]

    sgd, momentum, adam = (of("optimisers", name, factor=1.0) for name in (SGD, MOMENTUM, ADAM))
    assert (sgd.values["step_size"], sgd.values["momentum"]) == (0.01, 0)
    assert (momentum.values["step_size"], momentum.values["momentum"]) == (0.01, 0.9)
    assert (adam.values["step_size"], adam.recipe.optimizer.name) == (0.001, "adam")
    assert sgd.recipe == momentum.recipe  # one program
    assert sgd.budget.updates == 50 * 32
    assert sgd.recipe.model.describe()["widths"] == [256, 128]
    effective = of("optimisers", SGD, factor=10.0)
    assert effective.values["step_size"] == pytest.approx(0.1)
    assert effective.budget.updates == 3 * 32
    steps = sorted(lane.values["step_size"] for lane in made if lane.tags["arm"] == "steps")
    assert steps == [0.001, 0.01, 0.1, 0.5]
    assert {lane.budget.target_loss for lane in made if lane.tags["arm"] == "matched"} == {1.0}
    large = of("tuning", ADAMW, batch_size=1024, factor=1.0, decoupled_weight_decay=1e-4)
    assert large.values["step_size"] == 0.001
    assert of("tuning", ADAM, batch_size=128, factor=1.0).values["decoupled_weight_decay"] == 0
    assert of("tuning", MOMENTUM, batch_size=128, factor=3.0).values["step_size"] == pytest.approx(
        0.3
    )
    stated = of("variants", STATED)
    assert stated.values["decay_rate"] == 0.1
    assert stated.values["decay_every"] == 100 * 8
    assert of("variants", SMALL_STEPS).values["step_size"] == 0.01
    assert of("variants", PENALISED).values["weight_decay"] == 5e-4
    assert of("variants", NOISY).values["label_noise"] == 0.2
    assert of("decay", DECAYED).values["weight_decay"] == 1e-4
    assert of("decay", LARGE).recipe.batch_size == 512
    assert of("long", CONSTANT).values["decay_rate"] == 1
    assert of("long", FALLING).recipe == of("long", CONSTANT).recipe == stated.recipe
    sizes = {
        name: settings.parameters(digits, of("variants", name).recipe.model)
        for name in (STATED, CONNECTED)
    }
    assert sizes[CONNECTED] == pytest.approx(sizes[STATED], rel=0.05)


def test_residual_networks_have_their_own_depths() -> None:
    # Breaks if the deep variant is as deep as the others, or options are lost.
    settings = StepSizeSettings.model_validate(
        {
            "seeds": 1, "arms": ["variants"], "data": {"flatten": False, "n_train": 600, "n_valid": 100},
            "model": {"name": "resnet", "options": {"depth": 10, "width": 2}}, "variants": {"deep": 18},
        }
    )  # fmt: skip
    digits = settings.data.load()
    made = {
        str(lane.tags["variant"]): lane.recipe.model for lane in other_lanes(settings, digits, None)
    }
    deep, stated, dense = (
        settings.parameters(digits, made[name]) for name in (DEEP, STATED, CONNECTED)
    )
    assert deep > 1.5 * stated
    assert dense == pytest.approx(stated, rel=0.1)


def test_a_connected_network_is_as_large_as_asked_for() -> None:
    for parameters in (5_000, 701_466, 11_173_962):
        model = connected(3072, 10, parameters)
        widths = model.describe()["widths"]
        count = 3072 * widths[0] + widths[0] ** 2 + 10 * widths[1] + 2 * widths[0] + 10
        assert count == pytest.approx(parameters, abs=3072 + 2 * widths[0] + 12)


def test_epochs_of_evaluations() -> None:
    assert spread_epochs(10, 5) == (0, 2, 4, 6, 8, 10)
    assert spread_epochs(3, 9) == (0, 1, 2, 3)
    assert dense_epochs(10, 3, 4) == (0, 1, 2, 3, 4, 8, 10)
    assert dense_epochs(2, 12, 1) == (0, 1, 2)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"arms": ["optimiser"]}, "did you mean optimisers"),
        ({"arms": ["matched"]}, "add 'steps'"),
        ({"optimisers": {"factors": [0.3, 3]}}, "add 1"),
        ({"tuning": {"batch_sizes": [64, 32]}}, "small one first"),
        ({"data": {"n_train": 60, "n_valid": 0}}, "data.n_valid"),
        ({"measure": {"tol": 1e-9}}, "measure.tol"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        _settings(**changed)


def _all_of(settings: StepSizeSettings, data: Dataset) -> None:
    measured_lanes(settings, data, None)
    measurement(settings, data)


def test_data_that_do_not_go_with_the_arms_are_refused() -> None:
    digits = load("digits")
    for settings, named in (
        (_settings(decay={"batch_sizes": [32, 5000]}), "decay.batch_sizes"),
        (_settings(steps={**SMALL["steps"], "target_loss": 2.4}), "steps.target_loss"),
        (_settings(measure={"examples": 500}), "measure.examples"),
    ):
        with pytest.raises(UserError, match=named) as caught:
            _all_of(settings, digits)
        assert "\n" not in str(caught.value)
    regression = Dataset(
        name="line", task="regression", n_outputs=1, x_train=np.zeros((99, 1), np.float32),
        y_train=np.zeros((99, 1), np.float32), x_test=np.zeros((9, 1), np.float32),
        y_test=np.zeros((9, 1), np.float32), provenance={},
    )  # fmt: skip
    with pytest.raises(UserError, match="classes"):
        other_lanes(_settings(), regression, None)


def test_a_run_leaves_what_rules_tables_and_figures_read(tmp_path: Any) -> None:
    # Breaks if a name of a tag, a log or a dimension differs between what is made and what is read.
    run = runner.run(STUDY, _settings(), tmp_path / "out", scale="custom")
    result = run.result
    findings = {one.id: one for one in run.presented.findings}
    for name in ("dhand.E4", "ch11.C.12", "ch11.conn.optim", "ch11.W.6", "ch11.W.8", "ch11.W.9"):
        assert findings[name].verdict == "not-decided"
        assert "digits" in findings[name].reason
    for name in (
        "ch11.C.12.ctrl.tuned",
        "ch11.conn.optim.ctrl.tuned",
        "ch11.W.9.ctrl.decay",
        "ch11.S.8",
    ):
        assert findings[name].verdict != "not-decided", findings[name].reason
    assert len(run.presented.tables) == 6
    names = {path.stem for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert names == {drawing.name for drawing in STUDY.drawings} | {"verdicts"}
    # Arms begin alike: at the first evaluation all of a seed with one network have one loss.
    rows = np.isin(result["arm"].values, ["steps", "tuning", "decay", "long"])
    for seed in (0, 1):
        first = result["log_test_loss"].values[rows & (result["seed"].values == seed), 0]
        np.testing.assert_allclose(first, first[0], rtol=1e-6)
    # Without momentum and at equal step size and batch, arms steps and matched are one path.
    assert np.isfinite(
        result["lambda_max"].values[rows & (result["stage"].values == "measured")]
    ).all()
