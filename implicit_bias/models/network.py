r"""Networks of any chain of layers: residual, convolutional, normalised ones, from one description.

The chain (``models.layers``) is plain data. Each of its layers with weights computes ``m · a Wᵀ +
β · b`` of its input a, of fan-in n: the features, or for a convolution the C·size² entries of a
patch. With the gain g of the initialisation (√2 for ``he``, 1 for ``lecun``):

``standard``
    m = β = 1, W ~ N(0, g²/n), or N(0, 2/(n + n_out)) for ``glorot``, where a convolution's n_out is
    channels·size².

``ntk`` (Jacot, Gabriel and Hongler 2018, section 2.1; for convolutions Arora et al. 2019, section 4)
    m = g/√n, W ~ N(0, 1), β = ``bias_scale``.

A convolution is the product of its patches with its weights, and computed as ``models.convolution``
says. Its weights are stored as (channels, fan_in), the entries of a patch in the order (row, column,
input channel).

Normalisation and learned scalars are the same under both parameterisations, and begin where their
layers say. Only ``BatchNorm`` has a state, and only with it do training and evaluation differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError, unknown
from implicit_bias.models.affine import require_parameterisation, require_taps
from implicit_bias.models.base import Params, Scalar, State, require_floating
from implicit_bias.models.chain_pass import Pass, Touch, has_bias
from implicit_bias.models.chain_start import by_position, identity_weight, unweighted
from implicit_bias.models.chains import described, sizes_of
from implicit_bias.models.checked_chain import checked
from implicit_bias.models.convolution_table import METHODS
from implicit_bias.models.initializers import Init, prefix_normal, weight_std
from implicit_bias.models.layers import (
    Affine,
    BatchNorm,
    Chain,
    WeightLayer,
    each_layer,
    with_weights,
)

PARAMETERISATIONS: tuple[str, ...] = ("standard", "ntk")


@dataclass(frozen=True)
class Network:
    """A chain of layers with its numbers.

    Parameters are ``{"layer_0": {"weight": (n_out, fan_in), "bias": (n_out,)}, ...}``, numbered in
    the order in which the chain runs. Each normalisation adds ``{"norm_0": {"scale": (channels,),
    "bias": (channels,)}}``, each learned scalar ``{"scalar_0": {"bias": (1,)}}`` or ``{"scalar_0":
    {"multiplier": (1,)}}``, in numbers of their own. Inputs are (batch, features) or (batch, height,
    width, channels); a (batch, height, width) image has one channel.

    The state is empty but for batch normalisation: ``{"norm_0": {"mean": (channels,), "variance":
    (channels,)}}``.

    Attributes:
        layers: The chain from input to output; lists become tuples.
        parameterisation: ``standard`` or ``ntk``; see the module's text.
        initialisation: ``he``, ``lecun`` or, under ``standard``, ``glorot``.
        bias: Whether layers with weights have biases, where they do not say so themselves.
        bias_std: Standard deviation of the initial biases; at 0 they start at zero.
        bias_scale: Forward multiplier of the biases under ``ntk``; 1 under ``standard``.
        convolution: How convolutions are computed, of ``models.convolution.METHODS``; by default what
            the table there says for each, as for layers that cannot be computed so. All agree but
            for rounding.

    Raises:
        UserError: When a field has a value that cannot be used.
    """

    layers: Chain
    parameterisation: Literal["standard", "ntk"] = "standard"
    initialisation: Init = "he"
    bias: bool = True
    bias_std: float = 0.0
    bias_scale: float = 1.0
    convolution: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", checked(self.layers))
        if self.convolution is not None and self.convolution not in METHODS:
            raise unknown("convolution", self.convolution, METHODS)
        if not self.layers or not isinstance(self.layers[-1], Affine):
            ends = f"ends in {type(self.layers[-1]).__name__}" if self.layers else "is empty"
            raise UserError(
                f"the chain {ends}; end it in an Affine, whose units are the network's outputs"
            )
        require_parameterisation(
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
    def batch_statistics(self) -> bool:
        """Whether training looks at the batch as a whole: see ``models.Model``."""
        return any(isinstance(layer, BatchNorm) for layer in each_layer(self.layers))

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
            ``(params, state)``; the state is empty without batch normalisation.

        Raises:
            UserError: When the example is not floating, or its shape does not fit the chain.
        """
        require_floating(example)
        dtype = example.dtype
        sizes = sizes_of(self.layers, example.shape)
        shapes = [(size.outputs, size.fan_in) for size in sizes.weights]
        layers = tuple(with_weights(self.layers))
        if self.bias_std and any(has_bias(layer, self.bias) for layer in layers):
            shapes += [(1, size.outputs) for size in sizes.weights]
        # A key depends on the number of its layer only: weights have even ones, biases odd ones.
        number = jnp.arange(len(sizes.weights), dtype=jnp.uint32)
        numbers = jnp.concatenate([2 * number, 2 * number + 1])[: len(shapes)]
        draws = prefix_normal(jax.vmap(jax.random.fold_in, (None, 0))(key, numbers), shapes, dtype)
        params: Params = {}
        entries = zip(layers, sizes.weights, self.weight_layers(example.shape), strict=True)
        for index, (layer, size, entry) in enumerate(entries):
            # The scale is cast on its own: a traced float32 may meet float64 parameters.
            spread = jnp.asarray(entry.weight_std, dtype) * jnp.asarray(scale, dtype)
            if layer.initial == "identity":
                weight = identity_weight(layer, size, dtype) / jnp.asarray(
                    entry.weight_multiplier, dtype
                )
                params[entry.name] = {"weight": jnp.asarray(scale, dtype) * weight}
            else:
                params[entry.name] = {"weight": spread * by_position(draws[index], size.positions)}
            if has_bias(layer, self.bias):
                bias = jnp.zeros(size.outputs, dtype)
                if self.bias_std:
                    bias = jnp.asarray(entry.bias_std, dtype) * draws[len(sizes.weights) + index][0]
                params[entry.name]["bias"] = bias
        others, state = unweighted(sizes.norms, sizes.scalars, dtype)
        return params | others, state

    def apply(
        self,
        params: Params,
        state: State,
        x: jax.Array,
        *,
        train: bool = False,
        key: jax.Array | None = None,
        example_weights: jax.Array | None = None,
    ) -> tuple[jax.Array, State]:
        """Evaluate the network; training and evaluation differ in batch normalisation alone.

        Args:
            params: As returned by ``init``.
            state: As returned by ``init`` or an earlier ``apply``.
            x: Inputs, shape ``(batch, *features)``, of the parameters' dtype.
            train: Whether batch normalisation takes the statistics of this batch, and moves the
                running ones; otherwise it takes the running ones.
            key: Ignored.
            example_weights: How much each example counts in the statistics of the batch, shape
                (batch,), at least 0; all alike by default.

        Returns:
            Outputs of shape ``(batch, outputs)``, and the state.

        Raises:
            UserError: If the inputs do not fit the chain, or the parameters or the state do not.
        """
        del key
        return self.passed(
            params, state, x, lambda index, given, sums: sums, train=train, weights=example_weights
        )

    def chain(self) -> Chain:
        """Return the layers from input to output."""
        return self.layers

    def weight_layers(self, input_shape: tuple[int, ...]) -> tuple[WeightLayer, ...]:
        """Return the numbers of each layer with weights: see ``layers.ChainModel``.

        Raises:
            UserError: When the shape does not fit the chain.
        """
        found = []
        sizes = sizes_of(self.layers, input_shape).weights
        for index, (layer, size) in enumerate(zip(with_weights(self.layers), sizes, strict=True)):
            std = weight_std(self.initialisation, size.fan_in, size.fan_out)
            multiplier, std = (std, 1.0) if self.parameterisation == "ntk" else (1.0, std)
            bias = has_bias(layer, self.bias)
            found.append(
                WeightLayer(
                    f"layer_{index}",
                    size.fan_in,
                    multiplier,
                    float(self.bias_scale) if bias else 0.0,
                    std if isinstance(layer.initial, str) else layer.initial * std,
                    float(self.bias_std) if bias else 0.0,
                )
            )
        return tuple(found)

    def tapped(
        self, params: Params, state: State, x: jax.Array, taps: tuple[jax.Array, ...] | None = None
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Evaluate the network and return each layer's inputs: see ``layers.ChainModel``.

        Batch normalisation takes the running statistics.

        Raises:
            UserError: As ``apply``, or for another number of taps.
        """
        require_taps(taps, self.depth)
        inputs: list[jax.Array] = []

        def tap(index: int, given: Callable[[], jax.Array], sums: jax.Array) -> jax.Array:
            seen = given()
            inputs.append(seen.reshape(seen.shape[0], -1, seen.shape[-1]))
            return sums if taps is None else sums + taps[index].reshape(sums.shape)

        outputs, _ = self.passed(params, state, x, tap)
        return outputs, tuple(inputs)

    def passed(
        self,
        params: Params,
        state: State,
        x: jax.Array,
        touch: Touch,
        *,
        train: bool = False,
        weights: jax.Array | None = None,
    ) -> tuple[jax.Array, State]:
        """Evaluate the network with a hand on the sums of every layer with weights.

        Args:
            params: As in ``apply``.
            state: As in ``apply``.
            x: As in ``apply``.
            touch: Takes the layer's number, a function that returns its inputs (batch, [rows,
                columns,] fan_in), and its sums (batch, [rows, columns,] n_out), and returns what
                takes the place of the sums.
            train: As in ``apply``.
            weights: The ``example_weights`` of ``apply``.

        Returns:
            Outputs of shape ``(batch, outputs)``, and the state.

        Raises:
            UserError: If the inputs do not fit the chain, or the parameters or the state do not.
        """
        entries = self.weight_layers(x.shape[1:])
        run = Pass(entries, self.bias, self.convolution, touch, train, weights)
        return run(self.layers, params, state, x)

    def describe(self) -> dict[str, Any]:
        """Return the architecture as plain values that JSON can hold."""
        described_as = {
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
        # Said only where it was asked for: what the table says is no part of the architecture.
        return described_as | ({"convolution": self.convolution} if self.convolution else {})
