"""What a ticket restarts from, up to the first weights of its lane."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from implicit_bias import pruning
from implicit_bias.errors import UserError
from implicit_bias.training import LaneInputs
from implicit_bias.training.lane import initial_parameters
from tests.pruning import harness


class Drawing:
    """A model that draws what it was given."""

    def __init__(self, drawn):
        self.drawn = drawn

    def init(self, key, example, *, scale):
        return self.drawn, {}


@pytest.mark.parametrize("kind", pruning.rewinding.KINDS)
def test_survivors_are_the_stored_weights_bit_for_bit(kind) -> None:
    # Breaks if a restart begins from other weights, changes one in its last bit, or leaves a pruned one.
    mask, rng = harness.some_mask(5), np.random.default_rng(0)
    stored = {
        name: jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), mask)
        for name in pruning.rewinding.KINDS
    }
    step = 0 if kind == "initialisation" else 4
    restart = pruning.restart(
        kind, updates=10, step=step, at_step=stored["step"], final=stored["learning-rate"]
    )
    lane = LaneInputs(np.uint32(7), {"init_scale": np.float32(1)}, mask, restart.start)
    begun, _ = initial_parameters(Drawing(stored["initialisation"]), np.zeros(1), lane)
    jax.tree.map(
        lambda now, was, keep: np.testing.assert_array_equal(now, np.where(keep, was, 0)),
        begun,
        stored[kind],
        mask,
    )
    assert restart.first_update == step


@pytest.mark.parametrize(
    ("kind", "more", "told"),
    [
        ("steps", {}, "unknown rewinding 'steps'; did you mean 'step'"),
        ("step", {"step": 10}, "rewind step is 10, but training has 10 updates; choose 0 to 9"),
        ("step", {"step": -1}, "rewind step is -1"),
        ("step", {"step": 2.5}, "rewind step is 2.5; give a whole number"),
        ("step", {"step": True}, "rewind step is True; give a whole number"),
        ("step", {"step": 1, "updates": float("nan")}, "updates is nan; give a whole number"),
        ("initialisation", {"updates": 0}, "updates is 0; give a whole number >= 1"),
        ("step", {"step": 3}, "restarts from weights; give at_step"),
        ("learning-rate", {"step": 3}, "restarts from weights; give final"),
        ("initialisation", {"step": 3}, "begins at 0; choose step 0 or rewinding 'step'"),
    ],
)
def test_an_impossible_restart_says_what_is_allowed(kind, more, told: str) -> None:
    # Breaks if a ticket silently restarts from elsewhere.
    with pytest.raises(UserError, match=told):
        pruning.restart(kind, **{"updates": 10, **more})
