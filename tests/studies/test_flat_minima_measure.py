"""The flat-minima study's measurement and experiments, against independent answers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from implicit_bias import losses, models
from implicit_bias.data import Dataset
from implicit_bias.studies.flat_minima.experiments import guessed, poisoned
from implicit_bias.studies.flat_minima.measure import Flatness
from implicit_bias.studies.flat_minima.script import FIRST_SEED, RADII, MockAttack
from implicit_bias.training import Pool
from implicit_bias.training.lane import LaneExamples
from implicit_bias.training.measurement import FinishedLane
from tests.studies.flat_minima_toy import CLASSES, FEATURES, settings, toy

MODEL = models.Dense((4,), CLASSES, "tanh")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Eighty images of five pixels."""
    return toy()


def pool_of(dataset: Dataset, dtype: str) -> Pool:
    """The dataset's arrays, as an experiment or a measurement sees them."""
    x_train, x_test = (jnp.asarray(x, dtype) for x in (dataset.x_train, dataset.x_test))
    return Pool(x_train, jnp.asarray(dataset.y_train), x_test, jnp.asarray(dataset.y_test))


# What is measured


@pytest.fixture(scope="module")
def measured(dataset: Dataset) -> tuple[Any, dict[str, np.ndarray], Flatness, LaneExamples]:
    """One network with random weights, measured in double precision."""
    with jax.enable_x64(True):
        pool = pool_of(dataset, "float64")
        params, state = MODEL.init(jax.random.key(3), pool.x_train[0], scale=2.0)
        rows = jnp.arange(40, dtype=jnp.int32)
        examples = LaneExamples(rows, rows[:10] + 40, pool.y_train[:40])
        lane = FinishedLane(jnp.uint32(0), examples, params, state, params)
        flatness = Flatness(
            n_test=30, examples=30, attacked=20, eigenvalues=3, tol=1e-7, max_products=40,
            trace_probes=200, eps=(0.01, 0.1), certified_radii=(0.001, 0.01, 0.1),
        )  # fmt: skip
        loss = losses.get("cross_entropy")
        values = jax.jit(lambda lane: flatness(MODEL, loss, pool, lane))(lane)
        return params, jax.tree.map(np.asarray, values), flatness, examples


def outputs(params: Any, x: np.ndarray) -> np.ndarray:
    """The network, in NumPy."""
    first, second = (params[f"layer_{k}"] for k in (0, 1))
    hidden = np.tanh(x @ np.asarray(first["weight"]).T + np.asarray(first["bias"]))
    return np.asarray(hidden @ np.asarray(second["weight"]).T + np.asarray(second["bias"]))


def test_the_spectrum_is_that_of_the_dense_hessian(measured: tuple, dataset: Dataset) -> None:
    # Breaks if an end, a sign or the set of examples is wrong.
    params, values, _, _ = measured
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(params)
        x, y = jnp.asarray(dataset.x_train[:30], "float64"), jnp.asarray(dataset.y_train[:30])

        def loss(theta: jax.Array) -> jax.Array:
            logits, _ = MODEL.apply(unravel(theta), {}, x)
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
            return -jnp.mean(chosen)

        spectrum = np.linalg.eigvalsh(np.asarray(jax.jit(jax.hessian(loss))(flat)))
    np.testing.assert_allclose(values["eigenvalue"], spectrum[::-1][:3], atol=1e-6)
    np.testing.assert_allclose(values["lowest_eigenvalue"], spectrum[:3], atol=1e-6)
    assert values["lambda_max"] == values["eigenvalue"][0]
    assert values["lambda_min"] == pytest.approx(spectrum[0], abs=1e-6)
    error = values["trace"] - spectrum.sum()
    assert abs(error) < 5 * values["trace_standard_error"]
    assert values["eigenvalues_converged"]


def test_attacks_are_on_the_first_test_examples(measured: tuple, dataset: Dataset) -> None:
    # Breaks if an attack goes down, leaves the box, or its record is of another radius.
    params, values, flatness, _ = measured
    x, y = dataset.x_test[:20].astype(float), dataset.y_test[:20]

    def wrong(at: np.ndarray) -> np.ndarray:
        return outputs(params, at).argmax(1) != y

    def slope(at: np.ndarray) -> np.ndarray:
        def loss(at: np.ndarray) -> np.ndarray:
            logits = outputs(params, at)
            return np.asarray(np.log(np.exp(logits).sum(1)) - logits[np.arange(20), y])

        steps = 1e-6 * np.eye(FEATURES)
        return np.stack([(loss(at + d) - loss(at - d)) / 2e-6 for d in steps], axis=1)

    assert values["clean_accuracy"] == pytest.approx(1 - wrong(x).mean())
    for place, eps in enumerate(flatness.eps):
        moved = wrong(np.clip(x + eps * np.sign(slope(x)), 0, 1))
        assert values["fgsm_accuracy"][place] == pytest.approx(1 - moved.mean())
        assert values["pgd_accuracy"][place] <= values["noise_accuracy"][place]
    np.testing.assert_array_equal(values["fgsm_wrong"], moved)
    assert values["test_wrong"].shape == (30,)


def test_certified_radii_follow_from_spectral_norms(measured: tuple, dataset: Dataset) -> None:
    # Breaks if the slope's bound lacks a layer, or wrong examples have a radius.
    params, values, flatness, _ = measured
    found = outputs(params, dataset.x_test.astype(float))
    y = dataset.y_test
    last = np.asarray(params["layer_1"]["weight"])
    slope = np.linalg.norm(np.asarray(params["layer_0"]["weight"]), 2)
    radii = np.empty(len(y))
    margins = np.empty(len(y))
    for row, (own, label) in enumerate(zip(found, y, strict=True)):
        others = [j for j in range(CLASSES) if j != label]
        gaps = own[label] - own[others]
        margins[row] = gaps.min()
        apart = np.linalg.norm(last[label] - last[others], axis=1)
        radii[row] = max(0.0, (gaps / (slope * apart)).min())
    assert values["certified_radius"] == pytest.approx(radii.mean())
    assert values["output_margin"] == pytest.approx(margins.mean())
    shares = [(radii >= ball).mean() for ball in flatness.certified_radii]
    np.testing.assert_allclose(values["certified_accuracy"], shares)


def test_what_is_declared_is_what_is_measured(measured: tuple) -> None:
    # Breaks if a variable has no entry, or another shape than its dimensions say.
    _, values, flatness, _ = measured
    assert set(values) == set(flatness.variables)
    lengths = {name: len(along) for name, along in flatness.coordinates.items()}
    lengths |= {"test_example": 30, "attacked_example": 20}
    for name, variable in flatness.variables.items():
        assert values[name].shape == tuple(lengths[dim] for dim in variable.dims), name


# Experiments


def test_poisoned_minima_fit_the_clean_examples_as_well(dataset: Dataset) -> None:
    # Breaks if the wrong labels are right ones, or training stops at another loss than the clean one.
    experiment = poisoned(settings(), dataset)
    pool = pool_of(dataset, "float32")
    clean, extra = experiment._draw(pool, jax.random.key(0))
    right = {
        row.tobytes(): label for row, label in zip(dataset.x_train, dataset.y_train, strict=True)
    }
    assert all(right[np.asarray(row).tobytes()] == y for row, y in zip(*clean, strict=True))
    assert all(right[np.asarray(row).tobytes()] != y for row, y in zip(*extra, strict=True))
    rows = [np.asarray(row).tobytes() for row in np.concatenate([clean[0], extra[0]])]
    assert len(set(rows)) == 16
    values = jax.jit(lambda seed: experiment(pool, seed, {}))(jnp.uint32(1))
    assert set(values) == set(experiment.variables)
    assert (values["minimum_reached"] == 1).all()
    loss = np.asarray(values["minimum_loss"])
    assert (loss <= 0.5).all()
    assert (loss > 0.4).all()
    assert values["minimum_updates"][0] < values["minimum_updates"][1]
    assert values["minimum_wrong"].shape == (2, 30)


def test_guessed_and_trained_networks_have_the_same_loss(dataset: Dataset) -> None:
    # Breaks if descent stops elsewhere, networks of other norms are compared, or the eigenvalue is another.
    experiment = guessed(settings(), dataset)
    pool = pool_of(dataset, "float32")
    values = jax.jit(lambda seed: experiment(pool, seed, {}))(jnp.uint32(0))
    assert set(values) == set(experiment.variables)
    descent, search = np.asarray(values["search_loss"])
    assert np.isfinite(search).all()
    assert (np.sort(search) == search).all()
    np.testing.assert_allclose(descent, search, rtol=1e-4)
    assert (np.asarray(values["search_train_error"])[1] == 0).all()
    assert 0 < values["search_fitting"] < 1


def test_the_eigenvalue_in_the_examples_span_is_that_of_all_weights(dataset: Dataset) -> None:
    # Breaks if the span's coordinates change lengths, or the second layer is left out.
    with jax.enable_x64(True):
        experiment = guessed(settings(), dataset)
        rng = np.random.default_rng(0)
        x, y = jnp.asarray(rng.normal(size=(4, 9))), jnp.asarray([0, 1, 0, 1])
        weights = jnp.asarray(rng.normal(size=(3, 9))), jnp.asarray(rng.normal(size=(2, 3)))

        def loss(flat: jax.Array) -> jax.Array:
            hidden = jnp.maximum(x @ flat[:27].reshape(3, 9).T, 0)
            logits = hidden @ flat[27:].reshape(2, 3).T
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
            return -jnp.mean(chosen)

        flat = jnp.concatenate([layer.reshape(-1) for layer in weights])
        whole = np.linalg.eigvalsh(np.asarray(jax.jit(jax.hessian(loss))(flat)))[-1]
        assert float(jax.jit(experiment._sharpness)(weights, x, y)) == pytest.approx(whole)


def test_the_mock_attack_is_the_script_s_and_fgsm_the_worst_case() -> None:
    # Breaks if numbers are drawn in another order than the script's, or the true attack goes the wrong way.
    values = MockAttack()(Pool(0, 0, 0, 0), 0, {})
    np.random.seed(FIRST_SEED)  # noqa: NPY002 - the legacy generator is what the script uses
    np.random.randn(200, 50), np.random.randint(0, 2, 200)  # noqa: NPY002
    first = np.random.randn(50, 2) * 0.01  # noqa: NPY002
    np.random.randn(50, 2)  # noqa: NPY002
    for _ in range(50):
        first = first + np.random.randn(50, 2) * 0.001  # noqa: NPY002
        np.random.randn(50, 2)  # noqa: NPY002
    x, y = np.random.randn(100, 50) / np.sqrt(50), np.random.randint(0, 2, 100)  # noqa: NPY002
    margin = (x @ (first[:, 1] - first[:, 0])) * (2 * y - 1)
    clean = (margin > 0).mean()
    assert values["script_mock_accuracy"][0, 0] == pytest.approx(clean)
    # The worst case of a linear network: every margin falls by ε ‖w₁ − w₀‖₁.
    fall = np.abs(first[:, 1] - first[:, 0]).sum()
    worst = [(margin > radius * fall).mean() for radius in RADII]
    np.testing.assert_allclose(values["script_fgsm_accuracy"][:, 0], worst)
    accuracy = np.stack(
        [MockAttack()(Pool(0, 0, 0, 0), s, {})["script_mock_accuracy"] for s in range(30)]
    )
    # Means of 30 × 100 coin tosses.
    assert np.abs(accuracy.mean(0) - 0.5).max() < 0.05
