"""Where the measures are taken: the parameters that training found, and three ways of writing them otherwise.

With θ the parameters found, L the loss and c, α > 0:

- ``layers``: the first layer multiplied by α and the last divided by it. A ReLU network computes the same
  function (Dinh et al. 2017).
- ``scaled``: cθ. That is another function: nothing is owed there.
- ``stretched``: the same function again, with new coordinates ψ = cθ and the loss ψ ↦ L(ψ/c). Every Hessian
  eigenvalue is divided by c², whatever the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from implicit_bias import geometry

Params = Any
Kind = Literal["found", "layers", "scaled", "stretched"]

FOUND = "θ"
"""Label of the parameters that training found."""


@dataclass(frozen=True)
class Point:
    """One way of writing the parameters.

    Attributes:
        kind: See the module's text.
        factor: α or c; 1 for the parameters found.
    """

    kind: Kind
    factor: float = 1.0

    @property
    def label(self) -> str:
        """What results call it."""
        written = f"{self.factor:g}"
        return {
            "found": FOUND,
            "layers": f"layers × {written}",
            "scaled": f"{written} θ",
            "stretched": f"L(ψ/{written})",
        }[self.kind]

    def place(self, params: Params) -> Params:
        """Return the parameters there."""
        if self.kind == "found":
            return params
        if self.kind == "layers":
            hidden = len(geometry.dense_layers(params)) - 1
            return geometry.rescale_relu(params, [self.factor] + [1.0] * (hidden - 1))
        return jax.tree.map(lambda leaf: self.factor * leaf, params)

    @property
    def inner(self) -> float:
        """What the loss multiplies parameters by before it uses them."""
        return 1 / self.factor if self.kind == "stretched" else 1.0


def make_points(
    alphas: Sequence[float], scales: Sequence[float], stretch: float
) -> tuple[Point, ...]:
    """Return all points, the parameters found first."""
    return (
        Point("found"),
        *(Point("layers", alpha) for alpha in alphas),
        *(Point("scaled", scale) for scale in scales),
        Point("stretched", stretch),
    )


def stack(points: Sequence[Point], params: Params) -> tuple[Params, jax.Array]:
    """Return the parameters at all points, point leading, and their inner factors."""
    placed = [point.place(params) for point in points]
    dtype = jax.tree.leaves(params)[0].dtype
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *placed)
    return stacked, jnp.asarray([point.inner for point in points], dtype)
