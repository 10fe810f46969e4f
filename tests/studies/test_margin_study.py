"""The margin study: its experiments against NumPy and hand-made cases, its rules both ways, one small run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError
from sklearn.svm import SVC

from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.results import claims as claims_module
from implicit_bias.studies import runner
from implicit_bias.studies.margin import STUDY
from implicit_bias.studies.margin.arms import flow
from implicit_bias.studies.margin.checkpoints import gain_share, pair_of
from implicit_bias.studies.margin.designs import decades, generator, planted
from implicit_bias.studies.margin.given import given
from implicit_bias.studies.margin.networks import (
    Homogeneous,
    Network,
    boundary_distance,
    gradient,
    initial,
    outputs,
    smoothed,
)
from implicit_bias.studies.margin.settings import MarginSettings
from implicit_bias.studies.rows import by_seed
from implicit_bias.training import Pool

NOTHING = Pool(np.zeros((1, 2), np.float32), None, None, None)

SMALL: dict[str, Any] = {
    "seeds": 3, "horizon": 100, "data": {"n_train": 30, "classes": [0, 1]}, "blobs": {"examples": 8},
    "law": {"others": 4}, "steps": {"count": 2000}, "pace": {"count": 1000},
    "steepest": {"examples": 8, "inputs": 16, "count": 1000},
    "networks": {"examples": 8, "width": 10, "count": 1000}, "script": {"draws": 3},
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> runner.Run:
    """Run the study, small."""
    settings = MarginSettings.model_validate(SMALL)
    return runner.run(STUDY, settings, tmp_path_factory.mktemp("margin") / "out", scale="custom")


def _verdict(result: xr.Dataset, claim: str) -> str:
    """Return what a result says about one claim, judged alone."""
    chosen = [one for one in STUDY.claims if one.id == claim]
    return claims_module.evaluate(chosen, result)[0].verdict


def _with(result: xr.Dataset, **values: Any) -> xr.Dataset:
    """Replace variables by what a function makes of them."""
    return result.assign({name: (result[name].dims, f(result[name].values.copy()))
                          for name, f in values.items()})  # fmt: skip


@pytest.mark.parametrize("inputs", [2, 3, 5])
def test_chosen_solutions_are_those_of_a_support_vector_machine(inputs: int) -> None:
    # An oracle without our solver: mirrored data have a machine without bias. Breaks if Σα r ≠ 0.
    made = planted(generator(0, 1), inputs, 10, 1.6)
    both = np.concatenate([made.signed, -made.signed])
    machine = SVC(kernel="linear", C=1e9, tol=1e-9).fit(both, np.repeat([1, -1], len(made.signed)))
    np.testing.assert_allclose(machine.coef_[0], made.weights, rtol=1e-4, atol=1e-5)
    support = made.signed[:inputs]
    np.testing.assert_allclose(made.multipliers @ support, made.weights, rtol=1e-12)
    # The exponents with which flow comes to its law: none below one, or 10⁹ would be too early.
    rates = np.linalg.eigvalsh(support.T * made.multipliers @ support)
    assert rates.min() == pytest.approx(1)
    assert rates.max() <= 4 + 1e-9


def test_a_networks_gradient_is_the_slope_of_log_one_over_loss() -> None:
    # Finite differences. Breaks if q is not a softmax, or a layer's part is missing.
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 2)), np.asarray([1.0, -1, 1, -1, 1, 1])
    network = initial(rng, 4, 1.0)

    def value(inner: np.ndarray, outer: np.ndarray) -> float:
        return -float(np.log(np.sum(np.exp(-y * outputs(Network(inner, outer), x)))))

    slope, margins = gradient(network, x, y)
    assert smoothed(margins) == pytest.approx(value(*network))
    for place in np.ndindex(4, 2):
        step = np.zeros((4, 2))
        step[place] = 1e-6
        ends = [value(network.inner + sign * step, network.outer) for sign in (1, -1)]
        assert slope.inner[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)
    for unit, step in enumerate(1e-6 * np.eye(4)):
        ends = [value(network.inner, network.outer + sign * step) for sign in (1, -1)]
        assert slope.outer[unit] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)


def test_the_distance_to_a_known_boundary_is_found() -> None:
    # max(0, a·x) − max(0, −a·x) = a·x: a line through the origin, at |a·x|/|a|.
    a = np.asarray([0.6, 0.8])
    network = Network(np.stack([a, -a]), np.asarray([1.0, -1.0]))
    x = np.asarray([[1.0, 0.5], [-0.2, -0.9], [2.0, -0.3]])
    found = boundary_distance(network, x, np.sign(x @ a))
    assert found == pytest.approx(np.abs(x @ a).min(), rel=2e-4)


def test_too_long_steps_let_the_smoothed_margin_fall() -> None:
    # The control must be able to fail: with steps a thousand times longer it does.
    falls = [
        Homogeneous(8, 10, 2, 0.3, 1000, step)(NOTHING, 0, {})["network_fall"].max()
        for step in (1.0, 1000.0)
    ]
    assert falls[0] < 1e-9
    assert falls[1] > 1e-6


def test_pairs_of_checkpoints_by_hand() -> None:
    values = np.asarray([0.01, 0.13, 0.2, 0.22, 0.5, 1.0])
    assert pair_of(values, late=False) == (1, 3)
    assert pair_of(values, late=True) == (4, 5)
    assert pair_of(np.asarray([0.5, 0.6]), late=True) is None
    assert pair_of(np.zeros(0), late=True) is None  # a network that never had all points right
    assert pair_of(np.asarray([0.01, 0.3]), late=False) is None
    assert gain_share([1.0, 2.0], [3.0, 12.0]) == pytest.approx(0.5)
    assert gain_share([1.0, 1.0], [3.0, 12.0]) == 0


def test_times_reach_ten_to_the_nine_and_the_horizon() -> None:
    times = decades(1000.0)
    assert times[-1] == 1000
    assert 9.0 in times
    assert list(times) == sorted(set(times))
    assert decades(9.0)[-1] == 9


def test_the_script_prints_what_its_own_loop_prints(done: runner.Run) -> None:
    # The script's lines, in NumPy, with its seed. Breaks if the set-up is not the one that is written.
    rng = np.random.RandomState(42)
    x = np.concatenate([rng.randn(50, 2) + 2, rng.randn(50, 2) - 2])
    y = np.repeat([1.0, -1.0], 50)
    full, w = np.column_stack([x, np.ones(100)]), np.zeros(3)
    for _ in range(5000):
        w -= 0.01 * -full.T @ (y * (1 - 1 / (1 + np.exp(-y * (full @ w)))))
    found = {n: by_seed(done.result, "script", f"printed_{n}")[0] for n in ("norm", "loss", "hard")}
    assert found["norm"][0] == pytest.approx(np.linalg.norm(w), rel=1e-9)
    loss = np.mean(np.log(1 + np.exp(-y * (full @ w))))
    assert found["loss"][0] == pytest.approx(loss, rel=1e-8)
    machine = SVC(kernel="linear", C=1e9, tol=1e-9).fit(x, y)
    assert float(found["hard"]) == pytest.approx(1 / np.linalg.norm(machine.coef_), rel=1e-5)


def test_a_run_leaves_all_findings_tables_and_figures(done: runner.Run) -> None:
    findings = {finding.id: finding for finding in done.presented.findings}
    assert {"ch11.A.6", "ch11.B.9", "ch11.C.3", "ch11.ml.3", "ch11.S.3"} <= set(findings)
    assert not [name for name, one in findings.items() if one.verdict == "not-decided"]
    for name in ("law", "rate", "degenerate", "steps"):
        assert findings[f"ch11.B.9.{name}"].verdict == "supported", name
    assert findings["ch11.ml.3.arithmetic"].verdict == "supported"
    assert len(list((done.out / "figures").glob("*.png"))) == 10


def test_margins_of_a_run_never_exceed_the_largest(done: runner.Run) -> None:
    # Whatever the path: breaks if margin and hard margin are of different norms.
    for name in ("flow_gap", "given_gap", "steps_gap", "pace_gap"):
        values = done.result[name].values
        assert values[np.isfinite(values)].min() > -1e-9
    ratios = done.result["steepest_ratio"].values
    assert ratios[np.isfinite(ratios)].max() < 1 + 1e-6
    script = done.result["script_margin"].values / done.result["script_hard"].values
    assert script[np.isfinite(script)].max() < 1 + 1e-9


@pytest.mark.parametrize(
    ("claim", "variable", "wrong"),
    [
        ("ch11.B.9.law", "law_left", lambda v: v + 0.05),
        ("ch11.B.9.rate", "law_gap_rate", lambda v: v * 1.2),
        ("ch11.B.9.degenerate", "degenerate_across", lambda v: v * 1.2),
        ("ch11.B.9.steps", "steps_off", lambda v: v + 0.01),
        ("ch11.C.3.growth", "flow_norm", lambda v: v * 1.1),
        ("ch11.A.6.network", "network_fall", lambda v: v + 1e-3),
        ("ch11.ml.3.arithmetic", "linear_gain", lambda v: v + 0.01),
    ],
)
def test_a_wrong_constant_refutes(done: runner.Run, claim: str, variable: str, wrong: Any) -> None:
    # Each exact control catches an error that its tolerance must not hide.
    steady = _with(done.result, network_fall=np.zeros_like, network_smoothed=np.ones_like)
    assert _verdict(steady, claim) == "supported"
    assert _verdict(_with(steady, **{variable: wrong}), claim) == "refuted"


def _noise(values: np.ndarray) -> np.ndarray:
    """Return small differences between seeds, so that intervals have a width."""
    return np.random.default_rng(0).normal(0, 1e-3, values.shape)


def test_directions_are_judged_both_ways(done: runner.Run) -> None:
    logs = done.result["decade"].values
    falling = _with(
        done.result,
        flow_angle=lambda v: (1 + _noise(v)) * 10 / np.maximum(logs, 0.1),
        flow_gap=lambda v: (1 + _noise(v)) * 0.1 / np.maximum(logs, 0.1),
        flow_apart=lambda v: 0.1 + _noise(v),
    )
    assert _verdict(falling, "ch11.A.6") == "supported"
    assert _verdict(falling, "ch11.B.9") == "supported"
    assert _verdict(falling, "ch11.A.6.start") == "refuted"
    stuck = _with(
        falling,
        flow_angle=lambda v: 5 + _noise(v),
        flow_gap=lambda v: 0.2 + _noise(v) / 10,
        flow_apart=lambda v: 20 + _noise(v),
    )
    assert _verdict(stuck, "ch11.A.6") == "refuted"
    assert _verdict(stuck, "ch11.B.9") == "refuted"
    assert _verdict(stuck, "ch11.A.6.start") == "supported"


def test_margins_and_distances_are_judged_both_ways(done: runner.Run) -> None:
    for share, expected in ((0.9, "supported"), (0.0, "refuted")):
        planted_result = _with(
            done.result,
            linear_share=lambda v, at=share: at + _noise(v),
            network_share=lambda v, at=share: at + _noise(v),
        )
        assert _verdict(planted_result, "ch11.ml.3") == expected
    only_linear = _with(done.result, linear_share=lambda v: 0.9 + _noise(v), network_share=_noise)
    assert _verdict(only_linear, "ch11.ml.3") == "conditional"


def test_scripts_are_judged_both_ways(done: runner.Run) -> None:
    as_said = {
        "script_angle": 0.5, "script_hard": 0.6, "script_margin": 0.599, "script_loss_shape": 2.0,
        "script_norm_shape": 2.0, "script_train": 100.0, "script_test": 100.0, "script_bisected": 1.0,
    }  # fmt: skip
    made = _with(done.result, **{
        name: lambda v, at=at: at * (1 + _noise(v) / 10) for name, at in as_said.items()
    })  # fmt: skip
    loss, norm = (0.043215, 0.008123, 0.001234, 0.000156), (40.0, 70.0, 90.0, 95.637)
    made = _with(
        made,
        script_loss=lambda v: np.asarray(loss) * (1 + _noise(v)),
        script_norm=lambda v: np.asarray(norm) * (1 + _noise(v)),
    )
    assert _verdict(made, "ch11.C.3") == "supported"
    assert _verdict(made, "ch11.S.3") == "supported"
    flat = _with(
        made,
        script_angle=lambda v: 9 + _noise(v),
        script_margin=lambda v: 0.3 + _noise(v),
        script_loss=lambda v: 0.01 + _noise(v) / 10,
        script_norm=lambda v: 5 + _noise(v),
    )
    assert _verdict(flat, "ch11.S.3") == "refuted"
    assert _verdict(flat, "ch11.C.3") == "conditional"


def test_geometry_and_pace_are_judged_both_ways(done: runner.Run) -> None:
    matched = np.where(np.eye(3, dtype=bool), 0.99, 0.7)[None, :, :, None]
    good = _with(done.result, steepest_ratio=lambda v: matched + _noise(v))
    assert _verdict(good, "ch11.B.9.geometry") == "supported"
    alike = _with(done.result, steepest_ratio=lambda v: 0.8 + _noise(v) / 10)
    assert _verdict(alike, "ch11.B.9.geometry") == "refuted"
    steps = done.result["pace_steps"].values.astype(float)
    laws = np.stack([steps**0.0, steps**-0.5, steps**-1.0])[None]
    right = _with(done.result, pace_gap=lambda v: laws * (1 + _noise(v)))
    assert _verdict(right, "ch11.B.9.pace") == "supported"
    slow = _with(done.result, pace_gap=lambda v: steps**-0.1 * (1 + _noise(v)))
    assert _verdict(slow, "ch11.B.9.pace") == "refuted"


def test_short_horizons_leave_rates_open(done: runner.Run) -> None:
    short = done.result.isel(decade=done.result["decade"].values <= 9)
    assert _verdict(short, "ch11.A.6") == "not-decided"


def _dataset(x: np.ndarray, y: np.ndarray, outputs_: int = 2) -> Dataset:
    """Return a data set of these examples."""
    inputs, labels = x.astype(np.float32), y.astype(np.int32)
    return Dataset("toy", "classification", outputs_, inputs, labels, inputs, labels)


def test_data_without_a_margin_are_refused_in_one_line_before_a_run() -> None:
    x = np.asarray([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    settings = MarginSettings.model_validate({"seeds": 2, "data": {"n_train": 4}})
    with pytest.raises(
        UserError, match=r"seed 0's examples of toy.* not linearly separable"
    ) as error:
        given(settings, _dataset(x, np.asarray([1, 1, 0, 0])))
    assert "\n" not in str(error.value)
    assert given(settings, _dataset(x, np.asarray([1, 0, 1, 0]))).examples == 4
    with pytest.raises(UserError, match=r"data.classes = \[0, 1\]"):
        given(settings, _dataset(x, np.asarray([0, 1, 2, 0]), 3))
    near = MarginSettings.model_validate({"seeds": 1, "blobs": {"distance": 0.05}})
    with pytest.raises(UserError, match=r"blobs.distance is 0.05.*choose a larger distance"):
        flow(near, _dataset(x, np.asarray([1, 0, 1, 0])))


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"horizon": 8}, "horizon"),
        ({"steps": {"step": 1.0}}, "stability limit"),
        ({"law": {"slack": 1.0}}, "slack"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        MarginSettings.model_validate(given_)


def test_networks_that_never_fit_are_not_judged(done: runner.Run) -> None:
    # The theorem is about losses below one: breaks if one stuck network decides, or if none is left.
    def one_stuck(values: np.ndarray) -> np.ndarray:
        values[...] = 1.0
        values[np.flatnonzero(done.result["arm"].values == "networks")[0], 0] = -1.0
        return values

    def falling(values: np.ndarray) -> np.ndarray:
        values[...] = 0.0
        values[np.flatnonzero(done.result["arm"].values == "networks")[0], 0] = 0.5
        return values

    stuck = _with(done.result, network_smoothed=one_stuck, network_fall=falling)
    assert _verdict(stuck, "ch11.A.6.network") == "supported"
    none = _with(done.result, network_smoothed=lambda v: -np.ones_like(v))
    assert _verdict(none, "ch11.A.6.network") == "not-decided"
