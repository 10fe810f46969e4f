r"""Networks of any chain of layers: residual and convolutional ones, from one description.

The chain (``models.layers``) is plain data. Each of its layers with weights computes ``m · a Wᵀ +
β · b`` of its input a, of fan-in n: the features, or for a convolution the C·size² entries of a
patch. With the gain g of the initialisation (√2 for ``he``, 1 for ``lecun``):

``standard``
    m = β = 1, W ~ N(0, g²/n), or N(0, 2/(n + n_out)) for ``glorot``, where a convolution's n_out is
    channels·size².

``ntk`` (Jacot, Gabriel and Hongler 2018, section 2.1; for convolutions Arora et al. 2019, section 4)
    m = g/√n, W ~ N(0, 1), β = ``bias_scale``.

A convolution is the product of its patches with its weights, gathered by slices: on a CPU this was
measured to be many times faster than XLA's own convolution where lanes are mapped. Its weights are
stored as (channels, fan_in), the entries of a patch in the order (row, column, input channel).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError, unknown
from implicit_bias.models.affine import (
    affine,
    require_numbers,
    require_positive,
    require_taps,
    times,
)
from implicit_bias.models.base import Params, Scalar, State, require_floating
from implicit_bias.models.chains import checked, described, sizes_of
from implicit_bias.models.dense import ACTIVATIONS
from implicit_bias.models.initializers import Init, prefix_normal, weight_std
from implicit_bias.models.layers import (
    Activation,
    Affine,
    AveragePool,
    Chain,
    Conv,
    Flatten,
    GlobalAverage,
    LayerSpec,
    Padding,
    Residual,
    WeightLayer,
    with_weights,
)
from implicit_bias.models.windows import patches, pooled

PARAMETERISATIONS: tuple[str, ...] = ("standard", "ntk")


@dataclass(frozen=True)
class Network:
    """A chain of layers with its numbers.

    Parameters are ``{"layer_0": {"weight": (n_out, fan_in), "bias": (n_out,)}, ...}``, numbered in
    the order in which the chain runs. Inputs are (batch, features) or (batch, height, width,
    channels); a (batch, height, width) image has one channel.

    Attributes:
        layers: The chain from input to output; lists become tuples.
        parameterisation: ``standard`` or ``ntk``; see the module's text.
        initialisation: ``he``, ``lecun`` or, under ``standard``, ``glorot``.
        bias: Whether layers with weights have biases.
        bias_std: Standard deviation of the initial biases; at 0 they start at zero.
        bias_scale: Forward multiplier of the biases under ``ntk``; 1 under ``standard``.

    Raises:
        UserError: When a field has a value that cannot be used.
    """

    layers: Chain
    parameterisation: Literal["standard", "ntk"] = "standard"
    initialisation: Init = "he"
    bias: bool = True
    bias_std: float = 0.0
    bias_scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", checked(self.layers))
        if not self.layers or not isinstance(self.layers[-1], Affine):
            ends = f"ends in {type(self.layers[-1]).__name__}" if self.layers else "is empty"
            raise UserError(
                f"the chain {ends}; end it in an Affine, whose units are the network's outputs"
            )
        require_numbers(
            PARAMETERISATIONS,
            self.parameterisation,
            self.initialisation,
            self.bias_std,
            self.bias_scale,
        )

    @property
    def outputs(self) -> int:
        """Number of outputs k."""
        last = self.layers[-1]
        assert isinstance(last, Affine)
        return last.outputs

    @property
    def depth(self) -> int:
        """Number of layers with weights, those of branches included."""
        return sum(1 for _ in with_weights(self.layers))

    @property
    def output_axis(self) -> int:
        """Axis of a weight array that counts output units: the first."""
        return 0

    def init(
        self, key: jax.Array, example: jax.Array, *, scale: Scalar = 1.0
    ) -> tuple[Params, State]:
        """Draw initial parameters; prefix-stable in every width and in the depth.

        Args:
            key: Random key.
            example: One input without the batch axis, floating; only its shape and dtype are used.
            scale: Factor on the initial weights, possibly traced.

        Returns:
            ``(params, state)``; the state is empty.

        Raises:
            UserError: When the example is not floating, or its shape does not fit the chain.
        """
        require_floating(example)
        dtype = example.dtype
        sizes = sizes_of(self.layers, example.shape)
        shapes = [(size.outputs, size.fan_in) for size in sizes]
        if self.bias and self.bias_std:
            shapes += [(1, size.outputs) for size in sizes]
        # A key depends on the number of its layer only: weights have even ones, biases odd ones.
        number = jnp.arange(len(sizes), dtype=jnp.uint32)
        numbers = jnp.concatenate([2 * number, 2 * number + 1])[: len(shapes)]
        draws = prefix_normal(jax.vmap(jax.random.fold_in, (None, 0))(key, numbers), shapes, dtype)
        params: Params = {}
        entries = zip(sizes, self.weight_layers(example.shape), strict=True)
        for index, (size, entry) in enumerate(entries):
            # The scale is cast on its own: a traced float32 may meet float64 parameters.
            spread = jnp.asarray(entry.weight_std, dtype) * jnp.asarray(scale, dtype)
            params[entry.name] = {"weight": spread * _by_position(draws[index], size.positions)}
            if self.bias:
                bias = jnp.zeros(size.outputs, dtype)
                if self.bias_std:
                    bias = jnp.asarray(entry.bias_std, dtype) * draws[len(sizes) + index][0]
                params[entry.name]["bias"] = bias
        return params, {}

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

        Raises:
            UserError: If the inputs do not fit the chain, or the parameters do not.
        """
        del train, key
        return self.passed(params, x, lambda index, given, sums: sums), state

    def chain(self) -> Chain:
        """Return the layers from input to output."""
        return self.layers

    def weight_layers(self, input_shape: tuple[int, ...]) -> tuple[WeightLayer, ...]:
        """Return the numbers of each layer with weights: see ``layers.ChainModel``.

        Raises:
            UserError: When the shape does not fit the chain.
        """
        bias_std = float(self.bias_std) if self.bias else 0.0
        found = []
        for index, size in enumerate(sizes_of(self.layers, input_shape)):
            std = weight_std(self.initialisation, size.fan_in, size.fan_out)
            multiplier, std = (std, 1.0) if self.parameterisation == "ntk" else (1.0, std)
            found.append(
                WeightLayer(
                    f"layer_{index}",
                    size.fan_in,
                    multiplier,
                    float(self.bias_scale) if self.bias else 0.0,
                    std,
                    bias_std,
                )
            )
        return tuple(found)

    def tapped(
        self, params: Params, state: State, x: jax.Array, taps: tuple[jax.Array, ...] | None = None
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Evaluate the network and return each layer's inputs: see ``layers.ChainModel``.

        Raises:
            UserError: As ``apply``, or for another number of taps.
        """
        del state
        require_taps(taps, self.depth)
        inputs: list[jax.Array] = []

        def tap(index: int, given: jax.Array, sums: jax.Array) -> jax.Array:
            inputs.append(given.reshape(given.shape[0], -1, given.shape[-1]))
            return sums if taps is None else sums + taps[index].reshape(sums.shape)

        outputs = self.passed(params, x, tap)
        return outputs, tuple(inputs)

    def passed(
        self,
        params: Params,
        x: jax.Array,
        touch: Callable[[int, jax.Array, jax.Array], jax.Array],
    ) -> jax.Array:
        """Evaluate the network with a hand on the sums of every layer with weights.

        Args:
            params: As in ``apply``.
            x: As in ``apply``.
            touch: Takes the layer's number, its inputs (batch, [rows, columns,] fan_in) and its
                sums (batch, [rows, columns,] n_out), and returns what takes the place of the sums.

        Returns:
            Outputs of shape ``(batch, outputs)``.

        Raises:
            UserError: If the inputs do not fit the chain, or the parameters do not.
        """
        layers = iter(enumerate(self.weight_layers(x.shape[1:])))

        def sums(layer: Affine | Conv, hidden: jax.Array) -> jax.Array:
            index, entry = next(layers)
            given = patches(hidden, layer) if isinstance(layer, Conv) else hidden
            multipliers = (entry.weight_multiplier, entry.bias_multiplier)
            return touch(index, given, affine(entry.name, params, self.bias, multipliers, given))

        return _through(self.layers, x[..., None] if x.ndim == 3 else x, sums)

    def describe(self) -> dict[str, Any]:
        """Return the architecture as plain values that JSON can hold."""
        return {
            "architecture": "network",
            "depth": self.depth,
            "outputs": self.outputs,
            "chain": [described(layer) for layer in self.layers],
            "parameterisation": self.parameterisation,
            "initialisation": self.initialisation,
            "bias": self.bias,
            "bias_std": self.bias_std,
            "bias_scale": self.bias_scale,
        }


def residual_dense(
    width: int,
    blocks: int,
    outputs: int,
    activation: str = "relu",
    branch_scale: float = 1.0,
    *,
    parameterisation: Literal["standard", "ntk"] = "standard",
    initialisation: Init = "he",
    bias: bool = True,
    bias_std: float = 0.0,
    bias_scale: float = 1.0,
) -> Network:
    """Build a fully connected residual network; inputs of any shape are flattened.

    An affine layer, then ``blocks`` times ``h + branch_scale · (W φ(h) + b)``, then the activation
    and the affine layer of the outputs.

    Args:
        width: Number of units of each hidden layer.
        blocks: Number of residual blocks; 0 leaves one hidden layer.
        outputs: Number of outputs.
        activation: Name of the activation φ.
        branch_scale: Factor of each branch, such as ``blocks ** -0.5``.
        parameterisation: As in ``Network``, like all that follow.
        initialisation: As there.
        bias: As there.
        bias_std: As there.
        bias_scale: As there.

    Raises:
        UserError: When a value cannot be used.
    """
    require_positive("width", width)
    if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks < 0:
        raise UserError(f"blocks is {blocks!r}; choose a whole number >= 0")
    block = Residual((Activation(activation), Affine(width)), branch_scale)
    last = (Activation(activation), Affine(outputs))
    chain: Chain = (Flatten(), Affine(width), *(block,) * blocks, *last)
    return Network(chain, parameterisation, initialisation, bias, bias_std, bias_scale)


def conv_net(
    channels: Sequence[int],
    outputs: int,
    head: Literal["flatten", "mean"] = "flatten",
    size: int = 3,
    stride: int = 1,
    padding: Padding = "SAME",
    activation: str = "relu",
    pool: int | None = None,
    *,
    parameterisation: Literal["standard", "ntk"] = "standard",
    initialisation: Init = "he",
    bias: bool = True,
    bias_std: float = 0.0,
    bias_scale: float = 1.0,
) -> Network:
    """Build a plain convolutional network over (batch, height, width, channels).

    Args:
        channels: Number of channels of each convolution.
        outputs: Number of outputs.
        head: What the last affine layer sees: ``"flatten"``, all positions side by side, or
            ``"mean"``, the mean over positions.
        size: Height and width of the patches.
        stride: Steps between patches.
        padding: ``"SAME"`` or ``"VALID"``.
        activation: Name of the activation after each convolution.
        pool: Size of the average pooling after each activation; None for no pooling.
        parameterisation: As in ``Network``, like all that follow.
        initialisation: As there.
        bias: As there.
        bias_std: As there.
        bias_scale: As there.

    Raises:
        UserError: When a value cannot be used.
    """
    if isinstance(channels, str) or not isinstance(channels, Sequence) or not channels:
        raise UserError(
            f"channels is {channels!r}; give one whole number per convolution, e.g. (32, 64)"
        )
    if head not in ("flatten", "mean"):
        raise unknown("head", head, ("flatten", "mean"))
    chain: list[LayerSpec] = []
    for number in channels:
        chain += [Conv(number, size, stride, padding), Activation(activation)]
        chain += [] if pool is None else [AveragePool(pool)]
    chain += [Flatten() if head == "flatten" else GlobalAverage(), Affine(outputs)]
    return Network(tuple(chain), parameterisation, initialisation, bias, bias_std, bias_scale)


def _through(
    chain: Chain, hidden: jax.Array, sums: Callable[[Affine | Conv, jax.Array], jax.Array]
) -> jax.Array:
    """Run a chain; ``sums`` computes the layers with weights, in their order."""
    for layer in chain:
        match layer:
            case Affine() | Conv():
                hidden = sums(layer, hidden)
            case Residual(branch, scale):
                hidden = hidden + times(float(scale), _through(branch, hidden, sums))
            case Activation(name):
                hidden = ACTIVATIONS[name](hidden)
            case AveragePool(size):
                hidden = pooled(hidden, size)
            case GlobalAverage():
                hidden = hidden.mean(axis=(1, 2))
            case Flatten():
                hidden = hidden.reshape(hidden.shape[0], -1)
    return hidden


def _by_position(draw: jax.Array, positions: int) -> jax.Array:
    """Reorder columns drawn as (channel, position) to (position, channel).

    A draw keeps the entries of its first columns, so that more channels only add to it.
    """
    if positions == 1:
        return draw
    return draw.reshape(draw.shape[0], -1, positions).swapaxes(1, 2).reshape(draw.shape)
