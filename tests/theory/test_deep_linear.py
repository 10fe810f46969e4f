"""Gradients, balance, products and modes of deep linear networks, against derivatives and integration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from implicit_bias import theory
from implicit_bias.errors import UserError


def shapes(depth: int) -> list[tuple[int, int]]:
    sizes = [3, *[4 + place for place in range(depth - 1)], 2]
    return [(n_out, n_in) for n_in, n_out in itertools.pairwise(sizes)]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_gradient_of_layers_by_differences(depth: int) -> None:
    # Breaks if factors are in another order, transposed, or a layer sees itself. Layers of different
    # shapes, so that a wrong order cannot even be multiplied.
    rng = np.random.default_rng(depth)
    layers = [rng.standard_normal(shape) for shape in shapes(depth)]
    slope = theory.squared_error(rng.standard_normal((3, 6)), rng.standard_normal((2, 6)))
    found = theory.layer_gradients(layers, slope(theory.product_of(layers))[1])
    for place, layer in enumerate(layers):
        direction = rng.standard_normal(layer.shape)
        ends = []
        for sign in (1e-6, -1e-6):
            moved = [*layers[:place], layer + sign * direction, *layers[place + 1 :]]
            ends.append(slope(theory.product_of(moved))[0])
        assert np.sum(found[place] * direction) == pytest.approx(
            (ends[0] - ends[1]) / 2e-6, rel=1e-6
        )


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2)])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_balanced_layers_and_the_velocity_of_their_product(
    depth: int, shape: tuple[int, int]
) -> None:
    # Breaks if a root is wrong, if powers of the two sides are swapped, or for products that are not
    # square.
    rng = np.random.default_rng(7)
    w, gradient = rng.standard_normal(shape), rng.standard_normal(shape)
    layers = theory.balanced_layers(w, depth)
    np.testing.assert_allclose(theory.product_of(layers), w, atol=1e-12)
    assert theory.imbalance(layers) < 1e-12
    moves = theory.layer_gradients(layers, gradient)
    h = 1e-6
    moved = [layer - h * move for layer, move in zip(layers, moves, strict=True)]
    numeric = (theory.product_of(moved) - w) / h
    np.testing.assert_allclose(theory.product_velocity(w, gradient, depth), numeric, atol=3e-4)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 10])
def test_time_of_a_mode_is_the_integral(depth: int) -> None:
    # Breaks with a wrong constant (L or none of it), or a wrong branch near the target.
    def rate(s: float) -> float:
        return 0.7 * depth * s ** (2 - 2 / depth) * (1.3 - s)

    for start, end in ((1e-3, 0.1), (0.2, 0.9), (0.2, 1.3 * (1 - 1e-6)), (0.5, 0.5)):
        expected = quad(lambda s: 1 / rate(s), start, end, epsabs=0, epsrel=1e-11, limit=500)[0]
        assert theory.mode_time(start, end, 1.3, depth, 0.7) == pytest.approx(
            expected, rel=1e-8, abs=1e-12
        )


def test_saxe_2014_two_layers() -> None:
    # The closed form of the paper's equation 8, with τ = 1: t = ln(u_f(s − u_0)/(u_0(s − u_f)))/(2s).
    u0, uf, s = 1e-3, 0.8, 1.7
    expected = np.log(uf * (s - u0) / (u0 * (s - uf))) / (2 * s)
    assert theory.mode_time(u0, uf, s, 2) == pytest.approx(expected, rel=1e-13)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.floats(1e-4, 0.3), st.floats(0.4, 3.0), st.floats(0.01, 0.99))
def test_path_inverts_the_time(depth: int, start: float, target: float, share: float) -> None:
    # Breaks if the path and the time are of different laws.
    end = start + share * (target - start)
    time = theory.mode_time(start, end, target, depth, 1.7)
    assert theory.mode_path(time, start, target, depth, 1.7) == pytest.approx(end, rel=1e-9)


def test_path_begins_and_ends_where_it_should() -> None:
    for depth in (1, 2, 3, 7):
        found = theory.mode_path([0.0, 1e6], 1e-2, 0.5, depth)
        assert found == pytest.approx([1e-2, 0.5], rel=1e-9)


def test_depth_separates_and_saturates() -> None:
    # The audit's numbers: s₂ when s₁ = 0.9 from 1e-3 at ratio 1/2, against an integration of both modes.
    found = [theory.second_mode(depth, 1e-3, 0.5) for depth in (1, 2, 3, 10, 100)]
    assert found == sorted(found, reverse=True)
    assert found[3] / found[4] < 1.2 < found[1] / found[2]

    def both(t: float, s: np.ndarray) -> np.ndarray:
        return 3 * s ** (4 / 3) * (np.array([1.0, 0.5]) - s)

    solved = solve_ivp(
        both, (0, 100), [1e-3, 1e-3], events=lambda t, s: s[0] - 0.9, rtol=1e-10, atol=1e-14
    )
    assert found[2] == pytest.approx(solved.y_events[0][0, 1] / 0.5, rel=1e-6)


def test_refusals() -> None:
    with pytest.raises(
        UserError, match=r"from 2 to 3 with target 1; choose 0 < start ≤ end < target"
    ):
        theory.mode_time(2.0, 3.0, 1.0, 2)
    with pytest.raises(UserError, match="depth is 0; choose at least 1"):
        theory.mode_time(0.1, 0.2, 1.0, 0)
    with pytest.raises(
        UserError, match=r"layer 2 has shape \(2, 4\), but layer 1 has shape \(3, 2\)"
    ):
        theory.product_of([np.ones((3, 2)), np.ones((2, 4))])
    with pytest.raises(UserError, match="product has shape"):
        theory.balanced_layers(np.array([np.nan]), 2)
