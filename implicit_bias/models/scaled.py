r"""A model whose output is multiplied by α, and taken relative to where it began.

    h(θ; x) = α·(f(θ; x) − f(θ₀; x)),  or α·f(θ; x) where it is not centred

(Chizat, Oyallon and Bach 2019, "On lazy training in differentiable programming"). As α grows, the
parameters have to move less for the same change of h, and training approaches that of the
linearised model; α² multiplies the neural tangent kernel.

Their objective is R(h)/α², where R is the loss of the outputs. Here the loss is R(h). For gradient
descent, with or without heavy-ball or Nesterov momentum and on any sequence of batches, the
iterates with step size η on R(h)/α² are exactly those with step size η/α² on R(h); a weight decay λ
there, coupled or decoupled, is α²·λ here. For optimisers that do not heed the size of the gradient
(Adam and RMSProp with a negligible ``eps``), the step size and a decoupled weight decay stay. With
the squared loss and targets y, R(h)/α² is R(h/α) with targets y/α: the model without the factor,
trained on small targets.

Centring costs a second forward pass, next to the forward and the backward pass of an update. The
doubling trick, (f(θ_a; x) − f(θ_b; x))/√2 with θ_a = θ_b at the start (Zhang et al. 2020, "A type of
generalization error induced by initialization in deep neural networks"), needs no memory of θ₀ but
costs a second forward *and* backward pass, has twice the parameters, and is another model once both
copies move. It is therefore not offered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_number
from implicit_bias.errors import UserError
from implicit_bias.models.base import Model, Scalar, traced_settings, uses_batch_statistics
from implicit_bias.models.wrapped import remembered, require_model
from implicit_bias.ranges import Setting

ALPHA = Setting("alpha", 1.0, minimum=0.0, includes_minimum=False)


@dataclass(frozen=True)
class Scaled:
    """A model's outputs times the traced setting ``alpha``, centred or not.

    Parameters are those of the model inside. The state holds ``alpha`` and ``state``, the inner
    model's own; where centred also ``origin``, the initial parameters, and ``origin_state``.

    The network that is subtracted is the inner model with the initial parameters, run beside the
    trained one: in the same mode, with the same key, on the same batch, and with running statistics
    of its own, so that at the origin the difference is exactly zero, with dropout and normalisation
    too. Without those it is a fixed function of x.

    It composes with ``Linearised`` either way, to the same function; ``Linearised(Scaled(model))``
    keeps one copy of the origin less. A mask that is applied to the parameters after ``init``, as a
    lane's is, would not be applied to the origin, and the difference not begin at zero; recipes
    refuse it.

    Attributes:
        model: The model inside. Its traced settings pass through.
        centred: Whether the initial function is subtracted.

    Raises:
        UserError: If the model is none, or has a traced setting ``alpha`` already.
    """

    model: Model
    centred: bool = True

    def __post_init__(self) -> None:
        require_model("Scaled", self.model)
        if not isinstance(self.centred, bool):
            raise UserError(f"centred is {self.centred!r}; choose True or False")
        if any(setting.name == ALPHA.name for setting in traced_settings(self.model)):
            raise UserError(
                f"the model {type(self.model).__name__} inside Scaled already has a traced setting "
                "'alpha'; scale it once, by the product"
            )

    @property
    def output_axis(self) -> int:
        """Axis of a weight array that counts output units: the inner model's."""
        return self.model.output_axis

    @property
    def keeps_origin(self) -> bool:
        """Whether the state holds the initial parameters."""
        return self.centred or bool(getattr(self.model, "keeps_origin", False))

    @property
    def batch_statistics(self) -> bool:
        """Whether training looks at the batch as a whole: as in the inner model."""
        return uses_batch_statistics(self.model)

    @property
    def traced(self) -> tuple[Setting, ...]:
        """``alpha``, and the inner model's traced settings."""
        return (ALPHA, *traced_settings(self.model))

    def init(
        self,
        key: jax.Array,
        example: jax.Array,
        *,
        scale: Scalar = 1.0,
        alpha: Scalar = ALPHA.default,
        **settings: Any,
    ) -> tuple[Any, Any]:
        """Draw the inner model's initial parameters.

        Args:
            key: Random key.
            example: One input without the batch axis.
            scale: Factor on the initial weights, possibly traced.
            alpha: Factor on the outputs, above 0, possibly traced.
            **settings: The inner model's traced settings, and whatever else its ``init`` takes.

        Returns:
            ``(params, state)``.

        Raises:
            UserError: If ``alpha`` is no number, or not above 0.
        """
        _check(alpha)
        params, state = self.model.init(key, example, scale=scale, **settings)
        return params, self.around(params, state, alpha)

    def around(self, params: Any, state: Any, alpha: Scalar = ALPHA.default) -> Any:
        """Return the state that centres at given parameters, trained or loaded ones, say.

        Args:
            params: Parameters of the inner model.
            state: The inner model's state that belongs to them.
            alpha: Factor on the outputs, above 0; it takes the dtype of the parameters.

        Raises:
            UserError: If ``alpha`` is no number, or not above 0.
        """
        _check(alpha)
        dtype = jnp.result_type(jax.tree.leaves(params)[0])
        kept = {"alpha": jnp.asarray(alpha, dtype), "state": state}
        return {**kept, "origin": params, "origin_state": state} if self.centred else kept

    def apply(
        self,
        params: Any,
        state: Any,
        x: jax.Array,
        *,
        train: bool = False,
        key: jax.Array | None = None,
        **others: Any,
    ) -> tuple[jax.Array, Any]:
        """Evaluate the scaled model.

        Args:
            params: Parameters of the inner model.
            state: As returned by ``init``, ``around`` or an earlier ``apply``.
            x: Inputs, shape (batch, *features).
            train: Passed to the inner model.
            key: Passed to the inner model.
            **others: Passed to the inner model: ``example_weights``, where it takes them.

        Returns:
            Outputs of shape (batch, k), and the new state.

        Raises:
            UserError: If the state lacks what ``init`` puts there.
        """
        alpha, inner = remembered("Scaled", state, "alpha", "state")
        outputs, inner = self.model.apply(params, inner, x, train=train, key=key, **others)
        new = {**state, "state": inner}
        if self.centred:
            origin, origin_state = remembered("Scaled", state, "origin", "origin_state")
            began, origin_state = self.model.apply(
                origin, origin_state, x, train=train, key=key, **others
            )
            outputs = outputs - began
            new["origin_state"] = origin_state
        return alpha * outputs, new

    def describe(self) -> dict[str, Any]:
        """Return whether it is centred, and the inner model's description within."""
        return {
            "architecture": "scaled",
            "centred": self.centred,
            "model": self.model.describe(),
        }


def _check(alpha: Scalar) -> None:
    require_number("alpha", alpha)
    if not isinstance(alpha, jax.core.Tracer):
        ALPHA.check(alpha)
