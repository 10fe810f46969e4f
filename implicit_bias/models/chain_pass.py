"""Running a chain of layers: what each of ``models.layers`` does to what it is given."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax

from implicit_bias.models.affine import affine, times
from implicit_bias.models.base import Params, State
from implicit_bias.models.convolution import convolve
from implicit_bias.models.convolution_table import impossible
from implicit_bias.models.dense import ACTIVATIONS
from implicit_bias.models.layers import (
    Activation,
    Affine,
    AveragePool,
    BatchNorm,
    Chain,
    Conv,
    Flatten,
    GlobalAverage,
    LayerSpec,
    LearnedScalar,
    MaxPool,
    Norm,
    Residual,
    ScalarBias,
    ScalarMultiplier,
    WeightLayer,
)
from implicit_bias.models.normalisation import (
    batch_norm,
    batch_statistics,
    example_norm,
    learned,
    recorded,
    running,
)
from implicit_bias.models.windows import patches, pooled

Touch = Callable[[int, Callable[[], jax.Array], jax.Array], jax.Array]
"""A hand on the sums of a layer with weights: see ``Network.passed``."""

Learn = Callable[[Affine | Conv | Norm | LearnedScalar, jax.Array], jax.Array]
"""What a layer with parameters makes of its inputs."""


@dataclass(frozen=True)
class Pass:
    """How a chain is run.

    Attributes:
        entries: The numbers of each layer with weights, in the order in which they run.
        bias: Whether layers with weights have biases, where they do not say so themselves.
        convolution: How convolutions are computed, where they can be so; None for what the table says.
        touch: Takes the layer's number, a function that returns its inputs, and its sums, and returns
            what takes the place of the sums.
        train: Whether batch normalisation takes the statistics of this batch, and moves the running
            ones.
        weights: How much each example counts in the statistics of the batch; None for all alike.
    """

    entries: tuple[WeightLayer, ...]
    bias: bool
    convolution: str | None
    touch: Touch
    train: bool
    weights: jax.Array | None

    def __call__(
        self, chain: Chain, params: Params, state: State, x: jax.Array
    ) -> tuple[jax.Array, State]:
        """Run a chain.

        Args:
            chain: The layers.
            params: Their parameters.
            state: Their normalisation statistics.
            x: Inputs, shape (batch, *features); of a (batch, height, width) image the one channel is
                added.

        Returns:
            Outputs, and the state.

        Raises:
            UserError: If the inputs do not fit the chain, or the parameters or the state do not.
        """
        layers = iter(enumerate(self.entries))
        norms, scalars = numbered("norm"), numbered("scalar")
        new: State = {}

        def learn(layer: Affine | Conv | Norm | LearnedScalar, hidden: jax.Array) -> jax.Array:
            match layer:
                case Affine() | Conv():
                    return self._sums(layer, *next(layers), params, hidden)
                case ScalarBias():
                    bias = learned(next(scalars), params, "bias")["bias"]
                    return hidden + bias.reshape((1,) * hidden.ndim)
                case ScalarMultiplier():
                    factor = learned(next(scalars), params, "multiplier")["multiplier"]
                    return hidden * factor.reshape((1,) * hidden.ndim)
                case _:
                    return self._normalised(layer, next(norms), params, state, new, hidden)

        outputs = _through(chain, x[..., None] if x.ndim == 3 else x, learn)
        return outputs, {**state, **new} if new else state

    def _sums(
        self,
        layer: Affine | Conv,
        index: int,
        entry: WeightLayer,
        params: Params,
        hidden: jax.Array,
    ) -> jax.Array:
        multipliers = (entry.weight_multiplier, entry.bias_multiplier)
        computed = (entry.name, params, has_bias(layer, self.bias), multipliers, hidden)
        if isinstance(layer, Affine):
            return self.touch(index, lambda: hidden, affine(*computed))
        wanted = self.convolution
        method = None if wanted is None or impossible(wanted, layer) else wanted
        found = affine(
            *computed, lambda images, w: convolve(images, w, layer, method), layer.size**2
        )
        return self.touch(index, lambda: patches(hidden, layer), found)

    def _normalised(
        self, layer: Norm, name: str, params: Params, state: State, new: State, hidden: jax.Array
    ) -> jax.Array:
        """Normalise; statistics that move go into ``new``."""
        own = learned(name, params, "scale", "bias")
        if not isinstance(layer, BatchNorm):
            return example_norm(layer, own, hidden)
        statistics = recorded(name, state)
        if self.train:
            statistics = batch_statistics(hidden, self.weights)
            new[name] = running(layer, state[name], statistics)
        return batch_norm(layer, own, hidden, statistics)


def has_bias(layer: Affine | Conv, default: bool) -> bool:
    """Say whether a layer has biases, where it does not say so itself what all do."""
    return default if layer.bias is None else layer.bias


def numbered(prefix: str) -> Iterator[str]:
    """Yield the names of layers of a kind, in the order in which they run."""
    return (f"{prefix}_{number}" for number in itertools.count())


def _through(chain: Chain, hidden: jax.Array, learn: Learn) -> jax.Array:
    """Run a chain; ``learn`` computes the layers with parameters, in their order."""
    for layer in chain:
        hidden = _after(layer, hidden, learn)
    return hidden


def _after(layer: LayerSpec, hidden: jax.Array, learn: Learn) -> jax.Array:
    match layer:
        case Residual(branch, scale, shortcut):
            # In this order: layers are numbered as they run.
            added = times(float(scale), _through(branch, hidden, learn))
            return _through(shortcut, hidden, learn) + added
        case Activation(name):
            return ACTIVATIONS[name](hidden)
        case AveragePool(size):
            return pooled(hidden, size)
        case MaxPool(size):
            return pooled(hidden, size, maximum=True)
        case GlobalAverage():
            return hidden.mean(axis=(1, 2))
        case Flatten():
            return hidden.reshape(hidden.shape[0], -1)
        case _:
            return learn(layer, hidden)
