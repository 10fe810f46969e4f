r"""Fully connected networks of any depth, in four parameterisations.

Layer l maps its input h (batch, n_in) to ``m_l · h W_lᵀ + β_l · b_l`` with W_l of shape (n_out,
n_in), the layout of PyTorch: training was measured to be faster with it on a CPU than with the
transposed one. The parameterisations differ in the fixed multipliers m_l, β_l and in the spread of
the initial W_l; here n_in is the layer's fan-in, n_out its fan-out, g the gain of the
initialisation (√2 for ``he``, 1 for ``lecun``), and n₀ the field ``base_width``.

``standard``
    m = β = 1, W ~ N(0, g²/n_in), or N(0, 2/(n_in + n_out)) for ``glorot``.

``ntk`` (Jacot, Gabriel and Hongler 2018, section 2.1 with g for their 1)
    m = g/√n_in, W ~ N(0, 1), β = ``bias_scale`` (Jacot et al. use 0.1). At the same step size a
    width-n network's function changes by O(1) per step, and as n → ∞ its kernel stays at the
    initial one.

``mup`` (Yang and Hu 2021, "Tensor Programs IV", Table 1: a = (−1/2, 0, …, 0, 1/2), b = 1/2, c = 0)
    For plain SGD and SGD with momentum, one step size for all layers.

    ========  =============  ============  =============
    layer     multiplier m   std of W      multiplier β
    ========  =============  ============  =============
    first     √(n_out/n₀)    g/(√n_in·m)   √(n_out/n₀)
    hidden    1              g/√n_in       √(n_out/n₀)
    last      √(n₀/n_in)     g/√n_in       1
    ========  =============  ============  =============

``mup_adam`` (the same limit for Adam: Yang et al. 2022, "Tensor Programs V", Table 3, whose
    learning rates ∝ 1, 1/n_in, 1/n_in for the first, hidden and last layers are here moved into the
    multipliers: for Adam, multiplier × θ, spread ÷ θ, step size ÷ θ is the same function at every
    step)
    For Adam, AdamW and RMSProp, one step size for all layers.

    ========  =============  ============  =============
    layer     multiplier m   std of W      multiplier β
    ========  =============  ============  =============
    first     1              g/√n_in       1
    hidden    n₀/n_in        g/(√n_in·m)   1
    last      n₀/n_in        g/√n₀         1
    ========  =============  ============  =============

What is exact: at width n₀ both μ parameterisations *are* the standard one (all multipliers 1).
``mup`` is exact for SGD and SGD with momentum, with coupled or decoupled weight decay. ``mup_adam``
is exact for optimisers whose update does not change when the gradient is multiplied by a constant,
that is for Adam without coupled weight decay and with an ``eps`` far below the gradients, whose
entries shrink as 1/n² in hidden layers and as 1/n in the others. Both assume that all hidden widths
grow in proportion; without hidden layers both are ``standard``. ``ntk``, ``mup`` and ``mup_adam``
refuse ``glorot``, whose spread is not a function of the fan-in alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError, unknown
from implicit_bias.models.affine import (
    affine,
    require_parameterisation,
    require_positive,
    require_taps,
)
from implicit_bias.models.base import Params, Scalar, State, require_floating
from implicit_bias.models.initializers import Init, prefix_normal, weight_std
from implicit_bias.models.layers import Activation as Elementwise
from implicit_bias.models.layers import Affine, Chain, Flatten, WeightLayer

Activation = Literal["relu", "tanh", "erf", "gelu", "identity"]
Parameterisation = Literal["standard", "ntk", "mup", "mup_adam"]

# Every activation is zero at zero: a padded unit with zero weights stays silent.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,  # its derivative at 0 is 0
    "tanh": jnp.tanh,
    "erf": jax.lax.erf,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "identity": lambda x: x,
}

PARAMETERISATIONS: tuple[str, ...] = ("standard", "ntk", "mup", "mup_adam")


class Layer(NamedTuple):
    """The fixed numbers of one layer: forward multipliers and initial spreads, possibly traced."""

    weight_multiplier: Scalar
    bias_multiplier: Scalar
    weight_std: Scalar
    bias_std: Scalar


@dataclass(frozen=True)
class Dense:
    """A fully connected network; inputs of any shape are flattened.

    A deep linear network is ``Dense(widths, outputs, activation="identity", bias=False)``; a linear
    model has no widths. Parameters are a nested dict,
    ``{"layer_0": {"weight": (n_out, n_in), "bias": (n_out,)}, "layer_1": ...}``.

    Attributes:
        widths: Width of each hidden layer.
        outputs: Number of outputs k.
        activation: ``relu``, ``tanh``, ``erf``, ``gelu`` (the exact one) or ``identity``.
        parameterisation: ``standard``, ``ntk``, ``mup`` or ``mup_adam``; see the module's text.
        initialisation: ``he``, ``glorot`` or ``lecun``.
        bias: Whether layers have biases.
        bias_std: Standard deviation of the initial biases (under ``mup``: times their multiplier);
            at 0 they start at zero.
        bias_scale: Forward multiplier of the biases under ``ntk``; 1 under the others.
        base_width: Width at which both μ parameterisations are the standard one.

    Raises:
        UserError: When a field has a value that cannot be used.
    """

    widths: tuple[int, ...]
    outputs: int
    activation: Activation = "relu"
    parameterisation: Parameterisation = "standard"
    initialisation: Init = "he"
    bias: bool = True
    bias_std: float = 0.0
    bias_scale: float = 1.0
    base_width: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", _widths(self.widths))
        require_positive("outputs", self.outputs)
        require_positive("base_width", self.base_width)
        if self.activation not in tuple(ACTIVATIONS):
            raise unknown("activation", self.activation, ACTIVATIONS)
        require_parameterisation(
            PARAMETERISATIONS,
            self.parameterisation,
            self.initialisation,
            self.bias_std,
            self.bias_scale,
        )

    @property
    def depth(self) -> int:
        """Number of weight layers, one more than the number of hidden layers."""
        return len(self.widths) + 1

    @property
    def output_axis(self) -> int:
        """Axis of a weight array that counts output units: the first."""
        return 0

    def init(
        self,
        key: jax.Array,
        example: jax.Array,
        *,
        scale: Scalar = 1.0,
        widths: Sequence[Scalar] | None = None,
    ) -> tuple[Params, State]:
        """Draw initial parameters; prefix-stable in every width, in the inputs and in the depth.

        Args:
            key: Random key.
            example: One input without the batch axis, floating; only its shape and dtype are used.
            scale: Factor on the initial weights, possibly traced.
            widths: True hidden widths, possibly traced, each at most the field's; the rest of each
                layer is padding. The result is then the parameters of the narrow network in the
                corner of zeros, and the state holds the narrow network's multipliers, so that
                ``apply`` computes the narrow network. Keep the padding at zero with ``width_mask``.

        Returns:
            ``(params, state)``; the state is empty unless ``widths`` is given and the
            parameterisation has multipliers.

        Raises:
            UserError: When the example is not floating, or the number of widths is wrong.
        """
        require_floating(example)
        dtype = example.dtype
        layers = self.layers(example.size, dtype, widths)
        sizes = (example.size, *self.widths, self.outputs)
        shapes = [(n_out, n_in) for n_in, n_out in itertools.pairwise(sizes)]
        if self.bias and self.bias_std:
            shapes += [(1, size) for size in sizes[1:]]
        draws = prefix_normal(self._keys(key, len(shapes)), shapes, dtype)
        params: Params = {}
        for index, layer in enumerate(layers):
            # The scale is cast on its own: a traced float32 may meet float64 parameters.
            spread = jnp.asarray(layer.weight_std, dtype) * jnp.asarray(scale, dtype)
            params[f"layer_{index}"] = {"weight": spread * draws[index]}
            if self.bias:
                bias = jnp.zeros(sizes[index + 1], dtype)
                if self.bias_std:
                    bias = jnp.asarray(layer.bias_std, dtype) * draws[self.depth + index][0]
                params[f"layer_{index}"]["bias"] = bias
        if widths is None:
            return params, {}
        mask = self.width_mask(example, widths)
        params = jax.tree.map(jnp.multiply, params, mask)
        if self.parameterisation == "standard":
            return params, {}
        multipliers = {
            f"layer_{index}": {
                "weight": jnp.asarray(layer.weight_multiplier, dtype),
                "bias": jnp.asarray(layer.bias_multiplier, dtype),
            }
            for index, layer in enumerate(layers)
        }
        return params, {"multipliers": multipliers}

    def apply(
        self,
        params: Params,
        state: State,
        x: jax.Array,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, State]:
        """Evaluate the network; training and evaluation are the same.

        Args:
            params: As returned by ``init``.
            state: As returned by ``init``; passed through.
            x: Inputs, shape ``(batch, *features)``, of the parameters' dtype.
            train: Ignored.
            key: Ignored.

        Returns:
            Outputs of shape ``(batch, outputs)``, and the state.
        """
        del train, key
        return self._through(params, state, x, None)[0], state

    def chain(self) -> Chain:
        """Return the layers from input to output, as one description of many networks."""
        hidden: Chain = ()
        for width in self.widths:
            hidden += (Affine(width), Elementwise(self.activation))
        return (Flatten(), *hidden, Affine(self.outputs))

    def weight_layers(self, input_shape: tuple[int, ...]) -> tuple[WeightLayer, ...]:
        """Return the numbers of each layer: see ``layers.ChainModel``; of unpadded networks."""
        fans, on = (math.prod(input_shape), *self.widths), float(self.bias)
        return tuple(
            WeightLayer(f"layer_{i}", fan, entry[0], on * entry[1], entry[2], on * entry[3])
            for i, (fan, entry) in enumerate(zip(fans, self.layers(fans[0], float), strict=True))
        )

    def tapped(
        self, params: Params, state: State, x: jax.Array, taps: tuple[jax.Array, ...] | None = None
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Evaluate the network and return the input of each layer: see ``layers.ChainModel``.

        Raises:
            UserError: As ``sums``, or for another number of taps.
        """
        require_taps(taps, self.depth)
        outputs, inputs = self._through(params, state, x, taps)
        return outputs, tuple(hidden[:, None, :] for hidden in inputs)

    def _through(
        self, params: Params, state: State, x: jax.Array, taps: tuple[jax.Array, ...] | None
    ) -> tuple[jax.Array, list[jax.Array]]:
        hidden, inputs = x if x.ndim == 2 else x.reshape(x.shape[0], -1), []
        for index, layer in enumerate(self.layers(hidden.shape[1], x.dtype)):
            inputs.append(hidden)
            hidden = self.sums(index, layer, params, state, hidden)
            if taps is not None:
                hidden = hidden + taps[index].reshape(hidden.shape)
            if index < len(self.widths):
                hidden = ACTIVATIONS[self.activation](hidden)
        return hidden, inputs

    def sums(
        self, index: int, layer: Layer, params: Params, state: State, hidden: jax.Array
    ) -> jax.Array:
        """Return what one layer makes of its input, before the activation.

        Args:
            index: The layer's number, from 0.
            layer: Its entry of ``layers``.
            params: As in ``apply``.
            state: As in ``apply``.
            hidden: The layer's input, shape (batch, n_in).

        Returns:
            Shape (batch, n_out).

        Raises:
            UserError: If the parameters lack the layer, or the shapes do not fit each other.
        """
        name = f"layer_{index}"
        padded = state.get("multipliers")
        multipliers = (padded[name]["weight"], padded[name]["bias"]) if padded else layer[:2]
        return affine(name, params, self.bias, multipliers, hidden)

    def describe(self) -> dict[str, Any]:
        """Return the architecture as plain values that JSON can hold."""
        fields = asdict(self)
        fields["widths"] = list(self.widths)
        return {"architecture": "dense", "depth": self.depth, **fields}

    def layers(
        self,
        n_inputs: int,
        dtype: jax.typing.DTypeLike,
        widths: Sequence[Scalar] | None = None,
    ) -> tuple[Layer, ...]:
        """Return every layer's multipliers and initial spreads, as tabulated in the module's text.

        Args:
            n_inputs: Number of features of one flattened input.
            dtype: Dtype for traced widths.
            widths: True hidden widths, possibly traced; by default the field's.

        Returns:
            One ``Layer`` per weight layer.

        Raises:
            UserError: When the number of widths is not the number of hidden layers.
        """
        hidden: Sequence[Scalar] = self.widths
        if widths is not None:
            if len(widths) != len(self.widths):
                raise UserError(
                    f"widths has {len(widths)} entries, but the network has {len(self.widths)} "
                    "hidden layers; give one true width per hidden layer"
                )
            hidden = [jnp.asarray(width, dtype) for width in widths]
        fans: list[Scalar] = [n_inputs, *hidden, self.outputs]
        return tuple(
            self._layer(index, fans[index], fans[index + 1]) for index in range(self.depth)
        )

    def width_mask(self, example: jax.Array, widths: Sequence[Scalar]) -> Params:
        """Return 1 for each parameter of the narrow network and 0 for each padded one.

        Args:
            example: One input without the batch axis; gives shape and dtype.
            widths: True hidden widths, possibly traced, each at most the field's.

        Returns:
            A pytree like the parameters, of the example's dtype.
        """
        sizes = (example.size, *self.widths, self.outputs)
        true = (example.size, *widths, self.outputs)
        units = [
            (jnp.arange(size) < jnp.asarray(limit, int)).astype(example.dtype)
            for size, limit in zip(sizes, true, strict=True)
        ]
        mask: Params = {}
        for index in range(self.depth):
            mask[f"layer_{index}"] = {"weight": units[index + 1][:, None] * units[index][None, :]}
            if self.bias:
                mask[f"layer_{index}"]["bias"] = units[index + 1]
        return mask

    def _keys(self, key: jax.Array, number: int) -> jax.Array:
        """Give the weights, then the biases, a key each that depends on the layer's number only."""
        layer = jnp.arange(self.depth, dtype=jnp.uint32)
        ids = jnp.concatenate([2 * layer, 2 * layer + 1])[:number]
        return jax.vmap(jax.random.fold_in, (None, 0))(key, ids)

    def _layer(self, index: int, fan_in: Scalar, fan_out: Scalar) -> Layer:
        first, last = index == 0, index == len(self.widths)
        std = weight_std(self.initialisation, fan_in, fan_out)
        if self.parameterisation == "ntk":
            return Layer(std, self.bias_scale, 1.0, self.bias_std)
        if self.parameterisation == "standard" or not self.widths:
            return Layer(1.0, 1.0, std, self.bias_std)
        if self.parameterisation == "mup":
            widening = 1.0 if last else (fan_out / self.base_width) ** 0.5
            if first:
                return Layer(widening, widening, std / widening, self.bias_std / widening)
            if last:
                return Layer((self.base_width / fan_in) ** 0.5, 1.0, std, self.bias_std)
            return Layer(1.0, widening, std, self.bias_std / widening)
        if first:
            return Layer(1.0, 1.0, std, self.bias_std)
        shrinking = self.base_width / fan_in
        # The last layer's effective spread shrinks as 1/n, the hidden layers' as 1/sqrt(n).
        spread = std * shrinking**-0.5 if last else std / shrinking
        return Layer(shrinking, 1.0, spread, self.bias_std)


def _widths(widths: object) -> tuple[int, ...]:
    if isinstance(widths, str | int) or not isinstance(widths, Sequence):
        raise UserError(
            f"widths is {widths!r}; give one whole number per hidden layer, e.g. (64, 32)"
        )
    for width in widths:
        require_positive("a hidden width", width)
    return tuple(widths)
