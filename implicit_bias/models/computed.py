"""A model whose forward and backward passes are computed in a chosen precision.

``float32``
    Matrix products in the type of the parameters, nowhere less: on GPUs the one that is not TF32.
``tf32``
    Factors of float32 matrix products may be rounded to 10 bits after the leading one, sums are in float32.
    Hardware without it, any CPU say, computes as under ``float32``.
``bf16``
    Parameters and inputs are rounded to bfloat16 (7 bits after the leading one) and all between them and the
    outputs is computed in it; outputs, and gradients as they reach the parameters, are of the parameters'
    type again. Mixed precision: what an optimiser keeps and changes is not rounded, nor is the model's state.

A precision that is said here is the inner one: it also holds within products that are asked for in the
highest precision, the Hessian's say, so that its effect on curvature can be measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError, unknown
from implicit_bias.models.base import Model, Scalar, traced_settings
from implicit_bias.models.wrapped import require_model
from implicit_bias.ranges import Setting

Precision = Literal["float32", "tf32", "bf16"]

_PRODUCTS: dict[str, str] = {"float32": "highest", "tf32": "tensorfloat32", "bf16": "highest"}

PRECISIONS: tuple[str, ...] = tuple(_PRODUCTS)


@dataclass(frozen=True)
class Computed:
    """A model computed in a precision of its own.

    Parameters and state are the inner model's, of the types they have there.

    Attributes:
        model: Any model.
        precision: ``"float32"``, ``"tf32"`` or ``"bf16"``; see the module's text.

    Raises:
        UserError: If the precision is unknown, or what is given is no model.
    """

    model: Model
    precision: Precision

    def __post_init__(self) -> None:
        require_model("Computed", self.model)
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.precision == "bf16" and self.keeps_origin:
            raise UserError(
                f"precision is 'bf16', but {type(self.model).__name__} takes differences from where it "
                "began, which bfloat16 rounds away; choose 'float32' or 'tf32'"
            )

    @property
    def batch_statistics(self) -> bool:
        """Whether training looks at the batch as a whole: as in the inner model."""
        return bool(getattr(self.model, "batch_statistics", False))

    @property
    def output_axis(self) -> int:
        """Axis of a weight array that counts output units: the inner model's."""
        return self.model.output_axis

    @property
    def keeps_origin(self) -> bool:
        """Whether the state holds the initial parameters: as in the inner model."""
        return bool(getattr(self.model, "keeps_origin", False))

    @property
    def traced(self) -> tuple[Setting, ...]:
        """The inner model's traced settings."""
        return traced_settings(self.model)

    def init(
        self, key: jax.Array, example: jax.Array, *, scale: Scalar = 1.0, **settings: Any
    ) -> tuple[Any, Any]:
        """Draw the inner model's initial parameters; precision does not enter."""
        return self.model.init(key, example, scale=scale, **settings)

    def apply(
        self, params: Any, state: Any, x: jax.Array, *, train: bool = False, **others: Any
    ) -> tuple[jax.Array, Any]:
        """Evaluate the model in its precision.

        Args:
            params: Parameters of the inner model.
            state: Its state.
            x: Inputs, shape (batch, *features).
            train: Passed to the inner model.
            **others: Passed to the inner model: ``key`` and what else it takes.

        Returns:
            Outputs of shape (batch, k), of the inputs' type, and the new state.
        """
        with jax.default_matmul_precision(_PRODUCTS[self.precision]):
            if self.precision != "bf16":
                return self.model.apply(params, state, x, train=train, **others)
            low, low_x = jax.tree.map(_rounded, (params, x))
            outputs, state = self.model.apply(low, state, low_x, train=train, **others)
            return outputs.astype(x.dtype), state

    def describe(self) -> dict[str, Any]:
        """Return the precision, and the inner model's description within."""
        return {
            "architecture": "computed",
            "precision": self.precision,
            "model": self.model.describe(),
        }


def _rounded(leaf: Any) -> Any:
    return leaf.astype(jnp.bfloat16) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
