r"""A model replaced by its Taylor expansion in the parameters about where they were drawn.

With θ₀ the initial parameters, δ = θ − θ₀ and g(t) = f(θ₀ + t·δ; x), the expansion is

    order 1:  g(0) + g'(0)          = f(θ₀) + J·δ
    order 2:  g(0) + g'(0) + g''(0)/2 = f(θ₀) + J·δ + ½·δᵀHδ, for each output with its own Hessian H

(Lee et al. 2019, "Wide neural networks of any depth evolve as linear models under gradient
descent", section 2.2, for order 1; Bai and Lee 2020, "Beyond linearization: on quadratic and
higher-order approximation of wide neural networks", for order 2). The derivatives along δ come from
forward mode, so that no Jacobian and no Hessian is ever built. At the origin the expansion has the
model's own value and gradient, hence its neural tangent kernel; at order 1 it keeps that kernel for
ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError
from implicit_bias.models.base import Model, Scalar, evaluate, traced_settings
from implicit_bias.models.wrapped import remembered, require_model
from implicit_bias.ranges import Setting


def taylor(function: Callable[..., Any], origin: Any, order: int = 1) -> Callable[..., Any]:
    """Expand a function in its first argument.

    Evaluating the result costs about two evaluations of the function at order 1, and four at
    order 2.

    Args:
        function: Maps parameters, a pytree of floating arrays, and any further arguments to a
            floating array or a pytree of such.
        origin: The parameters to expand about.
        order: 1 for the tangent, 2 for the second-order expansion.

    Returns:
        A function of the same arguments.

    Raises:
        UserError: If the order is neither 1 nor 2.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import models
        >>> tangent = models.taylor(lambda w: w**2, jnp.array(3.0))
        >>> float(tangent(jnp.array(5.0)))  # 9 + 6 · 2
        21.0
    """
    _require_order(order)

    def expanded(params: Any, *rest: Any) -> Any:
        step = jax.tree.map(jnp.subtract, params, origin)

        def along(point: Any) -> Any:
            """Return value and derivative along the step."""
            return jax.jvp(lambda p: function(p, *rest), (point,), (step,))

        if order == 1:
            return jax.tree.map(jnp.add, *along(origin))
        (value, first), (_, second) = jax.jvp(along, (origin,), (step,))
        return jax.tree.map(lambda v, f, s: v + f + s / 2, value, first, second)

    return expanded


@dataclass(frozen=True)
class Linearised:
    """The Taylor expansion of a model about its initial parameters, as a model.

    Its parameters are those of the model inside, so that any optimiser trains it and distances,
    norms and kernels mean what they mean there. The state holds ``origin``, the parameters expanded
    about, and ``state``, the inner model's state at that place; neither ever changes, and the
    memory of a lane doubles.

    What is expanded is the inner model in evaluation mode, in training too: one fixed function,
    without dropout, and with normalisation by the running statistics that the state held at the
    origin. A freshly drawn normalisation layer therefore divides by 1 and subtracts 0; to expand a
    trained one, see ``around``.

    A mask over the parameters belongs into the origin as well. One that is applied after ``init``,
    as a lane's is, would start the lane where the expansion is not exact; recipes refuse it.

    Attributes:
        model: The model inside. Its traced settings pass through.
        order: 1 for the linear expansion, 2 for the second order.

    Raises:
        UserError: If the model is none, or the order neither 1 nor 2.
    """

    model: Model
    order: int = 1

    def __post_init__(self) -> None:
        require_model("Linearised", self.model)
        _require_order(self.order)

    @property
    def output_axis(self) -> int:
        """Axis of a weight array that counts output units: the inner model's."""
        return self.model.output_axis

    @property
    def keeps_origin(self) -> bool:
        """Whether the state holds the initial parameters: yes."""
        return True

    @property
    def traced(self) -> tuple[Setting, ...]:
        """The inner model's traced settings."""
        return traced_settings(self.model)

    def init(
        self, key: jax.Array, example: jax.Array, *, scale: Scalar = 1.0, **settings: Any
    ) -> tuple[Any, Any]:
        """Draw the inner model's initial parameters, and keep them as the origin.

        Args:
            key: Random key.
            example: One input without the batch axis.
            scale: Factor on the initial weights, possibly traced; it is part of the origin.
            **settings: The inner model's traced settings, and whatever else its ``init`` takes.

        Returns:
            ``(params, state)``.
        """
        params, state = self.model.init(key, example, scale=scale, **settings)
        return params, self.around(params, state)

    def around(self, params: Any, state: Any) -> Any:
        """Return the state that expands about given parameters, trained or loaded ones, say.

        Args:
            params: Parameters of the inner model.
            state: The inner model's state that belongs to them.
        """
        return {"origin": params, "state": state}

    def apply(
        self,
        params: Any,
        state: Any,
        x: jax.Array,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """Evaluate the expansion; training and evaluation are the same.

        Args:
            params: Parameters of the inner model.
            state: As returned by ``init`` or ``around``.
            x: Inputs, shape (batch, *features).
            train: Ignored.
            key: Ignored.

        Returns:
            Outputs of shape (batch, k), and the state as it was.

        Raises:
            UserError: If the state lacks the origin, or the inner model fails.
        """
        del train, key
        origin, inner = remembered("Linearised", state, "origin", "state")
        expanded = taylor(lambda p: evaluate(self.model, p, inner, x), origin, self.order)
        return expanded(params), state

    def describe(self) -> dict[str, Any]:
        """Return the order, and the inner model's description within."""
        return {
            "architecture": "linearised",
            "order": int(self.order),
            "model": self.model.describe(),
        }


def _require_order(order: object) -> None:
    if isinstance(order, bool) or order not in (1, 2):
        raise UserError(f"order is {order!r}; choose 1 (linear) or 2 (second order)")
