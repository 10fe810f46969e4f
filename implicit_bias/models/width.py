r"""Width as a traced number: a dense network in the corner of a wider one.

Lanes whose networks differ in width have arrays of different shapes, and would need a program each.
``Padded`` gives them all the shapes of the widest, W: the narrow network stands in the corner of
arrays of zeros, and its width n is a traced setting of the lane. What it computes is what the
network of width n computes, to float rounding:

*Initial parameters.* Draws are prefix-stable (``models.initializers``), so the corner holds the very
numbers of the narrow network; spreads and multipliers take the true width.

*Outputs.* A hidden layer's activations are multiplied by 1 for its first n units and by 0 for the
others. Whatever their parameters, padded units are silent, and the sums of the next layer gain only
zeros.

*Gradient.* The outputs do not depend on the parameters of padded units: on the row and the bias of
such a unit because its activation is multiplied by 0, on the column that leaves it because what it is
multiplied with is 0. Their gradient is zero everywhere, and so are all their higher derivatives: the
Hessian is the narrow network's, bordered by zeros. (Without the multiplication the gradient at the
zero parameters would be zero too, as φ(0) = 0, but not the Hessian: its block of a unit's row w and
leaving weights u has the entries m·φ'(0)·Σ δ aᵀ, zero for ReLU alone.)

*Trajectory.* Padded parameters start at zero. An update is zero where the parameter and all its
gradients so far were zero, for every optimiser of this package: decay multiplies the parameter,
momentum adds gradients, Adam and RMSProp divide 0 by ``eps`` > 0, SAM climbs along the gradient. So
they stay zero, and norms over all parameters (of movement, say) are the narrow network's. Only what
*draws* a vector of the parameters' shape draws another one (``trace_penalty``, ``top_penalty``):
equal in distribution, not number by number.

What must be told the true width is whatever divides by a number of parameters or units: ``narrow``
is the network to ask. Orthogonal initial weights have no exact padding, as the corner of an
orthogonal matrix is none; ``Dense`` has none, and all that it has can be padded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.models.affine import require_taps
from implicit_bias.models.base import Params, Scalar, State
from implicit_bias.models.dense import ACTIVATIONS, Dense
from implicit_bias.models.layers import Chain, WeightLayer
from implicit_bias.ranges import Setting

WIDTH = "width"
"""Name of the traced setting."""

UNITS = "units"
"""Entry of a padded network's state: 1 for each true unit of a hidden layer, 0 for a padded one."""


class Whole(Setting):
    """A traced setting that is a whole number."""

    def check(self, value: object) -> None:
        """Check a concrete number.

        Raises:
            UserError: When it is no whole number, or lies outside the range.
        """
        if not _is_whole(value) or not self.minimum <= float(value) <= self.maximum:  # type: ignore[arg-type]
            raise UserError(
                f"{self.name} is {value!r}; choose a whole number from {self.minimum:.0f} to "
                f"{self.maximum:.0f}, to which the network is padded"
            )


@dataclass(frozen=True)
class Padded:
    """A dense network of which each lane uses the first ``width`` units of every hidden layer.

    A model, and a ``layers.ChainModel``. Lanes have the traced setting ``width``, by default the
    full one. Parameters are shaped like those of ``dense``.

    Attributes:
        dense: The widest network; its hidden layers are equally wide.

    Raises:
        UserError: When it has no hidden layers, or their widths differ.
    """

    dense: Dense

    def __post_init__(self) -> None:
        if not isinstance(self.dense, Dense):
            raise UserError(
                f"the network to pad is a {type(self.dense).__name__}; give a Dense network"
            )
        if len(set(self.dense.widths)) != 1:
            raise UserError(
                f"the network to pad has hidden widths {self.dense.widths}; give at least one "
                "hidden layer, all of them equally wide"
            )

    @property
    def width(self) -> int:
        """The full width W."""
        return self.dense.widths[0]

    @property
    def traced(self) -> tuple[Setting, ...]:
        """The setting ``width``, a whole number from 1 to W."""
        return (Whole(WIDTH, self.width, minimum=1, maximum=self.width),)

    @property
    def output_axis(self) -> int:
        """Axis of a weight array that counts output units."""
        return self.dense.output_axis

    def init(
        self,
        key: jax.Array,
        example: jax.Array,
        *,
        scale: Scalar = 1.0,
        width: Scalar | None = None,
    ) -> tuple[Params, State]:
        """Draw the initial parameters of the narrow network, and surround them by zeros.

        Args:
            key: Random key.
            example: One input without the batch axis, floating.
            scale: Factor on the initial weights, possibly traced.
            width: True width of every hidden layer, possibly traced; by default W.

        Returns:
            ``(params, state)``. The state says which units are true, and holds the narrow network's
            multipliers where the parameterisation has some.

        Raises:
            UserError: When the example is not floating, or a width that is not traced is no whole
                number from 1 to W.
        """
        if width is None:
            width = self.width
        elif not isinstance(width, jax.core.Tracer):
            self.traced[0].check(width)
        depth = len(self.dense.widths)
        params, state = self.dense.init(key, example, scale=scale, widths=(width,) * depth)
        units = jnp.arange(self.width) < jnp.asarray(width, int)
        return params, {**state, UNITS: units.astype(example.dtype)}

    def apply(
        self,
        params: Params,
        state: State,
        x: jax.Array,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, State]:
        """Evaluate the narrow network; training and evaluation are the same.

        Args:
            params: As returned by ``init``.
            state: As returned by ``init``; passed through.
            x: Inputs, shape ``(batch, *features)``, of the parameters' dtype.
            train: Ignored.
            key: Ignored.

        Returns:
            Outputs of shape ``(batch, outputs)``, and the state.

        Raises:
            UserError: When the state is not that of a padded network.
        """
        del train, key
        return self._through(params, state, x, None)[0], state

    def chain(self) -> Chain:
        """Return the layers of the widest network."""
        return self.dense.chain()

    def weight_layers(self, input_shape: tuple[int, ...]) -> tuple[WeightLayer, ...]:
        """Return the numbers of the widest network's layers; a lane's multipliers are in its state."""
        return self.dense.weight_layers(input_shape)

    def tapped(
        self, params: Params, state: State, x: jax.Array, taps: tuple[jax.Array, ...] | None = None
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Evaluate the narrow network and return each layer's input: see ``layers.ChainModel``.

        Raises:
            UserError: As ``apply``, or for another number of taps.
        """
        require_taps(taps, self.dense.depth)
        outputs, inputs = self._through(params, state, x, taps)
        return outputs, tuple(hidden[:, None, :] for hidden in inputs)

    def _through(
        self, params: Params, state: State, x: jax.Array, taps: tuple[jax.Array, ...] | None
    ) -> tuple[jax.Array, list[jax.Array]]:
        if not isinstance(state, Mapping) or UNITS not in state:
            raise UserError(
                "the state does not say which units of the padded network are true; give the state "
                "that its init returns, or the narrow network and its parameters"
            )
        hidden, inputs = x if x.ndim == 2 else x.reshape(x.shape[0], -1), []
        for index, layer in enumerate(self.dense.layers(hidden.shape[1], x.dtype)):
            inputs.append(hidden)
            hidden = self.dense.sums(index, layer, params, state, hidden)
            if taps is not None:
                hidden = hidden + taps[index].reshape(hidden.shape)
            if index < len(self.dense.widths):
                hidden = ACTIVATIONS[self.dense.activation](hidden) * state[UNITS][None, :]
        return hidden, inputs

    def describe(self) -> dict[str, Any]:
        """Return the architecture as plain values that JSON can hold."""
        return {"architecture": "padded dense", "dense": self.dense.describe()}

    def narrow(self, width: int) -> Dense:
        """Return the network that a lane of this width computes.

        Raises:
            UserError: When the width is no whole number from 1 to W.
        """
        self.traced[0].check(width)
        return replace(self.dense, widths=(int(width),) * len(self.dense.widths))

    def unpadded(self, params: Params, width: int) -> Params:
        """Cut the narrow network's parameters out, on the host.

        Args:
            params: Parameters of this network, possibly of several lanes, with leading axes.
            width: Their true width.

        Returns:
            Parameters of ``narrow(width)``, NumPy arrays.

        Raises:
            UserError: When the width is no whole number from 1 to W.
        """
        self.narrow(width)
        last, true = len(self.dense.widths), slice(0, int(width))
        cut: Params = {}
        for index in range(self.dense.depth):
            rows = slice(None) if index == last else true
            columns = slice(None) if index == 0 else true
            given = params[f"layer_{index}"]
            cut[f"layer_{index}"] = {"weight": np.asarray(given["weight"])[..., rows, columns]}
            if self.dense.bias:
                cut[f"layer_{index}"]["bias"] = np.asarray(given["bias"])[..., rows]
        return cut


def _is_whole(value: object) -> bool:
    try:
        return not isinstance(value, bool) and float(value).is_integer()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
