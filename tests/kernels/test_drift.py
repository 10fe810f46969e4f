"""Oracles: two kernels by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.kernels import (
    kernel_alignment,
    kernel_distance,
    label_alignment,
    relative_change,
)

START = jnp.asarray([[2.0, 0.0], [0.0, 0.0]])
END = jnp.asarray([[2.0, 1.0], [1.0, 1.0]])


def test_by_hand():
    # Broken by: a spectral norm, or dividing by the final kernel.
    np.testing.assert_allclose(relative_change(END, START), np.sqrt(3) / 2)
    np.testing.assert_allclose(kernel_distance(END, START), 1 - 4 / (np.sqrt(7) * 2))


def test_scale_is_seen_by_one_alone():
    # Broken by: exchanging the two.
    np.testing.assert_allclose(relative_change(3 * START, START), 2)
    np.testing.assert_allclose(kernel_distance(3 * END, END), 0, atol=1e-15)
    assert float(relative_change(START, START)) == 0


def test_small_distances_survive_float32():
    # Broken by: one minus a cosine, which loses everything below 1e-7.
    end = jnp.asarray([[1.0, 0.0], [0.0, 1.0 + 1e-4]], jnp.float32)
    apart = float(kernel_distance(end, jnp.eye(2, dtype=jnp.float32)))
    np.testing.assert_allclose(apart, 1e-8 / 8, rtol=0.01)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_any_scale(scale):
    # Broken by: squares that vanish or overflow.
    for measure in (relative_change, kernel_distance, kernel_alignment):
        np.testing.assert_allclose(
            measure(END * scale, START * scale), measure(END, START), rtol=1e-12
        )
    np.testing.assert_allclose(
        relative_change(END * scale, START), scale * np.sqrt(7) / 2 if scale > 1 else 1, rtol=1e-12
    )
    targets = jnp.asarray([[1.0], [-2.0]])
    np.testing.assert_allclose(
        label_alignment(END, targets * scale), label_alignment(END, targets), rtol=1e-12
    )


def test_lists_and_zeros():
    # Broken by: lists that have no shape, or a zero reference taken for no change.
    assert float(relative_change([[2, 0], [0, 0]], [[1, 0], [0, 0]])) == 1
    assert np.isnan(kernel_distance(START * 0, START))
    assert float(relative_change(START, START * 0)) == np.inf
    found = label_alignment([[1.0, 0.0], [0.0, 1.0]], [0, 1])
    np.testing.assert_allclose(found, 1)


@pytest.mark.parametrize("measure", [relative_change, kernel_distance, kernel_alignment])
def test_bad_requests(measure):
    # Broken by: a check that is missing, so that shapes broadcast.
    with pytest.raises(UserError, match="two square kernels"):
        measure(jnp.eye(2), jnp.eye(3))
    with pytest.raises(UserError, match="two square kernels"):
        measure(jnp.ones((2, 3)), jnp.ones((2, 3)))
    with pytest.raises(UserError, match="two square kernels"):
        measure(jnp.ones((0, 0)), jnp.ones((0, 0)))
    with pytest.raises(UserError, match="reference is None; give numbers"):
        measure(jnp.eye(2), None)
    with pytest.raises(UserError, match="kernel has type bool; give real numbers"):
        measure(jnp.eye(2, dtype=bool), jnp.eye(2))
    with pytest.raises(UserError, match="targets is None; give numbers"):
        label_alignment(jnp.eye(2), None)


def test_alignment_by_hand():
    # Broken by: centring what is not asked to be, or class numbers taken for numbers.
    np.testing.assert_allclose(kernel_alignment(END, START), 4 / (np.sqrt(7) * 2))
    classes = jnp.array([0, 2, 0])
    kernel = jnp.asarray([[3.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    same = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    np.testing.assert_allclose(
        label_alignment(kernel, classes, centred=False), 7 / np.sqrt(13 * same.sum())
    )
    one_hot = jax.nn.one_hot(classes, 3, dtype=float)
    for centred in (False, True):
        np.testing.assert_allclose(
            label_alignment(kernel, one_hot, centred=centred),
            label_alignment(kernel, classes, centred=centred),
        )


def test_a_constant_kernel_knows_no_labels():
    # Broken by: an alignment that is not centred by default, and counts unequal classes.
    classes, other = jnp.array([0, 0, 0, 1]), jnp.array([1.0, -1.0, 0.0, 0.0])
    kernel = 1 + 0.1 * other[:, None] * other[None, :]
    assert float(label_alignment(kernel, classes, centred=False)) > 0.75
    np.testing.assert_allclose(label_alignment(kernel, classes), 0, atol=1e-15)
    with pytest.raises(UserError, match="class numbers"):
        label_alignment(kernel, other)
