"""Which test examples a lane gets wrong while it trains, so that it can be judged at a time chosen later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from implicit_bias.losses import Loss, error
from implicit_bias.models import Model
from implicit_bias.training import Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.probe import ProbedLane, Variable


@dataclass(frozen=True)
class Mistakes:
    """Whether each test example is misclassified; ``derive`` keeps those of the chosen times.

    Attributes:
        n_test: Test examples.
    """

    n_test: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "test_wrong": Variable(
                ("test_example",), "1", "whether the test example is misclassified"
            )
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Test examples, numbered."""
        return {"test_example": tuple(range(self.n_test))}

    def start(self, params: Params) -> Any:
        """Carry nothing."""
        return ()

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: ProbedLane, carried: Any
    ) -> tuple[dict[str, jax.Array], Any]:
        """Measure one lane."""
        outputs, _ = model.apply(lane.params, lane.model_state, pool.x_test, train=False)
        return {"test_wrong": error(outputs, pool.y_test)}, carried
