"""What is measured while lanes train: at chosen updates, on the iterate that stands there.

A probe at update t sees the parameters after t updates, with the optimiser's state that belongs to them;
nothing of update t + 1 has been computed. It may carry something of its own from one probe to the next,
such as an eigenvector to start from; what it carries is saved with the lane, so that a resumed run repeats
it bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax

from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.training.lane import LaneExamples, Params, Pool


class Variable(NamedTuple):
    """How a measured quantity is stored: dimensions beside the lane's own, units, and what it is."""

    dims: tuple[str, ...]
    units: str
    long_name: str


class ProbedLane(NamedTuple):
    """What a probe sees of one lane after ``step`` updates."""

    seed: jax.Array
    step: jax.Array
    settings: Mapping[str, jax.Array]
    examples: LaneExamples
    params: Params
    model_state: Any
    optimizer_state: Any


class Probe(Protocol):
    """A measurement of a lane in training: a frozen, hashable record that is called.

    Attributes:
        variables: What :meth:`__call__` returns, by name; every value is floating, NaN where the probe was
            not reached.
        coordinates: Values along each dimension other than lane and probe.
    """

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        ...

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Values along each dimension of its own."""
        ...

    def start(self, params: Params) -> Any:
        """Return what is carried before the first probe: a pytree of arrays, from parameters at the start."""
        ...

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: ProbedLane, carried: Any
    ) -> tuple[dict[str, jax.Array], Any]:
        """Measure one lane; return values by name, and what is carried to the next probe."""
        ...
