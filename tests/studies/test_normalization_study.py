"""The normalization study: exact parts against other computations, and one small run."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from implicit_bias import losses
from implicit_bias.data import load
from implicit_bias.errors import UserError
from implicit_bias.results.claims import evaluate
from implicit_bias.studies import runner
from implicit_bias.studies.normalization import STUDY
from implicit_bias.studies.normalization.arms import (
    COMMON,
    GRID,
    TUNED,
    chosen_steps,
    equilibrium,
    grid_lanes,
    measured_lanes,
    measurement,
    network,
)
from implicit_bias.studies.normalization.equilibrium import Sgd, angle
from implicit_bias.studies.normalization.invariance import (
    CASES,
    HIDDEN,
    Invariance,
    derivatives,
    small_network,
    squares,
)
from implicit_bias.studies.normalization.measure import Sharpness
from implicit_bias.studies.normalization.rows import of_norm, steepest
from implicit_bias.studies.normalization.settings import NormalizationSettings
from implicit_bias.training import Pool
from implicit_bias.training.lane import LaneExamples
from implicit_bias.training.measurement import FinishedLane

SMALL: dict[str, Any] = {
    "seeds": 2, "data": {"n_train": 60, "n_test": 30, "classes": [0, 1, 2]}, "widths": [6],
    "norms": ["none", "batch", "layer"], "step_sizes": [0.1, 0.4], "common_step": 0.1, "batch_size": 20,
    "target_loss": 0.9, "updates": 40, "examples": 32, "small_batches": [4, 8, 16], "draws": 5,
    "max_products": 8, "exact": {"networks": ["batch"], "updates": 3},
    "equilibrium": {"norms": ["none", "batch"], "decays": [0, 0.05], "step_size": 0.2, "updates": 40},
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> runner.Run:
    """Run the study, small."""
    settings = NormalizationSettings.model_validate(SMALL)
    return runner.run(
        STUDY, settings, tmp_path_factory.mktemp("normalization") / "out", scale="custom"
    )


def test_derivatives_are_those_of_the_loss_written_out() -> None:
    # Breaks if a mean or variance is over the wrong axis, ε is forgotten, or decay is of another layer.
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 6)), rng.integers(3, size=12)
    decays = np.asarray([0.0, 0.3, 0.0])

    def loss(params: Any, eps: Any, of_batch: Any) -> Any:
        hidden = jnp.asarray(x)
        for layer in range(2):
            sums = hidden @ params[f"layer_{layer}"]["weight"].T
            normal = [
                (sums - sums.mean(axis=axis, keepdims=True))
                / jnp.sqrt(sums.var(axis=axis, keepdims=True) + eps)
                for axis in (0, 1)
            ]
            own = params[f"norm_{layer}"]
            normalised = jnp.where(of_batch, *normal)
            hidden = jnp.tanh(normalised * own["scale"][None] + own["bias"][None])
        last = params["layer_2"]
        outputs = hidden @ last["weight"].T + last["bias"][None]
        picked = jnp.take_along_axis(outputs, jnp.asarray(y)[:, None], axis=1)[:, 0]
        penalty = 0.15 * jnp.sum(params["layer_1"]["weight"] ** 2)
        return jnp.mean(jax.nn.logsumexp(outputs, axis=1) - picked) + penalty

    with jax.enable_x64(True):
        model = small_network("batch", False, 0.0)
        drawn, state = jax.jit(model.init)(jax.random.key(0), jnp.asarray(x[0]))
        flat, back = jax.flatten_util.ravel_pytree(drawn)
        flat = flat + 0.05

        @jax.jit
        def written_out(flat: Any, *how: Any) -> Any:
            value = lambda v: loss(back(v), *how)  # noqa: E731
            return value(flat), back(jax.grad(value)(flat)), jax.hessian(value)(flat)

        # Those that the study compiles too.
        found_by = jax.jit(derivatives, static_argnames=("model", "statistics"))
        for norm, eps in (("batch", 0.0), ("batch", 0.1), ("layer", 0.0)):
            found = found_by(
                small_network(norm, False, eps), "batch", state if norm == "batch" else {},  # type: ignore[arg-type]
                back(flat), jnp.asarray(x), jnp.asarray(y), jnp.asarray(decays),
            )  # fmt: skip
            expected = written_out(flat, eps, norm == "batch")
            np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
            jax.tree.map(partial(np.testing.assert_allclose, atol=1e-12), found[1], expected[1])
            np.testing.assert_allclose(found[2], expected[2], atol=1e-10)


def test_invariance_holds_where_it_is_said_to_and_nowhere_else() -> None:
    # Breaks if a case is computed as another: each has its own size of errors.
    with jax.enable_x64(True):
        found = Invariance(("batch", "group, convolutional"), updates=3)(None, 0, {})  # type: ignore[arg-type]
    for name in ("loss_error", "tangent_error", "gradient_error", "sharpness_error"):
        batch, group = (dict(zip(CASES, row, strict=True)) for row in found[name])
        assert max(batch["before a normalisation"], group["before a normalisation"]) < 1e-12
        assert group["evaluation"] < 1e-12 < 1e-4 < batch["evaluation"]
        for case in ("output layer", "large ε", "weight decay"):
            assert min(batch[case], group[case]) > 1e-4
        assert 1e-9 < batch["usual ε"] < batch["large ε"]
    assert found["growth_error"].max() < 1e-13
    assert found["growth_output"].min() > 1e-5
    assert found["sphere_error"].max() < 1e-13
    layers = {f"layer_{i}": {"weight": jnp.full((2, 2), i + 1.0)} for i in range(HIDDEN + 1)}
    assert squares(layers).tolist() == [4, 16, 36]


def test_followed_updates_are_those_written_out() -> None:
    # Breaks if decay is left out, an angle is of another layer, or a batch comes from another order.
    settings = NormalizationSettings.model_validate(
        {**SMALL, "equilibrium": {**SMALL["equilibrium"], "updates": 20}}
    )
    dataset = settings.data.load()
    trial = equilibrium(settings, dataset)
    assert isinstance(trial, Sgd)
    with jax.enable_x64(True):
        x = jnp.asarray(dataset.x_train, np.float64)
        pool = Pool(x, jnp.asarray(dataset.y_train), x[:1], jnp.asarray(dataset.y_train[:1]))

        def both(pool: Pool, decay: Any, model: Any) -> Any:
            return trial.run(model, pool, 3, decay), trial.summary(model, pool, 3, decay)

        run = jax.jit(both, static_argnames="model")
        (followed, values), found = run(pool, 0.05, model=trial.models[1])
        _, free = run(pool, 0.0, model=trial.models[1])
        _, plain = run(pool, 0.0, model=trial.models[0])
    norm, turn, slope = (np.asarray(part) for part in followed)
    assert norm.shape == (20, 2)
    # Before a normalisation gradients are orthogonal to weights, so that Pythagoras gives norm and angle.
    shrunk = norm[:-1, 0] * (1 - 0.2 * 0.05)
    np.testing.assert_allclose(norm[1:, 0] ** 2, shrunk**2 + (0.2 * slope[:-1, 0]) ** 2, rtol=1e-4)
    np.testing.assert_allclose(np.tan(turn[:-1, 0]), 0.2 * slope[:-1, 0] / shrunk, rtol=1e-3)
    rms = np.sqrt(np.mean(turn[10:] ** 2, axis=0))
    np.testing.assert_allclose(found["turn"], rms, rtol=1e-10)
    np.testing.assert_allclose(found["turn_over_law"], rms / np.sqrt(2 * 0.2 * 0.05), rtol=1e-10)
    np.testing.assert_allclose(found["norm_ratio"], norm[-1] / norm[0])
    np.testing.assert_allclose(found["effective_step"], np.mean(0.2 / norm[10:] ** 2, axis=0))
    assert np.isnan(free["turn_over_law"]).all()
    np.testing.assert_allclose([found["growth_part"][0], free["growth_part"][0]], 1, atol=1e-3)
    assert abs(float(plain["growth_part"][0]) - 1) > 0.1  # not so without normalisation
    assert np.isfinite(values).all()
    assert trial.coordinates["sgd_layer"] == (1, 2)


def test_angles_are_exact_where_they_are_small() -> None:
    with jax.enable_x64(True):
        first = jnp.asarray([[1.0, 0.0]])
        for small in (1e-9, 0.3, 1.5):
            other = 7 * jnp.asarray([[np.cos(small), np.sin(small)]])
            np.testing.assert_allclose(angle(first, other), small, rtol=1e-6)
        np.testing.assert_allclose(angle(first, -first), np.pi)


def test_sharpness_is_that_of_dense_hessians() -> None:
    # Breaks if the modes are exchanged, a block is another layer's, or the penalty compares other examples.
    settings = NormalizationSettings.model_validate(SMALL)
    dataset = settings.data.load()
    model = network(settings, dataset, "batch")
    with jax.enable_x64(True):
        x = jnp.asarray(dataset.x_train[:16], np.float64)
        y = jnp.asarray(dataset.y_train[:16])

        @jax.jit
        def started(x: jax.Array) -> Any:
            params, state = model.init(jax.random.key(1), x[0])
            return params, model.apply(params, state, x[:10], train=True)[1]

        params, state = started(x)
        rows = jnp.arange(16, dtype=np.int32)
        lane: Any = FinishedLane(
            np.uint32(0), LaneExamples(rows, rows[:0], y), params, state, params
        )
        pool = Pool(x, y, x, y)
        measure = Sharpness(1, 16, (8, 16), 20, 1e-8, 60)
        loss = losses.get("cross_entropy")
        found = jax.jit(lambda: measure(model, loss, pool, lane))()
        assert set(found) == set(measure.variables)
        flat, back = jax.flatten_util.ravel_pytree(params)
        tops = {}
        for which in ("batch", "running"):

            def value(v: Any, training: bool = which == "batch") -> Any:
                outputs, _ = model.apply(back(v), state, x, train=training)
                return jnp.mean(loss.per_example(outputs, y))

            tops[which] = jax.jit(lambda v, of=value: (of(v), jax.hessian(of)(v)))(flat)
            top = np.linalg.eigvalsh(tops[which][1])[-1]
            np.testing.assert_allclose(found[f"lambda_{which}"], top, rtol=1e-6)
        size = params["layer_0"]["weight"].size
        block = tops["batch"][1][:size, :size]
        norm = float(jnp.linalg.norm(params["layer_0"]["weight"]))
        np.testing.assert_allclose(
            found["layer_sharpness"], np.linalg.eigvalsh(block)[-1:] * norm**2, rtol=1e-6
        )
        np.testing.assert_allclose(found["train_loss_batch"], tops["batch"][0])
        # A batch of all examples has the statistics of all.
        np.testing.assert_allclose(found["noise_penalty"][1], 0, atol=1e-12)
        assert abs(float(found["noise_penalty"][0])) > 1e-4
        np.testing.assert_allclose(found["weight_norm"], [norm])


def test_step_sizes_are_those_of_the_fewest_updates() -> None:
    rows = [("none", 0.1, False, True, 30, 0.1), ("none", 0.4, False, True, 20, 0.5),
            ("none", 1.0, True, True, 10, 0.1), ("batch", 0.1, False, False, 40, 0.3),
            ("batch", 0.4, False, False, 40, 0.6)]  # fmt: skip
    result = xr.Dataset(
        {
            "diverged": ("lane", [row[2] for row in rows]),
            "reached_target": ("lane", [row[3] for row in rows]),
            "updates": ("lane", [row[4] for row in rows]),
            "log_train_loss": (("lane", "probe"), [[1.0, row[5], np.nan] for row in rows]),
        },
        {
            "arm": ("lane", [GRID] * 5), "norm": ("lane", [row[0] for row in rows]),
            "seed": ("lane", [1] * 5), "step_size": ("lane", [row[1] for row in rows]),
        },
    )  # fmt: skip
    assert chosen_steps(result) == {(1, "none"): 0.4, (1, "batch"): 0.1}


def test_the_run_has_verdicts_tables_and_figures(done: runner.Run) -> None:
    result = done.result
    found = {finding.id: finding.verdict for finding in evaluate(STUDY.claims, result)}
    for name in ("", ".sphere", ".growth"):
        assert found[f"dhand.arch-9.2{name}"] == "supported"
    assert all(verdict != "not-decided" for verdict in found.values())
    assert len(STUDY.tables(result)) == 3
    assert all(drawing.when(result) for drawing in STUDY.drawings)
    drawn = {file.stem for file in done.presented.files if file.suffix == ".png"}
    assert drawn == {"verdicts", *(drawing.name for drawing in STUDY.drawings)}
    met = result["reached_target"].values & np.isin(result["arm"].values, (TUNED, COMMON))
    assert met.any()
    assert (result["train_loss"].values[met] <= 0.9).all()
    # Without statistics of a batch both modes are one.
    for norm in ("none", "layer"):
        both = [of_norm(result, COMMON, norm, f"lambda_{which}") for which in ("batch", "running")]
        np.testing.assert_allclose(both[0], both[1], rtol=1e-5)
        assert (of_norm(result, COMMON, norm, "noise_penalty") == 0).all()
    path = of_norm(result, COMMON, "batch", "log_lipschitz_batch")
    np.testing.assert_allclose(
        steepest(result, COMMON, "batch", "batch"), np.nanmax(path[:, 1:], axis=1)
    )
    settings = NormalizationSettings.model_validate(SMALL)
    lanes = measured_lanes(settings, settings.data.load(), result)
    own = [lane for lane in lanes if lane.tags["arm"] == TUNED]
    assert len(own) == 6
    assert {
        (lane.seed, lane.tags["norm"]): lane.values["step_size"] for lane in own
    } == chosen_steps(result)
    # Without arms rules say so, and nothing fails.
    alone = result.isel(lane=np.flatnonzero(result["arm"].values == "invariance"))
    left = {finding.id: finding.verdict for finding in evaluate(STUDY.claims, alone)}
    exact = {f"dhand.arch-9.2{name}" for name in ("", ".sphere", ".growth", ".scope")}
    assert {name for name, verdict in left.items() if verdict != "not-decided"} == exact


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"norms": ["batch", "layer"]}, "add none and batch"),
        ({"common_step": 0.2}, "choose one of the step sizes"),
        ({"small_batches": [8, 16, 64]}, "choose at most the examples"),
        ({"equilibrium": {"decays": [0.1, 0.2]}}, "add 0"),
        ({"exact": {"networks": ["batches"]}}, "did you mean batch"),
        (
            {"exact": {"networks": ["x"]}},
            "layer; group; batch, convolutional; group, convolutional",
        ),
        ({"exact": {"examples": 10**9}}, "less than or equal to 1024"),
        ({"model": {"widths": [3]}}, r"model.widths is \[3\]; leave it out"),
        ({"evaluate_every": 50}, "choose at most the updates"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        NormalizationSettings.model_validate({**SMALL, **changes})


def test_data_that_do_not_go_with_settings_are_refused() -> None:
    digits = load("digits", n_test=20)
    with pytest.raises(UserError, match="examples is 70"):
        measurement(NormalizationSettings.model_validate({**SMALL, "examples": 70}), digits)
    with pytest.raises(UserError, match="target_loss"):
        grid_lanes(
            NormalizationSettings.model_validate({**SMALL, "target_loss": 3.0}), digits, None
        )
