"""What a pruned network restarts from."""

from __future__ import annotations

from typing import Literal, NamedTuple

from implicit_bias.arguments import whole_number
from implicit_bias.errors import UserError, unknown
from implicit_bias.pruning.masks import Params

Rewinding = Literal["initialisation", "step", "learning-rate"]

KINDS: tuple[Rewinding, ...] = ("initialisation", "step", "learning-rate")


class Restart(NamedTuple):
    """How a lane begins: ``Lane.start`` with a ``started`` recipe, and ``Recipe.first_update``.

    Attributes:
        start: Parameters to begin with, before the mask; None for those the lane's seed draws.
        first_update: Number of the first update, where data order and step-size schedule continue.
    """

    start: Params | None
    first_update: int


def restart(
    kind: Rewinding,
    *,
    updates: int,
    step: int = 0,
    at_step: Params | None = None,
    final: Params | None = None,
) -> Restart:
    """Return what a pruned network restarts from.

    ``"initialisation"``
        The weights its seed draws, and the whole of training (Frankle and Carbin 2019, section 1).
    ``"step"``
        The weights after ``step`` updates of the dense network, and the rest of training (Frankle et al.
        2020, section 4: "rewinding to iteration k").
    ``"learning-rate"``
        The weights at the end of training; step sizes and examples from update ``step`` on once more (Renda,
        Frankle and Carbin 2020, section 2: "learning rate rewinding").

    Args:
        kind: One of ``KINDS``.
        updates: Updates of the whole training.
        step: The update to go back to, below ``updates``; 0 for ``"initialisation"``.
        at_step: Weights after ``step`` updates, for ``"step"``; copied nowhere, changed by nothing.
        final: Weights at the end, for ``"learning-rate"``.

    Returns:
        Start and number of the first update.

    Raises:
        UserError: The kind is unknown, updates or step are no whole numbers, the step is not within
            training, or the weights are missing.

    References:
        Frankle, Dziugaite, Roy and Carbin, *Linear mode connectivity and the lottery ticket hypothesis*
        (2020); Renda, Frankle and Carbin, *Comparing rewinding and fine-tuning in neural network pruning*
        (2020).
    """
    if kind not in KINDS:
        raise unknown("rewinding", kind, KINDS)
    step, updates = whole_number("the rewind step", step), whole_number("updates", updates, 1)
    if not 0 <= step < updates:
        raise UserError(
            f"the rewind step is {step}, but training has {updates} updates; choose 0 to {updates - 1}"
        )
    if kind == "initialisation":
        if step:
            raise UserError(
                f"the rewind step is {step}, but rewinding to the initialisation begins at 0; "
                "choose step 0 or rewinding 'step'"
            )
        return Restart(None, 0)
    name, weights = ("at_step", at_step) if kind == "step" else ("final", final)
    if weights is None:
        raise UserError(f"rewinding {kind!r} restarts from weights; give {name}")
    return Restart(weights, step)
