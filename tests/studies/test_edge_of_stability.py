"""The edge-of-stability study: its probe against dense Hessians, its rules on planted results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jax.flatten_util import ravel_pytree
from scipy.linalg import expm

from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.keys import ROLES, role_key
from implicit_bias.results import claims as claims_module
from implicit_bias.results.claims import NotDecidable
from implicit_bias.studies import runner
from implicit_bias.studies.edge_of_stability import STUDY
from implicit_bias.studies.edge_of_stability.arms import derive, lanes
from implicit_bias.studies.edge_of_stability.linear import LinearFlow
from implicit_bias.studies.edge_of_stability.probe import Sharpness
from implicit_bias.studies.edge_of_stability.rules import (
    each_start_has_its_end,
    follows_the_flow,
    judge_group,
    stays_at_the_edge,
)
from implicit_bias.studies.edge_of_stability.settings import EdgeOfStabilitySettings
from implicit_bias.training import Budget, Lane, Recipe, make_plan, train_chunk

MODEL = models.Dense((4,), 2, "tanh")
B1, B2, EPS = 0.9, 0.99, 1e-3


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Twenty examples of two classes in three dimensions."""
    rng = np.random.default_rng(0)
    y = (np.arange(26) % 2).astype(np.int32)
    x = (rng.normal(size=(26, 3)) + y[:, None]).astype(np.float32)
    return Dataset("toy", "classification", 2, x[:20], y[:20], x[20:], y[20:])


def trained(dataset: Dataset, optimizer: str, steps: tuple[int, ...], **settings: float) -> Any:
    """Train one lane over the whole set; float64, so that dense matrices can be compared tightly."""
    recipe = Recipe(
        model=MODEL, loss=losses.get("squared"), optimizer=optimizers.get(optimizer),
        schedule=optimizers.Schedule(), batch_size=20, n_train=20, dtype="float64",
    )  # fmt: skip
    lane = Lane(recipe, 3, settings, Budget(steps[-1]), steps)
    (program,) = make_plan([lane], dataset, devices=1).programs
    return train_chunk(program, [lane], dataset, probe=Sharpness(tol=1e-7, max_products=40))


def dense(dataset: Dataset, params: Any) -> tuple[np.ndarray, np.ndarray]:
    """Hessian and gradient of the mean training loss, from JAX's dense derivatives."""
    flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, params))
    x, y = jnp.asarray(dataset.x_train, flat.dtype), jax.nn.one_hot(dataset.y_train, 2)

    def loss(theta: jax.Array) -> jax.Array:
        outputs, _ = MODEL.apply(unravel(theta), {}, x, train=False)
        return jnp.mean(jnp.sum(jnp.square(outputs - y.astype(flat.dtype)), axis=1) / 2)

    return np.asarray(jax.hessian(loss)(flat)), np.asarray(jax.grad(loss)(flat))


def iterate(dataset: Dataset, optimizer: str, steps: int, **settings: float) -> Any:
    """Parameters after so many updates, by a run that ends there."""
    result = trained(dataset, optimizer, (steps,), **settings)
    return jax.tree.map(lambda leaf: leaf[0], result.params)


def test_the_probe_is_the_largest_eigenvalue_of_the_dense_hessian(dataset: Dataset) -> None:
    # Breaks if the sharpness is of another iterate, a batch, or stuck at the last probe's eigenvector.
    steps = (1, 5, 30)
    found = trained(dataset, "sgd", steps, step_size=0.4).probed
    for place, step in enumerate(steps):
        hessian, _ = dense(dataset, iterate(dataset, "sgd", step, step_size=0.4))
        top = np.linalg.eigvalsh(hessian)[-1]
        np.testing.assert_allclose(found["sharpness"][0, place], top, rtol=1e-6)
        assert found["sharpness_residual"][0, place] <= 1e-6 * top
    assert np.isnan(found["preconditioned_sharpness"]).all()


def test_adam_s_preconditioned_sharpness_is_that_of_the_dense_matrices(dataset: Dataset) -> None:
    # Breaks if ν is not that of the iterate, a bias correction is missing, or P enters once too often.
    steps = (0, 1, 4)
    found = trained(dataset, "adam", steps, step_size=0.02, b1=B1, b2=B2, eps=EPS)
    found = found.probed["preconditioned_sharpness"][0]
    assert np.isnan(found[0])
    # Adam from NumPy and dense derivatives alone.
    params = jax.jit(MODEL.init)(role_key(3, "initialisation"), jnp.zeros(3), scale=1.0)[0]
    flat, unravel = ravel_pytree(params)
    theta, mu, nu = np.asarray(flat, np.float64), np.zeros(flat.size), np.zeros(flat.size)
    for step in range(1, 5):
        _, gradient = dense(dataset, unravel(jnp.asarray(theta)))
        mu, nu = B1 * mu + (1 - B1) * gradient, B2 * nu + (1 - B2) * gradient**2
        size = np.sqrt(nu / (1 - B2**step)) + EPS
        theta = theta - 0.02 * mu / (1 - B1**step) / size
        if step in steps:
            hessian, _ = dense(dataset, unravel(jnp.asarray(theta)))
            root = 1 / np.sqrt((1 - B1**step) * size)
            top = np.linalg.eigvalsh(root[:, None] * hessian * root[None, :])[-1]
            np.testing.assert_allclose(found[steps.index(step)], top, rtol=1e-5)


def test_projections_are_linear_and_the_same_at_every_probe(dataset: Dataset) -> None:
    # Breaks if directions change between probes, or if their lengths do not keep the size of distances.
    found = trained(dataset, "sgd", (0, 1, 2), step_size=0.1)
    twice = trained(dataset, "sgd", (0, 1), step_size=0.2).probed["projection"][0]
    ends = found.probed["projection"][0]
    assert ends.shape == (3, 32)
    # One step of twice the size goes twice as far, along the same directions.
    np.testing.assert_allclose(twice[1] - twice[0], 2 * (ends[1] - ends[0]), rtol=1e-9, atol=1e-12)
    way = iterate(dataset, "sgd", 2, step_size=0.1)
    start = jax.jit(MODEL.init)(role_key(3, "initialisation"), jnp.zeros(3), scale=1.0)[0]
    length = np.linalg.norm(ravel_pytree(way)[0] - ravel_pytree(start)[0])
    # Mean square of 32 normal products: a quarter off is one standard deviation.
    size = np.sqrt(np.mean((ends[2] - ends[0]) ** 2) * way_size(way))
    assert 0.4 < size / length < 1.8


def way_size(tree: Any) -> int:
    """Number of parameters, which projections are divided by the square root of."""
    return ravel_pytree(tree)[0].size


# Planted results


def planted(relative: dict[tuple[str, float], Any], seeds: int = 5) -> xr.Dataset:
    """A result whose sharpness follows the given courses, in units of the threshold."""
    rng = np.random.default_rng(0)
    steps = np.arange(0, 101, 10)
    rows = [(arm, eta, seed) for (arm, eta) in relative for seed in range(seeds)]
    arm = np.array([row[0] for row in rows], object)
    eta = np.array([row[1] for row in rows])
    factor = {"gd": 2.0, "sgd": 2.0, "heavy-ball": 3.8, "adam": 38.0}
    course = np.stack([np.asarray(relative[a, e], float) for a, e, _ in rows])
    values = course * np.exp(0.01 * rng.normal(size=course.shape))
    values = values * (np.array([factor[a] for a in arm]) / eta)[:, None]
    adam = (arm == "adam")[:, None]
    return derive(
        xr.Dataset(
            {
                "log_step": (("lane", "probe"), np.tile(steps.astype(float), (len(rows), 1))),
                "log_sharpness": (("lane", "probe"), np.where(adam, 1.0, values), {"units": "1"}),
                "log_preconditioned_sharpness": (("lane", "probe"), np.where(adam, values, np.nan)),
                "log_projection": (("lane", "probe", "direction"), np.zeros((*values.shape, 1))),
                "updates": ("lane", np.full(len(rows), 100)),
                "diverged": ("lane", np.zeros(len(rows), bool)),
            },
            {
                "arm": ("lane", arm),
                "step_size": ("lane", eta),
                "seed": ("lane", np.array([row[2] for row in rows])),
                "momentum": ("lane", np.where(arm == "heavy-ball", 0.9, np.nan)),
                "b1": ("lane", np.where(arm == "adam", 0.9, np.nan)),
            },
        )
    )


def course(end: float, peak: float | None = None) -> np.ndarray:
    """From 0.5 to a peak at the middle, and on to where it ends."""
    top = end if peak is None else peak
    return np.concatenate([np.linspace(0.5, top, 6), np.linspace(top, end, 4), [end]])


def test_thresholds_are_those_of_each_optimiser() -> None:
    # Breaks if momentum or β₁ are left out, or a lane without them gets another's.
    result = planted({("gd", 0.5): course(1), ("heavy-ball", 0.5): course(1),
                      ("adam", 0.01): course(1), ("sgd", 0.5): course(0.6)})  # fmt: skip
    by_arm = dict(zip(result["arm"].values, result["threshold"].values, strict=True))
    assert by_arm["gd"] == by_arm["sgd"] == 4
    assert by_arm["heavy-ball"] == pytest.approx(2 * 1.9 / 0.5)
    assert by_arm["adam"] == pytest.approx(3.8 / (0.1 * 0.01))
    late = result["late_relative_sharpness"].groupby("arm").mean()
    np.testing.assert_allclose(late.sel(arm=["adam", "gd", "sgd"]), [1, 1, 0.6], rtol=0.02)


def test_the_rule_asks_for_step_sizes_that_are_reached_and_stay() -> None:
    # Breaks if a step size that never got there counts for or against, or one that leaves does not count.
    at = {("gd", eta): course(1.03, 1.05) for eta in (0.4, 0.5, 0.6)}
    found = stays_at_the_edge(planted({**at, ("gd", 0.1): course(0.4)}))
    assert found.verdict == "conditional"
    assert found.effect == pytest.approx(1.03, rel=0.02)
    assert "0.1: below" in found.condition
    assert stays_at_the_edge(planted({**at, ("gd", 0.7): course(1.6, 1.6)})).verdict == "refuted"
    assert stays_at_the_edge(planted({**at, ("gd", 0.7): course(0.5, 1.2)})).verdict == "refuted"
    assert (
        stays_at_the_edge(planted({**at, ("gd", 0.7): course(1.15, 1.2)})).verdict == "inconclusive"
    )
    with pytest.raises(NotDecidable, match="at 2 step size"):
        stays_at_the_edge(planted({key: at[key] for key in list(at)[:2]}))
    with pytest.raises(NotDecidable, match="gd was not run"):
        stays_at_the_edge(planted({("sgd", 0.4): course(0.7)}))


def test_diverged_seeds_are_left_out_and_counted() -> None:
    # Breaks if a NaN lane spoils the others' interval.
    result = planted({("gd", eta): course(1.03, 1.05) for eta in (0.4, 0.5, 0.6)})
    lost = result["diverged"].copy(data=result["seed"].values == 2)
    result = result.assign(diverged=lost)
    result["late_relative_sharpness"] = result["late_relative_sharpness"].where(~lost)
    found = stays_at_the_edge(result)
    assert found.verdict == "conditional"
    assert found.n_seeds == 4


def test_a_lane_that_stopped_early_has_its_last_fifth_before_that() -> None:
    # Breaks if the last fifth is that of the budget.
    result = planted({("gd", 0.5): course(1)})
    short = result.assign(updates=("lane", np.full(result.sizes["lane"], 60)))
    values = np.where(short["log_step"].values <= 60, short["log_sharpness"].values, np.nan)
    short["log_sharpness"] = short["log_sharpness"].copy(data=values)
    late = derive(short)["late_relative_sharpness"].values
    np.testing.assert_allclose(late, values[:, 5:7].mean(axis=1) * 0.5 / 2)


@pytest.fixture(scope="module")
def linear() -> dict[str, np.ndarray]:
    """Three seeds of the exact problem."""
    experiment = LinearFlow()
    rows = [experiment(None, seed, {}) for seed in range(3)]  # type: ignore[arg-type]
    return {name: np.stack([row[name] for row in rows]) for name in experiment.variables}


def test_least_squares_ends_where_the_pseudoinverse_says(linear: dict[str, np.ndarray]) -> None:
    # Breaks if the iteration, its step size or its length is wrong, or two starts share an end.
    assert (linear["endpoint_error"] < 1e-12).all()
    assert (linear["endpoints_apart"] > 0.5).all()
    rng = np.random.default_rng([0, ROLES["data"]])
    x, y = rng.normal(size=(10, 30)), rng.normal(size=10)
    w = rng.normal(size=(4, 30))[-1]
    # The same distance by another route: the matrix exponential, and powers of the iteration matrix.
    hessian = x.T @ x / 10
    top = np.linalg.eigvalsh(hessian)[-1]
    end = w + np.linalg.pinv(x) @ (y - x @ w)
    step, count = 0.08 / top, 100
    gaps = [
        np.linalg.norm(
            (np.linalg.matrix_power(np.eye(30) - step * hessian, k) - expm(-hessian * step * k))
            @ (w - end)
        )
        for k in range(count + 1)
    ]
    way = np.linalg.norm((np.eye(30) - expm(-hessian * step * count)) @ (w - end))
    np.testing.assert_allclose(linear["linear_distance"][0, 0], max(gaps) / way, rtol=1e-9)


def small_steps(order: float, linear: dict[str, np.ndarray], noise: float = 0.005) -> xr.Dataset:
    """A result whose networks leave the flow at an order in the step size."""
    rng = np.random.default_rng(1)
    steps, seeds = np.tile([0.01, 0.02, 0.04], 4), np.repeat(np.arange(4), 3)
    distance = steps**order * np.exp(noise * rng.normal(size=12))
    return xr.Dataset(
        {
            "flow_distance": ("lane", np.concatenate([distance, np.full(3, np.nan)])),
            **{
                name: (
                    ("lane", "step_fraction")[: values.ndim],
                    np.concatenate([np.full((12, *values.shape[1:]), np.nan), values]),
                )
                for name, values in linear.items()
            },
        },
        {
            "arm": ("lane", np.array(["small-steps"] * 12 + ["least-squares"] * 3, object)),
            "step_size": ("lane", np.concatenate([steps, np.full(3, np.nan)])),
            "seed": ("lane", np.concatenate([seeds, np.arange(3)])),
            "step_fraction": list(LinearFlow().fractions),
        },
    )


def test_the_order_decides_whether_small_steps_follow_the_flow(
    linear: dict[str, np.ndarray],
) -> None:
    # Breaks if slopes are of the wrong sign or base, or lanes that are no small steps count.
    found = follows_the_flow(small_steps(1.0, linear))
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(1, abs=0.02)
    assert found.details["least squares"]["order"] == pytest.approx(1, abs=0.03)
    assert follows_the_flow(small_steps(0.5, linear)).verdict == "refuted"
    assert follows_the_flow(small_steps(1.0, linear, noise=0.5)).verdict == "inconclusive"
    with pytest.raises(NotDecidable, match="small-steps"):
        follows_the_flow(small_steps(1.0, linear).isel(lane=slice(12, None)))


def test_the_rule_of_starts(linear: dict[str, np.ndarray]) -> None:
    # Breaks if an end that is off, or ends that coincide, pass.
    good = small_steps(1.0, linear)
    assert each_start_has_its_end(good).verdict == "supported"
    off = good.assign(endpoint_error=good["endpoint_error"] + 1e-9)
    assert each_start_has_its_end(off).verdict == "refuted"
    assert (
        each_start_has_its_end(good.assign(endpoints_apart=good["endpoints_apart"] * 0)).verdict
        == "refuted"
    )


def test_an_arm_of_which_all_is_lost_says_so() -> None:
    # Breaks if a diverged arm passes for one that was measured and not decided, or warns instead.
    result = planted({("gd", eta): course(1.03, 1.05) for eta in (0.4, 0.5, 0.6)})
    lost = result["diverged"].copy(data=result["step_size"].values == 0.6)
    result = result.assign(diverged=lost)
    result["late_relative_sharpness"] = result["late_relative_sharpness"].where(~lost)
    cell = result.isel(lane=np.flatnonzero(lost.values))
    found = judge_group(cell, 0.95)
    assert (found["where"], found["n"], found["diverged"]) == ("diverged", 0, 5)
    with pytest.raises(NotDecidable, match=r"at 2 step size.*5 of its 15 lanes diverged"):
        stays_at_the_edge(result)


# The study


def test_a_run_leaves_a_table_a_verdict_and_figures(tmp_path: Path) -> None:
    # Breaks if the study's parts do not fit together.
    settings = EdgeOfStabilitySettings.model_validate(
        {
            "seeds": 2, "updates": 20, "probes": 10, "model": {"widths": [4], "activation": "tanh"},
            "data": {"n_train": 40, "n_test": 20}, "gd": {"step_sizes": [0.1, 0.2]},
            "adam": {"step_sizes": [0.01]}, "heavy_ball": {"step_sizes": [0.1]},
            "sgd": {"step_sizes": [0.1], "batch_size": 8},
            "flow": {"step_size": 0.1, "time": 2, "until_sharpness": 1e-3},
            "small_steps": {"step_sizes": [0.02, 0.01], "time": 0.2},
        }
    )  # fmt: skip
    done = runner.run(STUDY, settings, tmp_path / "out", scale="custom")
    trained = done.result["updates_budget"].values > 0
    # Five groups of two seeds, the flow, two small step sizes and their reference; two exact problems.
    assert trained.sum() == 18
    assert done.result["log_sharpness"].shape == (20, 11)
    assert (done.result["log_sharpness"].values[trained, 0] > 0).all()
    flow = done.result["arm"].values == "flow"
    # It stops where its sharpness is reached, which here it is before the first update.
    assert done.result["updates"].values[flow].tolist() == [0, 0]
    assert np.isfinite(done.result["flow_distance"].values).sum() == 4
    adam = done.result["arm"].values == "adam"
    known = np.isfinite(done.result["log_preconditioned_sharpness"].values)
    assert known[adam][:, 1:].all()
    assert not known[~adam].any()
    assert done.result["log_train_loss"].attrs["units"] == "squared output"
    entries = claims_module.to_json(done.presented.findings, STUDY.claims)
    ids = ["dhand.eos", "dhand.sec-2.2", "dhand.lr-7.2-small"]
    assert [entry["id"] for entry in entries] == ids
    for name in ("sharpness", "flow", "small_steps", "loss"):
        assert (done.out / "figures" / f"{name}.png").is_file()
    assert [len(table.rows) for table in done.presented.tables] == [6, 8]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arms": ("gd", "gd")}, "name each once"),
        ({"arms": ("lion",)}, "no 'lion' .known: gd"),
        ({"probes": 3}, "10"),
        (
            {"small_steps": {"step_sizes": (0.3, 0.1), "time": 1.0}},
            "time is 1 and step_sizes is .0.3, 0.1.; .* multiple of each",
        ),
        ({"until_error": 1.0}, "less than 1"),
        ({"gd": {"step_sizes": (0.4, 0.4)}}, "name each once"),
        ({"small_steps": {"step_sizes": (0.1, 0.1), "time": 1.0}}, "name each once"),
        ({"gd": {"step_sizes": (-1.0,)}}, "greater than 0"),
    ],
)
def test_bad_settings_are_refused(changes: dict, told: str) -> None:
    # Breaks if a mistake shows only after a run.
    with pytest.raises(ValueError, match=told):
        EdgeOfStabilitySettings.model_validate(changes)


def test_a_batch_larger_than_the_data_is_refused(dataset: Dataset) -> None:
    # Breaks if the arm of small batches is not checked against the data.
    settings = EdgeOfStabilitySettings.model_validate(
        {"data": {"n_train": 20}, "sgd": {"batch_size": 64}}
    )
    with pytest.raises(UserError, match="64"):
        lanes(settings, dataset, None)
