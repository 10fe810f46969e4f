"""The factorization study: its measurements against other computations, its rules both ways, its refusals."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError
from scipy.integrate import solve_ivp

from implicit_bias import theory
from implicit_bias.results.claims import Finding, evaluate
from implicit_bias.results.trials import Trial, add_trials
from implicit_bias.studies import get
from implicit_bias.studies.factorization import STUDY, TRIALS, FactorizationSettings
from implicit_bias.studies.factorization.diagonal import _layers, least_one_norm
from implicit_bias.studies.factorization.networks import _kernel
from implicit_bias.studies.factorization.rows import near_half
from implicit_bias.studies.factorization.rules_norms import last_finite
from implicit_bias.studies.factorization.widths import kernel
from tests.studies.panels import assert_readable, curve

SEEDS = 3

TINY: dict[str, Any] = {
    "modes": {"dimension": 4, "depths": [1, 2, 3, 6], "times": 10},
    "sensing": {
        "dimension": 5, "many": 22, "few": 9, "depths": [2], "starts": [1e-4, 1e-2], "eigenvalues": 12
    },
    "plane": {"depths": [3], "least": 1e-3},
    "depth": {"dimension": 6, "seen": 0.6, "depths": [1, 2, 3]},
    "width": {"dimension": 3, "depth": 3, "widths": [3, 6, 24], "updates": 200},
    "ranks": {"dimension": 8, "truths": [2, 4], "times": 20, "depth": 3},
    "diagonal": {
        "features": 10, "examples": 4, "active": 2, "alphas": [1e-3, 3e-3, 0.1, 3, 10],
    },
    "networks": {"examples": 6, "width": 20, "alphas": [0.1, 3.0], "updates": 500},
    "signals": {"width": 60, "layers": 4, "networks": 4},
}  # fmt: skip


def stored(rows: list[Trial]) -> xr.Dataset:
    variables: dict[str, Any] = {"diverged": ("lane", np.zeros(0, bool))}
    coords: dict[str, Any] = {
        name: ("lane", np.zeros(0, kind))
        for name, kind in (("lane_id", object), ("seed", int), ("stage", object), ("arm", object))
    }
    add_trials(variables, coords, {}, 0, rows)
    return xr.Dataset(variables, coords)


@functools.cache
def drawn() -> xr.Dataset:
    """What the experiments of three seeds leave, as a run stores it."""
    settings = FactorizationSettings(**TINY)
    rows = []
    with jax.enable_x64(True):
        for stage in TRIALS:
            experiment = stage.experiment(settings, None)  # type: ignore[arg-type]
            for seed in range(SEEDS):
                values = {
                    name: np.asarray(value)
                    for name, value in experiment(None, seed, {}).items()  # type: ignore[arg-type]
                }
                assert set(values) == set(experiment.variables)
                for name, value in values.items():
                    dims = experiment.variables[name].dims
                    assert value.shape == tuple(len(experiment.coordinates[d]) for d in dims), name
                values["diverged"] = np.asarray(False)
                rows.append(Trial(seed, stage.name, f"{seed}", values, experiment))
    return stored(rows)


@functools.cache
def found() -> dict[str, Finding]:
    return {one.id: one for one in evaluate(STUDY.claims, drawn())}


def arms(name: str, result: xr.Dataset | None = None) -> dict[str, str]:
    findings = found() if result is None else {
        one.id: one for one in evaluate(STUDY.claims, result)
    }  # fmt: skip
    return {arm: one["verdict"] for arm, one in findings[name].details["arms"].items()}


def changed(name: str, values: Any) -> xr.Dataset:
    """Return the result with a variable planted, where it was measured."""
    result = drawn().copy()
    there = np.isfinite(result[name].values.reshape(result.sizes["lane"], -1)).any(axis=1)
    array = result[name].values.copy()
    array[there] = values
    result[name] = (result[name].dims, array)
    return result


@pytest.mark.parametrize(
    "claim",
    [
        "dhand.eq-4.1", "factorization.balance", "factorization.end-to-end", "factorization.mode-law",
        "factorization.potential", "factorization.unseen-entry",
    ],
)  # fmt: skip
def test_identities_hold_and_are_caught_where_they_do_not(claim: str) -> None:
    # Breaks if a rule reads another variable, or its tolerance lets a wrong constant through.
    assert found()[claim].verdict == "supported"
    planted: dict[str, tuple[str, Any]] = {
        "dhand.eq-4.1": ("gradient_error", 1e-6),
        "factorization.balance": ("gradient_drift", 1e-3),
        "factorization.end-to-end": ("gradient_velocity", 1e-6),
        "factorization.mode-law": ("mode_value", 0.5),
        "factorization.potential": ("diagonal_potential", 1.01),
        "factorization.unseen-entry": ("plane_entry", 0.5),
    }
    wrong = {one.id: one for one in evaluate(STUDY.claims, changed(*planted[claim]))}
    assert wrong[claim].verdict == "refuted"


def test_ascending_order_is_refuted_but_for_two_layers() -> None:
    one = found()["dhand.eq-4.1.order"]
    assert one.verdict == "refuted"
    assert one.details["error_by_depth"]["2"] < 1e-12 < 0.1 < one.details["error_by_depth"]["3"]


def test_theorem_4_1_has_cases_on_both_sides() -> None:
    # Its counterexample by Razin and Cohen, and where it is known to hold.
    verdicts = arms("dhand.thm-4.1")
    assert verdicts["one entry unseen, L = 3"] == "refuted"
    assert found()["dhand.thm-4.1"].verdict != "supported"
    planted = changed("sensing_excess", 1e-3)
    assert arms("dhand.thm-4.1", planted)["completion, L = 2"] == "supported"
    planted = changed("sensing_excess", 0.2)
    assert set(arms("dhand.thm-4.1", planted).values()) == {"refuted"}


def test_the_unseen_entry_grows() -> None:
    # Against the library's own bound, recomputed, and against its own trend.
    assert arms("factorization.unbounded")["αI, L = 3"] == "supported"
    result = drawn()
    entry = result["plane_entry"].sel(plane_start="αI").values[..., -1]
    entry = entry[np.isfinite(entry)]
    e = np.sqrt(2 * float(result["plane_loss"][-1]))
    assert entry.size == SEEDS
    assert (entry * e > (1 - e) ** 2).all()
    assert entry * e == pytest.approx(1, rel=0.1)
    flat = np.full(result["plane_nuclear"].shape[1:], 2.0)
    assert set(arms("factorization.unbounded", changed("plane_nuclear", flat)).values()) == {
        "refuted"
    }
    assert (
        arms("dhand.thm-4.1", changed("plane_nuclear", flat))["one entry unseen, L = 3"]
        == "supported"
    )


def test_depth_and_its_saturation() -> None:
    verdicts = arms("dhand.prop-4.2")
    assert verdicts["modes apart, αI, symmetric target, L = 1 to 2"] == "supported"
    apart = found()["dhand.prop-4.2.proportional"]
    assert (
        apart.details["arms"]["modes apart, product fixed, αI, symmetric target"]["verdict"]
        == "refuted"
    )
    assert apart.details["arms"]["modes apart, α of a layer fixed"]["verdict"] == "supported"
    assert apart.verdict == "conditional"
    # One layer learns all modes at one rate: the second is at 0.9 as well.
    second = drawn()["mode_second"].sel(mode_depth=1).values
    assert second[np.isfinite(second)] == pytest.approx(0.9, abs=0.01)
    # From αI every mode of a symmetric target follows the law: against an integration of our own, L = 3.
    mode = drawn()["mode_second"].sel(mode_depth=3, mode_start="αI, symmetric target").values
    solved = solve_ivp(
        lambda t, s: 3 * s ** (4 / 3) * (np.array([1.0, 0.5]) - s), (0, 50), [1e-3, 1e-3],
        events=lambda t, s: s[0] - 0.9, rtol=1e-10, atol=1e-14,
    )  # fmt: skip
    expected = solved.y_events[0][0, 1] / 0.5
    assert mode[np.isfinite(mode)] == pytest.approx(np.full(SEEDS, expected), rel=1e-4)


def test_width() -> None:
    verdicts = arms("dhand.prop-4.3")
    assert verdicts["condition number, width 3 to 6"] in ("supported", "inconclusive")
    shape = drawn()["width_condition"].shape[1:]
    assert set(arms("dhand.prop-4.3.limit", changed("width_excess", np.zeros(shape))).values()) == {
        "supported"
    }
    assert set(arms("dhand.prop-4.3.limit", changed("width_excess", np.ones(shape))).values()) == {
        "refuted"
    }
    rising = np.broadcast_to(np.array([1.0, 10.0, 100.0]), shape)
    planted = arms("dhand.prop-4.3", changed("width_condition", rising))
    assert planted["condition number, width 6 to 24"] == "refuted"


def test_kernel_of_layers_is_that_of_derivatives() -> None:
    # The tangent kernel on whitened inputs, J Jᵀ of all outputs, by finite differences.
    rng = np.random.default_rng(0)
    layers = [rng.standard_normal(s) for s in ((4, 3), (5, 4), (2, 5))]
    rows = []
    for place, layer in enumerate(layers):
        for at in np.ndindex(layer.shape):
            moved = layer.copy()
            moved[at] += 1e-6
            now = theory.product_of([*layers[:place], moved, *layers[place + 1 :]])
            rows.append(((now - theory.product_of(layers)) / 1e-6).ravel())
    jacobian = np.array(rows)
    np.testing.assert_allclose(kernel(layers), jacobian.T @ jacobian, atol=1e-3)


def test_kernel_of_relu_networks_is_that_of_derivatives() -> None:
    rng = np.random.default_rng(1)
    x, w, a = rng.standard_normal((4, 3)), rng.standard_normal((6, 3)), rng.standard_normal(6)
    with jax.enable_x64(True):
        grads = jax.vmap(
            jax.grad(lambda p, one: p[1] @ jnp.maximum(p[0] @ one, 0)), in_axes=(None, 0)
        )((jnp.asarray(w), jnp.asarray(a)), jnp.asarray(x))
        flat = np.concatenate([np.asarray(g).reshape(4, -1) for g in grads], axis=1)
    np.testing.assert_allclose(_kernel(x, w, a), flat @ flat.T, rtol=1e-10)


def test_ranks() -> None:
    verdicts = arms("dhand.E2")
    assert verdicts["falls in all, truth of rank 2"] == "supported"
    assert found()["dhand.E2.rank"].kind == "ill-posed"
    assert set(arms("dhand.E2.rank").values()) == {"refuted"}
    # The rank that modes leave behind is the truth's.
    result = drawn()
    end = result["rank_effective"].values[..., -1]
    kept = np.isfinite(end[:, 0])
    assert end[kept] == pytest.approx(result["rank_of_truth"].values[kept], rel=0.2)
    rising = np.linspace(1, 8, 20)
    assert arms("dhand.E2", changed("rank_trained", rising))[
        "does not rise again, network, layer by layer"
    ] == ("refuted")


def test_scale_of_the_start_is_the_other_way_round() -> None:
    verdicts = arms("dhand.thm-7.1")
    assert {one for arm, one in verdicts.items() if arm.startswith("diagonal")} == {"refuted"}
    assert verdicts["ReLU network"] != "supported"
    up = np.broadcast_to(
        np.array([1e-3, 1e-2, 0.1, 1.0, 10.0]), drawn()["diagonal_moved"].shape[1:]
    )
    planted = arms("dhand.thm-7.1", changed("diagonal_moved", up))
    assert planted["diagonal network, sparse truth, D = 2"] == "supported"
    limits = arms("factorization.limits")
    assert limits["exponent −4 of that distance, D = 2"] == "supported"
    assert limits["l1 excess at the least α, D = 3"] == "supported"
    assert "refuted" not in limits.values()
    slow = drawn()["diagonal_excess"].values[..., :1] * np.ones(5)
    planted = arms("factorization.limits", changed_all("diagonal_excess", slow))
    assert planted["exponent 3 of the l1 excess, sparse truth, D = 3"] == "refuted"


def changed_all(name: str, values: np.ndarray) -> xr.Dataset:
    result = drawn().copy()
    result[name] = (result[name].dims, values)
    return result


def test_layers_of_a_diagonal_network() -> None:
    # What gradient flow keeps, and the product, in both signs and at scales far from it.
    w = np.array([3.0, -0.2, 1e-9])
    for depth in (2, 3):
        for alpha in (1e-3, 5.0):
            u, v = _layers(w, alpha, depth)
            np.testing.assert_allclose(u**depth - v**depth, w, rtol=1e-5, atol=1e-6 * alpha**depth)
            kept = u * v if depth == 2 else u**-1 + v**-1
            np.testing.assert_allclose(kept, alpha**2 if depth == 2 else 2 / alpha, rtol=1e-8)


def test_least_one_norm_and_its_dual() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 7))
    y = x @ rng.standard_normal(7)
    w, dual = least_one_norm(x, y)
    np.testing.assert_allclose(x @ w, y, atol=1e-9)
    assert np.abs(x.T @ dual).max() <= 1 + 1e-9
    assert y @ dual == pytest.approx(np.abs(w).sum())


def test_signals() -> None:
    # A linear chain of constant width preserves with 1/fan-in; ReLU halves it.
    change = drawn()["signal_change"].values
    change = change[np.isfinite(change[:, 0, 0, 0, 0])]
    assert change[:, 0, 0, 0].mean() == pytest.approx(0, abs=0.25)
    assert change[:, 0, 1, 0].mean() == pytest.approx(np.log(0.5), abs=0.3)
    kept = np.zeros(drawn()["signal_change"].shape[1:])
    assert set(arms("dhand.init-7.1", changed("signal_change", kept)).values()) == {"supported"}
    assert set(arms("dhand.init-7.1", changed("signal_change", kept - 0.7)).values()) == {"refuted"}
    assert set(arms("dhand.init-7.1.name", changed("signal_change", kept)).values()) == {
        "supported"
    }


def test_all_that_was_asked_for_is_decided_and_shown() -> None:
    # Tables and figures of a whole result, and of one whose stages are missing.
    wanted = {"eq-4.1", "thm-4.1", "prop-4.2", "prop-4.3", "E2", "thm-7.1", "init-7.1"}
    assert {f"dhand.{name}" for name in wanted} <= set(found())
    assert all(one.verdict != "not-decided" for one in found().values())
    assert len(STUDY.tables(drawn())) == 9
    part = drawn().isel(lane=drawn()["arm"].values == "gradients")
    assert [one.verdict for one in evaluate(STUDY.claims, part)].count("not-decided") == 15
    assert STUDY.tables(part) == []
    assert not any(drawing.when(part) for drawing in STUDY.drawings)
    assert get("factorization").title == STUDY.title


def kept(name: str) -> np.ndarray:
    """What was measured, a row a seed."""
    values = drawn()[name].transpose("lane", ...).values
    return values[np.isfinite(values.reshape(len(values), -1)).any(axis=1)]


def geometric(values: np.ndarray) -> np.ndarray:
    return np.exp(np.log(values).mean(axis=0))


BARE = {
    "modes": ("time of gradient flow", "singular value"),
    "depth": ("layers L", "second mode when the first is at 0.9", "error on unseen entries, relative",
              "effective rank"),
    "sensing": ("product at the start, α^L",),
    "plane": ("loss", "nuclear norm", "effective rank"),
    "ranks": ("time of gradient flow", "rank"),
    "scale": ("scale of the start, α", "l1 norm over the least one", "relative"),
    "width": ("of the tangent kernel", "updates", "over the least one, less 1"),
}  # fmt: skip
"""By figure, axes whose numbers have no unit."""


def test_figures_show_what_was_measured() -> None:
    # Breaks if a panel draws another variable, depth, start or case than its title says, a mean where the
    # note says geometric mean, per cent as fractions, or a label leaves the page.
    figure = {one.name: one.draw(drawn()) for one in STUDY.drawings}
    assert set(figure) == set(BARE)
    for name, bare in BARE.items():
        assert_readable(figure[name], bare)

    def lies(name: str, panel: str, label: str, x: Any, y: Any) -> None:
        wanted = np.column_stack([x, y])
        wanted = wanted[wanted[:, 0].argsort()]
        points = curve(figure[name], label, panel)
        np.testing.assert_allclose(points, wanted, rtol=1e-12, err_msg=f"{name}, {panel}, {label}")

    # By start (αI, turned), depth (1, 2, 3, 6), mode from the strongest down, and time.
    values, times, law = kept("mode_value"), kept("mode_time"), kept("mode_law")
    lies("modes", "L = 3, αI", "mode 2", times[0, 2], values[:, 0, 2, 1].mean(axis=0))
    lies("modes", "L = 2, turned", "mode 1", times[0, 1], values[0, 1, 1, 0])
    lies("modes", "L = 6, αI", "law, dσ/dt = L σ^(2−2/L) (c − σ)", times[0, 3], law[0, 3, 0])
    second = kept("mode_second")
    lies("depth", "modes apart", "product fixed, turned", [1, 2, 3, 6], geometric(second[:, 1]))
    scaled = geometric(kept("mode_second_scaled"))
    lies("depth", "modes apart", "α of a layer fixed (law)", [1, 2, 3, 6], scaled)
    lies("depth", "completion: error", "network", [1, 2, 3], geometric(kept("depth_error")))
    rank = kept("depth_rank").mean(axis=0)
    lies("depth", "completion: effective rank", "network", [1, 2, 3], rank)
    excess = 100 * kept("sensing_excess").mean(axis=0)
    lies("sensing", "completion", "L = 2", [1e-4, 1e-2], excess[4, 0])
    losses = drawn()["plane_loss"].values
    norm = geometric(kept("plane_nuclear"))  # by start, depth and loss
    lies("plane", "norm, det W < 0 (random)", "L = 3", losses, norm[2, 0])
    ranks = kept("plane_rank").mean(axis=0)
    lies("plane", "effective rank", "L = 3, random, det W < 0", losses, ranks[2, 0])
    time = kept("rank_time")[0]
    lies("ranks", "stable rank", "truth of rank 4", time, kept("rank_stable").mean(axis=0)[1])
    trained = kept("rank_trained").mean(axis=0)
    lies("ranks", "effective rank, layer by layer", "truth of rank 4", 2 * time, trained)
    alphas = TINY["diagonal"]["alphas"]
    excess = kept("diagonal_excess").mean(axis=0)  # by truth, depth and scale
    lies("scale", "l1 norm over the least one", "D = 3", alphas, 1 + excess[0, 1])
    moved = geometric(kept("diagonal_moved"))
    lies("scale", "change of the tangent kernel", "D = 2", alphas, moved[0, 0])
    moved = geometric(kept("network_kernel"))
    lies("scale", "change of the tangent kernel", "ReLU network", [0.1, 3.0], moved)
    updates, excess = geometric(kept("width_updates")), kept("width_excess").mean(axis=0)
    lies("width", "updates to fit", "orthogonal", [3, 6, 24], updates[1])
    lies("width", "nuclear norm of the limit", "Gaussian", [3, 6, 24], excess[0])


def test_helpers() -> None:
    rows = np.array([[1.0, 2.0, np.nan], [np.nan, np.nan, np.nan]])
    assert last_finite(rows)[0] == 2.0
    assert np.isnan(last_finite(rows)[1])
    assert near_half(np.array([1, 2, 5, 10]), "L") == (2, 3)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"sensing": {"rank": 11}},
            "rank is 11 and sensing.dimension is 10|choose a rank of at most",
        ),
        ({"ranks": {"truths": [2, 51]}}, "choose ranks of at most the dimension"),
        ({"depth": {"rank": 13}}, "choose a rank of at most the dimension"),
        ({"diagonal": {"alphas": [0.0, 0.1, 1.0, 10.0]}}, "greater than 0"),
        ({"diagonal": {"alphas": [1e-6, 0.1, 1.0, 10.0]}}, "choose scales between 1e-4 and 100"),
        ({"networks": {"alphas": [-1.0, 1.0]}}, "greater than 0"),
        ({"plane": {"alpha": 0}}, "greater than 0"),
        ({"width": {"widths": [4, 16]}}, "narrower layers bound the rank"),
    ],
)
def test_refusals(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FactorizationSettings(**section)
