r"""Small transformers on tokens or image patches: pre-normalised, with learned positions.

With x_t the inputs as vectors (rows of an embedding for tokens, an affine map of a patch) plus a learned
vector for each position, a block maps (Vaswani et al. 2017, section 3, with normalisation before each
branch as Radford et al. 2019, section 2.3, and Xiong et al. 2020, figure 1b)

    h ← h + W_O · concat_heads(A V) + b_O,    A = softmax(Q Kᵀ / √(width/heads)),    Q, K, V affine in LN(h)
    h ← h + W₂ gelu(W₁ LN(h) + b₁) + b₂

and outputs are affine in LN of the last h. Where ``causal``, A is zero above its diagonal. All weights are
(out, in) and drawn from N(0, 1/fan_in), but for tokens and positions, N(0, 1), and for W_O and W₂, the last
of each branch, whose spread is divided by √(2 · depth) so that h keeps its size at any depth (Radford et
al. 2019). GELU is its tanh approximation. There is no dropout.

What differs from the contract of other networks: widths are not padded (a head's size is width/heads),
though a narrow network's draws are the corners of a wide one's.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError, unknown
from implicit_bias.models.affine import affine, require_positive
from implicit_bias.models.base import Params, Scalar, State, require_floating
from implicit_bias.models.initializers import prefix_normal
from implicit_bias.ranges import Setting

Readout = Literal["mean", "last", "every"]

EPSILON = 1e-5
"""Added to variances by normalisation."""

GAIN = Setting("attention_gain", 1.0, minimum=0.0, includes_minimum=False)
"""Factor of the attention's logits at the start: each of W_Q and W_K is drawn √gain times as large. At 1
logits have a spread of about 1; far below 1 every position attends to all alike."""


@dataclass(frozen=True)
class Transformer:
    """A transformer as two pure functions; see the module's text.

    Inputs are tokens, shape (batch, length) of whole numbers held as floating-point ones; images, (batch,
    height, width, channels), cut into patches; or sequences of vectors, (batch, length, features). A token
    outside the vocabulary is a vector of zeros.

    Attributes:
        outputs: Numbers k of one prediction.
        width: Size of the vectors h.
        depth: Blocks.
        heads: Attention heads of a block; divides ``width``.
        mlp_ratio: Hidden units of a block's second branch, in widths.
        vocabulary: Number of tokens; None for images and vectors.
        patch: Side of an image's square patches, in pixels.
        causal: Whether a position attends to itself and what is before it only.
        readout: What outputs are made from: ``"mean"`` over positions; ``"last"``, the last position; or
            ``"every"`` position, whose outputs are put behind one another, (batch, length · k).

    Raises:
        UserError: A number is out of range, or heads do not divide the width.
    """

    outputs: int
    width: int = 32
    depth: int = 2
    heads: int = 4
    mlp_ratio: int = 4
    vocabulary: int | None = None
    patch: int = 2
    causal: bool = False
    readout: Readout = "mean"

    output_axis: ClassVar[int] = 0
    traced: ClassVar[tuple[Setting, ...]] = (GAIN,)

    def __post_init__(self) -> None:
        for name in ("outputs", "width", "depth", "heads", "mlp_ratio", "patch"):
            require_positive(name, getattr(self, name))
        if self.vocabulary is not None:
            require_positive("vocabulary", self.vocabulary)
        if self.width % self.heads:
            raise UserError(
                f"width is {self.width} and heads is {self.heads}; choose heads that divide the width"
            )
        if self.readout not in get_args(Readout):
            raise unknown("readout", self.readout, get_args(Readout))

    def init(
        self,
        key: jax.Array,
        example: jax.Array,
        *,
        scale: Scalar = 1.0,
        attention_gain: Scalar = 1.0,
    ) -> tuple[Params, State]:
        """Draw initial parameters; see the module's text.

        Args:
            key: Random key; a layer's draws depend on it and on the layer's number only.
            example: One input, without the batch axis.
            scale: Factor on all initial weights, possibly traced; biases begin at 0 and gains of
                normalisations at 1.
            attention_gain: See ``GAIN``; possibly traced.

        Returns:
            ``(params, {})``.

        Raises:
            UserError: When the example is not floating or not of a shape that fits.
        """
        require_floating(example)
        dtype, (length, features) = example.dtype, self._sequence(example.shape)
        layers = self._layers(length, features)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(
            key, jnp.arange(len(layers), dtype=jnp.uint32)
        )
        draws = prefix_normal(keys, [shape for shape, _ in layers.values()], dtype)
        gain = jnp.sqrt(jnp.asarray(attention_gain, dtype))
        params: Params = {}
        for (name, (shape, std)), draw in zip(layers.items(), draws, strict=True):
            spread = jnp.asarray(std, dtype) * jnp.asarray(scale, dtype)
            if name.endswith(("query", "key")):
                spread = spread * gain
            params[name] = {"weight": spread * draw}
            if name not in ("position", "token"):
                params[name]["bias"] = jnp.zeros(shape[0], dtype)
        for name in self._norms():
            params[name] = {
                "scale": jnp.ones(self.width, dtype),
                "bias": jnp.zeros(self.width, dtype),
            }
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
            state: Passed through.
            x: Inputs, of the parameters' dtype.
            train: Ignored.
            key: Ignored.

        Returns:
            Outputs, (batch, k), or (batch, length · k) for the readout ``"every"``; and the state.

        Raises:
            UserError: Shapes do not fit.
        """
        del train, key
        hidden, _ = self._through(params, x, keep=False)
        if self.readout == "mean":
            hidden = jnp.mean(hidden, axis=1)
        elif self.readout == "last":
            hidden = hidden[:, -1]
        outputs = self._affine("readout", params, hidden)
        return outputs.reshape(x.shape[0], -1), state

    def attention(self, params: Params, state: State, x: jax.Array) -> jax.Array:
        """Return every attention matrix.

        Args:
            params: As in ``apply``.
            state: As in ``apply``.
            x: As in ``apply``.

        Returns:
            Shape (depth, batch, heads, length, length); rows are queries and add up to 1.
        """
        del state
        return jnp.stack(self._through(params, x, keep=True)[1])

    def positions(self, input_shape: tuple[int, ...]) -> int:
        """Return how many positions an input has.

        Args:
            input_shape: Shape of one input.

        Raises:
            UserError: The shape does not fit.
        """
        return self._sequence(input_shape)[0]

    def operations(self, input_shape: tuple[int, ...]) -> int:
        """Count the floating-point operations of a forward pass of one example.

        A multiplication and an addition are two; only products of matrices count. A backward pass takes
        twice as many.

        Args:
            input_shape: Shape of one input.
        """
        length, features = self._sequence(input_shape)
        affine_layers = sum(
            math.prod(shape) for name, (shape, _) in self._layers(length, features).items()
            if name not in ("position", "token", "readout")
        )  # fmt: skip
        read = self.outputs * self.width * (length if self.readout == "every" else 1)
        mixing = 2 * self.depth * length * length * self.width  # Q Kᵀ and A V
        return 2 * (length * affine_layers + read + mixing)

    def describe(self) -> dict[str, Any]:
        """Return the architecture as plain values that JSON can hold."""
        return {"architecture": "transformer", **asdict(self)}

    def _sequence(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return how many vectors an input is made into, and of how many numbers each is made.

        Raises:
            UserError: The shape does not fit.
        """
        if self.vocabulary is not None:
            if len(shape) != 1:
                raise UserError(
                    f"an input has shape {shape}, but with a vocabulary inputs are tokens; give (length,)"
                )
            return shape[0], self.vocabulary
        if len(shape) == 2:
            return shape[0], shape[1]
        if len(shape) != 3 or shape[0] % self.patch or shape[1] % self.patch:
            raise UserError(
                f"an input has shape {shape}; give images (height, width, channels) that patches of side "
                f"{self.patch} fill, sequences (length, features), or a vocabulary for tokens"
            )
        return shape[0] * shape[1] // self.patch**2, self.patch**2 * shape[2]

    def _layers(self, length: int, features: int) -> dict[str, tuple[tuple[int, int], float]]:
        """Return the shape of each weight and its initial spread, in the order of their draws."""
        width, inner = self.width, self.mlp_ratio * self.width
        branch = (2 * self.depth) ** -0.5
        layers = {"position": ((width, length), 1.0)}
        if self.vocabulary is None:
            layers["patch"] = ((width, features), features**-0.5)
        else:
            layers["token"] = ((width, features), 1.0)
        for block in range(self.depth):
            for name in ("query", "key", "value"):
                layers[f"block_{block}_{name}"] = ((width, width), width**-0.5)
            layers[f"block_{block}_mix"] = ((width, width), branch * width**-0.5)
            layers[f"block_{block}_up"] = ((inner, width), width**-0.5)
            layers[f"block_{block}_down"] = ((width, inner), branch * inner**-0.5)
        layers["readout"] = ((self.outputs, width), width**-0.5)
        return layers

    def _norms(self) -> list[str]:
        blocks = [f"block_{b}_{part}" for b in range(self.depth) for part in ("norm", "mlp_norm")]
        return [*blocks, "readout_norm"]

    def _through(
        self, params: Params, x: jax.Array, keep: bool
    ) -> tuple[jax.Array, list[jax.Array]]:
        """Return what the readout is given, (batch, length, width), and attention matrices if asked."""
        hidden, maps = self._embed(params, x), []
        for block in range(self.depth):
            name = f"block_{block}"
            mixed, weights = self._attend(name, params, _norm(params[f"{name}_norm"], hidden))
            hidden = hidden + mixed
            inner = self._affine(f"{name}_up", params, _norm(params[f"{name}_mlp_norm"], hidden))
            hidden = hidden + self._affine(f"{name}_down", params, jax.nn.gelu(inner))
            if keep:
                maps.append(weights)
        return _norm(params["readout_norm"], hidden), maps

    def _embed(self, params: Params, x: jax.Array) -> jax.Array:
        length, features = self._sequence(x.shape[1:])
        if self.vocabulary is None:
            hidden = self._affine(
                "patch", params, self._cut(x).reshape(x.shape[0], length, features)
            )
        else:
            # A product with 0 and 1: the gradient of an indexed read is a scatter, slow on CPUs.
            tokens = jnp.arange(features, dtype=x.dtype)
            chosen = (jnp.round(x)[:, :, None] == tokens[None, None, :]).astype(x.dtype)
            hidden = affine("token", params, False, (1.0, 1.0), chosen)
        positions = params["position"]["weight"]
        if positions.shape[1] != length:
            raise UserError(
                f"an input has {length} positions, but the parameters are of {positions.shape[1]}; "
                "give inputs of the length that init was given"
            )
        return hidden + positions.T[None]

    def _cut(self, x: jax.Array) -> jax.Array:
        """Cut images into patches, row by row."""
        if x.ndim != 4:
            return x
        n, height, width, channels = x.shape
        side = self.patch
        cut = x.reshape(n, height // side, side, width // side, side, channels)
        return cut.transpose(0, 1, 3, 2, 4, 5)

    def _attend(self, name: str, params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return what a block's attention adds, (batch, length, width), and its matrices."""
        n, length, width = x.shape
        size = width // self.heads

        def of(part: str) -> jax.Array:
            whole = self._affine(f"{name}_{part}", params, x)
            return whole.reshape(n, length, self.heads, size).transpose(0, 2, 1, 3)

        logits = of("query") @ of("key").transpose(0, 1, 3, 2) * size**-0.5
        if self.causal:
            seen = jnp.tril(jnp.ones((length, length), bool))[None, None]
            logits = jnp.where(seen, logits, -jnp.inf)
        weights = jax.nn.softmax(logits, axis=-1)
        mixed = (weights @ of("value")).transpose(0, 2, 1, 3).reshape(n, length, width)
        return self._affine(f"{name}_mix", params, mixed), weights

    def _affine(self, name: str, params: Params, x: jax.Array) -> jax.Array:
        return affine(name, params, True, (1.0, 1.0), x)


def _norm(params: Params, x: jax.Array) -> jax.Array:
    """Normalise each vector to mean 0 and variance 1, then scale and shift (Ba et al. 2016)."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    deviation = jnp.sqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + EPSILON)
    return centred / deviation * params["scale"][None, None] + params["bias"][None, None]
