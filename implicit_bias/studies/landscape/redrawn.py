"""The same network from other initial weights, with the same seed, examples and data order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax

from implicit_bias.models import Model


@dataclass(frozen=True)
class Redrawn:
    """A network that draws its initial weights under another key.

    Lanes of one seed share initial weights, examples and order. This is how one of them gets initial
    weights of its own, so that "two initialisations" can be compared within a seed.

    Attributes:
        base: The network.
        draw: Which other draw, from 1.
    """

    base: Model
    draw: int = 1

    @property
    def output_axis(self) -> int:
        """That of the network."""
        return self.base.output_axis

    def init(self, key: jax.Array, example: jax.Array, *, scale: Any = 1.0) -> tuple[Any, Any]:
        """Draw initial parameters from a key made of the given one."""
        return self.base.init(jax.random.fold_in(key, self.draw), example, scale=scale)

    def apply(
        self,
        params: Any,
        state: Any,
        x: jax.Array,
        *,
        train: bool,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """Evaluate the network."""
        return self.base.apply(params, state, x, train=train, key=key)

    def describe(self) -> dict[str, Any]:
        """Return the network's description, and which draw its initial weights are."""
        return {**self.base.describe(), "redrawn": self.draw}
