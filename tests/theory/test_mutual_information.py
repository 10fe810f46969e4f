"""Estimates of mutual information against scikit-learn, quadrature and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.metrics import mutual_info_score

from implicit_bias import theory
from implicit_bias.errors import UserError


def test_bins_count_as_another_library_does() -> None:
    # Breaks if a unit's bins run into another's, or the range's end falls into a bin of its own.
    rng = np.random.default_rng(0)
    z, labels = rng.uniform(-1, 1, (300, 2)), rng.integers(0, 3, 300)
    z[0] = 1.0
    found = theory.binned_information(z, labels, 4, -1.0, 1.0)
    place = np.minimum((z + 1) // 0.5, 3).astype(int)
    cells = place[:, 0] * 4 + place[:, 1]
    assert found.labels == pytest.approx(mutual_info_score(cells, labels))
    assert found.inputs == pytest.approx(mutual_info_score(cells, np.arange(300)))
    # More bins tell more, until every input is alone.
    assert theory.binned_information(z, labels, 10**6, -1.0, 1.0).inputs == pytest.approx(
        np.log(300)
    )


def test_noise_on_two_values_is_that_of_quadrature() -> None:
    # I(X; ±1 + σξ): entropy of the mixture less that of the noise.
    sigma = 0.8
    values = np.repeat([-1.0, 1.0], 200)[:, None]

    def density(t: float) -> float:
        return float((stats.norm.pdf(t, -1, sigma) + stats.norm.pdf(t, 1, sigma)) / 2)

    entropy, _ = integrate.quad(lambda t: -density(t) * np.log(density(t)), -8, 8)
    expected = entropy - stats.norm(scale=sigma).entropy()
    found = theory.noisy_information(values, values[:, 0], sigma, np.random.default_rng(1), 20)
    assert found.inputs == pytest.approx(expected, abs=0.02)
    # The label is the value here, so that both informations are one.
    assert found.labels == pytest.approx(found.inputs, abs=1e-9)


def test_noise_on_a_gaussian_layer_is_its_channel() -> None:
    rng = np.random.default_rng(2)
    z = rng.standard_normal((1500, 2)) * np.array([1.0, 0.5])
    exact = theory.gaussian_channel([1.0, 0.25], 0.7)
    assert exact == pytest.approx(0.5 * np.log(1 + 1 / 0.49) + 0.5 * np.log(1 + 0.25 / 0.49))
    found = theory.noisy_information(z, np.zeros(1500), 0.7, rng, 3).inputs
    assert found == pytest.approx(exact, rel=0.06)
    low, high = theory.noisy_information_bounds(z, 0.7)
    assert low < found < high


def test_without_noise_the_information_is_the_entropy_of_the_values() -> None:
    # Breaks if small distances drown in rounding, or equal rows count as different.
    rng = np.random.default_rng(3)
    z = rng.standard_normal((64, 3))
    z[1] = z[0]
    found = theory.noisy_information(z, np.arange(64) % 2, 1e-9, rng).inputs
    assert found == pytest.approx(np.log(64) - 2 / 64 * np.log(2), abs=1e-7)
    low, high = theory.noisy_information_bounds(z, 1e-9)
    assert low == pytest.approx(high)
    assert theory.noisy_information(z, np.zeros(64), 1e6, rng).inputs == pytest.approx(0, abs=1e-4)


def test_what_has_no_information_is_refused_in_one_line() -> None:
    z = np.zeros((4, 2))
    with pytest.raises(UserError, match="noise is 0, where the information of a layer is infinite"):
        theory.noisy_information(z, np.zeros(4), 0.0, np.random.default_rng(0))
    with pytest.raises(UserError, match="increasing range"):
        theory.binned_information(z, np.zeros(4), 3, 1.0, 1.0)
    with pytest.raises(UserError, match=r"give \(inputs, units\)"):
        theory.noisy_information_bounds(np.zeros(4), 1.0)
    with pytest.raises(UserError, match="variances is -1"):
        theory.gaussian_channel([-1.0], 1.0)
