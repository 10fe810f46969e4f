"""What is measured of a minimum: its curvature, its margins, and its accuracy under attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias import curvature, geometry
from implicit_bias.keys import role_key
from implicit_bias.losses import Loss, error
from implicit_bias.models import Dense, Model
from implicit_bias.studies.evaluation import evaluation_variables
from implicit_bias.training import Evaluator, Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane, Variable
from implicit_bias.training.weighted import weighted_loss


def adaptive_sharpness(
    mean_loss: Callable[[Params], jax.Array],
    params: Params,
    key: jax.Array,
    radii: Sequence[float],
    steps: int,
) -> jax.Array:
    """Return the adaptive worst-case ℓ2 sharpness at η = 0, shape (radii,), in the loss's unit."""
    found = geometry.worst_case_sharpness(
        mean_loss, params, key, radii, adaptive=True, steps=steps, n_starts=2
    )
    return found.rise


@dataclass(frozen=True)
class Flatness:
    """Measurement of a finished lane. The Hessian is that of the mean training loss.

    Attributes:
        n_test: Test examples, for the per-example record.
        examples: Training examples that curvature is averaged over, the lane's first, or all it has.
        attacked: Test examples attacked, the first.
        eigenvalues: How many of the largest, and of the smallest, eigenvalues.
        tol: Residual of an eigenvalue relative to the largest, at most.
        max_products: Hessian-vector products at most, for each end of the spectrum.
        trace_probes: Probes of the Hutchinson trace.
        adaptive_radii: Radii of the adaptive sharpness, relative to the weights.
        adaptive_steps: Steps of its search.
        eps: ℓ∞ radii of the attacks, in pixel units.
        published_eps: The one of them at which each example's fate is stored.
        pgd_steps: Steps of projected gradient ascent.
        certified_radii: ℓ2 radii at which the certified accuracy is stored, in pixel units.
        loss_unit: Unit of the loss.
    """

    n_test: int
    examples: int
    attacked: int
    eigenvalues: int = 20
    tol: float = 1e-4
    max_products: int = 150
    trace_probes: int = 16
    adaptive_radii: tuple[float, ...] = (0.25, 0.5, 1.0)
    adaptive_steps: int = 10
    eps: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)
    published_eps: float = 0.1
    pgd_steps: int = 10
    certified_radii: tuple[float, ...] = (0.01, 0.1, 1.0)
    loss_unit: str = "nats"

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        unit = self.loss_unit
        per_square = f"{unit} per squared parameter"
        scalars = {
            "lambda_max": (per_square, "largest Hessian eigenvalue"),
            "lambda_max_residual": (per_square, "‖Hv − λv‖ of it"),
            "lambda_min": (per_square, "smallest Hessian eigenvalue"),
            "lambda_min_residual": (per_square, "‖Hv − λv‖ of it"),
            "eigenvalues_converged": ("1", "whether all of the largest met the tolerance"),
            "eigenvalue_products": ("products", "Hessian-vector products used for both ends"),
            "trace": (per_square, "trace of the Hessian, Hutchinson"),
            "trace_standard_error": (per_square, "its standard error over probes"),
            "parameter_norm": ("parameter", "‖θ‖"),
            "output_margin": ("output", "mean margin in the outputs, test examples"),
            "certified_radius": ("pixel", "mean certified Euclidean radius, test examples"),
            "clean_accuracy": ("fraction", "accuracy on the examples attacked, without attack"),
        }
        under = "accuracy on test examples moved by"
        return {
            **evaluation_variables(unit),
            **{name: Variable((), units, what) for name, (units, what) in scalars.items()},
            "eigenvalue": Variable(("rank",), per_square, "Hessian eigenvalues, the largest first"),
            "eigenvalue_residual": Variable(("rank",), per_square, "‖Hv − λv‖ of each"),
            "lowest_eigenvalue": Variable(
                ("rank",), per_square, "Hessian eigenvalues, the smallest first"
            ),
            "adaptive_sharpness": Variable(
                ("adaptive_radius",), unit, "highest rise of the training loss found in |u| ≤ ρ, w + |w|u"
            ),
            "fgsm_accuracy": Variable(("eps",), "fraction", f"{under} FGSM"),
            "pgd_accuracy": Variable(("eps",), "fraction", f"{under} PGD"),
            "noise_accuracy": Variable(("eps",), "fraction", f"{under} random signs, as control"),
            "certified_accuracy": Variable(
                ("certified_ball",), "fraction", "test examples certified at a radius"
            ),
            "test_wrong": Variable(("test_example",), "1", "whether it is misclassified"),
            "fgsm_wrong": Variable(
                ("attacked_example",), "1", "whether it is misclassified after FGSM at the published ε"
            ),
            "pgd_wrong": Variable(
                ("attacked_example",), "1", "whether it is misclassified after PGD at the published ε"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Ranks and radii along their dimensions."""
        return {
            "rank": tuple(range(1, self.eigenvalues + 1)),
            "adaptive_radius": self.adaptive_radii,
            "eps": self.eps,
            "certified_ball": self.certified_radii,
        }

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        params, keys = lane.params, jax.random.split(role_key(lane.seed, "probe"), 5)
        evaluation = Evaluator(model, loss)(pool, lane.examples, params, lane.model_state)
        values: dict[str, jax.Array] = dict(evaluation._asdict())
        values["parameter_norm"] = geometry.parameter_norm(params)
        return {
            **values,
            **self._curvature(model, loss, pool, lane, keys),
            **self._robustness(model, loss, pool, lane, keys),
        }

    def _curvature(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane, keys: jax.Array
    ) -> dict[str, jax.Array]:
        weighted = weighted_loss(model, loss, lane.model_state)
        count = min(self.examples, lane.examples.train.shape[0])
        data = (pool.x_train[lane.examples.train[:count]], lane.examples.targets[:count])
        hessian, _ = curvature.hessian(weighted, lane.params, data)

        def end(sign: jax.Array) -> Any:
            """Return the largest eigenvalues of ±H; one program for both ends of the spectrum."""
            signed = curvature.LinearOperator(
                lambda vector: sign * hessian.product(vector), hessian.dimension, hessian.dtype
            )
            found = curvature.lanczos(
                signed, keys[0], k=self.eigenvalues, max_products=self.max_products, tol=self.tol
            )
            return sign * found.values, found.residuals, found.products, found.converged

        values, residuals, products, converged = jax.lax.map(
            end, jnp.asarray([1.0, -1.0], hessian.dtype)
        )
        trace = curvature.hutchinson_trace(hessian, keys[1], n_probes=self.trace_probes)
        mean = jnp.full((count,), 1 / count, hessian.dtype)
        return {
            "lambda_max": values[0, 0],
            "lambda_max_residual": residuals[0, 0],
            "lambda_min": values[1, 0],
            "lambda_min_residual": residuals[1, 0],
            "eigenvalues_converged": converged[0],
            "eigenvalue_products": jnp.sum(products),
            "eigenvalue": values[0],
            "eigenvalue_residual": residuals[0],
            "lowest_eigenvalue": values[1],
            "trace": trace.estimate,
            "trace_standard_error": trace.standard_error,
            "adaptive_sharpness": adaptive_sharpness(
                lambda params: weighted(params, data, mean),
                lane.params, keys[2], self.adaptive_radii, self.adaptive_steps,
            ),
        }  # fmt: skip

    def _robustness(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane, keys: jax.Array
    ) -> dict[str, jax.Array]:
        assert isinstance(model, Dense)  # the settings allow no other

        def network(x: jax.Array) -> jax.Array:
            outputs: jax.Array = model.apply(lane.params, lane.model_state, x, train=False)[0]
            return outputs

        x, y = pool.x_test[: self.attacked], pool.y_test[: self.attacked]
        box: dict[str, Any] = {"loss": loss, "low": 0.0, "high": 1.0}
        outputs = network(pool.x_test)
        radius = geometry.certified_radii(
            model, lane.params, pool.x_test, pool.y_test, state=lane.model_state
        )
        balls = jnp.asarray(self.certified_radii, radius.dtype)
        signs = jax.random.rademacher(keys[3], x.shape, x.dtype)

        def attacked(eps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            moved = geometry.fgsm(network, x, y, eps, **box)
            searched = geometry.pgd(network, x, y, eps, keys[4], steps=self.pgd_steps, **box)
            noisy = jnp.clip(x + eps * signs, 0, 1)
            wrong = [error(network(at), y) > 0 for at in (moved, searched, noisy)]
            return wrong[0], wrong[1], wrong[2]

        fgsm, pgd, noise = jax.lax.map(attacked, jnp.asarray(self.eps, x.dtype))

        def accuracy(wrong: jax.Array) -> jax.Array:
            return 1 - jnp.mean(wrong.astype(x.dtype), axis=-1)

        wrong = error(outputs, pool.y_test) > 0
        return {
            "test_wrong": wrong,
            "clean_accuracy": accuracy(wrong[: self.attacked]),
            "fgsm_accuracy": accuracy(fgsm),
            "pgd_accuracy": accuracy(pgd),
            "noise_accuracy": accuracy(noise),
            "fgsm_wrong": fgsm[self.eps.index(self.published_eps)],
            "pgd_wrong": pgd[self.eps.index(self.published_eps)],
            "output_margin": jnp.mean(geometry.output_margins(outputs, pool.y_test)),
            "certified_radius": jnp.mean(radius),
            "certified_accuracy": jnp.mean(
                (radius[None, :] >= balls[:, None]).astype(radius.dtype), axis=1
            ),
        }
