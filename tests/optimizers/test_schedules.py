"""Step-size schedules against formulas written with NumPy's math."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from implicit_bias.errors import UserError
from implicit_bias.optimizers import Schedule, schedules

PEAK = 0.3

# (kind, traced parameters, decay as a function of steps since the warm-up ended and of its length)
CASES: list[tuple[str, dict[str, float], Callable[[float, float], float]]] = [
    ("constant", {}, lambda s, w: 1.0),
    (
        "cosine",
        {"decay_steps": 40.0, "final_fraction": 0.1},
        lambda s, w: 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1.0, s / (40 - w)))),
    ),
    ("step", {"decay_rate": 0.5, "decay_every": 10.0}, lambda s, w: 0.5 ** (s // 10)),
    ("exponential", {"decay_rate": 0.9, "decay_every": 4.0}, lambda s, w: 0.9 ** (s / 4)),
    ("inverse_sqrt", {"decay_every": 16.0}, lambda s, w: 1 / math.sqrt(1 + s // 16)),
]


@pytest.mark.parametrize("warmup", [None, 0.0, 1.0, 7.0])
@pytest.mark.parametrize(("kind", "parameters", "decay"), CASES, ids=[c[0] for c in CASES])
def test_values(kind: Any, parameters: dict[str, float], decay: Any, warmup: float | None):
    # Broken by an off-by-one in the warm-up or in the start of the decay.
    schedule = Schedule(kind, warmup=warmup is not None)
    w = warmup or 0.0
    settings = {"step_size": PEAK, "warmup_steps": w, **parameters}
    counts = np.arange(60)
    expected = [PEAK * min(1.0, (t + 1) / max(w, 1.0)) * decay(max(t - w, 0.0), w) for t in counts]

    def values(traced: dict[str, jax.Array]) -> jax.Array:
        return jax.vmap(schedule.build(traced))(jnp.asarray(counts, jnp.int32))

    for dtype, tolerance in ((jnp.float64, 1e-12), (jnp.float32, 2e-6)):
        found = jax.jit(values)({k: dtype(v) for k, v in settings.items()})
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=1e-7)


def test_nakkiran():
    # γ/√(1 + ⌊t/512⌋) with γ = 0.1: the defaults must be the paper's.
    schedule = Schedule("inverse_sqrt")
    settings = {p.name: p.default for p in schedule.parameters} | {"step_size": 0.1}
    step_size = schedule.build({k: jnp.float64(v) for k, v in settings.items()})
    for t in (0, 511, 512, 5120):
        np.testing.assert_allclose(step_size(jnp.int32(t)), 0.1 / np.sqrt(1 + t // 512), rtol=1e-14)


def test_cosine_equals_optax():
    # Broken by a cosine of another shape than the one everybody uses.
    settings = {"step_size": 0.2, "decay_steps": 30.0, "final_fraction": 0.05}
    ours = Schedule("cosine").build({k: jnp.float64(v) for k, v in settings.items()})
    theirs = optax.cosine_decay_schedule(0.2, 30, 0.05)
    for t in (0, 1, 15, 29, 30, 50):
        np.testing.assert_allclose(ours(jnp.int32(t)), theirs(t), rtol=1e-6)


def test_static_part():
    # Schedules are static: equal ones must hash alike, and only a constant one needs no counter.
    assert hash(Schedule("step")) == hash(schedules.get("step"))
    assert schedules.get("step", warmup=True) == Schedule("step", warmup=True)
    assert schedules.get(Schedule("step")) == Schedule("step")
    assert Schedule().is_constant
    assert not Schedule(warmup=True).is_constant
    assert not Schedule("cosine").is_constant
    with pytest.raises(UserError, match="did you mean 'cosine'"):
        Schedule("cosin")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown step-size schedule"):
        schedules.get(3)
