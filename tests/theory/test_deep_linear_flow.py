"""Gradient flow of deep linear networks: against the law of modes, small steps, and what it keeps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from implicit_bias import theory
from implicit_bias.errors import UserError


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_modes_follow_their_law(depth: int) -> None:
    # Breaks with a factor of the gradient, or where steps hide small products. Targets are learnt one
    # after the other, over a plateau that is many times longer than a step.
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    targets = np.array([1.0, 0.5, 0.2])
    slope = theory.squared_error(np.eye(3), (q * targets) @ q.T)
    times = np.linspace(0, 12, 7)
    path = theory.network_flow(
        [1e-2 ** (1 / depth) * np.eye(3)] * depth, slope, until=lambda w, loss: -1.0,
        longest=12.0, times=times,
    )  # fmt: skip
    found = np.einsum("ji,njk,ki->ni", q, path.products[:7], q)
    expected = np.stack([theory.mode_path(times, 1e-2, c, depth) for c in targets], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert not path.stopped


def test_small_steps_of_descent_tend_to_it() -> None:
    # First order in the step: half the step, half the distance.
    rng = np.random.default_rng(1)
    layers = [0.5 * rng.standard_normal((3, 3)) for _ in range(3)]
    measurements = rng.standard_normal((5, 3, 3))
    slope = theory.sensed_error(measurements, rng.standard_normal(5))
    end = theory.network_flow(layers, slope, until=lambda w, loss: -1.0, longest=0.2, times=[0.2])
    off = []
    for steps in (200, 400):
        now = [layer.copy() for layer in layers]
        for _ in range(steps):
            moves = theory.layer_gradients(now, slope(theory.product_of(now))[1])
            now = [layer - 0.2 / steps * move for layer, move in zip(now, moves, strict=True)]
        off.append(np.linalg.norm(theory.product_of(now) - end.products[-1]))
    assert off[0] / off[1] == pytest.approx(2, rel=0.1)
    # Du, Hu and Lee: what two layers differ by is kept.
    for a, b in itertools.pairwise(layers):
        place = next(i for i, layer in enumerate(layers) if layer is a)
        after = (
            end.layers[place + 1].T @ end.layers[place + 1]
            - end.layers[place] @ end.layers[place].T
        )
        np.testing.assert_allclose(after, b.T @ b - a @ a.T, atol=1e-7)


@pytest.mark.parametrize("method", ["DOP853", "LSODA"])
def test_ends_where_it_is_asked_to(method: str) -> None:
    # Breaks if the end is a step's, not the crossing's.
    seen = np.array([[True, True], [False, True]])
    slope = theory.completed_error(seen, [[1.0, 0.5], [9.0, 0.3]])
    path = theory.network_flow(
        [0.3 * np.eye(2)] * 2, slope, until=theory.fitted(1e-5), method=method, times=[0.5]
    )
    assert path.stopped
    assert path.losses[-1] == pytest.approx(1e-5, rel=1e-4)
    assert path.times[0] == 0.5
    w = path.products[-1]
    assert path.losses[-1] == pytest.approx(0.5 * np.sum((w - [[1, 0.5], [9, 0.3]])[seen] ** 2))
    np.testing.assert_allclose(theory.product_of(path.layers), w, atol=1e-12)


def test_refusals() -> None:
    slope = theory.squared_error(np.eye(2), np.eye(2))
    with pytest.raises(UserError, match="method is 'euler'; choose one of DOP853"):
        theory.network_flow([np.eye(2)], slope, until=theory.fitted(0.1), method="euler")
    with pytest.raises(UserError, match="give each layer as many columns"):
        theory.network_flow([np.ones((3, 2)), np.eye(2)], slope, until=theory.fitted(0.1))
