"""When a lane stops: after how many updates, or for what reason before."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from implicit_bias.arguments import make_whole
from implicit_bias.errors import UserError
from implicit_bias.ranges import Setting

_TARGET_LOSS = Setting("target_loss", 1.0, minimum=0.0, includes_minimum=False)


@dataclass(frozen=True)
class Until:
    """A reason to stop early, looked at whenever a lane is probed.

    Attributes:
        quantity: What is logged or probed: ``"train_error"``, or a scalar of the study's probe.
        level: Where the lane stops.
        at_least: Whether it stops where the quantity is at least, rather than at most, this large.
    """

    quantity: str
    level: float
    at_least: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.level):
            raise UserError(f"a lane should stop at {self.quantity} = {self.level}; give a number")

    def met(self, values: np.ndarray) -> np.ndarray:
        """Say which values stop a lane; one that is not a number stops none."""
        met: np.ndarray = values >= self.level if self.at_least else values <= self.level
        return met


@dataclass(frozen=True)
class Budget:
    """When a lane stops.

    Attributes:
        updates: Largest number of updates.
        target_loss: Stop at the first evaluated iterate whose loss over the whole training set is at
            or below this; None trains for the full number of updates.
        evaluate_every: Updates between evaluations against ``target_loss``.
        until: Stop at the first probe at which any of these is met.
    """

    updates: int
    target_loss: float | None = None
    evaluate_every: int | None = None
    until: tuple[Until, ...] = ()

    def __post_init__(self) -> None:
        make_whole(self, "updates", optional="evaluate_every")
        if self.updates < 1:
            raise UserError(f"updates is {self.updates}; choose at least 1")
        if (self.target_loss is None) != (self.evaluate_every is None):
            raise UserError("target_loss and evaluate_every come together; give both or neither")
        if self.target_loss is not None:
            _TARGET_LOSS.check(self.target_loss)
            object.__setattr__(self, "target_loss", float(self.target_loss))
        if self.evaluate_every is not None and self.evaluate_every < 1:
            raise UserError(f"evaluate_every is {self.evaluate_every}; choose at least 1")

    @property
    def may_end_early(self) -> bool:
        """Whether a lane may stop before its last update: how long it trains is a bound then."""
        return self.target_loss is not None or bool(self.until)
