"""The ntk-width study: a tiny run against NumPy, and what its settings refuse."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.data import Dataset
from implicit_bias.data.transforms import split_indices
from implicit_bias.errors import UserError
from implicit_bias.keys import role_key
from implicit_bias.models import Dense
from implicit_bias.results import claims as claims_module
from implicit_bias.studies import runner
from implicit_bias.studies.ntk_width import STUDY
from implicit_bias.studies.ntk_width.arms import kernel_predictions, lanes, measurement
from implicit_bias.studies.ntk_width.settings import NtkWidthSettings

TINY: dict[str, Any] = {
    "seeds": 2, "dtype": "float64", "widths": [3, 4, 5], "batch_size": 30, "epochs": 6,
    "data": {"n_train": 30, "n_test": 20}, "probe_set": 8, "ntk": {"step_size": 0.2},
    "expectation": {"width": 8, "networks": 20, "inputs": 4}, "arms": ["ntk", "linearised"],
}  # fmt: skip

TOLERANCE = 1e-5
"""Normal numbers are drawn to 1e-7, at worst, where programs are compiled in a hurry."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> runner.Run:
    """A run of two arms, full batches and double precision, so that NumPy can repeat it."""
    settings = NtkWidthSettings.model_validate(TINY)
    return runner.run(STUDY, settings, tmp_path_factory.mktemp("tiny") / "out", scale="custom")


class Repeated:
    """One network of arm ntk, one hidden ReLU layer, trained and measured by NumPy alone."""

    def __init__(self, width: int, seed: int) -> None:
        self.width = width
        # Drawn by the package, which has tests of its own for both.
        data = NtkWidthSettings.model_validate(TINY).data.load()
        rows = np.asarray(
            jax.jit(lambda: split_indices(role_key(seed, "split"), data, (30, 0))[0])()
        )
        self.x, self.labels = (
            a[rows] for a in (data.x_train.reshape(len(data.x_train), -1), data.y_train)
        )
        self.x = self.x.astype(np.float64)
        self.x_test = data.x_test.reshape(len(data.x_test), -1).astype(np.float64)
        self.y_test = data.y_test
        model = Dense((width,), 10, parameterisation="ntk")
        drawn = jax.jit(lambda: model.init(role_key(seed, "initialisation"), jnp.zeros(64))[0])()
        self.start = [np.asarray(drawn[layer][part]) for layer in ("layer_0", "layer_1")
                      for part in ("weight", "bias")]  # fmt: skip
        self.end = self.trained()

    def hidden(self, params: list[np.ndarray], x: np.ndarray) -> np.ndarray:
        return np.maximum(np.sqrt(2 / 64) * x @ params[0].T + params[1], 0)

    def outputs(self, params: list[np.ndarray], x: np.ndarray) -> np.ndarray:
        return np.sqrt(2 / self.width) * self.hidden(params, x) @ params[2].T + params[3]

    def trained(self) -> list[np.ndarray]:
        params, targets = [part.copy() for part in self.start], np.eye(10)[self.labels]
        for _ in range(6):
            centred = self.outputs(params, self.x) - self.outputs(self.start, self.x)
            delta = (centred - targets) / 30
            h, scale = self.hidden(params, self.x), np.sqrt(2 / self.width)
            below = scale * (delta @ params[2]) * (h > 0)
            gradient = [
                np.sqrt(2 / 64) * below.T @ self.x,
                below.sum(0),
                scale * delta.T @ h,
                delta.sum(0),
            ]
            params = [part - 0.2 * g for part, g in zip(params, gradient, strict=True)]
        return params

    def jacobian(self, params: list[np.ndarray], x: np.ndarray) -> np.ndarray:
        """Gradients of all outputs, (n, 10, parameters)."""
        h, scale = self.hidden(params, x), np.sqrt(2 / self.width)
        into = scale * params[2][None] * (h > 0)[:, None, :]
        first = np.sqrt(2 / 64) * into[:, :, :, None] * x[:, None, None, :]
        last = scale * np.eye(10)[None, :, :, None] * h[:, None, None, :]
        constant = np.broadcast_to(np.eye(10), (len(x), 10, 10))
        return np.concatenate(
            [first.reshape(len(x), 10, -1), into, last.reshape(len(x), 10, -1), constant], axis=2
        )

    def kernel(self, params: list[np.ndarray], x: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.einsum("acp,bcp->ab", self.jacobian(params, x), self.jacobian(params, other)) / 10


@functools.cache
def repeated(width: int, seed: int) -> Repeated:
    """Return a network; they are slow to draw."""
    return Repeated(width, seed)


def row_of(done: runner.Run, arm: str, width: int, seed: int) -> Any:
    """Return the lane of an arm, a width and a seed."""
    result = done.result
    chosen = (
        (result["arm"].values == arm)
        & (result["hidden_width"].values == width)
        & (result["seed"].values == seed)
    )
    return result.isel(lane=int(np.flatnonzero(chosen)[0]))


@pytest.mark.parametrize(("width", "seed"), [(3, 1), (5, 1)])
def test_what_moved_is_what_numpy_finds(done: runner.Run, width: int, seed: int) -> None:
    # Breaks if padding counts as units or parameters, a network is not centred, or start and end are mixed.
    known, found = repeated(width, seed), row_of(done, "ntk", width, seed)

    def flat(params: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([part.ravel() for part in params])

    moved, norm = (
        np.linalg.norm(flat(known.end) - flat(known.start)),
        np.linalg.norm(flat(known.start)),
    )
    np.testing.assert_allclose(found["absolute_movement"], moved, rtol=TOLERANCE)
    np.testing.assert_allclose(found["initial_norm"], norm, rtol=TOLERANCE)
    np.testing.assert_allclose(found["relative_movement"], moved / norm, rtol=TOLERANCE)
    layers = [
        np.linalg.norm(known.end[i] - known.start[i]) / np.linalg.norm(known.start[i])
        for i in (0, 2)
    ]
    np.testing.assert_allclose(found["layer_movement"], layers, rtol=TOLERANCE)
    probe = known.x_test[:8]
    before, after = (known.kernel(params, probe, probe) for params in (known.start, known.end))
    change = np.linalg.norm(after - before) / np.linalg.norm(before)
    np.testing.assert_allclose(found["kernel_change"], change, rtol=TOLERANCE)
    phi, phi0 = (known.hidden(params, probe) for params in (known.end, known.start))
    change = np.linalg.norm(phi - phi0) / np.linalg.norm(phi0)
    np.testing.assert_allclose(found["feature_change"], change, rtol=TOLERANCE)
    on, on0 = (known.hidden(params, known.x) > 0 for params in (known.end, known.start))
    np.testing.assert_allclose(found["flips"], np.mean(on != on0), rtol=1e-12)
    np.testing.assert_allclose(found["active_units"], on0.any(axis=0).mean(), rtol=1e-12)
    assert found["dead_units"] == (~on0.any(axis=0)).sum()
    assert found["dead_movement"] == 0
    outputs = known.outputs(known.end, known.x_test) - known.outputs(known.start, known.x_test)
    wrong = outputs.argmax(axis=1) != known.y_test
    np.testing.assert_array_equal(found["test_wrong"].values.astype(bool), wrong)


def test_kernels_predict_what_descent_in_function_space_gives(done: runner.Run) -> None:
    # Breaks if the kernel is of other examples, another time or a padded network's own scale.
    known = repeated(5, 1)
    k_train = known.kernel(known.start, known.x, known.x)
    k_test = known.kernel(known.start, known.x_test, known.x)
    targets, coefficients = np.eye(10)[known.labels], np.zeros((30, 10))
    for _ in range(6):
        coefficients += 0.2 / 30 * (targets - k_train @ coefficients)
    predicted = k_test @ coefficients
    trained = known.outputs(known.end, known.x_test) - known.outputs(known.start, known.x_test)
    result = done.result
    row = result.isel(
        lane=int(
            np.flatnonzero((result["stage"].values == "kernels") & (result["seed"].values == 1))[0]
        )
    )
    distance = np.mean((trained - predicted) ** 2)
    np.testing.assert_allclose(row["own_distance"][2], distance, rtol=TOLERANCE)
    error = np.mean(predicted.argmax(axis=1) != known.y_test)
    np.testing.assert_allclose(row["own_error"][2], error, rtol=1e-12)
    end = k_test @ np.linalg.solve(k_train, targets)
    wrong = np.mean(end.argmax(axis=1) != known.y_test)
    np.testing.assert_allclose(row["own_error_limit"][2], wrong, rtol=1e-12)
    assert (row["kernel_error"] > 0).all()


def test_arms_differ_in_what_they_say(done: runner.Run) -> None:
    # Breaks if arms share a start they should not, or a linearised network's kernel is said to be measured.
    result = done.result
    assert result.sizes["lane"] == 2 * 3 * 2 + 3 * 2
    linearised = result["arm"].values == "linearised"
    assert np.isnan(result["kernel_change"].values[linearised]).all()
    assert np.isnan(result["flips"].values[linearised]).all()
    assert np.isfinite(result["relative_movement"].values[linearised]).all()
    pair = [row_of(done, arm, 4, 0) for arm in ("ntk", "linearised")]
    np.testing.assert_allclose(pair[0]["initial_norm"], _norm_of(pair[1]), rtol=TOLERANCE)


def _norm_of(row: Any) -> float:
    return float(row["absolute_movement"] / row["relative_movement"])


def test_the_run_leaves_tables_verdicts_and_figures(done: runner.Run) -> None:
    # Breaks if the study's parts do not fit together.
    entries = claims_module.to_json(done.presented.findings, STUDY.claims)
    ids = ["johannsen.ntk", "dhand.ntk-def", "dhand.sec-6.1-crit", "ch11.A.11", "ch11.B.20"]
    assert [entry["id"] for entry in entries] == ids
    assert [len(table.rows) for table in done.presented.tables] == [3, 3, 9, 4, 3]
    for drawing in STUDY.drawings:
        assert (done.out / "figures" / f"{drawing.name}.png").is_file()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"widths": (16, 32)}, "at least 3"),
        ({"widths": (32, 16, 64)}, "increasing"),
        ({"arms": ("lazy",)}, "no 'lazy' .known: standard"),
        ({"model": {"widths": (64, 64)}}, "model.widths is .64, 64.; leave it out: choose widths"),
        ({"model": {"parameterisation": "ntk"}}, "model.parameterisation .* choose arms"),
        ({"model": {"init": "lecun"}}, "model.init is 'lecun'; .*standard.init"),
        (
            {"linearised": {"largest": 32}},
            "linearised.largest is 32 and widths is .16, .*at least 3",
        ),
        ({"hidden_layers": 0}, "1"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any], told: str) -> None:
    # Breaks if a mistake shows only after a run.
    with pytest.raises(ValueError, match=told):
        NtkWidthSettings.model_validate(changes)


def test_settings_that_do_not_go_with_the_data_are_refused() -> None:
    # Breaks if a run starts and fails later.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3)).astype(np.float32), (np.arange(30) % 2).astype(np.int32)
    toy = Dataset("toy", "classification", 2, x[:20], y[:20], x[20:], y[20:])
    real = Dataset("line", "regression", 1, x[:20], x[:20, :1], x[20:], x[20:, :1])

    def settings(**changes: Any) -> NtkWidthSettings:
        return NtkWidthSettings.model_validate(
            {"data": {"n_train": 20}, "batch_size": 10, **changes}
        )

    with pytest.raises(UserError, match="line, a regression"):
        lanes(settings(), real, None)
    with pytest.raises(UserError, match="batch_size is 21"):
        lanes(settings(batch_size=21), toy, None)
    with pytest.raises(UserError, match="probe_set is 11, but there are 10 test examples"):
        measurement(settings(probe_set=11), toy)
    with pytest.raises(UserError, match="tanh"):
        kernel_predictions(settings(model={"activation": "tanh"}), toy)
    # The cut into programs is the same for any number of seeds, or added seeds would train all anew.
    few, many = (
        {(lane.tags["arm"], lane.tags["hidden_width"]): lane.recipe for lane in lanes(s, toy, None)}
        for s in (settings(seeds=1), settings(seeds=40))
    )
    assert few == many


def test_without_arm_ntk_kernels_are_not_compared() -> None:
    # Breaks if the experiment fails where it has no partners.
    settings = NtkWidthSettings.model_validate({**TINY, "arms": ["standard"]})
    data = settings.data.load()
    experiment = kernel_predictions(settings, data)
    assert experiment.partners([]) == {}
    found = experiment(None, 0, {})  # type: ignore[arg-type]
    assert found.keys() == experiment.variables.keys()
    assert all(np.isnan(value).all() for value in jax.tree.leaves(dict(found)))
