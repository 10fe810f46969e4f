"""Generators against what is known of their distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from implicit_bias.data import gaussian_classes, linear_regression, linear_teacher, teacher_student
from implicit_bias.data.synthetic import GENERATORS
from implicit_bias.errors import UserError


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_same_seed_same_data(name: str) -> None:
    # Broken by any source of randomness other than the seed, or by a seed that is not used.
    make = GENERATORS[name]
    assert make(seed=1) == make(seed=1)
    assert make(seed=1).checksum != make(seed=2).checksum
    assert make(seed=1).dtype == np.float32
    assert make(seed=1, dtype="float64").dtype == np.float64
    assert (make(n_train=7, n_test=3).n_train, make(n_train=7, n_test=3).n_test) == (7, 3)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_the_test_set_does_not_depend_on_the_training_size(name: str) -> None:
    # Broken by one stream of random numbers for everything.
    small, large = (GENERATORS[name](n_train=n, n_test=9) for n in (5, 50))
    np.testing.assert_array_equal(small.x_test, large.x_test)
    np.testing.assert_array_equal(small.y_test, large.y_test)


def test_noiseless_linear_targets_give_the_teacher_back() -> None:
    # Broken by noise, an intercept, or another teacher; solved by NumPy's least squares.
    d = linear_regression(40, 5, 6, noise=0.0, n_outputs=2, seed=3, dtype="float64")
    solved = np.linalg.lstsq(d.x_train, d.y_train, rcond=None)[0]
    teacher = linear_teacher(6, n_outputs=2, seed=3)
    np.testing.assert_allclose(solved, teacher, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(teacher, axis=0), 1)


def test_linear_noise_has_its_standard_deviation() -> None:
    # Broken by a variance in the place of a standard deviation.
    d = linear_regression(20000, 5, 3, noise=0.5, seed=0, dtype="float64")
    residual = d.y_train - d.x_train @ linear_teacher(3)
    assert stats.kstest(residual.ravel() / 0.5, "norm").pvalue > 1e-4
    assert stats.kstest(d.x_train.ravel(), "norm").pvalue > 1e-4


def test_sparse_and_given_teachers() -> None:
    # Broken by a teacher with another number of non-zero weights, or one that is ignored.
    assert np.count_nonzero(linear_teacher(50, sparsity=4)) == 4
    teacher = np.array([1.0, 0, -2])
    d = linear_regression(5, 5, 3, noise=0.0, teacher=teacher, dtype="float64")
    np.testing.assert_allclose(d.y_train[:, 0], d.x_train @ teacher, atol=1e-14)


@pytest.mark.parametrize(("n_classes", "dim"), [(2, 1), (2, 10), (5, 4), (4, 30)])
def test_class_centres_are_equally_far_apart(n_classes: int, dim: int) -> None:
    # Broken by centres that are not a regular simplex; estimated from class means.
    d = gaussian_classes(40000, 4, dim, n_classes, separation=6.0, seed=1)
    counts = np.bincount(d.y_train)
    assert counts.max() - counts.min() <= 1
    means = np.stack([d.x_train[d.y_train == c].mean(0) for c in range(n_classes)])
    distances = [np.linalg.norm(means[a] - means[b]) for a in range(n_classes) for b in range(a)]
    np.testing.assert_allclose(distances, 6.0, atol=0.15)
    np.testing.assert_allclose(means.mean(0), 0, atol=0.1)
    within = np.concatenate([d.x_train[d.y_train == c] - means[c] for c in range(n_classes)])
    np.testing.assert_allclose(within.std(0), 1, atol=0.05)


def test_two_classes_have_the_known_best_error() -> None:
    # Broken by another meaning of separation: the best classifier errs with Φ(−separation / 2).
    d = gaussian_classes(10, 40000, 5, 2, separation=2.0, seed=2)
    means = np.stack([d.x_test[d.y_test == c].mean(0) for c in range(2)])
    guess = (d.x_test @ (means[1] - means[0]) > 0).astype(int)
    wrong = int(np.sum(guess != d.y_test))
    assert stats.binomtest(wrong, d.n_test, stats.norm.cdf(-1.0)).pvalue > 1e-4


def test_teacher_student_targets_are_of_order_one_and_not_linear() -> None:
    # Broken by a missing scale, or by a teacher without a hidden layer.
    d = teacher_student(4000, 10, 30, width=50, n_outputs=2, activation="tanh", seed=0)
    assert 0.2 < d.y_train.std() < 2
    solved = np.linalg.lstsq(d.x_train, d.y_train, rcond=None)[0]
    assert np.std(d.y_train - d.x_train @ solved) > 0.05


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: linear_regression(n_train=0), "n_train is 0"),
        (lambda: linear_regression(dim=2.5), "dim is 2.5"),
        (lambda: linear_regression(noise=-1), "noise is -1"),
        (lambda: linear_regression(noise=float("inf")), "noise is inf"),
        (lambda: linear_regression(dim=3, sparsity=4), "sparsity is 4, but dim is 3"),
        (lambda: linear_regression(dim=3, teacher=[1, 2]), r"teacher has shape \(2, 1\)"),
        (lambda: linear_regression(seed=-1), "seed is -1"),
        (lambda: linear_regression(seed=0.5), "seed is 0.5"),
        (lambda: linear_regression(dtype="int8"), "dtype is int8"),
        (lambda: gaussian_classes(n_classes=1), "n_classes is 1"),
        (lambda: gaussian_classes(dim=2, n_classes=5), "n_classes is 5 with dim 2"),
        (lambda: gaussian_classes(separation=-1), "separation is -1"),
        (lambda: teacher_student(activation="rleu"), "did you mean 'relu'"),
        (lambda: teacher_student(width=0), "width is 0"),
    ],
)
def test_impossible_settings_are_refused(call: object, words: str) -> None:
    # Broken by a NumPy error instead of a sentence.
    with pytest.raises(UserError, match=words):
        call()
