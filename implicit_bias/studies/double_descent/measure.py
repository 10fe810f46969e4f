"""What is measured of a finished network: its fit, its outputs on test examples, its sharpness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from implicit_bias import curvature, geometry
from implicit_bias.keys import role_key
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.studies.endpoint import largest_eigenvalue
from implicit_bias.studies.evaluation import evaluation_variables
from implicit_bias.training import Evaluator, Pool
from implicit_bias.training.measurement import FinishedLane, Variable
from implicit_bias.training.weighted import weighted_loss


@dataclass(frozen=True)
class Ending:
    """Measurement of a finished lane. The Hessian is that of the mean training loss.

    Attributes:
        n_test: Test examples.
        outputs: Outputs of a network.
        examples: Training examples of the Hessian, the first that the lane drew; None for all.
        tol: Residual of the eigenvalue relative to it; see ``endpoint.largest_eigenvalue``.
        max_products: Hessian-vector products each of its two starts may use.
    """

    n_test: int
    outputs: int
    examples: int | None = None
    tol: float = 1e-3
    max_products: int = 100

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        unit = "loss unit"
        return {
            **evaluation_variables(unit),
            "test_outputs": Variable(("test_example", "output"), "1", "outputs on test examples"),
            "test_label": Variable(("test_example",), "1", "class of the test example"),
            "lambda_max": Variable(
                (), f"{unit} per squared parameter", "largest Hessian eigenvalue"
            ),
            "lambda_max_converged": Variable((), "1", "whether Lanczos met its tolerance"),
            "parameter_norm": Variable((), "parameter", "‖θ‖"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Test examples and outputs, numbered."""
        return {"test_example": tuple(range(self.n_test)), "output": tuple(range(self.outputs))}

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        params, state = lane.params, lane.model_state
        values = dict(Evaluator(model, loss)(pool, lane.examples, params, state)._asdict())
        values["test_outputs"], _ = model.apply(params, state, pool.x_test, train=False)
        values["test_label"] = pool.y_test
        rows = slice(self.examples)
        hessian, _ = curvature.hessian(
            weighted_loss(model, loss, state),
            params,
            (pool.x_train[lane.examples.train[rows]], lane.examples.targets[rows]),
        )
        top = largest_eigenvalue(
            hessian, role_key(lane.seed, "probe"), max_products=self.max_products, tol=self.tol
        )
        values["lambda_max"], values["lambda_max_converged"] = top.value, top.converged
        values["parameter_norm"] = geometry.parameter_norm(params)
        return values
