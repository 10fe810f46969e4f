"""What is measured of every finished lane: its fit, its spectrum, and every sharpness at every point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from implicit_bias import curvature, geometry
from implicit_bias.keys import role_key
from implicit_bias.losses import Loss, error
from implicit_bias.models import Model
from implicit_bias.studies.evaluation import evaluation_variables
from implicit_bias.studies.sharpness.points import Point, stack
from implicit_bias.training import Evaluator, Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane, Variable


class Sweep(NamedTuple):
    """One sharpness over a sweep of radii.

    Attributes:
        name: Of its variable.
        case: Worst case or average case.
        law: Ball of the worst case; law of the average case.
        adaptive: Whether each weight is disturbed in units of itself (η = 0).
        what: Its name for people.
    """

    name: str
    case: Literal["worst", "average"]
    law: Any
    adaptive: bool
    what: str


_CASES: tuple[tuple[str, Literal["worst", "average"], Any, str], ...] = (
    ("worst_l2", "worst", "l2", "worst case L2"),
    ("worst_linf", "worst", "linf", "worst case L∞"),
    ("average_l2", "average", "gaussian", "average, Gaussian"),
    ("average_linf", "average", "linf", "average, cube"),
)

SWEEPS = tuple(
    Sweep(f"adaptive_{name}" if adaptive else name, case, law, adaptive,
          f"adaptive {what}" if adaptive else what)
    for adaptive in (False, True)
    for name, case, law, what in _CASES
)  # fmt: skip
"""All sharpnesses, the plain ones first; an adaptive one follows its plain one after half of them."""


@dataclass(frozen=True)
class Sharpness:
    """Measurement of a finished lane; losses are means over some of its training examples.

    Attributes:
        points: Where, the parameters found first.
        radii: For each of :data:`SWEEPS`, its radii, increasing.
        last: Name of the last layer, whose relative flatness is measured.
        n_test: Test examples, for the record of errors.
        examples: Training examples: the first of the lane's own, in the order it drew them.
        top: Largest eigenvalues that are found.
        tol: Residual of an eigenvalue relative to the largest, at most.
        max_products: Hessian-vector products that a search of eigenvalues may use.
        trace_probes: Probes of the Hutchinson trace.
        density_probes: Probes of the spectral density, for the share of negative curvature.
        density_depth: Products a probe.
        steps: Of each start of a worst-case search at each radius.
        draws: Of an average case; each is used with both signs.
        loss_unit: Unit of the loss.
    """

    points: tuple[Point, ...]
    radii: tuple[tuple[float, ...], ...]
    last: str
    n_test: int
    examples: int
    top: int = 5
    tol: float = 1e-4
    max_products: int = 200
    trace_probes: int = 16
    density_probes: int = 3
    density_depth: int = 30
    steps: int = 10
    draws: int = 8
    loss_unit: str = "nats"

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        unit = self.loss_unit
        curved = f"{unit} per squared parameter"
        made = {
            **evaluation_variables(unit),
            "test_wrong": Variable(
                ("test_example",), "1", "whether the test example is misclassified"
            ),
            "eigenvalues": Variable(("rank",), curved, "largest Hessian eigenvalues"),
            "eigenvalue_residuals": Variable(("rank",), curved, "‖Hv − λv‖ of them"),
            "lambda_min": Variable((), curved, "smallest Hessian eigenvalue"),
            "lambda_min_residual": Variable((), curved, "‖Hv − λv‖ of it"),
            "negative_share": Variable((), "1", "Σ |λ| over λ < 0, as a share of Σ |λ|"),
            "asymmetry": Variable(
                (), "1", "|u·Hv − v·Hu| / (‖u‖ ‖Hv‖) for a random pair of directions"
            ),
            "gradient_norm": Variable((), f"{unit} per parameter", "norm of the gradient"),
        }
        at_points = {
            "loss": (unit, "mean loss of the examples measured"),
            "output_error": ("1", "largest change of an output, relative to the largest output"),
            "norm": ("parameter", "‖θ‖"),
            "lambda_max": (curved, "largest Hessian eigenvalue"),
            "converged": ("1", "whether the residual of λmax is within its tolerance"),
            "products": ("products", "Hessian-vector products of the searches"),
            "trace": (curved, "trace of the Hessian, Hutchinson"),
            "trace_standard_error": (curved, "its standard error over probes"),
            "lambda_over_loss": ("1 per squared parameter", "λmax / loss"),
            "lambda_norm": (unit, "λmax ‖θ‖²"),
            "fisher_rao": (unit, "Fisher–Rao norm"),
            "relative_flatness": (unit, "relative flatness of the last layer"),
        }
        for name, (units, what) in at_points.items():
            made[f"at_{name}"] = Variable(("point",), units, what)
        for sweep in SWEEPS:
            made[sweep.name] = Variable(
                ("point", f"{sweep.name}_radius"), unit, f"rise of the loss: {sweep.what}"
            )
        return made

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Points, ranks and radii."""
        radii = {
            f"{sweep.name}_radius": radii for sweep, radii in zip(SWEEPS, self.radii, strict=True)
        }
        return {
            "point": [point.label for point in self.points],
            "rank": list(range(1, self.top + 1)),
            **radii,
        }

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        params, keys = lane.params, jax.random.split(role_key(lane.seed, "probe"), 5)
        dtype = jax.tree.leaves(params)[0].dtype
        values: dict[str, jax.Array] = {}
        evaluation = Evaluator(model, loss)(pool, lane.examples, params, lane.model_state)
        values |= evaluation._asdict()
        outputs, _ = model.apply(params, lane.model_state, pool.x_test, train=False)
        values["test_wrong"] = error(outputs, pool.y_test) > 0

        data = (pool.x_train[lane.examples.train[: self.examples]],
                lane.examples.targets[: self.examples])  # fmt: skip

        def outputs_of(params: Params) -> jax.Array:
            with jax.default_matmul_precision("highest"):
                found: jax.Array = model.apply(params, lane.model_state, data[0], train=False)[0]
            return found

        def per_example(params: Params, batch: Any) -> jax.Array:
            x, y = batch
            outputs, _ = model.apply(params, lane.model_state, x, train=False)
            return loss.per_example(outputs, y)

        weighted = _weighted(per_example)
        hessian, _ = curvature.hessian(weighted, params, data)
        values["negative_share"] = self._negative_share(hessian, keys[0])
        values["asymmetry"] = _asymmetry(hessian, keys[0])
        mean = jnp.full((self.examples,), 1 / self.examples, dtype)
        gradient = jax.grad(weighted)(params, data, mean)
        values["gradient_norm"] = geometry.parameter_norm(gradient)

        own_outputs = outputs_of(params)

        def at(given: tuple[Params, jax.Array, jax.Array]) -> dict[str, jax.Array]:
            place, inner, first = given

            def used(place: Params) -> Params:
                return jax.tree.map(lambda leaf: inner * leaf, place)

            found = self._everywhere(
                lambda place, batch: per_example(used(place), batch), place, data, first, keys[1:]
            )
            change = jnp.max(jnp.abs(outputs_of(used(place)) - own_outputs))
            found["at_output_error"] = change / jnp.max(jnp.abs(own_outputs))
            return found

        first = jnp.arange(len(self.points)) == 0
        found = jax.lax.map(at, (*stack(self.points, params), first))
        # The whole upper end is of interest where training ended, which is the first point.
        for name in ("eigenvalues", "eigenvalue_residuals", "lambda_min", "lambda_min_residual"):
            values[name] = found.pop(name)[0]
        return values | found

    def _negative_share(self, hessian: curvature.LinearOperator, key: jax.Array) -> jax.Array:
        """Return how much of the spectrum is negative, by stochastic Lanczos quadrature."""
        density = curvature.spectral_density(
            hessian, key, n_probes=self.density_probes, depth=self.density_depth, grid=2
        )
        size = density.weights * jnp.abs(density.nodes)
        negative = jnp.where(density.nodes < 0, size, jnp.zeros_like(size))
        return jnp.sum(negative) / jnp.sum(size)

    def _everywhere(
        self, per_example: Any, params: Params, data: Any, first: jax.Array, keys: Any
    ) -> dict[str, Any]:
        """Return what is measured at every point, and at the first one more."""
        weighted = _weighted(per_example)

        def mean_loss(params: Params) -> jax.Array:
            return jnp.mean(per_example(params, data))

        hessian, _ = curvature.hessian(weighted, params, data)
        # Both ends by one program: the smallest eigenvalue of H is the largest of −H. It is sought only where
        # training ended, as the search takes several times as long at that end.
        signs = jnp.asarray([1, -1], hessian.dtype)
        values, residuals, products = jax.lax.map(
            lambda sign: self._top(hessian, sign, (sign > 0) | first, keys[0]), signs
        )
        trace = curvature.hutchinson_trace(hessian, keys[1], n_probes=self.trace_probes)
        flat, unravel = ravel_pytree(params)
        loss, norm, largest = mean_loss(params), jnp.linalg.norm(flat), values[0, 0]
        flatness = geometry.relative_flatness(mean_loss, params, self.last, batch_size=16)
        scalars = {
            "loss": loss,
            "norm": norm,
            "lambda_max": largest,
            "converged": (residuals[0, 0] <= self.tol * largest).astype(loss.dtype),
            "products": jnp.sum(products),
            "trace": trace.estimate,
            "trace_standard_error": trace.standard_error,
            "lambda_over_loss": geometry.lambda_max_over_loss(largest, loss),
            "lambda_norm": largest * norm**2,
            "fisher_rao": geometry.fisher_rao_norm(per_example, params, data),
            "relative_flatness": flatness.estimate,
        }
        made = {f"at_{name}": value for name, value in scalars.items()}
        made["eigenvalues"], made["eigenvalue_residuals"] = values[0], residuals[0]
        made["lambda_min"], made["lambda_min_residual"] = -values[1, 0], residuals[1, 0]

        half = len(SWEEPS) // 2
        units = jnp.stack([jnp.ones_like(flat), jnp.abs(flat)])
        for index, (plain, adaptive) in enumerate(zip(SWEEPS[:half], SWEEPS[half:], strict=True)):
            radii = jnp.asarray([self.radii[index], self.radii[index + half]], flat.dtype)

            def rise(given: tuple[jax.Array, jax.Array], sweep: Sweep = plain) -> jax.Array:
                return self._rise(sweep, lambda u: mean_loss(unravel(flat + given[0] * u)),
                                  jnp.zeros_like(flat), given[1], keys[2])  # fmt: skip

            made[plain.name], made[adaptive.name] = jax.lax.map(rise, (units, radii))
        return made

    def _top(
        self,
        hessian: curvature.LinearOperator,
        sign: jax.Array,
        wanted: jax.Array,
        key: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the largest eigenvalues of ±H, residuals and products; NaN and 0 where not wanted."""
        signed = curvature.LinearOperator(
            lambda vector: sign * hessian.product(vector), hessian.dimension, hessian.dtype
        )

        def search() -> tuple[jax.Array, jax.Array, jax.Array]:
            found = curvature.thick_restart_lanczos(
                signed, key, k=self.top, tol=self.tol, max_products=self.max_products,
                verify="together", check_every=4,
            )  # fmt: skip
            return found.values, found.residuals, found.products.astype(hessian.dtype)

        nothing = jnp.full((self.top,), jnp.nan, hessian.dtype)
        return jax.lax.cond(
            wanted, search, lambda: (nothing, nothing, jnp.zeros((), hessian.dtype))
        )

    def _rise(
        self, sweep: Sweep, loss: Any, centre: jax.Array, radii: jax.Array, key: jax.Array
    ) -> jax.Array:
        """Return the rise at each radius; ``loss`` takes the change in units of each weight's scale."""
        if sweep.case == "worst":
            return geometry.worst_case_sharpness(
                loss, centre, key, radii, ball=sweep.law, steps=self.steps
            ).rise
        rise: jax.Array = geometry.average_case_sharpness(
            loss, centre, key, radii, law=sweep.law, n_draws=self.draws
        ).rise
        return rise


def _asymmetry(hessian: curvature.LinearOperator, key: jax.Array) -> jax.Array:
    """Return how far the products of two directions are from those of a symmetric matrix."""
    pair = jax.random.normal(jax.random.fold_in(key, 1), (2, hessian.dimension), hessian.dtype)
    images = jax.lax.map(hessian.product, pair)
    gap = jnp.abs(pair[0] @ images[1] - pair[1] @ images[0])
    return gap / (jnp.linalg.norm(pair[0]) * jnp.linalg.norm(images[1]))


def _weighted(per_example: Any) -> Any:
    """Return the weighted sum of a function's values, one an example."""

    def weighted(params: Params, batch: Any, weights: jax.Array) -> jax.Array:
        return jnp.sum(weights * per_example(params, batch))

    return weighted
