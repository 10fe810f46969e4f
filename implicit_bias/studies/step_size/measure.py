"""What is measured of a finished network: its fit, its mistakes, its sharpness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from implicit_bias import curvature
from implicit_bias.keys import role_key
from implicit_bias.losses import Loss, error
from implicit_bias.models import Model
from implicit_bias.studies.endpoint import largest_eigenvalue
from implicit_bias.studies.evaluation import evaluation_variables
from implicit_bias.training import Evaluator, Pool
from implicit_bias.training.measurement import FinishedLane, Variable
from implicit_bias.training.weighted import weighted_loss


@dataclass(frozen=True)
class Ending:
    """Measurement of a finished lane. The Hessian is that of the mean training loss.

    A network with normalisation is taken as it is used: with its running statistics, which do not move
    with the parameters.

    Attributes:
        n_test: Test examples.
        examples: Training examples of the Hessian, the first that the lane drew; None for all.
        tol: Residual of the eigenvalue relative to it; see ``endpoint.largest_eigenvalue``.
        max_products: Hessian-vector products each of its two starts may use.
        chunk_size: Examples in one pass of the Hessian.
    """

    n_test: int
    examples: int | None = None
    tol: float = 1e-3
    max_products: int = 60
    chunk_size: int = 1000

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            **evaluation_variables("nats"),
            "test_wrong": Variable(
                ("test_example",), "1", "whether the test example is misclassified"
            ),
            "lambda_max": Variable((), "nats per squared parameter", "largest Hessian eigenvalue"),
            "lambda_max_converged": Variable((), "1", "whether Lanczos met its tolerance"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Test examples, numbered."""
        return {"test_example": tuple(range(self.n_test))}

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        params, state = lane.params, lane.model_state
        values = dict(Evaluator(model, loss)(pool, lane.examples, params, state)._asdict())
        outputs, _ = model.apply(params, state, pool.x_test, train=False)
        values["test_wrong"] = error(outputs, pool.y_test)
        rows = slice(self.examples)
        data = (pool.x_train[lane.examples.train[rows]], lane.examples.targets[rows])
        whole = data[1].shape[0] <= self.chunk_size
        hessian, _ = curvature.hessian(
            weighted_loss(model, loss, state), params, data,
            chunk_size=None if whole else self.chunk_size,
        )  # fmt: skip
        top = largest_eigenvalue(
            hessian, role_key(lane.seed, "probe"), max_products=self.max_products, tol=self.tol
        )
        values["lambda_max"], values["lambda_max_converged"] = top.value, top.converged
        return values
