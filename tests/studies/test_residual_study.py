"""The residual study: its network and exact parts against other computations, and one small run."""

from __future__ import annotations

import itertools
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
from implicit_bias.keys import role_key
from implicit_bias.models import Network
from implicit_bias.models.dense import ACTIVATIONS
from implicit_bias.results.claims import evaluate
from implicit_bias.studies import runner
from implicit_bias.studies.residual import STUDY
from implicit_bias.studies.residual.arms import (
    CONV,
    DENSE,
    GRID,
    Cell,
    cells,
    chosen_lanes,
    chosen_steps,
    grid_lanes,
    measurement,
    network,
    times,
)
from implicit_bias.studies.residual.jacobians import BlockJacobians, excess
from implicit_bias.studies.residual.linear import LinearBlocks, excess_loss
from implicit_bias.studies.residual.measure import (
    changes,
    conditioning,
    eigenvalue_ratio,
    input_jacobians,
)
from implicit_bias.studies.residual.network import Stack
from implicit_bias.studies.residual.rows import of_cell
from implicit_bias.studies.residual.settings import KINDS, ResidualSettings, branch
from implicit_bias.training.lane import LaneInputs, initial_parameters
from tests.decompositions import decompositions

SMALL: dict[str, Any] = {
    "seeds": 2, "dtype": "float64", "data": {"n_train": 40, "n_test": 30, "classes": [0, 1, 2]},
    "width": 6, "depths": [2, 3], "norms": ["none"], "step_sizes": [0.02, 0.1],
    "batch_size": 20, "target_loss": 0.9, "updates": 40, "early": 5, "probe_set": 10, "examples": 20,
    "max_products": 8, "tol": 1e-6, "exact": {"width": 5, "inputs": 4, "examples": 2, "draws": 3},
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> runner.Run:
    """Run the study, small and in double precision."""
    settings = ResidualSettings.model_validate(SMALL)
    return runner.run(STUDY, settings, tmp_path_factory.mktemp("residual") / "out", scale="custom")


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_the_stack_is_the_chain_of_layers_that_it_says(kind: str, norm: Any) -> None:
    # Breaks if a block, its factor, the normalisation or the order of the parameters is another.
    depth = 3
    skip, factor = branch(kind, depth)
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (4, 2, 3), np.float64)
        stack = Stack(5, depth, 2, norm)
        params, state = stack.init(jax.random.key(1), x[0], skip=skip, branch=factor)
        params = jax.tree.map(lambda leaf: leaf + 0.1, params)
        chain = Network(stack.chain(skip, factor))
        drawn, _ = chain.init(jax.random.key(1), x[0])
        # Of a residual network and of a plain one the same draw.
        for ours, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(drawn), strict=True):
            np.testing.assert_allclose(ours, theirs + 0.1, rtol=1e-12)
        found, _ = stack.apply(params, state, x)
        expected, _ = chain.apply(params, {}, x)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        hidden = stack.hidden(params, state, x)
        _, given = chain.tapped(params, {}, x)
    assert hidden.shape == (depth + 1, 4, 5)
    if norm == "none":
        np.testing.assert_allclose(np.maximum(hidden[-1], 0), given[-1][:, 0], rtol=1e-12)
        np.testing.assert_allclose(np.maximum(hidden[1], 0), given[2][:, 0], rtol=1e-12)


def test_kinds_differ_in_traced_numbers_alone() -> None:
    # Breaks if a kind has a program of its own, or a factor of another depth.
    settings = ResidualSettings.model_validate({**SMALL, "norms": ["none", "layer"]})
    dataset = settings.data.load()
    lanes = grid_lanes(settings, dataset, None)
    assert len({lane.recipe for lane in lanes}) == 4  # depths × normalisations
    assert len(lanes) == 4 * len(KINDS) * 2 * 2
    of = {
        (lane.tags["kind"], lane.tags["depth"]): (lane.values["skip"], lane.values["branch"])
        for lane in lanes
    }
    assert of["plain", 3] == (0.0, 1.0)
    assert of["residual", 3] == (1.0, 1.0)
    assert of["residual, 1/√L", 3] == (1.0, pytest.approx(3**-0.5))
    assert of["residual, 1/L", 3] == (1.0, pytest.approx(1 / 3))
    assert {*times(settings)} >= {0, 5, 40}


def test_step_sizes_are_those_of_the_fewest_updates() -> None:
    # Breaks if a run that did not get there, or diverged, is preferred; if loss does not decide then; or if
    # one cell's run is chosen for another.
    nan = np.nan
    rows = [  # kind, step, diverged, met, updates, losses
        ("plain", 0.1, False, True, 30, [1.0, 0.1]), ("plain", 0.2, False, True, 20, [1.0, 0.5]),
        ("plain", 0.4, True, True, 10, [1.0, 0.1]), ("residual", 0.1, False, False, 40, [1.0, nan]),
        ("residual", 0.2, False, False, 40, [1.0, 0.7]), ("residual, 1/L", 0.1, True, False, 40, [1.0, nan]),
        ("plain", 0.1, False, True, 10, [1.0, 0.1]), ("plain", 0.2, False, True, 30, [1.0, 0.1]),
    ]  # fmt: skip
    result = xr.Dataset(
        {
            "diverged": ("lane", [row[2] for row in rows]),
            "reached_target": ("lane", [row[3] for row in rows]),
            "updates": ("lane", [row[4] for row in rows]),
            "log_train_loss": (("lane", "probe"), [row[5] for row in rows]),
        },
        {
            "arm": ("lane", [GRID] * 8), "family": ("lane", [DENSE] * 8), "depth": ("lane", [4] * 8),
            "kind": ("lane", [row[0] for row in rows]), "norm": ("lane", ["none"] * 6 + ["layer"] * 2),
            "seed": ("lane", [3] * 8), "step_size": ("lane", [row[1] for row in rows]),
        },
    )  # fmt: skip
    assert chosen_steps(result) == {
        (3, Cell(DENSE, "plain", 4, "none")): 0.2, (3, Cell(DENSE, "residual", 4, "none")): 0.2,
        (3, Cell(DENSE, "plain", 4, "layer")): 0.1,
    }  # fmt: skip


def test_measured_runs_are_runs_of_the_grid(done: runner.Run) -> None:
    # Breaks if a measured run is trained again, as another lane, or at another step size than the best.
    result = done.result
    ids = np.asarray([str(name).split(":")[0] for name in result["lane_id"].values])
    arms = result["arm"].values
    assert set(ids[arms == DENSE]) <= set(ids[arms == GRID])
    settings = ResidualSettings.model_validate(SMALL)
    lanes = chosen_lanes(settings, settings.data.load(), result)
    steps = chosen_steps(result)
    for lane in lanes:
        cell = Cell(DENSE, *(lane.tags[name] for name in ("kind", "depth", "norm")))  # type: ignore[arg-type]
        assert lane.values["step_size"] == steps[lane.seed, cell]
    assert chosen_lanes(settings, settings.data.load(), None) == []


def test_measures_are_those_of_numpy(done: runner.Run) -> None:
    # Breaks if features are taken of other examples or layers, or conditioning of another network.
    settings = ResidualSettings.model_validate(SMALL)
    dataset = settings.data.load()
    lanes = chosen_lanes(settings, dataset, done.result)
    cell = Cell(DENSE, "residual, 1/L", 3, "none")
    lane = next(
        lane for lane in lanes
        if lane.seed == 0 and (lane.tags["kind"], lane.tags["depth"], lane.tags["norm"]) == cell[1:]
    )  # fmt: skip
    x = np.asarray(dataset.x_test[:10], float)
    with jax.enable_x64(True):
        inputs = LaneInputs(np.uint32(0), lane.values)
        params, _ = initial_parameters(lane.recipe.model, jnp.asarray(x[0]), inputs)
    w = [np.asarray(params[f"layer_{layer}"]["weight"]) for layer in range(5)]
    hidden = [x @ w[0].T]
    jacobian = np.broadcast_to(w[0], (10, *w[0].shape))
    for weight in w[1:4]:
        on = (hidden[-1] > 0).astype(float)
        hidden.append(hidden[-1] + np.maximum(hidden[-1], 0) @ weight.T / 3)
        jacobian = jacobian + np.einsum("ij,nj,njk->nik", weight / 3, on, jacobian)
    last = np.einsum("ij,nj,njk->nik", w[4], (hidden[-1] > 0).astype(float), jacobian)
    sizes = [np.linalg.norm(after - before) / np.linalg.norm(before)
             for before, after in itertools.pairwise(hidden)]  # fmt: skip
    np.testing.assert_allclose(of_cell(done.result, cell, "change_before")[0], sizes, rtol=1e-9)
    singular = np.linalg.svd(last, compute_uv=False)
    ratio = np.exp(np.mean(np.log(singular[:, 0] / np.median(singular, axis=1))))
    np.testing.assert_allclose(of_cell(done.result, cell, "conditioning")[0], ratio, rtol=1e-8)
    shallow = of_cell(done.result, cell._replace(depth=2), "change_before")
    assert np.isfinite(shallow[:, :2]).all()
    assert np.isnan(shallow[:, 2:]).all()
    # What is logged before the first update is the mean of what is measured there.
    logged = of_cell(done.result, cell, "log_change")[:, 0]
    np.testing.assert_allclose(
        logged, of_cell(done.result, cell, "change_before").mean(axis=1), rtol=1e-9
    )
    met = done.result["reached_target"].values & (done.result["arm"].values == DENSE)
    assert met.any()
    assert (done.result["train_loss"].values[met] <= 0.9).all()


def test_small_functions_are_numpys() -> None:
    # Breaks if a norm is over the wrong axis, a ratio upside down, or a Jacobian of a batch mixes examples.
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        hidden = rng.standard_normal((3, 4, 5))
        expected = [
            np.linalg.norm(hidden[i + 1] - hidden[i]) / np.linalg.norm(hidden[i]) for i in range(2)
        ]
        np.testing.assert_allclose(changes(jnp.asarray(hidden)), expected)
        matrices = rng.standard_normal((3, 3, 5))
        values = np.linalg.svd(matrices, compute_uv=False)
        np.testing.assert_allclose(
            conditioning(jnp.asarray(matrices)),
            np.exp(np.mean(np.log(values[:, 0] / values[:, 1]))),
        )
        assert decompositions(conditioning, matrices) == [(3, 5)]  # one after another
        kernel = matrices[0] @ matrices[0].T
        np.testing.assert_allclose(
            eigenvalue_ratio(jnp.asarray(kernel)), (values[0, 0] / values[0, 1]) ** 2
        )
        model = Stack(4, 1, 2)
        x = rng.standard_normal((3, 2, 2))
        params, state = jax.jit(model.init)(jax.random.key(0), jnp.asarray(x[0]))
        found = input_jacobians(model, params, state, jnp.asarray(x))
        step = 1e-6 * rng.standard_normal(x.shape)
        moved = [model.apply(params, state, jnp.asarray(x + sign * step))[0] for sign in (1, -1)]
        np.testing.assert_allclose(
            np.einsum("nki,ni->nk", found, step.reshape(3, 4)),
            (moved[0] - moved[1]) / 2,
            atol=1e-12,
        )


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_exact_jacobians_are_automatic_ones(activation: str) -> None:
    # Breaks if a slope is of another layer, a factor is forgotten, or a plain one has the identity.
    made = BlockJacobians((1, 4), 5, 3, 2, 2, activation)
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((2, 3)), np.asarray([0, 1])
    with jax.enable_x64(True):
        for kind in KINDS:
            found = made.measured(kind, 4, 7, x, labels)
            skip, factor = branch(kind, 4)
            model = Stack(5, 4, 2, "none", activation)
            params, state = model.init(
                role_key(7, "initialisation"), jnp.zeros(3, np.float64), skip=skip, branch=factor
            )
            whole = [
                np.linalg.svd(
                    jax.jacfwd(
                        lambda one, m=model, p=params, s=state: m.apply(p, s, one[None])[0][0]
                    )(jnp.asarray(row)),
                    compute_uv=False,
                )
                for row in x
            ]  # fmt: skip
            ratio = np.exp(np.mean([np.log(values[0] / np.median(values)) for values in whole]))
            assert found["exact_conditioning"] == pytest.approx(ratio, rel=1e-9)
            norms, stacks = [], []
            for row in x:
                hidden = jnp.asarray(row) @ params["layer_0"]["weight"].T
                stack = jnp.eye(5)
                for block in range(4):

                    def added(
                        h: Any,
                        weight: Any = params[f"layer_{block + 1}"]["weight"],
                        b: float = factor,
                    ) -> Any:
                        return b * (ACTIVATIONS[activation](h) @ weight.T)

                    slope = jax.jacrev(added)(hidden)
                    norms.append(np.linalg.norm(slope, 2))
                    stack = (skip * jnp.eye(5) + slope) @ stack
                    hidden = skip * hidden + added(hidden)
                stacks.append(np.linalg.svd(stack, compute_uv=False))
            assert found["branch_norm"] == pytest.approx(max(norms), rel=1e-9)
            assert found["stack_largest"] == pytest.approx(
                np.exp(np.mean([np.log(s[0]) for s in stacks])), rel=1e-9
            )
            assert max(found["passed_error"], found["weight_error"]) < 1e-12
            # What is printed is the gradient of the other side of the block.
            assert found["printed_error"] > 0.01


def test_bounds_are_left_only_by_what_leaves_them() -> None:
    assert excess(np.asarray([1.2, 0.9]), 0.1, 2) == 0
    assert excess(np.asarray([1.3, 0.9]), 0.1, 2) == pytest.approx(1.3 / 1.21 - 1)
    assert excess(np.asarray([1.2, 0.5]), 0.1, 2) == pytest.approx(1 - 0.5 / 0.81)
    assert excess(np.asarray([3.0, 0.0]), 1.0, 2) == 0  # no lower bound


def test_linear_networks_have_the_gradient_of_their_loss() -> None:
    # Breaks if a product of blocks is in the wrong order or transposed, or the constant is off.
    rng = np.random.default_rng(0)
    blocks = [0.3 * rng.standard_normal((3, 3)) for _ in range(3)]
    target, root = rng.standard_normal((2, 3, 3))
    covariance = root @ root.T
    value, gradients = excess_loss(blocks, target, covariance)
    x = rng.multivariate_normal(np.zeros(3), covariance, 200_000)
    out = x
    for block in blocks:
        out = out + out @ block.T
    assert value == pytest.approx(np.mean(np.sum((out - x @ target.T) ** 2, axis=1)), rel=0.02)
    for place in range(3):
        step = 1e-6 * rng.standard_normal((3, 3))
        ends = [
            excess_loss([b + sign * step * (i == place) for i, b in enumerate(blocks)], target, covariance)[0]
            for sign in (1, -1)
        ]  # fmt: skip
        assert np.sum(gradients[place] * step) == pytest.approx((ends[0] - ends[1]) / 2, rel=1e-5)
    made = LinearBlocks((1, 4), 3, 20)(None, 0, {})  # type: ignore[arg-type]
    assert (made["inside_ratio"] >= 1).all()
    assert made["outside_gradient"][1] == 0
    assert made["outside_loss"][1] > 0.1
    # A bound with another power of 1 − τ, or σ_max in place of σ_min, would fail for one block of norm τ.
    single, _ = excess_loss([np.zeros((3, 3))], target, np.eye(3))
    _, slope = excess_loss([np.zeros((3, 3))], target, np.eye(3))
    assert np.sum(slope[0] ** 2) == pytest.approx(4 * single)


def test_the_run_has_verdicts_tables_and_figures(done: runner.Run) -> None:
    found = {finding.id: finding.verdict for finding in evaluate(STUDY.claims, done.result)}
    assert found["dhand.arch-9.1.gradient"] == "refuted"
    for name in ("gradient.corrected", "bounds", "linear"):
        assert found[f"dhand.arch-9.1.{name}"] == "supported"
    assert all(verdict != "not-decided" for verdict in found.values())
    assert len(STUDY.tables(done.result)) == 3
    assert all(drawing.when(done.result) for drawing in STUDY.drawings)
    drawn = {file.stem for file in done.presented.files if file.suffix == ".png"}
    assert drawn == {"verdicts", *(drawing.name for drawing in STUDY.drawings)}
    # Without arms rules say so, and nothing fails.
    alone = done.result.isel(lane=np.flatnonzero(done.result["arm"].values == "linear"))
    left = {finding.id: finding.verdict for finding in evaluate(STUDY.claims, alone)}
    assert left.pop("dhand.arch-9.1.linear") == "supported"
    assert set(left.values()) == {"not-decided"}
    assert STUDY.tables(alone) == []
    assert not any(d.when(alone) for d in STUDY.drawings)


def test_convolutional_networks_have_the_same_layers_without_shortcuts() -> None:
    # Breaks if the plain one has other convolutions, or conv cells are of another depth.
    made = {**SMALL, "data": {**SMALL["data"], "flatten": False}}
    settings = ResidualSettings.model_validate(
        {**made, "conv": {"run": True, "depth": 20, "width": 4}}
    )
    dataset = settings.data.load()
    own = [cell for cell in cells(settings) if cell.arm == CONV]
    assert own == [Cell(CONV, "plain", 20, "batch"), Cell(CONV, "residual", 20, "batch")]
    plain, residual = (network(settings, dataset, cell) for cell in own)
    assert settings.parameters(dataset, residual) - settings.parameters(dataset, plain) == (
        4 * 8
        + 8 * 16
        + 2 * (8 + 16)  # the projections beside strided blocks, and their normalisations
    )
    lanes = [lane for lane in grid_lanes(settings, dataset, None) if lane.tags["family"] == CONV]
    assert {lane.values["step_size"] for lane in lanes} == {0.03, 0.1, 0.3}
    assert not any("skip" in lane.values for lane in lanes)


@pytest.mark.parametrize(
    ("changes_", "words"),
    [
        ({"updates": 5}, "updates is 5 and early is 5; choose more updates"),
        ({"evaluate_every": 50}, "evaluate_every is 50"),
        ({"conv": {"run": True}}, "data.flatten"),
        ({"depths": [4]}, "at least 2"),
        ({"depths": [1, 4]}, "greater than or equal to 2"),
        ({"tol": 1e-17}, "tol"),
        ({"depths": [2, 1001]}, "less than or equal to 1000"),
        ({"model": {"name": "resnet"}}, "model.name is 'resnet'; leave it out"),
        ({"exact": {"width": 10**6}}, "less than or equal to 1024"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(changes_: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ResidualSettings.model_validate({**SMALL, **changes_})


def test_data_that_do_not_go_with_settings_are_refused() -> None:
    digits = load("digits", n_test=20)
    with pytest.raises(UserError, match="probe_set"):
        measurement(ResidualSettings(), digits)
    with pytest.raises(UserError, match="examples"):
        measurement(ResidualSettings.model_validate({**SMALL, "examples": 60}), digits)
    with pytest.raises(UserError, match="target_loss"):
        grid_lanes(ResidualSettings.model_validate({**SMALL, "target_loss": 3.0}), digits, None)
    assert losses.get("cross_entropy").unit == "nats"
