"""Attacks on inputs: against closed forms for linear networks, and the balls and boxes they must stay in."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import losses
from implicit_bias.data import Dataset
from implicit_bias.data.transforms import standardise
from implicit_bias.errors import UserError
from implicit_bias.geometry.adversarial import fgsm, pgd, robust_accuracy
from implicit_bias.geometry.pixels import pixel_box
from tests.geometry.networks import network

RNG = np.random.default_rng(0)
N, D = 30, 6
WEIGHT = RNG.normal(size=D)
X = RNG.normal(size=(N, D))
Y = RNG.integers(2, size=N).astype(np.int32)
SIGN = 2 * Y - 1
SCALE = RNG.uniform(0.5, 3, size=D)
LOGISTIC = losses.get("logistic")


def linear(x: Any) -> Any:
    """One output w·x + 0.1: class 1 where it is positive."""
    return (x @ jnp.asarray(WEIGHT, x.dtype))[:, None] + 0.1


def margins(x: Any) -> np.ndarray:
    return SIGN * (np.asarray(x) @ WEIGHT + 0.1)


def attack(ball: str, radius: Any, key: int = 0, **options: Any) -> np.ndarray:
    given = {"loss": LOGISTIC, **options}
    run = jax.jit(
        lambda x: pgd(linear, x, jnp.asarray(Y), radius, jax.random.key(key), ball=ball, **given)
    )
    return np.asarray(run(jnp.asarray(X)))


def test_fgsm_is_the_worst_case_of_a_linear_network() -> None:
    # Breaks if the sign is that of another gradient, or radii are not in pixel units: by Hölder's
    # inequality no change in the ball lowers the margin by more than ε‖s ⊙ w‖₁.
    for radius in (0.01, 0.3):
        found = np.asarray(
            fgsm(linear, jnp.asarray(X), jnp.asarray(Y), radius, loss=LOGISTIC, scale=SCALE)
        )
        np.testing.assert_allclose(
            found, X - radius * SCALE * SIGN[:, None] * np.sign(WEIGHT), rtol=1e-12
        )
        lowered = margins(X) - margins(found)
        np.testing.assert_allclose(lowered, radius * np.sum(np.abs(SCALE * WEIGHT)), rtol=1e-10)


def test_pgd_reaches_the_worst_case_of_a_linear_network() -> None:
    # Breaks if steps are too short to cross the ball, a projection is wrong, or the best point is lost. In
    # ℓ∞ it is FGSM's corner, so that PGD is never below it; in ℓ2 the margin falls by at most ε‖s ⊙ w‖₂. A
    # step of α radii divides what lies across the gradient by 1 + α: by about e^1.5 in the 1.5 radii after
    # the sphere is reached, which leaves an angle of cosine 0.975.
    radius = 0.2
    found = attack("linf", radius, scale=SCALE)
    best = np.asarray(
        fgsm(linear, jnp.asarray(X), jnp.asarray(Y), radius, loss=LOGISTIC, scale=SCALE)
    )
    np.testing.assert_allclose(found, best, rtol=1e-10, atol=1e-12)
    found = attack("l2", radius, scale=SCALE, steps=60)
    lowered = margins(X) - margins(found)
    most = radius * np.linalg.norm(SCALE * WEIGHT)
    assert (lowered <= most * (1 + 1e-9)).all()
    assert (lowered > 0.96 * most).all()


@pytest.mark.parametrize("ball", ["linf", "l2"])
def test_attacks_stay_in_the_ball_and_in_the_box(ball: str) -> None:
    # Breaks if the ball is measured in standardised units, a box is crossed, or radii of examples are mixed
    # up. Inputs reach the box's edge, and one lies outside of it: it may stay, but not go further.
    low, high = -1.0 * SCALE, 1.2 * SCALE
    inside = np.clip(X, low, high)
    inside[0, 0] = high[0] + 0.5
    radii = RNG.uniform(0.05, 2.0, size=N)
    run = jax.jit(
        lambda x: pgd(
            linear,
            x,
            jnp.asarray(Y),
            jnp.asarray(radii),
            jax.random.key(1),
            ball=ball,
            loss=LOGISTIC,
            scale=SCALE,
            low=low,
            high=high,
        )
    )
    found = np.asarray(run(jnp.asarray(inside)))
    change = (found - inside) / SCALE
    order = np.inf if ball == "linf" else 2
    assert (np.linalg.norm(change, order, axis=1) <= radii * (1 + 1e-12)).all()
    assert (found >= low).all()
    assert (found <= np.maximum(high, inside)).all()
    assert (np.abs(change).max(axis=1) > 0).all()


def test_the_box_s_corner_is_reached() -> None:
    # Breaks if the change is cut before it is scaled: with a ball larger than the box, the worst point is
    # the box's corner against the weights.
    found = attack("linf", 100.0, scale=SCALE, low=-4.0, high=4.0)
    corner = -4.0 * SIGN[:, None] * np.sign(WEIGHT)
    np.testing.assert_allclose(found, corner, rtol=1e-14)
    assert (np.abs(found) <= 4).all()


def test_the_step_of_fgsm_follows_finite_differences() -> None:
    # Breaks if the gradient is of the mean over other examples, or with respect to the parameters.
    model, params, x, y = network(3, widths=(5,))
    loss = losses.get("cross_entropy")
    run = jax.jit(lambda z: loss.per_example(model.apply(params, {}, z)[0], y))
    found = np.asarray(fgsm(lambda z: model.apply(params, {}, z)[0], x, y, 1e-3))
    for feature in range(x.shape[1]):
        step = 1e-6 * np.eye(x.shape[1])[feature][None, :]
        slope = np.asarray(run(x + step) - run(x - step)) / 2e-6
        clear = np.abs(slope) > 1e-6
        moved = (found - np.asarray(x))[:, feature]
        np.testing.assert_allclose(moved[clear], 1e-3 * np.sign(slope[clear]), rtol=1e-9)
        assert clear.sum() > 6


@pytest.mark.parametrize("ball", ["linf", "l2"])
def test_pgd_raises_the_loss_and_more_starts_never_lower_it(ball: str) -> None:
    # Breaks if another point than the best is returned: a second start extends the search by points.
    model, params, x, y = network(4, widths=(8,), n=20)

    def run(starts: int) -> np.ndarray:
        def losses_of(z: jax.Array) -> jax.Array:
            found = pgd(
                lambda z: model.apply(params, {}, z)[0],
                z,
                y,
                0.3,
                jax.random.key(0),
                ball=ball,
                n_starts=starts,
            )
            outputs = model.apply(params, {}, jnp.concatenate([z, found]))[0]
            return losses.get("cross_entropy").per_example(outputs, jnp.concatenate([y, y]))

        return np.asarray(jax.jit(losses_of)(x)).reshape(2, -1)

    (clean, one), (_, three) = run(1), run(3)
    assert (one >= clean).all()
    assert np.mean(one > clean) > 0.9
    assert (three >= one - 1e-12).all()


def test_accuracy_of_a_linear_network_in_closed_form() -> None:
    # Breaks if accuracies are of other radii or misaligned: an example falls where its margin is below
    # ε‖s ⊙ w‖₁. Radii are not in order.
    radii = [0.3, 0.01, 0.1]
    for method in ("fgsm", "pgd"):
        run = jax.jit(
            lambda x, method=method: robust_accuracy(
                linear,
                x,
                jnp.asarray(Y),
                radii,
                jax.random.key(0),
                method=method,
                loss=LOGISTIC,
                scale=SCALE,
            )
        )
        found = run(jnp.asarray(X))
        worst = margins(X)[None] - np.array(radii)[:, None] * np.sum(np.abs(SCALE * WEIGHT))
        np.testing.assert_allclose(found.clean, np.mean(margins(X) > 0))
        np.testing.assert_allclose(found.accuracy, np.mean(worst > 0, axis=1))
        np.testing.assert_allclose(found.attacked, found.accuracy)
        np.testing.assert_allclose(found.loss, np.mean(np.log1p(np.exp(-worst)), axis=1))


def test_a_smaller_ball_counts_for_the_larger() -> None:
    # Breaks if the accuracy can rise with the radius. The network errs on a thin shell only, which the long
    # step of FGSM jumps over: f = (x − 1)² − 0.01 for x near 1.
    def shell(x: jax.Array) -> jax.Array:
        return (x[:, :1] - 1) ** 2 - 0.01

    found = robust_accuracy(
        shell, jnp.zeros((1, 1)), jnp.ones(1, jnp.int32), [1.0, 2.0], method="fgsm", loss=LOGISTIC
    )
    np.testing.assert_array_equal(found.attacked, [0, 1])
    np.testing.assert_array_equal(found.accuracy, [0, 0])
    np.testing.assert_array_equal(found.clean, 1)


@pytest.mark.parametrize("kind", ["pixel", "global", "none"])
def test_the_pixel_box_is_that_of_the_standardised_data(kind: Any) -> None:
    # Breaks if the divisor is another than the one used: black, white and one grey level, put through the
    # same standardisation as test inputs, must come out as low, high and scale. One feature is constant.
    pixels = RNG.uniform(size=(50, 3)) ** 3
    pixels[:, 1] = 0.25
    probe = np.stack([np.zeros(3), np.ones(3), np.full(3, 100 / 255), np.full(3, 101 / 255)])
    y = np.arange(50, dtype=np.int32) % 2
    data = Dataset("pixels", "classification", 2, pixels, y, probe, y[:4])
    done = standardise(data, kind, min_std=0.3).x_test
    scale, low, high = pixel_box(pixels, kind, min_std=0.3)
    np.testing.assert_allclose(low, done[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(high, done[1], rtol=1e-12)
    np.testing.assert_allclose(scale / 255, done[3] - done[2], rtol=1e-9)


def test_images_and_float32() -> None:
    # Breaks if shapes of more than one axis, or float32, are not kept.
    x = jnp.asarray(RNG.uniform(size=(4, 3, 2, 1)), jnp.float32)

    def flat(z: jax.Array) -> jax.Array:
        return linear(z.reshape(4, -1))

    for ball in ("linf", "l2"):
        options: dict[str, Any] = {
            "ball": ball,
            "steps": 2,
            "loss": LOGISTIC,
            "low": 0.0,
            "high": 1.0,
        }
        found = jax.eval_shape(
            lambda x, key, options=options: pgd(flat, x, jnp.asarray(Y[:4]), 0.1, key, **options),
            x,
            jax.random.key(0),
        )
        assert found.shape == x.shape
        assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"radii": [0.1, 0.0]}, "a radius is 0; choose finite radii > 0"),
        ({"radii": [-0.1]}, "a radius is -0.1"),
        ({"radii": []}, "at least one radius"),
        ({"scale": 0.0}, "scale is 0.0; choose finite scales > 0"),
        ({"scale": np.ones(3)}, "scale has shape"),
        ({"low": 1.0, "high": 0.0}, "low is not below high"),
        ({"ball": "l3"}, "ball"),
        ({"method": "pdg"}, "did you mean 'pgd'"),
        ({"method": "fgsm", "ball": "l2"}, "knows 'linf' only"),
        ({"key": None}, "no key is given"),
        ({"steps": 0}, "steps is 0; choose steps >= 1"),
        ({"n_starts": 0}, "n_starts is 0"),
        ({"inputs": jnp.zeros(3)}, "inputs have shape"),
        ({"targets": jnp.zeros((N, 1))}, "needs class numbers"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, Any], says: str) -> None:
    # Breaks if an attack of no size, or of another ball than asked for, passes for a robust network.
    given = {
        "inputs": jnp.asarray(X),
        "targets": jnp.asarray(Y),
        "radii": [0.1],
        "key": jax.random.key(0),
        "loss": LOGISTIC,
    } | change
    with pytest.raises(UserError) as caught:
        robust_accuracy(linear, **given)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_radius_of_a_single_attack_is_refused() -> None:
    # Breaks if only the sweep looks at its radii.
    for radius in (0.0, -1.0, np.nan, np.ones(3)):
        with pytest.raises(UserError, match="radius"):
            fgsm(linear, jnp.asarray(X), jnp.asarray(Y), radius, loss=LOGISTIC)
    with pytest.raises(UserError, match="pixels from 0 to 1"):
        pixel_box(X)
