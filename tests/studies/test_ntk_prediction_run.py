"""A tiny run of the NTK-prediction study, its numbers recomputed with NumPy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from implicit_bias import data
from implicit_bias.errors import UserError
from implicit_bias.keys import role_key
from implicit_bias.models import Dense, Linearised, Scaled
from implicit_bias.studies.ntk_prediction import STUDY
from implicit_bias.studies.ntk_prediction.arms import lanes, probe, times
from implicit_bias.studies.ntk_prediction.probe import inner_network
from implicit_bias.studies.ntk_prediction.settings import NtkPredictionSettings
from implicit_bias.training.lane import LaneInputs, lane_examples
from tests.studies.runs import run_small

N, TEST, SEED, WIDTH = 12, 6, 1, 6
SETTINGS: dict[str, Any] = {
    "arms": ["plain"],
    "data": {"name": "linear-regression", "n_train": N, "n_test": TEST, "classes": None},
    "widths": [4, WIDTH, 8], "updates": 40, "probes": 4, "shown": 3, "dtype": "float64",
    "step_fraction": 0.2,
    "exercise": {"width": 30, "examples": 5, "dimension": 4, "iterations": 3, "test_examples": 4},
}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run is."""
    return tmp_path_factory.mktemp("ntk") / "out"


@pytest.fixture(scope="module")
def done(out: Path) -> Any:
    """Two seeds of a regression problem, and of the exercise; the other trials are tested by themselves."""
    return run_small(dataclasses.replace(STUDY, stages=STUDY.stages[:2]), out, settings=SETTINGS)


class Oracle:
    """One lane's problem in NumPy: data, initial network, kernels."""

    def __init__(self) -> None:
        """Draw what the lane drew."""
        dataset = NtkPredictionSettings.model_validate(SETTINGS).data.load()
        inputs = LaneInputs(jnp.uint32(SEED), {"label_noise": jnp.zeros(())})
        train = np.asarray(jax.jit(lambda: lane_examples(dataset, N, 0, inputs).train)())
        self.pool = np.asarray(dataset.x_train, float)
        self.x = np.concatenate([self.pool[train], np.asarray(dataset.x_test, float)])
        self.y = np.asarray(dataset.y_train, float)[train, 0]
        example = jnp.zeros(self.x.shape[1])
        model = Dense((WIDTH,), 1, "relu", "ntk", "he", False)
        params, _ = jax.jit(lambda: model.init(role_key(SEED, "initialisation"), example))()
        self.w, self.v = (np.asarray(params[f"layer_{i}"]["weight"]) for i in (0, 1))
        self.p, self.q = np.sqrt(2 / self.x.shape[1]), np.sqrt(2 / WIDTH)

    def outputs(self, w: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The network."""
        return self.q * np.maximum(0, self.p * self.x @ w.T) @ v[0]

    def own(self) -> np.ndarray:
        """The network's tangent kernel against the training set."""
        hidden = np.maximum(0, self.p * self.x @ self.w.T)
        on = (hidden > 0) * self.v
        both = self.q**2 * (hidden @ hidden.T + self.p**2 * (self.x @ self.x.T) * (on @ on.T))
        return both[:, :N]

    def infinite(self, x: np.ndarray) -> np.ndarray:
        """Cho and Saul's kernels, put together as the tangent kernel of one hidden layer."""
        inner = 2 * x @ x.T / x.shape[1]
        size = np.sqrt(np.diag(inner))
        cosine = np.clip(inner / np.outer(size, size), -1, 1)
        angle = np.arccos(cosine)
        first = np.outer(size, size) * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi)
        return 2 * first + 2 * inner * (np.pi - angle) / (2 * np.pi)

    def train(self, step: float, updates: int) -> np.ndarray:
        """Outputs after gradient descent on the mean of ½ (f − y)²."""
        w, v = self.w.copy(), self.v.copy()
        x = self.x[:N]
        for _ in range(updates):
            hidden = np.maximum(0, self.p * x @ w.T)
            gap = (self.q * hidden @ v[0] - self.y) / N
            back = self.q * np.outer(gap, v[0]) * (hidden > 0)
            w, v = w - step * self.p * back.T @ x, v - step * self.q * (gap @ hidden)[None]
        return self.outputs(w, v)


def descend(
    kernel: np.ndarray, f: np.ndarray, y: np.ndarray, step: float, count: int
) -> np.ndarray:
    """Kernel gradient descent, one step after another, on training and test outputs at once."""
    for _ in range(count):
        f = f - step / N * kernel @ (f[:N] - y)
    return f


def test_the_numbers_of_a_lane_are_numpy_s(done: Any) -> None:
    # Breaks if examples, step size, time, kernel, f₀ or the factor 1/n are not those that train.
    result, oracle = done.result, Oracle()
    rows = (result["seed"] == SEED) & (result["hidden"] == WIDTH) & (result["arm"] == "plain")
    lane = result.isel(lane=int(np.flatnonzero(rows.values)[0]))
    step, last = float(lane["step_size"]), 40
    limit = np.linalg.eigvalsh(oracle.infinite(oracle.pool))[-1] / len(oracle.pool)
    assert step == pytest.approx(0.2 * 2 / limit, rel=1e-5)
    f, began = oracle.train(step, last), oracle.outputs(oracle.w, oracle.v)
    own, infinite = oracle.own(), oracle.infinite(oracle.x)[:, :N]
    y, test = oracle.y, slice(N, None)

    def gap(prediction: np.ndarray) -> float:
        return float(np.mean((f - prediction)[test] ** 2))

    def flow(time: float) -> np.ndarray:
        left = np.linalg.solve(own[:N], (np.eye(N) - expm(-own[:N] * time / N)) @ (y - began[:N]))
        return began + own @ left

    # A network of six units has no invertible kernel of twelve examples, unless weights help: they do.
    ridgeless = infinite @ np.linalg.solve(infinite[:N], np.stack([y, y - began[:N]], axis=1))
    known = {
        "own": gap(descend(own, began, y, step, last)),
        "infinite": gap(descend(infinite, began, y, step, last)),
        "own_flow": gap(flow(step * last)),
        "own_printed": gap(flow(N * step * last)),
        "interpolant": gap(ridgeless[:, 0]),
        "interpolant_from_start": gap(began + ridgeless[:, 1]),
        "size": float(np.mean(f[test] ** 2)),
        "kernel_error": np.linalg.norm(own[:N] - infinite[:N]) / np.linalg.norm(infinite[:N]),
    }
    ridges = np.logspace(-7, 1, 60) * np.trace(own[:N])
    known["own_ridge"] = min(
        gap(began + own @ np.linalg.solve(own[:N] + r * np.eye(N), y - began[:N])) for r in ridges
    )
    for name, value in known.items():
        found = float(lane[f"log_{name}"].values[-1])
        assert found == pytest.approx(value, rel=1e-5, abs=1e-12), name
    np.testing.assert_allclose(lane["log_outputs"].values[-1, :, 0], f[N : N + 3], rtol=1e-6)
    assert float(lane["log_own"].values[0]) < 1e-20


def test_the_kernel_of_a_linearised_network_is_that_of_its_start() -> None:
    # Breaks if parameters that moved are taken, or a wrapper's state for the network's.
    dense = Dense((3,), 1, "relu", "ntk")
    model = Linearised(Scaled(dense))
    state = {"origin": "origin", "state": {"alpha": 1.0, "state": "own", "origin": "began"}}
    assert inner_network(model, "moved", state) == (dense, "origin", "own")
    assert inner_network(Scaled(dense), "moved", state["state"]) == (dense, "moved", "own")


def test_the_run_leaves_claims_tables_and_figures(done: Any, out: Path) -> None:
    # Breaks if the study's parts do not fit together.
    verdicts = {finding.id: finding.verdict for finding in done.presented.findings}
    # Without the arm that starts at zero, and without the other trials.
    assert [name for name, said in verdicts.items() if said != "not-decided"] == ["ch11.C.20"]
    assert len(done.presented.tables) == 4
    for name in ("widths", "course", "outputs", "kernels"):
        assert (out / "figures" / f"{name}.png").is_file()
    matched = done.result["exercise_matched"].values
    # Three steps of 0.001 move a network of thirty units so little that its kernel stays.
    assert np.nanmax(matched) < 1e-4


def test_what_does_not_go_with_the_data_is_refused() -> None:
    # Breaks if a mistake shows only after training.
    dataset = data.load("linear-regression", n_test=TEST)
    settings = NtkPredictionSettings.model_validate({**SETTINGS, "shown": 7})
    with pytest.raises(UserError, match="shown is 7, but there are 6 test examples"):
        probe(settings, dataset)
    held = NtkPredictionSettings.model_validate(
        {**SETTINGS, "data": {**SETTINGS["data"], "n_valid": 5}}
    )
    with pytest.raises(UserError, match=r"n_valid is 5.*leave it out"):
        lanes(held, dataset, None)
    assert times(settings) == (0, 1, 3, 12, 40)
