"""One stack of equal layers that is a residual or a plain network by two traced numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp

from implicit_bias.models.affine import require_positive
from implicit_bias.models.base import Scalar
from implicit_bias.models.constructors import norm_layers
from implicit_bias.models.dense import ACTIVATIONS
from implicit_bias.models.layers import Activation, Affine, Chain, Flatten, LayerNorm, Residual
from implicit_bias.models.network import Network
from implicit_bias.models.normalisation import example_norm
from implicit_bias.ranges import Setting

SKIP = Setting("skip", 1.0, minimum=0.0, maximum=1.0)
BRANCH = Setting("branch", 1.0, minimum=0.0, includes_minimum=False)


@dataclass(frozen=True)
class Stack:
    """``h_{l+1} = skip · h_l + branch · (W_l φ(N(h_l)) + b_l)`` between two affine layers.

    With ``skip`` 1 it is a residual network of pre-activation blocks (He et al. 2016, *Identity
    mappings*), with ``skip`` 0 and ``branch`` 1 the plain network of the same layers: the same
    parameters, drawn alike. The outputs are an affine layer of φ(N(h_L)). N normalises each example over
    its units, or is left out. Layers are passed in a loop, so that the program is as small for many as
    for few. The state holds the two numbers.

    Attributes:
        width: Units of each hidden layer.
        depth: Number L of blocks.
        outputs: Number of outputs.
        norm: ``"layer"`` or ``"none"``.
        activation: Name of φ.
    """

    width: int
    depth: int
    outputs: int
    norm: Literal["none", "layer"] = "none"
    activation: str = "relu"

    def __post_init__(self) -> None:
        require_positive("depth", self.depth)
        require_positive("width", self.width)

    @property
    def output_axis(self) -> int:
        """Axis of a weight array that counts output units: the first."""
        return 0

    @property
    def traced(self) -> tuple[Setting, ...]:
        """``skip`` and ``branch``."""
        return (SKIP, BRANCH)

    @cached_property
    def drawn(self) -> Network:
        """The residual network that draws the parameters."""
        return Network(self.chain(1.0, 1.0))

    def chain(self, skip: float, branch: float) -> Chain:
        """Return the same network as a chain of layers, for a skip of 0 or 1.

        Args:
            skip: 1 for residual blocks, 0 for plain layers, whose branch is then 1.
            branch: Factor of each block's branch.
        """
        norm = () if self.norm == "none" else norm_layers("layer", self.width)
        own = (*norm, Activation(self.activation), Affine(self.width))
        blocks: Chain = (Residual(own, branch),) * self.depth if skip else own * self.depth
        last = (*norm, Activation(self.activation), Affine(self.outputs))
        return (Flatten(), Affine(self.width), *blocks, *last)

    def init(
        self,
        key: jax.Array,
        example: jax.Array,
        *,
        scale: Scalar = 1.0,
        skip: Scalar = SKIP.default,
        branch: Scalar = BRANCH.default,
    ) -> tuple[Any, Any]:
        """Draw initial parameters, the same whatever ``skip`` and ``branch``.

        Args:
            key: Random key.
            example: One input without the batch axis.
            scale: Factor on the initial weights, possibly traced.
            skip: Factor of what goes past a block, possibly traced.
            branch: Factor of a block's branch, possibly traced.

        Returns:
            ``(params, state)``: those of a ``Network``, and the two numbers.
        """
        params, _ = self.drawn.init(key, example, scale=scale)
        dtype = example.dtype
        return params, {"skip": jnp.asarray(skip, dtype), "branch": jnp.asarray(branch, dtype)}

    def apply(
        self,
        params: Any,
        state: Any,
        x: jax.Array,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """Evaluate the network.

        Args:
            params: As returned by ``init``.
            state: As returned by ``init``.
            x: Inputs, shape (batch, *features).
            train: Ignored.
            key: Ignored.

        Returns:
            Outputs of shape (batch, outputs), and the state.
        """
        del train, key
        _, last = self._passed(params, state, x)
        hidden = self._act(_norm_of(params, self.depth), last)
        return _affine(params[f"layer_{self.depth + 1}"], hidden), state

    def hidden(self, params: Any, state: Any, x: jax.Array) -> jax.Array:
        """Return what goes into each block and what leaves the last, shape (depth + 1, batch, width)."""
        before, last = self._passed(params, state, x)
        return jnp.concatenate([before, last[None]])

    def describe(self) -> dict[str, Any]:
        """Return the architecture as plain values that JSON can hold."""
        return {
            "architecture": "stack",
            "width": self.width,
            "depth": self.depth,
            "outputs": self.outputs,
            "norm": self.norm,
            "activation": self.activation,
        }

    def _passed(self, params: Any, state: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the values before each block, (depth, batch, width), and those after the last."""
        first = _affine(params["layer_0"], x.reshape(x.shape[0], math.prod(x.shape[1:])))
        blocks = [
            {**params[f"layer_{block + 1}"], "norm": _norm_of(params, block)}
            for block in range(self.depth)
        ]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)

        def block(hidden: jax.Array, own: Any) -> tuple[jax.Array, jax.Array]:
            added = _affine(own, self._act(own["norm"], hidden))
            return state["skip"] * hidden + state["branch"] * added, hidden

        last, before = jax.lax.scan(block, first, stacked)
        return before, last

    def _act(self, norm: Any, hidden: jax.Array) -> jax.Array:
        if self.norm == "layer":
            hidden = example_norm(LayerNorm(), norm, hidden)
        return ACTIVATIONS[self.activation](hidden)


def _norm_of(params: Any, number: int) -> Any:
    return params.get(f"norm_{number}", {})


def _affine(own: Any, hidden: jax.Array) -> jax.Array:
    return hidden @ own["weight"].T + own["bias"][None, :]
